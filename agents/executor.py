"""Searches the corpus for what a plan asks."""

from typing import ClassVar

from agents.corpus.index import Hit, Index
from agents.models import Findings, Passage, Question, Source
from agents.scholar import Scholar
from agents.study import study
from agents.topic import search
from kos_runtime.ports.agent import Context, action


class kExecutor(Scholar):
    """Carries a plan out: finds passages, and says where each of them stands."""

    aliases: ClassVar[tuple[str, ...]] = ("executor",)

    @action(over="plan", idempotent=True)
    def execute_research_plan(self, context: Context, plan: list[Question | str]) -> Findings:
        """Return the passages that answer the questions of a plan, and their sources, each source once.

        A question that finds nothing adds nothing. A source is known by its place, ``path:line``, so what parts of one
        plan return can be joined.

        Raises:
            ActionFailed: The corpus cannot be read, or has changed since the run was linked.
        """
        index = self.index(context)
        found = Findings(data=[], sources=[])
        known: set[str] = set()
        for number, item in enumerate(plan):
            if context.cancelled:
                break
            question = Question(question=item) if isinstance(item, str) else item
            context.progress(question.question, number / len(plan))
            for hit in _answers(index, question):
                found.data.append(_passage(hit, question))
                if hit.passage.source not in known:
                    known.add(hit.passage.source)
                    found.sources.append(_source(hit))
        return found

    @action(over="plan", idempotent=True)
    def execute_research(self, context: Context, plan: list[Question | str]) -> Findings:
        """The same work as ``execute_research_plan``, under the name that the templates use."""
        return self.execute_research_plan(context, plan)


def _answers(index: Index, question: Question) -> list[Hit]:
    topic = study(index, question.topic or question.question).topic
    return search(index, topic, question.terms, limit=question.want, skip=frozenset(question.skip))


def _passage(hit: Hit, question: Question) -> Passage:
    place = hit.passage
    return Passage(
        question=question.id,
        about=question.question,
        topic=question.topic or question.question,
        terms=question.terms,
        source=place.source,
        path=place.path,
        line=place.line,
        heading=place.heading,
        text=place.text,
        score=round(hit.score, 4),
    )


def _source(hit: Hit) -> Source:
    place = hit.passage
    return Source(id=place.source, path=place.path, line=place.line, heading=place.heading)

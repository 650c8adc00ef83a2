"""Turns a topic into sub-questions, in the words of the corpus."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from agents.corpus.index import Index
from agents.models import Plan, Question
from agents.scholar import Scholar
from agents.study import Study, study_or_fail
from agents.terms import Term
from agents.text import content_stems
from agents.topic import search
from kos_runtime.ports.agent import Context, action

Depth = Literal["shallow", "moderate", "deep"]

#: How many questions a depth asks, and how many passages each of them wants.
QUESTIONS: Final = {"shallow": 3, "moderate": 5, "deep": 9}
_WANT: Final = {"shallow": 4, "moderate": 5, "deep": 6}
#: Of two terms that stand in the same passages more often than this, one is enough.
_OVERLAP: Final = 0.6


class kPlanner(Scholar):
    """Plans research: which questions to put to the corpus about a topic."""

    aliases: ClassVar[tuple[str, ...]] = ("planner",)

    @action(idempotent=True)
    def decompose_research_goal(self, context: Context, topic: str, depth: Depth = "moderate") -> Plan:
        """Return sub-questions about a topic, each with a term that the corpus has and the topic has not.

        Every question was searched for and finds at least one passage; where the corpus is rich enough no two find the
        same. The same corpus, topic and depth give the same plan.

        Raises:
            ActionFailed: The corpus has nothing about the topic, or cannot be read.
        """
        index = self.index(context)
        about = study_or_fail(index, topic)
        note = about.note(index)
        context.progress(note or f"{len(about.hits)} passages about the topic")
        return Plan(plan=_questions(index, about, depth), note=note)

    @action(idempotent=True)
    def create_research_plan(self, context: Context, topic: str, depth: Depth = "moderate") -> Plan:
        """The same work as ``decompose_research_goal``, under the name that the templates use."""
        return self.decompose_research_goal(context, topic, depth)


def _questions(index: Index, about: Study, depth: Depth) -> list[Question]:
    asked: list[Question] = []
    taken: list[Term] = []
    seen: list[str] = []
    topic = about.topic
    for turn in _TURNS:
        for term in about.terms:
            if len(asked) >= QUESTIONS[depth]:
                return asked
            if any(term.stems & other.stems for other in taken) or not turn.accepts(term, taken):
                continue
            skip = seen if turn.fresh else []
            found = search(index, topic, (term.text,), limit=_WANT[depth], skip=frozenset(skip))
            if len(found) < turn.finds:
                continue
            asked.append(
                Question(
                    id=f"q{len(asked) + 1}",
                    question=_wording(topic.text, term.text),
                    topic=topic.text,
                    terms=[term.text],
                    want=_WANT[depth],
                    skip=list(skip),
                )
            )
            taken.append(term)
            seen += [hit.passage.source for hit in found if hit.passage.source not in seen]
    return asked


@dataclass(frozen=True, slots=True)
class _Turn:
    """What is asked of a term in one turn through all of them.

    ``shared``: so many passages hold it. ``finds``: so many passages are found by it. ``fresh``: they were not found by
    an earlier question. ``noun``: it is used as a noun, and does not stand where earlier terms stand.
    """

    shared: int
    finds: int
    fresh: bool
    noun: bool

    def accepts(self, term: Term, taken: Sequence[Term]) -> bool:
        if len(term.hits) < self.shared:
            return False
        if not self.noun:
            return True
        apart = all(len(term.hits & t.hits) <= _OVERLAP * min(len(term.hits), len(t.hits)) for t in taken)
        return term.is_noun and term.strength > 0 and apart


#: A rich corpus is done in the first turn; in a small one what is left to ask is asked in the later ones.
_TURNS: Final = (
    _Turn(shared=3, finds=2, fresh=True, noun=True),
    _Turn(shared=1, finds=1, fresh=True, noun=True),
    _Turn(shared=1, finds=1, fresh=True, noun=False),
    _Turn(shared=1, finds=1, fresh=False, noun=False),
)


def _wording(topic: str, term: str) -> str:
    text = " ".join(topic.split())
    if len(text) > 120:
        text = text[:120].rsplit(" ", 1)[0] + " …"
    if text.endswith("?") or len(content_stems(text)) > 8:
        return f"{text.rstrip('?. ')}: what part does “{term}” play?"
    return f"What part does “{term}” play in {text.rstrip('. ')}?"

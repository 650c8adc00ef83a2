"""Writes the summary, and checks summaries."""

from typing import Any, ClassVar

from agents import citations
from agents.material import passages_of, questions_of
from agents.models import Review, Summary
from agents.review import review, texts_by_source
from agents.scholar import Scholar
from agents.synthesis import summarize
from kos_runtime.core.failure import ErrorType
from kos_runtime.ports.agent import ActionFailed, Context, action


class kReviewer(Scholar):
    """Turns findings into a summary whose every sentence can be looked up, and looks them up."""

    aliases: ClassVar[tuple[str, ...]] = ("reviewer",)

    @action(idempotent=True)
    def synthesize_findings(self, context: Context, data: list[Any], sources: list[Any]) -> Summary:
        """Return a summary made of sentences of the passages, one a line, each ending in ``[n]``, then the sources.

        Raises:
            ActionFailed: There is no passage, or none has a sentence that can be quoted; permanent.
        """
        index = self.index(context)
        material = passages_of(data, sources)
        if not material:
            raise ActionFailed(ErrorType.PERMANENT, "there is nothing to summarize: no passage was found")
        context.progress(f"summarizing {len(material)} passages")
        summary = summarize(index, material, questions_of(data))
        if not summary:
            raise ActionFailed(
                ErrorType.PERMANENT, f"none of the {len(material)} passages has a sentence that can be quoted"
            )
        return Summary(summary=summary)

    @action(idempotent=True)
    def create_summary(self, context: Context, data: list[Any], sources: list[Any]) -> Summary:
        """The same work as ``synthesize_findings``, under the name that the templates use."""
        return self.synthesize_findings(context, data, sources)

    @action(idempotent=True)
    def validate_summary(
        self,
        context: Context,
        summary: Any,
        original_topic: str,
        data: list[Any] | None = None,
        sources: list[Any] | None = None,
    ) -> Review:
        """Return the summary as it came, its score in [0, 1], and what is wrong with it.

        Each sentence is looked up in the corpus at the place that it cites; passages given as ``data`` count beside the
        corpus. A poor summary is no failure: what to do about a score is the workflow's affair.
        """
        index = self.index(context)
        document = citations.read(citations.text_of(summary))
        extra = texts_by_source(passages_of(data or [], sources or []))
        result = review(index, original_topic, document, extra)
        context.progress(f"score {result.score:.2f}, {len(result.findings)} findings")
        return Review(summary=summary, score=result.score, findings=result.findings, parts=result.parts)

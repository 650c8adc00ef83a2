"""Writes the summary, and checks summaries."""

from hashlib import sha256
from typing import Any, ClassVar

from agents import citations
from agents.ballot import Ballot, ballot, side_of
from agents.material import passages_of, questions_of
from agents.models import Release, Review, Summary
from agents.review import Result, review, texts_by_source
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
        result = self._reviewed(context, summary, original_topic, data, sources)
        context.progress(f"score {result.score:.2f}, {len(result.findings)} findings")
        return Review(summary=summary, score=result.score, findings=result.findings, parts=result.parts)

    def _reviewed(
        self, context: Context, summary: Any, topic: str, data: list[Any] | None, sources: list[Any] | None
    ) -> Result:
        document = citations.read(citations.text_of(summary))
        extra = texts_by_source(passages_of(data or [], sources or []))
        return review(self.index(context), topic, document, extra)

    @action(idempotent=True)
    def vote_on_summary(
        self,
        context: Context,
        summary: Any,
        original_topic: str,
        peer: str,
        looks_at: list[str],
        data: list[Any] | None = None,
        sources: list[Any] | None = None,
    ) -> Ballot:
        """Return a vote on a summary, yes or no, with the reason.

        Each peer looks at one side of it: the first of a panel at the first of ``looks_at``, and so on, in turn. What there
        is to look at, and how much of it is enough, stands in ``agents/ballot.py``.

        Raises:
            ActionFailed: There is no such side; of kind validation.
        """
        try:
            side = side_of(peer, looks_at)
        except ValueError as error:
            raise ActionFailed(ErrorType.VALIDATION, str(error), recoverable=False) from error
        given = ballot(side, self._reviewed(context, summary, original_topic, data, sources))
        context.progress(f"{given.choice}: {given.reason}")
        return given

    @action(idempotent=True)
    def release_summary(self, summary: Any, original_topic: str, votes: list[Any]) -> Release:
        """Return a summary with who voted on it and why, and the digest by which anybody can tell that it is this one."""
        text = citations.text_of(summary).rstrip()
        digest = sha256(text.encode()).hexdigest()
        lines = [f"- {vote['elector']}: {' '.join(vote['choices']) or 'abstains'}, {vote['reason']}" for vote in votes]
        signed = [f"# {original_topic}", "", text, "", "## Votes", "", *lines, "", f"sha256 {digest}", ""]
        return Release(document="\n".join(signed), digest=digest)

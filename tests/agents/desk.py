"""The agents at work without a runtime: a context that is only a folder, and the four steps of a research in a row."""

from dataclasses import dataclass, field
from typing import Any

from agents import Envelope, Turn
from agents.executor import kExecutor
from agents.models import Findings, Plan, Review
from agents.planner import Depth, kPlanner
from agents.reviewer import kReviewer


@dataclass(slots=True)
class DeskContext:
    """A context that remembers what it was told."""

    cache_dir: str
    run: str = "run"
    step: str = "step"
    attempt: int = 1
    idempotency_key: str = "key"
    fence: int = 1
    cancelled: bool = False
    said: list[str] = field(default_factory=list)
    message: Envelope | None = None
    conversation: list[Turn] = field(default_factory=list)

    def send(self, to: str, body: Any, **_: Any) -> Any:
        raise AssertionError(f"{to} is not at this desk")

    ask = send

    def progress(self, message: str, fraction: float | None = None) -> None:
        assert fraction is None or 0 <= fraction <= 1
        self.said.append(message)

    def heartbeat(self) -> None:
        pass

    def log(self, message: str, **fields: Any) -> None:
        self.said.append(message)


class Desk:
    """The agents over one corpus."""

    def __init__(self, corpus: str, cache_dir: str) -> None:
        self.settings = kPlanner.link_settings({"corpus": corpus}, cache_dir)
        self.context = DeskContext(cache_dir)
        self.planner = kPlanner(self.settings)
        self.executor = kExecutor(self.settings)
        self.reviewer = kReviewer(self.settings)

    def plan(self, topic: str, depth: Depth = "moderate") -> Plan:
        return self.planner.decompose_research_goal(self.context, topic, depth)

    def gather(self, plan: Plan) -> Findings:
        return self.executor.execute_research_plan(self.context, list(plan.plan))

    def summarize(self, findings: Findings) -> str:
        plain = findings.model_dump()
        return self.reviewer.synthesize_findings(self.context, plain["data"], plain["sources"]).summary

    def research(self, topic: str, depth: Depth = "moderate") -> str:
        return self.summarize(self.gather(self.plan(topic, depth)))

    def review(self, summary: Any, topic: str) -> Review:
        return self.reviewer.validate_summary(self.context, summary, topic)

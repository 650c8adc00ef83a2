"""The mission's own file, unchanged, with agents that fail as they are told: what its error handling means.

``information_gathering`` fails four times and falls back to a manual task; ``synthesis`` fails once and is escalated.
"""

from pathlib import Path
from typing import Any

import pytest

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.plan.link import ActionLink, AgentLink, FieldLink, Link, ParameterLink
from kos_runtime.core.plan.model import Plan
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted
from kos_runtime.definition import WorkflowDocument, compile_workflow, load
from tests.engine.world import Fails, World

FILE = Path(__file__).parents[2] / "examples" / "research-and-summarize.yaml"


def mission() -> Plan:
    document = load(FILE.read_bytes(), FILE.name)
    assert isinstance(document, WorkflowDocument)
    return compile_workflow(document)[0]


def link() -> Link:
    def agent(kind: str, **actions: ActionLink) -> AgentLink:
        return AgentLink(kind=kind, target=f"agents:{kind}", pool=kind, actions=actions)

    def takes(*names: str, over: str | None = None, gives: tuple[tuple[str, str], ...] = ()) -> ActionLink:
        return ActionLink(
            parameters=tuple(ParameterLink(name=name) for name in names),
            over=over,
            fields=tuple(FieldLink(name=name, type=kind) for name, kind in gives),
        )

    return Link(
        agents={
            "kPlanner": agent("kPlanner", decompose_research_goal=takes("topic", "depth")),
            "kExecutor": agent(
                "kExecutor",
                execute_research_plan=takes("plan", over="plan", gives=(("data", "array"), ("sources", "array"))),
            ),
            "kReviewer": agent(
                "kReviewer",
                synthesize_findings=takes("data", "sources"),
                validate_summary=takes("summary", "original_topic"),
            ),
            "kCoordinator": agent("kCoordinator", on_escalation=takes("escalation")),
        }
    )


def actions(*, gathering_fails: int, synthesis_fails: int, answer: str = "retry") -> dict[str, Any]:
    def gather(invocation: Any, plan: list[str]) -> dict[str, Any]:
        if invocation.path == "information_gathering[1]" and invocation.attempt <= gathering_fails:
            raise Fails(ErrorType.TRANSIENT, "the library is closed")
        return {"data": [f"about {item}" for item in plan], "sources": [f"book on {item}" for item in plan]}

    def synthesize(invocation: Any, data: list[str], sources: list[str]) -> dict[str, Any]:
        if invocation.attempt <= synthesis_fails:
            raise Fails(ErrorType.UNKNOWN, "the pen is empty")
        return {"summary": f"{'; '.join(data)} ({len(sources)} sources)"}

    return {
        "decompose_research_goal": lambda _, topic, depth: {"plan": [f"{topic} {n}" for n in range(3)]},
        "execute_research_plan": gather,
        "synthesize_findings": synthesize,
        "validate_summary": lambda _, summary, original_topic: {"summary": summary, "score": 0.9},
        "on_escalation": lambda _, escalation: {
            "answer": answer,
            "rule": "try_again",
            "reason": escalation["failure"]["message"],
        },
    }


def run(**fails: Any) -> World:
    world = World(actions(**fails))
    return world.run(mission(), {"topic": "bees"}, link=link())


def test_the_mission_runs_and_its_outputs_are_those_of_its_last_steps() -> None:
    out = run(gathering_fails=0, synthesis_fails=0).outputs()
    assert out["summary"] == "about bees 0; about bees 1; about bees 2 (3 sources)"
    assert out["sources"] == ["book on bees 0", "book on bees 1", "book on bees 2"]


def test_three_retries_are_enough_for_three_failures() -> None:
    world = run(gathering_fails=3, synthesis_fails=0)
    assert world.status() == "completed"
    assert [e.rule for e in world.named(ev.StepFailed)] == ["error_handling[0]"] * 3


def test_after_four_failures_a_person_is_asked_for_that_part_alone() -> None:
    world = run(gathering_fails=4, synthesis_fails=1)
    assert world.status() == "waiting"
    (task,) = world.named(ev.ManualTaskRequested)
    assert (task.path, task.task) == ("information_gathering[1]", "manual_research")
    assert task.fields == [["data", "array", True], ["sources", "array", True]]
    assert {e.path for e in world.named(ev.StepCompleted)} >= {"information_gathering[0]", "information_gathering[2]"}


def test_the_answer_stands_in_and_the_escalation_is_answered_also_after_everything_died() -> None:
    world = run(gathering_fails=4, synthesis_fails=1).crash()
    answer = world.answer("information_gathering[1]", {"data": ["asked a beekeeper"], "sources": ["a beekeeper"]})
    assert isinstance(answer, Accepted)
    assert world.status() == "completed"
    assert world.outputs()["summary"] == "about bees 0; asked a beekeeper; about bees 2 (3 sources)"
    (answered,) = world.named(ev.EscalationAnswered)
    assert (answered.path, answered.answer, answered.rule) == ("synthesis", "retry", "try_again")
    assert "information_gathering[0]" not in {path for path, *_ in world.executed}


@pytest.mark.parametrize(("answer", "status"), [("fail", "failed"), ("skip", "failed"), ("manual", "waiting")])
def test_the_other_answers_of_an_escalation(answer: str, status: str) -> None:
    world = run(gathering_fails=0, synthesis_fails=9, answer=answer)
    assert world.status() == status

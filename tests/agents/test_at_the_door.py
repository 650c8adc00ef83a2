"""The agents as the runtime sees them: what they declare, and what goes in and out at their door."""

from typing import Any

import pytest

from agents.coordinator import kCoordinator
from agents.executor import kExecutor
from agents.planner import kPlanner
from agents.reviewer import kReviewer
from kos_runtime.adapters.agent_runner.signature import Signature
from kos_runtime.adapters.codec import MsgpackCodec
from kos_runtime.composition.linking import describe_action
from kos_runtime.ports.agent import ActionFailed, Agent
from tests.agents.desk import Desk


def call(agent: Agent, action: str, context: Any, *, lenient: bool = False, **inputs: Any) -> dict[str, Any]:
    """Call an action as the runtime does: inputs checked, context given, the result made plain, through the codec."""
    attribute, mark = type(agent).actions()[action]
    door = Signature(type(agent), attribute, mark)
    codec = MsgpackCodec()
    arguments = door.arguments(codec.unpack(codec.pack(inputs)), lenient=lenient)
    if door.context is not None:
        arguments[door.context] = context
    plain, _ = door.plain_result(getattr(agent, attribute)(**arguments))
    result: dict[str, Any] = codec.unpack(codec.pack(plain))
    return result


@pytest.mark.parametrize(
    ("cls", "action", "over", "fields"),
    [
        (kPlanner, "decompose_research_goal", None, {"plan": "array", "note": "string"}),
        (kPlanner, "create_research_plan", None, {"plan": "array", "note": "string"}),
        (kExecutor, "execute_research_plan", "plan", {"data": "array", "sources": "array"}),
        (kExecutor, "execute_research", "plan", {"data": "array", "sources": "array"}),
        (kReviewer, "synthesize_findings", None, {"summary": "string"}),
        (kReviewer, "create_summary", None, {"summary": "string"}),
        (
            kReviewer,
            "validate_summary",
            None,
            {"summary": "any", "score": "number", "findings": "array", "parts": "object"},
        ),
        (
            kCoordinator,
            "on_escalation",
            None,
            {
                "answer": "any",
                "rule": "string",
                "reason": "string",
                "agent": "string",
                "inputs": "object",
                "fallback": "string",
            },
        ),
    ],
)
def test_what_an_action_declares(cls: type[Agent], action: str, over: str | None, fields: dict[str, str]) -> None:
    described = describe_action(cls, cls.actions()[action][0])
    assert described.over == over
    assert described.fields is not None
    assert {field.name: field.type for field in described.fields} == fields


@pytest.mark.parametrize(
    ("cls", "kind", "alias"),
    [
        (kPlanner, "kPlanner", "planner"),
        (kExecutor, "kExecutor", "executor"),
        (kReviewer, "kReviewer", "reviewer"),
        (kCoordinator, "kCoordinator", "coordinator"),
    ],
)
def test_each_answers_to_its_name_and_its_alias(cls: type[Agent], kind: str, alias: str) -> None:
    assert (cls.kind or cls.__name__) == kind
    assert alias in cls.aliases


def test_the_steps_of_the_mission_fit_together(folder_desk: Desk) -> None:
    context = folder_desk.context
    plan = call(folder_desk.planner, "decompose_research_goal", context, topic="ocean tides", depth="moderate")
    parts = [call(folder_desk.executor, "execute_research_plan", context, plan=[item]) for item in plan["plan"]]
    data = [passage for part in parts for passage in part["data"]]
    sources = [source for part in parts for source in part["sources"]]
    made = call(folder_desk.reviewer, "synthesize_findings", context, data=data, sources=sources)
    checked = call(
        folder_desk.reviewer, "validate_summary", context, summary=made["summary"], original_topic="ocean tides"
    )
    assert checked["summary"] == made["summary"] == folder_desk.research("ocean tides")
    assert 0.5 < checked["score"] <= 1


def test_the_steps_of_the_template_fit_together_by_the_names_they_expose(folder_desk: Desk) -> None:
    context = folder_desk.context
    names: dict[str, Any] = {"topic": "honeybee colony", "depth": "shallow", "audience": "beginners"}
    for agent, action in (
        (folder_desk.planner, "create_research_plan"),
        (folder_desk.executor, "execute_research"),
        (folder_desk.reviewer, "create_summary"),
    ):
        result = call(agent, action, context, lenient=True, **names)
        names = names | result | {"result": result}
    assert names["summary"].startswith("A honeybee colony is a household")


def test_a_depth_that_is_none_is_refused_at_the_door(folder_desk: Desk) -> None:
    with pytest.raises(ActionFailed, match="depth") as caught:
        call(folder_desk.planner, "decompose_research_goal", folder_desk.context, topic="tides", depth="bottomless")
    assert caught.value.recoverable is False


@pytest.mark.parametrize("plan", ["tides", [1], [{"id": "q1"}], [{"question": "tides", "want": 0}], {"plan": []}])
def test_a_plan_that_is_none_is_refused_at_the_door(folder_desk: Desk, plan: Any) -> None:
    with pytest.raises(ActionFailed, match="plan") as caught:
        call(folder_desk.executor, "execute_research_plan", folder_desk.context, plan=plan)
    assert caught.value.recoverable is False


def test_a_ruling_goes_through_the_door() -> None:
    about = {"step": "synthesis", "failure": {"type": "transient", "recoverable": True}, "attempts": 1, "cost": 3.5}
    ruling = call(kCoordinator({}), "on_escalation", None, escalation=about)
    assert ruling["answer"] == "retry"
    assert ruling["rule"] == "try-again"


def test_actions_may_run_beside_another_attempt_of_themselves() -> None:
    for cls in (kPlanner, kExecutor, kReviewer, kCoordinator):
        assert all(mark.idempotent for _, mark in cls.actions().values())

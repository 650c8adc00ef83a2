"""A person says how a failed step goes on: another agent, a stand-in, a person, or that all of it is undone."""

from dataclasses import replace
from typing import Any

import pytest

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.invocation import Invocation
from kos_runtime.core.plan.model import Policy, Pool
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, AnswerTask, Rejected, RetryStep

from .test_compensation import Ledger, saga
from .test_other_agents import linked, steps
from .world import Fails, World, act, plan

FAIL = Policy(rule="default", ladder=("fail",))


def say(world: World, way: str, *, path: str = "", fallback: str = "", retries: int = 1) -> Any:
    return world.virtual.request(
        RetryStep(run="r", path=path, retries=retries, by="user:jr", way=way, fallback=fallback),
        command_id=f"c{len(world.named(ev.RunFailed))}{way}",
    )


def sold_out(_: Invocation, **__: Any) -> Any:
    raise Fails(ErrorType.PERMANENT, "sold out")


def failed(
    actions: dict[str, Any], *more: Any, most: int = 1, others: Any = None, pools: Any = None, policy: Policy = FAIL
) -> World:
    world = World(actions)
    made = plan(act("a", "go", inputs={"v": 1}), *more, policies=(policy,), pools=pools or {})
    assert isinstance(world.create(made, link=linked(actions, most=most, others=others)), Accepted)
    steps(world)
    assert world.status() == "failed"
    return world


def test_another_process_does_it() -> None:
    def go(invocation: Invocation, **_: Any) -> Any:
        if invocation.fence < 1_000_000:
            raise Fails(ErrorType.PERMANENT)
        return {"ok": 1}

    world = failed({"go": go}, most=2)
    first = world.named(ev.StepScheduled)[-1].agent
    assert isinstance(say(world, "different_agent"), Accepted)
    steps(world)
    assert world.status() == "completed"
    assert world.named(ev.StepScheduled)[-1].agent != first
    assert (world.named(ev.StepReassigned)[-1].rule, world.named(ev.StepReassigned)[-1].by) == ("by hand", "user:jr")


def test_where_there_is_one_process_another_kind_that_agents_names_does_it() -> None:
    def go(invocation: Invocation, **_: Any) -> Any:
        if invocation.agent != "spare":
            raise Fails(ErrorType.PERMANENT)
        return {"ok": 1}

    world = failed({"go": go}, others={"spare": {"go": go}}, pools={"spare": Pool(agent="spare")})
    assert isinstance(say(world, "different_agent"), Accepted)
    steps(world)
    assert (world.status(), world.named(ev.StepReassigned)[-1].agent) == ("completed", "spare")


def test_where_nobody_else_is_it_is_refused_and_the_run_stays_failed() -> None:
    world = failed({"go": sold_out})
    answer = say(world, "different_agent")
    assert isinstance(answer, Rejected)
    assert "no other agent" in answer.message
    assert world.status() == "failed"
    assert not world.named(ev.RunReopened)


def test_a_step_on_demand_stands_in() -> None:
    actions = {"go": sold_out, "spare": lambda *_, **__: {"ok": 2}}
    world = failed(actions, act("by_hand", "spare", on_demand=True, inputs={}))
    assert isinstance(say(world, "fallback", fallback="by_hand"), Accepted)
    steps(world)
    assert world.status() == "completed"
    assert world.named(ev.FallbackStepStarted)[-1].rule == "by hand"


def test_an_action_of_the_same_agent_stands_in() -> None:
    world = failed({"go": sold_out, "simply": lambda *_, **__: {"ok": 2}})
    assert isinstance(say(world, "fallback", fallback="simply"), Accepted)
    steps(world)
    assert (world.status(), world.named(ev.FallbackStarted)[-1].action) == ("completed", "simply")


@pytest.mark.parametrize(
    ("fallback", "words"), [("simpl", "did you mean 'simply'"), ("", "has a fallback"), ("x" * 999, "no fallback")]
)
def test_a_fallback_that_is_not_there_is_refused(fallback: str, words: str) -> None:
    world = failed({"go": sold_out, "simply": lambda *_, **__: {"ok": 2}})
    answer = say(world, "fallback", fallback=fallback)
    assert isinstance(answer, Rejected)
    assert (answer.code, words in answer.message) == ("not_found", True)
    assert len(answer.message) < 500


def test_a_person_stands_in() -> None:
    world = failed({"go": sold_out})
    assert isinstance(say(world, "manual"), Accepted)
    steps(world)
    assert world.folded().manual.keys() == {"a"}
    assert isinstance(world.virtual.request(AnswerTask(run="r", path="a", data={"result": 3}, by="user:jr")), Accepted)
    steps(world)
    assert world.status() == "completed"


def test_everything_is_undone_by_hand_and_then_the_run_has_failed_once_more() -> None:
    ledger = Ledger()
    world = World(ledger.actions)
    world.create(replace(saga(), compensate_on=()))
    steps(world)
    assert (world.status(), ledger.undone()) == ("failed", [])
    assert isinstance(say(world, "compensate"), Accepted)
    assert world.status() == "running"
    world = world.crash()
    steps(world)
    assert (world.status(), ledger.undone()[-2:]) == ("failed", ["b", "a"])  # at least once
    answer = say(world, "compensate")
    assert isinstance(answer, Rejected)
    assert "undone" in answer.message


def test_what_has_nothing_to_undo_is_not_compensated() -> None:
    answer = say(failed({"go": sold_out}), "compensate")
    assert isinstance(answer, Rejected)
    assert "compensate" in answer.message


def test_no_other_way_is_known() -> None:
    answer = say(failed({"go": sold_out}), "pray")
    assert isinstance(answer, Rejected)
    assert "retry, different_agent, fallback, manual, compensate" in answer.message

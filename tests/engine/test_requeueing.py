"""What was set aside goes on when a person says so: runs whose deciding raised, steps that ended their processes."""

from typing import Any

import pytest

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.plan.model import Policy
from kos_runtime.core.workflow import decide as deciding
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, Answer, Rejected, RequeueRun
from kos_runtime.engine import messages as msg

from .world import HANGS, Fails, World, act, plan, state_of


def requeue(world: World, step: str = "", *, id: str = "") -> Answer:
    command = RequeueRun(run="r", path=step, by="user:jr", reason="mended")
    answer = world.virtual.request(command, command_id=id)
    world.virtual.run_until_idle()
    return answer


def set_aside(monkeypatch: pytest.MonkeyPatch, **step: Any) -> World:
    """Make a world with a run of two steps that was set aside when the first was answered."""
    world = World({"go": lambda _, v: {"v": v}})
    with monkeypatch.context() as patch:
        patch.setattr(deciding, "outcome", _broken)
        world.create(plan(act("a", "go", inputs={"v": 1}, **step), act("b", "go", after=("a",), inputs={"v": 2})))
        world.virtual.run_until_idle()
    assert world.status() == "quarantined"
    return world


def _broken(*_: Any) -> None:
    raise RuntimeError("a bug")


@pytest.mark.parametrize("crash", [False, True])
def test_a_run_that_was_set_aside_goes_on_where_it_was_and_the_log_says_who_said_so(
    crash: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = set_aside(monkeypatch)
    if crash:
        world = world.crash()
    answer = requeue(world)
    assert isinstance(answer, Accepted)
    assert answer.event == "RunRequeued"
    assert world.outputs() == {"v": 2}
    (said,) = world.named(ev.RunRequeued)
    assert (said.by, said.reason) == ("user:jr", "mended")
    assert [e.cause for e in world.named(ev.StepRedispatched)] == ["its run was set aside"]
    assert [(e.path, e.fence) for e in world.named(ev.StepCompleted)] == [("a", 2), ("b", 1)]
    assert world.host.partition.runs == {}
    assert state_of(world.folded())["status"] == "completed"


def test_what_is_delivered_at_most_once_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = set_aside(monkeypatch, delivery="at_most_once")
    assert isinstance(requeue(world), Accepted)
    assert world.status() == "failed"
    assert world.named(ev.StepFailed)[0].error["message"].startswith("outcome_unknown")


def test_one_that_raises_again_is_set_aside_again_and_can_be_asked_for_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = set_aside(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(deciding, "outcome", _broken)
        requeue(world)
    assert world.status() == "quarantined"
    assert len(world.named(ev.RunQuarantined)) == 2
    assert isinstance(requeue(world.crash()), Accepted)
    assert world.status() == "completed"


def test_one_whose_requeueing_itself_raises_stays_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    world = set_aside(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr("kos_runtime.core.workflow.requeueing.advance", _broken)
        answer = requeue(world)
    assert isinstance(answer, Rejected)
    assert answer.code == "quarantined"
    assert world.named(ev.RunRequeued) == []
    assert isinstance(requeue(world.crash()), Accepted)
    assert world.status() == "completed"


def test_a_repeated_command_is_one_event(monkeypatch: pytest.MonkeyPatch) -> None:
    world = set_aside(monkeypatch)
    first = requeue(world, id="once")
    assert requeue(world.crash(), id="once") == first
    assert len(world.named(ev.RunRequeued)) == 1


def test_others_are_refused_with_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = requeue(set_aside(monkeypatch), "a")
    assert isinstance(answer, Rejected)
    assert "as a whole" in answer.message

    world = World({"go": lambda _, v: {"v": v}}).run(plan(act("a", "go", inputs={"v": 1})))
    answer = requeue(world)
    assert isinstance(answer, Rejected)
    assert "is completed" in answer.message

    def fails(*_: Any, **__: Any) -> Any:
        raise Fails(ErrorType.PERMANENT)

    world = World({"go": fails}).run(plan(act("a", "go", inputs={"v": 1})))
    answer = requeue(world)
    assert isinstance(answer, Rejected)
    assert "kos retry" in answer.message


def test_a_poison_step_is_tried_once_more_alone() -> None:
    world = World({"go": lambda *_, **__: HANGS})
    world.create(plan(act("a", "go", inputs={"v": 1}), policies=(Policy(rule="default", max_retries=9),)))
    for number in (1, 2, 3):
        for _ in range(6):
            world.virtual.step()
        world.virtual.put(msg.ProcessDown(f"k-{number}", "SIGKILL"))
    world.virtual.run_until_idle()
    assert world.status() == "failed"
    assert "poison" in world.named(ev.RunFailed)[0].error["message"]
    world.actions["go"] = lambda _, v: {"v": v}
    assert isinstance(requeue(world, "nowhere"), Rejected)
    answer = requeue(world, "a")
    assert isinstance(answer, Accepted)
    assert world.outputs() == {"v": 1}
    assert world.named(ev.RunReopened)[0].by == "user:jr"

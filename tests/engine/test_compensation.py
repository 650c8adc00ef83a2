"""What a run completed is undone before it ends: order, keys, failures, crashes at every round."""

from typing import Any

import pytest

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.invocation import Invocation
from kos_runtime.core.plan.model import Backoff, Compensation, ForEach, Plan, Policy, Step
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import (
    Accepted,
    CancelRun,
    ExecuteStep,
    PauseRun,
    Rejected,
    ResumeRun,
    RetryStep,
    RevisePlan,
)
from kos_runtime.engine import messages as msg

from .world import HANGS, Fails, World, act, plan, restored, state_of

FIXED = Backoff(strategy="fixed", initial_ms=1_000, jitter=False)
POLICIES = (
    Policy(rule="default", ladder=("fail",)),
    Policy(rule="compensation", ladder=("retry", "manual"), max_retries=1, backoff=FIXED),
)


def undone_by(action: str = "undo", **more: Any) -> Compensation:
    return Compensation(agent="k", action=action, policies=(1,), **more)


def booked(id: str, *, after: tuple[str, ...] = (), **more: Any) -> Step:
    more.setdefault("compensate", undone_by())
    return act(id, "book", after=after, inputs={"v": id}, outputs=(("ref", "ref"),), **more)


def saga(*more: Step, **given: Any) -> Plan:
    given.setdefault("policies", POLICIES)
    return plan(booked("a"), booked("b", after=("a",)), act("c", "go", after=("b",), inputs={"v": 1}), *more, **given)


class Ledger:
    """Actions that remember by which key they were called."""

    def __init__(self, *, failing_undos: dict[str, int] | None = None) -> None:
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.failing = dict(failing_undos or {})
        self.actions: dict[str, Any] = {"book": self.book, "undo": self.undo, "go": self.go}

    def book(self, i: Invocation, **values: Any) -> Any:
        self.calls.append(("book", i.key, values))
        return {"ref": f"ref-{values['v']}"}

    def undo(self, i: Invocation, **values: Any) -> Any:
        self.calls.append(("undo", i.key, values))
        if self.failing.get(i.path, 0):
            self.failing[i.path] -= 1
            raise Fails(ErrorType.TRANSIENT, "no answer")
        return {}

    def go(self, _: Invocation, **__: Any) -> Any:
        raise Fails(ErrorType.PERMANENT, "sold out")

    def undone(self) -> list[str]:
        return [key.rsplit(":", 3)[1] for what, key, _ in self.calls if what == "undo"]


def steps(world: World, count: int) -> None:
    for _ in range(count):
        world.virtual.step()
        for run in world.host.partition.runs.values():
            if run.position:
                assert state_of(world.folded(run.id)) == state_of(run)
                assert state_of(restored(world, run)) == state_of(run)


def test_what_was_completed_is_undone_newest_first_under_keys_of_its_own_and_with_the_forward_result() -> None:
    ledger = Ledger()
    world = World(ledger.actions)
    world.create(saga())
    steps(world, 40)
    assert world.status() == "failed"
    assert ledger.undone() == ["b", "a"]
    _, key, given = ledger.calls[-1]
    forward = next(k for what, k, _ in ledger.calls if what == "book")
    assert key == f"{forward}:undo"
    assert given == {"ref": "ref-a", "forward": {"step": "a", "key": forward, "result": {"ref": "ref-a"}}}
    names = [type(event).__name__ for event in world.events()]
    assert names.index("CompensationStarted") < names.index("RunFailed") == len(names) - 1
    (failed,) = world.named(ev.RunFailed)
    assert (failed.step, failed.error["message"]) == ("c", "sold out")


def test_its_inputs_may_read_what_the_step_was_and_gave() -> None:
    ledger = Ledger()
    given = {"id": "$self.result.ref", "of": "$self.path", "beside": "$steps.b.ref"}
    world = World(ledger.actions).run(
        plan(booked("b"), booked("a", after=("b",), compensate=undone_by(inputs=given)),
             act("c", "go", after=("a",), inputs={}), policies=POLICIES)
    )  # fmt: skip
    assert world.status() == "failed"
    values = next(v for what, _, v in ledger.calls if what == "undo")
    assert {name: values[name] for name in given} == {"id": "ref-a", "of": "a", "beside": "ref-b"}


@pytest.mark.parametrize(("on", "undone"), [(("failed",), ["b", "a"]), (("cancelled",), []), ((), [])])
def test_only_after_the_ends_that_the_workflow_names(on: tuple[str, ...], undone: list[str]) -> None:
    ledger = Ledger()
    world = World(ledger.actions).run(saga(compensate_on=on))
    assert (world.status(), ledger.undone()) == ("failed", undone)


def test_a_rule_may_ask_for_it_whatever_the_workflow_names() -> None:
    ledger = Ledger()
    policies = (Policy(rule="eh", ladder=("compensate", "fail")), POLICIES[1])
    world = World(ledger.actions).run(saga(policies=policies, compensate_on=()))
    assert (world.status(), ledger.undone()) == ("failed", ["b", "a"])
    assert world.named(ev.StepFailed)[0].then == "compensate"


def test_a_run_that_completes_undoes_nothing() -> None:
    ledger = Ledger()
    ledger.actions["go"] = lambda *_, **__: {}
    world = World(ledger.actions).run(saga())
    assert (world.status(), ledger.undone()) == ("completed", [])


def test_one_that_fails_is_tried_again_then_a_persons_task_and_the_rest_waits_for_it() -> None:
    ledger = Ledger(failing_undos={"b:undo": 9})
    world = World(ledger.actions).run(saga())
    assert ledger.undone() == ["b", "b"]
    row = world.store.run("r")
    assert row is not None
    assert (row.status, row.waiting) == ("waiting", "manual: b:undo")
    world = world.crash()
    assert isinstance(world.answer("b:undo", {}), Accepted)
    assert ledger.undone() == ["b", "b", "a"]
    assert world.status() == "failed"


def test_items_and_parts_are_undone_each_for_itself() -> None:
    ledger = Ledger()
    each = Step(
        id="a", form=ForEach(items=["x", "y", "z"], agent="k", action="book"), inputs={"v": "$item"},
        outputs=(("ref", "ref"),), compensate=undone_by(inputs={"item": "$item", "ref": "$self.result.ref"}),
    )  # fmt: skip
    world = World(ledger.actions).run(plan(each, act("c", "go", after=("a",), inputs={}), policies=POLICIES))
    assert world.status() == "failed"
    undone = [values for what, _, values in ledger.calls if what == "undo"]
    assert sorted((v["item"], v["ref"], v["forward"]["step"]) for v in undone) == [
        ("x", "ref-x", "a[0]"), ("y", "ref-y", "a[1]"), ("z", "ref-z", "a[2]"),
    ]  # fmt: skip


def test_a_large_result_is_handed_over_too() -> None:
    ledger = Ledger()
    ledger.actions["book"] = lambda *_, **__: {"ref": "x" * 100_000}
    seen: list[int] = []

    def undo(_: Invocation, ref: str, forward: Any) -> Any:
        assert forward["result"] == {"ref": ref}
        seen.append(len(ref))
        return {}

    ledger.actions["undo"] = undo
    world = World(ledger.actions).run(saga())
    assert (world.status(), seen) == ("failed", [100_000, 100_000])


def cancelled(ledger: Ledger, grace_ms: int = 5_000) -> World:
    ledger.actions["go"] = lambda *_, **__: HANGS
    world = World(ledger.actions)
    world.create(saga())
    steps(world, 8)
    world.virtual.request(CancelRun(run="r", by="user:jr", reason="no", grace_ms=grace_ms))
    return world


def test_after_a_cancel_what_runs_is_ended_first_and_then_what_was_completed_is_undone() -> None:
    ledger = Ledger()
    world = cancelled(ledger)
    world.virtual.run_until_idle()
    assert (world.status(), ledger.undone()) == ("cancelled", ["b", "a"])
    names = [type(e).__name__ for e in world.events()]
    assert names.index("CancelRequested") < names.index("StepCancelled") < names.index("CompensationStarted")
    (end,) = world.named(ev.RunCancelled)
    assert (end.by, end.reason) == ("user:jr", "no")


def test_a_second_cancel_changes_nothing_and_a_pause_holds_it() -> None:
    ledger = Ledger(failing_undos={"b:undo": 1})
    world = cancelled(ledger, 0)
    for _ in range(4):
        world.virtual.step()
    again = world.virtual.request(CancelRun(run="r", by="user:jr", reason="no", grace_ms=0))
    assert isinstance(again, Accepted)
    assert again.existing
    assert isinstance(world.virtual.request(PauseRun(run="r", by="user:jr")), Accepted)
    world.virtual.run_until_idle()
    assert ledger.undone() == ["b"]
    world.virtual.request(ResumeRun(run="r", by="user:jr"))
    world.virtual.run_until_idle()
    assert (world.status(), ledger.undone()) == ("cancelled", ["b", "b", "a"])


def test_a_run_that_is_being_undone_is_not_changed_and_no_step_of_it_is_started() -> None:
    world = World(Ledger(failing_undos={"b:undo": 9}).actions).run(saga())
    run = world.folded("r")
    assert run.undoing is not None
    revise = RevisePlan(
        run="r", plan=run.plan_digest, link=run.link_digest, settings={}, expected=0, change="add_step", step="x",
        fields=[], by="user:jr",
    )  # fmt: skip
    for command in (revise, ExecuteStep(run="r", path="c", inputs=None, by="user:jr")):
        answer = world.virtual.request(command)
        assert isinstance(answer, Rejected)
        assert "being undone" in answer.message


def test_what_was_undone_is_not_retried() -> None:
    world = World(Ledger().actions).run(saga())
    answer = world.virtual.request(RetryStep(run="r", path="c", retries=1, by="user:jr"))
    assert isinstance(answer, Rejected)
    assert "undone" in answer.message


@pytest.mark.parametrize("rounds", range(2, 30))
def test_it_goes_on_wherever_everything_was_killed(rounds: int) -> None:
    ledger = Ledger(failing_undos={"b:undo": 1})
    world = World(ledger.actions)
    world.create(saga())
    steps(world, rounds)
    world = world.crash()
    world.virtual.run_until_idle()
    assert world.status() == "failed"
    undone = ledger.undone()
    assert undone.count("a") == 1 or undone[-2:] == ["a", "a"], "at least once"
    assert undone.index("b") < undone.index("a"), "newest first"
    assert len(world.named(ev.CompensationStarted)) == 1
    assert [e.path for e in world.named(ev.StepCompleted) if e.path.endswith(":undo")] == ["b:undo", "a:undo"]
    assert state_of(world.folded()) is not None


def test_one_that_ends_its_processes_becomes_a_persons_task() -> None:
    ledger = Ledger()
    ledger.actions["undo"] = lambda *_, **__: HANGS
    world = World(ledger.actions)
    world.create(saga())
    for number in (1, 2):
        steps(world, 10)
        world.virtual.put(msg.ProcessDown(f"k-{number}", "SIGKILL"))
    world.virtual.run_until_idle()
    row = world.store.run("r")
    assert row is not None
    assert row.waiting == "manual: b:undo"


def test_an_answered_question_about_a_step_is_not_undone() -> None:
    """A step that can be undone is escalated and answered; the run fails later, and what is undone are its steps alone."""
    ledger = Ledger()
    asked: list[Any] = []

    def book(i: Invocation, **values: Any) -> Any:
        if not asked:
            raise Fails(ErrorType.PERMANENT)
        return ledger.book(i, **values)

    def answer(_: Invocation, escalation: Any) -> Any:
        asked.append(escalation)
        return {"answer": "retry"}

    up = Policy(rule="up", ladder=("escalate",), escalation_agent="boss")
    first = booked("a", policies=(2,))
    last = act("c", "go", after=("a",), inputs={"v": 1})
    actions = {**ledger.actions, "book": book, "on_escalation": answer}
    world = World(actions).run(plan(first, last, policies=(*POLICIES, up)))
    assert len(asked) == 1
    assert world.status() == "failed"
    (begun,) = world.named(ev.CompensationStarted)
    assert begun.steps == ["a"]
    assert ledger.undone() == ["a"]

"""A running workflow is changed: what has not started follows the new plan, what ran keeps what it did."""

from dataclasses import replace
from typing import Any

import pytest

from kos_runtime.core.invocation import Invocation
from kos_runtime.core.plan.link import Link
from kos_runtime.core.plan.model import Action, Body, Decision, ForEach, Group, Loop, Plan, Step
from kos_runtime.core.plan.plain import to_plain
from kos_runtime.core.projection.steps import RunView, fold
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import (
    Accepted,
    Answer,
    ExecuteStep,
    ForkRun,
    PauseRun,
    Rejected,
    RestoreRun,
    ResumeRun,
    RevisePlan,
)
from kos_runtime.core.workflow.state import Run
from kos_runtime.engine import messages as msg
from kos_runtime.engine.limits import Limits

from .world import CODEC, HANGS, World, act, link_for, plan, restored, state_of


def say(_: Invocation, v: Any = None, **more: Any) -> Any:
    return {"v": v, **more}


ACTIONS = {"say": say, "other": lambda _, v=None, **__: {"v": f"other {v}"}, "hang": lambda *_, **__: HANGS}


def said(id: str, *after: str, action: str = "say", **more: Any) -> Step:
    more.setdefault("inputs", {"v": id})
    return act(id, action, after=after, **more)


class Pausing(World):
    """Pauses the run while a step runs, so that nothing that follows of it has started."""

    until = ""

    def execute(self, invocation: Invocation) -> Any:
        if invocation.path == self.until:
            self.until = ""
            self.virtual.put(msg.Request(1_000_000, "", PauseRun(run="r", by="user:jr")))
        return super().execute(invocation)


def paused(
    whole: Plan, *, until: str = "", actions: dict[str, Any] | None = None, limits: Limits | None = None
) -> World:
    """Return a world whose run was paused while a step ran; before any has begun when none is named."""
    world = Pausing(actions or ACTIONS, limits=limits)
    world.until = until
    assert isinstance(world.create(whole), Accepted)
    if not until:
        assert isinstance(world.virtual.request(PauseRun(run="r", by="user:jr")), Accepted)
    world.virtual.run_until_idle()
    assert not world.until
    assert world.status() == "paused"
    return world


def revise(world: World, whole: Plan, *, expected: int = 0, link: Link | None = None, **more: Any) -> Answer:
    return world.virtual.request(
        RevisePlan(
            run="r",
            plan=world.blobs.put(CODEC.pack(to_plain(whole))).digest,
            link=world.blobs.put(CODEC.pack(to_plain(link or link_for(world.actions)))).digest,
            settings={"k": {"corpus": "none"}},
            expected=expected,
            change="modify_step",
            step="",
            fields=[],
            by="user:jr",
            reason="because",
            **more,
        )
    )


def resumed(world: World) -> World:
    check(world)
    assert isinstance(world.virtual.request(ResumeRun(run="r", by="user:jr")), Accepted)
    return driven(world)


def driven(world: World) -> World:
    for _ in range(500):
        more = world.virtual.step()
        check(world)
        if not more and not world.virtual._inbox:
            if world.host.partition.is_idle():
                break
            world.clock.advance_to(max(world.host.partition.next_due() or 0, world.clock.now() + 1))
    return world


def check(world: World) -> None:
    """Compare the live state with the fold of its events, and with its snapshot."""
    run = world.host.partition.runs.get("r")
    if run is not None and run.position:
        assert state_of(world.folded()) == state_of(run)
        assert state_of(restored(world, run)) == state_of(run)


def executed(world: World) -> list[str]:
    return [path for path, *_ in world.executed]


def refused(answer: Answer, code: str, *words: str) -> None:
    assert isinstance(answer, Rejected), answer
    assert answer.code == code, answer
    for word in words:
        assert word in answer.message, answer.message


CHAIN = plan(said("a"), said("b", "a"), said("c", "b"))


def test_a_step_is_added_between_two_and_the_run_follows_the_new_plan() -> None:
    world = paused(CHAIN, until="a")
    changed = plan(said("a"), said("new", "a"), said("b", "new"), said("c", "b"))
    answer = revise(world, changed)
    assert isinstance(answer, Accepted)
    assert (answer.event, answer.position) == ("PlanRevised", len(world.store.stream("run/r")))
    resumed(world)
    assert executed(world) == ["a", "new", "b", "c"]
    assert world.status() == "completed"
    (event,) = world.named(ev.PlanRevised)
    assert (event.by, event.reason, event.revision) == ("user:jr", "because", 1)


def test_a_step_that_has_not_started_is_removed_and_changed() -> None:
    world = paused(CHAIN, until="a")
    assert isinstance(revise(world, plan(said("a"), said("c", "a", inputs={"v": "changed"}))), Accepted)
    resumed(world)
    assert executed(world) == ["a", "c"]
    assert world.outputs() == {"v": "changed"}


def test_a_run_at_work_goes_on_by_the_new_plan_at_once() -> None:
    world = World(ACTIONS)
    world.create(plan(said("a", action="hang")))
    world.virtual.step()
    world.virtual.step()
    answer = revise(world, plan(said("a", action="hang"), said("beside")))
    assert isinstance(answer, Accepted)
    world.virtual.step()
    world.virtual.step()
    check(world)
    assert executed(world) == ["a", "beside"]


def test_a_run_that_has_not_begun_is_changed() -> None:
    world = World(ACTIONS)
    world.create(CHAIN, start=False)
    assert isinstance(revise(world, plan(said("z"))), Accepted)
    from kos_runtime.core.workflow.commands import StartRun

    world.virtual.request(StartRun(run="r"))
    driven(world)
    assert executed(world) == ["z"]


def test_whoever_comes_second_is_told_the_revision() -> None:
    world = paused(CHAIN, until="a")
    assert isinstance(revise(world, plan(said("a"), said("b", "a"))), Accepted)
    refused(revise(world, plan(said("a"))), "revision", "at revision 1, not 0")
    refused(revise(world, plan(said("a")), expected=7), "revision", "not 7")
    assert isinstance(revise(world, plan(said("a"), said("d", "a")), expected=1), Accepted)
    resumed(world)
    assert executed(world) == ["a", "d"]


def test_the_same_plan_again_changes_nothing() -> None:
    world = paused(CHAIN, until="a")
    answer = revise(world, CHAIN)
    assert isinstance(answer, Accepted)
    assert answer.existing
    assert not world.named(ev.PlanRevised)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (plan(said("b"), said("c", "b")), ("step a cannot be removed", "has completed")),
        (plan(said("a", inputs={"v": 1}), said("b", "a"), said("c", "b")), ("step a cannot change", "has completed")),
        (plan(said("x"), said("a", "x"), said("b", "a"), said("c", "b")), ("step a", "has completed")),
    ],
    ids=["removed", "changed", "one before it"],
)
def test_a_completed_step_never_changes(changed: Plan, words: tuple[str, ...]) -> None:
    world = paused(CHAIN, until="a")
    refused(revise(world, changed), "conflict", *words)
    refused(revise(world, changed, next_attempt=True), "conflict", *words)
    assert not world.named(ev.PlanRevised)
    resumed(world)
    assert executed(world) == ["a", "b", "c"]


def test_cycles_unknown_steps_and_broken_texts_are_refused_by_the_core() -> None:
    world = paused(CHAIN, until="a")
    refused(
        revise(world, plan(said("a"), said("b", "a", "c"), said("c", "b"))), "invalid", "step b", "waits for itself"
    )
    refused(revise(world, plan(said("a"), said("b", "a"), said("c", "b"), said("c"))), "invalid", "the same id")
    refused(revise(world, plan(said("a"), said("b", "zz"))), "invalid", "is not stored")
    refused(revise(world, plan(said("a"), said("b", "a", action="fly"))), "invalid", "step b: k.fly is not linked")
    other = replace(CHAIN, variables={"x": 1})
    refused(revise(world, other), "invalid", "variables would change too")
    link = link_for({"say": say})
    refused(revise(world, plan(said("a"), said("b", "a")), link=link), "invalid", "agent k would be another one")
    world.virtual.step()
    check(world)


def test_a_run_that_is_over_or_being_cancelled_is_not_changed() -> None:
    world = World(ACTIONS).run(CHAIN)
    refused(revise(world, plan(said("a"))), "conflict", "completed")


def hanging(*more: Step, **changes: Any) -> Plan:
    return plan(said("a", action="hang", **changes), *more)


def test_a_running_step_changes_only_from_its_next_attempt() -> None:
    world = World(ACTIONS)
    world.create(hanging(said("b", "a")))
    world.virtual.step()
    world.virtual.step()
    changed = plan(said("a", inputs={"v": "now"}), said("b", "a"))
    refused(revise(world, changed), "conflict", "step a has begun", "apply: next_attempt")
    for field, other in (
        ("when", said("a", inputs={"v": "now"}, when="true")),
        ("resources", said("a", inputs={"v": "now"}, resources={"num_cpus": 2.0})),
        ("outputs", said("a", inputs={"v": "now"}, outputs=(("v", "v"),))),
    ):
        refused(revise(world, plan(other, said("b", "a")), next_attempt=True), "conflict", "step a has begun", field)
    refused(
        revise(world, plan(said("c"), said("a", "c"), said("b", "a")), next_attempt=True),
        "conflict",
        "would wait for c",
    )
    assert isinstance(revise(world, changed, next_attempt=True), Accepted)
    check(world)
    # Its process dies: the attempt that is sent again is the changed one.
    process = world.host.partition.runs["r"].steps["a"].agent
    world.virtual.put(msg.ProcessDown(process, "killed"))
    driven(world)
    assert world.status() == "completed"
    assert world.host.partition.runs == {}
    (first, *_) = [e for e in world.named(ev.StepCompleted) if e.path == "a"]
    assert CODEC.unpack(first.exposed)["v"] == "now"


def test_inputs_that_were_recorded_are_computed_anew_after_a_change() -> None:
    from kos_runtime.core.failure import ErrorType

    from .world import Fails

    calls: list[Any] = []

    def flaky(_: Invocation, v: Any) -> Any:
        calls.append(v)
        if len(calls) == 1:
            raise Fails(ErrorType.TRANSIENT)
        return {"v": v}

    world = World({**ACTIONS, "flaky": flaky})
    step = said("a", action="flaky", inputs={"v": "$vars.x"})
    world.create(plan(step, variables={"x": 1}))
    while not world.named(ev.RetryScheduled):
        world.virtual.step()
    changed = said("a", action="flaky", inputs={"v": "${{ $vars.x + 41 }}"})
    assert isinstance(revise(world, plan(changed, variables={"x": 1}), next_attempt=True), Accepted)
    driven(world)
    assert calls == [1, 42]
    assert [e.inputs is not None for e in world.named(ev.StepScheduled)] == [True, True]


def loop_of(*steps: Step, turns: int = 3) -> Step:
    return Step(id="l", form=Loop(body=Body(steps=steps), condition="", max_iterations=turns))


def test_a_loop_gets_a_step_in_the_turn_at_work_and_those_to_come() -> None:
    world = paused(plan(loop_of(said("x"), said("y", "x"))), until="l#1/x")
    changed = plan(loop_of(said("x"), said("y", "x"), said("z", "y")))
    assert isinstance(revise(world, changed), Accepted)
    resumed(world)
    assert executed(world) == ["l#0/x", "l#0/y", "l#1/x", "l#1/y", "l#1/z", "l#2/x", "l#2/y", "l#2/z"]
    assert world.status() == "completed"


def test_a_step_of_past_turns_changes_for_turns_to_come_when_that_is_asked_for() -> None:
    world = paused(plan(loop_of(said("x"))), until="l#1/x")
    changed = plan(loop_of(said("x", action="other")))
    refused(revise(world, changed), "conflict", "step l#0/x cannot change: it has completed")
    assert isinstance(revise(world, changed, next_attempt=True), Accepted)
    resumed(world)
    exposed = {e.path: CODEC.unpack(e.exposed)["v"] for e in world.named(ev.StepCompleted)}
    assert exposed == {"l#0/x": "x", "l#1/x": "x", "l#2/x": "other x"}
    removed = plan(loop_of(said("w"), turns=3))
    refused(revise(world, removed), "conflict", "completed")


def items_of(*steps: Step) -> Step:
    return Step(id="f", form=ForEach(items=[1, 2, 3], max_concurrency=1, body=Body(steps=steps)))


def test_items_are_treated_alike() -> None:
    world = paused(plan(items_of(said("x"))), until="f[1]/x")
    refused(revise(world, plan(items_of(said("x"), said("y", "x")))), "conflict", "step f/y cannot be added", "item 0")
    world = paused(plan(items_of(said("x"))), until="f[0]/x")
    # The item at work has all its steps done, so it counts as over.
    refused(revise(world, plan(items_of(said("x"), said("y", "x")))), "conflict", "item 0")
    world = paused(plan(items_of(said("x"), said("y", "x"))), until="f[0]/x")
    assert isinstance(revise(world, plan(items_of(said("x"), said("y", "x"), said("z", "y")))), Accepted)
    resumed(world)
    assert executed(world) == [f"f[{i}]/{s}" for i in range(3) for s in "xyz"]


def group_of(*steps: Step, **more: Any) -> Step:
    return Step(id="g", form=Group(body=Body(steps=steps), **more))


def test_members_join_a_group_that_waits_for_all_and_no_other() -> None:
    world = paused(plan(group_of(said("x"), said("y", "x"))), until="g/x")
    assert isinstance(revise(world, plan(group_of(said("x"), said("y", "x"), said("z")))), Accepted)
    resumed(world)
    assert sorted(executed(world)) == ["g/x", "g/y", "g/z"]
    world = paused(plan(group_of(said("x"), said("y", "x"), sync="count", count=2)), until="g/x")
    more = plan(group_of(said("x"), said("y", "x"), said("z"), sync="count", count=2))
    refused(revise(world, more), "conflict", "step g/z cannot be added to g", "some of its members")


def test_members_that_wait_for_room_are_removed_and_the_others_still_get_it() -> None:
    members = [said(id) for id in "uvwxyz"]
    world = paused(plan(group_of(*members, max_concurrency=2)), until="g/u")
    left = [m for m in members if m.id not in {"w", "y"}]
    assert isinstance(revise(world, plan(group_of(*left, max_concurrency=2))), Accepted)
    resumed(world)
    assert sorted(executed(world)) == ["g/u", "g/v", "g/x", "g/z"]
    assert world.status() == "completed"


def test_what_was_about_to_end_goes_on_with_a_step_that_is_added_and_ends_when_the_last_is_removed() -> None:
    world = paused(plan(said("a")), until="a")
    assert isinstance(revise(world, plan(said("a"), said("b", "a"))), Accepted)
    check(world)
    assert isinstance(revise(world, plan(said("a")), expected=1), Accepted)
    check(world)
    assert isinstance(revise(world, plan(said("a"), said("c", "a")), expected=2), Accepted)
    resumed(world)
    assert executed(world) == ["a", "c"]
    assert world.status() == "completed"


def test_a_decision_that_was_taken_keeps_its_path() -> None:
    decision = Step(id="d", form=Decision(condition="true", true_path=("p", "q"), false_path=()))
    whole = plan(decision, said("p", on_demand=True), said("q", on_demand=True), said("e", "d"))
    world = paused(whole, until="p")
    gone = Step(id="d", form=Decision(condition="true", true_path=("p",), false_path=()))
    refused(revise(world, plan(gone, said("p", on_demand=True), said("e", "d"))), "conflict", "step d has begun")
    changed = said("q", on_demand=True, action="other")
    assert isinstance(revise(world, plan(decision, said("p", on_demand=True), changed, said("e", "d"))), Accepted)
    resumed(world)
    assert executed(world) == ["p", "q", "e"]


def test_a_changed_run_is_taken_over_from_its_log_and_from_a_snapshot() -> None:
    for limits in (Limits(), Limits(snapshot_at_rest=1, snapshot_records=1)):
        world = paused(CHAIN, until="a", limits=limits)
        assert isinstance(revise(world, plan(said("a"), said("n", "a"), said("b", "n"), said("c", "b"))), Accepted)
        world.virtual.run_until_idle()
        assert (world.store.snapshot("run/r") is not None) is (limits.snapshot_at_rest == 1)
        later = world.crash()
        assert isinstance(revise(later, plan(said("a"), said("n", "a"), said("m", "n"))), Rejected)
        assert isinstance(revise(later, plan(said("a"), said("n", "a"), said("m", "n")), expected=1), Accepted)
        resumed(later)
        assert executed(later) == ["n", "m"]
        assert later.status() == "completed"


def test_a_plan_that_is_lost_sets_the_run_aside_with_words() -> None:
    world = paused(CHAIN, until="a")
    assert isinstance(revise(world, plan(said("a"), said("d", "a"))), Accepted)
    world.virtual.run_until_idle()
    (event,) = world.named(ev.PlanRevised)
    later = world.crash()
    del later.blobs._blobs[event.plan]
    refused(later.virtual.request(ResumeRun(run="r", by="user:jr")), "conflict", "of a change is gone")


# --- steps by hand --------------------------------------------------------------------------------


def execute(world: World, path: str, inputs: dict[str, Any] | None = None) -> Answer:
    return world.virtual.request(ExecuteStep(run="r", path=path, inputs=inputs, by="user:jr", reason="by hand"))


ON_DEMAND = plan(said("a"), said("extra", on_demand=True), said("b", "a"))


def test_a_step_on_demand_does_not_run_by_itself() -> None:
    world = World(ACTIONS).run(ON_DEMAND)
    assert executed(world) == ["a", "b"]


def test_a_step_on_demand_is_run_by_hand_and_the_run_waits_for_it() -> None:
    world = World({**ACTIONS})
    world.create(plan(said("a"), said("extra", on_demand=True, action="hang")))
    assert isinstance(execute(world, "extra"), Accepted)
    for _ in range(6):
        world.virtual.step()
    check(world)
    assert sorted(executed(world)) == ["a", "extra"]
    assert world.status() == "running", "it does not end while a step that was asked for runs"


@pytest.mark.parametrize("given", [None, {"v": "given"}, {"v": "x" * 40_000}], ids=["its own", "given", "a large one"])
def test_it_gets_its_own_inputs_or_those_that_are_given(given: dict[str, Any] | None) -> None:
    world = paused(ON_DEMAND)
    answer = execute(world, "extra", given)
    assert isinstance(answer, Accepted)
    assert (answer.event, answer.position) == ("StepRequested", len(world.store.stream("run/r")))
    assert world.named(ev.StepScheduled) == [] or executed(world) == ["a"]
    resumed(world)
    assert "extra" in executed(world)
    (done,) = [e for e in world.named(ev.StepCompleted) if e.path == "extra"]
    if given is None or len(given["v"]) < 1_000:
        assert CODEC.unpack(done.exposed)["v"] == ("extra" if given is None else given["v"])
    (event,) = world.named(ev.StepRequested)
    assert (event.by, event.reason, event.given) == ("user:jr", "by hand", given is not None)


def test_a_ready_step_gets_other_inputs_and_its_condition_is_not_asked() -> None:
    world = paused(plan(said("a"), said("b", "a", when="false")), until="a")
    assert isinstance(execute(world, "b", {"v": "mine"}), Accepted)
    resumed(world)
    assert executed(world) == ["a", "b"]
    assert world.outputs() == {"v": "mine"}


def test_given_inputs_survive_a_takeover_and_a_redispatch() -> None:
    hangs = [True]
    world = World({**ACTIONS, "once": lambda _, v: HANGS if hangs else {"v": v}})
    whole = plan(said("a", action="once", on_demand=True, inputs={"v": "$steps.nothing.v"}), said("b", action="hang"))
    world.create(whole)
    assert isinstance(execute(world, "a", {"v": 5}), Accepted)
    for _ in range(4):
        world.virtual.step()
    hangs.clear()
    world.virtual.put(msg.ProcessDown(world.host.partition.runs["r"].steps["a"].agent, "killed"))
    for _ in range(6):
        world.virtual.step()
    check(world)
    (done,) = world.named(ev.StepCompleted)
    assert CODEC.unpack(done.exposed)["v"] == 5


def test_what_cannot_be_started_is_refused_with_the_rule_and_the_step() -> None:
    world = paused(plan(said("a"), said("b", "a"), said("c", "b"), said("x", "b", on_demand=True)), until="a")
    refused(execute(world, "a"), "conflict", "step a is completed")
    refused(execute(world, "c"), "conflict", "step c is not ready", "it waits for b")
    refused(execute(world, "x"), "conflict", "step x is not ready", "it waits for b")
    refused(execute(world, "bb"), "not_found", "no step 'bb'", "did you mean 'b'?")
    refused(execute(world, "l#1/x"), "not_found", "no step")
    resumed(world)
    refused(execute(world, "x"), "conflict", "is completed")


def test_a_path_that_names_what_was_run_by_hand_says_so() -> None:
    decision = Step(id="d", form=Decision(condition="true", true_path=("p",), false_path=()), after=("a",))
    world = paused(plan(said("a"), decision, said("p", on_demand=True)))
    assert isinstance(execute(world, "p"), Accepted)
    resumed(world)
    assert world.status() == "failed"
    (event,) = world.named(ev.RunFailed)
    assert "p, which has run already" in event.error["message"]


def test_the_fold_of_a_history_without_its_plans_is_refused() -> None:
    from kos_runtime.core.errors import InvariantViolation
    from kos_runtime.core.workflow.evolve import evolve

    world = paused(CHAIN, until="a")
    run: Run = world.folded()
    event = ev.PlanRevised("user:jr", "", 1, "none", "none", {}, "add_step", "x", [], False)
    with pytest.raises(InvariantViolation, match="was not given the plan of revision 1"):
        evolve(run, event)


def test_an_action_that_another_agent_has_is_linked_by_the_change() -> None:
    world = paused(CHAIN, until="a")
    whole = link_for(ACTIONS)
    more = replace(whole, agents={**whole.agents, "k2": replace(whole.agents["k"], kind="k2", pool="k2")})
    extra = Step(id="b", form=Action(agent="k2", action="other"), after=("a",), inputs={"v": 1})
    assert isinstance(revise(world, plan(said("a"), extra), link=more), Accepted)
    resumed(world)
    assert world.outputs() == {"v": "other 1"}


# --- with forks and restores ------------------------------------------------------------------------


def changed_run() -> tuple[World, int]:
    """Return a paused run whose plan was changed behind its first step, and the seq of the change."""
    world = paused(plan(said("a", idempotent=True), said("b", "a", idempotent=True)), until="a")
    answer = revise(
        world, plan(said("a", idempotent=True), said("n", "a", idempotent=True), said("b", "n", idempotent=True))
    )
    assert isinstance(answer, Accepted)
    return resumed(world), answer.position


@pytest.mark.parametrize(("back", "steps"), [(0, ["a", "n", "b"]), (1, ["a", "b"])], ids=["behind it", "before it"])
def test_a_fork_follows_the_plan_that_there_was_at_its_point(back: int, steps: list[str]) -> None:
    world, at = changed_run()
    fork = ForkRun(run="fork", parent="r", at=at - back, changes=[], salt=b"t" * 16, by="user:jr")
    assert isinstance(world.virtual.request(fork), Accepted)
    world.virtual.run_until_idle()
    assert world.status("fork") == "completed"
    assert [e.path for e in world.named(ev.StepCompleted, "fork")] == steps
    run = world.folded("fork")
    assert run.revision == 1 - back
    # It is changed and taken over like any other.
    again = world.crash()
    assert again.status("fork") == "completed"


def test_a_restore_to_before_a_change_follows_the_plan_from_before_it() -> None:
    world, at = changed_run()
    assert executed(world) == ["a", "n", "b"]
    assert isinstance(world.virtual.request(RestoreRun(run="r", to=at - 1, by="user:jr")), Accepted)
    driven(world)
    assert world.status() == "completed"
    assert executed(world) == ["a", "n", "b", "b"]
    assert world.folded().revision == 0
    # What a step did that the plan does not have any more is not known to be harmless.
    refused(world.virtual.request(RestoreRun(run="r", to=at, by="user:jr")), "conflict", "step 'n' acted after")
    run = world.folded()
    view = RunView("r")
    for position, event in enumerate(world.events(), 1):
        fold(view, event, position, position)
    assert (view.revision, view.changes, view.plan) == (0, [], run.plan_now)

"""Pausing, going on, calling off: what people decide of whole runs, raced against progress and crashes."""

from typing import Any

import pytest

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.core.plan.model import Action, Backoff, ForEach, Plan, Policy, Step
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, Answer, CancelRun, PauseRun, Rejected, ResumeRun, StartRun
from kos_runtime.engine import messages as msg
from kos_runtime.engine.limits import Limits

from .world import CODEC, HANGS, Fails, World, act, plan, restored, state_of

BY = "user:jr"


def square(_: Invocation, v: int) -> Any:
    return {"v": v * v}


def hang(_: Invocation, **__: Any) -> Any:
    return HANGS


def chain(*actions: str) -> Plan:
    return plan(
        *(
            act(f"s{i}", action, after=(f"s{i - 1}",) if i else (), inputs={"v": 3})
            for i, action in enumerate(actions)
        )
    )  # fmt: skip


def steps(world: World, count: int) -> None:
    for _ in range(count):
        world.virtual.step()
        for run in world.host.partition.runs.values():
            if run.position:
                assert state_of(world.folded(run.id)) == state_of(run)
                assert state_of(restored(world, run)) == state_of(run)


def outcome(world: World, path: str, *, fence: int = 1, run: str = "r", **result: Any) -> None:
    world.virtual.put(msg.Outcomes("k-1", [Outcome(run, path, fence, exposed=CODEC.pack({"result": 1, **result}))]))


def pause(world: World, reason: str = "lunch", *, run: str = "r", id: str = "") -> Answer:
    return world.virtual.request(PauseRun(run=run, by=BY, reason=reason), command_id=id)


def resume(world: World, *, run: str = "r") -> Answer:
    return world.virtual.request(ResumeRun(run=run, by=BY))


def cancel(world: World, *, grace_ms: int = 5_000, run: str = "r", id: str = "") -> Answer:
    command = CancelRun(run=run, by=BY, reason="wrong topic", grace_ms=grace_ms)
    return world.virtual.request(command, command_id=id)


def row(world: World, run: str = "r") -> Any:
    found = world.store.run(run)
    assert found is not None
    return found


def ends(world: World, run: str = "r") -> list[str]:
    kinds = (ev.RunCompleted, ev.RunFailed, ev.RunCancelled)
    return [type(event).__name__ for event in world.events(run) if isinstance(event, kinds)]


# --- pause --------------------------------------------------------------------------------------


def test_a_paused_run_lets_end_what_runs_and_starts_nothing() -> None:
    world = World({"hang": hang, "square": square})
    world.create(chain("hang", "square"))
    steps(world, 4)
    answer = pause(world)
    assert isinstance(answer, Accepted)
    assert (answer.event, answer.position) == ("RunPaused", len(world.store.stream("run/r")))
    assert (row(world).status, row(world).waiting) == ("running", "paused by user:jr: lunch")
    outcome(world, "s0")
    steps(world, 5)
    assert [event.path for event in world.named(ev.StepCompleted)] == ["s0"]
    assert world.executed == [("s0", 1, 1)]
    assert row(world).status == "paused"
    assert world.host.partition.runs == {}, "it needs no memory"
    assert world.host.partition.is_idle(), "and nobody has to stay for it"
    assert world.host.partition.active == 0


@pytest.mark.parametrize("crash", [False, True])
def test_it_goes_on_where_it_was(crash: bool) -> None:
    world = World({"hang": hang, "square": square})
    world.create(chain("hang", "square"))
    steps(world, 4)
    pause(world)
    outcome(world, "s0")
    steps(world, 3)
    if crash:
        world = world.crash()
        world.virtual.run_until_idle()
        assert world.executed == []
    answer = resume(world)
    assert isinstance(answer, Accepted)
    assert answer.event == "RunResumed"
    world.virtual.run_until_idle()
    assert [entry[0] for entry in world.executed][-1] == "s1"
    assert world.outputs() == {"v": 9}
    assert [event.path for event in world.named(ev.StepCompleted)] == ["s0", "s1"]


def test_a_result_that_comes_after_a_crash_of_the_partition_is_still_taken() -> None:
    world = World({"hang": hang, "square": square})
    world.create(chain("hang", "square"))
    steps(world, 4)
    pause(world)
    later = world.crash()
    later.virtual._inbox[:] = [msg.ProcessUp("k-1", "k", 4, [("r", "s0", 1)]), msg.Reconciled()]
    steps(later, 4)
    outcome(later, "s0")
    steps(later, 4)
    assert [event.path for event in later.named(ev.StepCompleted)] == ["s0"]
    assert later.executed == []
    assert row(later).status == "paused"


def test_a_retry_waits_for_the_pause_to_end() -> None:
    tries: list[int] = []

    def go(_: Invocation, v: int) -> Any:
        tries.append(v)
        if len(tries) == 1:
            raise Fails(ErrorType.TRANSIENT)
        return {"v": v}

    backoff = Backoff(strategy="fixed", initial_ms=1_000, max_ms=1_000, jitter=False)
    world = World({"go": go})
    world.create(plan(act("a", "go", inputs={"v": 1}), policies=(Policy(rule="default", backoff=backoff),)))
    steps(world, 4)
    pause(world)
    world.clock.advance_to(world.clock.now() + 10_000)
    steps(world, 4)
    assert tries == [1]
    assert row(world).status == "paused"
    resume(world)
    world.virtual.run_until_idle()
    assert tries == [1, 1]
    assert world.status() == "completed"


def test_a_wide_fan_stops_at_its_window_and_loses_nothing() -> None:
    form = ForEach(items=list(range(40)), name="v", agent="k", action="square", max_concurrency=3)
    fan = plan(Step(id="each", form=form, inputs={"v": "$v"}, outputs=(("v", "v"),)))
    world = World({"square": square})
    world.create(fan)
    steps(world, 4)
    pause(world)
    steps(world, 10)
    before = len(world.named(ev.StepCompleted))
    assert 0 < before < 40
    steps(world, 5)
    assert len(world.named(ev.StepCompleted)) == before
    resume(world)
    world.virtual.run_until_idle()
    assert world.outputs()["v"] == [v * v for v in range(40)]


def test_pausing_twice_is_one_event_and_so_is_one_command_sent_twice() -> None:
    world = World({"hang": hang})
    world.create(chain("hang"))
    steps(world, 4)
    first = pause(world, id="c1")
    again = pause(world, id="c1")
    other = pause(world, "another reason", id="c2")
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert (again.event, again.position) == (first.event, first.position)
    assert isinstance(other, Accepted)
    assert (other.event, other.existing) == ("", True)
    assert [event.reason for event in world.named(ev.RunPaused)] == ["lunch"]


def test_only_what_has_begun_and_is_not_over_can_be_paused() -> None:
    world = World({"square": square}, limits=Limits(max_active_runs=1))
    world.create(chain("square"), run="created", start=False)
    refused = pause(world, run="created")
    assert isinstance(refused, Rejected)
    assert refused.code == "conflict"
    assert "created" in refused.message
    world.run(chain("square"))
    over = pause(world)
    assert isinstance(over, Rejected)
    assert "run r is completed" in over.message
    nobody = pause(world, run="nobody")
    assert isinstance(nobody, Rejected)
    assert nobody.code == "not_found"
    assert isinstance(resume(world), Rejected)


def test_going_on_with_what_is_not_paused_changes_nothing() -> None:
    world = World({"hang": hang})
    world.create(chain("hang"))
    steps(world, 4)
    before = len(world.events())
    answer = resume(world)
    assert isinstance(answer, Accepted)
    assert (answer.event, answer.existing) == ("", True)
    assert len(world.events()) == before


# --- cancel -------------------------------------------------------------------------------------


def test_what_runs_is_asked_to_stop_and_what_it_completes_is_kept() -> None:
    world = World({"hang": hang, "square": square})
    world.create(chain("hang", "square"))
    steps(world, 4)
    answer = cancel(world)
    assert isinstance(answer, Accepted)
    assert answer.event == "CancelRequested"
    assert world.cancelled == [("s0", 1)]
    assert row(world).status == "running"
    outcome(world, "s0")
    steps(world, 3)
    assert [event.path for event in world.named(ev.StepCompleted)] == ["s0"]
    assert ends(world) == ["RunCancelled"]
    assert (row(world).status, row(world).error) == ("cancelled", "cancelled by user:jr: wrong topic")
    assert world.executed == [("s0", 1, 1)]
    assert world.host.partition.runs == {}


def test_a_failure_of_a_run_that_is_cancelled_is_not_retried() -> None:
    world = World({"hang": hang, "square": square})
    world.create(chain("hang", "square"))
    steps(world, 4)
    cancel(world)
    world.virtual.put(msg.Outcomes("k-1", [Outcome("r", "s0", 1, error=Fails(ErrorType.TRANSIENT).error)]))
    steps(world, 3)
    assert world.named(ev.RetryScheduled) == []
    assert [event.reason for event in world.named(ev.StepCancelled)] == ["it stopped: transient: scripted"]
    assert ends(world) == ["RunCancelled"]


def test_when_its_grace_is_over_a_process_is_ended_and_its_neighbours_go_on() -> None:
    world = World({"hang": hang, "square": square})
    world.create(chain("hang"))
    world.create(chain("hang"), run="neighbour")
    steps(world, 4)
    cancel(world, grace_ms=5_000)
    world.clock.advance_to(world.clock.now() + 4_999)
    steps(world, 2)
    assert ends(world) == []
    world.clock.advance_to(world.clock.now() + 1)
    steps(world, 6)
    assert ends(world) == ["RunCancelled"]
    (called_off,) = world.named(ev.StepCancelled)
    assert (called_off.path, called_off.fence) == ("s0", 1)
    (again,) = world.named(ev.StepRedispatched, "neighbour")
    assert not again.cause.startswith("suspect"), "it was ended on purpose"
    assert world.executed[-1] == ("s0", 1, 2), "under a new fence, as the same attempt"
    before = len(world.events())
    outcome(world, "s0")
    steps(world, 3)
    assert len(world.events()) == before, "whoever answers now is not heard"


def test_without_a_grace_it_is_over_at_once() -> None:
    world = World({"hang": hang})
    world.create(chain("hang"))
    steps(world, 4)
    answer = cancel(world, grace_ms=0)
    assert isinstance(answer, Accepted)
    assert answer.event == "RunCancelled"
    assert ends(world) == ["RunCancelled"]


def test_a_second_call_may_shorten_the_grace_and_not_lengthen_it() -> None:
    world = World({"hang": hang})
    world.create(chain("hang"))
    steps(world, 4)
    cancel(world, grace_ms=60_000)
    longer = cancel(world, grace_ms=90_000)
    assert isinstance(longer, Accepted)
    assert longer.existing
    shorter = cancel(world, grace_ms=1_000)
    assert isinstance(shorter, Accepted)
    assert not shorter.existing
    world.clock.advance_to(world.clock.now() + 1_000)
    steps(world, 3)
    assert ends(world) == ["RunCancelled"]


@pytest.mark.parametrize("grace", [-1, 86_400_001])
def test_a_grace_beyond_its_bounds_is_refused(grace: int) -> None:
    world = World({"hang": hang})
    world.create(chain("hang"))
    steps(world, 4)
    answer = cancel(world, grace_ms=grace)
    assert isinstance(answer, Rejected)
    assert answer.code == "invalid"
    assert world.named(ev.CancelRequested) == []


def test_what_has_not_begun_or_waits_is_over_at_once() -> None:
    ask = plan(
        act("a", "fail", policies=(0,)), policies=(Policy(rule="eh", ladder=("manual", "fail")),)
    )  # fmt: skip

    def fail(_: Invocation) -> Any:
        raise Fails(ErrorType.PERMANENT)

    world = World({"fail": fail, "hang": hang, "square": square}, limits=Limits(max_active_runs=1))
    world.create(ask, run="waits")
    world.virtual.run_until_idle()
    assert row(world, "waits").status == "waiting"
    world.create(chain("square"), run="created", start=False)
    world.create(chain("hang"), run="busy")
    steps(world, 4)
    world.create(chain("square"), run="pending")
    assert row(world, "pending").status == "pending"
    pause(world, run="busy")
    for run in ("waits", "created", "pending"):
        assert isinstance(cancel(world, run=run), Accepted)
        assert (ends(world, run), row(world, run).status) == (["RunCancelled"], "cancelled")
    cancel(world, run="busy", grace_ms=0)
    steps(world, 4)
    assert row(world, "busy").status == "cancelled"
    assert world.host.partition.active == 0
    assert isinstance(world.virtual.request(StartRun(run="pending")), Rejected)
    assert world.run(chain("square"), run="next").status("next") == "completed"


@pytest.mark.parametrize("adopted", [False, True])
def test_a_crash_in_the_grace_ends_it_all_the_same(adopted: bool) -> None:
    world = World({"hang": hang})
    world.create(chain("hang"))
    steps(world, 4)
    cancel(world, grace_ms=5_000)
    later = world.crash()
    if adopted:
        later.virtual._inbox[:] = [msg.ProcessUp("k-1", "k", 4, [("r", "s0", 1)]), msg.Reconciled()]
        steps(later, 3)
        assert ends(later) == []
    later.virtual.run_until_idle()
    assert ends(later) == ["RunCancelled"]
    assert later.executed == []


def test_an_escalation_that_is_asked_meanwhile_is_called_off_too() -> None:
    def fail(_: Invocation) -> Any:
        raise Fails(ErrorType.PERMANENT)

    world = World({"fail": fail, "on_escalation": lambda *_, **__: HANGS})
    policy = Policy(rule="eh", ladder=("escalate", "fail"), escalation_agent="boss")
    world.create(plan(act("a", "fail", policies=(0,)), policies=(policy,)))
    steps(world, 8)
    assert [entry[0] for entry in world.executed] == ["a", "a!1"]
    cancel(world, grace_ms=1_000)
    assert world.cancelled == [("a!1", 1)]
    world.clock.advance_to(world.clock.now() + 1_000)
    steps(world, 4)
    assert ends(world) == ["RunCancelled"]


def test_a_run_that_is_being_cancelled_is_not_paused() -> None:
    world = World({"hang": hang})
    world.create(chain("hang"))
    steps(world, 4)
    cancel(world)
    refused = pause(world)
    assert isinstance(refused, Rejected)
    assert "is being cancelled" in refused.message


@pytest.mark.parametrize("at", range(1, 12))
def test_wherever_it_is_paused_and_resumed_the_end_is_the_same(at: int) -> None:
    form = ForEach(items=[1, 2, 3, 4, 5], name="v", agent="k", action="square", max_concurrency=2)
    whole = plan(
        act("first", "square", inputs={"v": 2}),
        Step(id="each", form=form, inputs={"v": "$v"}, outputs=(("v", "v"),), after=("first",)),
        Step(id="last", form=Action(agent="k", action="square"), inputs={"v": 5}, after=("each",)),
    )
    world = World({"square": square})
    world.create(whole)
    steps(world, at)
    answer = pause(world)
    steps(world, 6)
    if isinstance(answer, Accepted):
        assert row(world).status == "paused"
        resume(world)
    world.virtual.run_until_idle()
    assert world.outputs() == {"v": 25}
    assert sorted(entry[0] for entry in world.executed) == sorted({entry[0] for entry in world.executed})

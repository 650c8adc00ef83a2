"""Steps that wait: what they hold, what ends them, what is refused; and runs that may take only so long."""

from dataclasses import replace
from typing import Any

import pytest

from kos_runtime.adapters.clock import LogClock
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.plan.model import Plan
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import (
    Accepted,
    CancelRun,
    DecideApproval,
    PauseRun,
    Rejected,
    ResumeRun,
    RetryStep,
    SendSignal,
)  # fmt: skip
from kos_runtime.core.workflow.waiting import waits_for
from kos_runtime.definition import WorkflowDocument, compile_workflow, load
from kos_runtime.engine import clocks, partition
from kos_runtime.engine.host import Host

from .world import CODEC, HANGS, START, Fails, World, restored, state_of

HOUR = 3_600_000
BY = "user:jr"


def compiled(text: str) -> Plan:
    document = load("workflow:\n  id: w\n  inputs: []\n" + text, "w.yaml")
    assert isinstance(document, WorkflowDocument)
    return compile_workflow(document)[0]


def settle(world: World) -> None:
    while world.virtual.step():
        pass
    for run in world.host.partition.runs.values():
        if run.position:
            assert state_of(world.folded(run.id)) == state_of(run)
            assert state_of(restored(world, run)) == state_of(run)


def pass_time(world: World, ms: int) -> None:
    until = world.clock.now() + ms
    while world.clock.now() < until:
        due = world.host.partition.next_due() or until
        world.clock.advance_to(min(until, max(due, world.clock.now() + 1)))
        settle(world)


def begun(text: str, actions: dict[str, Any] | None = None, **more: Any) -> World:
    world = World(actions or {}, **more)
    assert isinstance(world.create(compiled(text)), Accepted)
    settle(world)
    return world


def tell(world: World, command: Any, id: str = "") -> Any:
    answer = world.virtual.request(command, command_id=id)
    settle(world)
    return answer


def signal(world: World, name: str = "go", data: Any = None, *, run: str = "r", id: str = "") -> Any:
    return tell(world, SendSignal(run=run, signal=name, data=data, by=BY), id)


def decide(
    world: World, name: str = "jr", *, approved: bool = True, path: str = "", roles: Any = (), **data: Any
) -> Any:
    command = DecideApproval(
        run="r", path=path, approved=approved, data=data, comment="", by=f"user:{name}", roles=list(roles), right="test"
    )
    return tell(world, command)


def waiting(world: World, run: str = "r") -> str:
    row = world.store.run(run)
    assert row is not None
    return row.waiting


def timers(world: World) -> list[tuple[str, int]]:
    return [(row.path, row.due) for row in world.store.timers_due(1 << 60)]


# --- nothing is held ----------------------------------------------------------------------------


def test_runs_that_wait_for_time_are_rows_and_give_their_places_to_others() -> None:
    world = World({})
    many = 3_000
    plan = compiled("  steps: [{id: pause, wait: {for: 1h}}]")
    command = world.command(plan, {})
    for number in range(many):
        world.virtual.request(replace(command, run=f"r{number}"))
    settle(world)
    partition = world.host.partition
    assert (len(partition.runs), len(partition.metas), partition.active, len(partition.queue)) == (0, 0, 0, 0)
    assert (len(partition.clocks._durations), len(partition.clocks.cold)) == (0, 0)
    assert not partition.is_idle()
    pass_time(world, HOUR + 1_000)
    rows = [row for number in range(many) if (row := world.store.run(f"r{number}"))]
    assert {row.status for row in rows} == {"completed"}
    assert timers(world) == []
    # They are due at one instant, and are more than the store tells at once.
    assert max(row.updated_at for row in rows) <= START + HOUR + 50


def test_runs_are_in_memory_when_their_time_comes_and_leave_it_when_it_was_another_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clocks, "MOST_NEAR", 20)
    world = World({})
    command = world.command(
        compiled("  steps: [{id: go, wait_for: {signal: go, timeout: 1h, on_timeout: continue}}]"), {}
    )
    for number in range(50):
        world.virtual.request(replace(command, run=f"r{number}"))
    settle(world)
    pass_time(world, HOUR - clocks.NEAR_MS - 1)
    assert len(world.host.partition.runs) == 0
    monkeypatch.setattr(clocks, "MOST_AT_ONCE", 7)
    monkeypatch.setattr(partition, "MOST_AT_ONCE", 7)
    world.host.partition.clocks.left = 7
    world.clock.advance_to(world.clock.now() + 2)
    world.virtual.step()
    assert len(world.host.partition.runs) == 7, "so many at once, though more are due soon"
    pass_time(world, 10)
    near = sorted(world.host.partition.runs)
    assert len(near) == 20
    signal(world, run=near[0])
    assert world.status(near[0]) == "completed"
    tell(world, PauseRun(run=near[1], by=BY, reason=""))
    pass_time(world, clocks.NEAR_MS)
    assert (len(world.host.partition.runs), world.host.partition.clocks.near, world.status(near[1])) == (
        0,
        {},
        "paused",
    )
    assert [world.status(f"r{number}") for number in range(50)].count("completed") == 49


def test_a_run_at_work_beside_its_wait_stays_until_it_rests() -> None:
    steps = "  execution_order: parallel\n  steps: [{id: pause, wait: {for: 1h}}, {id: work, agent: k, action: work}]"
    world = begun(steps, {"work": lambda *_: HANGS})
    assert (world.status(), len(world.host.partition.runs)) == ("running", 1)
    assert sorted(waits_for(world.host.partition.runs["r"])) == ["attempt work", "timer pause"]
    pass_time(world, HOUR)
    assert [event.path for event in world.named(ev.WaitEnded)] == ["pause"]


def test_the_stores_timers_are_those_of_the_runs() -> None:
    steps = (
        "  execution_order: parallel\n  steps: [{id: a, wait: {for: 1h}}, {id: b, wait_for: {signal: go, timeout: 2h}}]"
    )
    world = begun(steps)
    day = 24 * HOUR
    assert timers(world) == [("a", START + HOUR), ("b", START + 2 * HOUR), ("!timeout", START + day)]
    signal(world)
    assert [path for path, _ in timers(world)] == ["a", "!timeout"]
    tell(world, CancelRun(run="r", by=BY, reason="", grace_ms=0))
    assert (world.status(), timers(world)) == ("cancelled", [])


# --- clocks -------------------------------------------------------------------------------------


class Clocks:
    """A machine's clocks, moved by hand, under a partition that is driven by the real log clock."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.boot = 0
        self.wall = START
        self.claim()

    def claim(self) -> None:
        self.clock = LogClock(
            self.wall, self.world.store.head().time, wall=lambda: self.wall, boottime=lambda: self.boot * 1_000_000
        )
        self.world.host = Host(self.world.store, self.world.blobs, CODEC, owner="test", wall=self.clock.wall)

    def go(self, ms: int) -> None:
        for _ in range(max(ms // 10_000, 1)):
            self.boot += min(ms, 10_000)
            self.wall += min(ms, 10_000)
            for _ in range(4):
                self.world.host.cycle([], self.clock.now())


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_jump_that_a_living_owner_sees_moves_no_duration(jump: int) -> None:
    world = begun("  steps: [{id: pause, wait: {for: 30m}}]")
    clocks = Clocks(world)
    clocks.go(60_000)
    assert world.host.partition.runs == {}, "it waits in the store, and nowhere else"
    clocks.wall += jump
    clocks.go(HOUR // 2 - 120_000)
    assert world.status() == "waiting"
    clocks.go(70_000)
    assert world.status() == "completed"


@pytest.mark.parametrize(("jump", "status"), [(HOUR, "completed"), (-HOUR, "waiting")])
def test_over_a_restart_a_duration_follows_the_wall_clock_and_never_goes_back(jump: int, status: str) -> None:
    world = begun("  steps: [{id: pause, wait: {for: 30m}}]")
    clocks = Clocks(world)
    clocks.go(60_000)
    clocks.wall += jump
    clocks.claim()
    clocks.go(10_000)
    assert world.status() == status
    clocks.go(2 * HOUR)
    assert world.status() == "completed"


@pytest.mark.parametrize("restart", [False, True])
def test_until_follows_the_wall_clock(restart: bool) -> None:
    # START is 2023-11-14T22:13:20Z.
    world = begun("  steps: [{id: pause, wait: {until: '2023-11-14T23:13:20Z'}}]")
    clocks = Clocks(world)
    clocks.go(120_000)
    clocks.wall += HOUR
    if restart:
        clocks.claim()
    clocks.go(30_000)
    assert world.status() == ("completed" if restart else "waiting"), "a jump is believed when it has lasted a minute"
    clocks.go(60_000)
    assert world.status() == "completed"


@pytest.mark.parametrize("restart", [False, True])
def test_until_waits_longer_when_the_wall_clock_was_set_back(restart: bool) -> None:
    world = begun("  steps: [{id: pause, wait: {until: '2023-11-14T23:13:20Z'}}]")
    clocks = Clocks(world)
    clocks.go(120_000)
    clocks.wall -= HOUR
    if restart:
        clocks.claim()
    clocks.go(HOUR)
    assert world.status() == "waiting"
    clocks.go(HOUR)
    assert world.status() == "completed"


def test_what_is_no_instant_fails_the_step() -> None:
    world = begun("  variables: {at: soon}\n  steps: [{id: pause, wait: {until: $vars.at}}]")
    assert world.status() == "failed"
    assert "not an instant" in world.named(ev.RunFailed)[0].error["message"]


# --- signals ------------------------------------------------------------------------------------

ACK = "  outputs: [{name: got, value: $steps.ack.result}]\n  steps: [{id: first, wait: {for: 1h}}, {id: ack, wait_for: {signal: go}}]"


def test_a_signal_that_comes_before_its_step_waits_is_kept_for_it() -> None:
    world = begun(ACK)
    answer = signal(world, data={"n": 1}, id="once")
    assert answer.event == "SignalReceived"
    assert signal(world, data={"n": 1}, id="once") == answer
    signal(world, data={"n": 2})
    pass_time(world, HOUR)
    assert (world.status(), world.outputs()) == ("completed", {"got": {"n": 1}})
    assert [event.number for event in world.named(ev.SignalReceived)] == [1, 2]


def test_signals_that_nobody_takes_are_bounded() -> None:
    world = begun(ACK)
    for _ in range(256):
        assert isinstance(signal(world, "other"), Accepted)
    refused = signal(world, "other")
    assert isinstance(refused, Rejected)
    assert refused.code == "busy"
    large = signal(world, "other", "x" * 40_000, run="r")
    assert isinstance(large, Rejected)


def test_a_signal_to_a_run_that_is_over_is_refused() -> None:
    world = begun("  steps: [{id: pause, wait: {for: 0s}}]")
    assert world.status() == "completed"
    refused = signal(world)
    assert (refused.code, refused.message) == ("conflict", "run r is completed")


def test_only_a_signal_that_matches_is_taken() -> None:
    world = begun("  steps: [{id: ack, wait_for: {signal: go, match: $signal.n > 1}}]")
    for data in (None, {"m": 5}, {"n": 1}, {"n": "2"}):
        signal(world, data=data)
        assert world.status() == "waiting"
    signal(world, data={"n": 2})
    assert world.status() == "completed"
    assert [event.number for event in world.named(ev.SignalTaken)] == [5]


@pytest.mark.parametrize(("then", "status"), [("fail", "failed"), ("continue", "completed"), ("escalate", "waiting")])
def test_on_timeout_says_what_follows(then: str, status: str) -> None:
    text = "  outputs: [{name: got, value: '${{ default($steps.ack.result, 0) }}'}]\n"
    world = begun(text + f"  steps: [{{id: ack, wait_for: {{signal: go, timeout: 1h, on_timeout: {then}}}}}]")
    pass_time(world, HOUR)
    assert world.status() == status
    if then == "escalate":
        assert waiting(world) == "manual: ack"


def test_while_a_run_is_paused_what_it_waited_for_is_recorded_and_leads_to_nothing() -> None:
    world = begun(
        "  steps: [{id: pause, wait: {for: 1h}}, {id: work, agent: k, action: work}]", {"work": lambda *_: {}}
    )
    tell(world, PauseRun(run="r", by=BY))
    pass_time(world, 2 * HOUR)
    assert (world.status(), world.executed) == ("paused", [])
    assert [event.path for event in world.named(ev.WaitEnded)] == ["pause"]
    tell(world, ResumeRun(run="r", by=BY))
    assert world.status() == "completed"


# --- approvals ----------------------------------------------------------------------------------

ASK = """  outputs: [{name: ok, value: $steps.ask.approved}]
  steps:
    - id: ask
      approval:
        prompt: really?
        approvers: ["role:editor", "user:max"]
        form: {why: {type: string}, stars: {type: integer, default: 3}}
        timeout: 1h
        on_timeout: THEN
"""


def test_wrong_people_wrong_forms_and_those_who_come_late_are_refused() -> None:
    world = begun(ASK.replace("THEN", "reject"))
    assert "may not decide" in decide(world, "eve", roles=["operator"], why="x").message
    assert "'why' is missing" in decide(world, "max").message
    assert "did you mean 'why'" in decide(world, "max", wy="x").message
    assert "expected integer" in decide(world, "max", why="x", stars="many").message
    assert "did you mean 'ask'" in decide(world, "max", path="aks", why="x").message
    assert not world.named(ev.ApprovalGiven)
    assert decide(world, "max", why="x").event == "ApprovalGiven"
    assert (world.status(), world.outputs()) == ("completed", {"ok": True})
    assert decide(world, "jr", roles=["editor"], why="x").message == "run r is completed"
    (given,) = world.named(ev.ApprovalGiven)
    assert given.right.startswith("named")


def test_one_rejection_decides() -> None:
    world = begun(ASK.replace("THEN", "fail"))
    assert isinstance(decide(world, "jr", roles=["editor"], approved=False), Accepted)
    assert world.outputs() == {"ok": False}


@pytest.mark.parametrize(
    ("then", "status", "ok"), [("approve", "completed", True), ("reject", "completed", False), ("fail", "failed", None)]
)
def test_when_nobody_decides_in_time(then: str, status: str, ok: Any) -> None:
    world = begun(ASK.replace("THEN", then))
    pass_time(world, HOUR)
    assert world.status() == status
    assert ok is None or world.outputs() == {"ok": ok}


def test_a_decision_that_comes_too_late_is_refused_by_whoever_owns_the_run_next() -> None:
    world = begun(ASK.replace("THEN", "reject"))
    world = world.crash()
    world.clock.advance_to(START + HOUR)
    answer = decide(world, "max", why="x")
    assert isinstance(answer, Rejected), answer
    assert (world.status(), world.outputs()) == ("completed", {"ok": False})
    assert not world.named(ev.ApprovalGiven)


def test_a_signal_that_comes_after_the_runs_time_is_refused_by_whoever_owns_it_next() -> None:
    world = begun("  timeout: 2h\n  steps: [{id: ack, wait_for: {signal: go}}]")
    world = world.crash()
    world.clock.advance_to(START + 2 * HOUR)
    answer = signal(world)
    assert isinstance(answer, Rejected), answer
    assert world.status() == "failed"
    assert not world.named(ev.SignalReceived)


# --- how long runs may take ---------------------------------------------------------------------


def test_a_run_that_takes_too_long_fails_and_what_runs_is_called_off() -> None:
    world = begun(
        "  timeout: 5m\n  steps: [{id: work, timeout: 1h, agent: k, action: work}]", {"work": lambda *_: HANGS}
    )
    pass_time(world, 300_000 - 1)
    assert world.status() == "running"
    pass_time(world, 1)
    assert world.status() == "failed"
    (failed,) = world.named(ev.RunFailed)
    assert (failed.error["type"], failed.error["message"]) == ("timeout", "the run took longer than 5m")
    assert world.cancelled == [("work", 1)]


def test_waiting_counts_and_a_run_in_the_store_is_found_again() -> None:
    world = begun("  timeout: 2h\n  steps: [{id: ack, wait_for: {signal: go}}]").crash()
    world.clock.advance_to(START)
    settle(world)
    pass_time(world, 2 * HOUR)
    assert world.status() == "failed"
    assert timers(world) == []


def test_the_time_that_a_run_is_paused_does_not_count() -> None:
    world = begun("  timeout: 2h\n  steps: [{id: ack, wait_for: {signal: go}}]")
    pass_time(world, HOUR)
    tell(world, PauseRun(run="r", by=BY))
    pass_time(world, 10 * HOUR)
    assert world.status() == "paused"
    tell(world, ResumeRun(run="r", by=BY))
    pass_time(world, HOUR - 1)
    assert world.status() == "waiting"
    pass_time(world, 1)
    assert world.status() == "failed"


def test_a_run_that_is_reopened_has_its_whole_time_again() -> None:
    def fails(*_: Any) -> Any:
        raise Fails(ErrorType.PERMANENT)

    world = begun(
        "  timeout: 2h\n  steps: [{id: pause, wait: {for: 90m}}, {id: work, agent: k, action: work}]", {"work": fails}
    )
    pass_time(world, 90 * 60_000)
    assert world.status() == "failed"
    world.actions["work"] = lambda *_: HANGS
    pass_time(world, HOUR)
    assert isinstance(tell(world, RetryStep(run="r", path="", retries=1, by=BY)), Accepted)
    (moved,) = world.named(ev.DeadlineSet)
    assert moved.at == world.clock.now() + 2 * HOUR

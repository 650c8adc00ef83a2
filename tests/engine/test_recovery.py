"""A run goes on from its log after everything else is gone, wherever it was cut."""

import copy
from typing import Any

import pytest

from kos_runtime.adapters.event_store.memory import MemoryEventStore
from kos_runtime.adapters.event_store.memory_log import MemoryLog
from kos_runtime.core.errors import Fenced, StoreFull
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.identity import run_stream
from kos_runtime.core.plan.model import Backoff, Body, ForEach, Group, Loop, Policy, SetVariables, Step
from kos_runtime.core.workflow import decide as deciding
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, Rejected, StartRun
from kos_runtime.core.workflow.progress import advance
from kos_runtime.core.workflow.waiting import waits_for
from kos_runtime.engine import host as host_module
from kos_runtime.engine import messages as msg
from kos_runtime.engine import partition as partition_module
from kos_runtime.engine.host import Host
from kos_runtime.engine.limits import Limits

from .world import CODEC, HANGS, Fails, Recording, World, act, link_for, plan, restored, spread_over, state_of


def rich_plan() -> Any:
    """A definition that uses most forms: a fan, a loop, a group, a spread step, a retry, variables."""
    backoff = Backoff(strategy="fixed", initial_ms=500, jitter=True)
    return plan(
        act("n", "numbers", inputs={"n": 5}, outputs=(("items", "items"),)),
        Step(
            id="each",
            after=("n",),
            form=ForEach(items="$steps.n.items", agent="k", action="flaky", max_concurrency=2),
            inputs={"v": "$item"},
            outputs=(("y", "y"),),
        ),
        Step(
            id="lp",
            after=("each",),
            form=Loop(
                body=Body(
                    steps=(act("b", "square", inputs={"v": "${{ $loop.index + $vars.base }}"}, outputs=(("y", "y"),)),)
                ),
                condition="$loop.index < 3",
                max_iterations=9,
            ),
        ),
        Step(id="set", after=("lp",), form=SetVariables(values={"base": 100})),
        Step(
            id="g",
            after=("set",),
            form=Group(
                body=Body(steps=tuple(act(f"m{i}", "square", inputs={"v": i}, outputs=(("y", "y"),)) for i in range(3)))
            ),
        ),
        act("sp", "gather", after=("g",), spread=True, inputs={"plan": "$steps.n.items"}, outputs=(("d", "data"),)),
        act(
            "end",
            "total",
            after=("sp",),
            inputs={"ys": "$steps.sp.d", "zs": "$steps.each.y", "w": "$steps.lp.last.b.y"},
        ),
        policies=(Policy(rule="default", max_retries=3, backoff=backoff),),
        variables={"base": 10},
    )


def actions() -> dict[str, Any]:
    def flaky(invocation: Any, v: int) -> dict[str, int]:
        if v == 2 and invocation.attempt == 1:
            raise Fails(ErrorType.TRANSIENT)
        return {"y": v * v}

    return {
        "numbers": lambda _, n: {"items": list(range(n))},
        "flaky": flaky,
        "square": lambda _, v: {"y": v * v},
        "gather": lambda _, plan: {"data": [p + 1 for p in plan]},
        "total": lambda _, ys, zs, w: {"total": sum(ys) + sum(zs) + w},
    }


def rich_world(store: MemoryEventStore | None = None, **more: Any) -> World:
    return World(actions(), store=store, **more)


def start(world: World) -> None:
    world.create(rich_plan(), link=link_for(actions(), gather=spread_over("plan", "data")))


EXPECTED = {"total": 15 + 30 + 144}


def whole_run() -> World:
    world = rich_world()
    start(world)
    world.virtual.run_until_idle()
    assert world.outputs() == EXPECTED
    return world


def cut_after(world: World, batches: int) -> World:
    """Return a new world whose store holds only the first commits of another's."""
    assert isinstance(world.store, Recording)
    kept = [copy.deepcopy(batch) for batch in world.store.appended if batch.records or batch.runs][:batches]
    store = Recording(MemoryLog(world.store.store_id))
    store.claim(0, "before")
    for batch in kept:
        store.append(batch)
    return rich_world(store, blobs=world.blobs)


def test_a_run_cut_anywhere_ends_with_the_same_result_and_repeats_nothing_that_was_completed() -> None:
    original = whole_run()
    assert isinstance(original.store, Recording)
    commits = len([batch for batch in original.store.appended if batch.records])
    assert commits > 10
    for cut in range(1, commits):
        world = cut_after(original, cut)
        done = {event.path for event in world.named(ev.StepCompleted)}
        world.virtual.run_until_idle()
        assert world.outputs() == EXPECTED, f"cut after commit {cut}"
        again = done & {path for path, *_ in world.executed}
        assert not again, f"cut after commit {cut}: {again} ran twice"
        completed = [event.path for event in world.named(ev.StepCompleted)]
        assert len(completed) == len(set(completed))


def test_the_live_state_is_the_fold_of_its_events_at_every_commit() -> None:
    world = rich_world()
    start(world)
    compared = 0
    for _ in range(200):
        world.virtual.step()
        run = world.host.partition.runs.get("r")
        if run is not None and run.position:
            assert state_of(world.folded()) == state_of(run)
            compared += 1
        if world.store.run("r") is not None and world.status() == "completed":
            break
        if not world.virtual._inbox:
            due = world.host.partition.next_due()
            world.clock.advance_to(due or 0)
    assert compared > 10


def test_a_snapshot_and_the_tail_are_the_whole() -> None:
    original = whole_run()
    records = original.store.stream(run_stream("r"), limit=10_000)
    whole = original.folded()
    for cut in range(1, len(records)):
        partial = cut_after(original, 10_000)
        del partial
        state = _folded_to(original, cut)
        through_bytes = restored(original, state)
        for record in records[cut:]:
            _apply(through_bytes, record)
        assert state_of(through_bytes) == state_of(whole)


def _folded_to(world: World, position: int) -> Any:
    state = restored(world, world.folded())
    fresh = type(state)("r", state.store_id, CODEC)
    fresh.program, fresh.link = state.program, state.link
    for record in world.store.stream(run_stream("r"), limit=position):
        _apply(fresh, record)
    return fresh


def _apply(state: Any, record: Any) -> None:
    from kos_runtime.core.event import rebuild
    from kos_runtime.core.workflow.evolve import evolve

    for event in rebuild(record.names, CODEC.unpack(record.payload)):
        evolve(state, event)
    state.position = record.position


def test_recovery_uses_a_snapshot_and_its_tail() -> None:
    limits = Limits(snapshot_records=5, snapshot_at_rest=2)
    world = rich_world(limits=limits)
    start(world)
    world.virtual.run_until_idle()
    assert world.outputs() == EXPECTED
    assert isinstance(world.store, Recording)
    taken = [i for i, batch in enumerate(world.store.appended) if batch.snapshots]
    assert taken
    kept = world.store.appended[: taken[-1] + 1]
    cut = cut_after(world, len([batch for batch in kept if batch.records or batch.runs]))
    loaded = cut.host.load_run("r")
    assert loaded.snapshot is not None
    cut.virtual.run_until_idle()
    assert cut.outputs() == EXPECTED


def test_a_second_owner_fences_the_first() -> None:
    world = rich_world()
    start(world)
    Host(world.store, world.blobs, CODEC, owner="second")
    with pytest.raises(Fenced, match="fenced: epoch 1 < 2"):
        world.virtual.run_until_idle()


def test_every_run_at_work_waits_for_something() -> None:
    world = rich_world()
    start(world)
    for _ in range(200):
        world.virtual.step()
        for run in world.host.partition.runs.values():
            if run.status == "running":
                assert waits_for(run)
        if world.status() == "completed":
            return
        if not world.virtual._inbox:
            world.clock.advance_to(world.host.partition.next_due() or 0)
    raise AssertionError("it never ended")


def test_a_run_that_makes_deciding_raise_is_set_aside_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(actions())
    simple = plan(act("a", "square", inputs={"v": 2}))
    world.create(simple, run="good")
    world.create(simple, run="bad")
    real = deciding.outcome

    def broken(desk: Any, result: Any) -> None:
        if result.run == "bad":
            raise RuntimeError("a bug")
        real(desk, result)

    monkeypatch.setattr(deciding, "outcome", broken)
    world.virtual.run_until_idle()
    assert world.status("good") == "completed"
    assert world.status("bad") == "quarantined"
    (aside,) = world.named(ev.RunQuarantined, "bad")
    assert "a bug" in aside.error
    assert world.blobs.has(aside.input_digest)
    assert world.create(simple, run="next") == Accepted(run="next", position=1, event="RunCreated")


def test_a_suspect_that_is_set_aside_leaves_its_process_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({"go": lambda *_, **__: HANGS})
    world.create(plan(act("a", "go")), run="bad")

    def broken(desk: Any) -> None:
        advance(desk)
        if desk.dispatches and any(step.kills for step in desk.run.steps.values()):
            raise RuntimeError("a bug")

    monkeypatch.setattr("kos_runtime.engine.partition.progress", broken)
    for _ in range(30):
        if any(process.holds for process in world.host.partition.pools.processes.values()):
            break
        world.virtual.step()
    (name,) = world.host.partition.pools.processes
    world.virtual.put(msg.Outcomes(name, [], [("bad", "a", 1)]))
    world.virtual.put(msg.ProcessDown(name, "SIGKILL"))
    world.virtual.run_until_idle()
    assert world.status("bad") == "quarantined"
    assert not any(process.alone or process.holds for process in world.host.partition.pools.processes.values())


@pytest.mark.parametrize("what", ["create", "start"])
def test_a_run_that_makes_its_own_creation_raise_is_refused_and_takes_no_place(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(actions(), limits=Limits(max_active_runs=1))
    simple = plan(act("a", "square", inputs={"v": 2}))
    real = getattr(deciding, what)

    def broken(desk: Any, *rest: Any) -> Any:
        answer = real(desk, *rest)
        if desk.run.id == "bad":
            raise RuntimeError("a bug")
        return answer

    monkeypatch.setattr(deciding, what, broken)
    answer = world.create(simple, run="bad")
    assert isinstance(answer, Rejected)
    assert (answer.code, "a bug" in answer.message) == ("quarantined", True)
    assert world.store.run("bad") is None
    assert world.run(simple, run="good").status("good") == "completed"


def test_a_full_disk_refuses_creates_and_goes_on_by_itself() -> None:
    class Full(Recording):
        full = False

        def append(self, batch: Any) -> None:
            if self.full and batch.records:
                raise StoreFull("events.db")
            super().append(batch)

    store = Full()
    world = rich_world(store)
    start(world)
    for _ in range(4):
        world.virtual.step()
    store.full = True
    answer = world.create(plan(act("a", "square", inputs={"v": 2})), run="late")
    assert isinstance(answer, Rejected)
    assert answer.code == "storage_full"
    store.full = False
    world.clock.advance_to(world.clock.now() + 2_000)
    world.virtual.run_until_idle()
    assert world.outputs() == EXPECTED
    completed = [event.path for event in world.named(ev.StepCompleted)]
    assert len(completed) == len(set(completed))


def test_create_by_key_is_idempotent_and_refuses_other_inputs() -> None:
    world = World(actions())
    simple = plan(act("a", "square", inputs={"v": "$inputs.v"}))
    first = world.create(simple, {"v": 1}, run="r", key="K")
    world.virtual.run_until_idle()
    again = world.create(simple, {"v": 1}, run="r", key="K")
    other = world.create(simple, {"v": 2}, run="r", key="K")
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert again.existing
    assert isinstance(other, Rejected)
    assert other.code == "conflict"
    assert len(world.named(ev.RunCreated)) == 1


def test_more_runs_than_may_be_at_work_wait_their_turn_also_over_a_crash() -> None:
    world = World(actions(), limits=Limits(max_active_runs=2))
    simple = plan(act("a", "square", inputs={"v": 2}))
    for number in range(7):
        world.create(simple, run=f"r{number}")
    assert world.host.partition.active <= 2
    later = World(actions(), store=world.store, blobs=world.blobs, limits=Limits(max_active_runs=2))
    later.virtual.run_until_idle()
    assert {later.status(f"r{number}") for number in range(7)} == {"completed"}


def test_at_the_bound_of_waiting_runs_a_create_is_refused_as_busy() -> None:
    world = World(actions(), limits=Limits(max_active_runs=0, max_pending_runs=2))
    simple = plan(act("a", "square", inputs={"v": 2}))
    answers = [world.create(simple, run=f"r{number}") for number in range(3)]
    assert [type(a).__name__ for a in answers] == ["Accepted", "Accepted", "Rejected"]
    assert isinstance(answers[2], Rejected)
    assert answers[2].code == "busy"


def test_runs_that_have_ended_or_wait_for_people_leave_memory() -> None:
    world = World({"go": _always_fails, **actions()})
    asks = plan(
        act("a", "go", inputs={"v": 1}, policies=(0,)),
        policies=(Policy(rule="eh", ladder=("fallback",), fallback="by_hand"),),
    )
    for number in range(20):
        world.create(asks, run=f"w{number}")
    world.virtual.run_until_idle()
    assert world.host.partition.runs == {}
    assert world.host.partition.metas == {}
    assert {world.status(f"w{number}") for number in range(20)} == {"waiting"}


def _always_fails(*_: Any, **__: Any) -> Any:
    raise Fails(ErrorType.PERMANENT)


def test_a_long_retry_is_a_stored_timer_and_survives() -> None:
    tries = []

    def go(_: Any, v: int) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise Fails(ErrorType.TRANSIENT)
        return {"ok": v}

    backoff = Backoff(strategy="fixed", initial_ms=3_600_000, max_ms=3_600_000, jitter=False)
    world = World({"go": go})
    world.create(plan(act("a", "go", inputs={"v": 1}), policies=(Policy(rule="default", backoff=backoff),)))
    for _ in range(6):
        world.virtual.step()
    assert world.store.next_timer() == world.named(ev.RetryScheduled)[0].at
    later = world.crash()
    later.virtual.run_until_idle()
    assert later.outputs() == {"ok": 1}
    assert later.clock.now() >= world.named(ev.RetryScheduled)[0].at
    assert later.store.next_timer() is None


def test_a_process_that_outlived_its_partition_keeps_what_it_runs() -> None:
    from kos_runtime.core.invocation import Outcome
    from kos_runtime.engine import messages as msg

    from .world import HANGS

    world = World({"slow": lambda *_, **__: HANGS})
    world.create(plan(act("a", "slow", inputs={"v": 1})))
    for _ in range(4):
        world.virtual.step()
    assert world.executed == [("a", 1, 1)]
    later = world.crash()
    later.virtual._inbox[:] = [msg.ProcessUp("k-1", "k", 4, [("r", "a", 1)]), msg.Reconciled()]
    for _ in range(4):
        later.virtual.step()
    assert later.executed == []
    assert later.host.partition.pools.processes["k-1"].holds.keys() == {("r", "a", 1)}
    later.virtual.put(msg.Outcomes("k-1", [Outcome("r", "a", 1, exposed=CODEC.pack({"result": 1}))]))
    later.virtual.run_until_idle()
    assert later.outputs() == {"result": 1}
    assert later.executed == []


def test_a_row_that_changes_without_an_event_remembers_the_runs_own_last_record() -> None:
    world = World({"go": lambda _: HANGS}, limits=Limits(max_active_runs=1))
    world.create(plan(act("a", "go")), run="first", start=False)
    world.create(plan(act("a", "go")), run="second", start=True)
    world.virtual.request(StartRun(run="first"))
    row = world.store.run("first")
    assert row is not None
    (own,) = world.store.stream(run_stream("first"))
    assert (row.status, row.position, row.offset) == ("pending", own.position, own.offset)


def test_a_run_that_cannot_be_folded_is_set_aside_behind_its_last_record_and_keeps_its_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World({"go": lambda _: {"x": 1}, "hang": lambda _, **given: HANGS})
    world.create(plan(act("a", "go"), act("b", "hang", after=("a",))), start=True, name="mine")
    while not world.named(ev.StepCompleted):
        world.virtual.step()
    before = world.store.stream(run_stream("r"))
    row = world.store.run("r")
    assert row is not None
    assert row.position < before[-1].position, "its row is older than its last record"

    def broken(*_: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(partition_module, "evolve", broken)
    after = world.crash()
    while after.status() == "running":
        after.virtual.step()
    assert after.store.stream(run_stream("r"))[-1].position == before[-1].position + 1
    row = after.store.run("r")
    assert row is not None
    assert (row.status, row.workflow, row.name) == ("quarantined", "w", "mine")


@pytest.mark.parametrize(("ended", "kills"), [(True, 0), (False, 1)])
def test_what_a_process_held_that_we_ended_ourselves_is_not_to_blame(ended: bool, kills: int) -> None:
    world = World({"go": lambda _: HANGS})
    world.create(plan(act("a", "go"), act("b", "go")), start=True)
    while len(world.executed) < 2:
        world.virtual.step()
    (process,) = world.host.partition.pools.processes
    begun = [("r", "a", 1), ("r", "b", 1)]
    down = msg.ProcessDown(process, "it did not stop", ended=ended)
    world.host.cycle([msg.Outcomes(process, [], begun), down], world.clock.now())
    assert [step.kills for step in world.host.partition.runs["r"].steps.values()] == [kills, kills]
    assert len(world.named(ev.StepRedispatched)) == 2


def test_a_run_that_waits_for_a_place_keeps_waiting_when_it_is_created_again_after_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World({"hang": lambda _: HANGS, "go": lambda _: {"x": 1}}, limits=Limits(max_active_runs=1))
    world.create(plan(act("a", "hang")), run="first", start=True)
    for run in ("second", "third"):
        world.create(plan(act("a", "go")), run=run, key=run, start=True)
    # So many wait that they are not all read when the successor begins.
    monkeypatch.setattr(host_module, "_PAGE", 1)
    after = world.crash()
    answer = after.create(plan(act("a", "go")), run="third", key="third", start=True)
    assert isinstance(answer, Accepted)
    assert answer.existing
    assert after.status("third") == "pending"
    after.actions["hang"] = lambda _: {"x": 1}
    after.virtual.run_until_idle()
    assert [after.status(run) for run in ("first", "second", "third")] == ["completed"] * 3

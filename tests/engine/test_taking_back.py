"""A run is restored to a point although it acted since, because all of that can be undone: it is, and then it goes back."""

from dataclasses import replace
from typing import Any

import pytest

from kos_runtime.core.event import rebuild
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, AnswerTask, CancelRun, ForkRun, Rejected, RestoreRun
from kos_runtime.core.workflow.state import Run
from kos_runtime.engine.limits import Limits

from .test_compensation import POLICIES, Ledger, booked, steps, undone_by
from .world import CODEC, Fails, World, act, plan, restored, state_of

TRIP = plan(booked("a"), booked("b", after=("a",)), booked("c", after=("b",)), policies=POLICIES)


def at(world: World, path: str) -> int:
    """Return the event at which a step was completed."""
    for record in world.store.stream("run/r"):
        events = rebuild(record.names, CODEC.unpack(record.payload))
        if any(isinstance(e, ev.StepCompleted) and e.path == path for e in events):
            return record.position
    raise AssertionError(path)


def back(world: World, to: int) -> Any:
    return world.virtual.request(RestoreRun(run="r", to=to, by="user:jr", reason="wrong dates"), command_id=f"b{to}")


def ended(ledger: Ledger, made: Any = TRIP) -> World:
    return World(ledger.actions).run(made)


def folded(world: World) -> Run:
    run = world.folded()
    assert state_of(restored(world, run)) == state_of(run)
    return run


def test_it_is_undone_newest_first_and_then_the_run_goes_on_from_there() -> None:
    ledger = Ledger()
    world = ended(ledger)
    assert world.status() == "completed"
    keys = [key for what, key, _ in ledger.calls if what == "book"]
    answer = back(world, at(world, "a"))
    assert isinstance(answer, Accepted)
    assert answer.event == "RunTakenBack"
    steps(world, 60)
    assert world.status() == "completed"
    assert ledger.undone() == ["c", "b"]
    again = [key for what, key, _ in ledger.calls if what == "book"][3:]
    assert len(again) == 2
    assert not set(again) & set(keys), "what is done again is done under keys of its own"
    names = [
        type(e).__name__ for e in world.events() if isinstance(e, ev.RunTakenBack | ev.RestoreBegun | ev.RunRestored)
    ]
    assert names == ["RunTakenBack", "RestoreBegun", "RunRestored"]
    assert folded(world).undo.keys() == {"a", "b", "c"}


@pytest.mark.parametrize("rounds", range(1, 14))
def test_it_goes_on_wherever_everything_was_killed(rounds: int) -> None:
    ledger = Ledger()
    world = ended(ledger)
    back(world, at(world, "a"))
    steps(world, rounds)
    world = world.crash()
    world.virtual.run_until_idle()
    assert world.status() == "completed"
    assert len(world.named(ev.RunTakenBack)) == len(world.named(ev.RunRestored)) == 1
    undone = ledger.undone()
    assert undone.index("c") < undone.index("b")
    assert "a" not in undone
    folded(world)


def test_what_cannot_be_undone_is_a_persons_task_and_the_run_waits_with_it() -> None:
    ledger = Ledger(failing_undos={"b:undo": 9})
    world = ended(ledger)
    back(world, at(world, "a"))
    world.virtual.run_until_idle()
    assert folded(world).manual.keys() == {"b:undo"}
    for command in (CancelRun(run="r", by="user:jr", reason="", grace_ms=0), RestoreRun(run="r", to=1, by="user:jr")):
        answer = world.virtual.request(command)
        assert isinstance(answer, Rejected)
        assert "undone" in answer.message
    assert isinstance(world.virtual.request(AnswerTask(run="r", path="b:undo", data={}, by="user:jr")), Accepted)
    world.virtual.run_until_idle()
    assert world.status() == "completed"
    assert len(world.named(ev.RunRestored)) == 1


def test_a_failed_run_goes_back_too() -> None:
    ledger = Ledger()
    broken = [True]

    def go(*_: Any, **__: Any) -> Any:
        if broken:
            raise Fails(ErrorType.PERMANENT)
        return {"ok": 1}

    ledger.actions["go"] = go
    made = plan(
        booked("a"),
        booked("b", after=("a",)),
        act("c", "go", after=("b",), inputs={"v": 1}, idempotent=True),
        policies=POLICIES,
        compensate_on=(),
    )
    world = ended(ledger, made)
    assert (world.status(), ledger.undone()) == ("failed", [])
    broken.clear()
    assert isinstance(back(world, at(world, "a")), Accepted)
    world.virtual.run_until_idle()
    assert (world.status(), ledger.undone()) == ("completed", ["b"])


def test_one_step_that_can_neither_be_undone_nor_repeated_stands_against_it() -> None:
    ledger = Ledger()
    ledger.actions["go"] = lambda *_, **__: {"ok": 1}
    made = plan(
        booked("a"), booked("b", after=("a",)), act("c", "go", after=("b",), inputs={"v": 1}), policies=POLICIES
    )
    world = ended(ledger, made)
    answer = back(world, at(world, "a"))
    assert isinstance(answer, Rejected)
    assert "'c'" in answer.message
    assert f"kos fork r --at {at(world, 'a')}" in answer.message
    assert (world.status(), ledger.undone()) == ("completed", [])


def test_what_was_undone_by_then_done_is_not_gone_back_to() -> None:
    ledger = Ledger()
    world = ended(ledger, plan(
        booked("a"), booked("b", after=("a",), compensate=undone_by()), act("c", "go", after=("b",), inputs={"v": 1}, idempotent=True), policies=POLICIES,
    ))  # fmt: skip
    assert (world.status(), ledger.undone()) == ("failed", ["b", "a"])
    answer = back(world, at(world, "a"))
    assert isinstance(answer, Rejected)
    assert "undone" in answer.message
    assert isinstance(back(world, 1), Accepted), "at its first event nothing had been done"


def test_from_within_its_taking_back_nothing_goes_on() -> None:
    """What it is to be taken back to is a seq of its own, which means something else in another run."""
    ledger = Ledger(failing_undos={"b:undo": 9})
    world = ended(ledger)
    back(world, at(world, "a"))
    world.virtual.run_until_idle()
    row = world.store.run("r")
    assert row is not None
    command = ForkRun(run="f", parent="r", at=row.position, changes=[], salt=b"f" * 16, by="user:jr")
    answer = world.virtual.request(command)
    assert isinstance(answer, Rejected)
    assert "was being taken back; choose a seq before that" in answer.message
    assert isinstance(world.virtual.request(replace(command, at=at(world, "a"))), Accepted)


def test_a_run_that_goes_back_to_before_it_began_begins_anew() -> None:
    """With one place, it was recorded as made before it had that; found by a simulated world."""
    ledger = Ledger()
    world = World(ledger.actions, limits=Limits(max_active_runs=1))
    held = plan(booked("a"), policies=POLICIES)
    world.create(held, run="first")
    world.create(held, run="r")
    world.virtual.run_until_idle()
    assert world.status() == "completed"
    first = rebuild(world.store.stream("run/r")[0].names, CODEC.unpack(world.store.stream("run/r")[0].payload))
    assert not any(isinstance(event, ev.RunStarted) for event in first)
    assert isinstance(back(world, 1), Accepted)
    world.virtual.run_until_idle()
    assert world.status() == "completed"
    assert len(world.named(ev.RunStarted)) == 2
    folded(world)

"""What is asked for twice happens once: at the same moment, after an answer was lost, after the run has left memory."""

from dataclasses import replace
from typing import Any

from kos_runtime.core.errors import StoreFull
from kos_runtime.core.plan.model import Fail, Step, WaitFor
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, Answer, PauseRun, Rejected, RetryStep
from kos_runtime.engine import messages as msg
from tests.engine.world import World, act, plan

ACTIONS: dict[str, Any] = {"add": lambda _: {"v": 1}}
SIGNALLED = plan(Step(id="go", form=WaitFor(signal="go")))


def both(world: World, command: Any, command_id: str) -> list[Answer]:
    """Give a command twice in one batch."""
    for token in (9_001, 9_002):
        world.virtual.put(msg.Request(token, command_id, command))
    world.virtual.step()
    return [world.virtual.answers[9_001], world.virtual.answers[9_002]]


def waiting() -> World:
    """Return a world whose run waits for a person, and so is not in memory."""
    world = World(ACTIONS).run(SIGNALLED, key="k")
    assert "r" not in world.host.partition.runs
    return world


def test_a_create_that_comes_again_after_its_run_has_ended() -> None:
    world = World(ACTIONS)
    command = world.command(plan(act("a", "add")))
    assert isinstance(world.virtual.request(command, command_id="c"), Accepted)
    world.virtual.run_until_idle()
    answer = world.virtual.request(command, command_id="c")
    assert isinstance(answer, Accepted)
    assert answer.existing
    assert len(world.named(ev.RunCreated)) == 1


def test_a_create_that_is_asked_for_again_of_another_owner() -> None:
    world = World(ACTIONS)
    command = world.command(plan(act("a", "add")))
    world.virtual.request(command, command_id="c")
    world.virtual.run_until_idle()
    successor = world.crash()
    answer = successor.virtual.request(replace(command, again=True), command_id="c")
    assert isinstance(answer, Accepted)
    assert answer.existing
    assert len(successor.named(ev.RunCreated)) == 1


def test_a_create_that_comes_again_after_the_store_had_refused() -> None:
    world = World(ACTIONS)
    command = world.command(SIGNALLED)
    world.virtual.request(command, command_id="c")
    world.virtual.run_until_idle()
    world.host._stall(StoreFull("events.db"), [], world.clock.now())
    world.clock.advance_to(world.clock.now() + 2_000)
    answer = world.virtual.request(command, command_id="c")
    assert isinstance(answer, Accepted)
    assert answer.existing
    assert len(world.named(ev.RunCreated)) == 1


def test_two_creates_of_one_key_at_once_for_a_run_that_is_not_in_memory() -> None:
    world = waiting()
    command = world.command(SIGNALLED, key="k")
    first, second = both(world, command, "again")
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert first.existing
    assert second.existing
    assert len(world.named(ev.RunCreated)) == 1


def test_one_command_twice_in_one_batch_is_carried_out_once() -> None:
    world = waiting()
    first, second = both(world, PauseRun(run="r", by="user:test"), "p")
    assert first == second
    assert isinstance(first, Accepted)
    assert len(world.named(ev.RunPaused)) == 1


def test_a_refused_command_twice_in_one_batch_is_refused_twice() -> None:
    world = World(ACTIONS)
    answers = both(world, PauseRun(run="nobody", by="user:test"), "p")
    assert all(isinstance(answer, Rejected) for answer in answers)


def test_the_row_of_a_run_that_failed_again_at_once_tells_of_the_newest_end() -> None:
    world = World(ACTIONS).run(plan(Step(id="f", form=Fail(message="it is so"))))
    before = world.store.run("r")
    assert isinstance(world.virtual.request(RetryStep(run="r", path="", retries=1, by="user:test")), Accepted)
    world.virtual.run_until_idle()
    row = world.store.run("r")
    assert row is not None
    assert before is not None
    assert row.status == "failed"
    assert row.position > before.position
    assert row.position == world.store.stream("run/r", limit=1_000)[-1].position

"""Whatever forms are nested in one another: the canonical text means the same, the run ends, and survives a cut."""

import random
from typing import Any

import pytest

from kos_runtime.adapters.event_store.memory_log import MemoryLog
from kos_runtime.core.plan.check import faults
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, RetryStep
from kos_runtime.definition import WorkflowDocument, compile_workflow, load
from kos_runtime.definition.canonical import format_document
from kos_runtime.definition.yaml_writer import write_yaml
from tests.engine.world import Recording, World, state_of
from tests.specification.random_workflows import ACTIONS, Workflows, link

#: How many workflows are drawn for one test; each takes some 10 ms.
EACH = 25


def result_of(world: World) -> Any:
    status = world.status()
    if status == "failed":
        (end,) = world.named(ev.RunFailed)
        return status, end.error["type"], end.step
    assert status in {"completed", "waiting"}, world.events()[-1]
    return (
        (status, world.outputs())
        if status == "completed"
        else (status, sorted(e.path for e in world.named(ev.ManualTaskRequested)))
    )


def drive(world: World) -> None:
    """Go on until nothing is at work, comparing the live state with the fold of its events at every commit."""
    for _ in range(2_000):
        more = world.virtual.step()
        run = world.host.partition.runs.get("r")
        if run is not None and run.position:
            assert state_of(world.folded()) == state_of(run)
        if not more and not world.virtual._inbox:
            if world.host.partition.is_idle():
                return
            world.clock.advance_to(max(world.host.partition.next_due() or 0, world.clock.now() + 1))
    raise AssertionError(f"it never ended: {world.events()[-1]}")


def cut(world: World, commits: int) -> World:
    """Return a world over the first commits of another."""
    assert isinstance(world.store, Recording)
    store = Recording(MemoryLog(world.store.store_id))
    store.claim(0, "before")
    left = commits
    for batch in world.store.appended:
        left -= bool(batch.records)
        if left < 0:
            break
        store.append(batch)
    return World(ACTIONS, store=store, blobs=world.blobs)


def retried(world: World) -> None:
    """Reopen a failed run: it may fail again, but live state, fold and fences stay right."""
    answer = world.virtual.request(RetryStep(run="r", path="", retries=2, by="user:test"))
    assert isinstance(answer, Accepted), answer
    drive(world)
    fences = [(event.path, event.fence) for event in world.named(ev.StepScheduled)]
    assert len(fences) == len(set(fences))
    assert world.status() in {"completed", "failed", "waiting"}


@pytest.mark.parametrize("start", range(0, 8 * EACH, EACH))
def test_a_random_workflow(start: int) -> None:
    for seed in range(start, start + EACH):
        document = load(write_yaml(Workflows(seed).workflow()), f"seed {seed}")
        assert isinstance(document, WorkflowDocument)
        plan, _ = compile_workflow(document)
        assert faults(plan) == (), seed
        again = load(format_document(document), f"seed {seed}")
        assert isinstance(again, WorkflowDocument)
        assert compile_workflow(again)[0] == plan, seed

        draw = random.Random(seed)
        world = World(ACTIONS)
        assert isinstance(world.create(plan, {"n": draw.randint(0, 5)}, link=link()), Accepted), seed
        drive(world)
        whole = result_of(world)
        assert isinstance(world.store, Recording)
        commits = sum(1 for batch in world.store.appended if batch.records)
        half = cut(world, draw.randint(1, commits))
        done = {event.path for event in half.named(ev.StepCompleted)}
        half.virtual.run_until_idle()
        if whole[0] == "failed":
            retried(world)
        # Who is late for a group that waits for some of its members may differ, and with it what follows.
        if not Workflows.races(document.content):
            assert result_of(half) == whole, seed
        else:
            result_of(half)
        assert not done & {path for path, *_ in half.executed}, seed

"""Whatever forms are nested in one another: forked at any event, a run ends as the one that it comes from."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from kos_runtime.core.plan.link import Link
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, ForkRun, Rejected, RestoreRun
from kos_runtime.definition import WorkflowDocument, compile_workflow, load
from kos_runtime.definition.yaml_writer import write_yaml
from tests.engine.world import World, restored, state_of
from tests.specification.random_workflows import ACTIONS, Workflows, link

#: How many workflows are drawn for one test.
EACH = 25


def result_of(world: World, run: str) -> Any:
    status = world.status(run)
    if status == "failed":
        (end,) = world.named(ev.RunFailed, run)
        return status, end.error["type"], end.step
    if status == "completed":
        return status, world.outputs(run)
    return status, sorted(e.path for e in world.named(ev.ManualTaskRequested, run))


def drive(world: World, run: str) -> None:
    """Go on until nothing is at work, comparing the live state with the fold of its events at every commit."""
    for _ in range(2_000):
        more = world.virtual.step()
        live = world.host.partition.runs.get(run)
        if live is not None and live.position:
            assert state_of(world.folded(run)) == state_of(live)
        if not more and not world.virtual._inbox:
            if world.host.partition.is_idle():
                return
            world.clock.advance_to(max(world.host.partition.next_due() or 0, world.clock.now() + 1))
    raise AssertionError(f"it never ended: {world.events(run)[-1]}")


def repeatable() -> Link:
    """The agents, all of whose actions say that they may be repeated."""
    found = link()
    agents = {
        name: replace(agent, actions={a: replace(made, idempotent=True) for a, made in agent.actions.items()})
        for name, agent in found.agents.items()
    }
    return replace(found, agents=agents)


@pytest.mark.parametrize("start", range(0, 8 * EACH, EACH))
def test_a_random_workflow_forked_anywhere(start: int) -> None:
    for seed in range(start, start + EACH):
        document = load(write_yaml(Workflows(seed).workflow()), f"seed {seed}")
        assert isinstance(document, WorkflowDocument)
        plan, _ = compile_workflow(document)
        draw = random.Random(seed)
        world = World(ACTIONS)
        assert isinstance(world.create(plan, {"n": draw.randint(0, 5)}, link=link()), Accepted), seed
        world.virtual.run_until_idle()
        whole = result_of(world, "r")
        records = world.store.stream("run/r", limit=100_000)
        at = draw.randint(1, len(records))
        before = len(world.executed)
        command = ForkRun(run="f", parent="r", at=at, changes=[], salt=b"f" * 16, by="user:test")
        answer = world.virtual.request(command)
        if isinstance(answer, Rejected):
            assert at == len(records), (seed, answer)
            assert "has ended" in answer.message
            continue
        drive(world, "f")
        forked = world.folded("f")
        assert state_of(restored(world, forked)) == state_of(forked), seed
        taken = world.events("f")[: next(n for n, e in enumerate(world.events("f")) if isinstance(e, ev.RunForked))]
        done = {event.path for event in taken if isinstance(event, ev.StepCompleted)}
        again = [path for path, _, _ in world.executed[before:]]
        assert not done & set(again), seed
        # Who is late for a group that waits for some of its members may differ, and with it what follows.
        if not Workflows.races(document.content):
            assert result_of(world, "f") == whole, seed


@pytest.mark.parametrize("start", range(0, 4 * EACH, EACH))
def test_a_random_workflow_taken_back_anywhere(start: int) -> None:
    for seed in range(start, start + EACH):
        document = load(write_yaml(Workflows(seed).workflow()), f"seed {seed}")
        assert isinstance(document, WorkflowDocument)
        plan, _ = compile_workflow(document)
        draw = random.Random(seed)
        world = World(ACTIONS)
        assert isinstance(world.create(plan, {"n": draw.randint(0, 5)}, link=repeatable()), Accepted), seed
        world.virtual.run_until_idle()
        whole = result_of(world, "r")
        records = world.store.stream("run/r", limit=100_000)
        at = draw.randint(1, len(records))
        answer = world.virtual.request(RestoreRun(run="r", to=at, by="user:test"))
        if isinstance(answer, Rejected):
            assert at == len(records), (seed, answer)
            continue
        drive(world, "r")
        if not Workflows.races(document.content):
            status = world.status()
            assert status == whole[0], seed
            if status == "completed":
                assert world.named(ev.RunCompleted)[-1].outputs == world.named(ev.RunCompleted)[0].outputs, seed
        fences = [(event.path, event.fence) for event in _own(world.events())]
        assert len(fences) == len(set(fences)), seed


def _own(events: list[Any]) -> Iterator[Any]:
    """Yield what was given to agents, without what a restore only took again."""
    real = True
    for event in events:
        if isinstance(event, ev.RestoreBegun | ev.RunRestored):
            real = isinstance(event, ev.RunRestored)
        elif real and isinstance(event, ev.StepScheduled):
            yield event

"""Five peers vote, each in a process of its own, while processes are killed; afterwards their own records are asked."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from kos_runtime.adapters.event_store.reader import SqliteLogReader
from kos_runtime.composition import wiring
from kos_runtime.composition.machines import make_installed_known
from kos_runtime.core.workflow import events as ev
from kos_runtime.testing.peers import contradictions, traces
from tests.cluster.world import World, kill, wait_until

SLOW = {"panel-4", "panel-5"}


@pytest.fixture
def voting(world: World) -> Iterator[World]:
    world.gate.unlink(missing_ok=True)
    Path(f"{world.ledger_file}.votes").unlink(missing_ok=True)
    yield world
    world.open_gate()


def asked(world: World) -> Counter[str]:
    """Return how often each elector's agent was asked."""
    with contextlib.suppress(OSError):
        return Counter(Path(f"{world.ledger_file}.votes").read_text().split())
    return Counter()


def processes(world: World, run: str) -> dict[str, str]:
    """Return in which process each peer is."""
    return {
        f"panel-{int(event.path[8:-1]) + 1}": event.agent
        for event in world.events(run)
        if isinstance(event, ev.StepScheduled)
    }


def cast(world: World, run: str) -> set[str]:
    """Return who has recorded a ballot."""
    with contextlib.closing(SqliteLogReader.open(world.folder)) as reader:
        prefix = f"coordination/{run}/verdict/"
        return {
            stream.removeprefix(prefix)
            for stream in reader.streams(prefix)
            if any("ballot_cast" in record.names for record in reader.stream(stream))
        }


def check(world: World, run: str) -> None:
    with contextlib.closing(SqliteLogReader.open(world.folder)) as reader:
        make_installed_known()
        assert len({step.node for step in traces(reader, wiring.CODEC, run)[f"coordination/{run}/verdict"].steps}) == 5
        assert contradictions(reader, wiring.CODEC, run) == []
    assert world.violations() == []


@pytest.mark.parametrize("killed", ["two of the peers", "all of them", "the partition"])
def test_killed_in_the_middle_of_a_vote(voting: World, killed: str) -> None:
    world = voting
    run = world.start("vote")
    wait_until(lambda: cast(world, run) == {"panel-1", "panel-2", "panel-3"}, "three have voted")
    wait_until(lambda: set(asked(world)) == {f"panel-{i}" for i in range(1, 6)}, "the others think")
    before = processes(world, run)
    assert len(set(before.values())) == 5, "each has a process of its own"
    epoch = world.ask("status")["epoch"]
    victims = {"two of the peers": ["panel-1", "panel-2"], "all of them": list(before), "the partition": []}[killed]
    for pid in [world.pid(before[name]) for name in victims] or [world.pid("kos/partition-0")]:
        kill(pid)
    if victims:
        wait_until(lambda: all(processes(world, run)[name] != before[name] for name in victims), "they have new places")
    else:
        wait_until(lambda: world.ask("status")["epoch"] > epoch, "a new epoch began")
    world.open_gate()
    result = world.result(run)
    assert result["outcome"] == "yes"
    assert [line["elector"] for line in result["votes"]] == sorted(before)
    again = SLOW & set(victims)
    assert asked(world) == {name: 2 if name in again else 1 for name in before}, "nobody who had voted is asked again"
    check(world, run)

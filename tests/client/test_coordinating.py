"""What the coordination classes ask of a coordinator: the same over one process and over the real engine."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import kos_runtime
from coordination import (
    Grant,
    HierarchicalCoordination,
    Limits,
    MasterSlaveCoordination,
    NotAllowed,
    PeerToPeerCoordination,
    Use,
    Version,
    hierarchy,
)
from coordination.authority_commands import Answer
from coordination.worker import Finish
from kos_runtime.client.engine import RunFailed
from kos_runtime.client.reading import Reading
from kos_runtime.core.errors import InvalidDefinition, NotFound
from kos_runtime.core.machine import Consult, Coordinator, Refused
from kos_runtime.core.workflow.events import StepCompleted, StepScheduled
from kos_runtime.definition import EngineSettings
from kos_runtime.simulator.coordinator import LocalCoordinator
from tests.client.slaves import Slave
from tests.engine.auction import Auction, Auctions, Withdraw
from tests.oracle import check_store

LATER = 9_000_000_000_000
TREE = hierarchy({"chief": "", "lead": "chief", "a": "lead"})
ROOT = Grant("root", "", "user:operator", "chief", ("deploy",), "prod", Limits(cost=10), 0, LATER, 3)
AGENTS = {"w1": "tests.client.slaves:Slave", "w2": "tests.client.slaves:Slave.on_task"}


async def _answer(stream: str, node: str, consult: Consult) -> Any:
    if "tasks" in stream:
        epoch, task, _ = consult.question
        try:
            return Finish(epoch, Slave(settings={}).on_task(task))
        except RuntimeError as error:
            return Finish(epoch, error=str(error))
    if consult.who == "chief":
        return Answer(consult.question["request"], "chief", "grant", f"{consult.question['reason']}, says the chief")
    return None


@contextmanager
def local(at: Path, agents: dict[str, str]) -> Iterator[Coordinator]:
    del at, agents
    yield LocalCoordinator(_answer)


@contextmanager
def real(at: Path, agents: dict[str, str]) -> Iterator[Coordinator]:
    with kos_runtime.connect(at / ".kos", host="process", settings=EngineSettings()) as kos:
        yield kos.coordinator(agents)


both = pytest.mark.parametrize("host", [local, real])
Host = Callable[[Path, dict[str, str]], Any]


@both
def test_tasks_are_done_by_slaves_and_come_back_in_order(host: Host, tmp_path: Path) -> None:
    async def story(engine: Coordinator) -> None:
        team = MasterSlaveCoordination(engine, "lead", ["w1", "w2"], at_hand=2, max_attempts=2)
        given = await team.distribute_task([*(f"part-{i}" for i in range(6)), "never|fails"])
        found = await team.aggregate_results(given)
        assert [name for name, _ in found.results] == [f"part-{i}" for i in range(6)]
        assert found.results[3][1]["done"] == "PART-3"
        ((name, why),) = found.failed
        assert name == "never|fails"
        assert "never cannot be done" in why
        with pytest.raises(ValueError, match="no worker of this"):
            await team.handle_slave_failure(await team.distribute_task(["x|slow"]), "w3", "?")

    with host(tmp_path, AGENTS) as engine:
        asyncio.run(story(engine))


@both
def test_authority_is_kept_and_climbs_to_who_has_it(host: Host, tmp_path: Path) -> None:
    async def story(engine: Coordinator) -> None:
        tree = HierarchicalCoordination(engine, TREE, answer_ms=2_000)
        await tree.grant(ROOT)
        with pytest.raises(NotAllowed, match="its cost is above"):
            await tree.grant(Grant("sub", "root", "chief", "lead", ("deploy",), "prod", Limits(cost=11), 0, LATER, 1))
        found = await tree.delegate_down("ship", 2, by="chief", use=Use("chief", "deploy", "prod/web", 4))
        assert (found.taken_by, found.level, found.grant) == ("a", 2, "ship/a")
        assert await tree.check_authority("a", "deploy", "prod/web", 4)
        assert await tree.act("a", "deploy", "prod/web", 4) == "ship/a"
        with pytest.raises(NotAllowed, match="0 of its cost left"):
            await tree.act("a", "deploy", "prod/web", 1)
        # Whoever is above first is no agent and says nothing.
        climbed = await tree.escalate_authority(Use("a", "deploy", "prod/db", 2), "there is need")
        assert (climbed.granted, climbed.by, climbed.comment) == (True, "chief", "there is need, says the chief")

    with host(tmp_path, {"chief": "tests.client.slaves:Chief"}) as engine:
        asyncio.run(story(engine))
    if host is real:
        # What waits for commands alone is told of as waiting, and every row is what the log makes of it.
        assert check_store(tmp_path / ".kos", created=[]) == []
        with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
            assert [(row.status, row.waiting) for row in kos.reading.log.runs()] == [("waiting", "machine: protocol")]


@both
def test_load_is_balanced_once_and_conflicts_are_resolved(host: Host, tmp_path: Path) -> None:
    async def story(engine: Coordinator) -> None:
        tasks = [f"t{i}" for i in range(30)]
        found = await PeerToPeerCoordination(engine, ["ann", "bob"]).balance_load(tasks)
        assert sorted(task for given in found.assignments.values() for task in given) == sorted(tasks)
        # Whoever asks again, in another process perhaps, is told the same.
        assert (await PeerToPeerCoordination(engine, ["ann", "bob"]).balance_load(tasks)) == found
        peers = PeerToPeerCoordination(engine, ["ann", "bob"], ranks={"bob": 2})
        versions = [Version("ann", {"ann": 1}, {"t": "A", "n": 1}), Version("bob", {"bob": 1}, {"t": "B", "n": 2})]
        settled = await peers.resolve_conflict(versions, {"t": "priority", "n": "max"})
        assert {name: field.kept for name, field in settled.fields.items()} == {"t": "B", "n": 2}

    with host(tmp_path, {}) as engine:
        asyncio.run(story(engine))


@both
def test_nobody_and_what_is_over_are_refused(host: Host, tmp_path: Path) -> None:
    async def story(engine: Coordinator) -> None:
        assert isinstance(await engine.command("nowhere", "x", "hello"), Refused)
        await engine.open("sale", Auctions(), Auction("vase", ("ann",)), ("house",))
        assert isinstance(await engine.command("sale", "hause", "bids"), Refused)
        assert await engine.command("sale", "house", Withdraw("ann")) == ("withdrawn", "ann")
        with pytest.raises(TimeoutError, match=r"has come to (rest|its end) without"):
            await engine.until("sale", lambda _: False)

    with host(tmp_path, {}) as engine:
        asyncio.run(story(engine))


def test_what_is_done_is_there_for_whoever_comes_next(tmp_path: Path) -> None:
    """The driver script and the engine are gone in the middle; another script goes on with the same stream."""
    team: Any = None

    async def begin(engine: Coordinator) -> None:
        nonlocal team
        team = MasterSlaveCoordination(engine, "lead", ["w1", "w2"])
        await team.distribute_task([f"part-{i}|slow" for i in range(8)])

    async def go_on(engine: Coordinator) -> Any:
        again = MasterSlaveCoordination(engine, "lead", ["w1", "w2"])
        return await again.aggregate_results(await again.distribute_task([f"part-{i}|slow" for i in range(8)]))

    with real(tmp_path, AGENTS) as engine:
        asyncio.run(begin(engine))
    with real(tmp_path, AGENTS) as engine:
        found = asyncio.run(go_on(engine))
    assert [value["done"] for _, value in found.results] == [f"PART-{i}" for i in range(8)]
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
        events = [line.type for row in kos.reading.log.runs() for line in kos.events(row.run)]
    assert events.count("RunCompleted") == 1
    assert "MachineRecovered" in events


def test_the_awaitable_engine_is_a_coordinator_too(tmp_path: Path) -> None:
    async def story() -> Any:
        async with kos_runtime.connect_async(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
            peers = PeerToPeerCoordination(kos, ["ann", "bob"])
            return await peers.balance_load(["x", "y"])

    assert set(asyncio.run(story()).assignments) == {"ann", "bob"}


@pytest.mark.parametrize(
    ("setup", "nodes", "agents", "says"),
    [
        (Auction("vase", ()), ("house",), {}, "cannot be opened: an auction needs a bidder"),
        (Auction("vase", ("ann",)), ("house", "house"), {}, "'house' is named twice"),
        (Auction("vase", ("ann",)), (), {}, "has no node"),
        (Auction("vase", ("ann",)), ("house", "ann"), {"ann": "kExecuter"}, "ann is asked, and no agent 'kExecuter'"),
        (replace(Auction("vase", ("ann",)), lot=object()), ("house",), {}, "a object has no name"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_opened_says_why(
    setup: Any, nodes: tuple[str, ...], agents: dict[str, str], says: str, tmp_path: Path
) -> None:
    with real(tmp_path, agents) as engine, pytest.raises(InvalidDefinition, match=says):
        asyncio.run(engine.open("sale", Auctions(), setup, nodes))


def test_a_stream_that_was_opened_otherwise_is_refused_and_one_that_raised_says_so(tmp_path: Path) -> None:
    async def story(engine: Coordinator) -> None:
        await engine.open("sale", Auctions(), Auction("vase", ("ann",)), ("house",))
        await engine.open("sale", Auctions(), Auction("vase", ("ann",)), ("house",))
        with pytest.raises(InvalidDefinition, match="belongs to run"):
            await engine.open("sale", Auctions(), Auction("urn", ("ann",)), ("house",))
        with pytest.raises(InvalidDefinition, match="raised RuntimeError: the hammer is gone"):
            await engine.command("sale", "house", "break")
        with pytest.raises(RunFailed, match="the hammer is gone"):
            await engine.until("sale", lambda _: False)

    with real(tmp_path, {}) as engine:
        asyncio.run(story(engine))


def test_the_example_of_a_protocol_of_ones_own_runs_and_goes_on_with_what_there_is(tmp_path: Path) -> None:
    examples = Path(__file__).parents[2] / "examples"
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, str(examples / "run_auction.py"), str(tmp_path / ".kos"), "process"],
            capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(examples.parent)},
        )  # fmt: skip
        assert done.stdout == "the vase goes to bob for 104\n", done.stderr
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
        (row,) = kos.reading.log.runs()
        assert (row.workflow, row.name, row.status) == ("coordination", "sales/vase", "completed")


SCRIPT = """
import asyncio, sys
import kos_runtime
from coordination import MasterSlaveCoordination
from kos_runtime.core.workflow.events import StepCompleted, StepScheduled
from kos_runtime.definition import EngineSettings

AGENTS = {name: "tests.client.slaves:Slave" for name in ("w1", "w2")}


async def main(store):
    async with kos_runtime.connect_async(store, host="process", settings=EngineSettings()) as kos:
        team = MasterSlaveCoordination(kos.coordinator(AGENTS), "lead", ["w1", "w2"], lease_ms=2_000)
        found = await team.aggregate_results(await team.distribute_task([f"part-{i}|slow" for i in range(12)]))
        print(" ".join(value["done"] for _, value in found.results))


asyncio.run(main(sys.argv[1]))
"""


def test_killed_in_the_middle_it_goes_on_and_nothing_that_was_recorded_is_done_again(tmp_path: Path) -> None:
    """Whoever owns the store is killed by SIGKILL together with the script and its agents."""
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / ".kos")]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    first = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        reading = None
        deadline = time.monotonic() + 60
        done: set[str] = set()
        while len(done) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
            with contextlib.suppress(NotFound):
                reading = reading or Reading(tmp_path / ".kos")
                done = {
                    line.event.path
                    for row in reading.log.runs()
                    for line in reading.lines(row.run)
                    if isinstance(line.event, StepCompleted)
                }
    finally:
        first.kill()
        said = first.communicate()[0]
    assert 3 <= len(done) < 12, said
    again = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert again.stdout.split() == [f"PART-{i}" for i in range(12)], again.stderr
    assert reading is not None
    (row,) = reading.log.runs()
    scheduled = [line.event.path for line in reading.lines(row.run) if isinstance(line.event, StepScheduled)]
    assert all(scheduled.count(path) == 1 for path in done)
    reading.close()

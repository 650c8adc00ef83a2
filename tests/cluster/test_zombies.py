"""A node that stands still is declared dead, its work goes to others, and then it comes back to life."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kos_runtime.core.workflow import events as ev
from tests.cluster.world import World, is_alive, kill, wait_until

#: Ray declares a node dead after so many checks that failed, this far apart and this long each, in milliseconds.
HASTY = {"initial_delay_ms": "500", "period_ms": "500", "timeout_ms": "1500", "failure_threshold": "3"}


@pytest.fixture
def hasty_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name, value in HASTY.items():
        monkeypatch.setenv(f"RAY_health_check_{name}", value)
    made = World(tmp_path, ray_num_cpus=1)
    made.keep()
    yield made
    made.close()


@contextlib.contextmanager
def second_node(world: World) -> Iterator[None]:
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(world.folder / "ray.token"),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }
    log = world.folder / "second_node.log"
    with log.open("wb") as out:
        node = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.second_node", world.address()],
            stdin=subprocess.PIPE, stdout=out, stderr=out, env=environment, start_new_session=True,
        )  # fmt: skip
    assert node.stdin is not None
    try:
        wait_until(lambda: "up" in log.read_text() or node.poll() is not None, "a second node is up")
        assert node.poll() is None, log.read_text()
        yield
    finally:
        # All of its processes are of its session's group or its raylet's children; those that stand still hear nothing.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGCONT)
        node.stdin.close()
        try:
            node.wait(20)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)


def parent_of(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat[stat.rindex(")") + 2 :].split()[1])


def flow(folder: Path, name: str, resources: str) -> Path:
    """Write down the workflow of three steps, with a demand for the middle one's process, and so for all of them."""
    path = folder / f"{name}.yaml"
    text = (Path(__file__).parent / "workflows" / "three.yaml").read_text()
    path.write_text(text.replace("      outputs:", f"      resources: {resources}\n      outputs:"))
    return path


def test_what_a_node_that_was_given_up_finishes_all_the_same_counts_for_nothing(
    hasty_world: World, tmp_path: Path
) -> None:
    world, gate = hasty_world, tmp_path / "gate"
    gate.touch()
    near, far = flow(tmp_path, "near", "{num_cpus: 1, memory: 1MiB}"), flow(tmp_path, "far", "{num_cpus: 1}")
    run = world.engine.start(near, ledger=str(world.ledger_file), gate=str(gate)).id
    world.created.append(run)
    assert world.result(run) == {"first": 1, "last": 1}
    (here,) = [int(agent["pid"]) for agent in world.agents()]
    gate.unlink()
    with second_node(world):
        # The first node's only processor is taken, so this one runs on the second.
        run = world.engine.start(far, ledger=str(world.ledger_file), gate=str(gate)).id
        world.created.append(run)
        wait_until(lambda: world.executions(run, "middle") == 1, "the middle step began")
        (old,) = [pid for agent in world.agents() if (pid := int(agent["pid"])) != here]
        raylet = parent_of(old)
        os.kill(raylet, signal.SIGSTOP)
        try:
            kill(here)
            wait_until(lambda: world.executions(run, "middle") == 2, "another process has begun what it had in hand")
            assert is_alive(old), "the old one goes on as if nothing had happened"
            gate.touch()
            assert world.result(run) == {"first": 1, "last": 1}
        finally:
            os.kill(raylet, signal.SIGCONT)
        # Whoever takes over asks all that live what they have; the old one, back to life, is none of them.
        epoch = world.ask("status")["epoch"]
        kill(world.pid("kos/partition-0"))
        wait_until(lambda: world.ask("status")["epoch"] > epoch, "a new epoch began")
        wait_until(world.agents, "it has found its agents")
        assert old not in [int(agent["pid"]) for agent in world.agents()]
    fences = [(event.path, event.fence) for event in world.events(run) if isinstance(event, ev.StepCompleted)]
    assert fences == [("before", 1), ("middle", 2), ("after", 1)]
    assert world.violations() == []


def test_a_process_that_stood_still_while_its_work_was_given_away_comes_too_late(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    run = world.start("three", gate=str(gate))
    wait_until(lambda: world.executions(run, "middle") == 1, "the middle step began")
    name = next(event.agent for event in reversed(world.events(run)) if isinstance(event, ev.StepScheduled))
    old = world.pid(name)
    os.kill(old, signal.SIGSTOP)
    try:
        # Nobody notices, until whoever takes over asks what it has.
        kill(world.pid("kos/partition-0"))
        wait_until(lambda: world.executions(run, "middle") == 2, "another process has begun what it had in hand")
        gate.touch()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(old, signal.SIGCONT)
    assert world.result(run) == {"first": 1, "last": 1}
    wait_until(lambda: not is_alive(old), "the old one is ended")
    fences = [(event.path, event.fence) for event in world.events(run) if isinstance(event, ev.StepCompleted)]
    assert fences == [("before", 1), ("middle", 2), ("after", 1)]
    assert world.violations() == []

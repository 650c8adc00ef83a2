"""The owner is killed, alone and with everything, and outlived."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kos_runtime.adapters.event_store.connection import Tuning
from kos_runtime.adapters.event_store.sqlite import SqliteEventStore
from kos_runtime.client.owner import is_owned
from kos_runtime.core.errors import Unreachable
from tests.cluster.world import World, descendants, is_alive, kill, wait_until


def begun(world: World) -> str:
    """Start a run and return it when its middle step is at work."""
    run = world.start("three")
    wait_until(lambda: world.executions(run, "middle") == 1, "the middle step began")
    return run


def test_a_killed_owner_leaves_nothing_behind_and_its_run_goes_on_from_the_log(own_world: World) -> None:
    run = begun(own_world)
    owner = own_world.pid("kos/owner")
    processes = descendants(owner)
    assert len(processes) > 5, "Ray and the actors are among them"
    kill(owner)
    wait_until(lambda: not any(map(is_alive, processes)), "every process of the owner has ended", timeout=20.0)
    assert own_world.engine.get_workflow_status(run) == "interrupted"
    own_world.engine.close()
    own_world.open_gate()
    own_world.engine.resume(run)
    assert own_world.result(run) == {"first": 1, "last": 1}
    assert own_world.executions(run, "before") == 1
    assert own_world.executions(run, "after") == 1
    assert own_world.violations() == []

    # And once more with everything killed in the same moment, without waiting for anything.
    own_world.gate.unlink()
    second = begun(own_world)
    for pid in descendants(own_world.pid("kos/owner")):
        with contextlib.suppress(ProcessLookupError):
            kill(pid)
    wait_until(lambda: not is_owned(own_world.folder), "the lock is free")
    own_world.engine.close()
    own_world.open_gate()
    own_world.engine.resume(second)
    assert own_world.result(second) == {"first": 1, "last": 1}
    assert own_world.executions(second, "before") == 1
    assert own_world.violations() == []


def test_an_owner_that_is_told_to_end_lets_what_runs_end_and_starts_nothing_more(own_world: World) -> None:
    run = begun(own_world)
    os.kill(own_world.pid("kos/owner"), signal.SIGTERM)
    time.sleep(2.0)  # well within the grace: by now it has been told, and waits for the gate
    assert is_owned(own_world.folder)
    own_world.open_gate()
    wait_until(lambda: not is_owned(own_world.folder), "the lock is free", timeout=30.0)
    assert own_world.engine.get_workflow_status(run) == "interrupted"
    assert own_world.executions(run, "after") == 0
    own_world.engine.close()
    own_world.engine.resume(run)
    assert own_world.result(run) == {"first": 1, "last": 1}
    assert [own_world.executions(run, path) for path in ("before", "middle", "after")] == [1, 1, 1]
    assert own_world.causes_of_redispatch(run) == []
    assert own_world.violations() == []


def test_a_second_owner_is_told_who_owns_the_store_and_a_fenced_one_never_claims_again(own_world: World) -> None:
    run = begun(own_world)
    owner = own_world.pid("kos/owner")
    command = [sys.executable, "-m", "kos_runtime", "_owner", "--store", str(own_world.folder)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 7
    assert f"is owned already by process {owner}" in second.stderr

    store = SqliteEventStore.open(own_world.folder, wall=lambda: 0, tuning=Tuning(owned=False))
    claimed = store.claim(store.lease().epoch, "somebody else")
    own_world.open_gate()
    wait_until(lambda: not is_owned(own_world.folder), "the fenced owner has ended")
    assert store.lease().epoch == claimed.epoch
    assert store.lease().owner == "somebody else"
    store.close()
    assert "fenced" in (own_world.folder / "owner.log").read_text().splitlines()[-1]
    assert own_world.engine.get_workflow_status(run) == "interrupted"
    assert own_world.violations() == []


def test_an_owner_without_work_ends_by_itself_unless_it_is_kept(own_world: World) -> None:
    own_world.open_gate()
    own_world.result(own_world.start("three"))
    processes = descendants(own_world.pid("kos/owner"))
    wait_until(lambda: not is_owned(own_world.folder), "the owner has ended by itself", timeout=30.0)
    wait_until(lambda: not any(map(is_alive, processes)), "and everything with it", timeout=10.0)
    assert not (own_world.folder / "owner.json").exists()
    # Whoever has it still open begins another run all the same.
    own_world.result(own_world.start("three"))


def test_an_owner_that_is_told_to_end_lets_everything_go_and_its_run_waits_in_the_log(own_world: World) -> None:
    run = begun(own_world)
    owner = own_world.pid("kos/owner")
    processes = descendants(owner)
    os.kill(owner, signal.SIGTERM)
    wait_until(lambda: not is_owned(own_world.folder), "the owner has ended", timeout=30.0)
    wait_until(lambda: not any(map(is_alive, processes)), "and everything with it", timeout=10.0)
    assert own_world.engine.get_workflow_status(run) == "interrupted"
    assert own_world.violations() == []


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:0"])
def test_a_cluster_that_is_not_there_is_said_at_once(tmp_path: Path, address: str) -> None:
    world = World(tmp_path, ray_address=address)
    with pytest.raises(Unreachable, match=f"nobody answers at {address}"):
        world.start("three")
    assert not is_owned(world.folder)
    world.engine.close()

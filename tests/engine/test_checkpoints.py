"""States kept by an interval, in virtual time."""

import pytest

from kos_runtime.core.identity import run_stream
from kos_runtime.core.workflow.commands import Accepted, SetCheckpoints
from kos_runtime.engine.limits import Limits
from tests.engine.world import World, act, plan, restored, state_of


def world_of(interval_ms: int | None, *, of_the_run: int | None = None) -> tuple[World, list[int]]:
    """Run ten steps that take a second each; return the positions at which its state was kept."""

    def slow(invocation: object) -> dict[str, int]:
        world.clock.advance_to(world.clock.now() + 1_000)
        return {"n": 1}

    limits = Limits() if interval_ms is None else Limits(checkpoint_ms=interval_ms)
    world = World({"slow": slow}, limits=limits)
    steps = [act(f"s{n}", "slow", after=(f"s{n - 1}",) if n else (), inputs={}) for n in range(10)]
    world.create(plan(*steps), start=False)
    if of_the_run is not None:
        command = SetCheckpoints(run="r", interval_ms=of_the_run, by="user:test")
        assert isinstance(world.virtual.request(command, command_id="c"), Accepted)
    from kos_runtime.core.workflow.commands import StartRun

    world.virtual.request(StartRun(run="r"))
    world.virtual.run_until_idle()
    kept = [s.position for batch in world.store.appended for s in batch.snapshots]  # type: ignore[attr-defined]
    return world, kept


@pytest.mark.parametrize(
    ("interval", "of_the_run", "times"),
    [(3_000, None, 3), (0, None, 0), (None, None, 0), (0, 3_000, 3), (3_000, 0, 0), (3_000, 2_000, 4), (100, None, 9)],
)
def test_a_state_is_kept_so_often(interval: int | None, of_the_run: int | None, times: int) -> None:
    world, kept = world_of(interval, of_the_run=of_the_run)
    assert len(kept) == times
    row = world.store.snapshot(run_stream("r"))
    assert (row is None) == (times == 0)
    if row is not None:
        assert row.position == kept[-1]
    state = world.folded()
    assert state_of(restored(world, state)) == state_of(state)

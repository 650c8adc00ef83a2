"""How many hands a process really has free."""

from pathlib import Path

from kos_runtime.core.workflow import events as ev
from tests.cluster.world import World, wait_until


def test_what_follows_a_step_that_does_not_stop_goes_where_a_hand_is_really_free(tmp_path: Path) -> None:
    world = World(tmp_path, hands_per_process=1)
    try:
        run = world.start("outlived")
        # The gate stays shut: the first process has its one hand full until it is given up for that, much later.
        assert world.result(run) == {"last": 1}
        assert world.causes_of_redispatch(run) == []
        first, second = (e.agent for e in world.events(run) if isinstance(e, ev.StepScheduled))
        assert first != second
        world.open_gate()
        wait_until(lambda: len(world.agents()) == 2, "both are there, and told")
        again = world.start("three")
        assert world.result(again) == {"first": 1, "last": 1}
        assert world.violations() == []
    finally:
        world.close()

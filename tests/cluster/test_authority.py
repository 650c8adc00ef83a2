"""An escalation on Ray, while whoever is asked and the partition are killed in the middle of it."""

from kos_runtime.core.workflow import events as ev
from tests.cluster.world import World, kill, wait_until


def test_an_escalation_outlives_whoever_is_asked_and_its_partition(world: World) -> None:
    world.gate.unlink(missing_ok=True)
    run = world.start("authority")
    wait_until(lambda: world.executions(run, "out!1.1") == 1, "the judge is asked")
    kill(next(int(agent["pid"]) for agent in world.agents() if agent["kind"] == "kJudge"))
    wait_until(lambda: world.executions(run, "out!1.1") == 2, "the judge is asked again, since it had not answered")
    epoch = world.ask("status")["epoch"]
    kill(world.pid("kos/partition-0"))
    wait_until(lambda: world.ask("status")["epoch"] > epoch, "a new epoch began")
    world.open_gate()
    wait_until(lambda: world.engine.get_workflow_status(run) == "waiting", "it has come to the person")
    assert world.executions(run, "out") == 0
    kill(world.pid("kos/partition-0"))
    world.engine.approve(run, "out!1.2", form={"comment": "once"})
    assert world.result(run) == {"value": 1}
    events = world.events(run)
    assert [event.who for event in events if isinstance(event, ev.AuthorityAsked)] == ["judge", "person"], "each once"
    assert [world.executions(run, path) for path in ("out!1.1", "out")] == [2, 1]
    (grant,) = world.engine.authority(run)["grants"]
    assert (grant["id"], grant["void"]) == ("out!1/worker", "used up")
    assert world.violations() == []

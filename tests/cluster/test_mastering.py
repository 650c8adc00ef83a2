"""A master gives out tasks on a real Ray while a worker and the partition are killed: the protocol's own invariants hold."""

from typing import Any

from coordination.assignment import LeaseLost
from coordination.invariants.assignment import INVARIANTS
from kos_runtime.adapters.codec import MsgpackCodec
from kos_runtime.core.machine import Began, Step, Trace, Transition, violations
from kos_runtime.core.terms import fact_unwritten, unwritten
from kos_runtime.core.workflow import events as ev
from tests.cluster.world import World, kill, wait_until

#: How much a worker may have at hand is a note, which the log does not hold.
STORED = {name: check for name, check in INVARIANTS.items() if name != "L6 at hand"}


def test_a_worker_and_the_partition_are_killed_while_tasks_are_given_out(world: World) -> None:
    count = 60
    run = world.start("leased", items=list(range(count)), seconds=0.2)

    def done() -> int:
        return sum(isinstance(event, ev.StepCompleted) for event in world.events(run))

    def holder() -> str:
        """Return a process that has a task open."""
        over = {event.path for event in world.events(run) if isinstance(event, ev.StepCompleted)}
        at_work = [e for e in world.events(run) if isinstance(e, ev.StepScheduled) and e.path not in over]
        return at_work[-1].agent if at_work else ""

    wait_until(lambda: done() >= 8 and bool(holder()), "some tasks are done, and some are at work")
    kill(world.pid(holder()))
    wait_until(lambda: done() >= 20, "the others went on")
    epoch = world.ask("status")["epoch"]
    kill(world.pid("kos/partition-0"))
    wait_until(lambda: world.ask("status")["epoch"] > epoch, "a new epoch began")
    assert world.result(run)["value"] == list(range(count))
    assert world.violations() == []
    events = world.events(run)
    facts = [
        (event.node, fact_unwritten(label, values))
        for event in events
        if isinstance(event, ev.MachineDecided)
        for label, values in MsgpackCodec().unpack(event.facts)
    ]
    (opened,) = [event for event in events if isinstance(event, ev.MachineOpened)]
    steps: list[Any] = [Step(0, node, 1, Began(1), Transition([fact])) for node, fact in facts]
    assert violations(Trace(unwritten(opened.setup), steps), STORED) == []
    assert [fact.why for _, fact in facts if isinstance(fact, LeaseLost)].count("worker_lost") >= 1
    assert any(isinstance(event, ev.MachineRecovered) for event in events)

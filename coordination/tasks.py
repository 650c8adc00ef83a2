"""The machine of master and slaves: one protocol, and each node plays its part."""

from typing import Any

from coordination import assignment, worker
from coordination.assignment import Assignment, Master
from coordination.worker import Slave
from kos_runtime.core.machine import Stimulus, Transition


class Assigning:
    """Its setup is an ``Assignment``; the node named there as master assigns, all others work."""

    name = "assignment"
    version = 1

    def initial(self, me: str, setup: Assignment) -> Master | Slave:
        if me == setup.master:
            return assignment.first_state(setup)
        return Slave(me, setup.master, max(1, setup.lease_ms // 10))

    def evolve(self, state: Master | Slave, fact: Any) -> None:
        if isinstance(state, Master):
            assignment.fold(state, fact)
        else:
            worker.fold(state, fact)

    def decide(self, state: Master | Slave, stimulus: Stimulus, now: int) -> Transition:
        if isinstance(state, Master):
            return assignment.decide(state, stimulus, now)
        return worker.decide(state, stimulus, now)

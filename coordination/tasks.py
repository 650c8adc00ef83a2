"""The machine of master and slaves: one protocol, and each node plays its part."""

from collections.abc import Sequence
from typing import Any

from coordination import assignment, worker
from coordination.assignment import Assignment, Master
from coordination.worker import Slave
from kos_runtime.core.machine import Answered, Consult, Stimulus, Transition


class Assigning:
    """Its setup is an ``Assignment``; the node named there as master assigns, all others work."""

    name = "assignment"
    version = 1

    def initial(self, me: str, setup: Assignment) -> Master | Slave:
        if me == setup.master:
            return assignment.first_state(setup)
        return Slave(me, setup.master, max(1, setup.lease_ms // 10))

    def consults(self, setup: Assignment) -> tuple[str, ...]:
        return setup.workers

    def asks(self, consult: Consult) -> tuple[str, dict[str, Any]]:
        return "on_task", {"task": consult.question[1]}

    # What a host that does the work itself says to a worker, and to the master.

    def assigned(self, tasks: Sequence[str], workers: Sequence[str], **settings: Any) -> Assignment:
        return assignment.assignment(tuple(tasks), tuple(workers), joins=True, **settings)

    def finished(self, epoch: int, error: str = "", *, final: bool = False) -> worker.Finish:
        return worker.Finish(epoch, None, error, final)

    def holds(self, at_hand: int) -> worker.Holds:
        return worker.Holds(at_hand)

    def failed(self, name: str, message: str) -> assignment.Fail:
        return assignment.Fail(name, message)

    def to_plain(self, state: Master | Slave) -> Any:
        return assignment.to_plain(state) if isinstance(state, Master) else None

    def from_plain(self, me: str, setup: Assignment, plain: Any) -> Master | Slave:
        return self.initial(me, setup) if plain is None else assignment.from_plain(setup, plain)

    def answered(self, said: Answered) -> worker.Finish:
        return worker.Finish(said.question[0], said.value, said.error)

    def evolve(self, state: Master | Slave, fact: Any) -> None:
        if isinstance(state, Master):
            assignment.fold(state, fact)
        else:
            worker.fold(state, fact)

    def decide(self, state: Master | Slave, stimulus: Stimulus, now: int) -> Transition:
        if isinstance(state, Master):
            return assignment.decide(state, stimulus, now)
        return worker.decide(state, stimulus, now)

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

    # For a host that speaks for the workers itself: what a message of the master wants of one, and what one says.

    def assigned(self, tasks: Sequence[str], workers: Sequence[str], **settings: Any) -> Assignment:
        return assignment.assignment(tuple(tasks), tuple(workers), joins=True, **settings)

    def order(self, body: Any) -> tuple[bool, str, int] | None:
        """Return whether a worker is to begin or to stop, the task's name, and the lease."""
        if type(body) is worker.Work:
            return True, body.name, body.epoch
        return (False, "", body.epoch) if type(body) is worker.CancelWork else None

    def hello(self) -> Any:
        return worker.Hello()

    def room(self, at_hand: int) -> Any:
        return worker.Room(at_hand)

    def alive(self, epochs: tuple[int, ...]) -> Any:
        return worker.Alive(epochs)

    def result(self, task: int, epoch: int, error: str = "", *, final: bool = False) -> Any:
        return worker.Result(task, epoch, None, error, final)

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

"""One master, many slaves: tasks under leases. Others say leader and workers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from coordination.assignment import Fail, RecoveryAction, assignment
from coordination.tasks import Assigning
from kos_runtime.core.machine import Concluded, Coordinator, Refused


class TaskDistribution(NamedTuple):
    """A set of tasks that was handed to the workers; ask ``aggregate_results`` for what comes of it."""

    stream: str
    tasks: tuple[str, ...]
    workers: tuple[str, ...]


class AggregatedResult(NamedTuple):
    """What came of all tasks, in their order: those that were done with their values, those given up with the reason."""

    results: tuple[tuple[str, Any], ...]
    failed: tuple[tuple[str, str], ...]


class MasterSlaveCoordination:
    """Tasks spread over workers. The engine holds the stream; all IO is its own.

    Args:
        engine: What runs the machines.
        master: Who assigns.
        slaves: Who works.
        name: What the streams of this coordination begin with.
        settings: Of ``Assignment``: ``lease_ms``, ``timeout_ms``, ``max_attempts``, ``at_hand``, ``idempotent``, ``seed``.
    """

    def __init__(
        self, engine: Coordinator, master: str, slaves: Sequence[str], *, name: str = "tasks", **settings: Any
    ) -> None:
        self.master, self.slaves = master, tuple(slaves)
        self._engine, self._name, self._settings = engine, name, settings
        self._count = 0

    async def distribute_task(self, task: Sequence[str]) -> TaskDistribution:
        """Hand the parts of a task to the workers, each under a lease.

        Raises:
            ValueError: A part or a worker is named twice, there is no worker, or there are too many parts.
        """
        setup = assignment(tuple(task), self.slaves, master=self.master, **self._settings)
        self._count += 1
        stream = f"coordination/{self._name}/tasks-{self._count}"
        await self._engine.open(stream, Assigning(), setup, (self.master, *self.slaves))
        return TaskDistribution(stream, setup.tasks, self.slaves)

    async def aggregate_results(self, results: TaskDistribution) -> AggregatedResult:
        """Wait until every part is over, and return all of them in order, whatever the order in which they came."""
        concluded = await self._engine.until(results.stream, _is_concluded)
        outcome = concluded.outcome
        return AggregatedResult(
            tuple((name, value) for name, value in outcome["results"]),
            tuple((name, message) for name, message in outcome["failed"]),
        )

    async def handle_slave_failure(self, of: TaskDistribution, slave_id: str, error: str) -> RecoveryAction:
        """Take away what a worker has, and give it to others at once.

        Raises:
            ValueError: It is no worker of this distribution.
        """
        action = await self._engine.command(of.stream, self.master, Fail(slave_id, error))
        if isinstance(action, Refused):
            raise ValueError(action.message)  # noqa: TRY004  # not a wrong type: a wrong name
        assert isinstance(action, RecoveryAction)
        return action


def _is_concluded(fact: Any) -> bool:
    return type(fact) is Concluded

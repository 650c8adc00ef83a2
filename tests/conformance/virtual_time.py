"""For rows about time: the partition on the in-memory store, with clocks that a test moves."""

from typing import Any

from kos_runtime.core.workflow.commands import Accepted, Answer, Command
from kos_runtime.definition import WorkflowDocument, compile_workflow, load
from tests.engine.world import CODEC, START, World, state_of


class VirtualTime:
    """A store and its owner, which can be ended as ``kill -9`` does, and come again. ``actions`` are those of agent ``k``."""

    def __init__(self, actions: dict[str, Any]) -> None:
        self._world = World(actions)

    def start(self, text: str, *, run: str = "r", **inputs: Any) -> None:
        document = load(text, "w.yaml")
        assert isinstance(document, WorkflowDocument)
        answer = self._world.create(compile_workflow(document)[0], inputs, run=run)
        assert isinstance(answer, Accepted), answer
        self.settle()

    def settle(self) -> None:
        """Let everything happen that needs no time."""
        while self._world.virtual.step():
            pass
        for run in self._world.host.partition.runs.values():
            if run.position:
                assert state_of(self._world.folded(run.id)) == state_of(run)

    def pass_time(self, ms: int) -> None:
        until = self._world.clock.now() + ms
        while self._world.clock.now() < until:
            due = self._world.host.partition.next_due()
            self._world.clock.advance_to(min(until, max(due or until, self._world.clock.now() + 1)))
            self.settle()

    def kill(self) -> None:
        now = self._world.clock.now()
        self._world = self._world.crash()
        self._world.clock.advance_to(now)
        self.settle()

    def tell(self, command: Command) -> Answer:
        answer = self._world.virtual.request(command)
        self.settle()
        return answer

    def status(self, run: str = "r") -> str:
        return self._world.status(run)

    def waiting(self, run: str = "r") -> str:
        row = self._world.store.run(run)
        assert row is not None
        return row.waiting

    def outputs(self, run: str = "r") -> dict[str, Any]:
        return self._world.outputs(run)

    def events(self, kind: type, run: str = "r") -> list[Any]:
        return self._world.named(kind, run)

    @property
    def in_memory(self) -> int:
        return len(self._world.host.partition.runs)


__all__ = ["CODEC", "START", "VirtualTime"]

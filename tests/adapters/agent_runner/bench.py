"""A runner on a bench: an agent, memory for blobs, and everything that it hands out."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kos_runtime.adapters.agent_runner.runner import AgentRunner
from kos_runtime.adapters.blob_store.memory import MemoryBlobStore
from kos_runtime.adapters.codec import MsgpackCodec
from kos_runtime.core.failure import WorkflowError
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.ports.agent import Agent

CODEC = MsgpackCodec()
#: Nothing in these tests takes so long; one that hangs fails here instead of hanging the suite. Seconds.
PATIENCE = 20.0


class Bench:
    """Runs invocations of one agent and takes what comes late."""

    def __init__(self, agent: Agent, **more: Any) -> None:
        self.blobs = MemoryBlobStore()
        self.late: list[Outcome] = []
        self._arrived = threading.Condition()
        self._fence = 0
        blobs = more.pop("blobs", self.blobs)
        self.runner = AgentRunner(agent, codec=CODEC, blobs=blobs, cache_dir="cache", on_late=self._take, **more)

    def _take(self, outcomes: list[Outcome]) -> None:
        with self._arrived:
            self.late.extend(outcomes)
            self._arrived.notify_all()

    def invocation(self, action: str, inputs: Any = None, **more: Any) -> Invocation:
        """Return an invocation under a fence of its own."""
        self._fence += 1
        given: dict[str, Any] = {
            "run": "run1", "path": "step", "attempt": 1, "fence": self._fence, "epoch": 1, "agent": "agent",
            "action": action, "inputs": CODEC.pack(inputs or {}), "timeout_ms": 0, "key": "kos:store:run1:step:0",
        }  # fmt: skip
        return Invocation(**{**given, **more})

    def run(self, action: str, inputs: Any = None, **more: Any) -> Outcome:
        """Execute one action to its end."""
        outcomes = self.runner.run_batch([self.invocation(action, inputs, **more)], PATIENCE * 1_000).outcomes
        assert len(outcomes) == 1
        return outcomes[0]

    def value(self, action: str, inputs: Any = None, **more: Any) -> Any:
        """Execute one action and return what it exposes, blobs included."""
        outcome = self.run(action, inputs, **more)
        assert outcome.error is None, outcome.error
        return self.opened(outcome)

    def opened(self, outcome: Outcome) -> dict[str, Any]:
        found: dict[str, Any] = CODEC.unpack(outcome.exposed)
        found.update({name: CODEC.unpack(self.blobs.get(ref.digest)) for name, ref, _, _ in outcome.blobs})
        return found

    def failure(self, action: str, inputs: Any = None, **more: Any) -> WorkflowError:
        """Execute one action that fails, and return how."""
        outcome = self.run(action, inputs, **more)
        assert outcome.error is not None, self.opened(outcome)
        assert not outcome.exposed
        return outcome.error

    def wait_late(self, count: int) -> list[Outcome]:
        """Wait until so many outcomes were handed out late, and return them all."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.late) >= count, PATIENCE), self.late
            return list(self.late)


@contextmanager
def bench(agent: Agent, **more: Any) -> Iterator[Bench]:
    """Set up a bench and take it down again."""
    made = Bench(agent, **more)
    try:
        yield made
    finally:
        made.runner.close()

"""Executes invocations one by one on the caller's thread, in time that is given to it: the runner of simulations.

The same doors as those of the runner with threads: the ledger that does nothing twice under one fence, the checks of
inputs and results, the classification of what is raised. A body takes no real time; one that sleeps in a coroutine says
for how long it did. When it begins and ends, and what becomes of it in between, is the caller's to say.
"""

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from types import CoroutineType
from typing import Any, Final

from kos_runtime.adapters.agent_runner.actions import Actions, failed, timed_out
from kos_runtime.adapters.agent_runner.context import AttemptContext
from kos_runtime.adapters.agent_runner.ledger import Ledger
from kos_runtime.adapters.agent_runner.work import Attempt, Batch, Key
from kos_runtime.adapters.current import CURRENT
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.ports.agent import Agent
from kos_runtime.ports.blob_store import BlobStore
from kos_runtime.ports.codec import Codec

_MS: Final = 1_000_000
#: A coroutine that would sleep for longer in one go is given up: nobody waits for it in virtual time either.
_LONGEST_S: Final = 30 * 86_400.0


@dataclass(slots=True)
class Executed:
    """What a body came to, and for how many milliseconds it says that it slept."""

    outcome: Outcome
    slept_ms: float


class SteppedRunner:
    """See the module. ``clock`` gives nanoseconds. One thread at a time."""

    def __init__(
        self, agent: Agent, kind: str, *, codec: Codec, blobs: BlobStore, cache_dir: str, clock: Callable[[], int]
    ) -> None:
        self.kind = kind
        self._actions = Actions(agent, kind, codec, blobs)
        self._ledger = Ledger()
        self._clock = clock
        self._cache_dir = cache_dir

    # --- what comes from a partition

    def take(self, invocations: Sequence[Invocation]) -> tuple[list[Outcome], list[Invocation]]:
        """Part what was done before, and is answered again, from what is to be done."""
        return self._ledger.take(invocations)

    def acknowledge(self, keys: Sequence[Key]) -> None:
        self._ledger.acknowledge(keys)

    def inventory(self, epoch: int) -> tuple[list[Key], list[Outcome]]:
        return self._ledger.inventory(epoch)

    def unacknowledged(self) -> list[Outcome]:
        """Return outcomes of which nobody has said that they are stored."""
        return list(self._ledger._unacknowledged.values())

    def running(self) -> list[Key]:
        return list(self._ledger.running)

    def overdue(self) -> int:
        """Return how many bodies run on although their timeout was reported."""
        return len(self._ledger.overdue)

    def drop(self, key: Key) -> None:
        """See to it that what waits here does not begin."""
        if key in self._ledger.queued:
            self._ledger.dropped.add(key)

    # --- one attempt

    def begin(self, invocation: Invocation) -> Attempt:
        now = self._clock()
        timeout = invocation.timeout_ms
        key = (invocation.run, invocation.path, invocation.fence)
        attempt = Attempt(invocation, key, _NOBODY, now, now + timeout * _MS if timeout > 0 else 0)
        self._ledger.begin(attempt)
        return attempt

    def execute(self, attempt: Attempt, instead: Callable[[Any], Any] | None = None) -> Executed:
        """Execute a body; ``instead`` makes of its result what is returned in its place, or raises."""
        before = CURRENT.set(attempt.invocation)
        try:
            return self._execute(attempt, instead)
        finally:
            CURRENT.reset(before)

    def _execute(self, attempt: Attempt, instead: Callable[[Any], Any] | None) -> Executed:
        invocation = attempt.invocation
        slept = 0.0
        try:
            if self._ledger.dropped:
                self._ledger.refuse_dropped(attempt.key)
            call, arguments = self._actions.prepare(invocation)
            if call.signature.context is not None:
                arguments[call.signature.context] = self._context(attempt)
            value = call.method(**arguments)
            if type(value) is CoroutineType:
                value, slept = run_virtually(value)
            if instead is not None:
                value = instead(value)
            outcome = self._actions.outcome(invocation, call, value)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            outcome = failed(attempt, error)
        return Executed(outcome, slept * 1_000)

    def end(self, attempt: Attempt, outcome: Outcome) -> bool:
        """Take a body off; say whether its outcome counts, which it does not after its timeout was reported."""
        outcome.duration_ms = (self._clock() - attempt.begun) / _MS
        return self._ledger.end(attempt, outcome)

    def time_out(self, attempt: Attempt) -> Outcome | None:
        """Decide that a body took too long, though it runs on; None when it has ended."""
        outcome = timed_out(attempt, self.kind, self._clock())
        return outcome if self._ledger.time_out(attempt, outcome) else None

    def cancelled(self, attempt: Attempt) -> Outcome:
        """Return the outcome of a body that was asked to stop and did."""
        attempt.stopped = attempt.stopped or self._clock() or 1
        return failed(attempt, asyncio.CancelledError())

    def _context(self, attempt: Attempt) -> AttemptContext:
        attempt.stop = threading.Event()
        attempt.context = AttemptContext(
            attempt.invocation, self._cache_dir, None, None, attempt.stop, lambda: attempt.begun
        )
        return attempt.context


_NOBODY: Final = Batch(0, left=True)


class _VirtualSelector(selectors.SelectSelector):
    """Waits by moving the loop's time."""

    def __init__(self, loop_time: list[float]) -> None:
        super().__init__()
        self._time = loop_time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found and timeout is None:
            # Nothing will ever wake it.
            raise TimeoutError("the action waits for something that cannot come in virtual time")
        if not found and timeout:
            self._time[0] += timeout
            if self._time[0] > _LONGEST_S:
                raise TimeoutError("the action sleeps for longer than thirty days")
        return found


def run_virtually(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, float]:
    """Run a coroutine in an event loop whose time moves when everything in it sleeps; return how far it moved."""
    now = [0.0]
    loop = asyncio.SelectorEventLoop(_VirtualSelector(now))
    loop.time = lambda: now[0]  # type: ignore[method-assign]
    try:
        return loop.run_until_complete(coroutine), now[0]
    finally:
        coroutine.close()
        loop.close()

"""Executes invocations on the caller's thread, in time that is given to it: the runner of simulations.

The same doors as those of the runner with threads: the ledger that does nothing twice under one fence, the checks of
inputs and results, the post that says what an attempt says until it is told, the classification of what is raised. A body
takes no real time; one that sleeps in a coroutine says for how long it did, and one that waits for another agent is given
back until it is told. When it begins and ends, and what becomes of it in between, is the caller's to say.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from inspect import iscoroutinefunction
from types import CoroutineType
from typing import Any, Final

from kos_runtime.adapters.agent_runner.actions import Actions, Call, failed, timed_out
from kos_runtime.adapters.agent_runner.bodies import Body, Coroutines, Plain, Speaking, may_speak
from kos_runtime.adapters.agent_runner.context import AttemptContext
from kos_runtime.adapters.agent_runner.ledger import Ledger
from kos_runtime.adapters.agent_runner.post import AGAIN_S, MAX_AGAIN_S, HandOut, Post, Said
from kos_runtime.adapters.agent_runner.work import Attempt, Batch, Key
from kos_runtime.adapters.current import CURRENT
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.ports.agent import ActionFailed, Agent
from kos_runtime.ports.blob_store import BlobStore
from kos_runtime.ports.codec import Codec

_MS: Final = 1_000_000
_AGAIN_MS: Final = AGAIN_S * 1_000


@dataclass(slots=True)
class Executed:
    """How far a body came; instants are milliseconds since it began.

    ``outcome`` None: it waits to be told what became of what it said, and wants to go on at ``wake_ms`` at the latest.
    """

    outcome: Outcome | None
    slept_ms: float
    #: What it said on the way, and when.
    said: list[tuple[float, Outcome]] = field(default_factory=list)
    wake_ms: float | None = None


@dataclass(slots=True)
class _Work:
    """A body and how what comes of it is to be read."""

    call: Call
    body: Body
    instead: Callable[[Any], Any] | None


class _Said(Said):
    """A message of a body in virtual time: who asks for its answer stands still without holding anybody up."""

    __slots__ = ("_body",)

    def __init__(self, attempt: Attempt, outcome: Outcome, hand_out: HandOut, ask: bool, body: Body) -> None:
        super().__init__(attempt, outcome, hand_out, ask)
        self._body = body

    def result(self, timeout: float | None = None) -> Any:
        body = self._body
        end = None if timeout is None else body.now_ms + timeout * 1_000
        wait_s = AGAIN_S
        while not self.is_settled:
            again = body.now_ms + wait_s * 1_000
            body.wait(lambda: self.is_settled, again if end is None else min(again, end))
            if self._event.is_set():
                break
            if self._attempt.stopped:
                raise ActionFailed(ErrorType.TRANSIENT, "the attempt was stopped while it waited for another agent")
            if end is not None and body.now_ms >= end:
                raise TimeoutError(f"no answer within {timeout} s")
            wait_s = min(wait_s * 2, MAX_AGAIN_S)
            self._hand_out([self.outcome])
        return self._take()


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
        self._post = Post(codec, blobs, self._hand_out, self._make_said)
        #: Bodies that have not ended, and the one that goes on just now.
        self._work: dict[Key, _Work] = {}
        self._body: Body | None = None
        self._out: list[tuple[float, Outcome]] = []
        self._ends_said: set[Key] = set()

    # --- what comes from a partition

    def hear(self, invocations: Sequence[Invocation]) -> tuple[list[Outcome], list[Invocation], list[Key]]:
        """Part what attempts are told of their messages from work: that it was told, the work, and who can go on."""
        if not self._post.is_used:
            return [], list(invocations), []
        told, work = self._post.take(invocations)
        keys = {(each.run, each.path.rpartition("<")[0], each.fence): None for each in told}
        return told, work, [key for key in keys if key in self._work]

    def take(self, invocations: Sequence[Invocation]) -> tuple[list[Outcome], list[Invocation]]:
        """Part what was done before, and is answered again, from what is to be done."""
        return self._ledger.take(invocations)

    def acknowledge(self, keys: Sequence[Key]) -> None:
        self._ledger.acknowledge(keys)

    def inventory(self, epoch: int) -> tuple[list[Key], list[Outcome]]:
        keys, outcomes = self._ledger.inventory(epoch)
        return keys, [*outcomes, *self._post.untold()]

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
            if self._ledger.dropped:
                self._ledger.refuse_dropped(attempt.key)
            call, arguments = self._actions.prepare(attempt.invocation)
            body = self._made(attempt, call, arguments)
            self._work[attempt.key] = _Work(call, body, instead)
            return self._go(attempt, 0.0)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            return Executed(failed(attempt, error), 0.0)
        finally:
            CURRENT.reset(before)

    def resume(self, attempt: Attempt) -> Executed:
        """Have a body that waits go on: it was told something, or wanted to."""
        before = CURRENT.set(attempt.invocation)
        try:
            return self._go(attempt, (self._clock() - attempt.begun) / _MS)
        finally:
            CURRENT.reset(before)

    def _made(self, attempt: Attempt, call: Call, arguments: dict[str, Any]) -> Body:
        method, name = call.method, call.signature.context
        if name is not None:
            arguments[name] = self._context(attempt)
        if iscoroutinefunction(method):
            return self._coroutine(attempt, method(**arguments))
        code = getattr(method, "__code__", None)
        if name is not None and (code is None or may_speak(code, name)):
            return Speaking(method, arguments)
        return Plain(method, arguments)

    def _coroutine(self, attempt: Attempt, coroutine: Any) -> Body:
        said_by, key = self._post.said_by, attempt.key
        attempt.coroutine = True
        return Coroutines(coroutine, lambda: any(not said.is_settled for said in said_by(key)))

    def _go(self, attempt: Attempt, now_ms: float) -> Executed:
        work = self._work[attempt.key]
        body = self._body = work.body
        if body.is_over:
            body.now_ms = max(body.now_ms, now_ms)
        else:
            body.go(now_ms)
        if body.is_over and type(body.value) is CoroutineType:
            # A method that is no coroutine gave one.
            work.body, before = self._coroutine(attempt, body.value), body
            body = self._body = work.body
            body.go(before.now_ms)
        if not body.is_over:
            return Executed(None, body.now_ms, self._taken(), body.wake_ms)
        owed = [said.outcome for said in self._post.said_by(attempt.key) if said.is_owed] if body.error is None else []
        if owed:
            # Its result stands behind everything that it sent.
            if attempt.key in self._ends_said:
                self._hand_out(owed)
            self._ends_said.add(attempt.key)
            return Executed(None, body.now_ms, self._taken(), body.now_ms + _AGAIN_MS)
        return Executed(self._outcome(attempt, work), body.now_ms, self._taken())

    def _outcome(self, attempt: Attempt, work: _Work) -> Outcome:
        if work.body.error is not None:
            return failed(attempt, work.body.error)
        try:
            if self._post:
                self._post.ensure(attempt.key)
            value = work.body.value if work.instead is None else work.instead(work.body.value)
            return self._actions.outcome(attempt.invocation, work.call, value)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            return failed(attempt, error)

    def _make_said(self, attempt: Attempt, outcome: Outcome, hand_out: HandOut, ask: bool) -> Said:
        return _Said(attempt, outcome, hand_out, ask, self._work[attempt.key].body)

    def _hand_out(self, outcomes: list[Outcome]) -> None:
        assert self._body is not None
        self._out += [(self._body.now_ms, outcome) for outcome in outcomes]

    def _taken(self) -> list[tuple[float, Outcome]]:
        said, self._out = self._out, []
        return said

    def end(self, attempt: Attempt, outcome: Outcome) -> bool:
        """Take a body off; say whether its outcome counts, which it does not after its timeout was reported."""
        outcome.duration_ms = (self._clock() - attempt.begun) / _MS
        self._forget(attempt.key)
        return self._ledger.end(attempt, outcome)

    def _forget(self, key: Key) -> None:
        work = self._work.get(key)
        if work is not None:
            self._body = work.body
            work.body.close()
            # What it says on its way out nobody hears.
            self._out.clear()
            del self._work[key]
        self._post.forget(key)
        self._ends_said.discard(key)

    def close(self) -> None:
        """End all bodies, as a process does that ends."""
        for key in list(self._work):
            self._forget(key)

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
            attempt.invocation,
            self._cache_dir,
            None,
            None,
            attempt.stop,
            self._clock,
            partial(self._post.say, attempt),
        )
        return attempt.context


_NOBODY: Final = Batch(0, left=True)

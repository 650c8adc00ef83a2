"""Executes invocations of one agent on a few threads, in batches.

A batch costs one hand-over for many short actions: work is cut into chunks that take about a millisecond by what the
action has taken so far, and those far below that stay with one thread. When a chunk turns out to take longer, what of it
has not begun is given to other threads and what has ended is handed out, so no result waits for the slowest beside it.
``run_batch`` returns as soon as its batch is done, else after a few milliseconds with what is; the rest is handed to
``on_late`` as it ends.

Outcomes are kept until they are acknowledged, and what comes twice under one fence is executed once. A body that
outlives its timeout is reported at once, but its thread stays taken until it really ends: nobody can stop it but by
ending the process, which ``wedged`` asks for.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from types import CoroutineType
from typing import Any, Final

from kos_runtime.adapters.agent_runner.actions import Actions, failed, timed_out
from kos_runtime.adapters.agent_runner.context import AttemptContext, Progress
from kos_runtime.adapters.agent_runner.ledger import Ledger
from kos_runtime.adapters.agent_runner.loop import Ended, EventLoop
from kos_runtime.adapters.agent_runner.post import Post, Said
from kos_runtime.adapters.agent_runner.watch import Watch
from kos_runtime.adapters.agent_runner.work import Attempt, Batch, Chunk, Key
from kos_runtime.adapters.current import CURRENT
from kos_runtime.core.failpoint import hit
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.ports.agent import Agent, MessageRefused
from kos_runtime.ports.blob_store import BlobStore
from kos_runtime.ports.codec import Codec

#: An isolated action that was told to stop has so long to do so, in seconds.
ISOLATED_S: Final = 0.5
#: A chunk of work is worth about so many nanoseconds, and holds at most so many invocations.
CHUNK_NS: Final = 1_000_000
MAX_CHUNK: Final = 512
#: Actions below so many nanoseconds are worth more to one thread: several would only wait for each other's lock on the
#: interpreter, which costs half as much again as the actions themselves.
SHORT_NS: Final = 250_000
SHORT_CHUNK_NS: Final = 20_000_000
_MS: Final = 1_000_000


@dataclass(slots=True)
class BatchResult:
    """What has ended, and what still runs."""

    outcomes: list[Outcome]
    running: list[Key] = field(default_factory=list)


class AgentRunner:
    """See the module. Its methods may be called from any thread.

    ``threads`` actions that are no coroutines run at once. ``on_late`` and ``on_progress`` are called on the runner's
    threads. ``clock`` gives monotonic nanoseconds. ``kind`` is the agent's own unless given.

    Raises:
        ValueError: An action of the agent cannot be called by what it declares.
    """

    def __init__(
        self,
        agent: Agent,
        kind: str = "",
        *,
        codec: Codec,
        blobs: BlobStore,
        cache_dir: str,
        on_late: Callable[[list[Outcome]], None],
        threads: int = 4,
        on_progress: Progress | None = None,
        log: Callable[..., None] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        ledger: Ledger | None = None,
    ) -> None:
        self.agent = agent
        self.kind = kind or type(agent).kind or type(agent).__name__
        self._cache_dir = cache_dir
        self._on_late = on_late
        self._on_progress = on_progress
        self._log = log
        self._clock = clock
        self._actions = Actions(agent, self.kind, codec, blobs)
        self._ledger = ledger or Ledger()
        self._post = Post(codec, blobs, self._hand_out)
        #: Nanoseconds that an action took, as a moving average.
        self._means: dict[str, int] = {}
        self._queue: SimpleQueue[Chunk | None] = SimpleQueue()
        #: What came while too many outcomes were unacknowledged.
        self._parked: deque[tuple[list[Invocation], Batch]] = deque()
        self._closed = False
        self._loop = EventLoop(self.kind, self._coroutines_ended)
        hands = max(threads, 1)
        self._watch = Watch(self._ledger, hands, clock, on_due=self._time_out, on_slow=self._slow)
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"{self.kind}-hand-{number}", daemon=True)
            for number in range(hands)
        ]
        self._threads.append(threading.Thread(target=self._watch.run, name=f"{self.kind}-watch", daemon=True))
        for thread in self._threads:
            thread.start()

    # --- asked from outside

    def run_batch(self, invocations: Sequence[Invocation], wait_ms: float = 5.0) -> BatchResult:
        """Execute a batch; return what has ended when all has, or after ``wait_ms``, and what still runs."""
        told: list[Outcome] = []
        if self._post.is_used:
            told, invocations = self._post.take(invocations)
        again, fresh = self._ledger.take(invocations)
        if told:
            again = told + again
        if not fresh:
            return BatchResult(again)
        batch = Batch(len(fresh), left=False)
        self._enqueue(fresh, batch)
        if not batch.done.wait(wait_ms / 1_000):
            for chunk in batch.chunks:
                self._deliver(chunk.take_ended(), batch)
        ended = batch.leave()
        running = self._ledger.running
        return BatchResult(
            again + ended, [] if batch.remaining <= 0 else [key for i in fresh if (key := _key(i)) in running]
        )

    def submit(self, invocations: Sequence[Invocation]) -> None:
        """Begin a batch; everything goes to ``on_late``."""
        if self._post.is_used:
            told, invocations = self._post.take(invocations)
            if told:
                self._hand_out(told)
        again, fresh = self._ledger.take(invocations)
        if again:
            self._hand_out(again)
        if fresh:
            self._enqueue(fresh, Batch(len(fresh), left=True))

    def cancel(self, run: str, path: str, fence: int) -> bool:
        """Ask an attempt to stop, or not to begin; say whether there was one.

        A coroutine is cancelled; any other body is told by its context, and counts as wedged when it runs on.
        """
        key = (run, path, fence)
        if key in self._ledger.queued:
            self._ledger.dropped.add(key)
        attempt = self._ledger.running.get(key)
        if attempt is None:
            return key in self._ledger.dropped
        self._stop(attempt)
        return True

    def acknowledge(self, keys: Sequence[Key]) -> None:
        """Forget outcomes: they are stored."""
        self._ledger.acknowledge(keys)
        while self._parked and not self._ledger.is_full():
            with contextlib.suppress(IndexError):
                self._cut(*self._parked.popleft())

    def inventory(self, epoch: int) -> tuple[list[Key], list[Outcome]]:
        """Return what runs or waits here, and outcomes that nobody has acknowledged; refuse older epochs from now on."""
        keys, outcomes = self._ledger.inventory(epoch)
        return keys, [*outcomes, *self._post.untold()]

    def running(self) -> list[Key]:
        """Return the attempts that run and whose outcome is open."""
        return list(self._ledger.running)

    def overdue(self) -> int:
        """Return how many bodies run on although their timeout was reported: each has a thread that nobody else has."""
        return len(self._ledger.overdue)

    def wedged(self, grace_s: float) -> list[Key]:
        """Return attempts whose bodies run on, though a grace has passed since they timed out or were cancelled.

        One that has its process for itself gets a shorter one: ending that costs nobody else anything.
        """
        now, ledger = self._clock(), self._ledger
        found = [*list(ledger.overdue.values()), *list(ledger.running.values())]
        return [
            attempt.key
            for attempt in found
            if attempt.stopped and now - attempt.stopped > int(min(grace_s, self._grace_of(attempt)) * 1e9)
        ]

    def _grace_of(self, attempt: Attempt) -> float:
        call = self._actions.calls.get(attempt.invocation.action)
        return ISOLATED_S if call is not None and call.signature.mark.isolated else float("inf")

    def close(self) -> None:
        """Take no more work. Bodies that still run end with the process."""
        self._closed = True
        self._watch.close()
        for _ in self._threads:
            self._queue.put(None)
        self._loop.close()

    # --- taking work

    def _enqueue(self, fresh: list[Invocation], batch: Batch) -> None:
        if self._ledger.is_full():
            self._parked.append((fresh, batch))
        else:
            self._cut(fresh, batch)

    def _cut(self, fresh: list[Invocation], batch: Batch) -> None:
        begin = 0
        while begin < len(fresh):
            mean = self._means.get(fresh[begin].action)
            worth = CHUNK_NS if mean is None or mean > SHORT_NS else SHORT_CHUNK_NS
            size = 1 if mean is None else max(1, min(MAX_CHUNK, worth // max(mean, 1_000)))
            chunk = Chunk(fresh[begin : begin + size], batch)
            batch.chunks.append(chunk)
            self._queue.put(chunk)
            begin += size

    def _slow(self, chunk: Chunk, stuck: bool) -> None:
        """A chunk takes longer than was thought: its results go out, and if it is stuck the rest to other threads."""
        batch = chunk.batch
        if stuck:
            for invocation in chunk.take_back():
                one = Chunk([invocation], batch)
                batch.chunks.append(one)
                self._queue.put(one)
        self._deliver(chunk.take_ended(), batch)

    # --- doing it

    def _work(self, hand: int) -> None:
        while (chunk := self._queue.get()) is not None and not self._closed:
            self._watch.begin(hand, chunk)
            try:
                while (invocation := chunk.next()) is not None:
                    outcome = self._attempt(invocation, chunk.batch)
                    if outcome is not None:
                        chunk.end(outcome)
            finally:
                self._watch.end(hand)
                self._deliver(chunk.take_ended(), chunk.batch)

    def _deliver(self, outcomes: list[Outcome], batch: Batch) -> None:
        if not outcomes:
            return
        self._ledger.weigh(outcomes)
        hit("reply.before")
        if batch.take(outcomes):
            return
        self._hand_out(outcomes)
        hit("reply.after")

    def _hand_out(self, outcomes: list[Outcome]) -> None:
        # Nothing is lost when nobody takes them: they are kept, and asked for by ``inventory``.
        try:
            self._on_late(outcomes)
        except Exception as error:
            if self._log is not None:
                self._log("outcomes could not be handed out", kind=self.kind, count=len(outcomes), error=str(error))

    def _attempt(self, invocation: Invocation, batch: Batch) -> Outcome | None:
        """Execute one invocation. None when its outcome comes another way (a coroutine, or timed out before)."""
        begun = self._clock()
        timeout = invocation.timeout_ms
        key = (invocation.run, invocation.path, invocation.fence)
        attempt = Attempt(invocation, key, batch, begun, begun + timeout * _MS if timeout > 0 else 0)
        self._ledger.begin(attempt)
        if attempt.deadline:
            self._watch.expect(attempt.deadline)
        if invocation.heartbeat_ms:
            attempt.silence = invocation.heartbeat_ms * _MS
            self._watch.expect(begun + attempt.silence)
        try:
            CURRENT.set(invocation)
            if self._ledger.dropped:
                self._ledger.refuse_dropped(key)
            call, arguments = self._actions.prepare(invocation)
            if call.signature.context is not None:
                arguments[call.signature.context] = self._context(attempt)
            hit("action.before")
            value = call.method(**arguments)
            hit("action.after")
            if type(value) is CoroutineType:
                self._loop.start(attempt, value)
                return None
            if self._post:
                self._post.ensure(key)
            outcome = self._actions.outcome(invocation, call, value)
        except BaseException as error:
            # Whatever an action raises, SystemExit and foreign panics included, is its failure and not this thread's.
            outcome = failed(attempt, error)
        return outcome if self._end(attempt, outcome) else None

    def _context(self, attempt: Attempt) -> AttemptContext:
        stop = attempt.stop = threading.Event()
        attempt.context = AttemptContext(
            attempt.invocation,
            self._cache_dir,
            self._on_progress,
            self._log,
            stop,
            self._clock,
            partial(self._say, attempt),
        )
        if attempt.stopped:
            stop.set()
        return attempt.context

    def _say(self, attempt: Attempt, to: str, body: Any, action: str, key: str, conversation: str, ask: bool) -> Said:
        if attempt.key not in self._ledger.running:
            # Its context outlived it, or it runs on after its timeout: nobody listens to it any more.
            raise MessageRefused("ending", ErrorType.TRANSIENT, f"this attempt of {attempt.key[1]} is over")
        return self._post.say(attempt, to, body, action, key, conversation, ask)

    def _end(self, attempt: Attempt, outcome: Outcome) -> bool:
        spent = self._clock() - attempt.begun
        outcome.duration_ms = spent / _MS
        action = attempt.invocation.action
        mean = self._means.get(action)
        # One that waited for the interpreter's lock says little of the action, so no sample moves the average far.
        self._means[action] = spent if mean is None else mean + (min(spent, mean * 4) - mean) // 16
        if self._post:
            self._post.forget(attempt.key)
        return self._ledger.end(attempt, outcome)

    def _coroutines_ended(self, ended: list[Ended]) -> None:
        """What coroutines came to, on a thread beside the loop."""
        for attempt, value, error in ended:
            invocation = attempt.invocation
            CURRENT.set(invocation)
            if error is not None:
                outcome = failed(attempt, error)
            else:
                try:
                    if self._post:
                        self._post.ensure(attempt.key)
                    outcome = self._actions.outcome(invocation, self._actions.calls[invocation.action], value)
                except BaseException as problem:
                    outcome = failed(attempt, problem)
            if self._end(attempt, outcome):
                self._deliver([outcome], attempt.batch)

    # --- deadlines

    def _time_out(self, attempt: Attempt) -> None:
        outcome = timed_out(attempt, self.kind, self._clock())
        if self._ledger.time_out(attempt, outcome):
            self._stop(attempt)
            self._deliver([outcome], attempt.batch)

    def _stop(self, attempt: Attempt) -> None:
        attempt.stopped = attempt.stopped or self._clock() or 1
        if attempt.stop is not None:
            attempt.stop.set()
        if attempt.task is not None:
            self._loop.cancel(attempt)


def _key(invocation: Invocation) -> Key:
    return (invocation.run, invocation.path, invocation.fence)

"""Executes invocations of one agent on a few threads, in batches.

A batch costs one hand-over for many short actions: work is cut into chunks that take about a millisecond by what the
action has taken so far. ``run_batch`` returns as soon as its batch is done, else after a few milliseconds with what is;
the rest is handed to ``on_late`` as it ends. Outcomes are kept until they are acknowledged, and what comes twice under
one fence is executed once. A body that outlives its timeout is reported at once, but its thread stays taken until it
really ends: nobody can stop it but by ending the process.
"""

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Final

from kos_runtime.adapters.agent_runner.calls import Call
from kos_runtime.adapters.agent_runner.classify import classify
from kos_runtime.adapters.agent_runner.context import AttemptContext, Progress
from kos_runtime.adapters.agent_runner.data import expose, pack_exposed, read_inputs
from kos_runtime.core.failpoint import hit
from kos_runtime.core.failure import ErrorType, WorkflowError, failure
from kos_runtime.core.instant import format_duration
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.core.nearest import nearest
from kos_runtime.ports.agent import Agent
from kos_runtime.ports.blob_store import BlobStore
from kos_runtime.ports.codec import Codec

Key = tuple[str, str, int]

#: A chunk of work is worth about so many milliseconds.
CHUNK_MS: Final = 1.0
MAX_CHUNK: Final = 512
#: Outcomes that wait for their acknowledgement; beyond this the oldest are forgotten and would run again.
MAX_UNACKNOWLEDGED: Final = 20_000
#: How often deadlines are looked at, in seconds.
WATCH_S: Final = 0.05


@dataclass(slots=True)
class BatchResult:
    """What has ended, and what still runs."""

    outcomes: list[Outcome]
    running: list[Key] = field(default_factory=list)


class _Batch:
    """Invocations that came together. Once ``left`` (its caller is gone) outcomes go to ``on_late``."""

    __slots__ = ("done", "left", "lock", "outcomes", "remaining")

    def __init__(self, size: int, *, left: bool) -> None:
        self.outcomes: list[Outcome] = []
        self.remaining = size
        self.lock = threading.Lock()
        self.done = threading.Event()
        self.left = left


@dataclass(slots=True)
class _Attempt:
    invocation: Invocation
    context: AttemptContext
    batch: _Batch
    deadline: float
    reported: bool = False
    task: "asyncio.Task[None] | None" = None


class AgentRunner:
    """See the module. Its methods may be called from any thread."""

    def __init__(
        self,
        agent: Agent,
        *,
        codec: Codec,
        blobs: BlobStore,
        cache_dir: str,
        on_late: Callable[[list[Outcome]], None],
        threads: int = 4,
        on_progress: Progress | None = None,
        log: Callable[..., None] | None = None,
    ) -> None:
        self.agent = agent
        self.kind = type(agent).kind or type(agent).__name__
        self._codec = codec
        self._blobs = blobs
        self._cache_dir = cache_dir
        self._on_late = on_late
        self._on_progress = on_progress
        self._log = log
        self._calls = {name: Call(agent, attribute, mark) for name, (attribute, mark) in type(agent).actions().items()}
        self._means: dict[str, float] = {}
        self._queue: SimpleQueue[tuple[list[Invocation], _Batch] | None] = SimpleQueue()
        self._running: dict[Key, _Attempt] = {}
        self._queued: set[Key] = set()
        self._unacknowledged: OrderedDict[Key, Outcome] = OrderedDict()
        self._epoch = 0
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = [
            threading.Thread(target=self._work, name=f"{self.kind}-hand-{number}", daemon=True)
            for number in range(max(threads, 1))
        ]
        self._threads.append(threading.Thread(target=self._watch, name=f"{self.kind}-watch", daemon=True))
        for thread in self._threads:
            thread.start()

    # --- asked from outside

    def run_batch(self, invocations: Sequence[Invocation], wait_ms: float = 5.0) -> BatchResult:
        """Execute a batch; return what has ended when all has, or after ``wait_ms``, and what still runs."""
        again, fresh = self._take(invocations)
        batch = _Batch(len(fresh), left=False)
        if fresh:
            self._enqueue(fresh, batch)
            batch.done.wait(wait_ms / 1_000)
        with batch.lock:
            batch.left = True
            ended = batch.outcomes
            batch.outcomes = []
        running = [] if not batch.remaining else [key for i in fresh if (key := _key(i)) in self._running]
        return BatchResult(again + ended, running)

    def submit(self, invocations: Sequence[Invocation]) -> None:
        """Begin a batch; everything goes to ``on_late``."""
        again, fresh = self._take(invocations)
        if again:
            self._on_late(again)
        if fresh:
            self._enqueue(fresh, _Batch(len(fresh), left=True))

    def cancel(self, run: str, path: str, fence: int) -> bool:
        """Ask an attempt to stop; say whether it was running."""
        attempt = self._running.get((run, path, fence))
        if attempt is None:
            return False
        attempt.context.cancel()
        if attempt.task is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(attempt.task.cancel)
        return True

    def acknowledge(self, keys: Sequence[Key]) -> None:
        """Forget outcomes: they are stored."""
        with self._lock:
            for key in keys:
                self._unacknowledged.pop((key[0], key[1], key[2]), None)

    def inventory(self, epoch: int) -> tuple[list[Key], list[Outcome]]:
        """Return what runs or waits here, and outcomes that nobody has acknowledged; refuse older epochs from now on."""
        with self._lock:
            self._epoch = max(self._epoch, epoch)
            return [*self._running, *self._queued], list(self._unacknowledged.values())

    def running(self) -> list[Key]:
        return list(self._running)

    def wedged(self, grace_s: float) -> list[Key]:
        """Return attempts whose bodies run on although their timeout, and a grace after it, are over."""
        now = time.monotonic()
        return [key for key, a in list(self._running.items()) if a.reported and now > a.deadline + grace_s]

    def close(self) -> None:
        """Take no more work. Bodies that still run end with the process."""
        self._closed.set()
        for _ in self._threads:
            self._queue.put(None)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)

    # --- taking work

    def _take(self, invocations: Sequence[Invocation]) -> tuple[list[Outcome], list[Invocation]]:
        """Part what is new from what was done before; what an outlived sender sends is dropped."""
        again: list[Outcome] = []
        fresh: list[Invocation] = []
        with self._lock:
            for invocation in invocations:
                if invocation.epoch < self._epoch:
                    continue
                self._epoch = invocation.epoch
                key = (invocation.run, invocation.path, invocation.fence)
                known = self._unacknowledged.get(key)
                if known is not None:
                    again.append(known)
                elif key not in self._running and key not in self._queued:
                    self._queued.add(key)
                    fresh.append(invocation)
        return again, fresh

    def _enqueue(self, fresh: list[Invocation], batch: _Batch) -> None:
        begin = 0
        while begin < len(fresh):
            mean = self._means.get(fresh[begin].action)
            size = 1 if mean is None else max(1, min(MAX_CHUNK, int(CHUNK_MS / max(mean, 0.001))))
            self._queue.put((fresh[begin : begin + size], batch))
            begin += size

    # --- doing it

    def _work(self) -> None:
        while (item := self._queue.get()) is not None and not self._closed.is_set():
            chunk, batch = item
            ended: list[Outcome] = []
            for invocation in chunk:
                outcome = self._attempt(invocation, batch)
                if outcome is not None:
                    ended.append(outcome)
            if ended:
                self._deliver(ended, batch)

    def _deliver(self, outcomes: list[Outcome], batch: _Batch) -> None:
        with self._lock:
            for outcome in outcomes:
                self._unacknowledged[outcome.run, outcome.path, outcome.fence] = outcome
            while len(self._unacknowledged) > MAX_UNACKNOWLEDGED:
                self._unacknowledged.popitem(last=False)
        hit("reply.before")
        with batch.lock:
            batch.remaining -= len(outcomes)
            if not batch.left:
                batch.outcomes.extend(outcomes)
                if batch.remaining <= 0:
                    batch.done.set()
                return
        self._on_late(outcomes)
        hit("reply.after")

    def _attempt(self, invocation: Invocation, batch: _Batch) -> Outcome | None:
        """Execute one invocation. None when its outcome comes another way (asynchronous, or timed out before)."""
        key = (invocation.run, invocation.path, invocation.fence)
        context = AttemptContext(invocation, self._cache_dir, self._on_progress, self._log)
        begun = time.monotonic()
        deadline = begun + invocation.timeout_ms / 1_000 if invocation.timeout_ms > 0 else float("inf")
        attempt = _Attempt(invocation, context, batch, deadline)
        with self._lock:
            self._queued.discard(key)
            self._running[key] = attempt
        call = self._calls.get(invocation.action)
        if call is not None and call.is_async:
            self._start_async(key, attempt, call, begun)
            return None
        try:
            hit("action.before")
            result = self._outcome(invocation, call, context)
            hit("action.after")
        except BaseException as error:
            # Whatever an action raises, SystemExit and foreign panics included, is its failure and not this thread's.
            result = Outcome(*key, error=classify(error, invocation.path))
        return self._end(key, attempt, result, begun)

    def _outcome(self, invocation: Invocation, call: Call | None, context: AttemptContext) -> Outcome:
        if call is None:
            return Outcome(invocation.run, invocation.path, invocation.fence, error=self._unknown(invocation))
        arguments = self._arguments(invocation, call, context)
        return self._exposed(invocation, call, call.method(**arguments))

    def _arguments(self, invocation: Invocation, call: Call, context: AttemptContext) -> dict[str, Any]:
        values = read_inputs(invocation, self._codec, self._blobs)
        arguments = call.arguments(values, lenient=invocation.lenient)
        if call.context is not None:
            arguments[call.context] = context
        return arguments

    def _exposed(self, invocation: Invocation, call: Call, value: Any) -> Outcome:
        names = expose(call.plain_result(value), invocation)
        packed, blobs = pack_exposed(names, invocation.path, self._codec, self._blobs)
        return Outcome(invocation.run, invocation.path, invocation.fence, exposed=packed, blobs=blobs)

    def _unknown(self, invocation: Invocation) -> WorkflowError:
        near = nearest(invocation.action, tuple(self._calls))
        hint = f"; did you mean {near!r}?" if near else ""
        message = f"{self.kind} has no action {invocation.action!r}{hint}"
        return failure(ErrorType.PERMANENT, message, step=invocation.path)

    def _end(self, key: Key, attempt: _Attempt, outcome: Outcome, begun: float) -> Outcome | None:
        spent = (time.monotonic() - begun) * 1_000
        outcome.duration_ms = round(spent, 3)
        action = attempt.invocation.action
        mean = self._means.get(action)
        self._means[action] = spent if mean is None else mean * 0.8 + spent * 0.2
        with self._lock:
            self._running.pop(key, None)
            return None if attempt.reported else outcome

    # --- asynchronous actions

    def _start_async(self, key: Key, attempt: _Attempt, call: Call, begun: float) -> None:
        loop = self._event_loop()

        async def body() -> None:
            invocation = attempt.invocation
            try:
                arguments = self._arguments(invocation, call, attempt.context)
                outcome = self._exposed(invocation, call, await call.method(**arguments))
            except BaseException as error:
                outcome = Outcome(*key, error=self._async_failure(error, attempt))
            ended = self._end(key, attempt, outcome, begun)
            if ended is not None:
                await asyncio.to_thread(self._deliver, [ended], attempt.batch)

        def begin() -> None:
            work: Coroutine[Any, Any, None] = body()
            attempt.task = loop.create_task(work)

        loop.call_soon_threadsafe(begin)

    def _async_failure(self, error: BaseException, attempt: _Attempt) -> WorkflowError:
        if isinstance(error, asyncio.CancelledError):
            return failure(ErrorType.TRANSIENT, "the attempt was cancelled", step=attempt.invocation.path)
        return classify(error, attempt.invocation.path)

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                thread = threading.Thread(target=self._loop.run_forever, name=f"{self.kind}-loop", daemon=True)
                thread.start()
            return self._loop

    # --- deadlines

    def _watch(self) -> None:
        while not self._closed.wait(WATCH_S):
            now = time.monotonic()
            for key, attempt in list(self._running.items()):
                if attempt.deadline <= now and not attempt.reported:
                    self._time_out(key, attempt)

    def _time_out(self, key: Key, attempt: _Attempt) -> None:
        with self._lock:
            if attempt.reported or key not in self._running:
                return
            attempt.reported = True
        attempt.context.cancel()
        if attempt.task is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(attempt.task.cancel)
        invocation = attempt.invocation
        limit = format_duration(invocation.timeout_ms)
        message = f"{self.kind}.{invocation.action} timed out after {limit} (start_to_close)"
        error = failure(ErrorType.TIMEOUT, message, step=invocation.path)
        self._deliver([Outcome(*key, error=error, duration_ms=float(invocation.timeout_ms))], attempt.batch)


def _key(invocation: Invocation) -> Key:
    return (invocation.run, invocation.path, invocation.fence)

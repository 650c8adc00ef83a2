"""The engine thread: takes what came, lets the partition decide, performs what follows.

Other threads only put things into the inbox. One thread does all the rest, so nothing of the partition needs a lock.
"""

import gc
import sys
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final

from kos_runtime.actors.fleet import CallEnded, Fleet, Joined
from kos_runtime.actors.parts import EngineParts
from kos_runtime.core.errors import Fenced
from kos_runtime.core.failpoint import hit
from kos_runtime.core.workflow.commands import Answer, Command, Rejected
from kos_runtime.engine import messages as msg

#: A batch of input ends at about so many.
MAX_BATCH: Final = 1_024
#: The engine looks at the clock at least so often, in seconds.
MAX_SLEEP: Final = 1.0
#: Acknowledgements that found no call to ride on are sent after so long, in seconds.
SETTLE_S: Final = 0.05
#: When nothing came for so long, in seconds, the store may do what it does between batches.
REST_S: Final = 0.02
#: So many requests may wait for their answers; more are refused as busy.
MAX_WAITING: Final = 20_000
#: Threads give the interpreter to each other so often, in seconds: the engine must not wait 5 ms for an idle one.
SWITCH_S: Final = 0.0002
#: Allocations before a young, middle and full collection. A full one stops the engine for as long as it lasts.
GC_THRESHOLDS: Final = (200_000, 20, 100)
_KEPT_NOTICES: Final = 200


class Waiting:
    """A batch of requests of one caller, and the answers as they come."""

    __slots__ = ("answers", "done", "left")

    def __init__(self, count: int) -> None:
        self.answers: list[Any] = [None] * count
        self.left = count
        self.done = threading.Event()


class EngineLoop:
    """See the module. ``on_end`` is called on the engine thread, with what ended it; None when it was stopped."""

    def __init__(
        self,
        open_parts: Callable[[], EngineParts],
        make_fleet: Callable[[EngineParts, "SimpleQueue[Any]"], Fleet],
        recover: Callable[[EngineParts], list[Any]],
        log: Callable[..., None],
        on_end: Callable[[BaseException | None], None],
    ) -> None:
        self.inbox: SimpleQueue[Any] = SimpleQueue()
        self.fleet: Fleet | None = None
        self.epoch = 0
        self.idle = False
        #: How many runs are at work, as of the last turn.
        self.active = 0
        self.failure = ""
        self.stalled = ""
        self.notices: deque[tuple[int, str, str, str]] = deque(maxlen=_KEPT_NOTICES)
        self.ready = threading.Event()
        self._open_parts = open_parts
        self._make_fleet = make_fleet
        self._recover = recover
        self._log = log
        self._on_end = on_end
        self._waiting: dict[int, tuple[Waiting, int]] = {}
        self._tokens = 0
        self._lock = threading.Lock()
        self._stopped = False
        self._now = 0
        self._draining = False
        self._drained = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kos-engine", daemon=True)

    # --- from other threads

    def start(self) -> None:
        self._thread.start()

    def ask(self, requests: list[tuple[str, Command]], timeout: float) -> list[Answer]:
        """Put requests in and wait for their answers, at most ``timeout`` seconds.

        A request without an answer by then is answered with *unknown*: it may still be carried out.
        """
        if self.failure:
            return [Rejected(code="storage", message=self.failure)] * len(requests)
        waiting = Waiting(len(requests))
        with self._lock:
            if len(self._waiting) + len(requests) > MAX_WAITING:
                busy = Rejected(
                    code="busy", message=f"busy: {len(self._waiting)} requests wait already; try again later"
                )
                return [busy] * len(requests)
            first = self._tokens + 1
            self._tokens += len(requests)
            self._waiting.update({first + index: (waiting, index) for index in range(len(requests))})
        self.idle = False
        self.inbox.put(
            [msg.Request(first + index, command_id, command) for index, (command_id, command) in enumerate(requests)]
        )
        if not waiting.done.wait(timeout):
            with self._lock:
                for index in range(len(requests)):
                    self._waiting.pop(first + index, None)
        unknown = Rejected(code="unknown", message=f"no answer within {timeout:g} s; it may still be carried out")
        return [unknown if answer is None else answer for answer in waiting.answers]

    def ask_disk(self, rows: list[list[Any]], timeout: float) -> list[list[Any]]:
        """Have peers' rows appended, and return what became of each.

        Raises:
            TimeoutError: Nobody knows, within ``timeout`` seconds.
        """
        waiting = Waiting(1)
        with self._lock:
            self._tokens += 1
            token = self._tokens
            self._waiting[token] = (waiting, 0)
        self.inbox.put(msg.PeerRequest(token, rows))
        if not waiting.done.wait(timeout):
            with self._lock:
                self._waiting.pop(token, None)
        found: Any = waiting.answers[0]
        if not isinstance(found, list):
            raise TimeoutError(f"the disk gave no answer within {timeout:g} s")
        return found

    def now(self) -> int:
        """Return the log's time as of the engine's last turn, in milliseconds."""
        return self._now

    def drain(self, grace: float) -> bool:
        """Start nothing more, and wait at most ``grace`` seconds for what runs; say whether all of it ended."""
        self._draining = True
        self.inbox.put(None)
        return self._thread.is_alive() and self._drained.wait(grace)

    def stop(self, timeout: float) -> None:
        """Stop after what is at hand. Attempts that still run are found again by whoever comes next."""
        self._stopped = True
        self.inbox.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout)

    # --- the engine thread

    def _run(self) -> None:
        sys.setswitchinterval(SWITCH_S)
        error: BaseException | None = None
        parts: EngineParts | None = None
        try:
            parts = self._open_parts()
            self.epoch = parts.host.epoch
            fleet = self.fleet = self._make_fleet(parts, self.inbox)
            found: list[Any] = self._recover(parts)
            first: list[msg.Input] = [item for each in found for item in fleet.take(each)]
            self._turn(parts, fleet, [*first, msg.Reconciled()])
            gc.collect()
            gc.freeze()
            gc.set_threshold(*GC_THRESHOLDS)
            self._log("partition_ready", epoch=self.epoch, adopted=len(found))
            self.ready.set()
            while not self._stopped:
                self._turn(parts, fleet, self._gather(parts, fleet))
        except BaseException as caught:
            error = caught
            self.failure = str(caught)
            self._log("partition_ended", epoch=self.epoch, error=f"{type(caught).__name__}: {caught}")
        finally:
            self._refuse_all()
            self.ready.set()
            if parts is not None and (error is None or isinstance(error, Fenced)):
                parts.close()
            self._on_end(error)

    def _turn(self, parts: EngineParts, fleet: Fleet, batch: list[msg.Input]) -> None:
        if self._draining:
            parts.host.drain()
        while True:
            follows: list[msg.Input] = []
            for effect in parts.host.cycle(batch, parts.now()):
                follows.extend(self._perform(fleet, effect, parts))
            if not follows:
                break
            batch = follows
        self._now = parts.host.partition.time
        self.stalled = parts.host.stalled_by
        self.active = parts.host.partition.active
        if parts.host.is_drained():
            self._drained.set()

    def _gather(self, parts: EngineParts, fleet: Fleet) -> list[msg.Input]:
        batch: list[msg.Input] = []
        inbox = self.inbox
        try:
            item = inbox.get_nowait()
        except Empty:
            item = self._rest(parts, fleet)
        try:
            while True:
                kind = type(item)
                if kind is list:
                    batch.extend(item)
                elif kind is CallEnded or kind is Joined:
                    batch.extend(fleet.take(item))
                elif item is not None:
                    batch.append(item)
                if len(batch) >= MAX_BATCH:
                    break
                item = inbox.get_nowait()
        except Empty:
            pass
        if len(batch) > 1:
            # What agents report makes room; what people ask for takes it.
            batch.sort(key=_urgency)
        return batch

    def _rest(self, parts: EngineParts, fleet: Fleet) -> Any:
        """Nothing is here: wait for what comes, until the next timer."""
        partition = parts.host.partition
        self.idle = partition.is_idle()
        due = partition.next_due()
        sleep = MAX_SLEEP if due is None else min(max((due - parts.now()) / 1_000, 0.0), MAX_SLEEP)
        if fleet.unsettled:
            try:
                return self.inbox.get(timeout=min(sleep, SETTLE_S))
            except Empty:
                fleet.settle()
                return None
        if sleep <= 0:
            return None
        try:
            return self.inbox.get(timeout=min(sleep, REST_S))
        except Empty:
            # Only now is it quiet: what the store does between batches takes longer than an answer on its way.
            parts.idle()
        try:
            return self.inbox.get(timeout=max(sleep - REST_S, 0.0))
        except Empty:
            return None

    def _perform(self, fleet: Fleet, effect: msg.Effect, parts: EngineParts) -> list[msg.Input]:
        match effect:
            case msg.Dispatch():
                fleet.dispatch(effect)
            case msg.Reply(token=token, answer=answer):
                self._reply(token, answer)
            case msg.PeerAnswer(token=token, rows=rows):
                self._reply(token, rows)
            case msg.Acknowledge():
                fleet.acknowledge(effect)
            case msg.StartProcess():
                fleet.start(effect)
            case msg.Cancel():
                return fleet.cancel(effect)
            case msg.Notice(kind=kind, text=text, run=run):
                self.notices.append((parts.now(), kind, text, run))
                self._log(kind, text=text, run=run)
        return []

    def _reply(self, token: int, answer: Any) -> None:
        found = self._waiting.pop(token, None)
        if found is not None:
            waiting, index = found
            hit("answer.before")
            waiting.answers[index] = answer
            waiting.left -= 1
            if not waiting.left:
                waiting.done.set()
            hit("answer.after")

    def _refuse_all(self) -> None:
        """Nobody will answer any more; what became of a request is not known here."""
        for token in list(self._waiting):
            self._reply(token, Rejected(code="unknown", message=self.failure or "the partition was stopped"))


def _urgency(item: msg.Input) -> int:
    return 2 if type(item) is msg.Request else 1

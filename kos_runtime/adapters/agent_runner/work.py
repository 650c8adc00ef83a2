"""Pieces of work: what came together, what one thread does in a row, one attempt."""

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from kos_runtime.adapters.agent_runner.context import AttemptContext
from kos_runtime.core.invocation import Invocation, Outcome

_T = TypeVar("_T")

#: (run, path, fence) of one dispatch.
Key = tuple[str, str, int]


class Batch:
    """Invocations that came together. Once ``left``, because its caller is gone, outcomes go another way."""

    __slots__ = ("chunks", "done", "left", "lock", "outcomes", "remaining")

    def __init__(self, size: int, *, left: bool) -> None:
        self.chunks: list[Chunk] = []
        self.outcomes: list[Outcome] = []
        self.remaining = size
        self.lock = threading.Lock()
        self.done = threading.Event()
        self.left = left

    def take(self, outcomes: list[Outcome]) -> bool:
        """Keep outcomes for whoever waits; say no when nobody does any more."""
        with self.lock:
            self.remaining -= len(outcomes)
            if self.left:
                return False
            self.outcomes.extend(outcomes)
            if self.remaining <= 0:
                self.done.set()
            return True

    def leave(self) -> list[Outcome]:
        """Stop waiting; return what there is."""
        with self.lock:
            self.left = True
            outcomes, self.outcomes = self.outcomes, []
            return outcomes


class Chunk:
    """What one thread does in a row. Others may take away what it has not begun, or what it has ended."""

    __slots__ = ("_ended", "_waiting", "batch", "seen", "since")

    def __init__(self, invocations: Sequence[Invocation], batch: Batch) -> None:
        # Both are changed by single operations of a deque, which no other thread can see half done.
        self._waiting: deque[Invocation] = deque(invocations)
        self._ended: deque[Outcome] = deque()
        self.batch = batch
        #: When its thread began it, in nanoseconds; 0 before that.
        self.since = 0
        #: How many were waiting at the last look.
        self.seen = -1

    def __len__(self) -> int:
        return len(self._waiting)

    def next(self) -> Invocation | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def take_back(self) -> list[Invocation]:
        """Return what has not begun, in order; its thread will find nothing more."""
        return _drained(self._waiting)

    def end(self, outcome: Outcome) -> None:
        self._ended.append(outcome)

    def holds_outcomes(self) -> bool:
        return bool(self._ended)

    def take_ended(self) -> list[Outcome]:
        return _drained(self._ended)


def _drained(items: deque[_T]) -> list[_T]:
    found: list[_T] = []
    try:
        while True:
            found.append(items.popleft())
    except IndexError:
        return found


@dataclass(slots=True, eq=False)
class Attempt:
    """A body that runs. Instants in nanoseconds; a deadline of 0 never comes."""

    invocation: Invocation
    key: Key
    batch: Batch
    begun: int
    deadline: int
    context: AttemptContext | None = None
    stop: threading.Event | None = None
    task: "asyncio.Task[None] | None" = None
    #: Its body is a coroutine: while that waits, nothing of the process does.
    coroutine: bool = False
    #: When it was asked to stop, by its deadline or by a person; 0 if it was not.
    stopped: int = 0
    #: Its timeout was reported, though the body runs on.
    reported: bool = False
    #: For how long it may give no sign of life, 0 for any time.
    silence: int = 0

    @property
    def lost_at(self) -> int:
        """The instant at which its silence will have lasted too long."""
        return (self.begun if self.context is None else self.context.beat) + self.silence

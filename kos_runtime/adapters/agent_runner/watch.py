"""Looks at deadlines and at chunks that take longer than was thought.

It sleeps until the next of them is due: a process with nothing to do does not wake.
"""

import threading
from collections.abc import Callable
from typing import Final

from kos_runtime.adapters.agent_runner.ledger import Ledger
from kos_runtime.adapters.agent_runner.work import Attempt, Chunk

#: A chunk that is at work for so many nanoseconds hands out what it has, and when it is stuck it is taken apart.
SLOW_NS: Final = 5_000_000
_NEVER: Final = 1 << 62
_LONGEST_S: Final = 3_600.0


class Watch:
    """See the module. ``run`` is the body of its thread; everything else may be called from any."""

    def __init__(
        self,
        ledger: Ledger,
        hands: int,
        clock: Callable[[], int],
        *,
        on_due: Callable[[Attempt], None],
        on_slow: Callable[[Chunk, bool], None],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._on_due = on_due
        self._on_slow = on_slow
        self._at_work: list[Chunk | None] = [None] * hands
        self._wake = threading.Event()
        self._next = _NEVER
        self._lock = threading.Lock()
        self._closed = False

    def begin(self, hand: int, chunk: Chunk) -> None:
        """A thread begins a chunk."""
        chunk.since = self._clock()
        self._at_work[hand] = chunk
        # One alone holds up nobody.
        if len(chunk) > 1:
            self.expect(chunk.since + SLOW_NS)

    def end(self, hand: int) -> None:
        self._at_work[hand] = None

    def expect(self, instant: int) -> None:
        """Look again at an instant, in nanoseconds, at the latest."""
        if instant < self._next:
            with self._lock:
                self._next = min(self._next, instant)
            self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()

    def run(self) -> None:
        while not self._closed:
            self._wake.clear()
            wait = (self._next - self._clock()) / 1e9
            if wait <= 0:
                self.look()
            else:
                self._wake.wait(min(wait, _LONGEST_S))

    def look(self) -> int:
        """Do what is due; return when to look again, in nanoseconds.

        What ended meanwhile is not taken off: the look that was due for it comes in vain, which costs less than a wake
        for each action.
        """
        # Whoever begins something from here on compares with this.
        self._next = _NEVER
        now = self._clock()
        due = _NEVER
        for chunk in self._at_work:
            if chunk is None or not chunk.since:
                continue
            if now - chunk.since < SLOW_NS:
                due = min(due, chunk.since + SLOW_NS)
            elif left := len(chunk):
                # Busy or held up? One that moved on since the last look is only short of time.
                self._on_slow(chunk, left == chunk.seen)
                chunk.seen = left
                due = min(due, now + SLOW_NS)
            elif chunk.holds_outcomes():
                # Its last takes long: what ended before it does not wait for that.
                self._on_slow(chunk, False)
        for attempt in list(self._ledger.running.values()):
            if attempt.reported:
                continue
            end = attempt.deadline or _NEVER
            if attempt.silence:
                end = min(end, attempt.lost_at)
            if end <= now:
                self._on_due(attempt)
            else:
                due = min(due, end)
        with self._lock:
            self._next = min(self._next, due)
        return self._next

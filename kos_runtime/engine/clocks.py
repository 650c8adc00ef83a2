"""The timers of steps that wait: which are due, by the clock that each of them follows.

They are rows of the store. Here are only those of the next minute, and of these only so many. One that follows the
wall clock has its fence below zero; while that clock cannot be followed, because it has just jumped, it does not fire.
"""

from heapq import heappop, heappush

from kos_runtime.core.record import Batch
from kos_runtime.core.workflow.state import DEADLINE_TIMER
from kos_runtime.engine import messages as msg

#: (due, run, path, fence)
Timer = tuple[int, str, str, int]
#: So many runs are brought back in one round; the others follow in the next.
MOST_AT_ONCE = 256
#: So many timers are held, each of about 300 bytes; the store is asked again when they are due.
MOST_HELD = 20_000
#: So long after that, in milliseconds, and after timers were cleared.
_AGAIN_MS = 100
#: Runs that rest are brought back so long before they are due, in milliseconds, and so many at most: then they are at
#: hand when it is time. A run that waits takes about five kilobytes.
NEAR_MS = 2_000
MOST_NEAR = 16_384
#: The wall clock is looked at so often while something follows it, in milliseconds, unless said otherwise.
LOOK_MS = 1_000


class Clocks:
    """See the module. ``stored``: the store has timers, for which its owner stays; ``ahead_ms`` is how far it looks,
    ``look_ms`` how often at the wall clock.
    """

    def __init__(self, ahead_ms: int, look_ms: int = LOOK_MS) -> None:
        self._ahead = ahead_ms
        self._look = look_ms
        self._durations: list[Timer] = []
        self._instants: list[Timer] = []
        #: Those of ``cold`` that may come near.
        self._coming: list[Timer] = []
        self._next_poll = 0
        #: So many may still be fired, or their runs be brought back, in this round.
        self.left = MOST_AT_ONCE
        #: Timers that are held here of runs that are not in memory.
        self.cold: set[Timer] = set()
        #: Runs that were brought back because their time comes, each with the instant until which it stays.
        self.near: dict[str, int] = {}
        self.stored = False
        #: The wall clock, None while it cannot be followed; below zero: none was given, and log time stands in for it.
        self.wall: int | None = -1

    def add(self, timer: Timer, now: int, *, cold: bool = False) -> None:
        """Hold a timer if it is near; the store brings the others in time."""
        instant = timer[3] < 0
        by = self._wall(now) if instant else now
        if timer in self.cold or timer[0] > (now if by is None else by) + self._ahead:
            return
        if cold:
            self.cold.add(timer)
            if not instant:
                heappush(self._coming, timer)
        heappush(self._instants if instant else self._durations, timer)

    def fired(self, now: int) -> list[Timer]:
        """Return timers that are due, as many as may be at once."""
        found: list[Timer] = []
        while self._durations and self._durations[0][0] <= now and len(found) < self.left:
            found.append(heappop(self._durations))
        wall = self._wall(now)
        while wall is not None and self._instants and self._instants[0][0] <= wall and len(found) < self.left:
            found.append(heappop(self._instants))
        self.left -= len(found)
        for timer in found:
            if timer[1] in self.near and timer[0] >= self.near[timer[1]]:
                del self.near[timer[1]]
        return found

    def coming(self, now: int) -> list[Timer]:
        """Return timers of runs that are not in memory and should be, as many as may be brought back at once."""
        found: list[Timer] = []
        coming = self._coming
        while coming and coming[0][0] <= now + NEAR_MS and len(found) < self.left and len(self.near) < MOST_NEAR:
            timer = heappop(coming)
            if timer in self.cold and timer[0] > now:
                self.near[timer[1]] = max(timer[0], self.near.get(timer[1], 0))
                found.append(timer)
        self.left -= len(found)
        return found

    def is_over(self, due: int, now: int, *, follows_wall: bool) -> bool:
        """Say whether an instant has come, by the clock that is followed."""
        clock = self._wall(now) if follows_wall else now
        return clock is not None and due <= clock

    def due(self, now: int) -> int:
        """Return when to look again."""
        due = self._next_poll
        if self._durations:
            due = min(due, self._durations[0][0])
        if self._coming and len(self.near) < MOST_NEAR:
            due = min(due, max(self._coming[0][0] - NEAR_MS, now))
        if self._instants:
            wall = self._wall(now)
            due = min(due, now + (self._look if wall is None else min(max(self._instants[0][0] - wall, 0), self._look)))
        return due

    def poll(self, now: int) -> int:
        """Return up to when the store's timers are to be loaded, 0 when it is too early to ask."""
        if now < self._next_poll:
            return 0
        self._next_poll = now + self._ahead // 2
        return max(now, self._wall(now) or 0) + self._ahead

    def polled(self, page: msg.TimersLoaded, now: int) -> bool:
        """Take note of what a look at the store has shown; say whether the next page is wanted at once."""
        self.stored = page.stored
        if page.more and len(self._durations) + len(self._instants) < MOST_HELD:
            return True
        if page.more:
            self._next_poll = min(self._next_poll, max(page.timers[-1].due, now + _AGAIN_MS))
        return False

    def changed(self, batch: Batch, now: int) -> None:
        """Some of the store's timers come or go: one that comes keeps the owner, for the others it is asked soon."""
        if any(row.path != DEADLINE_TIMER for row in batch.timers_set):
            self.stored = True
        elif self.stored and batch.timers_cleared:
            self._next_poll = min(self._next_poll, now + _AGAIN_MS)

    def _wall(self, now: int) -> int | None:
        return now if self.wall == -1 else self.wall

"""Log time: what the wall clock said when a partition was claimed, plus how long the machine has been on since.

Durations of a run must not follow somebody who sets the clock: a forward jump would fire every timer that it passes,
a backward one would hold all of them up. So within an epoch time is paced by CLOCK_BOOTTIME, which goes on while a
laptop sleeps and which nobody can set, and it never falls below what the log has recorded. A wall clock that goes
another way is told, not followed; the next claim starts from it again. At a claim a jump cannot be told from downtime.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_NS_PER_MS: Final = 1_000_000
#: A wall clock that differs from log time by more than this is an alarm, in milliseconds.
ALARM_MS: Final = 2_000
#: ``until`` and calendars follow the wall clock once it has been steady for so long, in milliseconds.
STEADY_MS: Final = 60_000


def wall_ms() -> int:
    """Return the wall clock in milliseconds since 1970."""
    return time.time_ns() // _NS_PER_MS


def boot_ns() -> int:
    """Return how long this machine has been on, suspended time included, in nanoseconds."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class ClockAlarm:
    """The wall clock went another way than time did: by so many milliseconds, positive when it is ahead."""

    ahead_ms: int

    def __str__(self) -> str:
        direction = "ahead of" if self.ahead_ms > 0 else "behind"
        return (
            f"the wall clock is {abs(self.ahead_ms) / 1_000:.1f} s {direction} log time; durations keep to the clock "
            "of the machine, and instants recorded from now on differ from the wall until the store is opened again"
        )


class LogClock:
    """See the module. Instants are whole milliseconds since 1970. Safe to use from several threads.

    ``wall_at_claim`` is the wall clock at the claim, ``last_recorded`` the newest time in the log (0 when empty).
    """

    def __init__(
        self,
        wall_at_claim: int,
        last_recorded: int,
        *,
        wall: Callable[[], int] = wall_ms,
        boottime: Callable[[], int] = boot_ns,
    ) -> None:
        self._wall = wall
        self._boot = boottime
        self._began = boottime()
        self._base = max(wall_at_claim, last_recorded)
        #: How far log time was ahead of the wall from the start, because the log was.
        self._lead = self._base - wall_at_claim
        self._last = self._base
        self._wall_base = wall_at_claim
        #: By how much the wall was away when it last jumped, and when that was.
        self._offset = 0
        self._left_at: int | None = None
        self._alarmed = False
        self._lock = threading.Lock()

    @classmethod
    def at_claim(cls, last_recorded: int) -> "LogClock":
        """Start from this machine's clocks."""
        return cls(wall_ms(), last_recorded)

    def now(self) -> int:
        """Return log time: never below an earlier answer or the last recorded time.

        While it is ahead of the wall, because the log was, it runs at half speed until they meet.
        """
        with self._lock:
            passed = (self._boot() - self._began) // _NS_PER_MS
            ahead = max(0, self._lead - passed // 2)
            found = self._wall_base + passed + ahead if self._lead else self._base + passed
            self._last = max(self._last, found)
            return self._last

    def until(self, instant: int) -> int:
        """Return how long it takes until it is so late, in milliseconds of the machine's time; 0 when it is."""
        short = instant - self.now()
        if short <= 0:
            return 0
        # Log time that is ahead goes at half speed for so long yet.
        slow = max(2 * self._lead - (self._boot() - self._began) // _NS_PER_MS, 0)
        return 2 * short if 2 * short <= slow else short + -(-slow // 2)

    def drift(self) -> int:
        """Return by how much the wall clock has gone another way since the claim, in milliseconds; ahead is positive."""
        with self._lock:
            return self._drift()

    def alarm(self) -> ClockAlarm | None:
        """Return an alarm when the wall has left by more than ``ALARM_MS``; once, until it has come back."""
        with self._lock:
            drift = self._drift()
            if abs(drift) <= ALARM_MS:
                self._alarmed = False
                return None
            if self._alarmed:
                return None
            self._alarmed = True
            return ClockAlarm(drift)

    def wall(self) -> int | None:
        """Return the wall clock, for instants that a person named; None while it has not been steady for a minute."""
        with self._lock:
            drift, boot = self._drift(), self._boot()
            if abs(drift - self._offset) > ALARM_MS:
                self._offset, self._left_at = drift, boot
            if self._left_at is not None and boot - self._left_at < STEADY_MS * _NS_PER_MS:
                return None
            return self._wall()

    def _drift(self) -> int:
        return self._wall() - self._wall_base - (self._boot() - self._began) // _NS_PER_MS

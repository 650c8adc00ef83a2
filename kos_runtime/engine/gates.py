"""How much may start: so many at once, and so many in a time.

A limit in time is a bucket of tokens. Whatever starts takes one, and each comes back when the time is over that the limit
is for: in no span of that length do more start than the limit says. When a token was taken is remembered to a sixtieth of
the time, rounded so that it rather comes back late. The buckets are stored with what was started, so a restart gives none back.
"""

from collections import deque
from typing import Any, Final

from kos_runtime.core.instant import format_duration
from kos_runtime.core.plan.model import Limit
from kos_runtime.engine.turns import Turns

#: A bucket remembers at most about so many instants.
GRAINS: Final = 60


class Gate:
    """One limit that is kept. Times are log time in milliseconds."""

    __slots__ = ("_taken", "_used", "changed", "limit", "name")

    def __init__(self, name: str, limit: Limit, stored: list[list[int]] | None = None) -> None:
        self.name = name
        self.limit = limit
        #: (instant, how many tokens were taken then), oldest first.
        self._taken: deque[list[int]] = deque(list(each) for each in stored or ())
        self._used = sum(count for _, count in self._taken)
        #: Whether the store does not say yet what this does.
        self.changed = False

    def shut(self, now: int, running: int) -> bool:
        """Say whether nothing may start now, when so many run."""
        limit = self.limit
        return bool((limit.most and running >= limit.most) or (limit.starts and self.opens_at(now)))

    def opens_at(self, now: int) -> int:
        """Return when the next token comes back; 0 when there is one."""
        limit = self.limit
        if not limit.starts:
            return 0
        taken = self._taken
        while taken and taken[0][0] + limit.per_ms <= now:
            self._used -= taken.popleft()[1]
        return taken[0][0] + limit.per_ms if taken and self._used >= limit.starts else 0

    def take(self, now: int) -> None:
        """Something starts."""
        limit = self.limit
        if not limit.starts:
            return
        grain = max(limit.per_ms // GRAINS, 1)
        at = -(-now // grain) * grain
        if self._taken and self._taken[-1][0] >= at:
            self._taken[-1][1] += 1
        else:
            self._taken.append([at, 1])
        self._used += 1
        self.changed = True

    def is_full(self, now: int) -> bool:
        """Say whether all of its tokens are there."""
        self.opens_at(now)
        return not self._taken

    def to_plain(self) -> dict[str, Any]:
        return {"per_ms": self.limit.per_ms, "taken": [list(each) for each in self._taken]}

    def words(self) -> str:
        """Say in a few words what the limit is, and whose."""
        limit = self.limit
        said = [f"{limit.most} at once"] if limit.most else []
        if limit.starts:
            said.append(f"{limit.starts} in {format_duration(limit.per_ms)}")
        return f"{limit.name}: {', '.join(said)}"


class RunGate(Gate):
    """The limit of one run, and which of its steps wait for it."""

    __slots__ = ("_paths", "run", "waiting")

    def __init__(self, run: str, name: str, limit: Limit, stored: list[list[int]] | None = None) -> None:
        super().__init__(name, limit, stored)
        self.run = run
        self.waiting = Turns()
        self._paths: set[str] = set()

    def wait(self, path: str, priority: int) -> None:
        if path not in self._paths:
            self._paths.add(path)
            self.waiting.add("", path, priority)

    def next(self) -> str | None:
        """Take out which step is next, if one waits."""
        turn = self.waiting.next()
        if turn is None:
            return None
        self._paths.discard(turn[1])
        return turn[1]

    def forget(self) -> None:
        """Nobody waits any more."""
        self.waiting.clear()
        self._paths.clear()


def still_taken(plain: dict[str, Any], now: int) -> list[list[int]]:
    """Return which tokens of a stored bucket are not back yet."""
    return [[at, count] for at, count in plain["taken"] if at + plain["per_ms"] > now]

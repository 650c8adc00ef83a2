"""Who is next, of many runs that want the same: by priority, in turn, and nobody for ever.

Of eight turns seven go to the highest priority that waits, and one to the priority that has gone without for longest.
Within a priority every run has its turn after the others, whatever it has in the queue.
"""

from collections import OrderedDict, deque
from typing import Final

#: Of so many turns one goes to whoever has gone without for longest.
SHARE: Final = 8


class _Level:
    """Those of one priority: run → paths that wait. ``served`` is the turn in which it was served last, or began."""

    __slots__ = ("runs", "served")

    def __init__(self, turn: int) -> None:
        self.runs: OrderedDict[str, deque[str]] = OrderedDict()
        self.served = turn


class Turns:
    """A queue of (run, path). Constant work for one that comes or goes, but for the number of priorities that wait."""

    __slots__ = ("_count", "_levels", "_turn")

    def __init__(self) -> None:
        self._levels: dict[int, _Level] = {}
        self._count = 0
        self._turn = 0

    def __len__(self) -> int:
        return self._count

    def add(self, run: str, path: str = "", priority: int = 0) -> None:
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = _Level(self._turn)
        level.runs.setdefault(run, deque()).append(path)
        self._count += 1

    def next(self) -> tuple[str, str] | None:
        """Take out who is next, if anybody waits."""
        if not self._count:
            return None
        self._count -= 1
        self._turn += 1
        levels = self._levels
        if len(levels) == 1:
            priority = next(iter(levels))
        elif self._turn % SHARE:
            priority = max(levels)
        else:
            priority = min(levels, key=lambda each: levels[each].served)
        level = levels[priority]
        level.served = self._turn
        run, paths = next(iter(level.runs.items()))
        path = paths.popleft()
        if not paths:
            del level.runs[run]
            if not level.runs:
                del levels[priority]
        elif len(level.runs) > 1:
            level.runs.move_to_end(run)
        return run, path

    def clear(self) -> None:
        self._levels.clear()
        self._count = 0


class Admission(Turns):
    """Runs that wait for a place among those at work. What belongs to a run that has begun goes before all others."""

    __slots__ = ("_first",)

    def __init__(self) -> None:
        super().__init__()
        self._first: deque[str] = deque()

    def __len__(self) -> int:
        return self._count + len(self._first)

    def put_first(self, run: str) -> None:
        self._first.appendleft(run)

    def take(self) -> str | None:
        """Take out the run that is next, if one waits."""
        if self._first:
            return self._first.popleft()
        found = self.next()
        return None if found is None else found[0]

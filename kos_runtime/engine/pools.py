"""Who has hands free, and who is next.

A pool is an agent kind with one demand of resources. Its processes have as many hands as actions that they run at
once; a process may hold a little more than that, worth ``ahead_ms`` of work by what its actions have taken so far, so
that short actions travel in large batches and long ones are not queued behind each other. Between runs the share is
fair: each in turn starts one step, higher priorities first.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field

from kos_runtime.core.plan.link import AgentLink
from kos_runtime.engine.limits import Limits

#: An action that takes less than this on average is cheap: it goes to one process as long as that has room.
CHEAP_MS = 1.0


@dataclass(slots=True)
class Process:
    name: str
    pool: str
    hands: int
    #: (run, path) → fence of what it holds.
    holds: dict[tuple[str, str], int] = field(default_factory=dict)
    #: Those of which it said that they have begun.
    begun: set[tuple[str, str, int]] = field(default_factory=set)
    #: Outcomes that it may forget once the batch is stored.
    settled: list[tuple[str, str, int]] = field(default_factory=list)
    #: It runs one suspect alone, and takes nothing else.
    alone: bool = False


@dataclass(slots=True)
class Pool:
    name: str
    link: AgentLink
    processes: dict[str, Process] = field(default_factory=dict)
    #: priority → run → paths that wait, in turn.
    queue: dict[int, OrderedDict[str, deque[str]]] = field(default_factory=dict)
    waiting: set[tuple[str, str]] = field(default_factory=set)
    starting: int = 0
    #: Moving average of what an action took, in milliseconds; below 0 when nothing is known.
    mean_ms: float = -1.0
    failed: str = ""
    #: The process that takes nothing new until it is empty, and who waits for it to run there alone.
    reserved: str = ""
    reserved_for: tuple[str, str] = ("", "")

    def ahead(self, hands: int, limits: Limits) -> int:
        """Return how many dispatches a process with so many hands may hold."""
        if self.mean_ms < 0:
            return hands
        return max(hands, min(limits.max_ahead, int(hands * limits.ahead_ms / max(self.mean_ms, 0.005))))


class Pools:
    """All pools of one partition. ``granting`` is a pair of hands that was promised to who is next in turn."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.pools: dict[str, Pool] = {}
        self.processes: dict[str, Process] = {}
        self.granting = False
        self.priority = 0
        #: Whose hands were found free by ``has_room``, for the ``take`` that follows.
        self.found: Process | None = None

    def know(self, link: AgentLink) -> Pool:
        pool = self.pools.get(link.pool)
        if pool is None:
            pool = self.pools[link.pool] = Pool(link.pool, link)
        return pool

    # --- asked while deciding

    def has_room(self, pool: str, run: str, path: str, *, alone: bool = False) -> bool:
        here = self.pools[pool]
        if self.granting or not here.waiting:
            self.granting = False
            self.found = self._free(here, alone=alone)
            if self.found is not None:
                return True
        if alone and not self._is_reserved(here):
            # Work that never pauses must not keep a suspect waiting for an empty process for ever.
            least = min(here.processes.values(), key=lambda process: len(process.holds), default=None)
            here.reserved, here.reserved_for = ("" if least is None else least.name), (run, path)
        if (run, path) not in here.waiting:
            here.waiting.add((run, path))
            turns = here.queue.setdefault(self.priority, OrderedDict())
            turns.setdefault(run, deque()).append(path)
        return False

    def take(self, pool: str, *, alone: bool = False) -> str:
        process = self.found
        assert process is not None
        assert process.pool == pool
        process.alone = alone
        return process.name

    def _free(self, pool: Pool, *, alone: bool = False) -> Process | None:
        """Return the process that takes the next dispatch: the first with room for cheap work, else the idlest.

        What is to run alone, because it may have ended a process before, needs one that holds nothing.
        """
        best: Process | None = None
        reserved = pool.reserved if not alone and self._is_reserved(pool) else ""
        for process in pool.processes.values():
            held = len(process.holds)
            if reserved and process.name == reserved:
                continue
            if process.alone or (alone and held):
                continue
            if held >= pool.ahead(process.hands, self.limits):
                continue
            if 0 <= pool.mean_ms < CHEAP_MS:
                return process
            if best is None or held * best.hands < len(best.holds) * process.hands:
                best = process
        return best

    def _is_reserved(self, pool: Pool) -> bool:
        return pool.reserved in pool.processes and pool.reserved_for in pool.waiting

    def _awaits_suspect(self, pool: Pool) -> bool:
        """Say whether the reserved process is empty now."""
        return self._is_reserved(pool) and not pool.processes[pool.reserved].holds

    # --- told by the partition

    def up(self, name: str, pool: str, hands: int) -> Process:
        here = self.pools[pool]
        process = Process(name, pool, max(hands, 1))
        here.processes[name] = self.processes[name] = process
        here.starting = max(here.starting - 1, 0)
        here.failed = ""
        return process

    def down(self, name: str) -> Process | None:
        process = self.processes.pop(name, None)
        if process is not None:
            pool = self.pools[process.pool]
            pool.processes.pop(name, None)
            pool.failed = ""
        return process

    def held(self, process: str, run: str, path: str, fence: int) -> None:
        self.processes[process].holds[run, path] = fence

    def released(self, here: Process, key: tuple[str, str, int], duration_ms: float) -> None:
        """A dispatch (run, path, fence) ended; how long the body ran, if not below 0, moves the pool's average."""
        holds = here.holds
        held = (key[0], key[1])
        if holds.get(held) == key[2]:
            del holds[held]
        if here.begun:
            here.begun.discard(key)
        if here.alone and not holds:
            here.alone = False
        if duration_ms >= 0:
            pool = self.pools[here.pool]
            pool.mean_ms = duration_ms if pool.mean_ms < 0 else pool.mean_ms * 0.9 + duration_ms * 0.1

    def next_in_turn(self, pool: Pool) -> tuple[str, str] | None:
        """Take out who is next, if somebody waits and hands are free."""
        if not pool.waiting or (self._free(pool) is None and not self._awaits_suspect(pool)):
            return None
        for priority in sorted(pool.queue, reverse=True):
            turns = pool.queue[priority]
            if not turns:
                continue
            run, paths = next(iter(turns.items()))
            path = paths.popleft()
            del turns[run]
            if paths:
                turns[run] = paths
            if not turns:
                del pool.queue[priority]
            pool.waiting.discard((run, path))
            return run, path
        return None

    def wants_process(self, pool: Pool) -> bool:
        """Whether a pool should grow: somebody waits, nothing is on its way, and it may have more."""
        if pool.starting or len(pool.processes) >= max(pool.link.most, 1):
            return False
        if pool.failed and pool.processes:
            # What could not be placed beside them is left out until something changes.
            return False
        return bool(pool.waiting) or len(pool.processes) < pool.link.least

"""One wide run beside many small ones: how much longer a small run takes than it would alone.

The engine is the real one, on a real store; what its agents do takes virtual time, so the figure is that of the order in
which steps start, the same on every machine. It is measured twice: with runs taking turns, and with the pool's queue
replaced by one that serves whatever became runnable first.
"""

import random
import shutil
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from heapq import heappop, heappush
from itertools import count
from statistics import median
from typing import Any, Final

from benchmarks.growth import LINK, Local, fan, sequential
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.engine import messages as msg
from kos_runtime.engine.turns import Turns

#: Two processes with four hands each, as by default.
PROCESSES: Final = 2
HANDS: Final = 4
#: What one action takes.
SERVICE_MS: Final = 10
STEPS: Final = 4
_LINK: Final = replace(LINK, agents={"k": replace(LINK.agents["k"], most=PROCESSES)})


class FirstCome(Turns):
    """Serves what became runnable first; a step with items keeps its place until all of them have started."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[tuple[str, str], int] = {}
        self._heap: list[tuple[int, str, str]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, run: str, path: str = "", priority: int = 0) -> None:
        del priority
        number = self._seen.get((run, path))
        if number is None:
            number = self._seen[run, path] = next(self._numbers)
        heappush(self._heap, (number, run, path))

    def next(self) -> tuple[str, str] | None:
        if not self._heap:
            return None
        _, run, path = heappop(self._heap)
        return run, path

    def clear(self) -> None:
        self._heap.clear()


class _Process:
    def __init__(self) -> None:
        self.waiting: deque[Invocation] = deque()
        self.free = HANDS


class Laboratory:
    """A host whose agents work in virtual time."""

    def __init__(self, queue: Callable[[], Turns]) -> None:
        self.local = Local(active=1_000_000)
        self.local.host.partition.pools.know(_LINK.agents["k"]).queue = queue()
        self.events: list[tuple[int, int, Any]] = []
        self.numbers = count()
        self.processes: dict[str, _Process] = {}
        self.begun_at: dict[str, int] = {}
        self.took: dict[str, int] = {}

    def at(self, when: int, what: Any) -> None:
        heappush(self.events, (when, next(self.numbers), what))

    def run(self) -> None:
        """Do everything that was planned, and what follows of it."""
        local = self.local
        while self.events:
            local.now = self.events[0][0]
            while self.events and self.events[0][0] == local.now:
                self._happen(heappop(self.events)[2])
            while local.inbox or local.host.partition._unfinished:
                batch, local.inbox = local.inbox, []
                for effect in local.host.cycle(batch, local.now):
                    self._perform(effect)
                self._note_ends()

    def _happen(self, what: Any) -> None:
        if callable(what):
            what()
            return
        name, invocation = what
        outcome = Outcome(
            invocation.run, invocation.path, invocation.fence, exposed=b"\x81\xa1d\x01", duration_ms=float(SERVICE_MS)
        )
        self.local.inbox.append(msg.Outcomes(name, [outcome]))
        self.processes[name].free += 1
        self._work(name)

    def _perform(self, effect: msg.Effect) -> None:
        match effect:
            case msg.StartProcess() if len(self.processes) < PROCESSES:
                name = f"k-{len(self.processes) + 1}"
                self.processes[name] = _Process()
                self.local.inbox.append(msg.ProcessUp(name, effect.pool, HANDS))
            case msg.Dispatch(process=name, invocations=invocations):
                self.processes[name].waiting.extend(invocations)
                self._work(name)
            case _:
                pass

    def _work(self, name: str) -> None:
        process = self.processes[name]
        while process.free and process.waiting:
            process.free -= 1
            self.at(self.local.now + SERVICE_MS, (name, process.waiting.popleft()))

    def _note_ends(self) -> None:
        for run in self.begun_at.keys() - self.took.keys() - self.local.host.partition.runs.keys():
            self.took[run] = self.local.now - self.begun_at[run]


def slowdowns(queue: Callable[[], Turns], *, small: int, wide: int, busy: float) -> list[float]:
    """Return how many times longer each small run took than alone, of small runs that come while a wide one is at work."""
    laboratory = Laboratory(queue)
    local = laboratory.local
    try:
        plans = local.digests(sequential(STEPS), _LINK), local.digests(fan(wide), _LINK)
        span = (wide + small * STEPS) * SERVICE_MS / (PROCESSES * HANDS) / busy
        chance = random.Random(20_26)
        begin = local.now

        def come(plan: tuple[str, str]) -> None:
            local.create(plan, 1)
            laboratory.begun_at[f"g{local.count:08d}"] = local.now

        laboratory.at(begin, lambda: come(plans[1]))
        for _ in range(small):
            laboratory.at(begin + 1 + int(chance.random() * span), lambda: come(plans[0]))
        laboratory.run()
        taken = [took for run, took in laboratory.took.items() if run != "g00000001"]
        if len(taken) != small:
            raise RuntimeError(f"{small - len(taken)} small runs did not end")
        return [took / (STEPS * SERVICE_MS) for took in taken]
    finally:
        local.close()
        shutil.rmtree(local.folder, ignore_errors=True)


def mixed(*, small: int = 1_000, wide: int = 10_000, busy: float = 0.9) -> dict[str, Any]:
    """Compare both orders."""
    fair = slowdowns(Turns, small=small, wide=wide, busy=busy)
    first = slowdowns(FirstCome, small=small, wide=wide, busy=busy)
    return {
        "ratio": round(median(fair) / median(first), 4),
        "fair": {"median": round(median(fair), 2), "worst": round(max(fair), 2)},
        "first_come": {"median": round(median(first), 2), "worst": round(max(first), 2)},
    }

"""A world under one seed: its time, its chance, its network, and everything that goes wrong in it.

The engine in it is the one that is shipped: ``Host`` and ``Partition``, a store under the stores' contract, the doors of
an agent's process. What stands here is only what Ray, machines and disks are otherwise. All chance comes from one seed
and all order from one queue, so a seed repeats a run exactly; ``trace_hash`` says whether it did.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from heapq import heappop, heappush
from random import Random
from typing import Any, Final, Protocol

from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.core.plan.link import Link
from kos_runtime.core.plan.program import Program
from kos_runtime.core.record import BlobRef
from kos_runtime.core.workflow.state import Codec
from kos_runtime.engine import messages as msg
from kos_runtime.engine.host import Calendar, Log
from kos_runtime.engine.limits import Limits
from kos_runtime.simulator.faults import Faults

Key = tuple[str, str, int]
#: A moment for worlds to begin at: 2023-11-14T22:13:20Z, in milliseconds.
BEGIN_MS: Final = 1_700_000_000_000
#: A message takes so long without any fault, in milliseconds.
LINK_MS: Final = 1
#: Machines that agents' processes are spread over; partitions and clients stand on others.
MACHINES: Final = ("m1", "m2", "m3")
#: So many lines of what happened are kept, where they are wanted.
MAX_LINES: Final = 200_000


class Attempt(Protocol):
    """One body at work in a runner."""

    invocation: Invocation
    key: Key
    stopped: int


class Executed(Protocol):
    """How far a body came. Without an outcome it waits to be told of what it said, until ``wake_ms`` since it began."""

    @property
    def outcome(self) -> Outcome | None: ...
    @property
    def slept_ms(self) -> float: ...
    @property
    def said(self) -> Sequence[tuple[float, Outcome]]: ...
    @property
    def wake_ms(self) -> float | None: ...


class Runner(Protocol):
    """The doors of an agent's process (``kos_runtime.adapters.agent_runner.stepped``)."""

    def hear(self, invocations: Sequence[Invocation]) -> tuple[list[Outcome], list[Invocation], list[Key]]: ...
    def take(self, invocations: Sequence[Invocation]) -> tuple[list[Outcome], list[Invocation]]: ...
    def acknowledge(self, keys: Sequence[Key]) -> None: ...
    def inventory(self, epoch: int) -> tuple[list[Key], list[Outcome]]: ...
    def unacknowledged(self) -> list[Outcome]: ...
    def running(self) -> list[Key]: ...
    def overdue(self) -> int: ...
    def drop(self, key: Key) -> None: ...
    def begin(self, invocation: Invocation) -> Any: ...
    def execute(self, attempt: Any, instead: Callable[[Any], Any] | None = None) -> Executed: ...
    def resume(self, attempt: Any) -> Executed: ...
    def end(self, attempt: Any, outcome: Outcome) -> bool: ...
    def time_out(self, attempt: Any) -> Outcome | None: ...
    def cancelled(self, attempt: Any) -> Outcome: ...
    def close(self) -> None: ...


class Clock(Protocol):
    """Log time, and the wall clock where it can be followed."""

    def now(self) -> int: ...
    def until(self, instant: int) -> int: ...
    def wall(self) -> int | None: ...


class Blobs(Protocol):
    def put(self, data: bytes) -> BlobRef: ...
    def get(self, digest: str) -> bytes: ...


class Disk(Protocol):
    """The disk of one partition."""

    def lose_power(self, draw: Random) -> None: ...


@dataclass(slots=True)
class Parts:
    """What is put into a world: the shipped parts, as factories.

    ``open_log`` opens a partition's store for one more process, reading its disk again. ``make_clock`` is given what the
    wall clock says, the last time in the log, and both clocks as functions (milliseconds, nanoseconds).
    """

    open_log: Callable[[int], Log]
    disk: Callable[[int], Disk]
    recover: Callable[[int], None]
    blobs: Blobs
    codec: Codec
    make_runner: Callable[[msg.StartProcess, Callable[[], int]], Runner]
    make_clock: Callable[[int, int, Callable[[], int], Callable[[], int]], Clock]
    calendar: Calendar | None = None
    limits: Limits = field(default_factory=Limits)
    #: Plans and links by digest, which every life of every world may share: they never change.
    programs: dict[str, Program] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)


class World:
    """See the module. ``now`` is true time in milliseconds; what clocks say may differ."""

    def __init__(self, seed: int, faults: Faults, *, keep: bool = False) -> None:
        self.seed = seed
        self.faults = faults
        self.now = BEGIN_MS
        self.healed = not faults
        #: Chance by purpose: what one purpose draws moves no other.
        self.chance = {name: Random(f"{seed}/{name}") for name in ("network", "life", "disk", "agent", "person")}  # noqa: S311 - to be repeated
        #: What came to pass, by name: faults, and situations that are rare.
        self.sometimes: Counter[str] = Counter()
        self.lines: list[str] | None = [] if keep else None
        self.cut: tuple[frozenset[str], int] | None = None
        #: Machines that are down, and until when.
        self.down: dict[str, int] = {}
        self.steps = 0
        #: Something was stored or answered since somebody last looked.
        self.news = False
        #: Messages that were sent, and of each agent's process: since when it is there, how long its hands were at work
        #: in milliseconds, and how many bodies it executed.
        self.messages = 0
        self.processes: dict[str, list[int]] = {}
        #: (process, from, to, step's path) of what hands did, where that is wanted.
        self.spans: list[tuple[str, int, int, str]] | None = None
        self._budget = Counter(dict.fromkeys(faults.rates, faults.most))
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._number = 0
        self._hash = sha256()
        self._last: dict[tuple[str, str], int] = {}

    # --- time

    def after(self, delay: int, call: Callable[..., None], *arguments: Any) -> None:
        """Have something happen in so many milliseconds."""
        self._number += 1
        heappush(self._queue, (self.now + max(delay, 0), self._number, call, arguments))

    def step(self) -> bool:
        """Let the next thing happen; say whether there was one."""
        if not self._queue:
            return False
        instant, _, call, arguments = heappop(self._queue)
        self.now = max(self.now, instant)
        self.steps += 1
        call(*arguments)
        return True

    def next_at(self) -> int | None:
        """Return when the next thing happens."""
        return self._queue[0][0] if self._queue else None

    # --- trace

    def trace(self, text: str) -> None:
        """Say that something happened: it becomes part of the hash."""
        line = f"{self.now - BEGIN_MS} {text}\n"
        self._hash.update(line.encode("utf-8", "backslashreplace"))
        if self.lines is not None and len(self.lines) < MAX_LINES:
            self.lines.append(line)

    def trace_hash(self) -> str:
        return self._hash.hexdigest()

    # --- chance

    def happens(self, kind: str, purpose: str) -> bool:
        """Draw whether a fault comes about now."""
        rate = self.faults.rates.get(kind)
        if rate is None or self.healed or self.chance[purpose].random() >= rate:
            return False
        self.sometimes[kind] += 1
        return True

    def strikes(self, kind: str, purpose: str) -> bool:
        """The same for what stops something: it comes about a few times in a run, not for ever."""
        if self.faults.rates.get(kind) is None or self._budget[kind] <= 0 or not self.happens(kind, purpose):
            return False
        self._budget[kind] -= 1
        return True

    def may_strike(self, kind: str) -> bool:
        """Say whether it may still come about."""
        return self._budget[kind] > 0

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        if not self.healed:
            self.healed = True
            self.cut = None
            self.trace("healed")

    # --- the network

    def send(self, source: str, target: str, call: Callable[..., None], *arguments: Any, sure: bool = False) -> None:
        """Have a message arrive somewhere, if nothing stands in its way. ``sure``: it is sent until it does."""
        draw = self.chance["network"]
        self.messages += 1
        delay = LINK_MS
        if source != target and not self.healed:
            if self._is_cut(source, target):
                self.sometimes["message cut off by a partition"] += 1
                if not sure:
                    return
                assert self.cut is not None
                delay += self.cut[1] - self.now
            elif not sure and self.happens("loss", "network"):
                return
            if self.happens("delay", "network"):
                delay += draw.randrange(5_000)
            if not sure and self.happens("duplicate", "network"):
                self.after(delay + draw.randrange(3_000), call, *arguments)
        instant = self.now + delay
        if not self.happens("reorder", "network"):
            # Between two machines what was sent first arrives first.
            instant = self._last[source, target] = max(instant, self._last.get((source, target), 0))
        else:
            instant += draw.randrange(50)
        self.after(instant - self.now, call, *arguments)

    def _is_cut(self, source: str, target: str) -> bool:
        if self.cut is None:
            return False
        side, until = self.cut
        if until <= self.now:
            self.cut = None
            self.trace("the network is whole again")
            return False
        return (source in side) != (target in side)

    def part(self, machines: Sequence[str]) -> None:
        """Cut the network in two for a while."""
        draw = self.chance["life"]
        side = frozenset(machine for machine in machines if draw.random() < 0.5)
        self.cut = (side, self.now + draw.randrange(1_000, 60_000))
        self.trace(f"cut off: {' '.join(sorted(side))}")

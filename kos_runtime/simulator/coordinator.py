"""Machines in one process, for driver scripts and tests: messages and timers in virtual time, facts in memory.

Facts are on the ``disk`` before anything of a transition goes out, so that whoever sets up another coordinator on the
same disk goes on where the first one stood. Questions go to ``answer``, which may think in real time.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from heapq import heappop, heappush
from typing import Any, Final

from kos_runtime.core.envelope import Envelope
from kos_runtime.core.machine import (
    Began,
    Commanded,
    Consult,
    Fired,
    Machine,
    Received,
    Refused,
    Run,
    Stimulus,
    Transition,
)

#: What answers a question: the stream and node that ask, and the question; a command for that node, or None for none.
Answers = Callable[[str, str, Consult], Awaitable[Any]]
#: The facts of each stream and node, and how many lives it has had.
Disk = dict[tuple[str, str], tuple[int, list[Any]]]
MAX_STEPS: Final = 10_000_000


class LocalCoordinator:
    """Runs machines for the coordination classes, deterministically: one message after the other."""

    def __init__(self, answer: Answers, disk: Disk | None = None, now: int = 0) -> None:
        self.disk: Disk = {} if disk is None else disk
        self.now = now
        self._answer = answer
        self._runs: dict[tuple[str, str], Run[Any]] = {}
        self._ready: deque[tuple[tuple[str, str], Stimulus]] = deque()
        self._timers: list[tuple[int, int, tuple[str, str], str]] = []
        self._set: dict[tuple[tuple[str, str], str], int] = {}
        self._consults: deque[tuple[tuple[str, str], Consult]] = deque()
        self._count = 0

    async def open(self, stream: str, machine: Machine[Any], setup: Any, nodes: Sequence[str]) -> None:
        fresh = [node for node in nodes if (stream, node) not in self._runs]
        for node in fresh:
            key = stream, node
            lives, facts = self.disk.get(key, (0, []))
            self.disk[key] = lives + 1, facts
            self._runs[key] = Run(machine, node, setup, facts)
        for node in fresh:
            self._take((stream, node), Began(self.disk[stream, node][0]))

    async def command(self, stream: str, node: str, command: Any) -> Any:
        if (stream, node) not in self._runs:
            return Refused("not_found", f"there is no {node!r} in {stream}")
        return self._take((stream, node), Commanded(command)).reply

    async def until(self, stream: str, found: Callable[[Any], bool]) -> Any:
        """Let the machines go on until what is looked for is recorded.

        Raises:
            TimeoutError: Nothing is left to do, and it was not recorded.
        """
        looked: dict[tuple[str, str], int] = {}
        for _ in range(MAX_STEPS):
            for key, (_, facts) in self.disk.items():
                if key[0] == stream:
                    for fact in facts[looked.get(key, 0) :]:
                        if found(fact):
                            return fact
                    looked[key] = len(facts)
            if not await self._go_on():
                break
        raise TimeoutError(f"{stream} has come to rest without what is waited for")

    async def _go_on(self) -> bool:
        """Do one thing: a message, else a question, else the next timer."""
        if self._ready:
            self._take(*self._ready.popleft())
            return True
        if self._consults:
            key, consult = self._consults.popleft()
            command = await self._answer(*key, consult)
            if command is not None:
                self._take(key, Commanded(command))
            return True
        while self._timers:
            at, token, key, name = heappop(self._timers)
            if self._set.get((key, name)) == token:
                del self._set[key, name]
                self.now = max(self.now, at)
                self._take(key, Fired(name))
                return True
        return False

    def _take(self, key: tuple[str, str], stimulus: Stimulus) -> Transition:
        made = self._runs[key].take(stimulus, self.now)
        self.disk[key][1].extend(made.facts)
        stream, node = key
        for send in made.sends:
            self._count += 1
            if (stream, send.to) in self._runs:
                envelope = Envelope(node, send.to, self._count, self.disk[key][0], send.body, stream)
                self._ready.append(((stream, send.to), Received(envelope)))
        for timer in made.timers:
            self._count += 1
            self._set.pop((key, timer.name), None)
            if timer.at:
                self._set[key, timer.name] = self._count
                heappush(self._timers, (timer.at, self._count, key, timer.name))
        self._consults.extend((key, consult) for consult in made.consults)
        return made

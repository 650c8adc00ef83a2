"""One seed, one schedule: the nodes of a protocol on a network and disks that fail.

Runs any ``Machine`` as a host does, with its four promises kept and nothing else: messages are lost, doubled, delayed and
so reordered; links part and heal; nodes crash before an append, behind it, and come back from their facts, or without
their disk under another name. All of it is drawn from the seed. Behind ``heal_ms`` nothing fails any more and whoever is
down comes back, so that progress can be asked for too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Any, Final, NamedTuple

from kos_runtime.core.envelope import Envelope
from kos_runtime.core.machine import (
    Began,
    Commanded,
    Concluded,
    Consult,
    Fired,
    Machine,
    Received,
    Run,
    Step,
    Stimulus,
    Trace,
    Transition,
)

#: A schedule ends after so many transitions, whatever is left.
MAX_STEPS: Final = 20_000

#: What somebody outside answers when a machine consults: a command, or nothing. Drawn from the schedule's own chance.
Answer = Callable[[str, Consult, Random], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often what goes wrong, each from 0 to 1."""

    loss: float = 0.0
    duplication: float = 0.0
    #: A message takes from 1 to so many milliseconds.
    delay_ms: int = 20
    #: Of a transition: its node dies before the append, behind it, or when all has been sent.
    crash: float = 0.0
    #: Of a crash: the disk is gone as well. Never more nodes than a minority.
    amnesia: float = 0.0
    #: Every so often the nodes part in two, and heal.
    partition: float = 0.0
    #: Of a node: it is down from the beginning, to the end. Never more than a minority.
    dead: float = 0.0
    heal_ms: int = 20_000
    #: So long after the healing everything must have come to its end.
    patience_ms: int = 600_000


def drawn(rng: Random) -> Faults:
    """Return faults as a swarm wants them: each kind is often absent, and sometimes frequent."""

    def some(most: float) -> float:
        return 0.0 if rng.random() < 0.35 else rng.random() * most

    return Faults(
        loss=some(0.3), duplication=some(0.2), delay_ms=rng.choice((1, 5, 20, 200, 1_000)), crash=some(0.06),
        amnesia=some(0.4), partition=some(0.5), dead=some(0.5), heal_ms=rng.choice((500, 3_000, 20_000)),
    )  # fmt: skip


@dataclass(slots=True)
class _Node:
    name: str
    facts: list[Any] = field(default_factory=list)
    run: Run[Any] | None = None
    incarnation: int = 0
    sent: int = 0
    timers: dict[str, int] = field(default_factory=dict)
    gone: bool = False


class _Due(NamedTuple):
    at: int
    order: int
    node: str
    #: The life of the node that this belongs to; 0: whatever life it is in.
    life: int
    stimulus: Stimulus | None
    token: int = 0
    sender: str = ""


class Schedule:
    """One run of a protocol under one seed."""

    def __init__(
        self,
        machine: Machine[Any],
        setup: Any,
        nodes: Sequence[str],
        answer: Answer,
        seed: int,
        faults: Faults | None = None,
        keeps: Sequence[str] = (),
        until: Sequence[str] = (),
    ) -> None:
        """Set up a schedule.

        Nodes that ``keeps`` names may crash, and always come back with their disk. The schedule is over when those that
        ``until`` names have concluded: all, unless given.
        """
        self._rng = Random(f"{seed}/schedule")  # noqa: S311  # repeatable on purpose
        self.faults = drawn(self._rng) if faults is None else faults
        self.machine, self.setup, self._answer = machine, setup, answer
        self._nodes = {name: _Node(name) for name in nodes}
        self._names = tuple(nodes)
        self._keeps = frozenset(keeps)
        self._until = tuple(until) or self._names
        self._due: list[_Due] = []
        self._order = 0
        self._sides: dict[str, int] = {}
        self._lost = 0
        self.now = 0
        self.steps: list[Step] = []
        #: What came how often: for tables that show that nothing was vacuous.
        self.seen: dict[str, int] = {}
        for name in nodes:
            dies = self._rng.random() < self.faults.dead / len(nodes)
            if dies and self._may_lose(name):
                self._lost += 1
                self._nodes[name].gone = True
                self._count("dead from the beginning")
            else:
                self._put(self._rng.randint(0, self.faults.delay_ms), name, 0, None)
        if self.faults.partition:
            self._put(self._rng.randint(0, self.faults.heal_ms), "", 0, None)

    def command(self, node: str, command: Any, at: int) -> None:
        """Let somebody outside say something to a node at an instant."""
        self._put(at - self.now, node, 0, Commanded(command))

    def forge(self, envelope: Envelope, at: int) -> None:
        """Let a message come at an instant that none of the nodes has sent."""
        self._count("message that nobody sent")
        self._put(at - self.now, envelope.recipient, 0, Received(envelope))

    def run(self) -> Trace:
        """Run to the end: until all have concluded, or nothing is left to do, or patience is over."""
        end = self.faults.heal_ms + self.faults.patience_ms
        open_nodes = {name for name in self._until if not self._nodes[name].gone}
        while self._due and open_nodes and len(self.steps) < MAX_STEPS:
            due = heappop(self._due)
            if due.at > end:
                break
            self.now = due.at
            if not due.node:
                self._part()
                continue
            made = self._deliver(due)
            if made and any(type(fact) is Concluded for fact in made.facts):
                open_nodes.discard(due.node)
            if self._nodes[due.node].gone:
                open_nodes.discard(due.node)
        healed = [name for name in self._names if not self._nodes[name].gone]
        return Trace(self.setup, self.steps, healed)

    # --- inside ---------------------------------------------------------------------------------

    def _count(self, what: str) -> None:
        self.seen[what] = self.seen.get(what, 0) + 1

    def _put(
        self, after: int, node: str, life: int, stimulus: Stimulus | None, token: int = 0, sender: str = ""
    ) -> None:
        self._order += 1
        heappush(self._due, _Due(self.now + after, self._order, node, life, stimulus, token, sender))

    def _may_lose(self, name: str) -> bool:
        return name not in self._keeps and self._lost < (len(self._names) - 1) // 2

    @property
    def _is_healed(self) -> bool:
        return self.now >= self.faults.heal_ms

    def _are_apart(self, one: str, other: str) -> bool:
        sides = self._sides
        return bool(sides) and sides.get(one) != sides.get(other) and not self._is_healed

    def _part(self) -> None:
        """Part the nodes in two, or heal them; and so again, until everything heals."""
        if self._is_healed or self._sides:
            self._sides = {}
        else:
            self._count("partition")
            self._sides = {name: self._rng.randint(0, 1) for name in self._nodes}
        if not self._is_healed:
            self._put(self._rng.randint(1, self.faults.heal_ms), "", 0, None)

    def _deliver(self, due: _Due) -> Transition | None:
        node = self._nodes[due.node]
        if node.gone:
            return None
        stimulus = due.stimulus
        if stimulus is None:
            if node.run is not None:
                return None
            node.incarnation += 1
            node.run = Run(self.machine, node.name, self.setup, node.facts)
            node.timers = {}
            if node.incarnation > 1:
                self._count("came back from its records")
            return self._take(node, Began(node.incarnation))
        if node.run is None or (due.life and due.life != node.incarnation):
            return None
        if type(stimulus) is Fired:
            if node.timers.get(stimulus.timer) != due.token:
                return None
            del node.timers[stimulus.timer]
        elif due.sender and self._are_apart(due.sender, due.node):
            self._count("cut off by a partition")
            return None
        return self._take(node, stimulus)

    def _take(self, node: _Node, stimulus: Stimulus) -> Transition | None:
        rng, faults = self._rng, self.faults
        assert node.run is not None
        dies = not self._is_healed and faults.crash > 0 and rng.random() < faults.crash
        moment = rng.randint(0, 2) if dies else 3
        if moment == 0:
            self._count("died before the append")
            self._die(node)
            return None
        made = node.run.take(stimulus, self.now)
        node.facts.extend(made.facts)
        told = moment != 1
        if not told:
            self._count("died between append and sending")
        self.steps.append(
            Step(self.now, node.name, node.incarnation, stimulus, made if told else Transition(made.facts, made.notes))
        )
        if told:
            self._let_out(node, made, stimulus)
        if dies:
            if told:
                self._count("died behind the sending")
            self._die(node)
        return made

    def _die(self, node: _Node) -> None:
        node.run = None
        rng = self._rng
        if rng.random() < self.faults.amnesia and self._may_lose(node.name):
            self._lost += 1
            node.gone = True
            self._count("lost its disk")
            stranger = f"{node.name}+"
            self._nodes[stranger] = _Node(stranger)
            self._put(rng.randint(1, 500), stranger, 0, None)
        else:
            self._put(rng.randint(1, 2_000), node.name, 0, None)

    def _let_out(self, node: _Node, made: Transition, cause: Stimulus) -> None:
        faults, rng = self.faults, self._rng
        calm = self._is_healed
        delay = faults.delay_ms
        caused_by = cause.envelope.id if type(cause) is Received else ""
        for send in made.sends:
            node.sent += 1
            if send.to not in self._nodes:
                continue
            envelope = Envelope(node.name, send.to, node.sent, node.incarnation, send.body, "", caused_by)
            if not calm:
                if faults.loss and rng.random() < faults.loss:
                    self._count("message lost")
                    continue
                if faults.duplication and rng.random() < faults.duplication:
                    self._count("message doubled")
                    self._put(1 + int(rng.random() * 4 * delay), send.to, 0, Received(envelope), 0, node.name)
            self._put(1 + int(rng.random() * delay), send.to, 0, Received(envelope), 0, node.name)
        for timer in made.timers:
            if not timer.at:
                node.timers.pop(timer.name, None)
                continue
            token = node.timers[timer.name] = self._order + 1
            self._put(max(timer.at - self.now, 0), node.name, node.incarnation, Fired(timer.name), token)
        for consult in made.consults:
            command = self._answer(node.name, consult, rng)
            if command is not None:
                self._put(1 + int(rng.random() * 4 * delay), node.name, node.incarnation, Commanded(command))

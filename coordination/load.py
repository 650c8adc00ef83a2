"""Who takes what: two random choices, and stealing from the longer queue.

After Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (IEEE TPDS 12, 2001): of two drawn at random the
one with less at hand. Asking for the least loaded of all is worse with news that is not fresh, since all run to the same.
Stealing after Blumofe and Leiserson, "Scheduling Multithreaded Computations by Work Stealing" (JACM 46, 1999): whoever has
nothing asks two at random, and takes the younger half of what the one with more has not begun.

A queue has one owner for each task and epoch. Owners change by facts alone, so a thief that dies has stolen or has not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kos_runtime.core.chance import draw
from kos_runtime.core.event import event
from kos_runtime.core.machine import Began, Commanded, Concluded, Refused, Stimulus, Transition
from kos_runtime.core.terms import term

MAX_TASKS: Final = 10_000


def two_choices(names: Sequence[str], load: Callable[[str], float], first: float, second: float) -> str:
    """Return the less loaded of two that are drawn; the first drawn when they are level.

    Args:
        names: At least one.
        load: What each has at hand, one's own unanswered sends included.
        first: A number in [0, 1).
        second: Another.

    >>> two_choices(["a", "b"], {"a": 3, "b": 1}.__getitem__, 0.1, 0.9)
    'b'
    """
    count = len(names)
    one = int(first * count)
    if count == 1:
        return names[one]
    other = int(second * (count - 1))
    other += other >= one
    return names[one] if load(names[one]) <= load(names[other]) else names[other]


@term("load")
@dataclass(frozen=True, slots=True)
class Balanced:
    """What a balancer is set up with: the peers, and the seed of their draws."""

    peers: tuple[str, ...]
    seed: int = 0


@term("load.submit")
@dataclass(frozen=True, slots=True)
class Submit:
    tasks: tuple[str, ...]


@term("load.steal")
@dataclass(frozen=True, slots=True)
class Steal:
    """A peer that has nothing asks for work."""

    thief: str


@term("load.finish")
@dataclass(frozen=True, slots=True)
class Finish:
    task: str
    peer: str
    epoch: int


@term("load.lose")
@dataclass(frozen=True, slots=True)
class Lose:
    """A peer is gone: what it had goes to the others."""

    peer: str


@event("load_claimed")
class Claimed:
    """A task has an owner; a later epoch outdates every earlier one."""

    task: str
    peer: str
    epoch: int


@event("load_finished")
class Finished:
    task: str
    peer: str
    epoch: int


@event("peer_lost")
class PeerLost:
    peer: str


@dataclass(slots=True)
class Queues:
    setup: Balanced
    owner: dict[str, tuple[str, int]] = field(default_factory=dict)
    #: Of each peer what is its own, oldest first.
    queues: dict[str, dict[str, int]] = field(default_factory=dict)
    finished: dict[str, str] = field(default_factory=dict)
    epochs: int = 0


class Balancer:
    """The machine that says who owns which task."""

    name = "load"
    version = 1

    def initial(self, me: str, setup: Balanced) -> Queues:  # noqa: ARG002
        return Queues(setup, queues={peer: {} for peer in setup.peers})

    def evolve(self, state: Queues, fact: Any) -> None:
        match fact:
            case Claimed():
                if fact.task in state.owner:
                    state.queues.get(state.owner[fact.task][0], {}).pop(fact.task, None)
                state.owner[fact.task] = fact.peer, fact.epoch
                state.queues[fact.peer][fact.task] = fact.epoch
                state.epochs = max(state.epochs, fact.epoch)
            case Finished():
                state.queues.get(fact.peer, {}).pop(fact.task, None)
                state.finished[fact.task] = fact.peer
            case PeerLost():
                state.queues.pop(fact.peer, None)

    def decide(self, state: Queues, stimulus: Stimulus, now: int) -> Transition:  # noqa: ARG002
        if isinstance(stimulus, Began):
            return Transition()
        if not isinstance(stimulus, Commanded):
            return Transition(ignored="a balancer takes commands only")
        match stimulus.command:
            case Submit(tasks):
                return self._submit(state, tasks)
            case Steal(thief):
                return self._steal(state, thief)
            case Finish() as said:
                return self._finish(state, said)
            case Lose(peer):
                return self._lose(state, peer)
            case _:
                return Transition(reply=Refused("invalid", "a balancer does not know this command"))

    def _place(self, state: Queues, tasks: Sequence[str], load: dict[str, int]) -> list[Claimed]:
        peers = tuple(load)
        facts = []
        for epoch, task in enumerate(tasks, state.epochs + 1):
            first = draw(state.setup.seed, task, epoch, "first")
            peer = two_choices(peers, load.__getitem__, first, draw(state.setup.seed, task, epoch, "second"))
            load[peer] += 1
            facts.append(Claimed(task, peer, epoch))
        return facts

    def _submit(self, state: Queues, tasks: Sequence[str]) -> Transition:
        fresh = [task for task in dict.fromkeys(tasks) if task not in state.owner]
        if len(state.owner) + len(fresh) > MAX_TASKS:
            return Transition(reply=Refused("busy", f"at most {MAX_TASKS} tasks are balanced together"))
        if not state.queues:
            return Transition(reply=Refused("conflict", "there is no peer left to take anything"))
        facts = self._place(state, fresh, {peer: len(queue) for peer, queue in state.queues.items()})
        placed = {fact.task: fact.peer for fact in facts}
        return Transition(
            facts, reply={task: placed.get(task) or state.owner[task][0] for task in dict.fromkeys(tasks)}
        )

    def _steal(self, state: Queues, thief: str) -> Transition:
        if thief not in state.queues:
            return Transition(reply=Refused("not_found", f"there is no peer {thief!r}"))
        victims = [peer for peer, queue in state.queues.items() if peer != thief and len(queue) > 1]
        if state.queues[thief] or not victims:
            return Transition(reply=())
        seed, count = state.setup.seed, state.epochs
        victim = two_choices(
            victims,
            lambda peer: -len(state.queues[peer]),
            draw(seed, thief, count, "first"),
            draw(seed, thief, count, "second"),
        )
        tail = list(state.queues[victim])
        taken = tail[len(tail) - len(tail) // 2 :]
        return Transition([Claimed(task, thief, count + i) for i, task in enumerate(taken, 1)], reply=tuple(taken))

    def _finish(self, state: Queues, said: Finish) -> Transition:
        if state.owner.get(said.task) != (said.peer, said.epoch) or said.task in state.finished:
            return Transition(reply=Refused("stale", f"{said.task!r} is not {said.peer}'s under epoch {said.epoch}"))
        facts: list[Any] = [Finished(said.task, said.peer, said.epoch)]
        if len(state.finished) + 1 == len(state.owner):
            facts.append(Concluded({**state.finished, said.task: said.peer}))
        return Transition(facts)

    def _lose(self, state: Queues, peer: str) -> Transition:
        if peer not in state.queues:
            return Transition()
        left = {name: len(queue) for name, queue in state.queues.items() if name != peer}
        if not left:
            return Transition(reply=Refused("conflict", f"{peer} is the last peer"))
        return Transition([PeerLost(peer), *self._place(state, tuple(state.queues[peer]), left)])


def fairness(load: Mapping[str, float]) -> float:
    """Return how even a load is, from 1/n to 1: Jain's index.

    After Jain, Chiu and Hawe, "A Quantitative Measure of Fairness and Discrimination" (DEC TR-301, 1984).
    """
    values = list(load.values())
    squares = sum(value * value for value in values)
    return 1.0 if not squares else sum(values) ** 2 / (len(values) * squares)

"""Every state that small protocols can reach, over the shipped handlers: Paxos, leases, and owners of a log.

The grant checks, of which every small case is asked too, are in ``graphs``.
"""

from collections.abc import Callable, Iterator
from itertools import product
from random import Random
from typing import Any, Final

from coordination.assignment import Done, GivenUp, Leased, LeaseLost, ResultDiscarded, assignment
from coordination.registered import ASSIGNMENT
from coordination.worker import Alive, Hello, Result, Work
from kos_runtime.adapters.event_store.memory import MemoryEventStore
from kos_runtime.adapters.event_store.memory_log import Fault, MemoryLog
from kos_runtime.core.envelope import Envelope
from kos_runtime.core.errors import AppendConflict, AppendUnknown, Fenced
from kos_runtime.core.machine import Began, Concluded, Fired, Received, Run, Step, Trace, Transition, violations
from kos_runtime.simulator.explore import Explored, explore
from kos_runtime.testing.log_builder import LogBuilder
from tests.coordination import paxos_model

# --- leases: one task, two workers, two attempts ------------------------------------------------

LEASE_MS: Final = 1_000
_SETUP: Final = assignment(("t",), ("a", "b"), lease_ms=LEASE_MS, max_attempts=2)
_IDEMPOTENT: Final = assignment(("t",), ("a", "b"), lease_ms=LEASE_MS, max_attempts=2, idempotent=True)


class Leases:
    """Where the master is and how it came there, the time in leases, what was sent to whom, and the workers' lives."""

    __slots__ = ("folded", "given", "key", "lives", "now", "setup")

    def __init__(
        self, setup: Any, folded: tuple[Any, ...], now: int, given: frozenset[tuple[str, int]], lives: tuple[int, ...]
    ) -> None:
        self.setup, self.folded, self.now, self.given, self.lives = setup, folded, now, given, lives
        # Notes may be folded again and again: what counts is what they come to.
        self.key = (repr(self.master().state), repr(self.facts()), now, given, lives)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Leases) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def master(self) -> Run[Any]:
        return Run(ASSIGNMENT.machine, "master", self.setup, self.folded)

    def facts(self) -> tuple[Any, ...]:
        return tuple(fact for fact in self.folded if isinstance(fact, _FACTS))

    def after(self, stimulus: Any) -> "Leases":
        made = self.master().take(stimulus, self.now * LEASE_MS)
        given = {(send.to, send.body.epoch) for send in made.sends if isinstance(send.body, Work)}
        return Leases(self.setup, (*self.folded, *made.facts, *made.notes), self.now, self.given | given, self.lives)


def leases(setup: Any, latest: int) -> Explored[Leases]:
    """Search: any work that was ever sent may be answered at any time, in any life of its worker, again and again or never.

    A worker may come back without its memory, once; the master may die and come back from its facts; the time moves on by
    whole leases, which run out or are renewed.
    """
    workers = setup.workers

    def successors(state: Leases) -> Iterator[Leases]:
        stimuli: list[Any] = [Fired("leases")]
        for worker, life in zip(workers, state.lives, strict=True):
            held = tuple(sorted(epoch for to, epoch in state.given if to == worker))

            def says(body: Any, worker: str = worker, life: int = life) -> Received:
                return Received(Envelope(worker, "master", 1, life, body, ""))

            stimuli += [says(Result(0, epoch, epoch, error)) for epoch in held for error in ("", "it broke")]
            stimuli.append(says(Hello()))
            if held:
                stimuli.append(says(Alive(held)))
        yield from map(state.after, stimuli)
        if state.now < latest:
            yield Leases(setup, state.folded, state.now + 1, state.given, state.lives)
        for place, life in enumerate(state.lives):
            if life == 1:
                lives = tuple(2 if other == place else its for other, its in enumerate(state.lives))
                yield Leases(setup, state.folded, state.now, state.given, lives)
        # The master dies, and folds its facts alone.
        yield Leases(setup, state.facts(), state.now, state.given, state.lives)

    def problem(state: Leases) -> str:
        trace = Trace(setup, [Step(0, "master", 1, Began(1), Transition(state.facts()))])
        return next(iter(violations(trace, _OF_FACTS)), "")

    return explore(Leases(setup, (), 0, frozenset(), (1, 1)).after(Began(1)), successors, problem, most=20_000)


_FACTS: Final = (Leased, LeaseLost, Done, GivenUp, ResultDiscarded, Concluded)
#: Those invariants that ask for facts alone.
_OF_FACTS: Final = {
    name: check
    for name, check in ASSIGNMENT.invariants.items()
    if name.partition(" ")[0] in {"M1", "M2", "M3", "M4", "L6"}
}

# --- owners: two, who claim and append, one of whom may be outdated without knowing -------------

#: What an owner does next; appends may be stored and not answered, or lost.
_MOVES: Final = ("claim", "append", "append, answered by nobody", "append, lost")
_DEPTH: Final = 5


def owners(depth: int = _DEPTH) -> tuple[int, str]:
    """Let two owners do everything in every order, up to a depth.

    Returns:
        How many sequences there were, and what was wrong first: an append under an outdated epoch or at an outdated offset that
        was stored, one that was refused without reason, or one that was answered and is not there.
    """
    count = 0
    for moves in product(product((0, 1), _MOVES), repeat=depth):
        count += 1
        if said := _lived(moves):
            return count, f"{said}, after {moves}"
    return count, ""


def _lived(moves: tuple[tuple[int, str], ...]) -> str:
    faults: list[Fault | None] = [None]
    log = MemoryLog("store-1", faults=lambda _: faults[0])
    stores = [MemoryEventStore(log), MemoryEventStore(log)]
    epochs, offsets, links = [0, 0], [0, 0], [log.head[1]] * 2
    newest, stored = 0, 0
    for number, (owner, move) in enumerate(moves):
        store = stores[owner]
        if move == "claim":
            store = stores[owner] = MemoryEventStore(log)
            epochs[owner] = store.claim(store.lease().epoch, f"owner-{owner}").epoch
            newest += 1
            head = store.head()
            offsets[owner], links[owner] = head.offset, head.link
            if epochs[owner] != newest or head.offset != stored:
                return f"it claimed epoch {epochs[owner]} at {head.offset}, not {newest} at {stored}"
            continue
        if not epochs[owner]:
            continue
        builder = LogBuilder(epoch=epochs[owner], offset=offsets[owner], link=links[owner])
        batch = builder.batch(f"run/{owner}-{number}")
        faults[0] = {"append": None, "append, lost": Fault.LOST}.get(move, Fault.STORED)
        may = epochs[owner] == newest and offsets[owner] == stored
        try:
            store.append(batch)
        except (Fenced, AppendConflict) as error:
            if may:
                return f"it was refused: {error}"
            continue
        except AppendUnknown:
            # Whoever does not know ends; a successor finds out.
            stored += may and move != "append, lost"
            epochs[owner] = 0
        else:
            if not may:
                return "what was outdated was stored"
            stored += 1
            offsets[owner], links[owner] = builder.offset, builder.link
        if len(log.records) != stored:
            return f"{len(log.records)} records are there, not {stored}"
    return ""


# --- the lane -----------------------------------------------------------------------------------


def run(count: int, seed: int, share: float = 1.0) -> dict[str, Any]:
    """Search all of them, or Paxos and one that the seed draws; nothing else of it depends on the seed."""
    del count
    found: dict[str, Any] = {"violations": [], "counts": {}}
    names = list(_SEARCHES)
    chosen = names if share >= 1 else [names[0], Random(f"{seed}/models").choice(names[1:])]
    for name in chosen:
        found["counts"][name], problem = _SEARCHES[name]()
        if problem:
            found["violations"].append(f"{name}: {problem}")
    return found


def _searched(result: Explored[Any]) -> tuple[int, str]:
    return result.states, f"{result.problem}, after {len(result.path)} states" if result.problem else ""


_SEARCHES: Final[dict[str, Callable[[], tuple[int, str]]]] = {
    "states of 3 acceptors and 2 numbers": lambda: _searched(paxos_model.search()),
    "states of a task and leases of 2 workers": lambda: _searched(leases(_SETUP, 2)),
    "states of a task that may be with both": lambda: _searched(leases(_IDEMPOTENT, 1)),
    "orders of 2 owners' claims and appends": owners,
}


def words(found: dict[str, Any]) -> str:
    counts = ", ".join(f"{count} {name}" for name, count in found["counts"].items())
    return f"{counts}; {len(found['violations'])} violations"

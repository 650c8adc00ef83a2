"""The shipped Paxos handlers as a graph of states: three acceptors, two proposers with a number each.

The set of messages only grows, and any message may be handed to anybody at any time, again and again or never. So a search
of it covers loss, doubling, delay and every order at once, and an acceptor's crash too, since it answers from its records.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from coordination import paxos
from coordination.quorum import majority
from kos_runtime.simulator.explore import Explored, explore

ACCEPTORS = ("x", "y", "z")
#: A proposer has a number, and a value of its own.
PROPOSERS = ((paxos.Number(2, "a", 1), b"A"), (paxos.Number(3, "b", 1), b"B"))

#: Promised, accepted, value.
_Acceptor = tuple[paxos.Number, paxos.Number, bytes]
_Message = tuple[str, str, paxos.Number, paxos.Number, bytes]


class State(NamedTuple):
    acceptors: tuple[_Acceptor, ...]
    #: What each proposer has asked to be accepted; empty until it has.
    proposed: tuple[bytes, ...]
    messages: frozenset[_Message]


FIRST = State(
    tuple((paxos.NONE, paxos.NONE, b"") for _ in ACCEPTORS),
    tuple(b"" for _ in PROPOSERS),
    frozenset(("prepare", "", number, paxos.NONE, b"") for number, _ in PROPOSERS),
)


def successors(state: State) -> Iterator[State]:
    for kind, who, number, accepted, value in sorted(state.messages):
        if kind in {"prepare", "accept"}:
            yield from _handed(state, kind, number, value)
        assert who or kind in {"prepare", "accept"}
        del accepted
    for i, (number, own) in enumerate(PROPOSERS):
        if not state.proposed[i]:
            yield from _proposals(state, i, number, own)


def _handed(state: State, kind: str, number: paxos.Number, value: bytes) -> Iterator[State]:
    for i, name in enumerate(ACCEPTORS):
        acceptor = paxos.Acceptor(*state.acceptors[i])
        fact: paxos.Promised | paxos.Accepted | None
        answer: object
        if kind == "prepare":
            fact, answer = paxos.on_prepare(acceptor, paxos.Prepare(1, number))
        else:
            fact, answer = paxos.on_accept(acceptor, paxos.Accept(1, number, value))
        said = state.messages
        if isinstance(answer, paxos.Promise):
            said = said | {("promise", name, answer.number, answer.accepted, answer.value)}
        elif isinstance(answer, paxos.AcceptedBy):
            said = said | {("accepted", name, answer.number, paxos.NONE, value)}
        if fact is not None:
            paxos.fold_acceptor(acceptor, fact)
        acceptors = list(state.acceptors)
        acceptors[i] = acceptor.promised, acceptor.accepted, acceptor.value
        yield State(tuple(acceptors), state.proposed, said)


def _proposals(state: State, i: int, number: paxos.Number, own: bytes) -> Iterator[State]:
    heard = {
        who: paxos.Promise(1, number, accepted, value)
        for kind, who, of, accepted, value in sorted(state.messages)
        if kind == "promise" and of == number and accepted < number
    }
    for size in range(1, len(heard) + 1):
        for names in combinations(sorted(heard), size):
            promises = {name: heard[name] for name in names}
            if paxos.has_quorum(promises, len(ACCEPTORS)):
                value = paxos.free_value(promises, own)
                proposed = list(state.proposed)
                proposed[i] = value
                yield State(
                    state.acceptors, tuple(proposed), state.messages | {("accept", "", number, paxos.NONE, value)}
                )


def problem(state: State) -> str:
    """Two values that were both accepted by a majority, each under one number."""
    votes: dict[tuple[paxos.Number, bytes], set[str]] = {}
    for kind, who, number, _, value in state.messages:
        if kind == "accepted":
            votes.setdefault((number, value), set()).add(who)
    chosen = sorted({value for (_, value), who in votes.items() if 2 * len(who) > len(ACCEPTORS)})
    return f"both {chosen[0]!r} and {chosen[1]!r} are chosen" if len(chosen) > 1 else ""


def search() -> Explored[State]:
    assert majority(len(ACCEPTORS)) == 2
    return explore(FIRST, successors, problem)

"""Single-decree Paxos: how peers come to act on one value, once.

After Lamport, "Paxos Made Simple" (ACM SIGACT News 32, 2001). Handlers only: each is given a state and a message and
returns what it answers and what must be recorded first; the machines of this package decide when they are called.

What safety stands on, and therefore is recorded before anything that follows from it is said:

- an acceptor's promise, and what it has accepted;
- a proposer's own number, so that it never says two values under one number. A number holds the proposer's incarnation,
  so that who came back never uses one of an earlier life.

The electorate's first member may propose under a number of counter 1 without asking for promises, once, in its first life:
no number is lower, so nothing can have been accepted before. All other numbers count from 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from coordination.quorum import majority
from kos_runtime.core.envelope import message
from kos_runtime.core.event import event


class Number(NamedTuple):
    """What proposals are ordered by. No two proposers, and no two lives of one, have the same."""

    counter: int
    proposer: str
    incarnation: int


NONE: Final = Number(0, "", 0)


def numbered(fact: Any, *names: str) -> None:
    """Make numbers again of what a log or a message holds of them, which is their parts."""
    for name in names:
        if type(getattr(fact, name)) is not Number:
            object.__setattr__(fact, name, Number(*getattr(fact, name)))


# --- messages -----------------------------------------------------------------------------------


@message("prepare")
class Prepare:
    """May I propose under this number?"""

    round: int
    number: Number

    def __post_init__(self) -> None:
        numbered(self, "number")


@message("promise")
class Promise:
    """Yes, and nothing below it from now on; this I have accepted, if anything."""

    round: int
    number: Number
    accepted: Number
    value: bytes

    def __post_init__(self) -> None:
        numbered(self, "number", "accepted")


@message("accept")
class Accept:
    """Accept this value under this number."""

    round: int
    number: Number
    value: bytes

    def __post_init__(self) -> None:
        numbered(self, "number")


@message("accepted")
class AcceptedBy:
    """I have accepted under this number."""

    round: int
    number: Number

    def __post_init__(self) -> None:
        numbered(self, "number")


@message("refusal")
class Refusal:
    """I have promised a higher number: this one."""

    round: int
    number: Number
    promised: Number

    def __post_init__(self) -> None:
        numbered(self, "number", "promised")


# --- facts --------------------------------------------------------------------------------------


@event("paxos_promised")
class Promised:
    round: int
    number: Number

    def __post_init__(self) -> None:
        numbered(self, "number")


@event("paxos_accepted")
class Accepted:
    round: int
    number: Number
    value: bytes

    def __post_init__(self) -> None:
        numbered(self, "number")


@event("paxos_proposing")
class Proposing:
    """A proposer has taken a number. With a value, what it asks to be accepted under it."""

    round: int
    number: Number
    value: bytes | None

    def __post_init__(self) -> None:
        numbered(self, "number")


# --- acceptor -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Acceptor:
    """What one peer has promised and accepted. All of it is durable."""

    promised: Number = NONE
    accepted: Number = NONE
    value: bytes = b""


def on_prepare(acceptor: Acceptor, asked: Prepare) -> tuple[Promised | None, Promise | Refusal]:
    """Promise, if the number is higher than any promised. The answer leaves behind the fact."""
    if asked.number > acceptor.promised:
        return Promised(asked.round, asked.number), Promise(
            asked.round, asked.number, acceptor.accepted, acceptor.value
        )
    if asked.number == acceptor.promised:
        # The same question again: a repeated answer says what is true now, and is as durable as the first.
        return None, Promise(asked.round, asked.number, acceptor.accepted, acceptor.value)
    return None, Refusal(asked.round, asked.number, acceptor.promised)


def on_accept(acceptor: Acceptor, asked: Accept) -> tuple[Accepted | None, AcceptedBy | Refusal]:
    """Accept, unless a higher number was promised."""
    if asked.number < acceptor.promised:
        return None, Refusal(asked.round, asked.number, acceptor.promised)
    if asked.number == acceptor.accepted:
        return None, AcceptedBy(asked.round, asked.number)
    return Accepted(asked.round, asked.number, asked.value), AcceptedBy(asked.round, asked.number)


def fold_acceptor(acceptor: Acceptor, fact: Promised | Accepted) -> None:
    acceptor.promised = fact.number
    if isinstance(fact, Accepted):
        acceptor.accepted, acceptor.value = fact.number, fact.value


# --- proposer -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Proposer:
    """What one peer knows of its own proposal. Only ``number`` and ``value`` are durable; answers can be asked for again."""

    number: Number = NONE
    #: What was asked to be accepted under ``number``; None while promises are gathered.
    value: bytes | None = None
    promises: dict[str, Promise] = field(default_factory=dict)
    accepts: dict[str, bool] = field(default_factory=dict)
    #: The highest number that anybody has named.
    seen: Number = NONE


def next_number(proposer: Proposer, acceptor: Acceptor, me: str, incarnation: int) -> Number:
    """Return a number above all that this peer has heard of."""
    counter = max(1, proposer.number.counter, proposer.seen.counter, acceptor.promised.counter)
    return Number(counter + 1, me, incarnation)


def fold_proposer(proposer: Proposer, fact: Proposing) -> None:
    if fact.number != proposer.number:
        proposer.number, proposer.value, proposer.promises, proposer.accepts = fact.number, None, {}, {}
    if fact.value is not None:
        proposer.value = fact.value


def free_value(promises: Mapping[str, Promise], own: bytes) -> bytes:
    """Return the value that may be proposed: that accepted under the highest number, if any was, else one's own."""
    latest = max(promises.values(), key=_accepted)
    return latest.value if latest.accepted > NONE else own


def _accepted(promise: Promise) -> Number:
    return promise.accepted


def has_quorum(answers: Mapping[str, object], electors: int) -> bool:
    """Say whether so many different acceptors have answered that any two such sets share one."""
    return len(answers) >= majority(electors)

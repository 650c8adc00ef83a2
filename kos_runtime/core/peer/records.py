"""What a peer writes down, and what it says, as plain data.

A transition is one record of the peer's stream: ``PeerActed`` with what caused it and what it released, then its facts.
Transitions that changed nothing that must last (a ballot that was heard, a message that came twice) are told by the next
record, in ``heard``: they cost no record of their own.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from kos_runtime.core.envelope import Envelope
from kos_runtime.core.event import TYPES, describe, event, rebuild
from kos_runtime.core.machine import Began, Commanded, Fired, Received, Send, Step, Stimulus, Transition

#: Where the streams of coordinations begin.
PREFIX: Final = "coordination/"


@event("peer_acted")
class PeerActed:
    """A peer's transition. ``cause`` and what stands in ``heard`` are ``[kind, what]``, an envelope as a list of its parts."""

    incarnation: int
    cause: list[Any]
    #: Envelopes that leave once this record is stored.
    sends: list[list[Any]]
    #: ``[cause, why it was ignored]`` of what came before and changed nothing that must last.
    heard: list[list[Any]]


class Written(NamedTuple):
    """A record of a peer's stream: the names of its events, and their values packed."""

    names: str
    payload: bytes


def vote_stream(run: str, path: str, life: int) -> str:
    """Return what the streams of a vote's peers begin with. A step that is done again in a later life of its run votes anew."""
    return f"{PREFIX}{run}/{path}@{life}" if life else f"{PREFIX}{run}/{path}"


def peer_stream(vote: str, elector: str) -> str:
    """Return the stream of one peer of a vote: what it has promised and cast."""
    return f"{vote}/{elector}"


def prefix_of(run: str) -> str:
    """Return what the streams of all peers of a run begin with."""
    return f"{PREFIX}{run}/"


def envelope_plain(envelope: Envelope) -> list[Any]:
    names, values = describe([envelope.body])
    return [
        envelope.sender, envelope.recipient, envelope.number, envelope.incarnation, names, list(values[0]),
        envelope.correlation_id, envelope.causation_id,
    ]  # fmt: skip


def envelope_of(plain: Sequence[Any]) -> Envelope:
    """Return the envelope of its parts.

    Raises:
        ValueError: They are none, or hold what this version does not know.
    """
    try:
        sender, recipient, number, incarnation, names, values, correlation, causation = plain
        (body,) = rebuild(names, [values])
        return Envelope(sender, recipient, number, incarnation, body, correlation, causation)
    except TypeError as error:
        raise ValueError(f"not an envelope: {error}") from error


def cause_plain(cause: Stimulus) -> list[Any]:
    match cause:
        case Began(incarnation):
            return ["began", incarnation]
        case Received(envelope):
            return ["received", envelope_plain(envelope)]
        case Fired(timer):
            return ["fired", timer]
        case Commanded(command):
            return ["commanded", command if type(command) not in TYPES else type(command).__name__]


def cause_of(plain: Sequence[Any]) -> Stimulus:
    kind, what = plain
    match kind:
        case "began":
            return Began(what)
        case "received":
            return Received(envelope_of(what))
        case "fired":
            return Fired(what)
        case _:
            return Commanded(what)


def step_of(at: int, node: str, events: Sequence[Any]) -> Step:
    """Return the transition that a record tells of: what invariants are asked about."""
    acted, *facts = events
    assert isinstance(acted, PeerActed)
    sends = [envelope_of(plain) for plain in acted.sends]
    made = Transition(facts, sends=[Send(envelope.recipient, envelope.body) for envelope in sends])
    return Step(at, node, acted.incarnation, cause_of(acted.cause), made)

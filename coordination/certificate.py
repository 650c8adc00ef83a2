"""What peers agree on: a vote's ballots with their outcome, so that anyone can work the outcome out again."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from json import dumps, loads
from typing import Any

from coordination.voting import Ballot, Outcome, Question, tally


@dataclass(frozen=True, slots=True)
class Certificate:
    """The ballots, sorted by elector, and what the rule makes of them."""

    ballots: tuple[Ballot, ...]
    outcome: Outcome
    #: The canonical text, which is what is agreed on.
    value: bytes

    @property
    def hash(self) -> str:
        return sha256(self.value).hexdigest()


def certify(asked: Question, ballots: Iterable[Ballot]) -> Certificate:
    """Return the certificate of these ballots: the same bytes, whoever makes it, in whatever order they came."""
    cast = tuple(sorted(ballots, key=lambda ballot: ballot.elector))
    outcome = tally(asked, cast)
    return Certificate(cast, outcome, _text(cast, outcome))


def _text(ballots: Iterable[Ballot], outcome: Outcome) -> bytes:
    lines = [[ballot.elector, list(ballot.choices), ballot.reason] for ballot in ballots]
    return dumps([lines, outcome.to_plain()], separators=(",", ":"), sort_keys=True).encode()


@lru_cache(maxsize=256)
def read(asked: Question, value: bytes) -> Certificate:
    """Read a certificate and work it out again.

    Raises:
        ValueError: It does not say what its ballots say.
    """
    plain: Any = loads(value)
    found = certify(asked, (Ballot(elector, tuple(choices), reason) for elector, choices, reason in plain[0]))
    if found.value != value:
        raise ValueError("a certificate does not say what its ballots say")
    return found

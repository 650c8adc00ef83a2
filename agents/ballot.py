"""What a reviewer thinks of a summary, as a ballot: yes or no about one side of it, with the reason."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from pydantic import BaseModel

from agents.review import Result
from kos_runtime.core.nearest import nearest

#: What a reviewer may look at, how much of it is enough, and the checks whose findings speak of it.
SIDES: Final[Mapping[str, tuple[float, frozenset[str]]]] = {
    "traced": (1.0, frozenset({"citation", "untraceable", "uncited", "unknown_source"})),
    "relevance": (0.8, frozenset({"off_topic", "thin_corpus"})),
    "coverage": (0.9, frozenset({"coverage", "empty"})),
    "sources": (1.0, frozenset({"duplicate_source", "unused_source"})),
    "quality": (0.7, frozenset({"repeated"})),
}


class Ballot(BaseModel):
    """One vote. ``looked_at`` is the side of the summary that it is about."""

    choice: Literal["yes", "no"]
    reason: str
    looked_at: str


def side_of(peer: str, sides: Sequence[str]) -> str:
    """Return which side a peer looks at: they take turns, by the number in their name.

    Raises:
        ValueError: A side is none, or there is none at all.
    """
    for side in sides:
        if side not in SIDES:
            near = nearest(side, tuple(SIDES))
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(SIDES)}"
            raise ValueError(f"a summary has no side {side!r}; {hint}")
    number = peer.rpartition("-")[2]
    if not sides:
        raise ValueError("nobody says what is looked at")
    return sides[(int(number) - 1) % len(sides) if number.isdecimal() else 0]


def ballot(side: str, result: Result) -> Ballot:
    """Return what is to be said of one side of a reviewed summary: whether it is good enough, and why."""
    enough, checks = SIDES[side]
    value = result.parts.get(side, 0.0)
    found = [finding.message for finding in result.findings if finding.check in checks]
    if value >= enough:
        reason = f"{side} is {value:.2f}, and {enough:.2f} is enough"
    else:
        reason = f"{side} is {value:.2f}, below {enough:.2f}"
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return Ballot(
        choice="yes" if value >= enough else "no",
        reason=reason + (f": {found[0]}{more}" if found else ""),
        looked_at=side,
    )

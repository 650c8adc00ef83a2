"""How many are enough: shares of a whole, in exact arithmetic."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Final

#: An electorate has at most so many members, and so many options.
MAX_ELECTORS: Final = 1_000
MAX_OPTIONS: Final = 50
HALF: Final = Fraction(1, 2)


def majority(members: int) -> int:
    """Return the least number of members of which any two sets share one.

    >>> [majority(n) for n in (1, 2, 3, 4, 5)]
    [1, 2, 2, 3, 3]
    """
    return members // 2 + 1


def share(text: str) -> Fraction:
    """Read a share of a whole: ``2/3``, ``0.5``, ``1``.

    Raises:
        ValueError: It is no number above 0 and up to 1.

    >>> share("2/3")
    Fraction(2, 3)
    """
    try:
        if len(text) > 32:
            raise ValueError  # noqa: TRY301
        found = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"not a share: {text[:32]!r}; write for example 2/3 or 0.5") from error
    if not 0 < found <= 1:
        raise ValueError(f"a share is above 0 and at most 1, and {text} is not")
    return found


def electorate(weights: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Return the electors in order, with their weights.

    Raises:
        ValueError: There is none, there are too many, or a weight is no positive integer.
    """
    if not weights:
        raise ValueError("an electorate needs at least one elector")
    if len(weights) > MAX_ELECTORS:
        raise ValueError(f"an electorate has at most {MAX_ELECTORS} electors, not {len(weights)}")
    for name, weight in weights.items():
        if type(weight) is not int or weight < 1:
            raise ValueError(f"the weight of {name!r} is a positive integer, not {weight!r}")
    return tuple(sorted(weights.items()))

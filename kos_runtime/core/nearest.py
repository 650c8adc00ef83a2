"""The nearest known word to a mistaken one: what "did you mean" is made of.

Work is bounded: a word longer than ``_LONGEST`` has no near one, and of many choices only those of about the same
length are compared.
"""

from collections.abc import Iterable
from typing import Final

#: A mistaken word longer than this is not a slip of the finger. Characters.
_LONGEST: Final = 64
#: So many choices are looked at; beyond that a suggestion is not worth the time.
_MOST: Final = 2_000


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice that ``word`` was probably meant to be, or None when nothing is near.

    Near means that at most a third of the letters (at least one, at most three) were added, left out, changed or
    swapped with their neighbour; upper and lower case count as the same. Of equally near ones the first in
    alphabetical order is taken, so the answer does not depend on the order of a set.

    >>> nearest("inptus", {"inputs", "steps"})
    'inputs'
    """
    if not word or len(word) > _LONGEST:
        return None
    limit = min(3, max(1, len(word) // 3))
    wanted = word.casefold()
    found: str | None = None
    for count, choice in enumerate(sorted(choices)):
        if count >= _MOST:
            break
        if choice == word or abs(len(choice) - len(word)) > limit:
            continue
        distance = _distance(wanted, choice.casefold(), limit)
        if distance <= limit and distance < len(word):
            found, limit = choice, distance - 1
            if limit < 0:
                break
    return found


def _distance(a: str, b: str, limit: int) -> int:
    """Optimal string alignment distance; anything above ``limit`` is told as ``limit + 1``."""
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        older, before, row = before, row, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        if min(row) > limit and min(before) > limit:
            return limit + 1
    return row[-1]

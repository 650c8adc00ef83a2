"""Version vectors: which version knows of which.

After Parker and others, "Detection of Mutual Inconsistency in Distributed Systems" (IEEE TSE 9, 1983). A vector counts, for
each replica, the updates that a version has seen.
"""

from collections.abc import Iterable, Mapping
from typing import Final

Vector = Mapping[str, int]
#: A vector has at most so many replicas.
MAX_REPLICAS: Final = 1_000


def knows(one: Vector, other: Vector) -> bool:
    """Say whether a version has seen all that another has.

    >>> knows({"a": 2, "b": 1}, {"a": 1}), knows({"a": 1}, {"b": 1})
    (True, False)
    """
    return all(one.get(replica, 0) >= count for replica, count in other.items())


def is_newer(one: Vector, other: Vector) -> bool:
    return knows(one, other) and not knows(other, one)


def together(vectors: Iterable[Vector]) -> dict[str, int]:
    """Return the vector that has seen all that any of them has."""
    found: dict[str, int] = {}
    for vector in vectors:
        for replica, count in vector.items():
            found[replica] = max(count, found.get(replica, 0))
    return dict(sorted(found.items()))


def next_of(vector: Vector, replica: str) -> dict[str, int]:
    """Return the vector of an update that a replica makes on what it knows."""
    return dict(sorted({**vector, replica: vector.get(replica, 0) + 1}.items()))

"""Which sentences stand for the others: LexRank.

After Erkan and Radev, "LexRank: Graph-based Lexical Centrality as Salience in Text Summarization" (2004): sentences
are joined by the cosine of their tf-idf vectors, and the stationary distribution of a walk over that graph says how
central each is. The walk restarts more often at sentences that are about the topic (Otterbacher, Erkan and Radev,
"Biased LexRank", 2009), so that a well-connected sentence on something else does not win.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Final

#: The share of steps that restart, and how many steps are walked: after so many nothing changes in four digits.
_RESTART: Final = 0.25
_STEPS: Final = 40

Vector = Mapping[str, float]


def unit(vector: Vector) -> dict[str, float]:
    """Return a vector of length one in the same direction; empty when it has no length."""
    length = sqrt(sum(value * value for value in vector.values()))
    return {key: value / length for key, value in vector.items()} if length else {}


def cosine(one: Vector, other: Vector) -> float:
    """Return how alike two unit vectors are, from 0 to 1."""
    if len(other) < len(one):
        one, other = other, one
    return sum(value * other[key] for key, value in one.items() if key in other)


def centrality(vectors: Sequence[Vector], bias: Sequence[float]) -> list[float]:
    """Return each sentence's salience, the greatest being 1.

    Args:
        vectors: Unit vectors of the sentences.
        bias: How much each is about the topic, 0 or more.
    """
    count = len(vectors)
    if not count:
        return []
    edges = _edges(vectors)
    whole = sum(bias)
    restart = [value / whole for value in bias] if whole > 0 else [1 / count] * count
    rank = list(restart)
    for _ in range(_STEPS):
        moved = [_RESTART * value for value in restart]
        for index, row in enumerate(edges):
            total = sum(row.values())
            if not total:
                for other in range(count):
                    moved[other] += (1 - _RESTART) * rank[index] * restart[other]
                continue
            share = (1 - _RESTART) * rank[index] / total
            for other, weight in row.items():
                moved[other] += share * weight
        rank = moved
    top = max(rank)
    return [value / top for value in rank] if top else rank


def _edges(vectors: Sequence[Vector]) -> list[dict[int, float]]:
    """Every pair that has a word in common, found through the words rather than by trying all pairs."""
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for index, vector in enumerate(vectors):
        for key in vector:
            holders[key].append(index)
    edges: list[defaultdict[int, float]] = [defaultdict(float) for _ in vectors]
    for key, holding in holders.items():
        for index in holding:
            value = vectors[index][key]
            row = edges[index]
            for other in holding:
                if other != index:
                    row[other] += value * vectors[other][key]
    return [dict(row) for row in edges]

"""The beatpath method.

After Schulze, "A new monotonic, clone-independent, reversal symmetric, and Condorcet-consistent single-winner election
method" (Social Choice and Welfare 36, 2011), with winning votes as the strength of a link. O(n³) in the options.
"""

from collections.abc import Iterable, Sequence


def preferences(ballots: Iterable[tuple[Sequence[str], int]], options: Sequence[str]) -> list[list[int]]:
    """Return how much weight prefers option i to option j. What a ballot does not rank comes after what it ranks, level."""
    place = {option: i for i, option in enumerate(options)}
    count = len(options)
    found = [[0] * count for _ in range(count)]
    for ranking, weight in ballots:
        ranks = [count] * count
        for rank, option in enumerate(ranking):
            ranks[place[option]] = rank
        for i in range(count):
            row, mine = found[i], ranks[i]
            for j in range(count):
                if mine < ranks[j]:
                    row[j] += weight
    return found


def strongest_paths(preferred: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the strength of the strongest path from each option to each other, after Floyd and Warshall."""
    count = len(preferred)
    paths = [[preferred[i][j] if preferred[i][j] > preferred[j][i] else 0 for j in range(count)] for i in range(count)]
    for k in range(count):
        through = paths[k]
        for i in range(count):
            if i == k:
                continue
            row, first = paths[i], paths[i][k]
            for j in range(count):
                strength = min(first, through[j])
                if j != i and strength > row[j]:
                    row[j] = strength
    return paths


def order(ballots: Iterable[tuple[Sequence[str], int]], options: Sequence[str]) -> list[list[str]]:
    """Return the options from the first to the last, those that are level together, in declared order.

    >>> order([(("a", "b", "c"), 3), (("b", "c", "a"), 2)], ["a", "b", "c"])
    [['a'], ['b'], ['c']]
    """
    paths = strongest_paths(preferences(ballots, options))
    count = len(options)
    left, levels = list(range(count)), []
    while left:
        level = [i for i in left if all(paths[i][j] >= paths[j][i] for j in left)]
        levels.append([options[i] for i in level])
        left = [i for i in left if i not in level]
    return levels

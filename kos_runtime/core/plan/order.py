"""Order among steps, as a graph: id → the ids that it waits for."""

from collections.abc import Iterable, Mapping


def find_cycle(edges: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the ids of one cycle, each waiting for the next and the last for the first; empty when there is none.

    Ids that are waited for and are no key themselves wait for nothing. The walk keeps its own stack, so a chain of
    thousands is no deeper than any other.

    >>> find_cycle({"a": ["b"], "b": ["c"], "c": ["b"]})
    ['b', 'c']
    """
    done: set[str] = set()
    for start in edges:
        if start in done:
            continue
        trail = {start: iter(edges[start])}
        while trail:
            id = next(reversed(trail))
            following = next(trail[id], None)
            if following is None:
                done.add(id)
                del trail[id]
            elif following in trail:
                ids = list(trail)
                return ids[ids.index(following) :]
            elif following in edges and following not in done:
                trail[following] = iter(edges[following])
    return []

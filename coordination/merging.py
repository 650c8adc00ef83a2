"""Values that can be put together without asking anybody: commutative, associative, idempotent.

After Shapiro and others, "Conflict-free Replicated Data Types" (SSS 2011). Each type says what a value looks like, and how
two become one; in whatever order and however often, the same comes of it. States are plain data, so that they can stand in
a log:

- ``counter``: ``{replica: [up, down]}``, after the PN-counter;
- ``or_set``: ``{"added": {element: [tag, …]}, "removed": [tag, …]}``; an addition that a removal has not seen stays;
- ``max``: a number;
- ``mv_register``: ``[[vector, value], …]``, every concurrent value until somebody writes on top of all;
- ``lww_register``: ``{"at": [milliseconds, count, replica], "value": …}``, by a hybrid logical clock (Kulkarni and others,
  OPODIS 2014). The older one is lost, which whoever chooses this type accepts.
"""

from collections.abc import Callable, Mapping
from functools import reduce
from json import dumps
from typing import Any, Final

from coordination.versions import is_newer


def counter(one: Any, other: Any) -> Any:
    found = {replica: list(pair) for replica, pair in one.items()}
    for replica, (up, down) in other.items():
        mine = found.setdefault(replica, [0, 0])
        mine[0], mine[1] = max(mine[0], up), max(mine[1], down)
    return dict(sorted(found.items()))


def or_set(one: Any, other: Any) -> Any:
    removed = sorted({*one["removed"], *other["removed"]})
    gone = set(removed)
    added = {}
    for element in sorted({*one["added"], *other["added"]}):
        tags = sorted({*one["added"].get(element, ()), *other["added"].get(element, ())} - gone)
        if tags:
            added[element] = tags
    return {"added": added, "removed": removed}


def largest(one: Any, other: Any) -> Any:
    return max(one, other)


def mv_register(one: Any, other: Any) -> Any:
    found = {text(line): line for line in [*one, *other]}
    kept = [line for line in found.values() if not any(is_newer(rival[0], line[0]) for rival in found.values())]
    return sorted(kept, key=text)


def lww_register(one: Any, other: Any) -> Any:
    return max(one, other, key=_when)


def _when(value: Any) -> tuple[Any, ...]:
    return (*value["at"], text(value["value"]))


def text(value: Any) -> str:
    """Return the canonical text of plain data, by which it can be ordered."""
    return dumps(value, sort_keys=True, separators=(",", ":"))


MERGES: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "counter": counter,
    "or_set": or_set,
    "max": largest,
    "mv_register": mv_register,
    "lww_register": lww_register,
}


def merge(kind: str, values: list[Any]) -> Any:
    """Put values of a type together.

    Raises:
        ValueError: A value does not look as its type says.
    """
    try:
        # With itself, so that one value has the canonical form too.
        return reduce(MERGES[kind], values, values[0])
    except (TypeError, KeyError, AttributeError, ValueError, IndexError) as error:
        raise ValueError(f"not all of these values are a {kind}: {error}") from error


def counted(value: Mapping[str, list[int]]) -> int:
    """Return what a counter counts."""
    return sum(up - down for up, down in value.values())


def elements(value: Mapping[str, Any]) -> list[str]:
    """Return what an ``or_set`` holds."""
    return list(value["added"])

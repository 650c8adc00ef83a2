"""What an event is: a stored fact under a stable name and version.

Events are plain slotted dataclasses at run time, since freezing costs most of a microsecond each on the path of every
step, and frozen for the type checker. Stored, an event is its name, its version and the list of its fields' values in
declaration order. Today's code knows only today's version; older ones are brought up to it, one version at a time, by
the upcasters registered here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter, call
from typing import Any, Final, TypeVar, dataclass_transform

_T = TypeVar("_T")

#: A function from the values of one version to those of the next.
Upcaster = Callable[[list[Any]], list[Any]]


class EventType:
    """How one event is named, packed and built."""

    __slots__ = ("cls", "fields", "label", "name", "values", "version")

    def __init__(self, cls: type, name: str, version: int) -> None:
        self.cls = cls
        self.name = name
        self.version = version
        self.label: Final = f"{name}.{version}"
        self.fields: Final = tuple(f.name for f in fields(cls))
        if len(self.fields) == 1:
            only = attrgetter(self.fields[0])
            self.values: Callable[[Any], tuple[Any, ...]] = lambda event: (only(event),)
        elif self.fields:
            self.values = attrgetter(*self.fields)
        else:
            self.values = lambda event: ()  # noqa: ARG005


#: Every event of today by its class, and by its name.
TYPES: Final[dict[type, EventType]] = {}
BY_NAME: Final[dict[str, EventType]] = {}
_UPCASTERS: Final[dict[tuple[str, int], Upcaster]] = {}


#: What short runs of events are called and how their values are read, as far as they were met.
_LINES: Final[dict[tuple[type, ...], tuple[str, list[Callable[[Any], tuple[Any, ...]]]]]] = {}
_SHORT: Final = 4
_MOST_LINES: Final = 1_000


class UnknownEvent(ValueError):
    """The log holds an event that this version does not know: written by a newer one, or damaged."""


@dataclass_transform(frozen_default=True)
def event(name: str, version: int = 1) -> Callable[[type[_T]], type[_T]]:
    """Make a class an event that is stored as ``name``, in ``version`` (from 1)."""

    def make(cls: type[_T]) -> type[_T]:
        made = dataclass(slots=True)(cls)
        if name in BY_NAME:
            raise ValueError(f"two events are named {name}")
        TYPES[made] = BY_NAME[name] = EventType(made, name, version)
        return made

    return make


def upcaster(name: str, version: int) -> Callable[[Upcaster], Upcaster]:
    """Register how the values of ``name`` in ``version`` become those of ``version + 1``."""

    def register(function: Upcaster) -> Upcaster:
        _UPCASTERS[name, version] = function
        return function

    return register


def describe(events: Sequence[Any]) -> tuple[str, list[tuple[Any, ...]]]:
    """Return the label line and the values of a list of events, as a record stores them."""
    kinds = tuple(map(type, events))
    known = _LINES.get(kinds)
    if known is None:
        found = [TYPES[kind] for kind in kinds]
        known = " ".join([kind.label for kind in found]), [kind.values for kind in found]
        if len(kinds) <= _SHORT and len(_LINES) < _MOST_LINES:
            _LINES[kinds] = known
    return known[0], list(map(call, known[1], events))


def rebuild(labels: str, values: Sequence[Any]) -> list[Any]:
    """Return the events of a record, brought up to today's versions.

    Raises:
        UnknownEvent: A name or a version that this code does not know.
        ValueError: Labels and values do not fit together.
    """
    names = labels.split(" ")
    if len(names) != len(values):
        raise ValueError(f"{len(names)} events are named, {len(values)} are stored")
    return [_build(label, value) for label, value in zip(names, values, strict=True)]


def _build(label: str, values: Any) -> Any:
    name, _, number = label.rpartition(".")
    kind = BY_NAME.get(name)
    if kind is None or not number.isdecimal():
        raise UnknownEvent(f"unknown event {label!r}; it was written by a newer version, or the log is damaged")
    version, content = int(number), list(values)
    while version < kind.version:
        step = _UPCASTERS.get((name, version))
        if step is None:
            raise UnknownEvent(f"no way from {name}.{version} to {kind.label}")
        content = step(content)
        version += 1
    if version > kind.version:
        raise UnknownEvent(f"{label!r} is newer than this version, which knows {kind.label!r}")
    if len(content) != len(kind.fields):
        raise ValueError(f"{label} has {len(content)} values, not {len(kind.fields)}")
    return kind.cls(*content)

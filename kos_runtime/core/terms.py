"""What machines say, as plain data and back: their facts and messages, and what they are set up with, told and answer.

Facts and messages have names as events have. Everything else that crosses from one process to another, or is stored,
is given one by ``term``. Written, a value of a named type is ``{"~": label, "of": [...]}``, a tuple ``{"~": "()", "of":
[...]}``; what is plain stays as it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from math import isfinite
from operator import attrgetter
from typing import Any, Final, TypeVar

from kos_runtime.core.event import BY_NAME, TYPES, UnknownEvent, rebuild

_T = TypeVar("_T")
_MARK: Final = "~"
_OF: Final = "of"
_TUPLE: Final = "()"
#: A mapping whose keys are no texts, or one that could be taken for one of ours.
_PAIRS: Final = "{}"
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
#: What needs no second look.
_SURE: Final = frozenset({type(None), bool, str, bytes})
#: Nothing is nested deeper; what contains itself ends here.
MAX_DEPTH: Final = 48

_TERMS: Final[dict[type, tuple[str, Callable[[Any], Sequence[Any]]]]] = {}
_BY_TERM: Final[dict[str, type]] = {}


def term(name: str) -> Callable[[type[_T]], type[_T]]:
    """Give a dataclass or a named tuple the name under which it is written. Its fields are written in their order."""

    def register(cls: type[_T]) -> type[_T]:
        if name in _BY_TERM or name in BY_NAME:
            raise ValueError(f"two terms are named {name}")
        names = [f.name for f in fields(cls)] if is_dataclass(cls) else []
        read: Callable[[Any], Sequence[Any]] = tuple
        if len(names) > 1:
            read = attrgetter(*names)
        elif is_dataclass(cls):
            read = lambda value: [getattr(value, each) for each in names]  # noqa: E731
        _TERMS[cls] = name, read
        _BY_TERM[name] = cls
        return cls

    return register


def written(value: Any, depth: int = 0) -> Any:
    """Return a value as plain data.

    Raises:
        ValueError: It is of a type that has no name.
    """
    kind = type(value)
    if kind in _PLAIN:
        _check(value, kind)
        return value
    if depth > MAX_DEPTH:
        raise ValueError(f"a value is nested deeper than {MAX_DEPTH}, or contains itself")
    if kind is list:
        return [written(item, depth + 1) for item in value]
    if kind is dict:
        if _MARK not in value and all(type(key) is str for key in value):
            return {key: written(item, depth + 1) for key, item in value.items()}
        return {_MARK: _PAIRS, _OF: [[written(k, depth + 1), written(v, depth + 1)] for k, v in value.items()]}
    if kind is tuple:
        return {_MARK: _TUPLE, _OF: [written(item, depth + 1) for item in value]}
    if kind in _TERMS:
        name, read = _TERMS[kind]
        return {_MARK: name, _OF: [written(item, depth + 1) for item in read(value)]}
    if kind in TYPES:
        label, values = fact_written(value, depth + 1)
        return {_MARK: label, _OF: values}
    raise ValueError(
        f"a {kind.__name__} has no name under which it could be kept; give it one (kos_runtime.core.terms)"
    )


def _check(value: Any, kind: type) -> None:
    """Raise ``ValueError`` for what looks plain and cannot be stored."""
    if kind is int:
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"{value} is an integer beyond 64 bits")
    elif kind is float and not isfinite(value):
        raise ValueError(f"{value} is no number that can be stored")


def unwritten(plain: Any) -> Any:
    """Return what was written.

    Raises:
        ValueError: It names what this process does not know, or is not in order.
    """
    kind = type(plain)
    if kind is list:
        return [unwritten(item) for item in plain]
    if kind is not dict:
        return plain
    name = plain.get(_MARK)
    if name is None:
        return {key: unwritten(item) for key, item in plain.items()}
    of = plain.get(_OF)
    if type(of) is not list:
        raise ValueError(f"what is written as {name!r} has no values")
    values = [unwritten(item) for item in of]
    if name == _TUPLE:
        return tuple(values)
    if name == _PAIRS:
        return {_key(pair): pair[1] for pair in values}
    cls = _BY_TERM.get(name)
    if cls is None:
        return rebuild(str(name), [values])[0]
    try:
        return cls(*values)
    except TypeError as error:
        raise ValueError(f"{name!r} does not fit: {error}") from error


def _key(pair: Any) -> Any:
    if type(pair) is not list or len(pair) != 2:
        raise ValueError("a mapping is written as pairs")
    return pair[0]


def fact_written(fact: Any, depth: int = 0) -> tuple[str, list[Any]]:
    """Return the label and the values of a fact.

    Raises:
        ValueError: It is no fact, or holds what has no name.
    """
    kind = TYPES.get(type(fact))
    if kind is None:
        raise ValueError(f"a {type(fact).__name__} is no fact: make it one by @event(name)")
    return kind.label, [
        v if type(v) in _SURE or (type(v) is int and -(2**63) <= v < 2**63) else written(v, depth + 1)
        for v in kind.values(fact)
    ]


def fact_unwritten(label: str, values: Sequence[Any]) -> Any:
    """Return a fact, brought up to today's version.

    Raises:
        UnknownEvent: Nobody here knows it.
        ValueError: It is not in order.
    """
    return rebuild(label, [[unwritten(value) for value in values]])[0]


def fact_shown(label: str, values: Sequence[Any]) -> dict[str, Any]:
    """Return a fact for people: the names of its fields where they are known here, else their places."""
    kind = BY_NAME.get(label.rpartition(".")[0])
    names = kind.fields if kind is not None and kind.label == label else tuple(str(i) for i in range(len(values)))
    return dict(zip(names, values, strict=False))


__all__ = ["UnknownEvent", "fact_shown", "fact_unwritten", "fact_written", "term", "unwritten", "written"]

"""Turns what Python code returns into plain data, in one walk that also weighs it."""

import datetime as dt
from collections import OrderedDict, defaultdict
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from math import isfinite
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from pydantic import AnyUrl, BaseModel
from pydantic_core import MultiHostUrl, Url, to_jsonable_python

from kos_runtime.adapters.agent_runner.problems import place_of, shown
from kos_runtime.adapters.codec import MAX_DEPTH

_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1
_DICTS: Final = (dict, OrderedDict, defaultdict)
#: What becomes the text that pydantic writes for it in JSON, and reads again where an annotation asks for it.
_TEXTS: Final = (
    dt.datetime, dt.date, dt.time, dt.timedelta, UUID, Decimal, IPv4Address, IPv4Interface, IPv4Network, IPv6Address,
    IPv6Interface, IPv6Network, AnyUrl, Url, MultiHostUrl,
)  # fmt: skip


class NotPlain(ValueError):
    """A value that is no plain data, and where it stands in the result."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str | int] = []

    def __str__(self) -> str:
        place = place_of(tuple(reversed(self.path)))
        return f"{place}: {self.reason}" if place else self.reason


def plain_of(value: Any) -> tuple[Any, int]:
    """Return a value as plain data that the codec packs, and a lower bound of its packed size in bytes.

    Mappings with text keys, lists, tuples, pydantic models and dataclasses are understood; a member of an enumeration
    is its value; dates, times, spans, decimals, UUIDs, addresses, URLs and paths are texts, as in pydantic's JSON. A set
    is not understood: it has no order, and the same result would be stored in another one each time.

    Raises:
        NotPlain: Something in it is none of these, NaN, infinite, beyond 64 bits, too deep, or contains itself.
    """
    return _walk(value, 0)


def _walk(value: Any, depth: int) -> tuple[Any, int]:
    kind = type(value)
    if kind is str:
        return value, len(value)
    if kind is int:
        if not _INT_MIN <= value <= _INT_MAX:
            raise NotPlain("an integer beyond 64 bits")
        return value, 1
    if kind is float:
        if not isfinite(value):
            raise NotPlain(f"{value} is no number that can be stored")
        return value, 9
    if value is None or kind is bool:
        return value, 1
    if kind in _DICTS:
        return _object(value, depth)
    if kind is list or kind is tuple:
        return _array(value, depth)
    return _other(value, kind, depth)


def _object(value: Any, depth: int) -> tuple[dict[str, Any], int]:
    if depth >= MAX_DEPTH:
        raise NotPlain(f"nested deeper than {MAX_DEPTH}, or contains itself")
    found: dict[str, Any] = {}
    weight = 1
    for key, item in value.items():
        if type(key) is not str:
            if not isinstance(key, str):
                raise NotPlain(f"the key {shown(key, 60)} is no text")
            # A text that is also a member of an enumeration packs as its value.
            key = str.__str__(key) if not isinstance(key, Enum) else str(key.value)  # noqa: PLW2901
        try:
            found[key], size = _walk(item, depth + 1)
        except NotPlain as error:
            error.path.append(key)
            raise
        weight += len(key) + size
    return found, weight


def _array(value: Any, depth: int) -> tuple[list[Any], int]:
    if depth >= MAX_DEPTH:
        raise NotPlain(f"nested deeper than {MAX_DEPTH}, or contains itself")
    found: list[Any] = []
    weight = 1
    for index, item in enumerate(value):
        try:
            plain, size = _walk(item, depth + 1)
        except NotPlain as error:
            error.path.append(index)
            raise
        found.append(plain)
        weight += size
    return found, weight


def _other(value: Any, kind: type, depth: int) -> tuple[Any, int]:
    if isinstance(value, BaseModel):
        return _object(value.model_dump(mode="python", warnings="error"), depth)
    if is_dataclass(value) and not isinstance(value, type):
        return _object({field.name: getattr(value, field.name) for field in fields(value)}, depth)
    if isinstance(value, Enum):
        return _walk(value.value, depth + 1)
    if isinstance(value, _TEXTS):
        if isinstance(value, Decimal) and not value.is_finite():
            raise NotPlain(f"{value} is no number that can be stored")
        return _walk(to_jsonable_python(value), depth)
    if isinstance(value, PurePath):
        return _walk(str(value), depth)
    # Subclasses of plain types, such as numpy's float, are reduced to what they are.
    for plain in (str, int, float):
        if isinstance(value, plain):
            reduced = plain.__str__(value) if plain is str else plain(value)
            return _walk(reduced, depth)
    if kind in {bytes, bytearray, memoryview}:
        raise NotPlain("bytes are no plain data; return a text")
    if kind in {set, frozenset}:
        raise NotPlain("a set has no order; return a list")
    raise NotPlain(f"{kind.__name__} is no plain data")


def weigh(value: Any) -> int:
    """Return a lower bound of the packed size of plain data, in bytes."""
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value)
    if kind is dict:
        return 1 + sum(len(key) + weigh(item) for key, item in value.items())
    if kind is list:
        return 1 + sum(map(weigh, value))
    return 1

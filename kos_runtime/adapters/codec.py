"""Plain values as msgpack, within bounds.

Bytes that came from elsewhere pass ``unpack``: every length is bounded by the number of bytes there are (an element
takes at least one), extension types, timestamps, duplicate or non-text keys, NaN and infinities are refused, and so is
nesting beyond ``MAX_DEPTH``. Maps keep the order of their keys, so equal values made in the same way are equal bytes;
sorting would cost more than the packing itself.
"""

import math
from typing import Any, Final, NoReturn

import msgpack

from kos_runtime.core.record import PAYLOAD_LIMIT

MAX_DEPTH: Final = 64
_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1


class MsgpackCodec:
    """See the module. Safe to share between threads."""

    def pack(self, value: Any) -> bytes:
        """Return the packed value.

        Raises:
            ValueError: Something in it is no plain data; the message says where.
        """
        try:
            packed: bytes = msgpack.packb(value, use_bin_type=True)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            _explain(value, "value", 0, error)
        return packed

    def unpack(self, data: bytes) -> Any:
        """Return the value. ``ValueError`` for whatever is no packed plain value within the bounds."""
        size = len(data)
        if size > PAYLOAD_LIMIT:
            raise ValueError(f"{size} bytes are more than the {PAYLOAD_LIMIT} that a value may have")
        try:
            value = msgpack.unpackb(
                data,
                raw=False,
                strict_map_key=True,
                use_list=True,
                timestamp=0,
                max_str_len=size,
                max_bin_len=size,
                max_array_len=size,
                max_map_len=size,
                max_ext_len=0,
                ext_hook=_refuse_ext,
                object_pairs_hook=_unique,
            )
        except (msgpack.UnpackException, ValueError, RecursionError) as error:
            raise ValueError(f"not a packed value: {type(error).__name__} {error}".rstrip()) from error
        return value


class DoorCodec(MsgpackCodec):
    """For bytes from outside: looks at every number and every level besides."""

    def unpack(self, data: bytes) -> Any:
        value = super().unpack(data)
        check_plain(value)
        return value


def _refuse_ext(code: int, data: bytes) -> NoReturn:
    raise ValueError(f"extension type {code} is no plain data")


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def check_plain(value: Any, where: str = "value", depth: int = 0) -> None:
    """Raise ``ValueError`` naming the first place that is no plain data: a type, a number, a depth."""
    if depth > MAX_DEPTH:
        raise ValueError(f"{where[:100]} is nested deeper than {MAX_DEPTH}")
    kind = type(value)
    if kind is float:
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}, which is no number that can be stored")
    elif kind is int:
        if not _INT_MIN <= value <= _INT_MAX:
            raise ValueError(f"{where} is an integer beyond 64 bits")
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise ValueError(f"{where} has the key {key!r:.60}, which is no text")
            check_plain(item, f"{where}.{key}", depth + 1)
    elif kind is list:
        for index, item in enumerate(value):
            check_plain(item, f"{where}[{index}]", depth + 1)
    elif value is not None and kind not in {str, bool, bytes}:
        raise ValueError(f"{where} is {kind.__name__}, which is no plain data")


def _explain(value: Any, where: str, depth: int, error: Exception) -> NoReturn:
    """Find what could not be packed; tuples are what plans and events are made of, so they count as lists."""
    if isinstance(value, tuple):
        value = list(value)
    if type(value) is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{where} holds half a character (a lone surrogate)") from error
    if depth > MAX_DEPTH:
        raise ValueError(f"{where[:100]} is nested deeper than {MAX_DEPTH}") from error
    if type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise ValueError(f"{where} has the key {key!r:.60}, which is no text") from error
            _try(key, f"{where} (a key)", depth, error)
            _try(item, f"{where}.{key}", depth, error)
    elif type(value) is list:
        for index, item in enumerate(value):
            _try(item, f"{where}[{index}]", depth, error)
    check_plain(value, where, depth)
    raise ValueError(f"{where} cannot be packed: {error}") from error


def _try(value: Any, where: str, depth: int, error: Exception) -> None:
    try:
        msgpack.packb(value, use_bin_type=True)
    except (TypeError, ValueError, OverflowError, RecursionError):
        _explain(value, where, depth + 1, error)

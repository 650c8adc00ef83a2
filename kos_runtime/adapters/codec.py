"""Plain values as msgpack, within bounds.

Bytes that came from elsewhere pass ``unpack``. Extension types, timestamps, duplicate keys, keys that are no text, NaN,
infinities, integers beyond signed 64 bits and nesting beyond ``MAX_DEPTH`` are refused, and no header is believed: an
array is allocated when its header is read, so a few nested headers that claim millions of elements would cost
gigabytes. Collections of up to ``FAMILIAR`` elements are taken as they come. Larger ones, which fan-outs and long
results do have, are bounded by the number of bytes there are (an element takes at least one), once it is certain that
few headers make such a claim; where that cannot be told at a glance, every header is walked first.

Maps keep the order of their keys, so equal values made in the same way are equal bytes. Sorting the keys would cost
more than the packing itself, and nothing compares the bytes of values that were made in different ways.
"""

import math
import re
import threading
from typing import Any, Final, NoReturn

import msgpack

from kos_runtime.adapters.headers import walk_headers
from kos_runtime.core.record import PAYLOAD_LIMIT

MAX_DEPTH: Final = 64
#: Collections up to this many elements are allocated on their header's word.
FAMILIAR: Final = 10_000
#: More than so many headers with a 32-bit or a 16-bit length, and every header is walked before it is believed.
_FEW_32: Final = 8
_FEW_16: Final = 64
_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1
#: What begins bytes, as a key or as a value.
_BINARY: Final = (0xC4, 0xC5, 0xC6)
_COLLECTIONS: Final = (dict, list, tuple)
#: Bytes that may begin a collection; values with no more of them than ``MAX_DEPTH`` cannot be too deep.
_BEGINS: Final = bytes([*range(0x80, 0xA0), *range(0xDC, 0xE0)])
#: What NaN, infinities and integers beyond signed 64 bits look like. Other bytes may look so, which costs only time.
_ODD: Final = tuple(
    re.compile(pattern).search
    for pattern in (rb"\xcb[\x7f\xff][\xf0-\xff]", rb"\xca[\x7f\xff][\x80-\xff]", rb"\xcf[\x80-\xff]")
)


class Packers(threading.local):
    """A packer a thread: making one costs more than packing a small value, and sharing one is not safe."""

    def __init__(self) -> None:
        self.pack = msgpack.Packer(use_bin_type=True).pack


class MsgpackCodec:
    """See the module. Safe to share between threads."""

    def __init__(self) -> None:
        self._own = Packers()

    def pack(self, value: Any) -> bytes:
        """Return the packed value, which ``unpack`` takes.

        That keys are texts is taken on trust, since looking at each would cost as much as packing it; whoever takes
        values from strangers calls ``check_plain``.

        Raises:
            ValueError: Something in it is no plain data; the message says where.
        """
        try:
            packed: bytes = self._own.pack(value)
        except Exception as error:
            # A mapping of the caller's own may raise anything while it is read.
            self._own = Packers()
            explain(value, error)
        for odd in _ODD:
            if odd(packed) is not None:
                check_plain(_listed(value))
                break
        if len(packed) > MAX_DEPTH and len(packed) - len(packed.translate(None, _BEGINS)) > MAX_DEPTH:
            check_depth(value)
        return packed

    def unpack(self, data: bytes) -> Any:
        """Return the value. ``ValueError`` for whatever is no packed plain value within the bounds."""
        size = len(data)
        if size > PAYLOAD_LIMIT:
            raise ValueError(f"{size} bytes are more than the {PAYLOAD_LIMIT} that a value may have")
        value = unpack_bounded(data)
        for odd in _ODD:
            if odd(data) is not None:
                check_plain(value)
                break
        if size > MAX_DEPTH and size - len(data.translate(None, _BEGINS)) > MAX_DEPTH:
            check_depth(value)
        return value

    @staticmethod
    def unpack_trusted(data: bytes) -> Any:
        """Return a value that this system packed itself, from bytes whose hash was checked (log, snapshot, blob).

        Three to five times as quick as ``unpack``. What only a hostile hand could have made is not looked for.

        Raises:
            ValueError: These bytes are no packed value.
        """
        try:
            return msgpack.unpackb(data, max_ext_len=0)
        except (msgpack.UnpackException, ValueError, RecursionError) as error:
            raise ValueError(f"not a packed value: {type(error).__name__} {error}".rstrip()) from error


#: The name by which doors to the outside know it: there is one set of checks, and everything passes all of it.
DoorCodec = MsgpackCodec


def unpack_bounded(data: bytes) -> Any:
    """Return a value without looking at its numbers and its depth; memory and time are bounded by ``data``."""
    size = len(data)
    try:
        return _unpack(data, size, min(size, FAMILIAR))
    except _TooLongError:
        if not _few_claims(data):
            walk_headers(data, MAX_DEPTH)
        return _unpack(data, size, size)


class _TooLongError(Exception):
    """A header claims more than ``FAMILIAR`` elements."""


def _unpack(data: bytes, size: int, longest: int) -> Any:
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            use_list=True,
            timestamp=0,
            max_str_len=size,
            max_bin_len=size,
            max_array_len=longest,
            max_map_len=longest,
            max_ext_len=0,
            ext_hook=_refuse_ext,
            # Only bytes pass msgpack's own test of keys; where there are none, nothing needs to be looked at again.
            object_pairs_hook=_unique_texts if any(head in data for head in _BINARY) else _unique,
        )
    except (msgpack.UnpackException, ValueError, RecursionError) as error:
        if longest < size and "exceeds max_" in str(error):
            raise _TooLongError from error
        raise ValueError(f"not a packed value: {type(error).__name__} {error}".rstrip()) from error


def _few_claims(data: bytes) -> bool:
    return data.count(b"\xdd") + data.count(b"\xdf") <= _FEW_32 and data.count(b"\xdc") + data.count(b"\xde") <= _FEW_16


def _refuse_ext(code: int, _data: bytes) -> NoReturn:
    raise ValueError(f"extension type {code} is no plain data")


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _unique_texts(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    for key, _ in pairs:
        if type(key) is not str:
            raise ValueError(f"the key {key!r:.60} is no text")
    return _unique(pairs)


def check_depth(value: Any) -> None:
    """Raise ``ValueError`` when a value is nested deeper than ``MAX_DEPTH``, or contains itself."""
    level = [value]
    if not isinstance(value, _COLLECTIONS):
        return
    for _ in range(MAX_DEPTH):
        level = [
            item
            for one in level
            for item in (one.values() if isinstance(one, dict) else one)
            if isinstance(item, _COLLECTIONS)
        ]
        if not level:
            return
    raise ValueError(f"value is nested deeper than {MAX_DEPTH}")


def check_plain(value: Any, where: str = "value", depth: int = 0) -> None:
    """Raise ``ValueError`` naming the first place that is no plain data: a type, a number, a depth."""
    kind = type(value)
    if depth >= MAX_DEPTH and kind in {dict, list}:
        raise ValueError(f"{where[:100]} is nested deeper than {MAX_DEPTH}")
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


def explain(value: Any, error: Exception) -> NoReturn:
    """Raise ``ValueError`` that names what in a value could not be packed."""
    _explain(value, "value", 0, error)


def _explain(value: Any, where: str, depth: int, error: Exception) -> NoReturn:
    """Descend to the first part that cannot be packed alone."""
    if type(value) is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{where} holds half a character (a lone surrogate)") from error
    if depth > MAX_DEPTH:
        raise ValueError(f"{where[:100]} is nested deeper than {MAX_DEPTH}, or contains itself") from error
    if type(value) is dict:
        for key, item in value.items():
            if type(key) is not str:
                raise ValueError(f"{where} has the key {key!r:.60}, which is no text") from error
            _try(key, f"{where} (a key)", depth, error)
            _try(item, f"{where}.{key}", depth, error)
    # Tuples are what plans and events are made of, so they count as lists.
    elif type(value) in {list, tuple}:
        for index, item in enumerate(value):
            _try(item, f"{where}[{index}]", depth, error)
    else:
        try:
            check_plain(value, where, depth)
        except ValueError as reason:
            raise reason from error
    raise ValueError(f"{where} cannot be packed: {type(error).__name__}: {error}") from error


def _try(value: Any, where: str, depth: int, error: Exception) -> None:
    try:
        msgpack.packb(value, use_bin_type=True)
    except Exception:
        _explain(value, where, depth + 1, error)


def _listed(value: Any, depth: int = 0) -> Any:
    """Return a packed value's source with what packs like a plain type turned into it, so that it can be checked."""
    if depth > MAX_DEPTH:
        return value
    if isinstance(value, dict):
        return {str(key) if isinstance(key, str) else key: _listed(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(item, depth + 1) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return value if type(value) is kind else kind(value)
    return bytes(value) if isinstance(value, bytearray | memoryview) else value

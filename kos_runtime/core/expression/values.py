"""Plain values and their meaning: kinds, equality, order, text.

A value is null, a boolean, an integer of 64 bits, a number, a string, an array or an object with string keys; in Python
exactly ``None``, ``bool``, ``int``, ``float``, ``str``, ``list`` and ``dict``. Nothing else ever enters a computation, so
no attribute or method of a foreign object can be reached. Values are shared, not copied: nobody changes one.

Nested values are walked with an explicit stack and pay for each element, so neither depth nor size can hurt.
"""

import json
import math
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from kos_runtime.core.expression.errors import EvaluationError, MissingReference, Path
from kos_runtime.core.expression.meter import Meter

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"

INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
#: No computed string is longer than this when it is written as UTF-8. Bytes.
MAX_STRING_BYTES: Final = 64 * 1024
#: Arrays and objects may lie this deep inside each other when they are written as text.
MAX_TEXT_DEPTH: Final = 64

_KINDS: Final[dict[type, str]] = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


def kind(value: object) -> str:
    """Name what a value is, in the words of the language, with an article.

    Raises:
        EvaluationError: It is no plain value.
    """
    name = _KINDS.get(type(value))
    if name is None:
        raise EvaluationError(f"not a plain value: a Python {type(value).__name__}")
    return name


def checked_integer(value: int, position: int) -> int:
    """Return ``value`` if it fits 64 bits."""
    if INT_MIN <= value <= INT_MAX:
        return value
    raise EvaluationError("the integer does not fit 64 bits", position)


def checked_number(value: float, position: int) -> float:
    """Return ``value`` if it is finite."""
    if math.isfinite(value):
        return value
    raise EvaluationError("the result is not a finite number", position)


def both_floats(a: float, b: float, position: int) -> tuple[float, float]:
    """Return two numbers as doubles. An integer from outside may be larger than any double."""
    try:
        return float(a), float(b)
    except OverflowError:
        raise EvaluationError("the integer does not fit 64 bits", position) from None


def checked_string(value: str, position: int) -> str:
    """Return ``value`` if it is at most ``MAX_STRING_BYTES`` long."""
    length = len(value)
    # One character takes at most four bytes, so most strings need no second look.
    if length * 4 <= MAX_STRING_BYTES:
        return value
    if length <= MAX_STRING_BYTES and (value.isascii() or len(value.encode("utf-8", "replace")) <= MAX_STRING_BYTES):
        return value
    raise EvaluationError(f"the string is too long (more than {MAX_STRING_BYTES // 1024} KiB)", position)


def equal(a: Value, b: Value, meter: Meter, position: int) -> bool:
    """Whether two values are the same: by value, deeply, without coercion; ``1`` and ``1.0`` are the same number.

    Costs one for each pair of elements compared and one for each ten characters.
    """
    stack: list[tuple[Value, Value]] = [(a, b)]
    while stack:
        x, y = stack.pop()
        if type(x) is str and type(y) is str:
            if len(x) != len(y):
                return False
            meter.spend(len(x) // 10, position)
            if x != y:
                return False
        elif type(x) is list and type(y) is list:
            if len(x) != len(y):
                return False
            meter.spend(len(x), position)
            stack.extend(zip(x, y, strict=True))
        elif type(x) is dict and type(y) is dict:
            if len(x) != len(y):
                return False
            meter.spend(len(x), position)
            for key, item in x.items():
                if key not in y:
                    return False
                stack.append((item, y[key]))
        elif not _same_scalar(x, y):
            return False
    return True


def _same_scalar(x: Value, y: Value) -> bool:
    kinds = (kind(x), kind(y))
    if kinds[0] == kinds[1] or not (_NUMERIC.isdisjoint(kinds[:1]) or _NUMERIC.isdisjoint(kinds[1:])):
        return x == y
    return False


_NUMERIC: Final = frozenset({"an integer", "a number"})


def comparable(a: Value, b: Value) -> bool:
    """Whether two values have an order: two numbers, two strings or two booleans."""
    x, y = type(a), type(b)
    if x is y:
        return x in {int, float, str, bool}
    return (x is int and y is float) or (x is float and y is int)


def ordered(a: Value, b: Value, symbol: str, test: Callable[[Any, Any], bool], meter: Meter, position: int) -> bool:
    """Return ``test(a, b)``. Strings order by code point, false before true. ``symbol`` is for the message.

    Raises:
        EvaluationError: They have no order.
    """
    if not comparable(a, b):
        raise EvaluationError(
            f"{kind(a)} and {kind(b)} have no order: {symbol} takes two numbers, two strings or two booleans", position
        )
    if isinstance(a, str) and isinstance(b, str):
        meter.spend(min(len(a), len(b)) // 10, position)
    return test(a, b)


def boolean(value: Value, what: str, position: int) -> bool:
    """Return a boolean, and refuse everything else: nothing is true or false by being empty."""
    if value is True or value is False:
        return value
    raise EvaluationError(f"{what} takes a boolean, not {kind(value)}", position)


def element(container: Value, key: Value, position: int, root: str = "", path: Path = ()) -> Value:
    """Return ``container[key]``: an index from 0 of an array, or a key of an object.

    ``root`` and ``path`` tell how the container was reached, for the message.

    Raises:
        MissingReference: There is nothing under that key, or the value has no elements at all.
        EvaluationError: The key is neither an integer nor a string.
    """
    if type(key) is int:
        if type(container) is list:
            if 0 <= key < len(container):
                return container[key]
            reason = f"the array has {len(container)} items" if key >= 0 else "indexes count from 0"
        else:
            reason = f"{kind(container)} has no items"
    elif type(key) is str:
        if type(container) is dict:
            if key in container:
                return container[key]
            reason = "the object has no such key"
        else:
            reason = f"{kind(container)} has no keys"
    else:
        raise EvaluationError(f"an index is an integer or a string, not {kind(key)}", position)
    raise MissingReference(root, (*path, key), reason, position)


def follow(value: Value, path: Path, root: str = "", start: Path = ()) -> Value:
    """Walk down a plain value: what an environment does with the rest of a path.

    Args:
        value: What was found under ``root`` and ``start``.
        path: The keys and indexes that are left.
        root: The root of the reference, for the message.
        start: The path already walked, for the message.

    Raises:
        MissingReference: The path leads to nothing.
    """
    for key in path:
        try:
            value = element(value, key, 0, root, start)
        except MissingReference as error:
            error.position = None
            raise
        start = (*start, key)
    return value


def to_json(value: Value, meter: Meter, position: int) -> str:
    """Write a value as JSON text, keys in their own order, letters as they are.

    Costs one for each element and one for each ten characters.

    Raises:
        EvaluationError: Too deep, too long, too expensive, or not a finite number.
    """
    stack: list[tuple[Value, int]] = [(value, 0)]
    length = 0
    meter.spend(1, position)
    while stack:
        item, depth = stack.pop()
        if depth > MAX_TEXT_DEPTH:
            raise EvaluationError(
                f"the value is nested too deeply to be written (more than {MAX_TEXT_DEPTH})", position
            )
        if type(item) is str:
            length += len(item)
            meter.spend(len(item) // 10, position)
        elif type(item) is list:
            meter.spend(len(item), position)
            stack.extend((part, depth + 1) for part in item)
        elif type(item) is dict:
            meter.spend(len(item), position)
            for key, part in item.items():
                if type(key) is not str:
                    raise EvaluationError(f"a key is a string, not {kind(key)}", position)
                length += len(key)
                stack.append((part, depth + 1))
        elif type(item) is float:
            checked_number(item, position)
        elif type(item) is int:
            checked_integer(item, position)
        else:
            kind(item)
        if length > MAX_STRING_BYTES:
            break  # the text is only longer; it is not worth writing
    if length > MAX_STRING_BYTES:
        raise EvaluationError(f"the string is too long (more than {MAX_STRING_BYTES // 1024} KiB)", position)
    return checked_string(json.dumps(value, ensure_ascii=False, allow_nan=False), position)


def to_text(value: Value, meter: Meter, position: int) -> str:
    """Write a value inside a longer text: a string as it is, everything else as JSON."""
    if type(value) is str:
        meter.spend(len(value) // 10, position)
        return value
    return to_json(value, meter, position)

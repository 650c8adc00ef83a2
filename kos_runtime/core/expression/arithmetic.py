"""``+ - * / %`` on plain values: integers of 64 bits, checked; numbers, finite; ``+`` also joins strings and arrays."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from kos_runtime.core.expression.errors import EvaluationError
from kos_runtime.core.expression.meter import Meter
from kos_runtime.core.expression.values import Value, both_floats, checked_integer, checked_number, checked_string, kind

Operator: TypeAlias = Callable[[Value, Value, Meter, int], Value]


def _add(a: Value, b: Value, meter: Meter, position: int) -> Value:
    if type(a) is int and type(b) is int:
        return checked_integer(a + b, position)
    if (type(a) is float or type(a) is int) and (type(b) is float or type(b) is int):
        x, y = both_floats(a, b, position)
        return checked_number(x + y, position)
    if type(a) is str and type(b) is str:
        meter.spend((len(a) + len(b)) // 10, position)
        return checked_string(a + b, position)
    if type(a) is list and type(b) is list:
        meter.spend(len(a) + len(b), position)
        return a + b
    raise EvaluationError(f"+ takes two numbers, two strings or two arrays, not {kind(a)} and {kind(b)}", position)


def _subtract(a: Value, b: Value, _meter: Meter, position: int) -> Value:
    if type(a) is int and type(b) is int:
        return checked_integer(a - b, position)
    if (type(a) is float or type(a) is int) and (type(b) is float or type(b) is int):
        x, y = both_floats(a, b, position)
        return checked_number(x - y, position)
    return _refuse("-", a, b, position)


def _multiply(a: Value, b: Value, _meter: Meter, position: int) -> Value:
    if type(a) is int and type(b) is int:
        return checked_integer(a * b, position)
    if (type(a) is float or type(a) is int) and (type(b) is float or type(b) is int):
        x, y = both_floats(a, b, position)
        return checked_number(x * y, position)
    return _refuse("*", a, b, position)


def _divide(a: Value, b: Value, _meter: Meter, position: int) -> Value:
    if (type(a) is float or type(a) is int) and (type(b) is float or type(b) is int):
        if b == 0:
            raise EvaluationError("division by zero", position)
        if type(a) is int and type(b) is int:
            return checked_integer(_truncated(a, b), position)
        x, y = both_floats(a, b, position)
        return checked_number(x / y, position)
    return _refuse("/", a, b, position)


def _remainder(a: Value, b: Value, _meter: Meter, position: int) -> Value:
    if type(a) is int and type(b) is int:
        if b == 0:
            raise EvaluationError("division by zero", position)
        # The sign of the dividend; the quotient is looked at too, since -2**63 / -1 does not fit.
        return a - b * checked_integer(_truncated(a, b), position)
    raise EvaluationError(f"% takes two integers, not {kind(a)} and {kind(b)}", position)


def _truncated(a: int, b: int) -> int:
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _refuse(symbol: str, a: Value, b: Value, position: int) -> Value:
    raise EvaluationError(f"{symbol} takes two numbers, not {kind(a)} and {kind(b)}", position)


def negated(value: Value, position: int) -> Value:
    """Return ``-value`` of a number."""
    if type(value) is int:
        return checked_integer(-value, position)
    if type(value) is float:
        return -value
    raise EvaluationError(f"- takes a number, not {kind(value)}", position)


OPERATORS: Final[Mapping[str, Operator]] = {
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "/": _divide,
    "%": _remainder,
}

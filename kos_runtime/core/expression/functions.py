"""The functions of the language, in one table.

Each gets the values of its arguments and pays for what it touches: one for each element, one for each ten characters.
``default`` and ``defined`` decide themselves whether an argument is computed at all; ``evaluate`` knows them.
"""

import decimal
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

from kos_runtime.core.expression.errors import EvaluationError
from kos_runtime.core.expression.meter import Meter
from kos_runtime.core.expression.values import (
    Value,
    boolean,
    both_floats,
    checked_integer,
    checked_number,
    checked_string,
    kind,
    ordered,
    to_json,
    to_text,
)
from kos_runtime.core.instant import parse_duration

Implementation: TypeAlias = Callable[[Sequence[Value], Meter, int], Value]

#: Functions whose first argument may be a reference to nothing.
GUARDS: Final = frozenset({"default", "defined"})
#: ``round`` keeps at most so many decimals: a double has no more.
_MAX_DECIMALS: Final = 15
#: Room for every digit of a double below 2**53 with all its decimals.
_EXACT: Final = decimal.Context(prec=64, rounding=decimal.ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class Function:
    """``least`` and ``most`` bound the number of arguments, both included; ``usage`` shows a call.

    ``run`` is None for the guards, whose arguments are not all computed.
    """

    usage: str
    least: int
    most: int
    run: Implementation | None

    @property
    def arity(self) -> str:
        if self.least != self.most:
            return f"{self.least} or more arguments" if self.most > 2 else f"{self.least} or {self.most} arguments"
        return "1 argument" if self.least == 1 else f"{self.least} arguments"


def _len(arguments: Sequence[Value], _meter: Meter, position: int) -> Value:
    (value,) = arguments
    if isinstance(value, (str, list, dict)):
        return len(value)
    return _refuse("len takes a string, an array or an object", value, position)


def _any(arguments: Sequence[Value], meter: Meter, position: int) -> Value:
    return True in _booleans("any", arguments[0], meter, position)


def _all(arguments: Sequence[Value], meter: Meter, position: int) -> Value:
    return False not in _booleans("all", arguments[0], meter, position)


def _booleans(name: str, value: Value, meter: Meter, position: int) -> list[bool]:
    return [boolean(item, f"{name} of an array", position) for item in _array(name, value, meter, position)]


def _sum(arguments: Sequence[Value], meter: Meter, position: int) -> Value:
    total: int | float = 0
    for item in _array("sum", arguments[0], meter, position):
        number = _number("sum of an array", item, position)
        if type(total) is not type(number):
            total, number = both_floats(total, number, position)
        total += number
    # Integers are added exactly and looked at once, so their order does not matter.
    return checked_integer(total, position) if type(total) is int else checked_number(total, position)


def _min(arguments: Sequence[Value], meter: Meter, position: int) -> Value:
    return _extreme("min", operator.lt, arguments, meter, position)


def _max(arguments: Sequence[Value], meter: Meter, position: int) -> Value:
    return _extreme("max", operator.gt, arguments, meter, position)


def _extreme(
    name: str, test: Callable[[Any, Any], bool], arguments: Sequence[Value], meter: Meter, position: int
) -> Value:
    items = _array(name, arguments[0], meter, position) if len(arguments) == 1 else arguments
    if not items:
        raise EvaluationError(f"{name} of an empty array", position)
    best = items[0]
    ordered(best, best, name, test, meter, position)  # a single item that has no order is refused too
    for item in items[1:]:
        if ordered(item, best, name, test, meter, position):
            best = item
    return best


def _round(arguments: Sequence[Value], _meter: Meter, position: int) -> Value:
    value = _number("round", arguments[0], position)
    decimals = arguments[1] if len(arguments) == 2 else None
    if decimals is not None and (type(decimals) is not int or not 0 <= decimals <= _MAX_DECIMALS):
        raise EvaluationError(f"round keeps 0 to {_MAX_DECIMALS} decimals", position)
    if type(value) is int:
        return value
    checked_number(value, position)
    if abs(value) >= 2**53:
        exact = decimal.Decimal(value)  # it has no fraction
    else:
        # Through the shortest decimal form, so that round(2.675, 2) is what a reader of 2.675 expects.
        unit = decimal.Decimal((0, (1,), -(decimals or 0)))
        exact = decimal.Decimal(repr(value)).quantize(unit, context=_EXACT)
    # Adding zero turns a negative zero into zero.
    return checked_integer(int(exact), position) if decimals is None else float(exact) + 0.0


def _abs(arguments: Sequence[Value], _meter: Meter, position: int) -> Value:
    value = _number("abs", arguments[0], position)
    return checked_integer(abs(value), position) if type(value) is int else abs(value)


def _lower(arguments: Sequence[Value], meter: Meter, position: int) -> Value:
    return checked_string(_string("lower", arguments[0], meter, position).lower(), position)


def _upper(arguments: Sequence[Value], meter: Meter, position: int) -> Value:
    return checked_string(_string("upper", arguments[0], meter, position).upper(), position)


def _trim(arguments: Sequence[Value], meter: Meter, position: int) -> Value:
    return checked_string(_string("trim", arguments[0], meter, position).strip(), position)


def _contains(arguments: Sequence[Value], meter: Meter, position: int) -> Value:
    if type(arguments[0]) is list or type(arguments[0]) is dict:
        raise EvaluationError(f"contains looks into a string, not into {kind(arguments[0])}: write x in y", position)
    text, part = _strings("contains", arguments, meter, position)
    return part in text


def _startswith(arguments: Sequence[Value], meter: Meter, position: int) -> Value:
    text, part = _strings("startswith", arguments, meter, position)
    return text.startswith(part)


def _endswith(arguments: Sequence[Value], meter: Meter, position: int) -> Value:
    text, part = _strings("endswith", arguments, meter, position)
    return text.endswith(part)


def _split(arguments: Sequence[Value], meter: Meter, position: int) -> Value:
    text, separator = _strings("split", arguments, meter, position)
    if not separator:
        raise EvaluationError("split needs a separator that is not empty", position)
    # Counted first: the parts are paid before they are made.
    meter.spend(text.count(separator) + 1, position)
    return list(text.split(separator))


def _join(arguments: Sequence[Value], meter: Meter, position: int) -> Value:
    items = _array("join", arguments[0], meter, position)
    separator = _string("join", arguments[1], meter, position)
    meter.spend(len(items) * len(separator) // 10, position)
    parts: list[str] = []
    for item in items:
        if type(item) is list or type(item) is dict or item is None:
            raise EvaluationError(f"join takes strings, numbers and booleans, not {kind(item)}", position)
        parts.append(to_text(item, meter, position))
    return checked_string(separator.join(parts), position)


def _keys(arguments: Sequence[Value], meter: Meter, position: int) -> Value:
    return list(_object("keys", arguments[0], meter, position))


def _values(arguments: Sequence[Value], meter: Meter, position: int) -> Value:
    return list(_object("values", arguments[0], meter, position).values())


def _json(arguments: Sequence[Value], meter: Meter, position: int) -> Value:
    return to_json(arguments[0], meter, position)


def _duration(arguments: Sequence[Value], meter: Meter, position: int) -> Value:
    try:
        return int(parse_duration(_string("duration", arguments[0], meter, position)))
    except ValueError as error:
        if isinstance(error, EvaluationError):
            raise
        raise EvaluationError(str(error), position) from error


def _number(what: str, value: Value, position: int) -> int | float:
    if type(value) is int or type(value) is float:
        return value
    return _refuse(f"{what} takes numbers", value, position)


def _string(name: str, value: Value, meter: Meter, position: int) -> str:
    if type(value) is not str:
        return _refuse(f"{name} takes a string", value, position)
    meter.spend(len(value) // 10, position)
    return value


def _strings(name: str, values: Sequence[Value], meter: Meter, position: int) -> tuple[str, str]:
    text, part = values
    return _string(name, text, meter, position), _string(name, part, meter, position)


def _array(name: str, value: Value, meter: Meter, position: int) -> list[Value]:
    if type(value) is not list:
        return _refuse(f"{name} takes an array", value, position)
    meter.spend(len(value), position)
    return value


def _object(name: str, value: Value, meter: Meter, position: int) -> dict[str, Value]:
    if type(value) is not dict:
        return _refuse(f"{name} takes an object", value, position)
    meter.spend(len(value), position)
    return value


def _refuse(expectation: str, value: Value, position: int) -> NoReturn:
    raise EvaluationError(f"{expectation}, not {kind(value)}", position)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "len": Function("len(x)", 1, 1, _len),
    "any": Function("any(array)", 1, 1, _any),
    "all": Function("all(array)", 1, 1, _all),
    "sum": Function("sum(array)", 1, 1, _sum),
    "min": Function("min(array) or min(a, b, …)", 1, 64, _min),
    "max": Function("max(array) or max(a, b, …)", 1, 64, _max),
    "round": Function("round(x) or round(x, decimals)", 1, 2, _round),
    "abs": Function("abs(x)", 1, 1, _abs),
    "defined": Function("defined(x)", 1, 1, None),
    "default": Function("default(x, y)", 2, 2, None),
    "lower": Function("lower(string)", 1, 1, _lower),
    "upper": Function("upper(string)", 1, 1, _upper),
    "trim": Function("trim(string)", 1, 1, _trim),
    "contains": Function("contains(string, part)", 2, 2, _contains),
    "startswith": Function("startswith(string, part)", 2, 2, _startswith),
    "endswith": Function("endswith(string, part)", 2, 2, _endswith),
    "split": Function("split(string, separator)", 2, 2, _split),
    "join": Function("join(array, separator)", 2, 2, _join),
    "keys": Function("keys(object)", 1, 1, _keys),
    "values": Function("values(object)", 1, 1, _values),
    "json": Function("json(x)", 1, 1, _json),
    "duration": Function("duration(string)", 1, 1, _duration),
}

"""A tree into closures.

Each node becomes one Python function of an environment and a meter. It counts itself, computes what it needs of its
operands and touches nothing but plain values. Closures are two to three times as quick as walking the tree, and a
condition is evaluated for every turn of a loop.
"""

import operator
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

from kos_runtime.core.expression.arithmetic import OPERATORS, negated
from kos_runtime.core.expression.errors import EvaluationError, MissingReference, Path
from kos_runtime.core.expression.functions import FUNCTIONS
from kos_runtime.core.expression.meter import Meter
from kos_runtime.core.expression.parser import MAX_DEPTH, too_deep
from kos_runtime.core.expression.syntax import (
    Access,
    Arithmetic,
    ArrayDisplay,
    Call,
    Comparison,
    Conditional,
    Junction,
    Literal,
    Negation,
    Not,
    ObjectDisplay,
    Read,
    Syntax,
)
from kos_runtime.core.expression.values import Value, boolean, element, equal, kind, ordered


class Environment(Protocol):
    """Where references lead to."""

    def lookup(self, root: str, path: Path) -> Value:
        """Return the plain value under a reference; it is not changed and not copied.

        Args:
            root: One of the roots that the expression was parsed with, without the dollar.
            path: Names and indexes below it, perhaps none.

        Raises:
            MissingReference: There is nothing, or it was skipped.
            NeedsData: It is not here yet; the evaluation is broken off and made again later.
        """


Compute: TypeAlias = Callable[[Environment, Meter], Value]


def compile_tree(tree: Syntax, source: str, depth: int = 1) -> Compute:
    """Return the function that computes a tree.

    Raises:
        ExpressionSyntaxError: The tree is deeper than ``MAX_DEPTH``, so closures would lie too deep in each other.
    """
    if depth > MAX_DEPTH:
        raise too_deep(tree.position, source)

    def below(part: Syntax) -> Compute:
        return compile_tree(part, source, depth + 1)

    match tree:
        case Literal(value, position):
            return _literal(value, position)
        case Read(reference, position):
            return _read(reference.root, reference.path, position)
        case Access(base, steps, position):
            keys = tuple(step if isinstance(step, (str, int)) else below(step) for step in steps)
            return _access(below(base), base, keys, position)
        case ArrayDisplay(items, position):
            return _array(tuple(map(below, items)), position)
        case ObjectDisplay(entries, position):
            return _object(tuple((key, below(item)) for key, item in entries), position)
        case Negation(operand, position):
            return _negation(below(operand), position)
        case Not(operand, position):
            return _not(below(operand), position)
        case Junction(word, operands, position):
            return _junction(word, tuple(map(below, operands)), position)
        case Comparison(symbol, left, right, position):
            return _comparison(symbol, below(left), below(right), position)
        case Arithmetic(first, rest, position):
            return _arithmetic(below(first), tuple((symbol, below(part), at) for symbol, part, at in rest), position)
        case Conditional(condition, then, otherwise, position):
            return _conditional(below(condition), below(then), below(otherwise), position)
        case Call(name, arguments, position):
            return _call(name, tuple(map(below, arguments)), position)


def _literal(value: Value, position: int) -> Compute:
    def compute(_env: Environment, meter: Meter) -> Value:
        meter.left -= 1
        if meter.left < 0:
            raise meter.exhausted(position)
        return value

    return compute


def _read(root: str, path: Path, position: int) -> Compute:
    def compute(env: Environment, meter: Meter) -> Value:
        meter.left -= 1
        if meter.left < 0:
            raise meter.exhausted(position)
        try:
            return env.lookup(root, path)
        except MissingReference as error:
            if error.position is None:
                error.position = position
            raise

    return compute


def _access(base: Compute, tree: Syntax, keys: tuple[str | int | Compute, ...], position: int) -> Compute:
    root, start = (tree.reference.root, tree.reference.path) if isinstance(tree, Read) else ("", ())
    cost = len(keys)

    def compute(env: Environment, meter: Meter) -> Value:
        meter.spend(cost, position)
        value, path = base(env, meter), start
        for step in keys:
            key = step if isinstance(step, (str, int)) else step(env, meter)
            value = element(value, key, position, root, path)
            path = (*path, key)  # type: ignore[arg-type] # element refused every other kind of key
        return value

    return compute


def _array(items: tuple[Compute, ...], position: int) -> Compute:
    def compute(env: Environment, meter: Meter) -> Value:
        meter.spend(1, position)
        return [item(env, meter) for item in items]

    return compute


def _object(entries: tuple[tuple[str, Compute], ...], position: int) -> Compute:
    def compute(env: Environment, meter: Meter) -> Value:
        meter.spend(1, position)
        return {key: item(env, meter) for key, item in entries}

    return compute


def _negation(operand: Compute, position: int) -> Compute:
    def compute(env: Environment, meter: Meter) -> Value:
        meter.spend(1, position)
        return negated(operand(env, meter), position)

    return compute


def _not(operand: Compute, position: int) -> Compute:
    def compute(env: Environment, meter: Meter) -> Value:
        meter.spend(1, position)
        return not boolean(operand(env, meter), "not", position)

    return compute


def _junction(word: str, operands: tuple[Compute, ...], position: int) -> Compute:
    decisive = word == "or"

    def compute(env: Environment, meter: Meter) -> Value:
        meter.spend(1, position)
        for operand in operands:
            value = operand(env, meter)
            if value is decisive:
                return decisive
            if value is not (not decisive):
                boolean(value, word, position)
        return not decisive

    return compute


def _conditional(condition: Compute, then: Compute, otherwise: Compute, position: int) -> Compute:
    def compute(env: Environment, meter: Meter) -> Value:
        meter.spend(1, position)
        return (then if boolean(condition(env, meter), "if", position) else otherwise)(env, meter)

    return compute


def _comparison(symbol: str, left: Compute, right: Compute, position: int) -> Compute:
    match symbol:
        case "==":
            return _equality(left, right, position, wanted=True)
        case "!=":
            return _equality(left, right, position, wanted=False)
        case "in":
            return _membership(left, right, position, wanted=True)
        case "not in":
            return _membership(left, right, position, wanted=False)
        case _:
            return _order(symbol, left, right, position)


#: Kinds of which two values are equal exactly when Python says so, whatever they cost otherwise.
_PLAIN_EQUALITY: Final = frozenset({int, bool, type(None)})


def _equality(left: Compute, right: Compute, position: int, *, wanted: bool) -> Compute:
    def compute(env: Environment, meter: Meter) -> Value:
        meter.left -= 1
        if meter.left < 0:
            raise meter.exhausted(position)
        a, b = left(env, meter), right(env, meter)
        if type(a) is type(b) and type(a) in _PLAIN_EQUALITY:
            return (a == b) is wanted
        return equal(a, b, meter, position) is wanted

    return compute


_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _order(symbol: str, left: Compute, right: Compute, position: int) -> Compute:
    quick = _ORDERS[symbol]

    def compute(env: Environment, meter: Meter) -> Value:
        meter.left -= 1
        if meter.left < 0:
            raise meter.exhausted(position)
        a, b = left(env, meter), right(env, meter)
        x, y = type(a), type(b)
        if (x is int or x is float) and (y is int or y is float):
            return quick(a, b)
        return ordered(a, b, symbol, quick, meter, position)

    return compute


def _membership(left: Compute, right: Compute, position: int, *, wanted: bool) -> Compute:
    def compute(env: Environment, meter: Meter) -> Value:
        meter.spend(1, position)
        item, container = left(env, meter), right(env, meter)
        if type(container) is list:
            # `any` stops at the first equal item, and only what was looked at is paid.
            found = any(_is_item(item, other, meter, position) for other in container)
        elif type(container) is dict:
            found = _is_key(item, container, position)
        else:
            hint = ": write contains(x, y)" if type(container) is str else ""
            raise EvaluationError(f"in looks into an array or an object, not into {kind(container)}{hint}", position)
        return found is wanted

    return compute


def _is_item(item: Value, other: Value, meter: Meter, position: int) -> bool:
    meter.spend(1, position)
    return equal(item, other, meter, position)


def _is_key(key: Value, container: dict[str, Value], position: int) -> bool:
    if type(key) is str:
        return key in container
    if type(key) in {int, float, bool}:
        return False  # keys are strings, and nothing is turned into one
    raise EvaluationError(f"a key is a string, not {kind(key)}", position)


def _arithmetic(first: Compute, rest: tuple[tuple[str, Compute, int], ...], position: int) -> Compute:
    steps = tuple((OPERATORS[symbol], part, at) for symbol, part, at in rest)
    cost = len(steps)

    def compute(env: Environment, meter: Meter) -> Value:
        meter.spend(cost, position)
        value = first(env, meter)
        for apply, part, at in steps:
            value = apply(value, part(env, meter), meter, at)
        return value

    return compute


def _call(name: str, arguments: tuple[Compute, ...], position: int) -> Compute:
    if name == "default":
        return _default(arguments[0], arguments[1], position)
    if name == "defined":
        return _defined(arguments[0], position)
    run = FUNCTIONS[name].run
    assert run is not None

    def compute(env: Environment, meter: Meter) -> Value:
        meter.spend(1, position)
        return run([argument(env, meter) for argument in arguments], meter, position)

    return compute


def _default(wanted: Compute, otherwise: Compute, position: int) -> Compute:
    def compute(env: Environment, meter: Meter) -> Value:
        meter.spend(1, position)
        try:
            value = wanted(env, meter)
        except MissingReference:
            value = None
        return otherwise(env, meter) if value is None else value

    return compute


def _defined(wanted: Compute, position: int) -> Compute:
    def compute(env: Environment, meter: Meter) -> Value:
        meter.spend(1, position)
        try:
            wanted(env, meter)
        except MissingReference:
            return False
        return True

    return compute

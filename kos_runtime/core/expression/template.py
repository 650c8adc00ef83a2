"""Values of the language: plain data in which some strings stand for something else.

============================  ====================================================================================
string                        what it stands for
============================  ====================================================================================
``$inputs.topic``             entirely a reference: the value there, with its type
``${{ len($item) }}``         the value computed, with its type
``about ${{ $item }}``        text, with each computed value written into it
``$$5``                       ``$5``: two dollars write one, anywhere
``$inptus.topic``             an error, with the nearest word: it begins with ``$`` and names no known root
anything else                 itself
============================  ====================================================================================

A text such as ``$inputs.a + 1`` or ``for $inputs.topic`` is itself too, though rarely meant so: ``warnings`` tells.
"""

from dataclasses import dataclass
from typing import TypeAlias

from kos_runtime.core.expression.compile import Environment
from kos_runtime.core.expression.errors import ExpressionError, MissingReference, Path
from kos_runtime.core.expression.evaluate import Expression
from kos_runtime.core.expression.meter import BUDGET, Meter
from kos_runtime.core.expression.syntax import Reference
from kos_runtime.core.expression.values import Value, checked_string, to_text


@dataclass(frozen=True, slots=True)
class LiteralValue:
    """Plain data that stands for itself, as deep as it goes. It is shared, so nobody changes it."""

    value: Value


@dataclass(frozen=True, slots=True)
class ReferenceValue:
    """A string that is entirely a reference, or ``${{ }}`` around nothing else."""

    reference: Reference
    source: str


@dataclass(frozen=True, slots=True)
class ComputedValue:
    """A string that is entirely ``${{ expression }}``; also one inside a longer text."""

    expression: Expression


@dataclass(frozen=True, slots=True)
class TextValue:
    """A longer string: literal pieces and computed ones, at least one of them."""

    parts: tuple[str | ComputedValue, ...]


@dataclass(frozen=True, slots=True)
class ListValue:
    items: tuple["TemplateNode", ...]


@dataclass(frozen=True, slots=True)
class MapValue:
    items: tuple[tuple[str, "TemplateNode"], ...]


TemplateNode: TypeAlias = LiteralValue | ReferenceValue | ComputedValue | TextValue | ListValue | MapValue


@dataclass(frozen=True, slots=True)
class TemplateWarning:
    """Something allowed that is probably a slip. ``where`` leads to the string inside the value."""

    message: str
    where: Path
    position: int


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed value.

    ``places`` are all references in it, each with the keys and indexes that lead to its string. ``is_pure`` says that
    nothing is computed: the value consists of literals and of strings that are entirely references.
    """

    node: TemplateNode
    places: tuple[tuple[Path, Reference], ...]
    is_pure: bool
    warnings: tuple[TemplateWarning, ...] = ()

    @property
    def references(self) -> tuple[Reference, ...]:
        return tuple(reference for _, reference in self.places)


def evaluate_template(template: Template, env: Environment, *, budget: int = BUDGET) -> Value:
    """Return what a value stands for. All its expressions together cost at most ``budget``.

    Plain references cost nothing: they are handed on, not read.

    Raises:
        EvaluationError: Something in it cannot be computed. ``where`` leads to its string.
        NeedsData: As the environment raised it.
    """
    return _evaluate(template.node, env, Meter(budget, "value"), ())


def _evaluate(node: TemplateNode, env: Environment, meter: Meter, where: Path) -> Value:
    match node:
        case LiteralValue(value):
            return value
        case ListValue(items):
            return [_evaluate(item, env, meter, (*where, index)) for index, item in enumerate(items)]
        case MapValue(entries):
            return {key: _evaluate(item, env, meter, (*where, key)) for key, item in entries}
        case _:
            try:
                return _evaluate_string(node, env, meter)
            except ExpressionError as error:
                error.where = where
                raise


def _evaluate_string(node: ReferenceValue | ComputedValue | TextValue, env: Environment, meter: Meter) -> Value:
    match node:
        case ReferenceValue(reference, source):
            try:
                return env.lookup(reference.root, reference.path)
            except MissingReference as error:
                if error.position is None:
                    error.position, error.source = reference.position, source
                raise
        case ComputedValue(expression):
            return expression.charge(env, meter)
        case TextValue(parts):
            return _written(parts, env, meter)


def _written(parts: tuple[str | ComputedValue, ...], env: Environment, meter: Meter) -> str:
    texts: list[str] = []
    position, source = 0, None
    try:
        for part in parts:
            if isinstance(part, str):
                meter.spend(len(part) // 10, position)
                texts.append(part)
            else:
                position, source = part.expression.tree.position, part.expression.source
                texts.append(to_text(part.expression.charge(env, meter), meter, position))
        return checked_string("".join(texts), position)
    except ExpressionError as error:
        error.source = error.source or source
        raise

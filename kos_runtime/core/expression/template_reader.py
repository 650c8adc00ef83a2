"""Plain data into a template: which strings stand for something else."""

import math
import re
from typing import Final

from kos_runtime.core.expression.errors import ExpressionError, ExpressionSyntaxError, Path
from kos_runtime.core.expression.evaluate import parse_embedded
from kos_runtime.core.expression.parser import unknown_root
from kos_runtime.core.expression.reference import begins_as_reference, whole_reference
from kos_runtime.core.expression.syntax import DEFAULT_ROOTS, Read, Reference
from kos_runtime.core.expression.template import (
    ComputedValue,
    ListValue,
    LiteralValue,
    MapValue,
    ReferenceValue,
    Template,
    TemplateNode,
    TemplateWarning,
    TextValue,
)
from kos_runtime.core.expression.values import INT_MAX, INT_MIN

#: Arrays and objects of a value are at most so deep in each other.
MAX_VALUE_DEPTH: Final = 64
#: A value has at most so many parts, counting each item, key and string.
MAX_VALUE_PARTS: Final = 100_000
#: One string holds at most so many expressions.
MAX_EMBEDDED: Final = 256


def parse_template(value: object, roots: frozenset[str] = DEFAULT_ROOTS) -> Template:
    """Read a value.

    Args:
        value: Plain data as YAML or JSON give it; a tuple counts as an array.
        roots: What references may begin with.

    Raises:
        ExpressionSyntaxError: A string in it cannot be read, or it is no plain data, too deep or too large. ``where``
            leads to the place.
    """
    reader = _Reader(roots)
    node = reader.read(value, ())
    return Template(node, tuple(reader.places), reader.is_pure, tuple(reader.warnings))


class _Reader:
    """Walks a value once and collects what it finds."""

    __slots__ = ("_parts", "_roots", "is_pure", "places", "warnings")

    def __init__(self, roots: frozenset[str]) -> None:
        self._roots = roots
        self._parts = 0
        self.is_pure = True
        self.places: list[tuple[Path, Reference]] = []
        self.warnings: list[TemplateWarning] = []

    def read(self, value: object, where: Path) -> TemplateNode:
        self._parts += 1
        if self._parts > MAX_VALUE_PARTS:
            raise _at(where, f"the value is too large (more than {MAX_VALUE_PARTS} parts)")
        match value:
            case str():
                # The loader may use strings that know their place; what is kept is plain.
                text = str(value)
                return self._string(text, where) if "$" in text else LiteralValue(text)
            case dict() | list() | tuple() if len(where) >= MAX_VALUE_DEPTH:
                raise _at(where, f"the value is nested too deeply (more than {MAX_VALUE_DEPTH})")
            case list() | tuple():
                items = tuple(self.read(item, (*where, index)) for index, item in enumerate(value))
                literals = [item.value for item in items if isinstance(item, LiteralValue)]
                return LiteralValue(literals) if len(literals) == len(items) else ListValue(items)
            case dict():
                return self._map(value, where)
            case None | bool():
                return LiteralValue(value)
            case int():
                if not INT_MIN <= value <= INT_MAX:
                    raise _at(where, "the integer does not fit 64 bits: write it in quotes")
                return LiteralValue(int(value))
            case float():
                if not math.isfinite(value):
                    raise _at(where, "not a finite number")
                return LiteralValue(float(value))
            case _:
                raise _at(where, f"not a plain value: a Python {type(value).__name__}")

    def _map(self, value: dict[object, object], where: Path) -> TemplateNode:
        entries: list[tuple[str, TemplateNode]] = []
        for key, item in value.items():
            if not isinstance(key, str):
                raise _at(where, f"a key is a string, not a Python {type(key).__name__}: write it in quotes")
            entries.append((key, self.read(item, (*where, key))))
        literals = {key: item.value for key, item in entries if isinstance(item, LiteralValue)}
        return LiteralValue(literals) if len(literals) == len(entries) else MapValue(tuple(entries))

    def _string(self, text: str, where: Path) -> TemplateNode:
        try:
            return self._reference(text, where) or self._text(text, where)
        except ExpressionError as error:
            error.where = where
            raise

    def _reference(self, text: str, where: Path) -> TemplateNode | None:
        if text[0] != "$" or text.startswith(("$$", "${{")):
            return None
        root = begins_as_reference(text)
        if root is None:
            raise ExpressionSyntaxError("a name is missing after $: write $$ for a dollar", 0, text)
        if root not in self._roots:
            raise unknown_root(root, self._roots, 0, text, "; write $$ for a dollar")
        reference = whole_reference(text)
        if reference is None:
            self._warn("begins like a reference but is taken as text: compute it in ${{ }}, or write $$", where, 0)
            return None
        self.places.append((where, reference))
        return ReferenceValue(reference, text)

    def _text(self, text: str, where: Path) -> TemplateNode:
        parts: list[str | ComputedValue] = []
        literal, position, embedded, doubted = "", 0, 0, False
        while (found := text.find("$", position)) >= 0:
            literal += text[position:found]
            if text.startswith("${{", found):
                embedded += 1
                if embedded > MAX_EMBEDDED:
                    raise ExpressionSyntaxError(f"more than {MAX_EMBEDDED} expressions in one string", found, text)
                expression, position = parse_embedded(text, found + 3, self._roots)
                if literal:
                    parts.append(literal)
                    literal = ""
                parts.append(ComputedValue(expression))
            elif text.startswith("$$", found):
                literal, position = literal + "$", found + 2
            else:
                doubted = doubted or (found > 0 and self._doubt(text, where, found))
                literal, position = literal + "$", found + 1
        literal += text[position:]
        if not embedded:
            return LiteralValue(literal)
        if literal:
            parts.append(literal)
        return self._computed(tuple(parts), where)

    def _computed(self, parts: tuple[str | ComputedValue, ...], where: Path) -> TemplateNode:
        for part in parts:
            if isinstance(part, ComputedValue):
                self.places.extend((where, reference) for reference in part.expression.references)
        if len(parts) == 1 and isinstance(parts[0], ComputedValue):
            expression = parts[0].expression
            if isinstance(expression.tree, Read):
                return ReferenceValue(expression.tree.reference, expression.source)
            self.is_pure = False
            return parts[0]
        self.is_pure = False
        return TextValue(parts)

    def _doubt(self, text: str, where: Path, position: int) -> bool:
        found = _MENTION.match(text, position)
        if found is None or found.group(1) not in self._roots:
            return False
        self._warn(
            f"{found.group()} is taken as text: to put its value here write ${{{{ {found.group()} }}}}", where, position
        )
        return True

    def _warn(self, message: str, where: Path, position: int) -> None:
        self.warnings.append(TemplateWarning(message, where, position))


#: Within a text only ``$root.name`` looks like a reference; a lone ``$item`` may be money.
_MENTION: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]{0,63})\.[A-Za-z_][A-Za-z0-9_]{0,63}")


def _at(where: Path, message: str) -> ExpressionSyntaxError:
    error = ExpressionSyntaxError(message)
    error.where = where
    return error

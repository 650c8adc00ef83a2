"""Random expressions, each written in the language and in CEL.

What is left out because the two differ there by design, and why:

* An integer with a number in one sum (``1 + 2.5``). CEL wants a conversion; the language has none, so it widens.
* Numbers that overflow or are no numbers. CEL goes on with infinity and NaN; here they are errors.
* An error on the left of ``and`` or ``or``. CEL lets the right side decide; here only what is needed is computed, from
  left to right. Where the left may fail, CEL is given the same meaning as a ternary (``a ? (b ? true : false) : false``).
* An index that is a whole number (``x[1.0]``). CEL takes it; here an index is an integer.
* Two signs in a row. CEL's parser cancels them unseen (``!!1`` is 1, ``--9223372036854775808`` no number at all); here
  each is applied. CEL gets parentheses between them.
* Integers beyond 2**53 compared with numbers. CEL rounds, this language compares exactly; numbers here stay small.

What CEL's type checker would refuse (``1 == 1.0``, ``[1, "a"]``) is no difference: it is switched off, and at run time
CEL's values compare across types as ours do.
"""

import random
from dataclasses import dataclass
from typing import Any, Final

#: What both evaluators see as ``$inputs`` and ``inputs``.
INPUTS: Final[dict[str, Any]] = {
    "i": 3,
    "z": 0,
    "big": 9223372036854775807,
    "small": -9223372036854775808,
    "f": 2.5,
    "s": "abc é",
    "e": "",
    "b": True,
    "n": None,
    "l": [1, 2.0, "x", None, True, [3]],
    "m": {"a": 1, "b": [1, 2], "c": {"d": "x"}},
}

_INTEGERS: Final = (0, 1, 2, 3, 7, -1, -2, 10, 2**31, 2**62, 2**63 - 1, -(2**63), 4_294_967_296, -3_037_000_500)
_NUMBERS: Final = (0.0, 0.5, 1.0, 2.0, -1.5, 3.25, 0.1, 100.0, -0.001, 7.0)
_STRINGS: Final = ("", "a", "abc", "b", "é", "aé", "😀", 'say "x"', "back\\slash", "line\nline", "z", "\t", "\u2028")
_PLACES: Final = {
    "integer": ("i", "z", "big", "small", "m.a"),
    "number": ("f",),
    "string": ("s", "e", "m.c.d"),
    "boolean": ("b",),
    "array": ("l", "m.b"),
    "object": ("m", "m.c"),
    "any": ("n", "nope", "m.nope", "l[0]", "l[2]", "l[9]", 'm["a"]'),
}
_ALIKE: Final = (
    "0", "1", "0.0", "1.0", "true", "false", "null", '""', '"1"', '"0"', '"null"', '"true"', "[]", "[0]", "[1]", "[1.0]",
    "[true]", "[false]", "[null]", "{}", '{"a": 1}', '{"a": 1.0}', '{"a": true}', '{"a": null}', "[[1], [0]]",
)  # fmt: skip
_KINDS: Final = ("integer", "number", "string", "boolean", "array", "object", "any")

_CHOICE, _OR, _AND, _NOT, _COMPARE, _ADD, _MULTIPLY, _UNARY, _ATOM = range(9)


@dataclass(frozen=True, slots=True)
class Pair:
    """One expression twice. ``steady`` says that it cannot fail; levels are how tightly each text binds."""

    ours: str
    cel: str
    kind: str
    steady: bool = True
    level: int = _ATOM
    cel_level: int = _ATOM


class Pairs:
    """Draws expressions from a random stream. ``wrong`` is the share of operands of a kind that does not fit."""

    def __init__(self, chance: random.Random, wrong: float = 0.04, depth: int = 4) -> None:
        self._chance = chance
        self._wrong = wrong
        self._depth = depth

    def expression(self) -> Pair:
        return self._of(self._chance.choice(_KINDS[:5]), self._depth)

    def _of(self, kind: str, depth: int) -> Pair:
        if depth <= 0 or self._chance.random() < 0.15:
            return self._leaf(kind)
        if self._chance.random() < 0.08:
            return self._choice(kind, depth - 1)
        match kind:
            case "integer":
                return self._integer(depth - 1)
            case "number":
                return self._number(depth - 1)
            case "string":
                return self._sum(kind, ("+",), depth - 1)
            case "boolean":
                return self._boolean(depth - 1)
            case "array":
                return self._array(depth - 1) if self._chance.random() < 0.6 else self._sum(kind, ("+",), depth - 1)
            case "object":
                return self._object(depth - 1)
            case _:
                return self._element(depth - 1) if self._chance.random() < 0.4 else self._any(depth)

    def _any(self, depth: int) -> Pair:
        return self._of(self._chance.choice(_KINDS[:6]), depth)

    def _operand(self, kind: str, depth: int, refused: tuple[str, ...]) -> Pair:
        """An operand of a kind, now and then of one of those that must be refused there."""
        return self._of(self._chance.choice(refused) if self._chance.random() < self._wrong else kind, depth)

    def _leaf(self, kind: str) -> Pair:
        chance = self._chance
        if chance.random() < 0.25 or kind == "any":
            place = chance.choice(_PLACES[kind])
            return Pair(f"$inputs.{place}", f"inputs.{place}", kind, steady="nope" not in place and "9" not in place)
        match kind:
            case "integer":
                value = chance.choice(_INTEGERS) if chance.random() < 0.6 else chance.randint(-20, 20)
                return Pair(str(value), str(value), kind, level=_unary(value), cel_level=_unary(value))
            case "number":
                number = chance.choice(_NUMBERS)
                return Pair(repr(number), repr(number), kind, level=_unary(number), cel_level=_unary(number))
            case "string":
                text = self._quoted(chance.choice(_STRINGS))
                return Pair(text, text, kind)
            case "boolean":
                text = chance.choice(("true", "false"))
                return Pair(text, text, kind)
            case "array":
                return Pair("[]", "[]", kind)
            case _:
                return Pair("{}", "{}", kind)

    def _quoted(self, value: str) -> str:
        quote = self._chance.choice("\"'")
        text = ""
        for character in value:
            if character in "\\\"'":
                text += "\\" + character
            elif character == "\n":
                text += "\\n"
            elif character == "\t":
                text += "\\t"
            elif ord(character) > 127 and self._chance.random() < 0.5:
                code = ord(character)
                text += f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
            else:
                text += character
        return quote + text + quote

    def _integer(self, depth: int) -> Pair:
        draw = self._chance.random()
        if draw < 0.6:
            symbols = ("+", "-") if self._chance.random() < 0.5 else ("*", "/", "%")
            return self._sum("integer", symbols, depth)
        if draw < 0.75:
            operand = self._operand("integer", depth, ("string", "boolean", "array"))
            ours, theirs = f"-{_at(operand, _UNARY)}", f"-{_at(operand, _ATOM, cel=True)}"
            return Pair(ours, theirs, "integer", steady=False, level=_UNARY, cel_level=_UNARY)
        sized = self._operand(self._chance.choice(("string", "array", "object")), depth, ("integer", "boolean"))
        steady = sized.steady and sized.kind in {"string", "array", "object"}
        return Pair(f"len({sized.ours})", f"size({sized.cel})", "integer", steady=steady)

    def _number(self, depth: int) -> Pair:
        left = self._operand("number", depth, ("string", "boolean"))
        if self._chance.random() < 0.3:
            # A literal that is not zero, so that no quotient is infinite.
            number = repr(self._chance.choice((0.5, 2.0, 4.0, 0.25, 3.0)))
            divisor = Pair(number, number, "number")
            return _binary("/", left, divisor, "number", _MULTIPLY, steady=False)
        symbol = self._chance.choice("+-*")
        level = _MULTIPLY if symbol == "*" else _ADD
        return _binary(symbol, left, self._of("number", depth), "number", level, steady=False)

    def _sum(self, kind: str, symbols: tuple[str, ...], depth: int) -> Pair:
        level = _ADD if symbols[0] in "+-" else _MULTIPLY
        refused = {"integer": ("string", "boolean", "array"), "string": ("integer", "array"), "array": ("string",)}[
            kind
        ]
        pair = self._of(kind, depth)
        for _ in range(self._chance.choice((1, 1, 1, 2, 3))):
            right = self._operand(kind, depth, refused)
            steady = pair.steady and right.steady and kind == right.kind != "integer"
            pair = _binary(self._chance.choice(symbols), pair, right, kind, level, steady=steady)
        return pair

    def _boolean(self, depth: int) -> Pair:
        match self._chance.randrange(6):
            case 0:
                left, right = (
                    (self._any(depth), self._any(depth))
                    if self._chance.random() < 0.6
                    else (self._alike(), self._alike())
                )
                return _binary(self._chance.choice(("==", "!=")), left, right, "boolean", _COMPARE)
            case 1:
                return self._order(depth)
            case 2:
                return self._junction(depth)
            case 3:
                return self._not(depth)
            case 4:
                return self._membership(depth)
            case _:
                return self._of_strings(depth)

    def _alike(self) -> Pair:
        """One of those that another language would take for each other."""
        text = self._chance.choice(_ALIKE)
        return Pair(text, text, "any")

    def _order(self, depth: int) -> Pair:
        kind = self._chance.choice(("integer", "number", "string", "boolean"))
        # Integers and numbers do compare, so one may stand where the other does.
        other = "number" if kind == "integer" and self._chance.random() < 0.2 else kind
        left = self._operand(kind, depth, ("array", "object"))
        right = self._operand(other, depth, ("array", "object"))
        steady = left.kind == right.kind == kind
        return _binary(self._chance.choice(("<", "<=", ">", ">=")), left, right, "boolean", _COMPARE, steady=steady)

    def _junction(self, depth: int) -> Pair:
        word = self._chance.choice(("and", "or"))
        symbol, level = ("&&", _AND) if word == "and" else ("||", _OR)
        left = self._operand("boolean", depth, ("integer", "string", "array"))
        right = self._operand("boolean", depth, ("integer", "string", "array"))
        spelling = self._chance.choice((word, symbol))
        ours = f"{_at(left, level)} {spelling} {_at(right, level + 1)}"
        steady = left.steady and right.steady and left.kind == right.kind == "boolean"
        if left.steady and left.kind == "boolean":
            theirs = f"{_at(left, level, cel=True)} {symbol} {_at(right, level + 1, cel=True)}"
            return Pair(ours, theirs, "boolean", steady, level, level)
        first, second = _at(left, _OR, cel=True), _at(right, _OR, cel=True)
        strict = f"({second} ? true : false)"
        theirs = f"{first} ? {strict} : false" if word == "and" else f"{first} ? true : {strict}"
        return Pair(ours, theirs, "boolean", steady, level, _CHOICE)

    def _not(self, depth: int) -> Pair:
        operand = self._operand("boolean", depth, ("integer", "string", "object"))
        theirs = f"!{_at(operand, _ATOM, cel=True)}"
        steady = operand.steady and operand.kind == "boolean"
        if self._chance.random() < 0.5:
            return Pair(f"!{_at(operand, _UNARY)}", theirs, "boolean", steady, _UNARY, _UNARY)
        return Pair(f"not {_at(operand, _NOT)}", theirs, "boolean", steady, _NOT, _UNARY)

    def _membership(self, depth: int) -> Pair:
        if self._chance.random() < 0.6:
            item = self._any(depth) if self._chance.random() < 0.7 else self._alike()
            container = self._operand("array", depth, ("string", "integer"))
            steady = container.kind == "array"
        else:
            item = self._of(self._chance.choice(("string", "string", "integer", "boolean", "array")), depth)
            container = self._operand("object", depth, ("string", "integer"))
            steady = container.kind == "object" and item.kind == "string"
        steady = steady and item.steady and container.steady
        if self._chance.random() < 0.7:
            return _binary("in", item, container, "boolean", _COMPARE, steady=steady)
        ours = f"{_at(item, _ADD)} not in {_at(container, _ADD)}"
        theirs = f"!({item.cel if item.cel_level >= _ADD else f'({item.cel})'} in {_at(container, _ADD, cel=True)})"
        return Pair(ours, theirs, "boolean", steady, _COMPARE, _UNARY)

    def _of_strings(self, depth: int) -> Pair:
        name, method = self._chance.choice(
            (("contains", "contains"), ("startswith", "startsWith"), ("endswith", "endsWith"))
        )
        text = self._operand("string", depth, ("integer", "boolean"))
        part = self._operand("string", depth, ("integer", "array"))
        steady = text.steady and part.steady and text.kind == part.kind == "string"
        theirs = f"{_at(text, _ATOM, cel=True)}.{method}({part.cel})"
        return Pair(f"{name}({text.ours}, {part.ours})", theirs, "boolean", steady)

    def _array(self, depth: int) -> Pair:
        items = [
            self._any(depth) if self._chance.random() < 0.8 else self._alike()
            for _ in range(self._chance.randint(0, 4))
        ]
        ours, theirs = ", ".join(item.ours for item in items), ", ".join(item.cel for item in items)
        return Pair(f"[{ours}]", f"[{theirs}]", "array", all(item.steady for item in items))

    def _object(self, depth: int) -> Pair:
        keys = self._chance.sample(("a", "b", "c", "é"), self._chance.randint(0, 3))
        entries = [(self._quoted(key), self._any(depth)) for key in keys]
        ours = ", ".join(f"{key}: {item.ours}" for key, item in entries)
        theirs = ", ".join(f"{key}: {item.cel}" for key, item in entries)
        return Pair(f"{{{ours}}}", f"{{{theirs}}}", "object", all(item.steady for _, item in entries))

    def _element(self, depth: int) -> Pair:
        if self._chance.random() < 0.5:
            base = self._operand("array", depth, ("object", "integer"))
            key = self._leaf("integer") if base.kind == "array" else Pair("0", "0", "integer")
        else:
            base = self._operand("object", depth, ("array", "string"))
            key = self._leaf("string")
        ours = f"{_at(base, _ATOM)}[{key.ours}]"
        return Pair(ours, f"{_at(base, _ATOM, cel=True)}[{key.cel}]", "any", steady=False)

    def _choice(self, kind: str, depth: int) -> Pair:
        condition = self._operand("boolean", depth, ("integer", "string", "array"))
        then, otherwise = self._of(kind, depth), self._of(kind, depth)
        ours = f"{_at(then, _OR)} if {_at(condition, _OR)} else {otherwise.ours}"
        theirs = f"{_at(condition, _OR, cel=True)} ? {_at(then, _OR, cel=True)} : {otherwise.cel}"
        steady = condition.steady and condition.kind == "boolean" and then.steady and otherwise.steady
        return Pair(ours, theirs, kind, steady, _CHOICE, _CHOICE)


def _unary(value: float) -> int:
    return _ATOM if value >= 0 and not repr(value).startswith("-") else _UNARY


def _at(pair: Pair, level: int, *, cel: bool = False) -> str:
    """The text of a pair, in parentheses unless it binds at least as tightly as ``level``."""
    text, own = (pair.cel, pair.cel_level) if cel else (pair.ours, pair.level)
    return text if own >= level else f"({text})"


def _binary(symbol: str, left: Pair, right: Pair, kind: str, level: int, *, steady: bool = True) -> Pair:
    first = level + (level == _COMPARE)  # comparisons do not chain
    ours = f"{_at(left, first)} {symbol} {_at(right, level + 1)}"
    theirs = f"{_at(left, first, cel=True)} {symbol} {_at(right, level + 1, cel=True)}"
    return Pair(ours, theirs, kind, steady and left.steady and right.steady, level, level)

"""Tokens into a tree.

Precedence climbing with its own count of depth, so that hostile nesting is an error long before Python's stack is full.
From the loosest to the tightest::

    a if c else b      or  ||      and  &&      not      == != < <= > >= in, not in      + -      * / %      - !      .name [key]

Chains of ``or``, ``and``, ``+ -`` and ``* / %`` become one wide node each.
"""

from collections.abc import Mapping
from typing import Final

from kos_runtime.core.expression.errors import ExpressionSyntaxError, quoted
from kos_runtime.core.expression.functions import FUNCTIONS, GUARDS
from kos_runtime.core.expression.lexer import Token, tokenize
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
    Reference,
    Syntax,
)
from kos_runtime.core.expression.values import INT_MAX
from kos_runtime.core.nearest import nearest

#: Brackets, calls, signs and the tree itself are at most this deep.
MAX_DEPTH: Final = 32
#: Operands, operators, calls and each part of a path count as nodes.
MAX_NODES: Final = 512

_OR, _AND, _NOT, _COMPARE, _ADD, _MULTIPLY = range(1, 7)
_LEVELS: Final[Mapping[str, int]] = {
    "or": _OR, "and": _AND,
    "==": _COMPARE, "!=": _COMPARE, "<": _COMPARE, "<=": _COMPARE, ">": _COMPARE, ">=": _COMPARE,
    "in": _COMPARE, "not": _COMPARE,
    "+": _ADD, "-": _ADD, "*": _MULTIPLY, "/": _MULTIPLY, "%": _MULTIPLY,
}  # fmt: skip
_CONSTANTS: Final[Mapping[str, bool | None]] = {"true": True, "false": False, "null": None}
_PYTHON_CONSTANTS: Final = {"True": "true", "False": "false", "None": "null"}


class Parser:
    """Reads one expression; ``references`` collects what it reads, in the order of the text."""

    __slots__ = ("_depth", "_guards", "_index", "_nodes", "_roots", "_tokens", "end", "references", "source")

    def __init__(self, source: str, roots: frozenset[str], start: int = 0, *, embedded: bool = False) -> None:
        self.source = source
        self._roots = roots
        self._tokens, self.end = tokenize(source, start, embedded=embedded)
        self._index = 0
        self._depth = 0
        self._nodes = 0
        self._guards = 0
        self.references: list[Reference] = []

    def parse(self) -> Syntax:
        """Return the tree of the whole expression.

        Raises:
            ExpressionSyntaxError: It is none, or it is too deep or too large.
        """
        if self._tokens[0][0] == "end":
            raise self._error("the expression is empty", self._tokens[0][2])
        tree = self._expression()
        token = self._tokens[self._index]
        if token[0] != "end":
            raise self._unexpected(token)
        return tree

    def _expression(self) -> Syntax:
        self._enter()
        tree = self._binary(_OR)
        token = self._tokens[self._index]
        if token[0] == "symbol" and token[1] == "if":
            self._index += 1
            self._node(token[2])
            condition = self._binary(_OR)
            self._expect("else", "an if needs an else: write a if condition else b")
            tree = Conditional(condition, tree, self._expression(), token[2])
        self._depth -= 1
        return tree

    def _binary(self, level: int) -> Syntax:
        tree = self._prefix(level)
        while True:
            token = self._tokens[self._index]
            if token[0] != "symbol":
                return tree
            found = _LEVELS.get(token[1], 0)
            if found < level or not found:
                return tree
            if found == _COMPARE:
                tree = self._comparison(tree, token)
            elif found <= _AND:
                operands = [tree]
                while self._take(token[1]):
                    operands.append(self._binary(found + 1))
                tree = Junction(token[1], tuple(operands), token[2])
            else:
                tree = Arithmetic(tree, self._chain(found), token[2])

    def _chain(self, level: int) -> tuple[tuple[str, Syntax, int], ...]:
        rest: list[tuple[str, Syntax, int]] = []
        while True:
            kind, symbol, position = self._tokens[self._index]
            if kind != "symbol" or _LEVELS.get(symbol) != level:
                return tuple(rest)
            self._index += 1
            self._node(position)
            rest.append((symbol, self._binary(level + 1), position))

    def _comparison(self, left: Syntax, token: Token) -> Syntax:
        symbol, position = token[1], token[2]
        self._index += 1
        self._node(position)
        if symbol == "not":
            self._expect("in", "not stands before a condition, or in: x not in y")
            symbol = "not in"
        tree = Comparison(symbol, left, self._binary(_ADD), position)
        kind, following, at = self._tokens[self._index]
        if kind == "symbol" and _LEVELS.get(following) == _COMPARE:
            raise self._error("comparisons do not chain: write a < b and b < c", at)
        return tree

    def _prefix(self, level: int) -> Syntax:
        kind, symbol, position = self._tokens[self._index]
        if kind == "symbol" and symbol == "not":
            if level > _NOT:
                raise self._error("not stands before a whole condition: put it in parentheses", position)
            self._index += 1
            self._enter()
            self._node(position)
            operand = self._binary(_NOT)
            self._depth -= 1
            return Not(operand, position)
        return self._unary()

    def _unary(self) -> Syntax:
        kind, symbol, position = self._tokens[self._index]
        if kind != "symbol" or symbol not in {"-", "!"}:
            return self._postfix()
        self._index += 1
        if symbol == "-" and self._tokens[self._index][0] in {"integer", "number"}:
            return self._postfix(sign=-1)
        self._enter()
        self._node(position)
        operand = self._unary()
        self._depth -= 1
        return Negation(operand, position) if symbol == "-" else Not(operand, position)

    def _postfix(self, sign: int = 1) -> Syntax:
        token = self._tokens[self._index]
        self._index += 1
        self._node(token[2])
        match token[0]:
            case "root":
                return self._reference(token)
            case "name":
                base = self._name(token)
            case "string":
                base = Literal(token[1], token[2])
            case "number":
                base = Literal(sign * token[1], token[2])
            case "integer":
                base = Literal(self._integer(token, sign), token[2])
            case "symbol" if token[1] == "(":
                base = self._expression()
                self._expect(")", "the parenthesis is not closed")
            case "symbol" if token[1] == "[":
                items = self._list("]", "the array is not closed")
                base = ArrayDisplay(items, token[2])
            case "symbol" if token[1] == "{":
                base = self._object(token[2])
            case _:
                self._index -= 1
                raise self._unexpected(token)
        steps = self._steps()
        return Access(base, steps, token[2]) if steps else base

    def _reference(self, token: Token) -> Syntax:
        root, position = token[1], token[2]
        if root not in self._roots:
            raise unknown_root(root, self._roots, position, self.source)
        # The place in the list is taken before an index that is computed adds references of its own.
        place = len(self.references)
        self.references.append(Reference(root, (), self._guards > 0, position))
        steps = self._steps()
        path: list[str | int] = []
        for step in steps:
            if not isinstance(step, (str, int)):
                break
            path.append(step)
        reference = Reference(root, tuple(path), self._guards > 0, position)
        self.references[place] = reference
        read = Read(reference, position)
        return Access(read, steps[len(path) :], position) if len(path) < len(steps) else read

    def _steps(self) -> tuple[str | int | Syntax, ...]:
        steps: list[str | int | Syntax] = []
        while True:
            kind, symbol, position = self._tokens[self._index]
            if kind != "symbol" or symbol not in {".", "["}:
                return tuple(steps)
            self._index += 1
            self._node(position)
            if symbol == ".":
                steps.append(self._member())
                continue
            key = self._tokens[self._index]
            closing = self._tokens[min(self._index + 1, len(self._tokens) - 1)]
            if key[0] in {"integer", "string"} and closing[:2] == ("symbol", "]"):
                self._index += 2
                steps.append(key[1] if key[0] == "string" else self._integer(key, 1))
            else:
                steps.append(self._expression())
                self._expect("]", "the bracket is not closed")

    def _member(self) -> str:
        kind, value, position = self._tokens[self._index]
        # The words of operators are fine as names of members: `$steps.x.in`.
        if kind != "name" and not (kind == "symbol" and value.isalpha()):
            hint = f": write [{value}]" if kind == "integer" else ""
            raise self._error(f"a name is missing after the dot{hint}", position)
        self._index += 1
        following = self._tokens[self._index]
        if following[:2] == ("symbol", "("):
            raise self._error(f"values have no methods: write {value}(x, …)", position)
        return str(value)

    def _name(self, token: Token) -> Syntax:
        name, position = token[1], token[2]
        if self._take("("):
            return self._call(name, position)
        if name in _CONSTANTS:
            return Literal(_CONSTANTS[name], position)
        if name in _PYTHON_CONSTANTS:
            raise self._error(f"{name} is written {_PYTHON_CONSTANTS[name]}", position)
        raise self._error(f"{name} is neither a reference nor a value: {self._advice(name, position)}", position)

    def _advice(self, name: str, position: int) -> str:
        before = self._tokens[self._index - 2] if self._index >= 2 else None
        if before is not None and before[:2] == ("symbol", "-") and before[2] == position - 1:
            return 'a name with a hyphen is written $steps["a-b"]'
        if name in self._roots:
            return f"write ${name}"
        if name in FUNCTIONS:
            return f"call it as {name}(…)"
        return "a reference begins with $, a string stands in quotes"

    def _call(self, name: str, position: int) -> Syntax:
        function = FUNCTIONS.get(name)
        if function is None:
            guess = nearest(name, FUNCTIONS)
            hint = f": did you mean {guess}?" if guess else ""
            raise self._error(f"there is no function {quoted(name)}{hint}", position)
        guarded = name in GUARDS
        # Only the first argument is guarded: what takes the place of nothing must itself be something.
        self._guards += guarded
        arguments: list[Syntax] = []
        if not self._take(")"):
            while True:
                arguments.append(self._expression())
                if guarded:
                    self._guards, guarded = self._guards - 1, False
                if not self._take(","):
                    break
            self._expect(")", "the call is not closed")
        if not function.least <= len(arguments) <= function.most:
            raise self._error(f"{name} takes {function.arity}: {function.usage}", position)
        return Call(name, tuple(arguments), position)

    def _list(self, closing: str, message: str) -> tuple[Syntax, ...]:
        items: list[Syntax] = []
        while not self._take(closing):
            items.append(self._expression())
            if not self._take(","):
                self._expect(closing, message)
                break
        return tuple(items)

    def _object(self, position: int) -> Syntax:
        entries: dict[str, Syntax] = {}
        while not self._take("}"):
            kind, key, at = self._tokens[self._index]
            if kind != "string":
                raise self._error('a key of an object is a string in quotes: {"key": value}', at)
            if key in entries:
                raise self._error(f"the key {quoted(key)} stands there twice", at)
            self._index += 1
            self._expect(":", "a colon is missing after the key")
            entries[key] = self._expression()
            if not self._take(","):
                self._expect("}", "the object is not closed")
                break
        return ObjectDisplay(tuple(entries.items()), position)

    def _integer(self, token: Token, sign: int) -> int:
        value = sign * int(token[1])
        if -INT_MAX - 1 <= value <= INT_MAX:
            return value
        raise self._error("the integer does not fit 64 bits", token[2])

    def _take(self, symbol: str) -> bool:
        kind, found, position = self._tokens[self._index]
        if kind != "symbol" or found != symbol:
            return False
        self._index += 1
        if symbol in {"and", "or"}:
            self._node(position)
        return True

    def _expect(self, symbol: str, message: str) -> None:
        if not self._take(symbol):
            raise self._error(message, self._tokens[self._index][2])

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise too_deep(self._tokens[self._index][2], self.source)

    def _node(self, position: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._error(f"the expression is too large (more than {MAX_NODES} parts)", position)

    def _unexpected(self, token: Token) -> ExpressionSyntaxError:
        kind, value, position = token
        if kind == "end":
            return self._error("the expression ends too early", position)
        if kind == "symbol":
            return self._error(f"unexpected {value}", position)
        return self._error(f"an operator is missing before {_shown(kind, value)}", position)

    def _error(self, message: str, position: int) -> ExpressionSyntaxError:
        return ExpressionSyntaxError(message, position, self.source)


def too_deep(position: int, source: str) -> ExpressionSyntaxError:
    return ExpressionSyntaxError(f"the expression is nested too deeply (more than {MAX_DEPTH})", position, source)


def unknown_root(
    root: str, roots: frozenset[str], position: int, source: str, advice: str = ""
) -> ExpressionSyntaxError:
    guess = nearest(root, roots)
    known = f"did you mean ${guess}?" if guess else "known are " + " ".join(f"${name}" for name in sorted(roots))
    shown = root if len(root) <= 40 else root[:39] + "…"
    return ExpressionSyntaxError(f"there is no ${shown}: {known}{advice}", position, source)


def _shown(kind: str, value: object) -> str:
    if kind == "string":
        return quoted(str(value))
    return f"${value}" if kind == "root" else str(value)

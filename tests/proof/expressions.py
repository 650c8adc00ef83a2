"""Expressions under fire: random text that must never break anything, and a second opinion from Google's CEL.

``run`` is pure chance under a seed: the same numbers again for the same seed. The language is a subset of CEL in other
clothes, so for that subset `cel_expr_python` (Google's own C++ evaluator) is the oracle: every generated expression is
written once in each language, and both must give the same value or both an error.
"""

import ctypes
import math
import random
from collections.abc import Sequence
from typing import Any

from cel_expr_python import cel

from kos_runtime.core.expression import (
    DEFAULT_ROOTS,
    Environment,
    ExpressionError,
    MissingReference,
    NeedsData,
    Path,
    Value,
    evaluate_template,
    follow,
    parse_expression,
    parse_template,
)
from tests.proof.expression_pairs import INPUTS, Pair, Pairs

_SOUP: Sequence[str] = (
    "1", "0", "-1", "2.5", "1e300", "9223372036854775807", "9" * 30, "1e999", '"a"', "'b'", '"\\u00e9"', '"\\q"', '"', "'",
    "true", "false", "null", "True", "and", "or", "not", "in", "if", "else", "&&", "||", "!", "==", "!=", "<", "<=", ">",
    ">=", "+", "-", "*", "/", "%", "(", ")", "[", "]", "{", "}", ",", ".", ":", "?", "=", "&", "|", "\\", "\0", "é", " ",
    "\n", "$", "$inputs", "$inputs.l", "$inputs.m", "$inputs.s", "$inputs.huge", "$inputs.deep", "$steps", "$nope",
    "$secrets.x", "$loop.index", '["a"]', "[0]", "[$index]", ".a", ".b", "x", "${{", "}}", "len(", "any(", "all(", "sum(",
    "min(", "max(", "round(", "abs(", "defined(", "default(", "lower(", "upper(", "trim(", "contains(", "startswith(",
    "endswith(", "split(", "join(", "keys(", "values(", "json(", "duration(", '"5m"', "((((((((", "[[[[[[[[", "!!!!!!!!",
    "--------", "not not not ", "1+1+1+1+1+1+1+1+",
)  # fmt: skip


def _deep() -> Value:
    value: Value = 1
    for _ in range(3_000):
        value = [value]
    return value


class Hostile(Environment):
    """An environment with everything in it that an expression could choke on."""

    def __init__(self) -> None:
        inputs: dict[str, Value] = {
            **INPUTS,
            "huge": "x" * 2_000_000,
            "deep": _deep(),
            "wide": list(range(300_000)),
            "nan": math.nan,
            "bad": {"a": 10**400},
        }
        self.values: dict[str, Value] = {"inputs": inputs, "loop": {"index": 1}, "index": 0, "item": {"a": {"b": 1}}}

    def lookup(self, root: str, path: Path) -> Value:
        if root == "secrets":
            raise NeedsData(path)
        if root not in self.values:
            raise MissingReference(root, path)
        return follow(self.values[root], path, root)


def random_text(chance: random.Random) -> str:
    """Return a soup of tokens, or a good expression with something wrong done to it."""
    if chance.random() < 0.5:
        space = chance.choice(("", " "))
        return space.join(chance.choice(_SOUP) for _ in range(chance.randint(1, chance.choice((6, 20, 400)))))
    text = Pairs(chance).expression().ours
    for _ in range(chance.randint(0, 3)):
        at, kind = chance.randrange(len(text) + 1), chance.randrange(4)
        match kind:
            case 0:
                text = text[:at] + text[at + 1 :]
            case 1:
                text = text[:at] + chance.choice(_SOUP) + text[at:]
            case 2:
                text = text[:at] + text[: chance.randrange(len(text) + 1)] + text[at:]
            case _:
                text = text[:at]
    return text


def outcome(text: str, env: Environment) -> tuple[str, Any]:
    """Evaluate as a condition: ``("value", v)``, ``("rejected", message)`` or ``("needs", token)``; nothing else is raised."""
    try:
        return "value", parse_expression(text, DEFAULT_ROOTS).evaluate(env)
    except ExpressionError as error:
        return "rejected", str(error)
    except NeedsData as needs:
        return "needs", needs.token


def template_outcome(text: str, env: Environment) -> tuple[str, Any]:
    """The same for a value, the text inside of an array inside of an object."""
    try:
        return "value", evaluate_template(parse_template({"a": [text]}, DEFAULT_ROOTS), env)
    except ExpressionError as error:
        return "rejected", str(error)
    except NeedsData as needs:
        return "needs", needs.token


class Oracle:
    """Google's CEL, without its type check: errors show when they are met, as in this language."""

    def __init__(self) -> None:
        self._env = cel.NewEnv(variables={"inputs": cel.Type.MAP})

    def outcome(self, text: str) -> tuple[str, Any]:
        result = self._env.compile(text, disable_check=True).eval(data={"inputs": INPUTS})
        value = result.plain_value()
        # cel-expr-python 0.1.3 gives back one reference to None too many for each null that it hands out; without
        # this the interpreter dies after some ten thousand of them. Where None is immortal it does nothing.
        for _ in range(_nulls(value)):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(None))
        return ("rejected" if result.type() == cel.Type.ERROR else "value"), value


def _nulls(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_nulls, value.values()))
    return sum(map(_nulls, value)) if isinstance(value, list) else value is None


def same(ours: tuple[str, Any], theirs: tuple[str, Any]) -> bool:
    """Both an error, or both the same value of the same type, to the last bit of a number."""
    if ours[0] != "value" or theirs[0] != "value":
        return ours[0] == theirs[0]
    return _identical(ours[1], theirs[1])


def _identical(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(_identical(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return bool(a.keys() == b.keys()) and all(_identical(a[key], b[key]) for key in a)
    if isinstance(a, float):
        return bool(a.hex() == b.hex())
    return bool(a == b)


class Plain(Environment):
    """The inputs that the oracle sees too, and nothing else."""

    def lookup(self, root: str, path: Path) -> Value:
        if root != "inputs":
            raise MissingReference(root, path)
        return follow(INPUTS, path, root)


def differences(pairs: Sequence[Pair]) -> list[str]:
    """Return a line for each pair on which the two evaluators differ."""
    oracle, env, found = Oracle(), Plain(), []
    for pair in pairs:
        ours, theirs = outcome(pair.ours, env), oracle.outcome(pair.cel)
        if not same(ours, theirs):
            found.append(f"{pair.ours}  gives {ours!r}; CEL: {pair.cel}  gives {theirs!r}")
    return found


def run(cases: int, seed: int) -> dict[str, Any]:
    """Try ``cases`` random texts and a quarter as many expressions against the oracle.

    Returns:
        ``random_cases`` with how many of them gave a value; ``differential_cases`` with how many of them gave a value;
        ``mismatches`` with the oracle; ``errors``, exceptions that should never come out. The last two are to be zero;
        ``examples`` shows up to ten of them.
    """
    chance = random.Random(seed)
    hostile, plain, oracle = Hostile(), Plain(), Oracle()
    counts = {
        "random_cases": cases,
        "random_values": 0,
        "differential_cases": cases // 4,
        "differential_values": 0,
        "mismatches": 0,
        "errors": 0,
    }
    examples: list[str] = []
    for number in range(cases):
        text = random_text(chance)
        try:
            kind, _ = (template_outcome if number % 4 == 3 else outcome)(text, hostile)
            counts["random_values"] += kind == "value"
        except Exception as error:
            counts["errors"] += 1
            examples.append(f"{text!r} raised {error!r}"[:500])
    for _ in range(cases // 4):
        pair = Pairs(chance).expression()
        try:
            ours, theirs = outcome(pair.ours, plain), oracle.outcome(pair.cel)
        except Exception as error:
            counts["errors"] += 1
            examples.append(f"{pair!r} raised {error!r}"[:500])
            continue
        counts["differential_values"] += ours[0] == "value"
        if not same(ours, theirs):
            counts["mismatches"] += 1
            examples.append(f"{pair.ours}  gives {ours!r}; CEL: {pair.cel}  gives {theirs!r}")
    return {**counts, "examples": examples[:10]}

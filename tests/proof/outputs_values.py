"""Results as agents return them, good ones and garbage, and what each action may return, written down a second time.

The checkers here know nothing of pydantic or of the runner: they are the second opinion.
"""

import datetime as dt
import enum
import math
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from typing_extensions import TypedDict

from kos_runtime.ports.agent import Agent, action


class Inner(BaseModel):
    a: int
    b: str | None = None


class Verdict(BaseModel):
    score: float
    label: str
    ok: bool
    tags: list[str]
    inner: Inner | None = None


class Row(TypedDict):
    n: int
    text: str


class Answering(Agent):
    """Every action returns what stands in ``answers`` under the number that it is given."""

    kind = "kAnswering"

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Any] = []

    @action
    def verdict(self, index: int) -> Verdict:
        return self.answers[index]  # type: ignore[no-any-return]

    @action
    def rows(self, index: int) -> list[Row]:
        return self.answers[index]  # type: ignore[no-any-return]

    @action
    def counts(self, index: int) -> dict[str, int]:
        return self.answers[index]  # type: ignore[no-any-return]

    @action
    def text(self, index: int) -> str:
        return self.answers[index]  # type: ignore[no-any-return]

    @action
    def number(self, index: int) -> float | None:
        return self.answers[index]  # type: ignore[no-any-return]

    @action
    def mixed(self, index: int) -> list[int | str]:
        return self.answers[index]  # type: ignore[no-any-return]

    @action
    def anything(self, index: int) -> Any:
        return self.answers[index]


# --- the second opinion --------------------------------------------------------------------------------


def is_text(value: Any) -> bool:
    return type(value) is str


def is_integer(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def is_number(value: Any) -> bool:
    return is_integer(value) or (type(value) is float and math.isfinite(value))


def is_plain(value: Any, depth: int = 0) -> bool:
    if depth > 64:
        return False
    if type(value) is dict:
        return all(is_text(key) and is_plain(item, depth + 1) for key, item in value.items())
    if type(value) is list:
        return all(is_plain(item, depth + 1) for item in value)
    return value is None or type(value) is bool or is_text(value) or is_number(value)


def is_verdict(value: Any) -> bool:
    return (
        type(value) is dict
        and {"score", "label", "ok", "tags"} <= set(value)
        and is_number(value["score"])
        and is_text(value["label"])
        and type(value["ok"]) is bool
        and type(value["tags"]) is list
        and all(map(is_text, value["tags"]))
        and (value.get("inner") is None or is_inner(value["inner"]))
    )


def is_inner(value: Any) -> bool:
    return (
        type(value) is dict
        and "a" in value
        and is_integer(value["a"])
        and (value.get("b") is None or is_text(value["b"]))
    )


def is_row(value: Any) -> bool:
    return type(value) is dict and {"n", "text"} <= set(value) and is_integer(value["n"]) and is_text(value["text"])


FITS: dict[str, Callable[[Any], bool]] = {
    "verdict": is_verdict,
    "rows": lambda value: type(value) is list and all(map(is_row, value)),
    "counts": lambda value: type(value) is dict and all(is_text(k) and is_integer(v) for k, v in value.items()),
    "text": is_text,
    "number": lambda value: value is None or is_number(value),
    "mixed": lambda value: type(value) is list and all(is_integer(item) or is_text(item) for item in value),
    "anything": is_plain,
}


# --- what is returned ----------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"
    ODD = frozenset({1})


@dataclass
class Pair:
    left: Any
    right: Any = None


class RaisingDict(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[str]:
        raise SystemExit

    def keys(self) -> Any:
        raise KeyboardInterrupt


class RaisingMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise OSError(key)

    def __iter__(self) -> Iterator[str]:
        raise MemoryError

    def __len__(self) -> int:
        raise RecursionError


class RaisingList(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        raise GeneratorExit

    def __len__(self) -> int:
        raise ValueError


class Unshowable:
    def __repr__(self) -> str:
        raise SystemExit

    def __str__(self) -> str:
        raise KeyboardInterrupt

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __hash__(self) -> int:
        raise RuntimeError

    def __getattr__(self, name: str) -> Any:
        raise ZeroDivisionError(name)


class OwnText(str):
    __slots__ = ()


class OwnInt(int):
    def __index__(self) -> int:
        raise RuntimeError


def _loop() -> Any:
    found: dict[str, Any] = {"a": []}
    found["a"].append(found)
    return found


def _deep(levels: int) -> Any:
    found: Any = 0
    for _ in range(levels):
        found = {"k": found} if levels % 2 else [found]
    return found


def _unchecked(cls: type[BaseModel], **values: Any) -> BaseModel:
    """Return a model that holds what its fields do not allow."""
    return cls.model_construct(**values)


JUNK: tuple[Callable[[], Any], ...] = (
    lambda: None, lambda: True, lambda: 0, lambda: -1, lambda: 2**63 - 1, lambda: 2**63, lambda: -(2**63) - 1,
    lambda: 10**5_000, lambda: 0.5, lambda: float("nan"), lambda: float("inf"), lambda: -float("inf"), lambda: 1e308,
    lambda: "", lambda: "great", lambda: "1", lambda: "\ud800", lambda: "a\0b", lambda: "x" * 40_000, lambda: b"bytes",
    bytearray, lambda: memoryview(b"x"), list, dict, tuple, set, lambda: {1, "a"}, lambda: frozenset({(1,)}), object,
    lambda: object, lambda: len, lambda: (n for n in range(3)), lambda: iter([1]), lambda: range(3), lambda: 1 + 2j,
    lambda: Decimal("1.5"), lambda: Decimal("NaN"), lambda: Fraction(1, 3), lambda: UUID(int=5), lambda: Path("/x"),
    lambda: dt.datetime(2026, 11, 23, tzinfo=dt.UTC), lambda: dt.date(2026, 11, 23), lambda: dt.timedelta(1),
    lambda: Colour.RED, lambda: Colour.ODD, lambda: Colour, lambda: Pair(1, {2}), lambda: Pair(1, "a"), lambda: Pair,
    lambda: Inner(a=1), lambda: _unchecked(Inner, a="x"), lambda: _unchecked(Verdict, score="great"),
    lambda: Inner, lambda: RaisingDict(a=1), RaisingMapping, lambda: RaisingList([1]), Unshowable,
    lambda: OwnText("own"), lambda: OwnInt(5), lambda: OrderedDict(a=1), lambda: deque([1]), _loop, lambda: _deep(63),
    lambda: _deep(64), lambda: _deep(66), lambda: _deep(900), lambda: {1: 2}, lambda: {None: 1}, lambda: {("a",): 1},
    lambda: {"a": 1, 2: 3}, lambda: {"\ud800": 1}, lambda: {Colour.RED: 1}, lambda: Exception("x"), lambda: NotImplemented,
    lambda: ..., lambda: [[]] * 300, lambda: {f"k{n}": n for n in range(200)}, lambda: [None, [None, [set()]]],
)  # fmt: skip


def good(name: str, chance: random.Random) -> Any:
    """Return something that an action may return."""
    match name:
        case "verdict":
            value = {
                "score": chance.choice([0, 1, 0.5, 1e-9]),
                "label": words(chance),
                "ok": chance.random() < 0.5,
                "tags": [words(chance) for _ in range(chance.randrange(4))],
            }
            if chance.random() < 0.5:
                value["inner"] = chance.choice([None, {"a": integer(chance)}, {"a": 1, "b": words(chance)}])
            return Verdict.model_validate(value) if chance.random() < 0.2 else value
        case "rows":
            return [{"n": integer(chance), "text": words(chance)} for _ in range(chance.randrange(4))]
        case "counts":
            return {words(chance): integer(chance) for _ in range(chance.randrange(5))}
        case "text":
            return words(chance)
        case "number":
            return chance.choice([None, 1, 0.25, -3.5, integer(chance)])
        case "mixed":
            return [chance.choice([integer(chance), words(chance)]) for _ in range(chance.randrange(5))]
        case _:
            return tree(chance, 4)


def words(chance: random.Random) -> str:
    return chance.choice(["", "a", "great", "é", "𝄞", "$result", "x.y", "x" * 300, "\n", "0"]) + str(
        chance.randrange(1000)
    )


def integer(chance: random.Random) -> int:
    return chance.choice([0, 1, -1, 127, 128, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), chance.randrange(10**6)])


def tree(chance: random.Random, depth: int) -> Any:
    roll = chance.random()
    if depth and roll < 0.25:
        return {words(chance): tree(chance, depth - 1) for _ in range(chance.randrange(4))}
    if depth and roll < 0.45:
        return [tree(chance, depth - 1) for _ in range(chance.randrange(4))]
    return chance.choice([None, True, False, integer(chance), 0.5, words(chance)])


def spoiled(value: Any, chance: random.Random) -> Any:
    """Return a value with one place of it changed into something else, or lost, or wrapped."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        key = chance.choice(list(value))
        changed = dict(value)
        roll = chance.random()
        if roll < 0.2:
            del changed[key]
        elif roll < 0.3:
            changed[chance.choice(["extra", 5, None])] = chance.choice(JUNK)()
        else:
            changed[key] = spoiled(value[key], chance)
        return changed
    if isinstance(value, list) and value and chance.random() < 0.8:
        changed_list = list(value)
        index = chance.randrange(len(value))
        changed_list[index] = spoiled(value[index], chance)
        return tuple(changed_list) if chance.random() < 0.1 else changed_list
    roll = chance.random()
    if roll < 0.1:
        return [value]
    if roll < 0.2:
        return {"value": value}
    return chance.choice(JUNK)()

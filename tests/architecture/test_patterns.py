"""Python 3.11.0 to 3.11.3 match possessive quantifiers and atomic groups wrongly, without a word; we run there too."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

import pytest

import agents
import coordination
import kos_runtime

_WRONG = {_constants.POSSESSIVE_REPEAT, _constants.ATOMIC_GROUP}


def operations(parsed: Any) -> Iterator[Any]:
    for operation, argument in parsed:
        yield operation
        yield from inside(argument)


def inside(argument: Any) -> Iterator[Any]:
    if isinstance(argument, _parser.SubPattern):
        yield from operations(argument)
    elif isinstance(argument, list | tuple):
        for part in argument:
            yield from inside(part)


def is_wrong(pattern: str, flags: int) -> bool:
    return not _WRONG.isdisjoint(operations(_parser.parse(pattern, flags)))


def patterns(value: Any) -> Iterator[re.Pattern[str]]:
    if isinstance(value, re.Pattern):
        if isinstance(value.pattern, str):
            yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from patterns(part)


@pytest.mark.parametrize("pattern", ["a*+", "(?>a)", "x(?:y|(z[ab]++))"])
def test_the_wrong_ones_are_seen(pattern: str) -> None:
    assert is_wrong(pattern, 0)
    assert not is_wrong("a*(?:b|[*+]+)", 0)


def test_no_pattern_of_ours_is_matched_wrongly_by_an_older_python() -> None:
    names = [m.name for package in (agents, coordination, kos_runtime)
             for m in pkgutil.walk_packages(package.__path__, f"{package.__name__}.") if not m.name.endswith("__main__")]  # fmt: skip
    found = [
        (name, variable, pattern.pattern, pattern.flags)
        for name in names
        for variable, value in vars(importlib.import_module(name)).items()
        for pattern in patterns(value)
    ]
    assert len(found) > 20
    assert [each for each in found if is_wrong(each[2], each[3])] == []

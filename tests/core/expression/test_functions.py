"""The functions: what they give, what they refuse, and that the page about them says the same."""

import re
from pathlib import Path

import pytest

from kos_runtime.core.expression import FUNCTIONS, EvaluationError, ExpressionError, ExpressionSyntaxError, Value
from tests.core.expression.environments import value_of

PAGE = Path(__file__).parents[3] / "docs" / "expressions.md"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('len("a😀")', 2),
        ("len([1, [2]])", 2),
        ('len({"a": 1})', 1),
        ("any([])", False),
        ("any([false, false])", False),
        ("all([true, true])", True),
        ("all([true, false])", False),
        ("sum([])", 0),
        ("sum([1, 2.5])", 3.5),
        ("sum([9223372036854775807, 1, -1])", 2**63 - 1),
        ("min([2, 1, 3])", 1),
        ("max(1, 2.5, 2)", 2.5),
        ('min("b", "a")', "a"),
        ("max([5])", 5),
        ("round(2.4)", 2),
        ("round(2.5)", 3),
        ("round(-2.5)", -3),
        ("round(3.5)", 4),
        ("round(7)", 7),
        ("round(2.675, 2)", 2.68),
        ("round(1.005, 2)", 1.01),
        ("round(7, 3)", 7),
        ("round(1e300, 2)", 1e300),
        ("round(-0.4, 0)", 0.0),
        ("abs(-2.5)", 2.5),
        ("abs(9223372036854775807)", 2**63 - 1),
        ('upper("straße")', "STRASSE"),
        ('trim("\\t a b\\n")', "a b"),
        ('contains("abc", "")', True),
        ('startswith("abc", "b")', False),
        ('endswith("abc", "bc")', True),
        ('split("a,,b", ",")', ["a", "", "b"]),
        ('split("", ",")', [""]),
        ('join([], ",")', ""),
        ('join(["a", 1, 2.5, true], "")', "a12.5true"),
        ("keys({})", []),
        ('json("é\\n")', '"é\\n"'),
        ("json([1, 2.0, true, null, {}])", "[1, 2.0, true, null, {}]"),
        ('duration("1h30m")', 5_400_000),
        ('duration("250ms")', 250),
    ],
)
def test_functions_give(text: str, expected: Value) -> None:
    actual = value_of(text)
    assert type(actual) is type(expected)
    assert actual == expected


@pytest.mark.parametrize(
    "text",
    [
        "len(1)",
        "len(null)",
        "any([1])",
        "any([true, 1])",
        "all([null])",
        "any(true)",
        'sum(["a"])',
        "sum([true])",
        "sum([9223372036854775807, 1])",
        "sum([1e308, 1e308])",
        "min([])",
        "max([])",
        "min([null])",
        'min([1, "a"])',
        "max([[1], [2]])",
        "min(1)",
        "round(true)",
        'round("1")',
        "round(1.5, -1)",
        "round(1.5, 16)",
        "round(1.5, 1.0)",
        "round(1e300)",
        "abs(-9223372036854775808)",
        'abs("a")',
        "lower(1)",
        "upper(null)",
        "trim([])",
        'contains(["a"], "a")',
        'contains({"a": 1}, "a")',
        'contains("a", 1)',
        'split("abc", "")',
        'split(1, ",")',
        'join("ab", ",")',
        'join([[1]], ",")',
        'join([null], ",")',
        'join(["a"], 1)',
        "keys([])",
        "values(1)",
        'duration("soon")',
        'duration("")',
        "duration(5)",
        'duration("99999999999w")',
    ],
)
def test_functions_refuse(text: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        value_of(text)
    assert caught.value.position is not None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("lenn([])", "did you mean len"),
        ("matches(1)", "there is no function"),
        ("len()", "takes 1 argument: len"),
        ("len([], [])", "takes 1 argument"),
        ("default(1)", "takes 2 arguments"),
        ("round(1, 2, 3)", "1 or 2 arguments"),
        ("min()", "1 or more arguments"),
        ("len([]", "the call is not closed"),
        ("len(,)", "unexpected ,"),
    ],
)
def test_a_wrong_call_is_found_when_the_text_is_read(text: str, part: str) -> None:
    with pytest.raises(ExpressionSyntaxError, match=part):
        value_of(text)


def _rows(heading: str) -> list[list[str]]:
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ") and "---" not in line]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def _examples() -> list[tuple[str, str]]:
    functions = [(row[2], row[3]) for row in _rows("Functions") if len(row) == 4 and row[2] != "Example"]
    operators = [
        (row[0], row[1])
        for row in _rows("Values and operators")
        if row[0].count("`") == 2 and (row[1] == "error" or re.fullmatch("`[^`]+`", row[1]))
    ]
    return [(text.strip("`"), result.strip("`")) for text, result in operators + functions]


def test_the_page_has_a_row_for_each_function_and_no_other() -> None:
    named = {re.match(r"`([a-z]+)\(", row[0]) for row in _rows("Functions")[1:]}
    assert {found.group(1) for found in named if found} == set(FUNCTIONS)


@pytest.mark.parametrize(("text", "result"), _examples())
def test_the_examples_of_the_page_hold(text: str, result: str) -> None:
    if result == "error":
        with pytest.raises(ExpressionError):
            value_of(text, inputs={})
    else:
        actual, expected = value_of(text, inputs={}), value_of(result)
        assert type(actual) is type(expected)
        assert actual == expected


def test_the_page_has_its_examples() -> None:
    assert len(_examples()) >= 20 + len(FUNCTIONS)

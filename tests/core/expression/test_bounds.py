"""Hostile expressions: each bound holds, says what it is, and costs little to find."""

import math
import sys

import pytest

from kos_runtime.core.expression import (
    BUDGET,
    MAX_DEPTH,
    MAX_LENGTH,
    MAX_NODES,
    EvaluationError,
    ExpressionError,
    ExpressionSyntaxError,
    Value,
    looks_cut,
    parse_expression,
)
from kos_runtime.core.expression.meter import Meter
from tests.core.expression.environments import Data, value_of

HOSTILE = [
    "1" + "+1" * 20_000,
    "(" * 10_000 + "1" + ")" * 10_000,
    "(" * 2_000 + "1" + ")" * 2_000,
    "(" * 4_000,
    ")" * 4_000,
    "[" * 4_000,
    "{" * 4_000,
    '{"a":' * 800,
    "-" * 4_000 + "1",
    "!" * 4_000 + "true",
    "not " * 1_000 + "true",
    "1 if true else " * 250 + "1",
    "len(" * 900,
    "default(" * 500,
    "$item" + "[0]" * 1_300,
    "$item" + ".a" * 2_000,
    "$item[" * 600,
    "9" * 4_000,
    "9" * 100_000,
    "1e" + "9" * 4_000,
    "0." + "1" * 4_000 + "e99999",
    '"' + "a" * 10_000,
    '"' * 4_001,
    "'\\" * 2_000,
    '"' + "\\u0041" * 600,
    "\0" * 4_000,
    "1\0",
    '"\0"',
    "$" * 4_000,
    " " * 4_096,
    " " * 10_000_000,
    "a" * 4_000,
    "&" * 4_000,
    "\ud800",
    '"\ud800"',
    "9223372036854775807*9223372036854775807*9223372036854775807",
    "1e308*1e308",
    "in in in in",
    "if else if else",
    ",,,,",
    "\\" * 4_000,
    "=" * 4_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_an_error_and_nothing_worse(text: str) -> None:
    with pytest.raises(ExpressionError):
        value_of(text, item=[])


def test_hostile_text_needs_little_of_the_stack() -> None:
    def at_depth(depth: int, text: str) -> None:
        if depth:
            at_depth(depth - 1, text)
        else:
            with pytest.raises(ExpressionError):
                value_of(text)

    # What a caller has used already stays out of the account: half of the usual stack is enough.
    deepest = "1 or 1 and not 1 == 1 + 1 * -(" * 60
    for text in (deepest, *HOSTILE[:18]):
        at_depth(sys.getrecursionlimit() // 2, text)


def test_a_text_of_the_greatest_length_is_read_and_one_more_is_not() -> None:
    assert value_of("1".ljust(MAX_LENGTH)) == 1
    with pytest.raises(ExpressionSyntaxError, match=r"too long \(4097 characters, at most 4096\)"):
        value_of("1".ljust(MAX_LENGTH + 1))


@pytest.mark.parametrize(
    ("opening", "closing"), [("(", ")"), ("[", "]"), ('{"a": ', "}"), ("-", ""), ("abs(", ")"), ("$item[", "]")]
)
def test_nesting_of_the_greatest_depth_is_read_and_one_more_is_not(opening: str, closing: str) -> None:
    most = MAX_DEPTH - 1
    parse_expression(opening * most + "$index" + closing * most)
    with pytest.raises(ExpressionSyntaxError, match=r"nested too deeply \(more than 32\)") as caught:
        parse_expression(opening * (most + 1) + "$index" + closing * (most + 1))
    assert caught.value.position is not None


def test_a_tree_that_is_deep_by_its_operators_alone_is_refused_too() -> None:
    level = "1 if true or false and 1 == 1 + 1 * ("
    assert value_of(level * 4 + "1" + ") else 2" * 4) == 1
    with pytest.raises(ExpressionSyntaxError, match=r"nested too deeply"):
        value_of(level * 8 + "1" + ") else 2" * 8)


def test_a_long_sum_is_wide_and_not_deep() -> None:
    assert value_of("1" + "+1" * (MAX_NODES // 2 - 1)) == MAX_NODES // 2
    assert value_of("true" + " and true" * (MAX_NODES // 2 - 1)) is True
    with pytest.raises(ExpressionSyntaxError, match=r"too large \(more than 512 parts\)"):
        value_of("1" + "+1" * (MAX_NODES // 2))
    with pytest.raises(ExpressionSyntaxError, match="too large"):
        value_of("false" + " or false" * (MAX_NODES // 2))


def test_paths_and_items_count_as_parts() -> None:
    with pytest.raises(ExpressionSyntaxError, match="too large"):
        parse_expression("$item" + ".a" * MAX_NODES)
    with pytest.raises(ExpressionSyntaxError, match="too large"):
        parse_expression("[" + "1," * MAX_NODES + "]")


def _cost(text: str, **roots: Value) -> int:
    meter = Meter(10**9)
    parse_expression(text).charge(Data(**roots), meter)
    return meter.limit - meter.left


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        ("1", 1),
        ("1 + 2", 3),
        ("$index < 3", 3),
        ("true or $index < 3", 2),
        ("1 if true else 2 + 3", 3),
        ("[1, 2]", 3),
        ("sum($item)", 1_002),
        ("$item == $item", 1_003),
        ("3 in $item", 7),
        ("$item + $item", 2_003),
        ("$item[5]", 1),
        ("$item[2 + 3]", 5),
        ("len($item)", 2),
        ("len($error)", 2),
        ('contains($error, "0123456789")', 1_004),
        ("$error == $error", 1_003),
        ("upper($error)", 1_002),
        ('split($error, "a")', 11_004),
        ("json($item)", 1_003),
    ],
)
def test_cost_is_one_for_each_node_each_element_and_each_ten_characters(text: str, cost: int) -> None:
    roots: dict[str, Value] = {"index": 1, "item": list(range(1_000)), "error": "a" * 10_000}
    assert _cost(text, **roots) == cost
    expression = parse_expression(text)
    env = Data(**roots)
    assert expression.evaluate(env, budget=cost) == expression.evaluate(env)
    with pytest.raises(EvaluationError, match=rf"condition too expensive \(cost > {cost - 1}\)") as caught:
        expression.evaluate(env, budget=cost - 1)
    assert caught.value.position is not None


@pytest.mark.parametrize(
    "text", ["1 == 1", "1 < 2", "1", "$item", "1 + 1", "not true", "-$item", "[1]", "{}", "len([])"]
)
def test_without_a_budget_nothing_is_computed(text: str) -> None:
    with pytest.raises(EvaluationError, match=r"condition too expensive \(cost > 0\)"):
        parse_expression(text).evaluate(Data(item=1), budget=0)


@pytest.mark.parametrize(
    "text",
    [
        "sum($item)",
        "$item == $item",
        "-1 in $item",
        "len($item + $item) > 0",
        "any([$item == $item])",
        'join($item, "")',
        "values($vars)",
        "keys($vars)",
        "$vars == $vars",
        'upper($error) == ""',
        'contains($error, "b")',
        "$error < $error",
        'split($signal, "a")',
        "max($item)",
    ],
)
def test_large_data_is_too_expensive(text: str) -> None:
    with pytest.raises(EvaluationError, match=r"condition too expensive \(cost > 100000\), at character \d+ of"):
        value_of(
            text,
            item=list(range(BUDGET + 1)),
            vars={str(number): number for number in range(BUDGET + 1)},
            error="a" * (10 * BUDGET + 10),
            signal="a" * BUDGET,
        )


def test_the_budget_is_not_a_reference_to_nothing() -> None:
    with pytest.raises(EvaluationError, match="too expensive"):
        value_of("default(sum($item), 0)", item=[1] * 200_000)


@pytest.mark.parametrize(
    "text",
    ['$item + "x"', "upper($item)", "lower($item)", "trim($item)", "json($item)", "json([$item])", 'join([$item], "")'],
)
def test_no_string_longer_than_64_kib_is_made(text: str) -> None:
    with pytest.raises(EvaluationError, match=r"too long \(more than 64 KiB\)"):
        value_of(text, item="é" * 32_768 + "e")


def test_a_text_that_would_be_far_too_long_is_not_even_written() -> None:
    with pytest.raises(EvaluationError, match="too long"):
        value_of("json([$item, $item])", item="a" * 60_000)


def test_a_string_of_64_kib_is_made() -> None:
    assert value_of('$item + ""', item="é" * 32_768) == "é" * 32_768
    assert value_of("upper($item)", item="a" * 65_536) == "A" * 65_536


def test_capitals_that_grow_are_measured_as_they_come_out() -> None:
    with pytest.raises(EvaluationError, match="too long"):
        value_of("upper($item)", item="ΐ" * 20_000)


def _nested(depth: int) -> Value:
    value: Value = 1
    for _ in range(depth):
        value = [value]
    return value


def test_data_may_be_nested_deeper_than_the_stack() -> None:
    deep = _nested(20_000)
    assert value_of("$item == $error", item=deep, error=_nested(20_000)) is True
    assert value_of("$item == $error", item=deep, error=_nested(19_999)) is False
    assert value_of("$error in $item", item=[deep], error=_nested(20_000)) is True
    with pytest.raises(EvaluationError, match="nested too deeply"):
        value_of("json($item)", item=deep)


def test_data_that_holds_itself_ends_in_an_error() -> None:
    ring: list[Value] = []
    ring.append(ring)
    other: list[Value] = []
    other.append(other)
    for text in ("$item == $error", "json($item)", "$item in [$error]"):
        with pytest.raises(EvaluationError, match=r"too expensive|too deeply"):
            value_of(text, item=ring, error=other)


@pytest.mark.parametrize("text", ["$item", "$item + 1", "sum([$item])", "json($item)", "round($item)", "-$item"])
def test_what_is_not_finite_does_not_come_out(text: str) -> None:
    for number in (math.nan, math.inf, -math.inf):
        with pytest.raises(EvaluationError, match="finite"):
            value_of(text, item=number)


@pytest.mark.parametrize(
    "text", ["$item + 1", "$item * 0.5", "sum([0.5, $item])", "json($item)", "abs($item)", "-$item"]
)
def test_integers_from_outside_that_do_not_fit_are_refused(text: str) -> None:
    with pytest.raises(EvaluationError, match="64 bits"):
        value_of(text, item=10**400)


@pytest.mark.parametrize(
    "text", ["len($steps.x", '$steps["a', "[1, 2", '{"a": 1', "a)", '$inputs.depth == "', "{a: [1}", "$item['"]
)
def test_a_text_with_brackets_or_quotes_that_do_not_balance_looks_cut(text: str) -> None:
    assert looks_cut(text)


@pytest.mark.parametrize("text", ["", "len($steps.x)", '"("', "'\"'", "don't", '{"a": [1, (2)]}', r'"\""', "it's (a)"])
def test_a_balanced_text_does_not_look_cut(text: str) -> None:
    assert not looks_cut(text)


def test_a_very_long_text_is_looked_at_once() -> None:
    assert looks_cut("(" * 1_000_000)
    assert not looks_cut("()" * 500_000)

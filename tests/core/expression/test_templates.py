"""Values: which strings stand for something else, and what comes of them."""

import math

import pytest

from kos_runtime.core.expression import (
    DEFAULT_ROOTS,
    ComputedValue,
    EvaluationError,
    ExpressionError,
    ExpressionSyntaxError,
    ListValue,
    LiteralValue,
    MapValue,
    MissingReference,
    NeedsData,
    Reference,
    ReferenceValue,
    TextValue,
    Value,
    evaluate_template,
    parse_template,
)
from tests.core.expression.environments import Data

INPUTS: Value = {"topic": "bees", "n": 3, "none": None, "list": [1, "a"], "share": 0.5, "yes": True}


def _value_of(value: object) -> Value:
    return evaluate_template(parse_template(value), Data(inputs=INPUTS, index=1, item={"a": 1}))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("$inputs.topic", "bees"),
        ("$inputs.n", 3),
        ("$inputs.none", None),
        ("$inputs.list", [1, "a"]),
        ('$inputs["list"][1]', "a"),
        ("$item", {"a": 1}),
        ("${{ $inputs.n + 1 }}", 4),
        ("${{$inputs.n}}", 3),
        ("${{ $inputs.list }}", [1, "a"]),
        ("about ${{ $inputs.topic }}", "about bees"),
        ("${{ $inputs.topic }}!", "bees!"),
        ("${{ $index }}/${{ $inputs.n }}", "1/3"),
        ("${{ 1 }}${{ 2 }}", "12"),
        (" ${{ 1 }}", " 1"),
        (
            "${{ $inputs.none }} ${{ $inputs.list }} ${{ $inputs.share }} ${{ $inputs.yes }} ${{ $item }}",
            'null [1, "a"] 0.5 true {"a": 1}',
        ),
        ('${{ {"a": {"b": 1}}}}', {"a": {"b": 1}}),
        ('${{ "}}" }}', "}}"),
        ("${{ 1 }} }}", "1 }}"),
        ("$$5", "$5"),
        ("$$inputs.topic", "$inputs.topic"),
        ("$${{ 1 }}", "${{ 1 }}"),
        ("$$${{ 1 }}", "$1"),
        ("a $$ b", "a $ b"),
        ("5 $ each", "5 $ each"),
        ("5$", "5$"),
        ("", ""),
        ("plain } {{ text }}", "plain } {{ text }}"),
        (7, 7),
        (None, None),
        (True, True),
        (1.5, 1.5),
        ([], []),
        ({}, {}),
        ({"$a": ["$inputs.n", {"b": "x"}]}, {"$a": [3, {"b": "x"}]}),
        (("$inputs.n", 1), [3, 1]),
    ],
)
def test_values_stand_for(value: object, expected: Value) -> None:
    actual = _value_of(value)
    assert type(actual) is type(expected)
    assert actual == expected


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("$inptus.topic", r"there is no \$inptus: did you mean \$inputs\?; write \$\$ for a dollar"),
        ("$HOME/x", r"there is no \$HOME: known are \$error"),
        ("$5", r"write \$\$ for a dollar"),
        ("$", r"write \$\$ for a dollar"),
        ("${{ $nope }}", r"there is no \$nope"),
        ("${{ 1", "not closed"),
        ("a ${{ 1 } b", "not closed by }}"),
        ("${{ }}", "the expression is empty"),
        ("${{ 1 2 }}", "operator is missing"),
        ("${{ '}} ", "string is not closed"),
        (math.nan, "finite"),
        (math.inf, "finite"),
        (2**63, "64 bits"),
        (b"bytes", "not a plain value"),
        ({1: "a"}, "a key is a string"),
        ({10**5000: "a"}, "a key is a string"),
        (object(), "not a plain value"),
    ],
)
def test_values_that_cannot_be_read_are_refused(value: object, part: str) -> None:
    with pytest.raises(ExpressionSyntaxError, match=part):
        parse_template(value)


def test_the_structure_can_be_seen() -> None:
    template = parse_template({"a": "$inputs.n", "b": ["x", "${{ 1 + 1 }}", "n=${{ $index }}"], "c": {"d": [1, "$$"]}})
    assert isinstance(template.node, MapValue)
    a, b, c = (node for _, node in template.node.items)
    assert a == ReferenceValue(Reference("inputs", ("n",)), "$inputs.n")
    assert c == LiteralValue({"d": [1, "$"]})
    assert isinstance(b, ListValue)
    text, computed, mixed = b.items
    assert text == LiteralValue("x")
    assert isinstance(computed, ComputedValue)
    assert computed.expression.text == "1 + 1"
    assert isinstance(mixed, TextValue)
    assert mixed.parts[0] == "n="


def test_all_references_are_listed_with_their_places() -> None:
    template = parse_template({"a": "$inputs.n", "b": ["${{ default($vars.x, 1) }}", "x ${{ $index }} ${{ $item }}"]})
    assert [(where, str(reference), reference.guarded) for where, reference in template.places] == [
        (("a",), "$inputs.n", False),
        (("b", 0), "$vars.x", True),
        (("b", 1), "$index", False),
        (("b", 1), "$item", False),
    ]
    assert template.references == tuple(reference for _, reference in template.places)


def test_a_value_is_pure_when_nothing_in_it_is_computed() -> None:
    assert parse_template({"a": ["$inputs.n", 1, "$$", "${{ $item.x }}"]}).is_pure
    assert not parse_template({"a": ["$inputs.n", "${{ 1 }}"]}).is_pure
    assert not parse_template("x ${{ $item }}").is_pure
    assert not parse_template("${{ $item[$index] }}").is_pure


def test_a_plain_reference_is_handed_on_whatever_its_size() -> None:
    huge = "x" * 2_000_000
    env = Data(inputs={"text": huge})
    assert evaluate_template(parse_template(["$inputs.text", "${{ $inputs.text }}"]), env, budget=0) == [huge, huge]


def test_the_name_of_a_loop_is_a_root_where_the_caller_says_so() -> None:
    template = parse_template({"task": "$task"}, roots=DEFAULT_ROOTS | {"task"})
    assert evaluate_template(template, Data(task=[1])) == {"task": [1]}
    with pytest.raises(ExpressionSyntaxError, match=r"there is no \$task"):
        parse_template({"task": "$task"})


def test_an_error_says_where_in_the_value_and_where_in_the_string() -> None:
    with pytest.raises(ExpressionSyntaxError) as syntax:
        parse_template({"a": [1, {"b": "x ${{ 1 + }}"}]})
    assert (syntax.value.where, syntax.value.position, syntax.value.source) == (("a", 1, "b"), 10, "x ${{ 1 + }}")
    with pytest.raises(EvaluationError) as evaluation:
        _value_of(["$inputs.n", "x ${{ 1 / 0 }}"])
    assert (evaluation.value.where, evaluation.value.position) == ((1,), 8)
    assert str(evaluation.value) == "division by zero, at character 9 of `x ${{ 1 / 0 }}`"
    with pytest.raises(MissingReference) as missing:
        _value_of({"k": "$inputs.nope"})
    assert (missing.value.where, missing.value.position, missing.value.source) == (("k",), 0, "$inputs.nope")
    with pytest.raises(ExpressionSyntaxError) as plain:
        parse_template({"k": [{"n": math.nan}]})
    assert plain.value.where == ("k", 0, "n")


class _Placing(Data):
    def lookup(self, root: str, path: tuple[str | int, ...]) -> Value:
        raise MissingReference(root, path, "the step was skipped", 7, "its own text")


def test_a_place_that_the_environment_gave_is_kept() -> None:
    for value in ("$steps.a", "${{ $steps.a + 1 }}"):
        with pytest.raises(MissingReference) as caught:
            evaluate_template(parse_template(value), _Placing())
        assert (caught.value.position, caught.value.source) == (7, "its own text")
        assert caught.value.message == "$steps.a refers to nothing: the step was skipped"


def test_missing_data_passes_through() -> None:
    for value in ("$secrets.x", "a ${{ $secrets.x }}", ["${{ default($secrets.x, 1) }}"]):
        with pytest.raises(NeedsData):
            _value_of(value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("$inputs.a + 1", "begins like a reference"),
        ("$inputs.topic ", "begins like a reference"),
        ("$steps.a-b.x", "begins like a reference"),
        ("$steps.x[$index]", "begins like a reference"),
        ("for $inputs.topic, please", r"write \$\{\{ \$inputs.topic \}\}"),
    ],
)
def test_text_that_looks_like_a_reference_is_text_with_a_warning(text: str, part: str) -> None:
    template = parse_template({"a": [text]})
    assert evaluate_template(template, Data()) == {"a": [text]}
    (warning,) = template.warnings
    assert warning.where == ("a", 0)
    with pytest.raises(AssertionError, match=part):
        raise AssertionError(warning.message)


@pytest.mark.parametrize("text", ["$inputs.a", "$$inputs.a b", "5 $item", "a $nope.b", "${{ $inputs.a }} x", "plain"])
def test_other_text_has_no_warning(text: str) -> None:
    assert parse_template(text).warnings == ()


class _Located(str):
    __slots__ = ()


def test_what_is_kept_is_plain_even_of_strings_that_know_their_place() -> None:
    given = ["a"]
    template = parse_template({"x": _Located("a"), "y": given})
    given.append("b")
    value = evaluate_template(template, Data())
    assert value == {"x": "a", "y": ["a"]}
    assert isinstance(value, dict)
    assert type(value["x"]) is str


def test_nesting_size_and_number_of_expressions_are_bounded() -> None:
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]
    round_trip: list[object] = []
    round_trip.append(round_trip)
    for value, part in (
        (deep, "nested too deeply"),
        (round_trip, "nested too deeply"),
        ([0] * 100_001, "too large"),
        ("${{ 1 }}" * 257, "more than 256 expressions"),
        ("${{ " + "1" * 10_000, "64 bits|too long"),
        ("${{ " + "(" * 10_000, "too long"),
        ("$inputs" + ".a" * 65, "too long"),
    ):
        with pytest.raises(ExpressionSyntaxError, match=part):
            parse_template(value)


def test_all_expressions_of_a_value_share_one_budget() -> None:
    template = parse_template(["${{ sum($inputs.list) }}"] * 40)
    env = Data(inputs={"list": [1] * 3_000})
    with pytest.raises(EvaluationError, match=r"value too expensive \(cost > 100000\)") as caught:
        evaluate_template(template, env)
    assert caught.value.where == (33,)


def test_a_text_put_together_is_bounded_too() -> None:
    env = Data(inputs={"text": "é" * 20_000})
    assert evaluate_template(parse_template("a${{ $inputs.text }}"), env) == "a" + "é" * 20_000
    with pytest.raises(ExpressionError, match="too long"):
        evaluate_template(parse_template("${{ $inputs.text }}${{ $inputs.text }}"), env)

"""Operators: what they give, what they refuse, how tightly they bind."""

import pytest

from kos_runtime.core.expression import EvaluationError, ExpressionSyntaxError, Value, parse_expression
from tests.core.expression.environments import Data, value_of


def _same(actual: Value, expected: Value) -> bool:
    return type(actual) is type(expected) and actual == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 4 - 3", 3),
        ("100 / 10 / 3", 3),
        ("7 / 2", 3),
        ("-7 / 2", -3),
        ("7 / -2", -3),
        ("-7 % 2", -1),
        ("7 % -2", 1),
        ("-7 % -2", -1),
        ("1 + 2.5", 3.5),
        ("2 * 0.5", 1.0),
        ("7 / 2.0", 3.5),
        ("0.1 + 0.2", 0.1 + 0.2),
        ("- -3", 3),
        ("-(2 + 3)", -5),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775807", 2**63 - 1),
        ('"a" + "b" + "c"', "abc"),
        ("[1] + [] + [2]", [1, 2]),
        ("1.5e3", 1500.0),
    ],
)
def test_arithmetic_gives(text: str, expected: Value) -> None:
    assert _same(value_of(text), expected)


@pytest.mark.parametrize(
    "text",
    [
        "9223372036854775807 + 1",
        "-9223372036854775808 - 1",
        "3037000500 * 3037000500",
        "-9223372036854775808 / -1",
        "-9223372036854775808 % -1",
        "-(-9223372036854775808)",
        "1 / 0",
        "1 % 0",
        "1.0 / 0",
        "0.0 / 0.0",
        "1e308 * 10",
        "1e308 + 1e308",
        "-1e308 - 1e308",
        "1.5 % 1",
        '"a" + 1',
        '1 + "a"',
        "true + 1",
        "null + null",
        '"a" * 3',
        "[1] - [1]",
        '-"a"',
        "-true",
        '{"a": 1} + {"b": 2}',
    ],
)
def test_arithmetic_refuses(text: str) -> None:
    with pytest.raises(EvaluationError):
        value_of(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 == 1.0", True),
        ("1 != 1.0", False),
        ('"1" == 1', False),
        ("true == 1", False),
        ("1 == true", False),
        ("false == 0.0", False),
        ("[true] == [1]", False),
        ("null == null", True),
        ("null == 0", False),
        ("null != false", True),
        ('"" == null', False),
        ("[1, [2.0]] == [1.0, [2]]", True),
        ("[1, 2] == [2, 1]", False),
        ("[1] == [1, 1]", False),
        ('{"a": 1, "b": [2]} == {"b": [2], "a": 1.0}', True),
        ('{"a": 1} == {"b": 1}', False),
        ('{"a": 1} == {"a": 1, "b": 1}', False),
        ("[] == {}", False),
        ("9007199254740993 == 9007199254740992.0", False),
        ("1 < 1.5", True),
        ("2 <= 2.0", True),
        ('"B" < "a"', True),
        ('"é" > "z"', True),
        ('"a" < "ab"', True),
        ("false < true", True),
        ("true <= true", True),
    ],
)
def test_comparison_gives(text: str, expected: bool) -> None:
    assert value_of(text) is expected


@pytest.mark.parametrize(
    "text",
    ['"1" < 2', "null < 1", "null < null", "null >= null", "[1] < [2]", '{"a": 1} < {"a": 2}', "true < 1", '1 > "a"'],
)
def test_what_has_no_order_is_refused(text: str) -> None:
    with pytest.raises(EvaluationError, match="have no order"):
        value_of(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 in [1, 2]", True),
        ("1 in [1.0]", True),
        ("true in [1]", False),
        ("null in [null]", True),
        ("[1] in [[1]]", True),
        ("3 not in [1, 2]", True),
        ("1 in []", False),
        ('"a" in {"a": null}', True),
        ('"b" not in {"a": 1}', True),
        ('1 in {"1": 1}', False),
        ("not 1 in [2]", True),
    ],
)
def test_membership_gives(text: str, expected: bool) -> None:
    assert value_of(text) is expected


@pytest.mark.parametrize("text", ['"a" in "abc"', "1 in 1", "1 in null", 'null in {"a": 1}', '[1] in {"a": 1}'])
def test_membership_refuses(text: str) -> None:
    with pytest.raises(EvaluationError):
        value_of(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true and true", True),
        ("true && false", False),
        ("false || true", True),
        ("false or false or true", True),
        ("true and true and false", False),
        ("true or false and false", True),
        ("not true or true", True),
        ("not (true or true)", False),
        ("not 1 == 2", True),
        ("!true == false", True),
        ("not not true", True),
        ("!!false", False),
        ("not true == false and true", True),
        ("1 < 2 and 2 < 3", True),
    ],
)
def test_logic_gives(text: str, expected: bool) -> None:
    assert value_of(text) is expected


@pytest.mark.parametrize(
    "text",
    ["1 and true", "true and 1", "false or null", '"" or true', "not 1", "![]", "1 if 1 else 2", "2 if null else 3"],
)
def test_logic_takes_booleans_alone(text: str) -> None:
    with pytest.raises(EvaluationError, match="takes a boolean"):
        value_of(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("false and 1 / 0 == 0", False),
        ("true or 1 / 0 == 0", True),
        ("false and 1", False),
        ("true or null", True),
        ("1 if true else 1 / 0", 1),
        ("1 / 0 if false else 2", 2),
        ("default(1, 1 / 0)", 1),
    ],
)
def test_only_what_is_needed_is_computed(text: str, expected: Value) -> None:
    assert _same(value_of(text), expected)


def test_an_error_on_the_left_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="division by zero"):
        value_of("1 / 0 == 0 and false")
    with pytest.raises(EvaluationError, match="division by zero"):
        value_of("1 / 0 == 0 or true")


def test_a_side_that_is_not_needed_is_not_looked_up() -> None:
    env = Data(inputs={"a": False})
    assert parse_expression("$inputs.a and $steps.x.y > 3").evaluate(env) is False
    assert env.asked == [("inputs", ("a",))]


def test_the_choice_binds_loosest_and_to_the_right() -> None:
    assert value_of("1 if false else 2 if false else 3") == 3
    assert value_of("1 + 1 if true or false else 5 + 5") == 2
    assert value_of("(1 if true else 2) + 10") == 11


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("1 < 2 < 3", "do not chain"),
        ("1 == 1 == 1", "do not chain"),
        ("1 in [1] == true", "do not chain"),
        ("1 == not true", "parentheses"),
        ("1 not 2", "x not in y"),
        ("1 if true", "an if needs an else"),
        ("1 = 2", "write =="),
        ("true & false", "write and"),
        ("true | false", "write or"),
        ("true ? 1 : 2", "a if condition else b"),
        ("True", "written true"),
        ("None == null", "written null"),
        ("1 +", "ends too early"),
        ("1 2", "an operator is missing before 2"),
        ('1 "a"', 'an operator is missing before "a"'),
        ("1 $item", r"an operator is missing before \$item"),
        ('{"\\n\\"\\U0001F600\\U000E0001": 1, "\\n\\"\\U0001F600\\U000E0001": 2}', r"\\u000a\\\"😀\\U000e0001"),
        ("* 2", "unexpected \\*"),
        ("1 ** 2", "unexpected \\*"),
        ("", "empty"),
        ("   ", "empty"),
        ("(1", "the parenthesis is not closed"),
        ("[1", "the array is not closed"),
        ('{"a": 1', "the object is not closed"),
        ("{a: 1}", "a key of an object is a string"),
        ('{"a" 1}', "a colon is missing"),
        ('{"a": 1, "a": 2}', "twice"),
        ("1)", "unexpected \\)"),
        ("01", "does not begin with 0"),
        ("1.", "name is missing"),
        (".5", "unexpected"),
        ("1e", "an operator is missing"),
        ("1_000", "an operator is missing"),
        ("0x10", "an operator is missing"),
        ("9223372036854775808", "64 bits"),
        ("-9223372036854775809", "64 bits"),
        ("1e999", "too large"),
        ('"abc', "not closed"),
        ('"\\q"', "unknown escape"),
        ('"\\ud800"', "surrogate"),
        ('"\\U00110000"', "no such character"),
        ('"\\u0000"', "null character"),
        ("“a”", "straight quotes"),
        ("1 # one", "no comments"),
    ],
)
def test_what_is_no_expression_is_said_to_be_so(text: str, part: str) -> None:
    with pytest.raises(ExpressionSyntaxError, match=part) as caught:
        parse_expression(text)
    assert caught.value.source == text
    assert caught.value.position is not None
    assert 0 <= caught.value.position <= len(text)


def test_positions_count_characters_from_zero() -> None:
    with pytest.raises(ExpressionSyntaxError) as syntax:
        parse_expression('"é" == ?')
    assert syntax.value.position == 7
    with pytest.raises(EvaluationError) as evaluation:
        value_of("1 + 1 + 2 / 0")
    assert (evaluation.value.position, evaluation.value.source) == (10, "1 + 1 + 2 / 0")
    assert str(evaluation.value) == "division by zero, at character 11 of `1 + 1 + 2 / 0`"


def test_a_sentence_shows_the_part_of_a_long_text_that_matters() -> None:
    text = "1 + " * 40 + "?" + " + 1" * 40
    with pytest.raises(ExpressionSyntaxError, match=r"at character 161 of `….{24}\?.{23}…`$"):
        parse_expression(text)


def test_an_error_without_a_place_or_a_text_is_a_sentence_too() -> None:
    assert str(EvaluationError("division by zero")) == "division by zero"
    assert str(EvaluationError("division by zero", 3)) == "division by zero, at character 4"


def test_only_a_text_is_read() -> None:
    with pytest.raises(TypeError):
        parse_expression(True)  # type: ignore[arg-type]


def test_strings_are_written_in_either_quotes_with_escapes() -> None:
    assert value_of(r"""'it\'s' + "\t\"\\\/" + '\x41\u00e9\U0001F600'""") == "it's\t\"\\/Aé😀"


def test_arrays_and_objects_may_end_in_a_comma() -> None:
    assert value_of('[1, 2,] + [{"a": 1,}]') == [1, 2, {"a": 1}]


def test_words_of_operators_are_names_behind_a_dot() -> None:
    assert value_of("$item.in + $item.if", item={"in": 1, "if": 2}) == 3

"""References: how they are read, what they find, and what happens when there is nothing."""

import pickle

import pytest

from kos_runtime.core.expression import (
    DEFAULT_ROOTS,
    EvaluationError,
    ExpressionSyntaxError,
    MissingReference,
    NeedsData,
    Reference,
    Value,
    follow,
    parse_expression,
    parse_reference,
)
from tests.core.expression.environments import Data, value_of

STEPS: Value = {"a-b": {"x": [10, 20, 30]}, "plan": {"tasks": [{"id": 1}, {"id": 2}], "text": "abc", "none": None}}


def _references(text: str) -> list[tuple[str, bool]]:
    return [(str(reference), reference.guarded) for reference in parse_expression(text).references]


def test_a_reference_goes_down_by_name_key_and_index() -> None:
    assert value_of('$steps["a-b"].x[2]', steps=STEPS) == 30
    assert value_of("$steps.plan.tasks[1].id", steps=STEPS) == 2
    assert value_of("$item", item=[1]) == [1]


def test_the_environment_gets_the_longest_path_that_is_known_beforehand() -> None:
    env = Data(steps=STEPS, index=1)
    assert parse_expression("$steps.plan.tasks[$index].id").evaluate(env) == 2
    assert env.asked == [("steps", ("plan", "tasks")), ("index", ())]


def test_an_index_may_be_computed_from_anything() -> None:
    assert value_of('$steps["a-" + "b"]["x"][1 + 1]', steps=STEPS) == 30
    assert value_of("[1, 2, 3][$index]", index=0) == 1


def test_all_references_are_listed_in_the_order_of_the_text_and_guarded_ones_are_marked() -> None:
    text = "default($steps.a.b[$index], $vars.c) == 1 and defined($loop.previous) or $inputs.d"
    assert _references(text) == [
        ("$steps.a.b", True),
        ("$index", True),
        ("$vars.c", False),
        ("$loop.previous", True),
        ("$inputs.d", False),
    ]


def test_a_guard_reaches_through_all_of_its_first_argument_and_no_further() -> None:
    assert _references("default(len($steps.a) + default($steps.b, $steps.c), $steps.d)") == [
        ("$steps.a", True),
        ("$steps.b", True),
        ("$steps.c", True),
        ("$steps.d", False),
    ]


def test_a_reference_knows_its_place() -> None:
    first, second = parse_expression("  $inputs.a == $index").references
    assert (first, second) == (Reference("inputs", ("a",), False, 2), Reference("index", (), False, 15))


@pytest.mark.parametrize(
    "text",
    [
        "$steps.nope",
        "$steps.plan.nope",
        "$steps.plan.tasks[2]",
        "$steps.plan.text.length",
        "$steps.plan.text[0]",
        "$steps.plan.none.x",
        '$steps.plan.tasks["0"]',
        "$steps.plan[0]",
        "$vars.x",
        "$steps.plan.tasks[1 + 1]",
        "$steps.plan.tasks[-1]",
        '{"a": 1}.b',
        "[1][1]",
    ],
)
def test_a_reference_to_nothing_is_an_error_that_guards_catch(text: str) -> None:
    with pytest.raises(MissingReference, match="refers to nothing") as caught:
        value_of(text, steps=STEPS)
    assert caught.value.source == text
    assert value_of(f"defined({text})", steps=STEPS) is False
    assert value_of(f"default({text}, 7)", steps=STEPS) == 7
    assert value_of(f"default(1 + {text}, 7)", steps=STEPS) == 7


def test_an_error_of_another_kind_passes_through_guards() -> None:
    for text in ("default(1 / 0, 7)", 'defined("a" + 1)', "default($steps.plan.tasks[true], 7)"):
        with pytest.raises(EvaluationError) as caught:
            value_of(text, steps=STEPS)
        assert not isinstance(caught.value, MissingReference)


def test_what_takes_the_place_of_nothing_must_be_something() -> None:
    with pytest.raises(MissingReference):
        value_of("default($vars.x, $vars.y)", vars={})


def test_default_takes_the_place_of_null_too_while_defined_counts_null_as_something() -> None:
    assert value_of("default($inputs.depth, 3)", inputs={"depth": None}) == 3
    assert value_of("defined($inputs.depth)", inputs={"depth": None}) is True
    assert value_of("default($inputs.depth, 3)", inputs={"depth": False}) is False


def test_missing_data_passes_through_everything() -> None:
    for text in (
        "$secrets.x",
        "default($secrets.x, 1)",
        "defined($secrets.x)",
        "false or $secrets.x",
        "true and $secrets.x",
        "[$secrets.x]",
    ):
        with pytest.raises(NeedsData) as caught:
            value_of(text)
        assert caught.value.token == ("secrets", "x")


def test_a_missing_reference_names_what_was_missing_and_why() -> None:
    with pytest.raises(MissingReference) as caught:
        value_of("1 + $steps.plan.tasks[$index].name", steps=STEPS, index=1)
    error = caught.value
    assert (error.root, error.path, error.position) == ("steps", ("plan", "tasks", 1, "name"), 4)
    assert error.message == "$steps.plan.tasks[1].name refers to nothing: the object has no such key"


def test_an_unknown_root_is_found_when_the_text_is_read() -> None:
    with pytest.raises(ExpressionSyntaxError, match=r"there is no \$inptus: did you mean \$inputs\?") as caught:
        parse_expression("1 + $inptus.a")
    assert caught.value.position == 4


def test_the_name_of_a_loop_is_a_root_where_the_caller_says_so() -> None:
    expression = parse_expression("$task.id + $index", roots=DEFAULT_ROOTS | {"task"})
    assert expression.evaluate(Data(task={"id": 1}, index=2)) == 3
    with pytest.raises(ExpressionSyntaxError, match=r"\$task"):
        parse_expression("$task.id")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("$steps.a-b.x", r'\$steps\["a-b"\]'),
        ("$steps.", "name is missing after the dot"),
        ("$steps.1", r"write \[1\]"),
        ("$steps[", "ends too early"),
        ("$steps[1", "bracket is not closed"),
        ("$ steps", r"name is missing after \$"),
        ("$item.f()", r"no methods: write f\(x"),
        ("inputs.topic", r"write \$inputs"),
        ("topic", "begins with \\$"),
        ("len", "call it as len"),
    ],
)
def test_a_slip_in_a_reference_gets_advice(text: str, part: str) -> None:
    with pytest.raises(ExpressionSyntaxError, match=part):
        parse_expression(text)


class _Trap:
    secret = "taken"

    def __getitem__(self, key: object) -> str:
        return self.secret


@pytest.mark.parametrize(
    "text",
    [
        "$item[$index]",
        "json([$item])",
        "json($error)",
        "$item == 1",
        "$item < 1",
        "len($item)",
        "json($item)",
        "1 in $item",
        "$item + 1",
        "not $item",
    ],
)
def test_only_plain_data_is_ever_computed_with(text: str) -> None:
    env = Data(index="secret")
    env.roots["item"] = _Trap()  # type: ignore[assignment]
    env.roots["error"] = {1: "a"}  # type: ignore[dict-item]
    with pytest.raises(EvaluationError):
        parse_expression(text).evaluate(env)


@pytest.mark.parametrize(
    "text", ["$item.__class__", '$item["__class__"]', "$item.append", "default($item.__len__, null)"]
)
def test_no_attribute_of_a_value_can_be_reached(text: str) -> None:
    items: tuple[Value, ...] = ("text", [1], 1, None, {"a": 1})
    for item in items:
        try:
            assert value_of(text, item=item) is None
        except MissingReference:
            continue


def test_a_whole_text_can_be_read_as_a_reference() -> None:
    assert parse_reference("$steps.planning.research_plan") == Reference("steps", ("planning", "research_plan"))
    assert parse_reference("""$steps["a-b"]['c d'][3].x""") == Reference("steps", ("a-b", "c d", 3, "x"))
    assert parse_reference("$item") == Reference("item")
    assert str(parse_reference("""$steps['a-b'].x[3]""")) == '$steps["a-b"].x[3]'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "steps.a",
        "$steps.a ",
        " $steps.a",
        "$steps[$index]",
        "$steps.a + 1",
        "$steps.a-b",
        "$steps[01]",
        "$nope.a",
        "$",
        "$steps." + "a" * 4_096,
    ],
)
def test_what_is_not_entirely_a_reference_is_refused(text: str) -> None:
    with pytest.raises(ExpressionSyntaxError):
        parse_reference(text)


def test_follow_walks_plain_data() -> None:
    assert follow({"a": [1, {"b": 2}]}, ("a", 1, "b")) == 2
    with pytest.raises(MissingReference) as caught:
        follow({"a": [1]}, ("a", 5, "b"), "vars", ("x",))
    assert str(caught.value) == "$vars.x.a[5] refers to nothing: the array has 1 items"


def test_errors_survive_pickling() -> None:
    with pytest.raises(MissingReference) as caught:
        value_of("$vars.x", vars={})
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.root, again.path, again.position) == (
        str(caught.value),
        "vars",
        ("x",),
        0,
    )
    with pytest.raises(EvaluationError) as other:
        value_of("1 / 0")
    assert str(pickle.loads(pickle.dumps(other.value))) == str(other.value)

"""What holds for every text: it is read or refused, costs what it costs, and means what CEL means."""

import contextlib
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kos_runtime.core.expression import (
    BUDGET,
    EvaluationError,
    ExpressionError,
    Value,
    looks_cut,
    parse_expression,
    parse_template,
)
from kos_runtime.core.expression.meter import Meter
from kos_runtime.core.expression.values import INT_MAX, INT_MIN
from kos_runtime.core.nearest import nearest
from tests.core.expression.environments import Data
from tests.proof.expression_pairs import Pair, Pairs
from tests.proof.expressions import Hostile, Plain, differences, outcome, random_text, run, same, template_outcome

HOSTILE = Hostile()
PLAIN = Plain()

steady = settings(derandomize=True, database=None, max_examples=150)

plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(INT_MIN, INT_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="$")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@steady
@given(st.text(max_size=200))
def test_any_text_is_a_value_or_refused(text: str) -> None:
    outcome(text, HOSTILE)
    template_outcome(text, HOSTILE)
    template_outcome("${{" + text, HOSTILE)
    looks_cut(text)


@steady
@given(st.randoms(use_true_random=False))
def test_any_soup_of_tokens_is_a_value_or_refused(chance: random.Random) -> None:
    text = random_text(chance)
    outcome(text, HOSTILE)
    template_outcome(text, HOSTILE)


@steady
@given(st.randoms(use_true_random=False))
def test_an_evaluation_costs_the_same_each_time_and_exactly_that_is_enough(chance: random.Random) -> None:
    expression = parse_expression(Pairs(chance).expression().ours)
    meter = Meter(BUDGET)
    try:
        value = expression.charge(PLAIN, meter)
    except EvaluationError:
        return
    cost = BUDGET - meter.left
    assert 0 < cost <= BUDGET
    assert repr(expression.evaluate(PLAIN, budget=cost)) == repr(value)
    for budget in {0, cost // 2, cost - 1}:
        with pytest.raises(EvaluationError, match=rf"^condition too expensive \(cost > {budget}\), at character "):
            expression.evaluate(PLAIN, budget=budget)


@steady
@given(st.randoms(use_true_random=False))
def test_nothing_is_looked_up_that_is_not_listed_as_a_reference(chance: random.Random) -> None:
    expression = parse_expression(Pairs(chance).expression().ours)
    env = Data(inputs=PLAIN.lookup("inputs", ()))
    with contextlib.suppress(ExpressionError):
        expression.evaluate(env)
    listed = {(reference.root, reference.path) for reference in expression.references}
    assert listed.issuperset(env.asked)


@steady
@given(plain_values)
def test_plain_data_without_a_dollar_stands_for_itself(value: Value) -> None:
    template = parse_template(value)
    assert (template.is_pure, template.references, template.warnings) == (True, (), ())
    assert template_outcome("$item", Data(item=value)) == ("value", {"a": [value]})


@steady
@given(plain_values, plain_values)
def test_equality_is_symmetric_and_every_value_equals_itself(a: Value, b: Value) -> None:
    env = Data(item=a, error=b)
    assert outcome("$item == $item", env) == ("value", True)
    assert outcome("$item == $error", env) == outcome("$error == $item", env)
    assert outcome("$item in [$error]", env) == outcome("$item == $error", env)


@steady
@given(st.integers(INT_MIN, INT_MAX), st.integers(INT_MIN, INT_MAX))
def test_quotient_and_remainder_make_up_the_dividend(a: int, b: int) -> None:
    result = outcome("($item / $error) * $error + $item % $error", Data(item=a, error=b))
    fits = b != 0 and not (a == INT_MIN and b == -1)
    assert result == ("value", a) if fits else result[0] == "rejected"


@steady
@given(st.text(max_size=80), st.lists(st.text(max_size=12), max_size=20))
def test_the_nearest_word_is_one_of_the_choices(word: str, choices: list[str]) -> None:
    found = nearest(word, choices)
    assert found is None or found in choices
    assert found == nearest(word, set(choices))


def test_google_cel_agrees_on_what_both_languages_have() -> None:
    chance = random.Random(20)
    assert differences([Pairs(chance).expression() for _ in range(2_500)]) == []


def test_google_cel_agrees_on_expressions_full_of_mistakes() -> None:
    chance = random.Random(21)
    assert differences([Pairs(chance, wrong=0.3, depth=3).expression() for _ in range(1_500)]) == []


def test_a_difference_from_cel_would_be_seen() -> None:
    wrong = [("-7 / 2", "-4"), ("7 % -2", "-1"), ("1", "1.0"), ("1 / 0", "1"), ("[1, true]", "[1, 1]"), ("0.0", "-0.0")]
    pairs = [Pair(ours, theirs, "any") for ours, theirs in wrong]
    assert len(differences(pairs)) == len(pairs)
    assert not same(("value", {"a": 1}), ("value", {"a": True}))


def test_the_proof_counts_what_it_did_and_repeats_itself() -> None:
    first: dict[str, Any] = run(400, 3)
    assert first == run(400, 3)
    assert (first["random_cases"], first["differential_cases"]) == (400, 100)
    assert (first["mismatches"], first["errors"], first["examples"]) == (0, 0, [])
    assert 40 < first["random_values"] < 360
    assert 30 < first["differential_values"] < 90

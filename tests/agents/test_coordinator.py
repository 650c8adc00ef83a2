"""Escalations are answered by a table of rules."""

from typing import Any

import pytest

from agents.coordinator import kCoordinator


def escalation(kind: str = "transient", **fields: Any) -> dict[str, Any]:
    failure = {"type": kind, "message": "it broke", "recoverable": kind not in {"permanent", "security"}}
    base: dict[str, Any] = {"step": "synthesis", "agent": "kReviewer", "action": "synthesize_findings", "inputs": {}}
    base |= {"attempts": 1, "escalations": 1, "cost": 12.5, "left": ["escalate", "manual", "fail"]}
    return base | {"failure": failure | fields.pop("failure", {})} | fields


def ask(rules: list[dict[str, Any]] | None, about: dict[str, Any]) -> dict[str, Any]:
    given = {} if rules is None else {"rules": rules}
    return kCoordinator(kCoordinator.link_settings(given, "")).on_escalation(about).model_dump()


@pytest.mark.parametrize(
    ("about", "answer", "rule"),
    [
        (escalation(), "retry", "try-again"),
        (escalation("unknown", attempts=3), "retry", "try-again"),
        (escalation("timeout", attempts=4), "manual", "ask-a-person"),
        (escalation("timeout", attempts=4, left=["fail"]), "fail", "nothing-left"),
        (escalation("permanent"), "manual", "ask-a-person"),
        (escalation("permanent", left=[]), "fail", "nothing-left"),
        (escalation("security"), "manual", "security-needs-a-person"),
        (escalation("validation"), "retry", "try-again"),
        (escalation("validation", failure={"recoverable": False}), "fail", "wrong-inputs"),
        (escalation(cost=600_000.0), "manual", "too-costly"),
        (escalation(cost=599_999.9), "retry", "try-again"),
        ({}, "retry", "try-again"),
        ({"failure": None, "left": None, "cost": "much"}, "retry", "try-again"),
    ],
)
def test_the_table_that_comes_with_it(about: dict[str, Any], answer: str, rule: str) -> None:
    ruling = ask(None, about)
    assert (ruling["answer"], ruling["rule"]) == (answer, rule)
    assert ruling["reason"]


@pytest.mark.parametrize(
    ("when", "fits", "fits_not"),
    [
        ({"kinds": ["timeout", "resource"]}, escalation("resource"), escalation("transient")),
        ({"recoverable": False}, escalation("permanent"), escalation()),
        ({"attempts_below": 3}, escalation(attempts=2), escalation(attempts=3)),
        ({"attempts_at_least": 3}, escalation(attempts=3), escalation(attempts=2)),
        ({"escalations_below": 2}, escalation(escalations=1), escalation(escalations=2)),
        ({"escalations_at_least": 2}, escalation(escalations=2), escalation(escalations=1)),
        ({"cost_below": 100}, escalation(cost=99.9), escalation(cost=100.0)),
        ({"cost_at_least": 100}, escalation(cost=100.0), escalation(cost=99.9)),
        ({"left": ["manual", "escalate"]}, escalation(), escalation(left=["manual", "fail"])),
        ({"not_left": ["escalate"]}, escalation(left=["fail"]), escalation()),
        ({"steps": ["gather*", "syn*"]}, escalation(), escalation(step="planning")),
        ({"agents": ["kReviewer"]}, escalation(), escalation(agent="kExecutor")),
        ({"message": "BROKE"}, escalation(), escalation(failure={"message": "fine"})),
        ({"kinds": ["timeout"], "attempts_below": 2}, escalation("timeout"), escalation("timeout", attempts=2)),
    ],
)
def test_each_condition_holds_and_does_not(
    when: dict[str, Any], fits: dict[str, Any], fits_not: dict[str, Any]
) -> None:
    rules = [{"name": "mine", "when": when, "answer": "skip"}]
    ruling = ask(rules, fits)
    assert (ruling["answer"], ruling["rule"]) == ("skip", "mine")
    assert next(iter(when)) in ruling["reason"]
    assert ask(rules, fits_not)["rule"] == "otherwise"


def test_the_first_rule_that_fits_answers_and_without_one_a_person_does() -> None:
    rules = [
        {"name": "one", "when": {"kinds": ["timeout"]}, "answer": "retry"},
        {"name": "two", "when": {"kinds": ["timeout", "permanent"]}, "answer": "fail", "reason": "enough"},
    ]
    assert ask(rules, escalation("timeout"))["rule"] == "one"
    assert ask(rules, escalation("permanent")) == {
        "answer": "fail", "rule": "two", "reason": "enough", "agent": "", "inputs": None, "fallback": "",
    }  # fmt: skip
    assert ask(rules, escalation("security"))["answer"] == "manual"
    assert ask([], escalation())["rule"] == "otherwise"


def test_what_is_recorded_is_the_table_itself_and_gives_the_same_answers() -> None:
    recorded = kCoordinator.link_settings({}, "")
    again = kCoordinator.link_settings(recorded, "")
    assert again == recorded
    assert next(rule["name"] for rule in recorded["rules"]) == "security-needs-a-person"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"rulez": []}, "did you mean 'rules'"),
        ({"corpus": "x"}, "no setting 'corpus'"),
        ({"rules": "retry"}, "rules must be a list"),
        ({"rules": {}}, "rules must be a list"),
        ({"rules": [{"name": "r", "answer": "retry"}] * 201}, "at most 200"),
        ({"rules": [7]}, "rule 1: it:"),
        ({"rules": [{"answer": "retry"}]}, "rule 1: name: field required"),
        (
            {"rules": [{"name": "a", "answer": "rety"}]},
            "rule 1 (a): answer: input should be 'retry', 'reassign', 'replace_inputs', 'fallback', 'skip', 'fail' or 'manual'",
        ),
        ({"rules": [{"name": "a", "answer": "retry", "wen": {}}]}, "did you mean 'when'"),
        ({"rules": [{"name": "a", "answer": "retry", "when": {"kind": ["timeout"]}}]}, "did you mean 'kinds'"),
        ({"rules": [{"name": "a", "answer": "retry", "when": {"kinds": ["late"]}}]}, "when.kinds.0"),
        ({"rules": [{"name": "a", "answer": "retry", "when": {"attempts_below": 0}}]}, "when.attempts_below"),
        ({"rules": [{"name": "a", "answer": "retry", "when": {"cost_below": float("nan")}}]}, "when.cost_below"),
        ({"rules": [{"name": "a", "answer": "retry", "when": {"left": ["pray"]}}]}, "when.left.0"),
        ({"rules": [{"name": "a", "answer": "retry"}, {"name": "a", "answer": "fail"}]}, "rule 2 has the name 'a'"),
    ],
)
def test_a_mistake_in_the_table_is_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=r"rule|setting") as caught:
        kCoordinator.link_settings(settings, "")
    assert says in str(caught.value)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"rule 1 .*; rule 3 .*"):
        kCoordinator.link_settings(
            {"rules": [{"name": "a", "answer": "x"}, {"name": "b", "answer": "fail"}, {"name": "c", "answer": "y"}]}, ""
        )

"""A reviewer's vote follows from the summary, and what kCoordinator grants from what it costs."""

from typing import Any

import pytest

from agents.ballot import SIDES, ballot, side_of
from agents.coordinator import kCoordinator
from agents.models import Finding
from agents.review import Result
from agents.reviewer import kReviewer


def result(**parts: float) -> Result:
    found = [
        Finding(check="off_topic", sentence=2, message="sentence 2: it has little to do with it"),
        Finding(check="off_topic", sentence=3, message="sentence 3: nor has this"),
    ]
    return Result(0.5, {name: parts.get(name, 1.0) for name in SIDES}, found)


def test_a_side_that_is_not_good_enough_is_a_no_and_the_reason_says_how_much_and_where() -> None:
    given = ballot("relevance", result(relevance=0.5))
    assert (given.choice, given.looked_at) == ("no", "relevance")
    assert given.reason == "relevance is 0.50, below 0.80: sentence 2: it has little to do with it and 1 more"
    assert ballot("relevance", result(relevance=0.8)).choice == "yes"
    assert ballot("traced", result(relevance=0.1)).reason == "traced is 1.00, and 1.00 is enough"


def test_peers_take_turns_at_what_is_to_be_looked_at() -> None:
    sides = ["traced", "relevance"]
    assert [side_of(f"panel-{number}", sides) for number in (1, 2, 3)] == ["traced", "relevance", "traced"]
    with pytest.raises(ValueError, match="did you mean 'relevance'"):
        side_of("panel-1", ["relevanc"])
    with pytest.raises(ValueError, match="nobody says"):
        side_of("panel-1", [])


def test_what_is_let_out_has_the_votes_and_tells_what_was_voted_on() -> None:
    votes: list[Any] = [
        {"elector": "panel-1", "choices": ["yes"], "reason": "sound"}, {"elector": "panel-2", "choices": [], "reason": "unsure"},
    ]  # fmt: skip
    made = kReviewer({}).release_summary("One. [1]\n", "the topic", votes)
    assert "- panel-1: yes, sound\n- panel-2: abstains, unsure\n" in made.document
    assert made.document.endswith(f"sha256 {made.digest}\n")
    assert made.digest != kReviewer({}).release_summary("Two. [1]", "the topic", votes).digest


@pytest.mark.parametrize(
    ("settings", "cost", "verdict"), [({}, 10, "grant"), ({}, 11, "pass"), ({"grants_up_to": 0}, 1, "pass")]
)
def test_what_costs_little_is_granted_and_the_rest_passed_on(settings: dict[str, Any], cost: int, verdict: str) -> None:
    said = kCoordinator(settings).on_authority_request({"agent": "kExecutor", "action": "read", "cost": cost})
    assert said.verdict == verdict
    assert f"kExecutor asks for read at a cost of {cost}" in said.comment


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"grants_up_to": -1}, "an integer from 0 on"),
        ({"grants_upto": 1}, "did you mean 'grants_up_to'"),
        ({"grants_up_to": "5"}, "not '5'"),
    ],
)
def test_wrong_settings_are_told_when_a_run_is_linked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kCoordinator.link_settings(settings, "")

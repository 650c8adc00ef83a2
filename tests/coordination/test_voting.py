"""The rules: what each makes of ballots, and what holds of them whatever the ballots are."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordination import schulze
from coordination.certificate import certify, read
from coordination.quorum import share
from coordination.voting import Ballot, Question, is_settled, question, tally, unfit

YES_NO = ("yes", "no")


def asked(count: int, rule: str = "majority", options: Any = YES_NO, **more: Any) -> Question:
    return question("?", options, [f"p{i}" for i in range(count)], rule=rule, **more)


def cast(*choices: Any) -> list[Ballot]:
    said = [(choice,) if isinstance(choice, str) else tuple(choice) for choice in choices]
    return [Ballot(f"p{i}", () if choice == ("",) else choice) for i, choice in enumerate(said)]


@pytest.mark.parametrize(
    ("rule", "more", "votes", "kind", "option"),
    [
        ("majority", {}, ["yes", "yes", "no"], "decided", "yes"),
        ("majority", {}, ["yes", "no", ""], "tie", ""),
        ("majority", {"breaks_ties": True}, ["no", "yes", ""], "decided", "yes"),
        ("majority", {"participation": "1"}, ["yes", "yes"], "no_quorum", ""),
        ("majority", {}, ["", "", ""], "no_quorum", ""),
        ("supermajority", {"threshold": "2/3"}, ["yes", "yes", "no"], "decided", "yes"),
        ("supermajority", {"threshold": "3/4"}, ["yes", "yes", "no"], "no_majority", ""),
        ("unanimous", {}, ["yes", "yes", ""], "decided", "yes"),
        ("unanimous", {}, ["yes", "yes", "no"], "no_majority", ""),
        ("approval", {}, [("yes", "no"), ("no",), ("no", "yes")], "decided", "no"),
        ("schulze", {}, [("no", "yes"), ("no", "yes"), ("yes", "no")], "decided", "no"),
        ("schulze", {}, [("no", "yes"), ("yes", "no"), ""], "tie", ""),
    ],
)
def test_each_rule(rule: str, more: Any, votes: list[Any], kind: str, option: str) -> None:
    found = tally(asked(3, rule, **more), cast(*votes))
    assert (found.kind, found.option) == (kind, option)


def test_weights_count_under_weighted_and_not_under_majority() -> None:
    ballots = [Ballot("a", ("yes",)), Ballot("b", ("no",)), Ballot("c", ("no",))]
    electors = {"a": 5, "b": 1, "c": 1}
    assert tally(question("?", YES_NO, electors, rule="weighted"), ballots).option == "yes"
    assert tally(question("?", YES_NO, electors, rule="majority"), ballots).option == "no"


def test_the_beatpath_method_orders_schulze_s_own_example() -> None:
    """45 voters, from the paper: E before A, C, B, D."""
    votes = [
        ("ACBED", 5),
        ("ADECB", 5),
        ("BEDAC", 8),
        ("CABED", 3),
        ("CAEBD", 7),
        ("CBADE", 2),
        ("DCEBA", 7),
        ("EBADC", 8),
    ]
    assert schulze.order([(tuple(line), count) for line, count in votes], list("ABCDE")) == [
        ["E"],
        ["A"],
        ["C"],
        ["B"],
        ["D"],
    ]


_RANKINGS = st.lists(st.permutations("abcd").map(tuple), min_size=1, max_size=9)


@settings(max_examples=60)
@given(_RANKINGS)
def test_who_beats_everyone_wins(rankings: list[tuple[str, ...]]) -> None:
    options = list("abcd")
    preferred = schulze.preferences([(ranking, 1) for ranking in rankings], options)
    winners = [options[i] for i in range(4) if all(preferred[i][j] > preferred[j][i] for j in range(4) if j != i)]
    if winners:
        assert schulze.order([(ranking, 1) for ranking in rankings], options)[0] == winners


@settings(max_examples=60)
@given(_RANKINGS)
def test_turning_every_ballot_round_turns_a_single_winner_out(rankings: list[tuple[str, ...]]) -> None:
    forward = schulze.order([(ranking, 1) for ranking in rankings], list("abcd"))
    backward = schulze.order([(ranking[::-1], 1) for ranking in rankings], list("abcd"))
    if len(forward[0]) == 1 and len(forward) > 1:
        assert backward[0] != forward[0]


@settings(max_examples=100)
@given(st.lists(st.sampled_from(("yes", "no", "later", "")), min_size=1, max_size=7), st.randoms(use_true_random=False))
def test_it_does_not_matter_in_what_order_ballots_come_or_whose_they_are(votes: list[str], chance: Any) -> None:
    put = asked(len(votes), options=("yes", "no", "later"))
    ballots = cast(*votes)
    shuffled = ballots[:]
    chance.shuffle(shuffled)
    assert certify(put, shuffled) == certify(put, ballots)
    chance.shuffle(votes)
    assert tally(put, cast(*votes)).to_plain() == tally(put, ballots).to_plain()


@settings(max_examples=100)
@given(
    st.lists(st.sampled_from(("yes", "no", "")), min_size=1, max_size=6), st.integers(1, 6),
    st.sampled_from(("majority", "supermajority", "unanimous", "weighted")),
)  # fmt: skip
def test_what_is_settled_no_later_ballot_changes(votes: list[str], heard: int, rule: str) -> None:
    put = asked(len(votes), rule, threshold="2/3" if rule == "supermajority" else None)
    some = cast(*votes)[:heard]
    if is_settled(put, some):
        found = tally(put, some)
        if found.is_decided:
            assert tally(put, cast(*votes)).option == found.option


def test_a_certificate_that_says_something_else_is_not_read() -> None:
    put = asked(3)
    value = certify(put, cast("yes", "yes", "no")).value
    assert read(put, value).outcome.option == "yes"
    with pytest.raises(ValueError, match="does not say what its ballots say"):
        read(put, value.replace(b'"option":"yes"', b'"option":"no"'))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"rule": "majorty"}, "no rule 'majorty'; did you mean 'majority'?"),
        ({"options": ()}, "at least one option"),
        ({"options": ("a", "a")}, "different names"),
        ({"options": tuple(map(str, range(51)))}, "at most 50 options, not 51"),
        ({"electors": ["a", "b", "a"]}, "'a' stands twice in the electorate"),
        ({"electors": []}, "at least one elector"),
        ({"electors": {"a": 0}}, "the weight of 'a' is a positive integer, not 0"),
        ({"electors": {"a": True}}, "positive integer"),
        ({"electors": {"a": 1.5}}, "positive integer"),
        ({"rule": "supermajority"}, "needs a threshold"),
        ({"threshold": "1/3"}, "at least 1/2"),
        ({"threshold": "much"}, "not a share"),
        ({"participation": "3/2"}, "above 0 and at most 1"),
        ({"participation": "1/0"}, "not a share"),
    ],
)
def test_a_question_that_is_not_in_order_is_refused(arguments: dict[str, Any], says: str) -> None:
    full: dict[str, Any] = {"options": YES_NO, "electors": ["a", "b"], **arguments}
    with pytest.raises(ValueError, match=says.replace("?", r"\?")):
        question("?", full.pop("options"), full.pop("electors"), **full)


@pytest.mark.parametrize(
    ("ballot", "says"),
    [
        (Ballot("stranger", ("yes",)), "'stranger' is not in the electorate"),
        (Ballot("p0", ("yse",)), "'yse' is no option; did you mean 'yes'?"),
        (Ballot("p0", ("yes", "no")), "names one option, not 2"),
        (Ballot("p0", ("yes", "yes")), "stands twice"),
        (Ballot("p0", ("yes",), "x" * 2_001), "at most 2000 characters"),
        (Ballot("p0", ("yes",)), ""),
    ],
)
def test_a_ballot_that_does_not_fit_is_refused(ballot: Ballot, says: str) -> None:
    found = unfit(asked(2), ballot)
    assert says in found
    assert bool(says) == bool(found)


def test_a_share_is_exact() -> None:
    assert share("2/3") * 3 == 2
    assert share("0.1") * 10 == 1

"""Versions and merges: what comes of them depends on what was said, and on nothing else."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordination.conflict import Version, resolve, settle
from coordination.merging import MERGES, counted, elements, merge, mv_register, or_set
from coordination.versions import is_newer, knows, next_of, together

_COUNTS = st.integers(0, 3)
_VECTORS = st.dictionaries(st.sampled_from("abc"), st.integers(1, 3), max_size=3)
_STATES: dict[str, st.SearchStrategy[Any]] = {
    "counter": st.dictionaries(st.sampled_from("abc"), st.tuples(_COUNTS, _COUNTS).map(list), max_size=3),
    "or_set": st.fixed_dictionaries(
        {
            "added": st.dictionaries(st.sampled_from("xy"), st.lists(st.sampled_from("123"), min_size=1, unique=True)),
            "removed": st.lists(st.sampled_from("123"), unique=True),
        }
    ),
    "max": st.integers(),
    "mv_register": st.lists(st.tuples(_VECTORS, st.sampled_from("pq")).map(list), min_size=1, max_size=3),
    "lww_register": st.fixed_dictionaries(
        {"at": st.tuples(_COUNTS, _COUNTS, st.sampled_from("ab")).map(list), "value": st.sampled_from("pq")}
    ),
}


@pytest.mark.parametrize("kind", MERGES)
@settings(max_examples=60)
@given(data=st.data())
def test_a_merge_is_commutative_associative_and_idempotent(kind: str, data: st.DataObject) -> None:
    one, other, third = (merge(kind, [data.draw(_STATES[kind])]) for _ in range(3))
    both = MERGES[kind]
    assert both(one, other) == both(other, one)
    assert both(both(one, other), third) == both(one, both(other, third))
    assert both(one, one) == one
    assert both(both(one, other), other) == both(one, other)


def test_an_addition_that_a_removal_has_not_seen_stays() -> None:
    removed = {"added": {}, "removed": ["1"]}
    assert elements(or_set({"added": {"x": ["1", "2"]}, "removed": []}, removed)) == ["x"]
    assert elements(or_set({"added": {"x": ["1"]}, "removed": []}, removed)) == []


def test_a_register_keeps_what_is_concurrent_until_somebody_has_seen_both() -> None:
    both = mv_register([[{"a": 1}, "p"]], [[{"b": 1}, "q"]])
    assert [value for _, value in both] == ["p", "q"]
    assert mv_register(both, [[{"a": 1, "b": 2}, "r"]]) == [[{"a": 1, "b": 2}, "r"]]


def test_a_counter_counts_each_replica_once() -> None:
    assert counted(merge("counter", [{"a": [2, 0]}, {"a": [3, 1], "b": [1, 0]}, {"a": [3, 1]}])) == 3


def test_a_version_that_knows_the_other_replaces_it() -> None:
    old = Version("ann", {"ann": 1}, {"title": "draft"})
    new = Version("bob", next_of(old.seen, "bob"), {"title": "final"})
    found = resolve([new, old], {"title": "escalate"})
    assert found.fields["title"].kept == "final"
    assert (found.open, found.superseded) == ({}, ("ann",))


def _rivals() -> list[Version]:
    return [
        Version("ann", {"ann": 1}, {"title": "A", "score": 1, "verdict": "pass"}, rank=1),
        Version("bob", {"bob": 1}, {"title": "B", "score": 3, "verdict": "fail"}, rank=2),
        Version("cyd", {"cyd": 1}, {"title": "C", "score": 2, "verdict": "fail"}, rank=2),
    ]


def test_every_field_is_settled_by_what_is_named_for_it() -> None:
    found = resolve(_rivals()[:2], {"score": "max", "title": "priority", "verdict": "vote"})
    assert found.fields["score"].kept == 3
    assert (found.fields["title"].kept, found.fields["title"].discarded) == ("B", (("ann", "A"),))
    assert found.open["verdict"] == ("vote", (("fail", ("bob",)), ("pass", ("ann",))))


def test_ranks_that_do_not_agree_are_escalated() -> None:
    assert resolve(_rivals(), {"score": "max", "verdict": "vote"}, "priority").open["title"][0] == "escalate"


def test_the_same_versions_come_to_the_same_whatever_their_order_and_however_often() -> None:
    strategies = {"score": "max", "title": "priority", "verdict": "vote"}
    first = resolve(_rivals(), strategies)
    for order in permutations(_rivals()):
        assert resolve([*order, order[0]], strategies) == first


def test_a_field_is_settled_once_and_by_a_value_that_was_said() -> None:
    found = resolve(_rivals(), {}, "escalate")
    with pytest.raises(ValueError, match="none of those that were said"):
        settle(found, "verdict", "maybe", "person")
    done = settle(found, "verdict", "pass", "person")
    assert done.fields["verdict"].discarded == (("bob", "fail"), ("cyd", "fail"))
    with pytest.raises(ValueError, match="not open"):
        settle(done, "verdict", "fail", "person")


@pytest.mark.parametrize(
    ("versions", "strategies", "says"),
    [
        ([], {}, "no version"),
        (_rivals(), {"title": "newest"}, "title: no strategy 'newest'"),
        (_rivals(), {"title": "counter"}, "not all of these values are a counter"),
        ([_rivals()[0]] * 1_001, {}, "at most 1000 versions"),
    ],
)
def test_a_conflict_that_is_not_in_order_is_refused(versions: list[Version], strategies: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        resolve(versions, strategies)


@settings(max_examples=60)
@given(_VECTORS, _VECTORS)
def test_what_has_seen_both_knows_both(one: dict[str, int], other: dict[str, int]) -> None:
    both = together([one, other])
    assert knows(both, one)
    assert knows(both, other)
    assert not (is_newer(one, other) and is_newer(other, one))

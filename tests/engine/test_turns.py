"""Who is next: by priority, in turn, and nobody for ever."""

from hypothesis import given
from hypothesis import strategies as st

from kos_runtime.engine.turns import SHARE, Admission, Turns


def taken(turns: Turns, count: int) -> list[tuple[str, str]]:
    return [turn for _ in range(count) if (turn := turns.next())]


def test_within_a_priority_each_run_has_its_turn_after_the_others() -> None:
    turns = Turns()
    for path in ("1", "2", "3"):
        turns.add("wide", path)
    turns.add("small", "s")
    assert taken(turns, 4) == [("wide", "1"), ("small", "s"), ("wide", "2"), ("wide", "3")]


def test_higher_goes_first_and_of_eight_turns_one_goes_to_who_has_gone_without_for_longest() -> None:
    turns = Turns()
    for number in range(40):
        turns.add("high", str(number), 5)
    turns.add("low", "l", -1)
    turns.add("plain", "p", 0)
    order = [run for run, _ in taken(turns, 24)]
    assert [place for place, run in enumerate(order, 1) if run != "high"] == [SHARE, 2 * SHARE]
    assert {order[SHARE - 1], order[2 * SHARE - 1]} == {"low", "plain"}


@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from("abcd")), max_size=60))
def test_everybody_comes_out_once_and_nobody_is_passed_over_for_ever(waiting: list[tuple[int, str]]) -> None:
    turns = Turns()
    for place, (priority, run) in enumerate(waiting):
        turns.add(run, str(place), priority)
    # Somebody with the highest priority asks again with each turn.
    left = {str(place) for place in range(len(waiting))}
    for turn in range(SHARE * 8 * (len(waiting) + 1)):
        turns.add("greedy", f"g{turn}", 9)
        found = turns.next()
        assert found is not None
        left.discard(found[1])
    assert left == set()


def test_what_belongs_to_a_run_that_has_begun_is_admitted_before_all_others() -> None:
    places = Admission()
    assert places.take() is None
    places.add("b", priority=1)
    places.add("a", priority=7)
    places.put_first("child")
    assert (len(places), bool(places)) == (3, True)
    assert [places.take() for _ in range(4)] == ["child", "a", "b", None]

"""Cycles among steps."""

from hypothesis import given
from hypothesis import strategies as st

from kos_runtime.core.plan.order import find_cycle

NAMES = st.sampled_from("abcdefgh")


def test_a_line_has_no_cycle_however_long() -> None:
    assert find_cycle({str(i): [str(i + 1)] for i in range(20_000)}) == []


def test_a_cycle_is_told_in_the_order_of_waiting() -> None:
    assert find_cycle({"a": ["b", "c"], "b": [], "c": ["d"], "d": ["c"]}) == ["c", "d"]


def test_a_step_that_waits_for_itself_is_a_cycle() -> None:
    assert find_cycle({"a": ["a"]}) == ["a"]


@given(st.dictionaries(NAMES, st.lists(NAMES, max_size=4)))
def test_a_cycle_is_found_exactly_when_no_order_exists(edges: dict[str, list[str]]) -> None:
    cycle = find_cycle(edges)
    for here, following in zip(cycle, [*cycle[1:], *cycle[:1]], strict=True):
        assert following in edges[here]
    # Taking away what waits for nothing that is left ends at nothing exactly when there is an order.
    left = {name: set(after) & set(edges) for name, after in edges.items()}
    while free := {name for name, after in left.items() if not after & set(left)}:
        left = {name: after for name, after in left.items() if name not in free}
    assert bool(cycle) == bool(left)

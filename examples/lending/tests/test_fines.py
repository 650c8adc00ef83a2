import pytest

from lending.fines import by_rule, fine, in_words


@pytest.mark.parametrize(("days", "cents"), [(0, 0), (7, 70), (8, 95), (30, 795)])
def test_a_fine_grows_with_the_days(days: int, cents: int) -> None:
    assert fine(days) == cents


def test_a_rule_is_a_formula() -> None:
    assert by_rule("days * 5", 3) == 15


def test_a_fine_is_told_in_euros() -> None:
    assert in_words(830) == "8.30"

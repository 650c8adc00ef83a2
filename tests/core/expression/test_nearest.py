"""Did you mean?"""

import pytest

from kos_runtime.core.nearest import nearest

ROOTS = {"inputs", "steps", "vars", "workflow", "item", "index", "loop"}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("inptus", "inputs"),
        ("input", "inputs"),
        ("step", "steps"),
        ("itme", "item"),
        ("Inputs", "inputs"),
        ("worklfow", "workflow"),
        ("wrkflw", "workflow"),
        ("idx", None),
        ("planning", None),
        ("", None),
        ("x", None),
        ("ßßßß", None),
    ],
)
def test_a_slip_of_the_finger_finds_its_word(word: str, expected: str | None) -> None:
    assert nearest(word, ROOTS) == expected


def test_the_word_itself_is_no_suggestion() -> None:
    assert nearest("item", ["item"]) is None


def test_of_equally_near_ones_the_first_in_the_alphabet_is_taken() -> None:
    assert nearest("cat", ["hat", "bat", "rat"]) == "bat"


def test_work_is_bounded() -> None:
    assert nearest("a" * 1_000_000, ["a" * 1_000_001]) is None
    assert nearest("word", ["x" * 1_000_000]) is None
    assert nearest("wrod", [f"n{number:07}" for number in range(100_000)] + ["a"]) is None

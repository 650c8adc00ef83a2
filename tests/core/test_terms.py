"""What machines say is plain data under stable names, and comes back as it was."""

from dataclasses import dataclass
from typing import Any

import pytest

from coordination.assignment import Assignment, Leased, RecoveryAction
from coordination.grant import Grant, Limits
from coordination.worker import Result
from kos_runtime.adapters.codec import MsgpackCodec
from kos_runtime.core.machine import Refused
from kos_runtime.core.terms import fact_shown, fact_unwritten, fact_written, term, unwritten, written

CODEC = MsgpackCodec()


@pytest.mark.parametrize(
    "value",
    [
        None, True, 7, 1.5, "a", b"a", [1, (2, [3])], {"a": (1,)}, {1: "a", "b": 2}, {"~": "no term"}, (),
        Assignment(("a", "b"), ("w",), lease_ms=5), RecoveryAction("w", (("a", "b"),), (), ("c",), excluded=True),
        Grant("g", "", "i", "s", ("a",), limits=Limits(cost=3)), Refused("busy", "later"), Result(1, 2, {"x": [1]}, ""),
        Leased(1, "w", 1, 2, 3),
    ],
)  # fmt: skip
def test_it_comes_back_as_it_was(value: Any) -> None:
    back = unwritten(CODEC.unpack(CODEC.pack(written(value))))
    assert back == value
    assert type(back) is type(value)


def test_a_fact_has_its_name_and_version() -> None:
    label, values = fact_written(Leased(1, "w", 2, 3, 4))
    assert (label, values) == ("task_leased.1", [1, "w", 2, 3, 4])
    assert fact_unwritten(label, values) == Leased(1, "w", 2, 3, 4)
    assert fact_shown(label, values) == {"task": 1, "worker": "w", "attempt": 2, "epoch": 3, "at": 4}
    assert fact_shown("stranger.1", [5]) == {"0": 5}


@dataclass
class Nameless:
    a: int


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Nameless(1), "a Nameless has no name under which it could be kept"),
        ([{1, 2}], "a set has no name"),
        (1 << 70, "beyond 64 bits"),
        (float("nan"), "nan is no number"),
    ],
)
def test_what_cannot_be_kept_says_why(value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        written(value)


def test_what_contains_itself_ends() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match="contains itself"):
        written(value)


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        ({"~": "assignment", "of": 3}, "has no values"),
        ({"~": "assignment", "of": []}, "'assignment' does not fit"),
        ({"~": "nothing", "of": []}, "unknown event 'nothing'"),
        ({"~": "task_leased.1", "of": [1]}, "has 1 values, not 5"),
        ({"~": "{}", "of": [3]}, "written as pairs"),
    ],
)
def test_what_is_not_in_order_is_refused(plain: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        unwritten(plain)


def test_two_terms_do_not_share_a_name() -> None:
    with pytest.raises(ValueError, match="two terms are named assignment"):
        term("assignment")(Nameless)

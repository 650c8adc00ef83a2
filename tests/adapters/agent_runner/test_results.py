import datetime as dt
import enum
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, HttpUrl
from typing_extensions import TypedDict

from kos_runtime.core.record import INLINE_LIMIT, PAYLOAD_LIMIT
from kos_runtime.ports.agent import Agent, action
from tests.adapters.agent_runner.bench import Bench, bench


class Verdict(BaseModel):
    score: float
    when: dt.date | None = None


class Row(TypedDict):
    n: int


@dataclass
class Pair:
    left: int
    right: tuple[int, ...]


class Colour(enum.StrEnum):
    RED = "red"


class Invoice(BaseModel):
    """A field of each kind that JSON has no word for."""

    total: Decimal
    due: dt.date
    sent: dt.datetime
    at: dt.time
    grace: dt.timedelta
    number: UUID
    colour: Colour
    file: Path
    host: IPv4Address
    link: HttpUrl


class Hostile(dict[str, Any]):
    def __iter__(self) -> Iterator[str]:
        raise SystemExit("iterated")

    def items(self) -> Any:
        raise SystemExit("iterated")


class Pretends(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no looking")

    def __len__(self) -> int:
        return 1


class Unshowable:
    def __repr__(self) -> str:
        raise KeyboardInterrupt


def endless() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def deep(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels - 1):
        found = [found]
    return found


#: What the actions below return; set by each test.
ANSWER: dict[str, Any] = {}


class Giver(Agent):
    kind = "kReviewer"

    @action
    def anything(self) -> Any:
        return ANSWER["value"]

    @action
    def validate_summary(self) -> Verdict:
        return ANSWER["value"]  # type: ignore[no-any-return]

    @action
    def bill(self) -> Invoice:
        return ANSWER["value"]  # type: ignore[no-any-return]

    @action
    def paid(
        self, bill: Invoice, total: Decimal, due: dt.date, sent: dt.datetime, at: dt.time, grace: dt.timedelta, number: UUID,
        colour: Colour, file: Path, host: IPv4Address, link: HttpUrl,
    ) -> bool:  # fmt: skip
        return bill == Invoice(
            total=total, due=due, sent=sent, at=at, grace=grace, number=number, colour=colour, file=file, host=host,
            link=link,
        )  # fmt: skip

    @action
    def rows(self) -> list[Row]:
        return ANSWER["value"]  # type: ignore[no-any-return]

    @action
    def counts(self) -> dict[str, int]:
        return ANSWER["value"]  # type: ignore[no-any-return]


@pytest.fixture
def giver() -> Iterator[Bench]:
    with bench(Giver()) as made:
        yield made


def given(giver: Bench, value: Any, action_name: str = "anything", **more: Any) -> Any:
    ANSWER["value"] = value
    return giver.value(action_name, **more)


def refused(giver: Bench, value: Any, action_name: str = "anything", **more: Any) -> Any:
    ANSWER["value"] = value
    return giver.failure(action_name, **more)


def test_what_python_has_becomes_plain_data(giver: Bench) -> None:
    value = {
        "model": Verdict(score=1, when=dt.date(2026, 11, 23)),
        "pair": Pair(1, (2, 3)),
        "colour": Colour.RED,
        Colour.RED: OrderedDict(a=None),
        "id": UUID(int=0),
        "at": dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC),
    }
    assert given(giver, value)["result"] == {
        "model": {"score": 1.0, "when": "2026-11-23"},
        "pair": {"left": 1, "right": [2, 3]},
        "colour": "red",
        "red": {"a": None},
        "id": "00000000-0000-0000-0000-000000000000",
        "at": "2026-11-23T12:00:00Z",
    }


INVOICE = {
    "total": "12.50", "due": "2026-12-01", "sent": "2026-11-23T12:00:00.000004Z", "at": "08:30:00", "grace": "P14DT1H",
    "number": "00000000-0000-0000-0000-000000000007", "colour": "red", "file": "out/invoice.pdf", "host": "10.0.0.1",
    "link": "https://example.org/i/7",
}  # fmt: skip


def test_what_json_has_no_word_for_is_written_as_pydantic_writes_it_in_json_and_read_again(giver: Bench) -> None:
    invoice = Invoice.model_validate_json(json.dumps(INVOICE))
    assert given(giver, invoice, "bill") == {"result": INVOICE, **INVOICE}
    assert invoice.model_dump(mode="json") == INVOICE
    assert given(giver, {name: getattr(invoice, name) for name in INVOICE})["result"] == INVOICE
    assert giver.value("paid", {"bill": INVOICE, **INVOICE})["result"] is True


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "sNaN"])
def test_a_decimal_that_is_no_number_is_refused(giver: Bench, number: str) -> None:
    assert "total: " in refused(giver, {"total": Decimal(number)}).message
    assert "can be stored" in refused(giver, {"total": Decimal(number)}).message


def test_a_declared_result_is_written_out(giver: Bench) -> None:
    assert given(giver, Verdict(score=0.5), "validate_summary")["result"] == {"score": 0.5, "when": None}
    assert given(giver, {"score": 1, "when": "2026-11-23"}, "validate_summary")["score"] == 1.0
    assert given(giver, ({"n": 1},), "rows") == {"result": [{"n": 1}]}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("validate_summary", {"score": "great"}, "score: expected number, got 'great'"),
        ("validate_summary", {}, "score: missing"),
        ("validate_summary", "great", "expected object, got 'great'"),
        ("validate_summary", None, "expected object, got None"),
        ("rows", [{"n": 1}, {"n": "2"}], "[1].n: expected integer, got '2'"),
        ("counts", {"a": 1.5}, "a: expected integer, got 1.5"),
    ],
)
def test_a_result_that_is_not_what_was_declared_is_named(giver: Bench, name: str, value: Any, words: str) -> None:
    error = refused(giver, value, name)
    assert error.message == f"invalid output from kReviewer.{name}: {words}"
    assert (error.type, error.recoverable, error.suggested_action) == ("validation", True, "retry")


def test_a_model_that_was_filled_with_garbage_is_found_out(giver: Bench) -> None:
    garbage: dict[str, Any] = {"score": "great"}
    error = refused(giver, Verdict.model_construct(**garbage), "validate_summary")
    assert error.message == "invalid output from kReviewer.validate_summary: score: expected number, got 'great'"


@pytest.mark.parametrize(
    "value",
    [
        {"a": {1, 2}}, frozenset(), {"a": [b"bytes"]}, bytearray(b"x"), object(), Giver, len, Unshowable(), Pretends(),
        Hostile(a=1), {"a": Hostile(a=1)}, float("nan"), [float("inf")], {"a": {"b": -float("inf")}}, 2**63,
        [-(2**63) - 1], 10**400, {1: "a"}, {None: 1}, {("a",): 1}, {"a": "\ud800"}, {"\udfff": 1}, 3 + 4j, endless(),
        deep(65), range(3), (n for n in range(3)), Exception("x"), NotImplemented, ..., iter([]),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_garbage_is_a_validation_failure_that_may_be_retried(giver: Bench, value: Any) -> None:
    for more in ({}, {"part": True}, {"outputs": [("x", "$result")]}):
        error = refused(giver, value, **more)
        assert (error.type, error.recoverable) == ("validation", True), error
        assert error.message
    error = refused(giver, value, "validate_summary")
    assert error.type == "validation"
    assert error.message.startswith("invalid output from kReviewer.validate_summary: ")


def test_the_place_of_garbage_is_said(giver: Bench) -> None:
    error = refused(giver, {"notes": [{"n": 1}, {"n": {2}}]})
    assert error.message == "invalid output from kReviewer.anything: notes[1].n: a set has no order; return a list"


def test_the_deepest_that_is_allowed_passes(giver: Bench) -> None:
    assert given(giver, deep(60), outputs=[("x", "$result")])["x"] == deep(60)


def test_without_outputs_the_result_and_each_of_its_keys_are_exposed(giver: Bench) -> None:
    assert given(giver, {"a": 1, "b": [2]}) == {"a": 1, "b": [2], "result": {"a": 1, "b": [2]}}
    assert given(giver, [1]) == {"result": [1]}


def test_outputs_are_dotted_keys_of_the_result(giver: Bench) -> None:
    mapping = [("plan", "plan"), ("first", "deep.er"), ("all", "$result")]
    value = {"plan": [1], "deep": {"er": 2}}
    assert given(giver, value, outputs=mapping) == {"plan": [1], "first": 2, "all": value}


def test_a_missing_output_says_which_keys_there_are(giver: Bench) -> None:
    error = refused(giver, {"plans": 1, "n": 2}, outputs=[("research_plan", "plan")])
    assert error.message == "the result has no 'plan', which output 'research_plan' needs; it has n, plans"
    assert (error.type, error.recoverable) == ("validation", True)
    assert "it has string, not an object" in refused(giver, "text", outputs=[("x", "y")]).message
    assert "it has nothing" in refused(giver, {}, outputs=[("x", "y")]).message


def test_a_part_hands_on_its_fields_as_they_are(giver: Bench) -> None:
    assert given(giver, {"a": 1}, part=True, outputs=[("x", "gone")]) == {"a": 1}
    assert "a part must return an object, not array" in refused(giver, [1], part=True).message


def test_the_largest_values_leave_for_the_blob_store_until_the_rest_fits(giver: Bench) -> None:
    value = {"a": "x" * 20_000, "b": "y" * 15_000, "c": [1, 2], "d": "z" * 5_000}
    ANSWER["value"] = value
    mapping = [(name, name) for name in value]
    outcome = giver.run("anything", outputs=mapping)
    assert [(name, kind, length) for name, _, kind, length in outcome.blobs] == [("a", "string", 20_000)]
    assert len(outcome.exposed) <= INLINE_LIMIT
    assert giver.opened(outcome) == value


def test_a_value_on_the_limit_stays_and_one_above_it_leaves(giver: Bench) -> None:
    frame = 1 + 2 + 3
    for size, moved in ((INLINE_LIMIT - frame, 0), (INLINE_LIMIT - frame + 1, 1)):
        ANSWER["value"] = "x" * size
        assert len(giver.run("anything", outputs=[("a", "$result")]).blobs) == moved


def test_a_blob_says_what_it_is(giver: Bench) -> None:
    for value, kind, length in (
        (["x" * 100] * 400, "array", 400),
        ({f"k{n}": "x" * 100 for n in range(400)}, "object", 400),
        ("x" * 40_000, "string", 40_000),
    ):
        ANSWER["value"] = value
        outcome = giver.run("anything", outputs=[("a", "$result")])
        assert [(name, word, count) for name, _, word, count in outcome.blobs] == [("a", kind, length)]


def test_an_oversize_result_is_not_recoverable_and_names_step_and_size(giver: Bench) -> None:
    for value in ("x" * (PAYLOAD_LIMIT + 1), ["x" * 1_000_000] * 70, ["é" * (PAYLOAD_LIMIT // 2), "x" * 10]):
        error = refused(giver, value, path="gather[3]", outputs=[("notes", "$result")])
        assert (error.type, error.recoverable, error.suggested_action) == ("validation", False, "fail")
        assert error.message.startswith("oversize: 'notes' of step gather[3] has ")
        assert str(PAYLOAD_LIMIT) in error.message
    assert giver.blobs._blobs == {}


def test_a_large_result_of_which_little_is_needed_is_fine(giver: Bench) -> None:
    value = {"small": 1, "large": "x" * (PAYLOAD_LIMIT + 1)}
    assert given(giver, value, outputs=[("n", "small")]) == {"n": 1}


def test_a_result_of_very_many_names_says_what_to_do(giver: Bench) -> None:
    value = {f"word{n}": "x" * 1_000 for n in range(500)}
    error = refused(giver, value)
    assert (error.type, error.recoverable) == ("validation", False)
    assert "name in its outputs what is needed" in error.message
    assert given(giver, value, outputs=[("all", "$result")]) == {"all": value}

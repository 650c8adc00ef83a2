from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kos_runtime.adapters.codec import MsgpackCodec
from kos_runtime.adapters.wire import pack_outcomes, pack_work, unpack_outcomes, unpack_work
from kos_runtime.core.failure import ErrorType, WorkflowError, failure
from kos_runtime.core.invocation import Gather, Invocation, Outcome, Piece
from kos_runtime.core.record import PAYLOAD_LIMIT, BlobRef

CODEC = MsgpackCodec()
REF = BlobRef("ab" * 32, 70_000)

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
counts = st.integers(0, 2**40)
refs = st.builds(BlobRef, words, st.integers(0, PAYLOAD_LIMIT))
paths = st.lists(words | counts, max_size=3).map(tuple)
pieces = st.builds(Piece, packed=st.binary(), path=paths) | st.builds(Piece, blob=refs, path=paths)
gathers = st.builds(
    Gather,
    place=st.lists(words | counts, min_size=1, max_size=3).map(tuple),
    mode=st.sampled_from(["one", "list", "concat"]),
    pieces=st.lists(pieces, max_size=3),
    cut=st.none() | st.tuples(counts, counts),
)
invocations = st.builds(
    Invocation,
    run=words, path=words, attempt=counts, fence=counts, epoch=counts, agent=words, action=words, inputs=st.binary(),
    timeout_ms=counts, key=words, gathers=st.lists(gathers, max_size=2),
    outputs=st.none() | st.lists(st.tuples(words, words), max_size=3), lenient=st.booleans(), part=st.booleans(),
    inputs_blob=st.none() | refs, heartbeat_ms=st.just(0) | counts,
)  # fmt: skip
errors = st.builds(
    WorkflowError,
    type=st.sampled_from(list(ErrorType)), message=words, step=words, recoverable=st.booleans(),
    suggested_action=words, details=st.dictionaries(words, words | st.none() | st.lists(counts), max_size=3),
)  # fmt: skip
outcomes = st.builds(
    Outcome,
    run=words, path=words, fence=counts, error=st.none() | errors, exposed=st.binary(),
    blobs=st.lists(st.tuples(words, refs, words, counts), max_size=2),
    duration_ms=st.floats(0, 1e9), notes=st.dictionaries(words, words, max_size=2),
)  # fmt: skip


@given(st.lists(invocations, max_size=4), st.lists(st.tuples(words, words, counts), max_size=3))
@settings(max_examples=200)
def test_work_arrives_as_it_left(batch: list[Invocation], settled: list[tuple[str, str, int]]) -> None:
    assert unpack_work(pack_work(batch, settled)) == (batch, settled)


@given(st.lists(outcomes, max_size=4), st.lists(st.tuples(words, words, counts), max_size=3))
@settings(max_examples=200)
def test_outcomes_arrive_as_they_left(batch: list[Outcome], running: list[tuple[str, str, int]]) -> None:
    assert unpack_outcomes(pack_outcomes(batch, running)) == (batch, running)


@given(st.binary(max_size=300))
@settings(max_examples=500)
def test_any_bytes_are_a_batch_or_refused(data: bytes) -> None:
    for read in (unpack_work, unpack_outcomes):
        try:
            read(data)
        except ValueError:
            continue


def row(**changes: Any) -> list[Any]:
    fields: dict[str, Any] = {
        "run": "r", "path": "p", "attempt": 1, "fence": 1, "epoch": 1, "agent": "a", "action": "b", "inputs": b"",
        "timeout": 0, "key": "k", "gathers": None, "outputs": None, "lenient": False, "part": False, "blob": None,
    }  # fmt: skip
    return list({**fields, **changes}.values())


def test_a_row_as_it_should_be_is_taken() -> None:
    assert unpack_work(CODEC.pack([[row()], []]))[0][0].run == "r"


@pytest.mark.parametrize(
    "changes",
    [
        {"run": 1}, {"path": None}, {"attempt": "1"}, {"attempt": True}, {"fence": 1.0}, {"inputs": "text"},
        {"key": b"k"}, {"lenient": 0}, {"part": None}, {"outputs": [["a"]]}, {"outputs": [["a", 1]]},
        {"outputs": "ab"}, {"blob": ["ab"]}, {"blob": [1, 1]}, {"blob": ["ab", -1]},
        {"blob": ["ab", PAYLOAD_LIMIT + 1]}, {"gathers": [[["x"], "all", [], None]]},
        {"gathers": [[[], "one", [], None]]}, {"gathers": [[["x"], "one", [[None, None, []]], None]]},
        {"gathers": [[["x"], "one", [["text", None, []]], None]]},
        {"gathers": [[["x"], "one", [[b"", None, [1.5]]], None]]}, {"gathers": [[["x"], "one", [], [1]]]},
        {"gathers": [1]}, {"timeout": None}, {"epoch": []},
    ],
)  # fmt: skip
def test_a_field_of_another_type_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a batch of invocations"):
        unpack_work(CODEC.pack([[row(), row(**changes)], []]))


@pytest.mark.parametrize(
    "plain",
    [[[row()[:-1]], []], [[[*row(), 1, 1]], []], [[[*row(), "1"]], []], {}, [[1], []], [[]], [[], [["r", "p"]]]],
)
def test_a_row_of_another_length_is_refused(plain: Any) -> None:
    with pytest.raises(ValueError, match="not a batch"):
        unpack_work(CODEC.pack(plain))


GOOD_ERROR = failure(ErrorType.TIMEOUT, "late").to_plain()


@pytest.mark.parametrize(
    "fields",
    [
        ["r", "p", 1, None, "text", None, 0.0, None],
        ["r", "p", "1", None, b"", None, 0.0, None],
        ["r", "p", 1, None, b"", None, -1.0, None],
        ["r", "p", 1, None, b"", None, "0", None],
        ["r", "p", 1, None, b"", [["a", "d", 1, "array"]], 0.0, None],
        ["r", "p", 1, None, b"", [["a", "d", 1, "array", -1]], 0.0, None],
        ["r", "p", 1, "failed", b"", None, 0.0, None],
        ["r", "p", 1, {}, b"", None, 0.0, None],
        ["r", "p", 1, {**GOOD_ERROR, "type": "novel"}, b"", None, 0.0, None],
        ["r", "p", 1, {**GOOD_ERROR, "message": 5}, b"", None, 0.0, None],
        ["r", "p", 1, {**GOOD_ERROR, "recoverable": "yes"}, b"", None, 0.0, None],
        ["r", "p", 1, {**GOOD_ERROR, "details": []}, b"", None, 0.0, None],
        ["r", "p", 1, None, b"", None, 0.0, [1]],
        ["r", "p", 1],
    ],
)
def test_an_outcome_with_a_wrong_field_is_refused(fields: list[Any]) -> None:
    with pytest.raises(ValueError, match="not a batch of outcomes"):
        unpack_outcomes(CODEC.pack([[fields], []]))


def test_a_duration_that_is_no_number_is_refused() -> None:
    for duration in (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"):
        good = pack_outcomes([Outcome("r", "p", 1, duration_ms=0.5)])
        half = b"\xcb\x3f\xe0\x00\x00\x00\x00\x00\x00"
        assert half in good
        with pytest.raises(ValueError, match="not a batch of outcomes"):
            unpack_outcomes(good.replace(half, duration))


def test_one_outcome_that_cannot_be_packed_loses_no_other() -> None:
    good, bad = Outcome("r", "p", 1, exposed=b"x"), Outcome("r", "q", 2, notes={"x": object()}, duration_ms=3.0)
    found, _ = unpack_outcomes(pack_outcomes([good, bad]))
    assert found[0] == good
    assert (found[1].fence, found[1].duration_ms) == (2, 3.0)
    assert found[1].error is not None
    assert (found[1].error.type, found[1].error.recoverable) == (ErrorType.VALIDATION, False)


def test_a_batch_above_the_familiar_size_travels() -> None:
    batch = [Outcome("r", f"gather[{n}]", 1, exposed=b"\xdd\xdf\xdc" * 5) for n in range(10_500)]
    assert unpack_outcomes(pack_outcomes(batch))[0] == batch

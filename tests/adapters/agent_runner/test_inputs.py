import datetime as dt
import enum
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from kos_runtime.core.invocation import Gather, Piece
from kos_runtime.core.record import BlobRef
from kos_runtime.ports.agent import Agent, Context, action
from tests.adapters.agent_runner.bench import CODEC, PATIENCE, Bench, bench


class Depth(enum.Enum):
    SHALLOW = "shallow"
    DEEP = "deep"


class Question(BaseModel):
    text: str
    weight: float = 1.0


class Reader(Agent):
    kind = "kReader"

    @action
    def typed(self, count: int, ratio: float = 0.5, name: str = "x", flag: bool = False) -> dict[str, Any]:
        return {"count": count, "ratio": ratio, "name": name, "flag": flag}

    @action
    def rich(self, question: Question, depth: Depth, when: dt.date, pair: tuple[int, str]) -> dict[str, Any]:
        assert isinstance(question, Question)
        return {"text": question.text, "depth": depth.name, "year": when.year, "pair": list(pair)}

    @action
    def several(self, when: int | dt.date | list[Question]) -> dict[str, Any]:
        return {"kind": type(when).__name__}

    @action
    def bounded(self, score: Annotated[float, Field(ge=0, le=1)]) -> dict[str, float]:
        return {"score": score}

    @action
    def bare(self, a, b=2) -> Any:  # type: ignore[no-untyped-def]
        return {"a": a, "b": b}

    @action
    def anything(self, first: str = "", **rest: Any) -> dict[str, Any]:
        return {"first": first, **rest}

    @action
    def nothing(self) -> str:
        return "done"

    @action
    def known(self, context: Context, word: str) -> dict[str, Any]:
        return {"word": word, "step": context.step, "key": context.idempotency_key, "cache": context.cache_dir}

    @action
    def maybe_known(self, context: Context | None = None) -> dict[str, Any]:
        return {"attempt": None if context is None else context.attempt}

    @action
    def model(self, model_config: int, json: int = 0, self_: int = 0) -> dict[str, int]:
        return {"sum": model_config + json + self_}

    @action(name="other_name")
    def renamed(self) -> str:
        return "renamed"

    @staticmethod
    @action
    def still(x: int) -> dict[str, int]:
        return {"x": x}


@pytest.fixture
def reader() -> Iterator[Bench]:
    with bench(Reader()) as made:
        yield made


def test_defaults_fill_what_was_not_given(reader: Bench) -> None:
    assert reader.value("typed", {"count": 3})["result"] == {"count": 3, "ratio": 0.5, "name": "x", "flag": False}


def test_an_integer_is_a_number(reader: Bench) -> None:
    assert reader.value("typed", {"count": 3, "ratio": 2})["ratio"] == 2.0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"count": "3"}, "count: expected integer, got '3'"),
        ({"count": 1.0}, "count: expected integer, got 1.0"),
        ({"count": True}, "count: expected integer, got True"),
        ({"count": 1, "ratio": "great"}, "ratio: expected number, got 'great'"),
        ({"count": 1, "name": 5}, "name: expected string, got 5"),
        ({"count": 1, "flag": "yes"}, "flag: expected boolean, got 'yes'"),
        ({}, "count: missing"),
    ],
)
def test_nothing_is_coerced(reader: Bench, given: dict[str, Any], words: str) -> None:
    error = reader.failure("typed", given)
    assert error.message == f"invalid input for kReader.typed: {words}"
    assert (error.type, error.recoverable, error.suggested_action) == ("validation", False, "fail")


def test_texts_and_arrays_become_what_plain_data_cannot_say(reader: Bench) -> None:
    given = {"question": {"text": "why"}, "depth": "deep", "when": "2026-11-23", "pair": [1, "a"]}
    assert reader.value("rich", given)["result"] == {"text": "why", "depth": "DEEP", "year": 2026, "pair": [1, "a"]}


def test_a_wrong_value_inside_an_object_is_named_by_its_place(reader: Bench) -> None:
    given = {"question": {"text": "why", "weight": "heavy"}, "depth": "deep", "when": "2026-11-23", "pair": [1, "a"]}
    assert "question.weight: expected number, got 'heavy'" in reader.failure("rich", given).message


def test_an_unknown_member_of_an_enumeration_is_told_what_there_is(reader: Bench) -> None:
    given = {"question": {"text": "why"}, "depth": "dep", "when": "2026-11-23", "pair": [1, "a"]}
    assert "depth: expected one of 'shallow' or 'deep', got 'dep'" in reader.failure("rich", given).message


@pytest.mark.parametrize(("given", "kind"), [(5, "int"), ("2026-11-23", "date"), ([{"text": "why"}], "list")])
def test_where_several_kinds_are_allowed_one_must_fit(reader: Bench, given: Any, kind: str) -> None:
    assert reader.value("several", {"when": given})["kind"] == kind


@pytest.mark.parametrize("given", [True, 1.5, {}, [{"text": 5}], None, "no date"])
def test_where_several_kinds_are_allowed_another_is_still_refused(reader: Bench, given: Any) -> None:
    error = reader.failure("several", {"when": given})
    assert (error.type, error.recoverable) == ("validation", False)


def test_a_bound_of_an_annotation_is_kept(reader: Bench) -> None:
    assert "score: " in reader.failure("bounded", {"score": 1.5}).message


def test_an_unknown_input_is_refused_with_the_nearest_name(reader: Bench) -> None:
    error = reader.failure("typed", {"count": 1, "nmae": "y"})
    assert error.message == "invalid input for kReader.typed: it has no 'nmae'; did you mean 'name'?"
    assert not error.recoverable
    assert reader.failure("nothing", {"x": 1}).message.endswith("it has no 'x'; it takes nothing")


def test_a_step_without_inputs_hands_over_only_what_is_declared(reader: Bench) -> None:
    assert reader.value("typed", {"count": 1, "other": 2}, lenient=True)["count"] == 1
    assert reader.value("nothing", {"other": 2}, lenient=True) == {"result": "done"}
    assert "count: missing" in reader.failure("typed", {"other": 2}, lenient=True).message


def test_an_action_may_take_anything(reader: Bench) -> None:
    assert reader.value("anything", {"first": "a", "other": [1]})["result"] == {"first": "a", "other": [1]}
    assert reader.value("anything", {"other": 1}, lenient=True)["result"] == {"first": "", "other": 1}


def test_an_action_without_annotations_takes_what_comes(reader: Bench) -> None:
    assert reader.value("bare", {"a": None})["result"] == {"a": None, "b": 2}
    assert "a: missing" in reader.failure("bare", {}).message


def test_the_context_is_injected_and_is_no_input(reader: Bench) -> None:
    found = reader.value("known", {"word": "w"}, path="refine#2/gather[17]")
    assert found["step"] == "refine#2/gather[17]"
    assert (found["key"], found["cache"]) == ("kos:store:run1:step:0", "cache")
    assert "it has no 'context'" in reader.failure("known", {"word": "w", "context": 1}).message
    assert reader.value("maybe_known", attempt=3)["attempt"] == 3


def test_parameters_may_have_any_name(reader: Bench) -> None:
    assert reader.value("model", {"model_config": 1, "json": 2})["sum"] == 3


def test_an_action_is_found_by_its_name_and_may_be_static(reader: Bench) -> None:
    assert reader.value("other_name") == {"result": "renamed"}
    assert reader.value("still", {"x": 4})["x"] == 4


def test_an_unknown_action_is_a_permanent_failure_with_the_nearest_word(reader: Bench) -> None:
    error = reader.failure("tipped")
    assert (error.type, error.recoverable) == ("permanent", False)
    assert reader.failure("typd").message == "kReader has no action 'typd'; did you mean 'typed'?"


def test_inputs_may_lie_in_a_blob(reader: Bench) -> None:
    ref = reader.blobs.put(CODEC.pack({"count": 7}))
    assert reader.value("typed", inputs_blob=ref)["count"] == 7


def test_gathers_fill_places_in_the_inputs(reader: Bench) -> None:
    array = reader.blobs.put(CODEC.pack({"notes": [3, 4, 5]}))
    gathers = [
        Gather(("one",), "one", [Piece(packed=CODEC.pack({"a": {"b": 9}}), path=("a", "b"))]),
        Gather(("many", 0), "list", [Piece(packed=CODEC.pack(1)), Piece(blob=array, path=("notes", 1))]),
        Gather(
            ("joined",),
            "concat",
            [Piece(packed=CODEC.pack([1, 2])), Piece(blob=array, path=("notes",))],
            cut=(1, 4),
        ),
    ]
    found = reader.value("anything", {"one": None, "many": [None], "joined": None}, gathers=gathers)
    assert (found["one"], found["many"], found["joined"]) == (9, [[1, 4]], [2, 3, 4])


@pytest.mark.parametrize(
    "gather",
    [
        Gather(("x",), "one", [Piece(packed=CODEC.pack({}), path=("gone",))]),
        Gather(("x",), "one", [Piece(packed=CODEC.pack([1]), path=(5,))]),
        Gather(("x",), "one", []),
        Gather(("x",), "concat", [Piece(packed=CODEC.pack("text"))]),
        Gather(("x", "y"), "one", [Piece(packed=CODEC.pack(1))]),
        Gather(("x",), "one", [Piece()]),
        Gather(("x",), "one", [Piece(packed=b"\xc1")]),
    ],
)
def test_a_gather_that_leads_nowhere_is_a_permanent_failure(reader: Bench, gather: Gather) -> None:
    error = reader.failure("anything", {"x": None}, gathers=[gather])
    assert (error.type, error.recoverable) == ("permanent", False)
    assert "the inputs of step cannot be put together" in error.message


def test_a_missing_blob_is_a_permanent_failure_that_names_it(reader: Bench) -> None:
    gone = BlobRef("ab" * 32, 10)
    for more in ({"inputs_blob": gone}, {"gathers": [Gather(("x",), "one", [Piece(blob=gone)])]}):
        error = reader.failure("anything", {"x": None}, **more)
        assert (error.type, error.recoverable) == ("permanent", False)
        assert "ab" * 32 in error.message


@pytest.mark.parametrize("packed", [b"", b"\xc1", b"\x93\x01", CODEC.pack([1]), CODEC.pack(None)])
def test_inputs_that_are_no_object_are_a_permanent_failure(reader: Bench, packed: bytes) -> None:
    made = reader.invocation("anything")._replace(inputs=packed)
    outcome = reader.runner.run_batch([made], PATIENCE * 1_000).outcomes[0]
    assert outcome.error is not None
    assert outcome.error.type == "permanent"


class ByPosition(Agent):
    @action
    def broken(self, x: int, /) -> None:
        del x


class Unreadable(Agent):
    @action
    def broken(self, x: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821
        del x


@pytest.mark.parametrize(("cls", "word"), [(ByPosition, "by position only"), (Unreadable, "cannot be read")])
def test_an_action_that_cannot_be_called_is_refused_when_the_agent_is_made(cls: type[Agent], word: str) -> None:
    with pytest.raises(ValueError, match=f"{cls.__name__}.broken.*{word}"):
        Bench(cls())

"""Whether a person is asked, and what is done with the answer."""

import io
from typing import Any

import pytest

from kos_runtime.cli.common import Common
from kos_runtime.cli.run import _ask
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.projection.steps import RunView


class Typed(io.StringIO):
    """A terminal at which somebody has typed."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("CI", raising=False)

    def at(text: str) -> None:
        monkeypatch.setattr("sys.stdin", Typed(text))
        monkeypatch.setattr("sys.stdout", Typed())

    return at


@pytest.mark.parametrize(("text", "may"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False), ("", False)])
def test_a_question_needs_a_yes(typed: Any, text: str, may: bool) -> None:
    typed(text)
    assert Common().may("Really?") is may
    assert Common(yes=True).may("Really?") is True


def test_nobody_is_asked_where_nobody_is(typed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    typed("n\n")
    assert Common().asks()
    assert not Common(no_input=True).asks()
    monkeypatch.setenv("CI", "true")
    assert not Common().asks()
    assert Common().may("Really?")
    monkeypatch.delenv("CI")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert not Common().asks()


class Engine:
    """Takes an answer when its number is positive."""

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []
        self.reading = self

    def view(self, run: str) -> RunView:
        view = RunView(run)
        step = view.step("review")
        step.manual = {"task": "t", "prompt": "How many?", "fields": [["n", "integer", True], ["why", "string", False]]}
        return view

    def answer(self, run: str, step: str, data: dict[str, Any]) -> None:
        self.given.append(data)
        if not isinstance(data["n"], int):
            raise InvalidDefinition("'n' is no integer")


def test_an_answer_that_does_not_fit_is_asked_for_again(typed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    typed("many\n\n3\nbecause\n")
    engine = Engine()
    assert _ask(engine, "7f3a") is True
    assert engine.given == [{"n": "many"}, {"n": 3, "why": "because"}]
    assert "'n' is no integer" in capsys.readouterr().err


def test_leaving_a_question_leaves_the_run_waiting(typed: Any) -> None:
    typed("")
    engine = Engine()
    assert _ask(engine, "7f3a") is False
    assert engine.given == []

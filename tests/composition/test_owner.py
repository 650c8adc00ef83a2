"""The owner's answers, beside a partition that is played."""

from pathlib import Path
from typing import Any

import pytest

from kos_runtime.composition.owner import MAX_TOGETHER, Owner
from kos_runtime.core.workflow.commands import Accepted, Answer, Command, Rejected
from kos_runtime.definition.settings import EngineSettings


class Played:
    """A partition that dies with the first batch; of one run it says busy."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def ask(self, requests: list[tuple[str, Command]]) -> list[Answer]:
        self.asked.append([command.run for _, command in requests])
        if len(self.asked) == 1:
            return [
                self._answer(c.run) if c.run == "b" else Rejected(code="unknown", message="it went away")
                for _, c in requests
            ]
        return [self._answer(command.run) for _, command in requests]

    def _answer(self, run: str) -> Answer:
        return Rejected(code="busy", message="later") if run == "b" else Accepted(run=run, position=1)

    def wait_ready(self, timeout: float) -> dict[str, Any]:
        return {}


@pytest.fixture
def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Owner:
    made = Owner(tmp_path, EngineSettings(), keep=True)
    made._supervisor = Played()
    monkeypatch.setattr(made, "_row", lambda run: object() if run == "a" else None)
    return made


def create(run: str) -> dict[str, Any]:
    return {"op": "create", "run": run, "plan": "p", "link": "l", "author": "user:test", "command_id": run}


def test_of_many_requests_each_is_answered_and_those_of_unknown_fate_are_looked_up_or_asked_again(owner: Owner) -> None:
    answer = owner.answer({"op": "many", "requests": [create("a"), create("b"), create("c")]})
    assert answer["ok"]
    assert [(one["ok"], one.get("run"), one.get("code")) for one in answer["answers"]] == [
        (True, "a", None), (False, None, "busy"), (True, "c", None),
    ]  # fmt: skip
    # The first was stored before the partition died, so only the last is asked for again.
    assert owner._supervisor.asked == [["a", "b", "c"], ["c"]]


@pytest.mark.parametrize(
    "requests", [None, {}, [1], [create("a")] * (MAX_TOGETHER + 1), [create("a"), {"op": "many", "run": "x"}]]
)
def test_what_is_no_list_of_requests_is_refused_as_a_whole(owner: Owner, requests: Any) -> None:
    answer = owner.answer({"op": "many", "requests": requests})
    assert (answer["ok"], answer["code"]) == (False, "bad_request")
    assert owner._supervisor.asked == []

"""Starting a store's owner while somebody else does: whoever comes second waits for the first."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kos_runtime.client import owner
from kos_runtime.client.engine import WorkflowEngine
from kos_runtime.composition.wiring import open_store
from kos_runtime.core.errors import ConnectionLost, Unreachable


class EndsAtOnce:
    """A process that found the lock taken."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def poll(self) -> int:
        return 7


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[tuple[Any, bool]]], Any]:
    """Start an owner against a list of (what answers, whether the lock is held), one pair a look."""

    def run(looks: list[tuple[Any, bool]]) -> Any:
        now = looks[0]

        def reach(folder: Path, timeout: float = 5.0) -> Any:
            nonlocal now
            now = looks.pop(0) if looks else now
            return now[0]

        monkeypatch.setattr("kos_runtime.client.owner.subprocess.Popen", EndsAtOnce)
        monkeypatch.setattr("kos_runtime.client.owner.time.sleep", lambda _: None)
        monkeypatch.setattr(owner, "reach_owner", reach)
        monkeypatch.setattr(owner, "is_owned", lambda _: now[1])
        return owner.start_owner(tmp_path)

    return run


def test_the_second_waits_until_the_first_answers(start: Callable[[list[tuple[Any, bool]]], Any]) -> None:
    channel = object()
    assert start([(None, True), (None, True), (None, True), (channel, True)]) is channel


def test_an_owner_that_ends_and_leaves_nobody_is_said(start: Callable[[list[tuple[Any, bool]]], Any]) -> None:
    with pytest.raises(Unreachable, match="ended at once"):
        start([(None, False), (None, False)])


class Line:
    """A way to an owner: what was asked, and an answer, or none when it has ended meanwhile."""

    def __init__(self, *, ended: bool) -> None:
        self.ended, self.asked = ended, list[dict[str, Any]]()

    def request(self, message: dict[str, Any], _: float) -> dict[str, Any]:
        self.asked.append(message)
        if self.ended:
            raise ConnectionLost("nobody answers for the store")
        return {"ok": True, "run": message["run"], "position": 3, "event": "RunPaused", "existing": True}

    def close(self) -> None: ...


def test_what_an_owner_did_not_answer_is_asked_of_the_next_under_the_same_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [Line(ended=True), Line(ended=False)]
    left = lines.copy()
    monkeypatch.setattr("kos_runtime.client.engine.reach_owner", lambda _: left.pop(0))
    monkeypatch.setattr("kos_runtime.client.engine.is_owned", lambda _: True)
    monkeypatch.setattr("kos_runtime.client.engine.need_open", lambda *_: None)
    open_store(str(tmp_path / ".kos")).close()
    with WorkflowEngine(tmp_path / ".kos") as kos:
        assert kos.pause_workflow("r")["event"] == "RunPaused"
        assert lines[0].asked == lines[1].asked
        lines[1].ended, left = True, [Line(ended=False)]
        kos.execute_workflow("r")
        assert kos._channel.asked == lines[1].asked[1:]
        kos._channel.ended, left = True, [Line(ended=False)]
        message = {"op": "create", "run": "r"}
        kos._request(message)
        assert kos._channel.asked == [{**message, "again": True}]


def test_what_nobody_is_left_to_answer_is_done_without_an_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line(ended=True)
    left = [line, None]
    done = []

    def once(_: object, __: object, message: dict[str, Any]) -> dict[str, Any]:
        done.append(message)
        return {"ok": True}

    monkeypatch.setattr("kos_runtime.client.engine.reach_owner", lambda _: left.pop(0))
    monkeypatch.setattr("kos_runtime.client.engine.is_owned", lambda _: True)
    monkeypatch.setattr("kos_runtime.client.engine.need_open", lambda *_: None)
    monkeypatch.setattr("kos_runtime.client.engine.once", once)
    open_store(str(tmp_path / ".kos")).close()
    with WorkflowEngine(tmp_path / ".kos") as kos:
        kos.pause_workflow("r")
    assert done == line.asked

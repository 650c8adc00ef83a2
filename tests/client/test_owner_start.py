"""Starting a store's owner while somebody else does: whoever comes second waits for the first."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kos_runtime.client import owner
from kos_runtime.core.errors import Unreachable


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

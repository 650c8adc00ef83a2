"""What goes wrong outside is contained: a run of a step that meets it ends in words, and the engine goes on with others."""

import json
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.client import RunFailed, RunWaits
from kos_runtime.definition import EngineSettings
from kos_runtime.simulator import in_process
from tests import team
from tests.adapters.http_server import Asked, Behaviour, says, server
from tests.client.test_progress import until

Output = pytest.CaptureFixture[str]
DEAF = """
workflow:
  id: deaf
  compensation: {order: reverse, on: [failed, cancelled]}
  steps:
    - {id: done, agent: "tests.team:Team", action: greet, inputs: {name: x}, compensate: {agent: "tests.team:Team", action: greet, inputs: {name: y}}}
    - {id: deaf, agent: "tests.team:Team", action: ignore, MORE}
"""
CALL = """
workflow:
  id: call
  steps: [{id: ask, agent: outside, action: look, inputs: {n: 1}, retry: {max_retries: 0}}]
"""
BOTH = """
workflow:
  id: both
  steps:
    - {id: ask, approval: {prompt: "really?", approvers: ["user:jr", "user:mo"], quorum: 2, timeout: 24h}}
"""


@pytest.fixture
def let_go() -> Iterator[None]:
    """Whatever ignores that it is to stop ends with the test."""
    team.LET_GO.clear()
    try:
        yield
    finally:
        team.LET_GO.set()


def deaf(kos: kos_runtime.WorkflowEngine, folder: Path, more: str) -> list[Any]:
    """Start as many runs as one set of threads has hands, of an action that does not stop."""
    (folder / "deaf.yaml").write_text(DEAF.replace("MORE", more))
    runs = [kos.start(folder / "deaf.yaml") for _ in range(kos.settings.hands_per_process)]
    for run in runs:
        until(partial(is_deaf, run))
    return runs


def is_deaf(run: Any) -> bool:
    return "deaf" in run.view().steps


def test_actions_that_ignore_that_they_are_cancelled_are_left_behind_and_the_rest_is_undone(
    tmp_path: Path, let_go: None
) -> None:
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
        runs = deaf(kos, tmp_path, "timeout: 10m")
        for run in runs:
            assert kos.cancel_workflow(run, "enough", grace=0.2)["event"] == "CancelRequested"
        for run in runs:
            with pytest.raises(RunFailed, match="enough"):
                run.result(timeout=20)
            told = [event["type"] for event in kos.get_execution_history(run)]
            assert told[-1] == "RunCancelled"
            assert {"StepCancelled", "CompensationStarted"} <= set(told)
            assert run.view().steps["done:undo"].status == "completed"
        # Nobody's hands are taken by what is over.
        (tmp_path / "next.yaml").write_text(
            CALL.replace("outside", '"tests.team:Team"').replace("look, inputs: {n: 1}", "greet, inputs: {name: z}")
        )
        assert kos.start(tmp_path / "next.yaml").result(timeout=20)["text"] == "hello z"


def test_actions_that_run_on_after_their_timeout_do_not_keep_every_hand(
    tmp_path: Path, let_go: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_process, "WEDGED_S", 0.1)
    monkeypatch.setattr(in_process, "_MAX_SLEEP", 0.1)
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
        for run in deaf(kos, tmp_path, "timeout: 50ms, retry: {max_retries: 0}"):
            with pytest.raises(RunFailed, match="timeout"):
                run.result(timeout=20)
            assert run.view().steps["done:undo"].status == "completed"


def endless(_: Asked, sock: socket.socket) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while True:
        sock.sendall(b"x" * 65_536)


def silent(*_: Any) -> None:
    threading.Event().wait(3)


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        (says({}, 307, location="http://169.254.169.254/latest/meta-data"), "security", "169.254.169.254"),
        (says({}, 307, location="http://10.0.0.1/"), "security", "10.0.0.1"),
        (silent, "timeout", "within 0.3 s"),
        (endless, "validation", "more than 100000 bytes"),
        (lambda *_: (200, {}, b"<html>"), "validation", "no JSON"),
        (lambda _, sock: sock.sendall(b"SSH-2.0-OpenSSH\r\n"), "transient", "no HTTP"),
    ],
    ids=["redirected inside", "redirected to a private network", "silent", "endless", "garbage", "no HTTP"],
)
def test_a_service_that_misbehaves_fails_the_step_that_asked_it_in_words(
    tmp_path: Path, behaviour: Behaviour, kind: str, words: str, capsys: Output
) -> None:
    (tmp_path / "call.yaml").write_text(CALL)
    with server(behaviour) as at:
        service = {
            "kind": "http", "url": at.url, "capabilities": {"look": {"path": "/look"}}, "timeout": "300ms",
            "max_response": 100_000, "redirects": 2, "allow_private": ["127.0.0.1/32"],
        }  # fmt: skip
        settings = EngineSettings(services={"outside": service})
        with kos_runtime.connect(tmp_path / ".kos", host="process", settings=settings) as kos:
            run = kos.start(tmp_path / "call.yaml")
            with pytest.raises(RunFailed) as caught:
                run.result(timeout=20)
            (failed,) = [event["data"] for event in kos.get_execution_history(run) if event["type"] == "StepFailed"]
    assert caught.value.error is not None
    assert (failed["error"]["type"], caught.value.error["type"]) == (kind, kind)
    assert words in failed["error"]["message"]
    assert main(["watch", run.id, "--store", str(tmp_path / ".kos")]) == 1
    told = capsys.readouterr()
    assert words in told.out + told.err
    assert "Traceback" not in told.out + told.err


def test_a_person_who_decides_twice_counts_once_and_one_who_comes_too_late_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.chdir(tmp_path)
    people = ["--set", "people.jr=[]", "--set", "people.mo=[]", "--set", "people.eve=[]"]
    (tmp_path / "both.yaml").write_text(BOTH)
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
        run = kos.start(tmp_path / "both.yaml", name="both")
        with pytest.raises(RunWaits):
            run.result(timeout=20)

    def approve(who: str, *more: str) -> tuple[int, str]:
        code = main(["approve", "both", "--as", who, *people, *more])
        return code, capsys.readouterr().err

    assert approve("jr") == (0, "")
    code, said = approve("jr")
    assert (code, "Traceback" in said) == (3, False)
    assert "jr" in said
    code, said = approve("eve")
    assert code == 3
    assert "may not decide" in said
    assert approve("mo") == (0, "")
    code, said = approve("mo")
    assert (code, "is completed" in said) == (3, True)
    assert main(["events", "both", "-o", "json"]) == 0
    events = json.loads(capsys.readouterr().out)
    assert [event["data"]["by"] for event in events if event["type"] == "ApprovalGiven"] == ["user:jr", "user:mo"]

"""What people say to runs that wait for them, at the command line and from Python; who they are, and how they prove it."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.client import RunWaits
from kos_runtime.composition.people import Unproven, identify
from kos_runtime.core.errors import InvalidDefinition, NotFound
from kos_runtime.definition import EngineSettings

Output = pytest.CaptureFixture[str]
ASK = """
workflow:
  id: ask
  outputs: [{name: ok, value: $steps.ask.approved}, {name: why, value: $steps.ask.why}]
  steps:
    - id: ask
      approval: {prompt: "really?", show: {n: 3}, approvers: ["role:editor"], form: {why: {type: string}}, timeout: 24h}
"""
ACK = """
workflow:
  id: ack
  outputs: [{name: got, value: $steps.ack.result}]
  steps: [{id: ack, wait_for: {signal: go}}]
"""
UNDO = """
workflow:
  id: undo
  steps:
    - id: a
      agent: "tests.team:Team"
      action: greet
      inputs: {name: x}
      compensate: {agent: "tests.team:Team", action: greet, inputs: {name: y}}
    - {id: w, wait_for: {signal: go}}
"""
PEOPLE = EngineSettings(people={"jr": ["editor"], "eve": ["reader"]})
TOKENS = EngineSettings(people=PEOPLE.people, tokens={"jr": sha256(b"secret").hexdigest()})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "ask.yaml").write_text(ASK)
    (tmp_path / "ack.yaml").write_text(ACK)
    monkeypatch.chdir(tmp_path)
    for name in ("KOS_STORE", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "CI", "KOS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
        for name in ("ask", "ack"):
            with pytest.raises(RunWaits, match="a person" if name == "ask" else "a signal"):
                kos.start(tmp_path / f"{name}.yaml", name=name).result(timeout=20)
    return tmp_path


def test_what_waits_for_whom(here: Path, capsys: Output) -> None:
    assert main(["ls", "--waiting", "-o", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["step"], row["for"], row["who"], row["prompt"]) for row in rows] == [
        ("ack", "signal", [], "go"), ("ask", "approval", ["role:editor"], "really?"),
    ]  # fmt: skip
    assert main(["ls", "--waiting"]) == 0
    assert "role:editor" in capsys.readouterr().out


def test_get_shows_prompt_fields_approvers_and_until_when(here: Path, capsys: Output) -> None:
    assert main(["get", "ask"]) == 0
    out = capsys.readouterr().out
    for part in ("really?", "role:editor", "why: string", "until", "kos approve"):
        assert part in out
    assert main(["get", "ask", "-o", "json"]) == 0
    (asked,) = json.loads(capsys.readouterr().out)["waits_for"]
    assert (asked["approvers"], asked["quorum"], asked["shown"], asked["given"]) == (["role:editor"], 1, {"n": 3}, [])
    assert main(["get", "ack"]) == 0
    assert "kos signal" in capsys.readouterr().out


def test_approving_prints_the_event_and_ends_the_wait(here: Path, capsys: Output) -> None:
    assert main(["wait", "ask", "--for", "approval"]) == 0
    assert main(["approve", "ask", "-p", "why=good", "--comment", "at last", "-o", "json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["type"] == "ApprovalGiven"
    assert main(["get", "ask", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["status"], found["outputs"]) == ("completed", {"ok": True, "why": "good"})
    assert main(["approve", "ask", "-p", "why=good"]) == 3
    assert "is completed" in capsys.readouterr().err


def test_a_signal_is_taken_and_refused_when_it_is_too_late(here: Path, capsys: Output) -> None:
    assert main(["signal", "ack", "go", '{"n": 1}']) == 0
    assert "SignalReceived" in capsys.readouterr().out
    assert main(["get", "ack", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["outputs"] == {"got": {"n": 1}}
    assert main(["signal", "ack", "go"]) == 3
    assert "is completed" in capsys.readouterr().err
    assert main(["signal", "ack", "go", "{"]) == 3
    assert "no JSON" in capsys.readouterr().err


def test_rejecting_needs_no_form_and_names_the_person(here: Path, capsys: Output) -> None:
    assert main(["reject", "ask", "--set", "people.jr=[editor]", "--as", "jr"]) == 0
    assert "by user:jr" in capsys.readouterr().out
    assert main(["events", "ask", "-o", "json"]) == 0
    events = json.loads(capsys.readouterr().out)
    (given,) = [event["data"] for event in events if event["type"] == "ApprovalGiven"]
    assert (given["by"], given["approved"]) == ("user:jr", False)
    assert "role:editor (roles: editor; said by user:" in given["right"]


@pytest.mark.parametrize(
    ("settings", "who", "token", "wrong"),
    [
        (PEOPLE, "eve", "", "may not decide"),
        (PEOPLE, "jt", "", "did you mean 'jr'"),
        (TOKENS, "jr", "", "token of 'jr' is missing"),
        (TOKENS, "jr", "guessed", "not the token"),
        (TOKENS, "jr", "\udcff", "not the token"),
        (TOKENS, "eve", "secret", "has no token"),
        (TOKENS, "", "secret", "has no token"),
    ],
)
def test_who_may_not_or_cannot_prove_it_is_refused(
    here: Path, settings: EngineSettings, who: str, token: str, wrong: str
) -> None:
    with (
        kos_runtime.connect(here / ".kos", host="process", settings=settings) as kos,
        pytest.raises(InvalidDefinition, match=wrong),
    ):
        kos.approve(kos.reading.find("ask").run, as_=who, token=token, form={"why": "x"})


def test_a_token_proves_who_decides_and_is_not_stored(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOS_TOKEN", "secret")
    with kos_runtime.connect(here / ".kos", host="process", settings=TOKENS) as kos:
        run = kos.reading.find("ask").run
        with pytest.raises(NotFound, match="waits for no approval"):
            kos.approve(run, "other", as_="jr", form={"why": "x"})
        kos.approve(run, as_="jr", form={"why": "x"})
        (given,) = [event["data"] for event in kos.get_execution_history(run) if event["type"] == "ApprovalGiven"]
    assert given["right"] == "role:editor (roles: editor; by token)"
    assert all(b"secret" not in file.read_bytes() for file in (here / ".kos").rglob("*") if file.is_file())


def test_a_token_of_whatever_bytes_is_only_wrong() -> None:
    for expected in ("ä" * 64, "0" * 64):
        settings = EngineSettings(tokens={"me": expected})
        for token in ("\udcff", "ä", "x" * 10_000):
            with pytest.raises(Unproven, match="that is not the token"):
                identify(settings, "", token, "user:me@host")


def test_without_people_the_systems_user_holds_every_role_and_nobody_else_does() -> None:
    own = identify(EngineSettings(), "", "", "user:me@host")
    assert (own.name, own.roles) == ("user:me", ["*"])
    assert "every role: no people are configured" in own.right
    assert identify(EngineSettings(), "jr", "", "user:me@host").roles == []
    assert identify(PEOPLE, "", "", "user:me@host").roles == []
    with pytest.raises(Unproven):
        identify(TOKENS, "", "", "user:me@host")


def test_a_cancelled_run_that_has_something_to_undo_says_how_it_goes_on(here: Path, capsys: Output) -> None:
    (here / "undo.yaml").write_text(UNDO)
    connected = kos_runtime.connect(here / ".kos", host="process", settings=EngineSettings())
    with connected as kos, pytest.raises(RunWaits):
        kos.start(here / "undo.yaml", name="undo").result(timeout=20)
    assert main(["cancel", "undo"]) == 0
    assert "go on with: kos resume" in capsys.readouterr().err
    assert main(["cancel", "ack"]) == 0
    assert "kos resume" not in capsys.readouterr().err

"""What agents write cannot steer the terminal of whoever reads it."""

import json
from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.cli.visible import visible
from kos_runtime.definition import EngineSettings
from tests.client.test_engine import GREET

Output = pytest.CaptureFixture[str]
STEERS = "\x1b]0;owned\x07 \x1b[2J \x9b31m \u202ereversed\x7f\r"


def test_marks_are_shown_and_text_is_left_alone() -> None:
    assert visible("✔ naïve\ttext\n日本語") == "✔ naïve\ttext\n日本語"
    assert visible("\x1b[31m") == "␛[31m"
    assert not any(mark in visible(STEERS) for mark in "\x1b\x07\x9b\u202e\x7f\r")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "greet.yaml").write_text(GREET)
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
        kos.start(tmp_path / "greet.yaml", name="odd", who=STEERS).result(timeout=20)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KOS_STORE", raising=False)
    return tmp_path


@pytest.mark.parametrize("color", ["never", "always"])
@pytest.mark.parametrize(
    "command", [["get", "odd"], ["events", "odd", "-v"], ["watch", "odd"], ["get", "odd", "-o", "wide"]]
)
def test_what_an_agent_returned_is_never_sent_as_it_is(
    store: Path, capsys: Output, command: list[str], color: str
) -> None:
    assert main([*command, "--color", color]) == 0
    captured = capsys.readouterr()
    said = captured.out + captured.err
    assert not any(mark in said for mark in ("\x1b]", "\x07", "\x1b[2J", "\x9b", "\u202e", "\x7f", "\r"))
    assert "reversed" in said or command[0] == "watch"


def test_data_for_programs_is_left_as_it_is(store: Path, capsys: Output) -> None:
    assert main(["get", "odd", "-o", "json"]) == 0
    assert STEERS in json.loads(capsys.readouterr().out)["outputs"]["text"]

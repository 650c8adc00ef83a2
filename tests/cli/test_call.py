"""``kos call``: what is refused before anything is started, and what is printed."""

from pathlib import Path

import pytest

from kos_runtime.cli import main

CONFIG = """
services:
  gpt: {kind: chat, url: https://api.example.com/v1, model: m, auth: {bearer: $secrets.K}, provides: [llm_service]}
"""


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["nobody", "x"], 3, "no agent 'nobody' here"),
        (["gtp", "x"], 3, "no service 'gtp' is configured; did you mean 'gpt'?"),
        (["other_service", "x"], 3, "put one that provides it into workflow-engine.yaml"),
        (["gpt", "generate_txt"], 3, "gpt has no action 'generate_txt'; did you mean 'generate_text'?"),
        (["llm_service", "generate_text"], 3, "llm_service.generate_text needs the input 'prompt'"),
        (["gpt", "generate_text", "-p", "promt=x"], 3, "has no input 'promt'; did you mean 'prompt'?"),
        (["gpt", "generate_text", "-p", "prompt"], 2, "write -p NAME=VALUE"),
        (["gpt", "no name", "-p", "prompt=x"], 3, "'no name' is no name"),
        (["gpt", "generate_text", "-p", "a b=x"], 3, "'a b' is no name"),
    ],
)
def test_what_cannot_be_called_is_told_and_starts_nothing(
    words: list[str], code: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow-engine.yaml").write_text(CONFIG)
    assert main(["call", *words]) == code
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said
    assert "did you mean" not in said or "kos config" in said or code == 2
    assert not (tmp_path / ".kos").exists()


def test_a_secret_written_into_a_configuration_is_refused_by_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow-engine.yaml").write_text(CONFIG.replace("$secrets.K", "sk-written-down"))
    assert main(["call", "gpt", "generate_text", "-p", "prompt=x"]) == 3
    said = capsys.readouterr().err
    assert "services.gpt.auth.bearer would be recorded in the log; write $secrets.NAME" in said
    assert "sk-written-down" not in said

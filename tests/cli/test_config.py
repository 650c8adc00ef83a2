"""``kos config``: each setting with the place that won."""

import json
from pathlib import Path
from typing import Any

import pytest

from kos_runtime.cli import main
from kos_runtime.definition.settings import KEYS

FILE = """
engine:
  max_concurrent_workflows: 7
  execution:
    retry_default: 2
    timeout_default: 90s
agents:
  kExecutor:
    corpus: docs/
    api_key: hunter2-hunter2
    url: http://me:hunter2@example.org/
people: {jr: [editor]}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "workflow-engine.yaml").write_text(FILE)
    (tmp_path / "other.yaml").write_text("engine:\n\n  max_concurrent_workflows: 9\n")
    monkeypatch.chdir(tmp_path)
    for name in ("STORE", "CONFIG", "SET", "ADDRESS", "NAMESPACE", "CORPUS", "OUTPUT"):
        monkeypatch.delenv(f"KOS_{name}", raising=False)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, tuple[Any, str]]:
    assert main(["config", "-o", "json", *words]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert all(list(row) == ["setting", "value", "source", "decides"] for row in rows)
    return {row["setting"]: (row["value"], row["source"]) for row in rows}


def test_a_file_is_named_with_its_line_and_what_it_leaves_out_is_a_default(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = said(capsys)
    assert set(KEYS) <= set(found)
    assert found["engine.max_concurrent_workflows"] == (7, "workflow-engine.yaml:3")
    assert found["engine.execution.timeout_default"] == ("1m30s", "workflow-engine.yaml:6")
    assert found["engine.execution.backoff_strategy"] == ("exponential", "default")
    assert found["agents.kExecutor.corpus"] == ("docs/", "workflow-engine.yaml:9")
    assert found["people.jr"] == (["editor"], "workflow-engine.yaml:12")
    assert found["store"] == (str(here / ".kos"), "default")


def test_the_environment_wins_over_the_file_and_options_win_over_both(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOS_CORPUS", "python:ray")
    monkeypatch.setenv("KOS_NAMESPACE", "theirs")
    monkeypatch.setenv("KOS_STORE", "elsewhere")
    found = said(capsys, "--set", "engine.execution.retry_default=5", "--address", "10.0.0.1:6379")
    assert found["agents.kExecutor.corpus"] == ("python:ray", "KOS_CORPUS")
    assert found["engine.ray.namespace"] == ("theirs", "KOS_NAMESPACE")
    assert found["engine.execution.retry_default"] == (5, "--set")
    assert found["engine.ray.address"] == ("10.0.0.1:6379", "--address")
    assert found["store"] == ("elsewhere", "KOS_STORE")
    assert said(capsys, "--namespace", "mine")["engine.ray.namespace"] == ("mine", "--namespace")


def test_settings_and_the_file_itself_may_be_named_by_the_environment(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOS_CONFIG", "other.yaml")
    monkeypatch.setenv("KOS_SET", "engine.execution.retry_default=6")
    found = said(capsys)
    assert found["config"] == ("other.yaml", "KOS_CONFIG")
    assert found["engine.max_concurrent_workflows"] == (9, "other.yaml:3")
    assert found["engine.execution.retry_default"] == (6, "KOS_SET")
    assert said(capsys, "--set", "engine.execution.retry_default=7")["engine.execution.retry_default"] == (7, "--set")


@pytest.mark.parametrize("form", ["table", "wide", "json", "yaml", "jsonl"])
def test_secrets_are_not_shown(here: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    assert main(["config", "-o", form]) == 0
    out = capsys.readouterr().out
    assert "hunter2" not in out
    assert out.count("[hidden]") == 2


def test_a_setting_that_does_not_fit_is_refused_by_the_place_that_said_it(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOS_SET", "engine.execution.retry_defalt=6")
    assert main(["config"]) == 3
    message = capsys.readouterr().err
    assert "KOS_SET engine.execution.retry_defalt" in message
    assert "did you mean 'retry_default'" in message

"""The examples of ``docs/history.md`` run as they stand, one after the other."""

import re
from pathlib import Path

import pytest

from kos_runtime.cli import COMMANDS
from kos_runtime.client.checkpoint import CheckpointManager
from kos_runtime.client.state import WorkflowStateManager

PAGE = (Path(__file__).parents[2] / "docs" / "history.md").read_text(encoding="utf-8")


def test_the_python_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    exec(compile(code, "docs/history.md", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out.splitlines() == [
        "completed draft polish {'text': 'hello Ada'}",
        "1 0",
        "{'team': 'red', 'urgent': 'true'} {'team': 'blue'}",
        "[True]",
        "True ['draft']",
        "True {'text': 'hello hello Ada'}",
        "False {'text': 'hello hello Ada'}",
        "{'text': 'hello dear all'} True",
        "4 0",
    ]


def test_every_public_call_has_an_example() -> None:
    for face in (WorkflowStateManager, CheckpointManager):
        for name in vars(face):
            assert name.startswith("_") or f".{name}(" in PAGE, name


def test_the_commands_of_the_page_are_there() -> None:
    assert {line.split()[1] for line in PAGE.splitlines() if line.startswith("    kos ")} <= set(COMMANDS)

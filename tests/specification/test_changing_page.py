"""The examples of ``docs/changing.md`` run as they stand, one after the other."""

import re
from pathlib import Path

import pytest

from kos_runtime.cli import COMMANDS

PAGE = (Path(__file__).parents[2] / "docs" / "changing.md").read_text(encoding="utf-8")


def test_the_python_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    exec(compile(code, "docs/changing.md", "exec"), {"__name__": "page"})
    said = capsys.readouterr().out
    assert said.startswith("PlanRevised\n")
    assert "is at revision 4, not 1: somebody changed it first" in said
    for told in ("1 add_step check", "2 modify_step write", "3 modify_step approve", "4 remove_step publish"):
        assert told in said


def test_every_public_call_has_an_example() -> None:
    for name in ("add_step", "remove_step", "modify_step", "execute_step"):
        assert f"kos.{name}(" in PAGE


def test_the_commands_of_the_page_are_there() -> None:
    assert {line.split()[1] for line in PAGE.splitlines() if line.startswith("    kos ")} <= set(COMMANDS)

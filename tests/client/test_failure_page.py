"""The Python of ``docs/failure.md`` runs as it stands, and names every call of ``RecoveryStrategy``."""

import re
from pathlib import Path

import pytest

from kos_runtime.client import RecoveryStrategy

PAGE = (Path(__file__).parents[2] / "docs" / "failure.md").read_text(encoding="utf-8")


def test_the_python_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.partition("## By hand")[2], re.DOTALL))
    exec(compile(code, "docs/failure.md", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out.splitlines() == [
        "failed",
        "completed {'text': 'hello hostel'}",
        "as it was told",
        "{'text': 'with friends'}",
        "failed ['flight'] []",
    ]


def test_every_public_call_has_an_example() -> None:
    for name in vars(RecoveryStrategy):
        assert name.startswith("_") or f"recovery.{name}(" in PAGE, name

"""The workflow and the Python of ``docs/authority.md`` run as they stand."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "authority.md").read_text(encoding="utf-8")


def test_the_example_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (release,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "docs/authority.md", "exec"), {"__name__": "page", "RELEASE": release})
    why = "grant 'weekly/2/hand' is for 'reports/weekly', and 'reports/daily' is not in it"
    assert capsys.readouterr().out.splitlines() == [
        f"May hand 'publish' at 'reports/daily', at a cost of 2? daily: {why}",
        "True",
        "False",
        "None",
        "publish of chief 3 valid",
        "weekly/1/lead of lead 3 used up",
        "weekly/2/hand of hand 3 used up",
        "extra of hand 0 revoked by role:editor",
        "daily!1/hand of hand 2 used up",
    ]

"""The examples of ``docs/composition.md`` run as they stand, and so do the mission's templates and the example."""

import re
from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.cli import COMMANDS
from kos_runtime.definition import EngineSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "composition.md").read_text(encoding="utf-8")
SETTINGS = EngineSettings(agents={"kExecutor": {"corpus": "python:apsw"}})


def test_the_python_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
    exec(compile(code, "docs/composition.md", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out.splitlines() == [
        "waiting ask greet Ada?",
        "{'text': 'hello Ada'}",
        "True completed True",
        "True ['greet']",
    ]


def test_the_commands_of_the_page_are_there() -> None:
    assert {line.split()[1] for line in PAGE.splitlines() if line.startswith("    kos ")} <= set(COMMANDS)


def test_the_example_is_put_together_of_the_missions_own_files(tmp_path: Path) -> None:
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=SETTINGS) as kos:
        run = kos.start(ROOT / "examples" / "briefing.yaml", topic="SQLite connection", aspect="cursor")
        outputs = run.result(timeout=60)
        assert set(outputs) == {"overview", "details"}
        assert all(outputs.values())
        (child,) = kos.children(run)
        assert (child.view().workflow, child.view().version) == ("research-and-summarize", "1.0")
        assert [path for path in run.view().steps if path.startswith("overview/") and "[" not in path] == [
            "overview/plan",
            "overview/gather",
            "overview/synthesize",
        ]


def test_the_research_template_runs_as_it_stands(tmp_path: Path) -> None:
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=SETTINGS) as kos:
        run = kos.start(f"{ROOT / 'examples' / 'templates.yaml'}#research_workflow", topic="SQLite connection")
        assert run.result(timeout=60)["summary"]

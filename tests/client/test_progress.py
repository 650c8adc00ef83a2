"""What running attempts say of how far they are reaches whoever looks, and nobody else."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import kos_runtime
from kos_runtime.adapters.progress import MOST, ProgressBoard, ProgressFile
from kos_runtime.cli import main
from kos_runtime.definition import EngineSettings

TEXT = """
workflow:
  id: slow
  inputs: [{{name: gate, type: string}}]
  steps:
    - {{id: a, agent: "tests.team:Team", action: report, inputs: {{gate: $inputs.gate}}}}
{more}"""


def until(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
    return found


def start(kos: kos_runtime.WorkflowEngine, folder: Path, name: str, more: str = "") -> Any:
    (folder / f"{name}.yaml").write_text(TEXT.format(more=more))
    return kos.start(folder / f"{name}.yaml", inputs={"gate": str(folder / "gate")})


def says(run: Any, message: str, fraction: float) -> bool:
    step = run.view().steps.get("a")
    return bool(step and step.progress) and (step.progress.message, step.progress.fraction) == (message, fraction)


def test_what_an_action_says_is_seen_while_it_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
        quiet = start(kos, tmp_path, "quiet", "  monitoring: {progress_tracking: false}\n")
        run = start(kos, tmp_path, "loud", "  monitoring: {progress_tracking: true}\n")
        default = start(kos, tmp_path, "default")
        for each in (run, default):
            until(partial(says, each, "half of it", 0.5))
        assert main(["get", run.id, "--store", str(tmp_path / ".kos"), "-o", "json"]) == 0
        (step,) = json.loads(capsys.readouterr().out)["steps"]
        assert (step["progress"]["message"], step["progress"]["fraction"]) == ("half of it", 0.5)
        assert main(["get", run.id, "--store", str(tmp_path / ".kos")]) == 0
        assert "50% half of it" in capsys.readouterr().out
        # It reports as long as the others do, and nobody hears of it.
        assert quiet.view().steps["a"].status == "running"
        assert quiet.view().steps["a"].progress is None
        assert not any(quiet.id in key for key in ProgressFile(tmp_path / ".kos").reports())
        (tmp_path / "gate").touch()
        for each in (quiet, run, default):
            each.result(timeout=20)
        assert run.view().steps["a"].progress is None
        assert [e["type"] for e in kos.get_execution_history(run)] == [
            "RunCreated", "RunLinked", "RunStarted", "StepScheduled", "StepCompleted", "RunCompleted",
        ]  # fmt: skip


def test_the_board_keeps_the_newest_and_no_more_than_its_bound(tmp_path: Path) -> None:
    board = ProgressBoard(tmp_path, lambda run: run != "silent", wall=lambda: 5)
    board.say("silent", "a", 1, "nobody hears this", None)
    board.take([(("r", f"a[{n}]", 1), f"{n}", None) for n in range(MOST + 10)])
    board.say("r", "a[10]", 1, "again", 1.0)
    reader = ProgressFile(tmp_path)
    until(lambda: any(report.message == "again" for report in reader.reports().values()))
    found = reader.reports()
    assert len(found) == MOST
    assert ("r", "a[9]", 1) not in found


def test_a_file_of_an_owner_that_is_gone_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text("[[1, 2")
    assert ProgressFile(tmp_path).reports() == {}
    ProgressBoard(tmp_path, lambda _: True)
    assert not (tmp_path / "progress.json").exists()

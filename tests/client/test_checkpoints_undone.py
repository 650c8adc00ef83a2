"""A checkpoint is restored in place although the run acted since: what it did is undone first."""

from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.client import CheckpointManager, RunWaits
from kos_runtime.definition import EngineSettings

TEXT = """
workflow:
  id: trip
  steps:
    - {id: flight, agent: "tests.team:Team", action: greet, inputs: {name: flight}, outputs: {text: text}}
    - id: hotel
      agent: "tests.team:Team"
      action: greet
      inputs: {name: hotel}
      outputs: {text: text}
      compensate: {agent: "tests.team:Team", action: UNDO, inputs: {INPUT}}
"""


def trip(folder: Path, undo: str, given: str) -> Path:
    path = folder / "trip.yaml"
    path.write_text(TEXT.replace("UNDO", undo).replace("INPUT", given))
    return path


def test_it_is_undone_and_then_done_again(tmp_path: Path) -> None:
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
        run = kos.start(trip(tmp_path, "greet", "name: $self.result.text"))
        run.result(timeout=20)
        checkpoints = CheckpointManager(kos)
        made = checkpoints.create_checkpoint(run, "flight")
        state = checkpoints.restore_from_checkpoint(made.id)
        assert state.completed_steps == ("flight",)
        assert run.result(timeout=20) == {"text": "hello hotel"}
        types = [line.type for line in run.events()]
        assert types.index("RunTakenBack") < types.index("RestoreBegun") < types.index("RunRestored")


def test_what_cannot_be_undone_waits_for_a_person_and_so_does_the_restore(tmp_path: Path) -> None:
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
        run = kos.start(trip(tmp_path, "fail", "kind: permanent"))
        run.result(timeout=20)
        checkpoints = CheckpointManager(kos)
        made = checkpoints.create_checkpoint(run, "flight")
        with pytest.raises(RunWaits, match="hotel:undo"):
            checkpoints.restore_from_checkpoint(made.id)
        kos.answer(run, "hotel:undo", {"note": "by telephone"})
        assert run.result(timeout=20) == {"text": "hello hotel"}

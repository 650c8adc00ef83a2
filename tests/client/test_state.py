"""What a run is, with the mission's fields; and its checkpoints."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import kos_runtime
from kos_runtime.client import CheckpointManager, RunFailed, RunWaits, WorkflowStateManager
from kos_runtime.client.checkpoint import CheckpointLost
from kos_runtime.client.proof import verify_all
from kos_runtime.core.errors import InvalidDefinition, NotFound, Unreachable
from kos_runtime.definition import EngineSettings
from tests.client.test_engine import files

__all__ = ["files"]
STEPS = """
workflow:
  id: steps
  inputs: [{name: who, type: string, required: true}]
  outputs: [{name: text, type: string}]
  steps:
    - {id: note, set: {seen: $inputs.who}}
    - {id: a, agent: "tests.team:Team", action: greet, inputs: {name: $inputs.who}, outputs: {text: text}, idempotent: true}
    - id: each
      for_each: {in: [x, y]}
      agent: "tests.team:Team"
      action: greet
      inputs: {name: $item}
      outputs: {texts: text}
      idempotent: true
    - {id: b, agent: "tests.team:Team", action: greet, inputs: {name: $steps.a.text}, outputs: {text: text}, idempotent: true}
"""
HUGE = """
workflow:
  id: huge
  steps:
    - {id: a, agent: "tests.team:Team", action: huge, inputs: {megabytes: 1}, outputs: {text: text}}
    - {id: c, agent: "tests.team:Team", action: fail, inputs: {kind: resource}}
  error_handling:
    - {step: c, on_failure: retry, max_retries: 1, backoff: {initial: 1ms}, fallback: by_hand}
"""


@pytest.fixture
def kos(files: Path) -> Iterator[kos_runtime.WorkflowEngine]:
    (files / "steps.yaml").write_text(STEPS)
    (files / "huge.yaml").write_text(HUGE)
    with kos_runtime.connect(files / ".kos", host="process", settings=EngineSettings()) as engine:
        yield engine


def _completed(kos: Any, files: Path, **more: Any) -> str:
    run = kos.start(files / "steps.yaml", who="you", **more)
    assert run.result(timeout=20) == {"text": "hello hello you"}
    return str(run.id)


# --- states


def test_a_state_has_the_missions_fields_folded_from_the_log(kos: Any, files: Path) -> None:
    run = _completed(kos, files)
    state = WorkflowStateManager(kos).load_state(run)
    assert (state.id, state.status, state.definition.workflow, state.current_step) == (run, "completed", "steps", "")
    assert set(state.completed_steps) == {"note", "a", "each", "b"}
    assert state.step_results["a"] == {"text": "hello you"}
    assert state.step_results["each"] == {"texts": ["hello x", "hello y"]}
    assert state.variables == {"seen": "you"}
    assert state.inputs == {"who": "you"}
    assert state.outputs == {"text": "hello hello you"}
    assert (state.failed_steps, state.errors, state.retry_counts) == ((), (), {})
    assert state.created_at.tzinfo is UTC
    assert state.created_at <= state.updated_at <= datetime.now(UTC)


def test_a_state_at_work_names_its_step_its_errors_and_its_retries(kos: Any, files: Path) -> None:
    run = kos.start(files / "huge.yaml")
    with pytest.raises(RunWaits):
        run.result(timeout=20)
    state = WorkflowStateManager(kos).load_state(run)
    assert (state.status, state.current_step) == ("running", "c")
    assert len(state.step_results["a"]["text"]) == 1_000_000
    assert [(error.type, error.step_id) for error in state.errors] == [("resource", "c")] * 2
    assert state.errors[0].message == "as it was told"
    assert state.errors[0].recoverable
    assert state.retry_counts == {"c": 1}


def test_a_state_is_also_what_it_was(kos: Any, files: Path) -> None:
    states = WorkflowStateManager(kos)
    run = _completed(kos, files)
    last = states.load_state(run).seq
    before = states.load_state(run, at=last - 1)
    assert before.status == "running"
    assert "b" not in before.completed_steps
    with pytest.raises(NotFound, match="its seqs are"):
        states.load_state(run, at=last + 1)


def test_a_state_is_saved_as_a_checkpoint_and_only_as_the_log_says(kos: Any, files: Path) -> None:
    states, checkpoints = WorkflowStateManager(kos), CheckpointManager(kos)
    run = _completed(kos, files)
    state = states.load_state(run, at=3)
    states.save_state(state)
    assert [checkpoint.id for checkpoint in checkpoints.list_checkpoints(run)] == [f"{run}@3"]
    for change in (
        {"status": "completed"},
        {"variables": {"seen": "me"}},
        {"outputs": {"text": "mine"}},
        {"digest": "0"},
    ):
        with pytest.raises(InvalidDefinition, match=f"is not what its log says: {next(iter(change))} differs"):
            states.save_state(replace(state, **change))
    with pytest.raises(NotFound):
        states.save_state(replace(state, seq=99))


def test_runs_are_found_by_status_and_what_is_active(kos: Any, files: Path) -> None:
    states = WorkflowStateManager(kos)
    done = _completed(kos, files)
    waits = kos.start(files / "huge.yaml")
    with pytest.raises(RunWaits):
        waits.result(timeout=20)
    made = kos.create_workflow(files / "greet.yaml", {"who": "you"})
    assert [state.id for state in states.get_workflows_by_status("completed")] == [done]
    assert [state.id for state in states.get_workflows_by_status("waiting")] == [waits.id]
    assert [state.id for state in states.get_active_workflows()] == [made.id, waits.id]
    with pytest.raises(InvalidDefinition, match="no run is ever 'done'"):
        states.get_workflows_by_status("done")


def test_completed_runs_are_archived_and_failed_ones_purged_by_their_age(kos: Any, files: Path) -> None:
    _completed(kos, files)
    with pytest.raises(RunFailed):
        kos.start(files / "fail.yaml").result(timeout=20)
    now = datetime.now(UTC) + timedelta(seconds=5)
    states = WorkflowStateManager(kos)
    with pytest.raises(Unreachable, match="kos down"):
        states.archive_completed_workflows(now)
    kos.close()
    away = WorkflowStateManager(kos_runtime.connect(files / ".kos", settings=EngineSettings()))
    assert away.archive_completed_workflows(now - timedelta(days=1)) == 0
    assert away.archive_completed_workflows(now) == 1
    assert away.purge_failed_workflows(now) == 1
    assert away.purge_failed_workflows(now) == 0
    assert away.get_workflows_by_status("failed") == []
    assert verify_all(away._engine.reading).problem == ""
    with pytest.raises(InvalidDefinition, match="time zone"):
        away.purge_failed_workflows(datetime(2026, 1, 1))  # noqa: DTZ001 - what is refused


# --- checkpoints


def test_a_checkpoint_is_made_listed_restored_in_place_and_deleted(kos: Any, files: Path) -> None:
    checkpoints = CheckpointManager(kos)
    run = _completed(kos, files)
    made = checkpoints.create_checkpoint(run, "a")
    assert (made.run, made.step, made.automatic) == (run, "a", False)
    assert made.id == f"{run}@{made.seq}"
    assert checkpoints.list_checkpoints(run) == [made]
    state = checkpoints.restore_from_checkpoint(made.id)
    assert state.id == run
    assert "b" not in state.completed_steps
    assert kos.result(run, timeout=20) == {"text": "hello hello you"}
    assert verify_all(kos.reading).problem == ""
    checkpoints.delete_checkpoint(made.id)
    assert checkpoints.list_checkpoints(run) == []
    with pytest.raises(NotFound, match="no checkpoint"):
        checkpoints.delete_checkpoint(made.id)


def test_a_checkpoint_is_restored_as_a_run_of_its_own(kos: Any, files: Path) -> None:
    checkpoints = CheckpointManager(kos)
    run = _completed(kos, files)
    made = checkpoints.create_checkpoint(run, "a")
    state = checkpoints.restore_from_checkpoint(made.id, fork=True)
    assert state.id != run
    assert state.step_results["a"] == {"text": "hello you"}
    assert kos.result(state.id, timeout=20) == {"text": "hello hello you"}
    assert kos.view(state.id).forked_from["seq"] == made.seq


def test_in_place_is_refused_when_something_was_felt_outside(kos: Any, files: Path) -> None:
    checkpoints = CheckpointManager(kos)
    run = kos.start(files / "huge.yaml")
    with pytest.raises(RunWaits):
        run.result(timeout=20)
    made = checkpoints.create_checkpoint(run, "a")
    head = kos.reading.log.head()
    with pytest.raises(InvalidDefinition, match="step 'c' acted after seq"):
        checkpoints.restore_from_checkpoint(made.id)
    assert kos.reading.log.head() == head


@pytest.mark.parametrize("harm", ["lost", "cut", "flipped", "another's"])
def test_a_checkpoint_that_is_lost_or_damaged_costs_a_warning_and_nothing_else(
    kos: Any, files: Path, harm: str
) -> None:
    checkpoints = CheckpointManager(kos)
    run, other = _completed(kos, files), _completed(kos, files, name="other")
    made, others = checkpoints.create_checkpoint(run, "a"), checkpoints.create_checkpoint(other, "a")
    file = files / ".kos" / "checkpoints" / run / str(made.seq)
    content = file.read_bytes()
    match harm:
        case "lost":
            file.unlink()
        case "cut":
            file.write_bytes(content[: len(content) // 2])
        case "flipped":
            file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case _:
            file.write_bytes((files / ".kos" / "checkpoints" / other / str(others.seq)).read_bytes())
            assert "it is that of" in checkpoints.list_checkpoints(run)[0].damaged
    with pytest.warns(CheckpointLost, match="is not there" if harm == "lost" else "is damaged"):
        state = checkpoints.restore_from_checkpoint(made.id)
    assert state.step_results["a"] == {"text": "hello you"}
    assert kos.result(run, timeout=20) == {"text": "hello hello you"}
    assert verify_all(kos.reading).problem == ""


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("nonsense", InvalidDefinition, "write RUN@SEQ"),
        ("nobody@3", NotFound, "no run 'nobody'"),
        ("@latest@99", NotFound, "its seqs are"),
        ("@latest@x", InvalidDefinition, "write RUN@SEQ"),
    ],
)
@pytest.mark.filterwarnings("ignore::kos_runtime.client.checkpoint.CheckpointLost")
def test_a_checkpoint_that_cannot_be_is_said(
    kos: Any, files: Path, text: str, error: type[Exception], words: str
) -> None:
    _completed(kos, files)
    with pytest.raises(error, match=words):
        CheckpointManager(kos).restore_from_checkpoint(text)


def test_a_step_that_is_not_done_has_no_checkpoint(kos: Any, files: Path) -> None:
    run = _completed(kos, files)
    with pytest.raises(NotFound, match="step 'z' of run"):
        CheckpointManager(kos).create_checkpoint(run, "z")


def test_automatic_checkpoints_are_turned_on_and_off_and_it_is_in_the_log(kos: Any, files: Path) -> None:
    checkpoints = CheckpointManager(kos)
    run = kos.create_workflow(files / "steps.yaml", {"who": "you"})
    assert checkpoints.enable_auto_checkpoint(run, timedelta(minutes=2))["event"] == "CheckpointsSet"
    assert checkpoints.disable_auto_checkpoint(run)["event"] == "CheckpointsSet"
    assert checkpoints.disable_auto_checkpoint(run)["event"] == ""
    events = [line.data for line in kos.events(run) if line.type == "CheckpointsSet"]
    assert events == [{"by": kos.author, "interval_ms": 120_000}, {"by": kos.author, "interval_ms": 0}]
    with pytest.raises(InvalidDefinition, match="1 s to 30 days"):
        checkpoints.enable_auto_checkpoint(run, timedelta(0))
    with pytest.raises(InvalidDefinition, match="1 s to 30 days"):
        checkpoints.enable_auto_checkpoint(run, timedelta(days=31))

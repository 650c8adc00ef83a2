"""A run and its children, as people see them and keep them: who waits, who is asked, what goes with whom."""

import contextlib
import json
from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.cli.outcome import WAITS
from kos_runtime.client import RunWaits, WorkflowEngine, retention
from kos_runtime.client.importing import import_run
from kos_runtime.client.proof import verify_all
from kos_runtime.client.reading import Reading
from kos_runtime.client.transfer import export_lines
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.workflow.spawning import is_child
from kos_runtime.definition import EngineSettings
from tests.oracle import check_store

Output = pytest.CaptureFixture[str]
PARENT = """
workflow:
  id: parent
  steps:
    - {id: deeper, workflow: {id: child, inputs: {who: $inputs.who}, parent_close: CLOSE}}
    - {id: after, agent: "tests.team:Team", action: greet, inputs: {name: $steps.deeper.text}, outputs: {text: text}}
"""
CHILD = """
workflow:
  id: child
  inputs: [{name: who, type: string, required: true}]
  outputs: [{name: text, value: $steps.a.text}]
  steps:
    - {id: ask, approval: {prompt: "greet ${{ $inputs.who }}?", timeout: 24h}}
    - {id: a, agent: "tests.team:Team", action: greet, inputs: {name: $inputs.who}, outputs: {text: text}}
"""


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a parent and a child that asks a person."""
    (tmp_path / "parent.yaml").write_text(PARENT.replace("CLOSE", "cancel"))
    (tmp_path / "child.yaml").write_text(CHILD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KOS_STORE", raising=False)
    monkeypatch.delenv("KOS_CATALOGUE", raising=False)
    return tmp_path


def engine(there: Path) -> WorkflowEngine:
    return kos_runtime.connect(there / ".kos", host="process", settings=EngineSettings())


def waits(kos: WorkflowEngine, who: str = "you", name: str = "p") -> tuple[str, str]:
    """Start a family and return its run and its child once the child waits for a person."""
    run = kos.start("parent.yaml", who=who, name=name)
    with pytest.raises(RunWaits) as waiting:
        run.result(timeout=30)
    (task,) = waiting.value.tasks
    assert (task["step"], task["kind"], task["prompt"]) == ("ask", "approval", f"greet {who}?")
    assert str(waiting.value) == f"run {run.id} waits for a person at ask of {task['run']}"
    return run.id, task["run"]


def ended(there: Path, who: str = "you") -> tuple[str, str]:
    with engine(there) as kos:
        run, child = waits(kos, who)
        kos.approve(child, "ask")
        assert kos.result(run, timeout=30) == {"text": f"hello hello {who}"}
    assert check_store(there / ".kos", created=[run]) == []
    return run, child


def test_a_parent_waits_and_names_its_child_with_what_is_asked_of_people(there: Path, capsys: Output) -> None:
    with engine(there) as kos:
        run, child = waits(kos)
        assert (kos.get_workflow_status(run), kos.get_workflow_status(child)) == ("waiting", "waiting")
        assert kos.view(run).steps["deeper"].status == "waiting"
    assert main(["get", run]) == 0
    shown = capsys.readouterr().out
    assert f"waits for run {child} at deeper: waiting   see: kos get {child}" in shown
    assert f"decide  kos approve {child} 'ask'" in shown
    assert main(["get", child]) == 0
    assert f"child of run {run}, step deeper" in capsys.readouterr().out
    assert main(["ls", "--waiting", "-o", "json"]) == 0
    rows = {row["run"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows[run]["step"], rows[run]["for"], rows[run]["who"]) == ("deeper", "child", [child])
    assert (rows[child]["step"], rows[child]["for"]) == ("ask", "approval")
    assert main(["ls", "-o", "json"]) == 0
    rows = {row["run"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows[run]["status"], rows[run]["waiting"]) == ("waiting", f"child: {child}")


def test_who_follows_a_run_that_waits_for_its_child_follows_the_child(
    there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine(there) as kos:
        run, child = waits(kos)
        log = kos.reading.log
        row, other = log.run(run), log.run(child)
        assert row is not None
        assert other is not None
        with monkeypatch.context() as patch:
            patch.setattr(log, "run", lambda _: other)
            for other.status, stands in (("running",) * 2, ("waiting",) * 2, ("paused",) * 2, ("completed", "running")):
                assert kos.reading.standing(row) == stands
    assert main(["wait", run]) == main(["wait", child]) == WAITS


def test_what_is_asked_of_a_child_can_be_decided_when_nobody_owns_the_store(there: Path) -> None:
    with engine(there) as kos:
        run, child = waits(kos)
    assert main(["approve", child, "ask"]) == 0
    with contextlib.closing(Reading(there / ".kos")) as reading:
        row = reading.log.run(run)
        assert row is not None
        assert (row.status, reading.standing(row)) == ("waiting", "interrupted")
    with engine(there) as kos:
        kos.resume(run)
        assert kos.result(run, timeout=30) == {"text": "hello hello you"}


def test_a_family_is_purged_together_and_not_before_its_root_has_ended(there: Path) -> None:
    with engine(there) as kos:
        run, child = waits(kos)
        assert kos.cancel_workflow(child)
    store = there / ".kos"
    with engine(there) as kos:
        _, its_child = waits(kos, "them", "q")
    with pytest.raises(InvalidDefinition, match="only what has ended"):
        retention.purge(store, [its_child], by="user:test")
    done = retention.purge(store, [run], by="user:test")
    assert [kept.run for kept in done] == [run, child]
    with contextlib.closing(Reading(store)) as reading:
        whole = verify_all(reading)
        assert (whole.problem, set(whole.gone)) == ("", {run, child})


def test_a_child_that_has_ended_is_kept_for_the_run_that_asked_for_it(there: Path) -> None:
    text = PARENT.replace("CLOSE", "cancel").replace(
        "after, agent", "then, approval: {prompt: go on?}}\n    - {id: after, agent"
    )
    (there / "parent.yaml").write_text(text)
    with engine(there) as kos:
        run, child = waits(kos)
        kos.approve(child, "ask")
        with pytest.raises(RunWaits):
            kos.result(run, timeout=30)
    with pytest.raises(InvalidDefinition, match=f"is a child in the family of run {run}, which is waiting"):
        retention.archive(there / ".kos", [child], by="user:test")
    with contextlib.closing(Reading(there / ".kos")) as reading:
        assert retention.collectable(reading, before=1 << 60) == []


def test_gc_takes_children_with_their_root_and_each_can_be_imported(there: Path, capsys: Output) -> None:
    run, child = ended(there)
    assert main(["gc", "--older", "0s", "--status", "completed", "--yes", "-o", "json"]) == 0
    assert [(line["run"], line["what"]) for line in json.loads(capsys.readouterr().out)] == [
        (run, "archived"),
        (child, "archived"),
    ]
    away = there / "away" / ".kos"
    for each in (run, child):
        import_run(away, str(there / ".kos" / "archive" / f"{each}.jsonl.gz"))
    with contextlib.closing(Reading(away)) as reading:
        assert reading.outputs(reading.view(run)) == {"text": "hello hello you"}
        assert reading.view(child).parent == {"run": run, "step": "deeper", "attempt": 1}
        assert verify_all(reading).problem == ""


def test_a_parent_that_was_brought_elsewhere_is_forked_and_calls_its_child_again(there: Path) -> None:
    run, child = ended(there)
    with contextlib.closing(Reading(there / ".kos")) as reading:
        (there / "parent.jsonl").write_text("".join(export_lines(reading, run)))
    away = there / "away"
    away.mkdir()
    import_run(away / ".kos", str(there / "parent.jsonl"))
    with engine(away) as kos:
        at = next(line.seq for line in kos.events(run) if line.type == "ChildRequested")
        copy = kos.fork(run, at)
        with pytest.raises(RunWaits) as waiting:
            copy.result(timeout=30)
        (task,) = waiting.value.tasks
        assert is_child(task["run"])
        assert task["run"] != child
        kos.approve(task["run"], "ask")
        assert copy.result(timeout=30) == {"text": "hello hello you"}


@pytest.mark.parametrize("close", ["cancel", "abandon"])
def test_an_abandoned_child_is_archived_when_it_has_ended_itself(there: Path, close: str) -> None:
    (there / "parent.yaml").write_text(PARENT.replace("CLOSE", close))
    with engine(there) as kos:
        run, child = waits(kos)
        kos.cancel_workflow(run, "enough", grace=0)
        assert kos.get_workflow_status(run) == "cancelled"
        assert kos.get_workflow_status(child) == ("cancelled" if close == "cancel" else "waiting")
    with contextlib.closing(Reading(there / ".kos")) as reading:
        found = [row.run for row in retention.collectable(reading, before=1 << 60)]
    assert found == ([run, child] if close == "cancel" else [run])
    if close == "abandon":
        retention.archive(there / ".kos", [run], by="user:test")
        with engine(there) as kos:
            kos.approve(child, "ask")
            assert kos.result(child, timeout=30) == {"text": "hello you"}
        with contextlib.closing(Reading(there / ".kos")) as reading:
            assert [row.run for row in retention.collectable(reading, before=1 << 60)] == [child]

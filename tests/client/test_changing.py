"""A running workflow is changed from a driver script: through its text, as a whole definition, into the log."""

from pathlib import Path
from typing import Any

import pytest

import kos_runtime
from kos_runtime.client import RevisionConflict, RunWaits
from kos_runtime.core.errors import InvalidDefinition, NotFound
from kos_runtime.definition import DefinitionError, EngineSettings

LINE = """
workflow:
  id: line
  outputs: [{name: text, type: string}]
  steps:
    - {id: a, agent: "tests.team:Team", action: greet, inputs: {name: a}, outputs: {text: text}}
    - {id: ask, agent: "tests.team:Team", action: fail, outputs: {text: text}, retry: {max_retries: 0}}
    - {id: b, agent: "tests.team:Team", action: greet, inputs: {name: b}, outputs: {text: text}}
    - {id: spare, on_demand: true, agent: "tests.team:Team", action: greet, inputs: {name: $steps.a.text}, outputs: {text: text}}
    - id: again
      loop:
        max_iterations: 2
        body: [{id: c, agent: "tests.team:Team", action: greet, inputs: {name: c}}]
  error_handling: [{step: ask, on_failure: manual}]
"""
NEW = {
    "id": "new",
    "agent": "tests.team:Team",
    "action": "greet",
    "inputs": {"name": "new"},
    "outputs": {"text": "text"},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "line.yaml"
    path.write_text(LINE)
    return path


def engine(file: Path, **more: Any) -> kos_runtime.WorkflowEngine:
    return kos_runtime.connect(file.parent / ".kos", host="process", settings=EngineSettings(**more))


def waiting(kos: kos_runtime.WorkflowEngine, file: Path) -> str:
    """Return a run that waits for a person behind its first step."""
    run = kos.start(file)
    with pytest.raises(RunWaits):
        run.result(timeout=20)
    return run.id


def done(kos: kos_runtime.WorkflowEngine, run: str) -> dict[str, Any]:
    kos.answer(run, "ask", {"text": "yes"})
    result = kos.result(run, timeout=20)
    assert kos.reading.status(kos.reading.find(run)) == "completed"
    return result


def executed(kos: kos_runtime.WorkflowEngine, run: str) -> list[str]:
    return [e["data"]["path"] for e in kos.get_execution_history(run) if e["type"] == "StepScheduled"]


def test_steps_are_added_removed_and_modified_and_the_log_says_by_whom_and_why(file: Path) -> None:
    with engine(file) as kos:
        run = waiting(kos, file)
        said = kos.add_step(run, NEW, after="ask", reason="one more")
        assert said["event"] == "PlanRevised"
        kos.remove_step(run, "again", reason="no need")
        kos.modify_step(run, "b", "inputs: {name: changed}")
        assert done(kos, run) == {"text": "hello changed"}
        assert executed(kos, run) == ["a", "ask", "new", "b"]
        view = kos.view(run)
        assert view.revision == 3
        assert [(c["change"], c["step"], c["fields"], c["reason"]) for c in view.changes] == [
            ("add_step", "new", ["action", "agent", "id", "inputs", "outputs"], "one more"),
            ("remove_step", "again", [], "no need"),
            ("modify_step", "b", ["inputs"], ""),
        ]
        assert {c["by"] for c in view.changes} == {kos.author}
        assert said["position"] == view.changes[0]["seq"]


def test_a_step_is_put_before_after_into_and_at_the_end(file: Path) -> None:
    with engine(file) as kos:
        run = waiting(kos, file)
        kos.add_step(run, {**NEW, "id": "p"}, before="b")
        kos.add_step(run, {**NEW, "id": "q"}, after="b")
        kos.add_step(run, {**NEW, "id": "r"}, into="again")
        kos.add_step(run, {**NEW, "id": "s"}, before="again/c")
        kos.add_step(run, {**NEW, "id": "t"})
        assert [c["step"] for c in kos.view(run).changes] == ["p", "q", "again/r", "again/s", "t"]
        done(kos, run)
        turn = [f"again#{i}/{id}" for i in range(2) for id in ("s", "c", "r")]
        assert executed(kos, run) == ["a", "ask", "p", "b", "q", *turn, "t"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda kos, run: kos.remove_step(run, "a"), "step 'a' can be seen|step a cannot be removed: it has completed"),
        (lambda kos, run: kos.modify_step(run, "a", {"inputs": {"name": "x"}}), "step a cannot change: it has completed"),
        (lambda kos, run: kos.modify_step(run, "ask", {"timeout": "5s"}), "step ask has begun"),
        (lambda kos, run: kos.add_step(run, {**NEW, "id": "b"}), "two steps of this body are named 'b'"),
        (lambda kos, run: kos.add_step(run, {**NEW, "depends_on": ["new2"]}), "names no step of its body: 'new2'"),
        (lambda kos, run: kos.add_step(run, {**NEW, "actoin": "x"}), "did you mean 'action'"),
        (lambda kos, run: kos.add_step(run, {**NEW, "action": "great"}), "no action 'great'; did you mean 'greet'"),
        (lambda kos, run: kos.add_step(run, {**NEW, "agent": "nobody"}), "no agent 'nobody'"),
        (lambda kos, run: kos.add_step(run, "id: [x"), "KOS"),
        (lambda kos, run: kos.add_step(run, {}), "expected a step"),
        (lambda kos, run: kos.add_step(run, NEW, after="bb"), "no step 'bb' in run .*; did you mean 'b'"),
        (lambda kos, run: kos.add_step(run, NEW, into="b"), "step 'b' of run .* has no steps in it"),
        (lambda kos, run: kos.add_step(run, NEW, after="b", before="b"), "at one place, not after and before"),
        (lambda kos, run: kos.modify_step(run, "b", {"id": "z"}), "keeps its id"),
        (lambda kos, run: kos.modify_step(run, "b", {"depends_on": ["again"]}), "wait for each other"),
        (lambda kos, run: kos.modify_step(run, "b", {"wait": {"for": "5m"}}), "do not go with wait"),
        (lambda kos, run: kos.modify_step(run, "b", {"inputs": {"name": "$steps.zzz.text"}}), "no step 'zzz'"),
        (lambda kos, run: kos.modify_step(run, "b", {}), "what changes of a step"),
    ],
)  # fmt: skip
def test_what_means_nothing_or_comes_too_late_is_refused_in_words(file: Path, change: Any, words: str) -> None:
    with engine(file) as kos:
        run = waiting(kos, file)
        with pytest.raises((InvalidDefinition, DefinitionError, NotFound), match=words):
            change(kos, run)
        assert kos.view(run).revision == 0
        done(kos, run)


def test_a_run_that_is_not_there_or_is_over_is_not_changed(file: Path) -> None:
    with engine(file) as kos:
        run = waiting(kos, file)
        done(kos, run)
        with pytest.raises(InvalidDefinition, match="is completed"):
            kos.add_step(run, NEW)
        with pytest.raises(NotFound):
            kos.add_step("f" * 12, NEW)


def test_a_change_to_another_revision_is_refused_and_one_without_is_made_again(file: Path, monkeypatch: Any) -> None:
    with engine(file) as kos:
        run = waiting(kos, file)
        kos.add_step(run, NEW, expected_revision=0)
        with pytest.raises(RevisionConflict, match="at revision 1, not 0"):
            kos.remove_step(run, "b", expected_revision=0)
        # Somebody is quicker, once: between reading the run and giving the change in.
        steer = kos._steer
        raced: list[int] = []

        def racing(message: Any) -> Any:
            if not raced:
                raced.append(1)
                kos.add_step(run, {**NEW, "id": "other"})
            return steer(message)

        monkeypatch.setattr(kos, "_steer", racing)
        kos.remove_step(run, "b")
        assert [c["change"] for c in kos.view(run).changes] == ["add_step", "add_step", "remove_step"]


def test_defaults_of_the_day_it_was_created_stay(file: Path) -> None:
    with engine(file, timeout_default_ms=77_000, retry_default=2) as kos:
        run = waiting(kos, file)
    with engine(file, timeout_default_ms=5, retry_default=9) as kos:
        kos.resume(run)
        kos.add_step(run, NEW)
        plan = kos.reading.plan(kos.view(run).plan)
        assert {step.timeout_ms for step in plan.body.steps} == {77_000}
        assert {policy.max_retries for policy in plan.policies if policy.rule == "default"} == {2}
        done(kos, run)


def test_it_is_changed_while_nobody_owns_the_store(file: Path) -> None:
    with engine(file) as kos:
        run = waiting(kos, file)
    away = kos_runtime.connect(file.parent / ".kos", settings=EngineSettings())
    away.remove_step(run, "again")
    away.close()
    with engine(file) as kos:
        kos.resume(run)
        done(kos, run)
        assert executed(kos, run) == ["a", "ask", "b"]


def test_a_step_on_demand_runs_only_by_hand_with_its_inputs_or_others(file: Path) -> None:
    with engine(file) as kos:
        run, other = waiting(kos, file), waiting(kos, file)
        assert kos.execute_step(run, "spare", {"name": "mine"}, reason="look")["event"] == "StepRequested"
        with pytest.raises(InvalidDefinition, match="has no input 'nam'; did you mean 'name'"):
            kos.execute_step(other, "spare", {"nam": "x"})
        with pytest.raises(InvalidDefinition, match="step b is not ready: it waits for ask"):
            kos.execute_step(run, "b")
        done(kos, run)
        assert "spare" in executed(kos, run)
        (found,) = [
            e
            for e in kos.get_execution_history(run)
            if e["data"].get("path") == "spare" and e["type"] == "StepCompleted"
        ]
        assert found["data"]["exposed"] == {"text": "hello mine"}
        done(kos, other)
        assert "spare" not in executed(kos, other)


def test_members_of_a_group_by_id_are_found_with_and_without_it(tmp_path: Path) -> None:
    file = tmp_path / "g.yaml"
    file.write_text(
        LINE.replace("  error_handling", "  parallel_groups: [{id: both, steps: [b, again]}]\n  error_handling")
    )
    with engine(file) as kos:
        run = waiting(kos, file)
        kos.modify_step(run, "both/b", {"inputs": {"name": "x"}})
        kos.modify_step(run, "b", {"inputs": {"name": "y"}})
        with pytest.raises(InvalidDefinition, match=r"'both' of run .* is a group"):
            kos.remove_step(run, "both")
        kos.remove_step(run, "again")
        done(kos, run)
        assert executed(kos, run) == ["a", "ask", "both/b"]


def test_a_workflow_of_a_template_file_is_changed(tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(
        "templates:\n  two:\n    steps:\n" + "\n".join(LINE.splitlines()[5:7]).replace("    - ", "      - ") + "\n"
    )
    with engine(file) as kos:
        run = kos.create_workflow(f"{file}#two").id
        kos.modify_step(run, "ask", {"action": "greet", "inputs": {"name": "z"}})
        kos.execute_workflow(run)
        assert kos.result(run, timeout=20) == {"text": "hello z"}


def test_a_step_goes_with_what_error_handling_says_of_it_alone(file: Path) -> None:
    file.write_text(
        file.read_text().replace("on_failure: manual}]", "on_failure: manual}, {step: [b, spare], on_failure: skip}]")
    )
    with engine(file) as kos:
        run = waiting(kos, file)
        kos.remove_step(run, "b")
        rules = [policy.rule for policy in kos.reading.plan(kos.view(run).plan).policies]
        assert rules[:2] == ["error_handling[0]", "error_handling[1]"], "each keeps its place"
        kos.remove_step(run, "spare")
        done(kos, run)

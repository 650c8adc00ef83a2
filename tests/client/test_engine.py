"""What a driver script holds, on a host in this process and a real store."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.client import RunFailed, RunWaits
from kos_runtime.core.errors import InvalidDefinition, NotFound
from kos_runtime.definition import EngineSettings

GREET = """
workflow:
  id: greet
  inputs: [{name: who, type: string, required: true}]
  outputs: [{name: text, type: string}]
  steps:
    - {id: a, agent: "tests.team:Team", action: greet, inputs: {name: $inputs.who}, outputs: {text: text}}
"""
ASK = """
workflow:
  id: ask
  outputs: [{name: text, type: string}]
  steps:
    - {id: a, agent: "tests.team:Team", action: fail, outputs: {text: text}}
  error_handling:
    - {step: a, on_failure: retry, max_retries: 0, fallback: by_hand}
"""
FAIL = """
workflow:
  id: broken
  steps:
    - {id: a, agent: "tests.team:Team", action: fail, inputs: {kind: dependency}, retry: {max_retries: 0}}
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, text in (("greet", GREET), ("ask", ASK), ("fail", FAIL)):
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def engine(files: Path) -> kos_runtime.WorkflowEngine:
    return kos_runtime.connect(files / ".kos", host="process", settings=EngineSettings())


def test_create_execute_result_and_history(files: Path) -> None:
    with engine(files) as kos:
        run = kos.create_workflow(files / "greet.yaml", {"who": "you"}, name="first")
        assert run.status() == "created"
        kos.execute_workflow(run)
        assert run.result(timeout=20) == {"text": "hello you"}
        assert [event["type"] for event in kos.get_execution_history(run)] == [
            "RunCreated", "RunLinked", "RunStarted", "StepScheduled", "StepCompleted", "RunCompleted",
        ]  # fmt: skip


def test_starting_by_key_twice_is_one_run(files: Path) -> None:
    with engine(files) as kos:
        first = kos.start(files / "greet.yaml", key="k", who="you")
        first.result(timeout=20)
        again = kos.start(files / "greet.yaml", key="k", who="you")
        assert (again.id, again.existing) == (first.id, True)
        with pytest.raises(InvalidDefinition, match="created with other inputs"):
            kos.start(files / "greet.yaml", key="k", who="me")


def test_a_failed_run_raises_what_was_recorded(files: Path) -> None:
    with engine(files) as kos:
        run = kos.start(files / "fail.yaml")
        with pytest.raises(RunFailed, match="dependency: as it was told") as caught:
            run.result(timeout=20)
        assert caught.value.error is not None
        assert caught.value.error["step"] == "a"


def test_a_manual_task_is_answered_while_nobody_owns_the_store_and_goes_on_later(files: Path) -> None:
    with engine(files) as kos:
        run = kos.start(files / "ask.yaml")
        with pytest.raises(RunWaits, match="waits for a person at a") as caught:
            run.result(timeout=20)
        assert caught.value.tasks[0]["fields"] == [["text", "any", True]]
    away = kos_runtime.connect(files / ".kos", settings=EngineSettings())
    with pytest.raises(InvalidDefinition, match="'text' is missing"):
        away.answer(run.id, "a", {})
    assert away.answer(run.id, "a", {"text": "by hand"})["event"] == "ManualTaskAnswered"
    assert away.get_workflow_status(run.id) in {"interrupted", "completed"}
    away.close()
    with engine(files) as kos:
        kos.resume(run.id)
        assert kos.result(run.id, timeout=20) == {"text": "by hand"}


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "'who': it is required"),
        ({"who": 3}, "expected string, got integer"),
        ({"who": "a", "whom": 1}, "did you mean 'who'"),
    ],
)
def test_inputs_that_do_not_fit_start_nothing(files: Path, inputs: dict[str, object], words: str) -> None:
    with engine(files) as kos, pytest.raises(InvalidDefinition, match=words):
        kos.start(files / "greet.yaml", inputs=inputs)


def test_everything_that_stands_against_linking_is_told_at_once(files: Path) -> None:
    (files / "bad.yaml").write_text(
        "workflow:\n  id: bad\n  steps:\n"
        '    - {id: a, agent: "tests.team:Team", action: greeet, inputs: {name: x}}\n'
        '    - {id: b, agent: "tests.team:Team", action: greet, inputs: {nam: x}}\n'
        "    - {id: c, agent: kPlaner, action: x}\n"
        "    - {id: d, coordination: {pattern: hierarchical}, action: x}\n"
    )
    with engine(files) as kos, pytest.raises(InvalidDefinition) as caught:
        kos.start(files / "bad.yaml")
    text = str(caught.value)
    for words in (
        "did you mean 'greet'?",
        "has no input 'nam'",
        "did you mean 'kPlanner'?",
        "coordination (at d) does not run",
    ):
        assert words in text


def test_a_run_that_is_not_there_is_not_found(files: Path) -> None:
    with engine(files) as kos:
        kos.start(files / "greet.yaml", who="you").result(timeout=20)
        with pytest.raises(NotFound, match="no run 'nope'"):
            kos.reading.find("nope")


def test_the_awaitable_engine_runs_several_side_by_side(files: Path) -> None:
    async def main() -> list[dict[str, object]]:
        async with kos_runtime.connect_async(files / ".kos", host="process", settings=EngineSettings()) as kos:
            runs = [await kos.start(files / "greet.yaml", who=who) for who in ("a", "b", "c")]
            return list(await asyncio.gather(*(run.result(20) for run in runs)))

    assert asyncio.run(main()) == [{"text": "hello a"}, {"text": "hello b"}, {"text": "hello c"}]


def test_an_oversize_result_names_the_step_and_is_not_retried(files: Path) -> None:
    (files / "huge.yaml").write_text(
        'workflow:\n  id: huge\n  steps:\n    - {id: a, agent: "tests.team:Team", action: huge, inputs: {megabytes: 100}}\n'
    )
    with engine(files) as kos:
        run = kos.start(files / "huge.yaml")
        with pytest.raises(RunFailed, match=r"validation: .*oversize.*a"):
            run.result(timeout=60)
        attempts = [e for e in kos.get_execution_history(run) if e["type"] == "StepScheduled"]
        assert len(attempts) == 1


def test_garbage_is_a_validation_failure_that_is_retried_within_the_budget(files: Path) -> None:
    (files / "garbage.yaml").write_text(
        "workflow:\n  id: garbage\n  steps:\n"
        '    - {id: a, agent: "tests.team:Team", action: garbage, retry: {max_retries: 2, backoff: {initial: 1ms, max: 2ms}}}\n'
    )
    with engine(files) as kos:
        run = kos.start(files / "garbage.yaml")
        with pytest.raises(RunFailed, match=r"invalid output from Team\.garbage"):
            run.result(timeout=20)
        assert sum(e["type"] == "StepScheduled" for e in kos.get_execution_history(run)) == 3


def test_a_hanging_action_times_out_and_says_after_what(files: Path) -> None:
    (files / "hang.yaml").write_text(
        "workflow:\n  id: hang\n  steps:\n"
        '    - {id: a, agent: "tests.team:Team", action: sleep, inputs: {seconds: 60.0}, timeout: 100ms, retry: {max_retries: 0}}\n'
    )
    with engine(files) as kos:
        run = kos.start(files / "hang.yaml")
        with pytest.raises(RunFailed, match="timed out after 100ms"):
            run.result(timeout=20)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (float("nan"), "no number that can be stored"),
        ("a\udcffb", "half a character"),
        ({1: 2}, "int is not allowed for map key"),
        (object(), "no plain data"),
    ],
    ids=["nan", "surrogate", "key", "object"],
)
def test_what_the_log_cannot_keep_is_refused_where_it_is_given(files: Path, value: object, what: str) -> None:
    (files / "any.yaml").write_text(GREET.replace("type: string, required", "type: any, required"))
    with engine(files) as kos:
        with pytest.raises(InvalidDefinition, match=what):
            kos.start(files / "any.yaml", inputs={"who": value})
        run = kos.start(files / "ask.yaml")
        with pytest.raises(RunWaits):
            run.result(timeout=20)
        with pytest.raises(InvalidDefinition, match=what):
            kos.answer(run, "a", {"text": value})
        assert run.status() == "waiting"


@pytest.mark.parametrize(
    "given", [{"name": "x" * 257}, {"name": "red \x1b[31m"}, {"key": "two\nlines"}, {"key": "k" * 257}]
)
def test_names_and_keys_are_bounded_and_can_be_shown(files: Path, given: dict[str, Any]) -> None:
    with engine(files) as kos, pytest.raises(InvalidDefinition, match="at most 256 characters, all of them printable"):
        kos.start(files / "greet.yaml", inputs={"who": "you"}, **given)


def test_many_runs_of_a_definition_are_created_at_once(files: Path) -> None:
    with engine(files) as kos:
        inputs = [{"who": str(n)} for n in range(20)]
        keys = [f"key-{n}" for n in range(20)]
        runs = kos.create_workflows(
            files / "greet.yaml", inputs, names=[f"n{n}" for n in range(20)], keys=keys, start=True
        )
        assert [run.result(timeout=20) for run in runs] == [{"text": f"hello {n}"} for n in range(20)]
        assert [kos.view(run.id).name for run in runs] == [f"n{n}" for n in range(20)]
        again = kos.create_workflows(files / "greet.yaml", inputs, keys=keys, start=True)
        assert [(run.id, run.existing) for run in again] == [(run.id, True) for run in runs]


@pytest.mark.parametrize(
    ("inputs", "more", "words"),
    [
        ([{"who": "a"}, {"hwo": "b"}], {}, "did you mean 'who'"),
        ([{"who": "a"}, {"who": object()}], {}, "cannot"),
        ([{"who": "a"}], {"names": ["x", "y"]}, "1 runs need as many names and keys, not 2"),
        ([{"who": "a"}, {"who": "b"}], {"keys": ["x", "y\n"]}, "printable"),
    ],
)
def test_when_one_of_many_is_wrong_none_is_created(
    files: Path, inputs: list[dict[str, Any]], more: dict[str, Any], words: str
) -> None:
    with engine(files) as kos:
        with pytest.raises(InvalidDefinition, match=words):
            kos.create_workflows(files / "greet.yaml", inputs, **more)
        kos.create_workflow(files / "greet.yaml", {"who": "you"})
        assert len(kos.reading.log.runs()) == 1


def test_a_failed_run_is_retried_where_it_failed(tmp_path: Path) -> None:
    (tmp_path / "fragile.py").write_text(
        "from pathlib import Path\nfrom agents import Agent, action\n\n\nclass Fragile(Agent):\n    @action\n"
        "    def look(self, path: str) -> dict[str, str]:\n"
        "        with open(path + '.log', 'a') as log:\n            log.write('x')\n"
        "        return {'text': Path(path).read_text()}\n"
    )
    (tmp_path / "flow.yaml").write_text(
        "workflow:\n  id: fragile\n  inputs: [{name: here, type: string}, {name: there, type: string}]\n"
        "  outputs: [{name: text, type: string}]\n  steps:\n"
        '    - {id: a, agent: "fragile:Fragile", action: look, inputs: {path: $inputs.here}}\n'
        '    - {id: b, agent: "fragile:Fragile", action: look, inputs: {path: $inputs.there}}\n'
        "  error_handling: [{step: b, on_failure: fail}]\n"
    )
    here, there = tmp_path / "here", tmp_path / "there"
    here.write_text("found")
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
        run = kos.start(tmp_path / "flow.yaml", here=str(here), there=str(there))
        with pytest.raises(RunFailed):
            run.result(timeout=20)
        with pytest.raises(NotFound, match="did not fail at step 'a'; failed: b"):
            kos.retry_step(run, "a")
        there.write_text("at last")
        assert kos.retry_step(run, "b", 2, reason="it is there now")["event"] == "RunReopened"
        assert run.result(timeout=20) == {"text": "at last"}
        with pytest.raises(InvalidDefinition, match="is completed"):
            kos.retry_step(run)
    assert ((tmp_path / "here.log").read_text(), (tmp_path / "there.log").read_text()) == ("x", "xx")


def test_a_fork_goes_on_from_an_event_with_what_is_set(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "two.yaml").write_text(
        "workflow:\n  id: two\n  inputs: [{name: who, type: string, required: true}]\n  outputs: [{name: text, type: string}]\n"
        "  steps:\n"
        '    - {id: a, agent: "tests.team:Team", action: greet, inputs: {name: $inputs.who}, outputs: {text: text}}\n'
        '    - {id: b, agent: "tests.team:Team", action: greet, inputs: {name: $steps.a.text}, outputs: {text: text}}\n'
    )
    with engine(files) as kos:
        run = kos.start(files / "two.yaml", who="you")
        assert run.result(timeout=20) == {"text": "hello hello you"}
        at = next(line.seq for line in run.events() if line.type == "StepCompleted")
        again = kos.fork(run, at, set={"steps.a.text": "another"}, name="second")
        assert again.result(timeout=20) == {"text": "hello another"}
        assert again.view().forked_from == {"run": run.id, "seq": at, "by": kos.author, "reason": ""}
        assert main(["get", again.id, "--store", str(files / ".kos")]) == 0
        assert "text: another" in capsys.readouterr().out
        assert main(["diff", run.id, again.id, "--store", str(files / ".kos")]) == 0
        assert "≠ a" in capsys.readouterr().out
        with pytest.raises(NotFound, match="its seqs are 1 to"):
            kos.fork(run, 99)
        with pytest.raises(InvalidDefinition, match=r"write steps\.STEP\.NAME"):
            kos.fork(run, at, set={"a.text": "x"})
        with pytest.raises(InvalidDefinition, match="kos fork"):
            kos.restore(run, at)
    from tests.oracle import check_store

    assert check_store(files / ".kos", created=[run.id, again.id]) == []

"""The command line: what it prints, and the code it ends with. Everything that only reads needs no owner."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.cli import COMMANDS, main
from kos_runtime.client import RunWaits
from kos_runtime.definition import EngineSettings
from tests.client.test_engine import ASK

Output = pytest.CaptureFixture[str]


def test_ls_lists_the_newest_first_with_stable_keys(there: Path, capsys: Output) -> None:
    assert main(["ls", "-o", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["status"] for row in rows] == ["waiting", "failed", "completed", "completed"]
    assert list(rows[0]) == [
        "run", "workflow", "version", "name", "status", "created", "updated", "waiting", "error", "started", "age", "idle",
        "steps_done", "steps",
    ]  # fmt: skip


@pytest.mark.parametrize("alias", ["list", "ps", "runs"])
def test_first_guesses_work(there: Path, capsys: Output, alias: str) -> None:
    assert main([alias, "-o", "name", "--status", "completed"]) == 0
    assert len(capsys.readouterr().out.split()) == 2


def test_get_shows_tree_error_and_outputs(there: Path, capsys: Output) -> None:
    assert main(["get", "good", "bad"]) == 0
    out = capsys.readouterr().out
    assert "✔ a" in out
    assert "hello you" in out
    assert "dependency: as it was told" in out


def test_get_of_a_waiting_run_says_what_to_type(there: Path, capsys: Output) -> None:
    assert main(["get", "open"]) == 0
    out = capsys.readouterr().out
    assert "by_hand" in out
    assert "text: any" in out
    assert "kos answer" in out


def test_get_as_json_has_stable_keys(there: Path, capsys: Output) -> None:
    assert main(["get", "good", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == [
        "run", "workflow", "version", "name", "author", "status", "created_at", "started_at", "ended_at", "seq", "inputs",
        "outputs", "error", "settings", "steps", "waits_for", "halted", "forked_from", "revision", "changes",
        "parent", "attributes", "gone",
    ]  # fmt: skip
    assert found["outputs"] == {"text": "hello you"}


def test_get_at_an_earlier_event_shows_the_run_as_it_was(there: Path, capsys: Output) -> None:
    assert main(["get", "good", "--at", "1", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "running"


def test_events_can_be_picked_and_streamed(there: Path, capsys: Output) -> None:
    assert main(["events", "good", "--type", "Step*", "-o", "jsonl"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["type"] for line in lines] == ["StepScheduled", "StepCompleted"]
    assert list(lines[0]) == ["seq", "offset", "time", "type", "cause", "epoch", "data"]


@pytest.mark.parametrize(
    ("run", "code"), [("good", 0), ("bad", 1), ("open", 6), ("nope", 4), ("@latest", 6), ("@failed", 1)]
)
def test_watch_ends_with_the_code_of_the_run(there: Path, run: str, code: int) -> None:
    assert main(["watch", run]) == code


def test_wait_for_something_that_does_not_come_times_out(there: Path) -> None:
    assert main(["wait", "open", "--for", "step=a", "--timeout", "50ms"]) == 6


def test_verify_is_happy_and_prints_a_head_that_can_be_given_back(there: Path, capsys: Output) -> None:
    assert main(["verify", "--all", "-o", "json"]) == 0
    head = json.loads(capsys.readouterr().out)["head"]
    assert main(["verify", "good", "--head", head]) == 0


def test_verify_names_an_altered_record(there: Path, tmp_path: Path, capsys: Output) -> None:
    copy = tmp_path / ".kos"
    copy.mkdir()
    source = sqlite3.connect(there / ".kos" / "events.db")
    target = sqlite3.connect(copy / "events.db")
    source.backup(target)
    source.close()
    target.execute("update events set payload=x'00' where offset=2")
    target.commit()
    target.close()
    assert main(["verify", "--all", "--store", str(copy)]) == 1
    assert "offset 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["rnu"], 2, "did you mean 'run'"),
        (["get", "nope"], 4, "no run 'nope'"),
        (["run", "nothing.yaml"], 4, "cannot be read"),
        (["run", "greet.yaml", "-p", "who"], 2, "NAME=VALUE"),
        (["run", "greet.yaml"], 3, "'who'"),
        (["run", "greet.yaml", "-p", "who=x", "-p", "hwo=y"], 3, "did you mean 'who'"),
        (["run", "greet.yaml", "--set", "agnts.x=1"], 3, "did you mean 'agents'"),
        (["answer", "open", "a", "{"], 3, "no JSON"),
        (["answer", "open", "a", "{}"], 3, "'text' is missing"),
        (["answer", "open", "b", '{"text": "x"}'], 4, "waits for no answer"),
        (["verify", "good", "--head", "x"], 3, "OFFSET:HASH"),
        (["ls", "--store", "/nowhere/at/all"], 4, "there is no store"),
    ],
)
def test_a_mistake_gets_words_and_a_code_and_no_traceback(
    there: Path, capsys: Output, arguments: list[str], code: int, words: str
) -> None:
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert words in captured.err + captured.out
    assert "Traceback" not in captured.err


def test_validate_tells_all_errors_with_their_places(there: Path, capsys: Output) -> None:
    (there / "wrong.yaml").write_text(
        "workflow:\n  id: w\n  steps:\n    - id: a\n      agnet: kPlanner\n      action: x\n"
    )
    assert main(["validate", "wrong.yaml"]) == 3
    err = capsys.readouterr().err
    assert "wrong.yaml:5:7: error[KOS102]: unknown key 'agnet' in step 'a'; did you mean 'agent'?" in err
    assert "^^^^^" in err


def test_validate_warns_of_what_is_only_not_here(there: Path, capsys: Output) -> None:
    (there / "later.yaml").write_text(
        "workflow:\n  id: w\n  steps:\n    - {id: a, coordination: {pattern: hierarchical}, action: x}\n"
    )
    assert main(["validate", "later.yaml"]) == 0
    assert "coordination (at a) does not run" in capsys.readouterr().err
    assert main(["validate", "later.yaml", "--strict"]) == 3


def test_validate_annotates_on_github(there: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    (there / "wrong.yaml").write_text(
        "workflow:\n  id: w\n  steps:\n    - id: a\n      agnet: kPlanner\n      action: x\n"
    )
    assert main(["validate", "wrong.yaml"]) == 3
    assert "::error file=wrong.yaml,line=5,col=7" in capsys.readouterr().out


@pytest.mark.parametrize("output", ["text", "mermaid", "dot", "svg", "json"])
@pytest.mark.parametrize("what", ["greet.yaml", "good"])
def test_graph_draws_definitions_and_runs(there: Path, capsys: Output, output: str, what: str) -> None:
    assert main(["graph", what, "-o", output]) == 0
    assert "a" in capsys.readouterr().out


def test_the_critical_path_is_the_longest_chain(there: Path, capsys: Output) -> None:
    step = '{{id: {id}, agent: "tests.team:Team", action: greet, inputs: {{name: x}}, depends_on: [{after}]}}'
    steps = [("a", ""), ("b", "a"), ("c", "b"), ("side", "a"), ("end", "c, side")]
    text = "workflow:\n  id: chain\n  execution_order: parallel\n  steps:\n"
    (there / "chain.yaml").write_text(text + "".join(f"    - {step.format(id=i, after=a)}\n" for i, a in steps))
    assert main(["graph", "chain.yaml", "--critical-path", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["steps"]
    assert [step["id"] for step in found if step["critical"]] == ["a", "b", "c", "end"]
    assert main(["graph", "chain.yaml", "--critical-path"]) == 0
    assert capsys.readouterr().out.count("★") == 4


def test_a_graph_of_thousands_of_steps_is_drawn(there: Path, capsys: Output) -> None:
    from kos_runtime.cli.graph import Sketch, graph

    steps = "".join(f"    - {{id: s{n}, set: {{x: {n}}}}}\n" for n in range(1_500))
    (there / "long.yaml").write_text(f"workflow:\n  id: long\n  steps:\n{steps}")
    assert graph("long.yaml", critical_path=True, common=Sketch(output="svg")) == 0
    assert capsys.readouterr().out.count("#c00") == 1_500


def test_schema_and_format(there: Path, capsys: Output) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert main(["format", "greet.yaml"]) == 0
    assert "id: greet" in capsys.readouterr().out


def test_doctor_looks_at_everything(there: Path, capsys: Output) -> None:
    assert main(["doctor", "-o", "json"]) == 0
    assert {"python", "ray", "store", "owner", "agents", "disk"} <= {
        r["check"] for r in json.loads(capsys.readouterr().out)
    }


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(shell: str, capsys: Output) -> None:
    assert main(["completion", "--shell", shell]) == 0
    assert "kos" in capsys.readouterr().out


def test_init_makes_a_project_that_passes_its_own_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "demo"]) == 0
    assert main(["init", "demo"]) == 3
    assert main(["validate", "demo/research.kos.yaml"]) in {0, 3}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "demo"],
        capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{Path(kos_runtime.__file__).parents[1]}:{tmp_path / 'demo'}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_has_help(capsys: Output) -> None:
    for name in COMMANDS:
        assert main([name, "--help"]) == 0
        assert f"kos {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "barred"),
    [
        (["--help"], ("ray", "pydantic", "yaml", "apsw")),
        (["ls"], ("ray", "pydantic")),
        (["get", "good"], ("ray", "pydantic")),
        (["events", "good"], ("ray", "pydantic")),
        (["verify", "--all"], ("ray", "pydantic")),
        (["validate", "greet.yaml"], ("ray", "httpx2", "asyncio")),
        (["graph", "greet.yaml"], ("ray",)),
    ],
)
def test_reading_imports_neither_ray_nor_what_it_does_not_need(
    there: Path, arguments: list[str], barred: tuple[str, ...]
) -> None:
    code = (
        "import sys; from kos_runtime.cli import main; main(sys.argv[1:]); "
        f"print([m for m in {barred!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False, cwd=there,
        env={**os.environ, "PYTHONPATH": str(Path(kos_runtime.__file__).parents[1])},
    )  # fmt: skip
    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_a_run_is_paused_and_cancelled_while_nobody_owns_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ask.yaml").write_text(ASK)
    with kos_runtime.connect(tmp_path / ".kos", host="process", settings=EngineSettings()) as kos:
        with pytest.raises(RunWaits):
            kos.start(tmp_path / "ask.yaml", name="open").result(timeout=20)
        author = kos.author
    assert main(["pause", "open", "--reason", "waiting for legal"]) == 0
    assert f'RunPaused by {author}: "waiting for legal"' in capsys.readouterr().out
    assert main(["ls", "--status", "paused", "-o", "jsonl"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["name"], row["waiting"]) == ("open", f"paused by {author}: waiting for legal")
    assert main(["get", "open"]) == 0
    assert "go on with: kos resume" in capsys.readouterr().out
    assert main(["pause", "open"]) == 0
    assert "it is so already" in capsys.readouterr().out
    assert main(["cancel", "open", "-o", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (list(said), said["type"]) == (["run", "seq", "type", "by"], "RunCancelled")
    assert main(["wait", "open"]) == 5
    capsys.readouterr()
    assert main(["cancel", "open"]) == 3
    assert "is cancelled" in capsys.readouterr().err
    assert main(["verify", "--all"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["cancel", "good"], 3, "is completed"),
        (["pause", "good"], 3, "is completed"),
        (["pause", "nobody"], 4, "nobody"),
        (["cancel", "open", "--grace", "soon"], 2, "not a duration: 'soon'"),
        (["cancel", "open", "--grace", "2d"], 3, "a grace of"),
        (["pause", "open", "--reason", "x" * 2_001], 3, "at most 2000 characters"),
        (["pause", "open", "--reason", "\x1b[31m"], 3, "printable"),
    ],
)
def test_what_cannot_be_paused_or_cancelled_is_refused(
    there: Path, capsys: Output, arguments: list[str], code: int, text: str
) -> None:
    assert main(arguments) == code
    assert text in capsys.readouterr().err

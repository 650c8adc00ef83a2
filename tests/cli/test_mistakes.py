"""What a new user types wrong: each answer says what, where and what to type next, with its exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.cli import COMMANDS, main

Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["xyzzy"], 2, ["no command 'xyzzy'", "kos --help"]),
        (["-o", "json"], 2, ["no command", "kos --help"]),
        (["run"], 2, ["FILE", "kos run --help"]),
        (["run", "greet.yml"], 4, ["did you mean greet.yaml"]),
        (["run", "."], 4, ["Is a directory"]),
        (["run", "greet.yaml#x"], 3, ["leave out #x"]),
        (["run", "greet.yaml"], 3, ["'who'", "kos run greet.yaml -p who=…"]),
        (["run", "fan.yaml", "--watch"], 2, ["--watch", "kos run --help"]),
        (["run", "-", "-f", "-"], 2, ["standard input"]),
        (["run", "greet.yaml", "--config", "fan.yaml"], 3, ["no engine configuration"]),
        (["ls", "--status", "complete"], 2, ["completed", "kos ls --help"]),
        (["ls", "--since", "yesterday"], 2, ["--since", "1h30m"]),
        (["ls", "--limit", "0"], 2, ["at least 1"]),
        (["ls", "--limit", "many"], 2, ["many"]),
        (["ls", "-q", "status == failed"], 2, ["$status", "kos ls -q"]),
        (["ls", "-q", "$stats == 1"], 2, ["did you mean $status"]),
        (["ls", "-q", "$age"], 2, ["true or false"]),
        (["ls", "-q", "$name > 3"], 2, ["no order"]),
        (["ls", "extra"], 2, ["'extra'", "kos ls --help"]),
        (["ls", "--color", "red"], 2, ["auto", "never"]),
        (["get", "goood"], 4, ["no run 'goood'", "kos ls"]),
        (["get", "good", "--at", "99"], 4, ["no event 99", "kos events"]),
        (["get", "good", "--at", "0"], 4, ["no event 0"]),
        (["events", "good", "bad"], 2, ["'bad'"]),
        (["events", "good", "--type", "Stp*"], 2, ["did you mean 'Step*'"]),
        (["events", "good", "--type", "StepComplete"], 2, ["did you mean 'StepCompleted'"]),
        (["events", "good", "--step", "aa"], 4, ["no step 'aa'", "did you mean a"]),
        (["events", "good", "--agent", "nobody"], 4, ["no agent 'nobody'", "there are"]),
        (["events", "good", "--tail", "-1"], 2, ["count from 0"]),
        (["wait", "good", "--for", "complete"], 2, ["did you mean 'completed'"]),
        (["wait", "good", "--for", "step=zz"], 4, ["no step 'zz'"]),
        (["wait", "good", "--timeout", "soon"], 2, ["--timeout"]),
        (["graph", "gret.yaml"], 4, ["did you mean greet.yaml"]),
        (["graph", "nothing"], 4, ["no file, and as a run"]),
        (["graph", "good", "-o", "png"], 2, ["mermaid"]),
        (["resume", "nope"], 4, ["no run 'nope'"]),
        (["answer", "open"], 2, ["STEP", "kos answer --help"]),
        (["answer", "-", "a", "-"], 2, ["standard input"]),
        (["answer", "open", "a", "[]"], 3, ["JSON object", "kos get"]),
        (["answer", "good", "a", "{}"], 3, ["completed", "kos get"]),
        (["validate"], 2, ["kos validate FILE"]),
        (["validate", "nope.yaml", "greet.yaml"], 4, ["nope.yaml cannot be read"]),
        (["verify"], 2, ["kos verify --all"]),
        (["schema", "-o", "no/such/folder"], 4, ["cannot be written"]),
        (["completion", "--shell", "tcsh"], 2, ["bash"]),
        (["completion", "remove"], 2, ["install"]),
        (["down", "--timeout", "x"], 2, ["--timeout"]),
        (["init", "greet.yaml"], 3, ["kos init DIR"]),
        (["init", "."], 3, ["not empty"]),
        (["agents", "--store", "nowhere"], 4, ["there is no store"]),
        (["down", "--store", "nowhere"], 4, ["there is no store"]),
    ],
)
def test_a_mistake_is_answered(there: Path, capsys: Output, arguments: list[str], code: int, words: list[str]) -> None:
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert not captured.out or arguments[0] == "validate"
    assert captured.err.startswith("error: ")
    for word in words:
        assert word in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_names_the_help_of_its_command(there: Path, capsys: Output, command: str) -> None:
    assert main([command, "--no-such-option"]) == 2
    assert f"see: kos {command} --help" in capsys.readouterr().err


def test_a_prefix_of_several_runs_lists_them(there: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    from kos_runtime.adapters.event_store.reader import SqliteLogReader

    every = SqliteLogReader.runs
    monkeypatch.setattr(
        SqliteLogReader, "runs", lambda self, prefix="", name=None, **more: every(self, **more) if name is None else []
    )
    assert main(["get", "a-prefix"]) == 4
    assert "could be any of" in capsys.readouterr().err


def test_a_store_that_may_not_be_read_is_no_traceback(there: Path, tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "events.db").write_bytes(b"this is no database" * 100)
    assert main(["ls", "--store", str(tmp_path)]) in {1, 7}
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")


def test_problems_of_linking_stand_at_the_key_that_they_are_about(there: Path, capsys: Output) -> None:
    (there / "wrong.yaml").write_text(
        "workflow:\n"
        "  id: w\n"
        "  steps:\n"
        "    - id: a\n"
        "      agent: kPlanner\n"
        "      action: decompose_research_gaol\n"
        "    - id: b\n"
        "      agent: kExecuter\n"
        "      action: x\n"
        "    - id: c\n"
        "      agent: kPlanner\n"
        "      action: decompose_research_goal\n"
        "      inputs:\n"
        "        topik: 3\n"
        "  error_handling:\n"
        "    - {step: a, on_failure: escalate, escalation_agent: nobody}\n"
    )
    assert main(["validate", "wrong.yaml", "wrong.yaml"]) == 3
    places = [line for line in capsys.readouterr().err.splitlines() if line.startswith("wrong.yaml")]
    assert [line.partition(" ")[0] for line in places] == [
        "wrong.yaml:6:15:", "wrong.yaml:8:14:", "wrong.yaml:14:9:", "wrong.yaml:14:16:", "wrong.yaml:16:57:",
    ]  # fmt: skip
    assert "topik" in places[3]


def test_one_driver_that_is_missing_is_said_once_for_all_templates(there: Path, capsys: Output) -> None:
    (there / "two.yaml").write_text(
        "templates:\n"
        "  one:\n    steps:\n      - {id: a, agent: kPlanner, action: decompose_research_goal, inputs: {topic: x}}\n"
        "  two:\n    steps:\n      - {id: a, agent: kPlanner, action: decompose_research_goal, inputs: {topic: x}}\n"
    )
    assert main(["validate", "two.yaml", "--set", "engine.storage.state_backend=postgresql"]) == 0
    assert capsys.readouterr().err.count("is not installed here") == 1


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_no_letter_costs_a_message(there: Path, encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kos_runtime", "graph", os.fsdecode(b"\xff\xfe.yaml")],
        capture_output=True, timeout=60, check=False, cwd=there,
        env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(Path(kos_runtime.__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 4
    assert done.stderr.startswith(b"error: ")


def test_a_full_disk_behind_standard_output_is_said(there: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "kos_runtime", "ls", "-o", "json"],
            stdout=full, stderr=subprocess.PIPE, timeout=60, check=False, cwd=there,
            env={**os.environ, "PYTHONPATH": str(Path(kos_runtime.__file__).parents[1])},
        )  # fmt: skip
    assert done.returncode != 0
    assert b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_strangers_file_is_checked_without_running_its_code(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "theirs.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    file = tmp_path / "theirs.yaml"
    file.write_text(
        'workflow:\n  id: w\n  steps:\n    - {id: a, agent: "theirs:A", action: go, inputs: {x: $inputs.y}}\n'
    )
    assert main(["validate", "--no-import", str(file)]) == 0
    err = capsys.readouterr().err
    assert "theirs.yaml:4:22: warning[KOS302]" in err
    assert "the agent theirs:A was not imported" in err
    assert not (tmp_path / "ran").exists()
    assert main(["validate", "--no-import", "--strict", str(file)]) == 3
    assert not (tmp_path / "ran").exists()
    main(["validate", str(file)])
    assert (tmp_path / "ran").exists(), "without the option it is imported"

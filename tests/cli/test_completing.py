"""What a shell offers at Tab: runs and steps, read from the store alone and before the parser is loaded."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kos_runtime.cli import main
from kos_runtime.cli.completing import VALUED
from kos_runtime.client.reading import Reading

Output = pytest.CaptureFixture[str]


@pytest.fixture
def ids(there: Path) -> dict[str, str]:
    reading = Reading(there / ".kos")
    try:
        return {row.name: row.run for row in reading.log.runs()}
    finally:
        reading.close()


def offered(capsys: Output, *words: str) -> dict[str, str]:
    assert main(["__complete", *words]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return dict(line.split("\t") for line in captured.out.splitlines())


@pytest.mark.parametrize("command", ["get", "show", "events", "watch", "wait", "verify", "graph"])
def test_runs_are_offered_by_id_and_name_with_what_they_are(ids: dict[str, str], capsys: Output, command: str) -> None:
    found = offered(capsys, command, "")
    assert set(ids.values()) | set(ids) | {"@latest", "@failed"} <= set(found)
    assert found[ids["bad"]] == "broken  failed  bad"


def test_what_is_typed_narrows_it_down_to_one_of_many(ids: dict[str, str], capsys: Output) -> None:
    assert ids["bad"] in offered(capsys, "get", ids["bad"][:4])
    assert ids["good"] not in offered(capsys, "get", ids["bad"][:6])
    assert "good" in offered(capsys, "get", "go")
    assert "bad" not in offered(capsys, "get", "go")


def test_only_runs_that_a_command_can_do_something_with_are_offered(ids: dict[str, str], capsys: Output) -> None:
    assert set(offered(capsys, "answer", "")) == {ids["open"], "open"}
    assert set(offered(capsys, "resume", "")) == {ids["open"], "open"}


def test_steps_of_the_run_that_was_named_are_offered(ids: dict[str, str], capsys: Output) -> None:
    assert set(offered(capsys, "answer", "open", "")) == {"a"}
    assert set(offered(capsys, "events", "wide", "--step", "")) == {"each", "each[0]", "each[1]", "each[2]"}
    assert set(offered(capsys, "events", "wide", "--step=ea")) >= {"each"}
    assert {"completed", "failed", "waiting", "step=each[1]"} <= set(offered(capsys, "wait", "wide", "--for", ""))


@pytest.mark.parametrize(
    "words",
    [
        ["answer", "open", "a", ""],
        ["get", "--output", ""],
        ["get", "-o", ""],
        ["ls", ""],
        ["ls", "-q", ""],
        ["run", ""],
        ["nothing", ""],
        ["events", "nope", "--step", ""],
        [""],
        [],
    ],
)
def test_nothing_is_offered_elsewhere(there: Path, capsys: Output, words: list[str]) -> None:
    assert offered(capsys, *words) == {}


def test_the_store_that_is_typed_is_the_one_that_is_read(ids: dict[str, str], capsys: Output, tmp_path: Path) -> None:
    empty = tmp_path / "none"
    assert offered(capsys, "get", "--store", str(empty), "") == {}
    assert offered(capsys, "get", f"--store={empty}", "") == {}
    assert set(ids) <= set(offered(capsys, "get", "--store", str(Path.cwd() / ".kos"), ""))


def test_a_damaged_store_offers_nothing_and_says_nothing(
    tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".kos").mkdir()
    (tmp_path / ".kos" / "events.db").write_bytes(b"no database" * 100)
    monkeypatch.chdir(tmp_path)
    assert offered(capsys, "get", "") == {}


def test_graph_offers_definitions_too(there: Path, capsys: Output, tmp_path: Path) -> None:
    assert "greet.yaml" in offered(capsys, "graph", "gr")
    (tmp_path / "sub").mkdir()
    (tmp_path / "x.txt").touch()
    assert offered(capsys, "graph", f"{tmp_path}/") == {f"{tmp_path}/sub/": ""}


def test_it_loads_neither_the_parser_nor_anything_larger(ids: dict[str, str]) -> None:
    code = (
        "import sys; from kos_runtime.cli import main; main(['__complete', 'events', 'wide', '--step', '']);"
        "main(['__complete', 'get', '']);"
        "print(*sorted({'ray', 'pydantic', 'cyclopts', 'rich', 'yaml', 'structlog'} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "each[1]" in done.stdout
    assert done.stderr.split() == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts_call_back_and_know_the_same_options_with_values(shell: str, capsys: Output) -> None:
    assert main(["completion", "--shell", shell]) == 0
    script = capsys.readouterr().out
    assert "__complete" in script
    if shell == "bash":
        listed = re.search(r"options_with_values='([^']*)'", script)
        assert listed is not None
        assert set(listed[1].split()) == VALUED | {"-q"}


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_a_run_and_a_step(ids: dict[str, str], tmp_path: Path, capsys: Output) -> None:
    assert main(["completion", "--shell", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out)
    kos = tmp_path / "kos"
    kos.write_text(f'#!/bin/sh\nexec {sys.executable} -m kos_runtime "$@"\n')
    kos.chmod(0o755)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(root)}

    def tab(*words: str) -> str:
        listed = " ".join(f"'{word}'" for word in words)
        code = f'source "{tmp_path}/script"; COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}; _kos; echo "${{COMPREPLY[@]}}"'
        done = subprocess.run(
            ["bash", "-c", code], capture_output=True, text=True, check=True, env=environment, timeout=60
        )
        return done.stdout.strip()

    assert tab("kos", "get", ids["good"][:8]) == ids["good"]
    assert tab("kos", "answer", "open", "") == "a"

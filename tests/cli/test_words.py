"""What is typed: shortened and other names, options before the command, a hyphen for standard input, the environment."""

import io
import json
from pathlib import Path

import pytest

from kos_runtime.cli import COMMANDS, main
from kos_runtime.cli.common import Options
from kos_runtime.cli.outcome import Exit
from kos_runtime.cli.words import arranged
from kos_runtime.core.errors import InvalidDefinition

KNOWN = {name: others for name, (_, others, _) in COMMANDS.items()}
Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["val", "x"], ["validate", "x"]),
        (["wat"], ["watch"]),
        (["li", "-q", "1"], None),
        (["lis"], ["ls"]),
        (["w"], None),
        (["describe", "x"], ["get", "x"]),
        (["tail", "x"], ["events", "--follow", "x"]),
        (["help", "run"], ["run", "--help"]),
        (["help"], ["--help"]),
        (
            ["-o", "json", "--store=x", "-q", "ls", "--limit", "3"],
            ["ls", "-o", "json", "--store=x", "-q", "--limit", "3"],
        ),
        (["--version"], ["--version"]),
        ([], []),
    ],
)
def test_words_are_put_in_order(typed: list[str], words: list[str] | None) -> None:
    if words is None:
        with pytest.raises(Exit, match="could be"):
            arranged(typed, KNOWN)
    else:
        assert arranged(typed, KNOWN) == words


def test_every_other_name_is_the_command(there: Path, capsys: Output) -> None:
    for name, others in KNOWN.items():
        for other in others:
            assert main([other, "--help"]) == 0
            assert f"kos {name}" in capsys.readouterr().out


def test_a_hyphen_reads_runs_from_standard_input(there: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["ls", "-o", "name"]) == 0
    names = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", io.StringIO(names))
    assert main(["get", "-", "-o", "name"]) == 0
    assert capsys.readouterr().out == names


def test_a_hyphen_reads_a_definition_from_standard_input(
    there: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (there / "greet.yaml").read_bytes()
    for command in ("validate", "format", "graph"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
        assert main([command, "-"]) == 0
    assert "greet" in capsys.readouterr().out


def test_every_option_is_read_from_the_environment(
    there: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOS_OUTPUT", "jsonl")
    monkeypatch.setenv("KOS_STATUS", "failed")
    assert main(["ls"]) == 0
    assert [json.loads(line)["name"] for line in capsys.readouterr().out.splitlines()] == ["bad"]
    assert main(["ls", "-o", "name", "--status", "waiting"]) == 0
    assert len(capsys.readouterr().out.split()) == 1
    monkeypatch.setenv("KOS_OUTPUT", "xml")
    assert main(["ls"]) == 2
    assert "KOS_OUTPUT" in capsys.readouterr().err


def test_what_is_always_typed_is_not_read_from_the_environment(
    there: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOS_RUN", "bad")
    monkeypatch.setenv("KOS_RUNS", "bad")
    assert main(["get", "good"]) == 0
    assert "greet" in capsys.readouterr().out
    assert main(["events", "-o", "jsonl", "--tail", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "ManualTaskRequested"


def test_the_namespace_of_the_actors_is_a_setting_and_an_option() -> None:
    assert Options().settings().ray_namespace == "kos"
    assert Options(namespace="team-a", set=["engine.ray.namespace=team-b"]).settings().ray_namespace == "team-a"
    assert Options(set=["engine.ray.namespace=team-b"]).settings().ray_namespace == "team-b"
    with pytest.raises(InvalidDefinition, match="'a b' is no name"):
        Options(namespace="a b").settings()
    assert arranged(["-n", "team-a", "ls"], KNOWN) == ["ls", "-n", "team-a"]

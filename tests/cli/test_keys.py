"""What machines read: the keys are those of ``docs/cli.md``, in that order, and every form prints the same data."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from kos_runtime.cli import main
from tests.cli.test_documentation import keys

Output = pytest.CaptureFixture[str]


def printed(capsys: Output, *arguments: str, codes: tuple[int, ...] = (0,)) -> Any:
    assert main([*arguments, "-o", "json"]) in codes
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "of", "codes"),
    [
        (["ls"], "ls", (0,)),
        (["get", "good"], "get", (0,)),
        (["events", "good"], "events", (0,)),
        (["watch", "good"], "get", (0,)),
        (["wait", "good"], "wait", (0,)),
        (["resume", "good"], "run", (0,)),
        (["graph", "good"], "graph", (0,)),
        (["validate", "later.yaml"], "validate", (0,)),
        (["verify", "good"], "verify", (0,)),
        (["doctor"], "doctor", (0, 1)),
        (["down"], "down", (0,)),
        (["init", "made"], "init", (0,)),
    ],
)
def test_the_keys_are_the_ones_on_the_page(
    there: Path, capsys: Output, arguments: list[str], of: str, codes: tuple[int, ...]
) -> None:
    (there / "later.yaml").write_text(
        "workflow:\n  id: w\n  steps:\n    - {id: a, coordination: {pattern: hierarchical}, action: x}\n"
    )
    found = printed(capsys, *arguments, codes=codes)
    assert list(found[0] if isinstance(found, list) else found) == keys(of)


def test_the_keys_inside_are_the_ones_on_the_page(there: Path, capsys: Output) -> None:
    waits = printed(capsys, "get", "open")
    assert list(waits["steps"][0]) == keys("get, a step")
    assert list(waits["waits_for"][0]) == keys("get, what it waits for")
    assert list(printed(capsys, "graph", "good")["steps"][0]) == keys("graph, a step")


def test_the_forms_print_the_same_data(there: Path, capsys: Output) -> None:
    document = printed(capsys, "get", "good")
    assert main(["get", "good", "-o", "yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == document
    assert main(["get", "good", "-o", "jsonl"]) == 0
    assert json.loads(capsys.readouterr().out) == document
    assert main(["get", "good", "-o", "name"]) == 0
    assert capsys.readouterr().out.strip() == document["run"]


def test_times_are_milliseconds_unless_iso_is_named(there: Path, capsys: Output) -> None:
    raw = printed(capsys, "get", "good")["created_at"]
    told = printed(capsys, "get", "good", "--time", "iso")["created_at"]
    assert isinstance(raw, int)
    assert told.endswith(f"{raw % 1000:03d}Z")


def test_nothing_but_data_goes_to_standard_output(there: Path, capsys: Output) -> None:
    assert main(["watch", "good", "wide", "-o", "jsonl", "-v"]) == 0
    captured = capsys.readouterr()
    assert [json.loads(line)["name"] for line in captured.out.splitlines()] == ["good", "wide"]
    assert "RunCompleted" in captured.err
    assert main(["watch", "good", "-q"]) == 0
    assert capsys.readouterr() == ("", "")

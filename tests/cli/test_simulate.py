"""``kos simulate``: what it prints, that a line repeats a run, how it shrinks what fails, and what it refuses."""

import json
import re
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from kos_runtime.cli import main

CREW = "kos_runtime.testing.crew:SimulatedCrew"
WORKFLOW = f"""
workflow:
  id: small
  inputs: [{{name: n, type: integer, required: true}}]
  steps:
    - {{id: one, agent: "{CREW}", action: add, inputs: {{a: $inputs.n, b: 1}}, outputs: {{v: v}}, retry: {{max_retries: 1}}}}
    - {{id: two, agent: "{CREW}", action: add, inputs: {{a: $steps.one.v, b: 1}}, outputs: {{v: v}}}}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(WORKFLOW)
    return "small.yaml"


def simulate(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any, str]:
    code = main(["simulate", *words, "-o", "json"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, err


def test_one_seed_is_told_as_one_object_and_is_the_same_each_time(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, first, _ = simulate(capsys, file, "-p", "n=1", "--seed", "3")
    assert code == 0
    assert (first["seed"], first["status"], first["violations"]) == (3, "completed", [])
    assert first["metrics"]["attempts"] == 2
    assert simulate(capsys, file, "-p", "n=1", "--seed", "3")[1] == first
    assert simulate(capsys, file, "-p", "n=1", "--seed", "4")[1]["trace_hash"] != first["trace_hash"]


def test_a_fault_aimed_at_an_attempt_hits_that_one(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, found, _ = simulate(capsys, file, "-p", "n=1", "--fault", "one:transient@1")
    assert (code, found["status"], found["metrics"]["retries"]) == (0, "completed", 1)
    code, found, _ = simulate(capsys, file, "-p", "n=1", "--fault", "one:transient@0")
    assert (code, found["status"]) == (1, "failed")
    assert "simulated, in one" in str(found["errors"])


def test_several_seeds_have_faults_of_their_own_which_repeat_each(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found, _ = simulate(capsys, file, "-p", "n=1", "--runs", "6", "--seed", "10")
    assert code == 0
    assert [row["seed"] for row in found] == list(range(10, 16))
    row = found[2]
    words = [word for text in row["faults"] for word in ("--fault", text)]
    assert simulate(capsys, file, "-p", "n=1", "--seed", "12", *words)[1]["trace_hash"] == row["trace_hash"]


def test_what_fails_prints_a_line_that_repeats_it_and_is_made_smaller(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = tmp_path / "night.yaml"
    scenario.write_text(
        f"scenario: {{workflow: {file}, inputs: {{n: 1}}, seed: 5, at_once: 2, expect: completed,"
        " faults: [delay, loss, reorder, 'two:permanent@0']}"
    )
    assert main(["simulate", str(scenario), "--shrink"]) == 1
    told = capsys.readouterr().err
    assert "expected was completed" in told
    first, smallest = re.findall(r"repeat it:  kos (.*)", told)
    assert "--fault two:permanent@0" in smallest
    assert "loss" in first
    assert "loss" not in smallest
    assert "--at-once" not in smallest
    assert main(shlex.split(smallest)) == 1


def test_people_read_tables(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", file, "-p", "n=1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("✔ completed")
    assert "FAIRNESS" in out
    assert main(["simulate", file, "-p", "n=1", "--runs", "4"]) == 0
    assert "✔ 4 worlds" in capsys.readouterr().out
    assert main(["simulate", file, "-p", "n=1", "--trace"]) == 0
    assert "begins r0-1-0 one@1" in capsys.readouterr().out


def test_it_is_drawn(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, more in (("one.svg", []), ("many.svg", ["--runs", "5"])):
        assert main(["simulate", file, "-p", "n=1", "--plot", name, *more]) == 0
        assert f"drawn into {name}" in capsys.readouterr().err
        root = ET.parse(tmp_path / name).getroot()
        texts = [element.text or "" for element in root.iter() if element.tag.endswith("text")]
        assert any(text.startswith("small.yaml") for text in texts)
        assert len(list(root.iter())) > 15
    assert any("one on SimulatedCrew" in title for title in _titles(tmp_path / "one.svg"))


def _titles(path: Path) -> list[str]:
    root = ET.parse(path).getroot()
    return [element.text or "" for element in root.iter() if element.tag.endswith("title")]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--plot", "x.png"], 2, "--plot draws SVG; write a name such as x.svg"),
        (["--plot", "nowhere/x.svg"], 2, "there is no folder nowhere"),
        (["--fault", "los"], 3, "did you mean 'loss'?"),
        (["--fault", "loss=2"], 3, "a number from 0 to 1"),
        (["--fault", "one:transien@1"], 3, "did you mean 'transient'?"),
        (["--runs", "0"], 3, "runs is 0; it is 1 to 1000000"),
        (["--partitions", "17"], 3, "partitions is 17"),
        (["--seed", "-1"], 3, "seed is -1"),
        (["--trace", "--runs", "2"], 2, "--trace is for one seed"),
    ],
)
def test_what_cannot_be_is_refused(
    file: str, words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", file, "-p", "n=1", *words]) == code
    assert said in capsys.readouterr().err


def test_inputs_that_are_missing_are_told(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", file]) == 3
    assert "write for example: kos simulate small.yaml -p n=…" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scenario: {workflow: small.yaml, sed: 1}", "unknown key 'sed' in scenario; did you mean 'seed'?"),
        ("scenario: {seed: 1}", "a scenario names its workflow"),
        ("scenario: {workflow: small.yaml, runs: many}", "runs is a whole number"),
        ("scenario: {workflow: small.yaml, expect: done}", "expect is some of completed"),
        ("scenario: {workflow: small.yaml, people: {approve: 2}}", "approve is a share"),
        ("scenario: {workflow: nothing.yaml}", "nothing.yaml"),
        ("scenario: 3", "holds no scenario"),
    ],
)
def test_a_scenario_that_is_wrong_is_refused(
    file: str, tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.yaml").write_text(text)
    assert main(["simulate", "s.yaml"]) in {3, 4}
    assert said in capsys.readouterr().err

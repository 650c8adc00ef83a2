"""docs/simulating.md says what is there: faults, findings, scenarios, the fixture; and its scenario runs."""

import re
from pathlib import Path

import pytest

from kos_runtime.simulator.faults import KINDS, OF_A_STEP
from kos_runtime.testing import detectors
from kos_runtime.testing.metrics import COLUMNS
from kos_runtime.testing.plugin import Simulator

pytest_plugins = ["pytester"]

PAGE = (Path(__file__).parents[2] / "docs" / "simulating.md").read_text(encoding="utf-8")
WORKFLOW = """
workflow:
  id: research
  inputs: [{name: topic, type: string, required: true}]
  steps:
    - {id: plan, agent: "kos_runtime.testing.crew:SimulatedCrew", action: spread, inputs: {plan: [1, 2, 3]}, outputs: {tasks: data}}
    - id: gather
      for_each: {in: $steps.plan.tasks, as: task}
      agent: "kos_runtime.testing.crew:SimulatedCrew"
      action: add
      inputs: {a: $task, b: 1}
      outputs: {notes: v}
"""


def rows(after: str) -> dict[str, str]:
    table = PAGE[PAGE.index(after) :].split("\n\n")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| (.+) \|$", table, re.MULTILINE))


def test_every_fault_is_told_and_no_other() -> None:
    assert rows("| kind | what happens |") == {kind: text for kind, (_, text) in KINDS.items()}
    for kind in OF_A_STEP:
        assert f"`{kind}`" in PAGE


def test_every_finding_is_told_and_no_other() -> None:
    assert rows("| finding | says |") == detectors.KINDS


def test_every_number_is_told_and_no_other() -> None:
    assert rows("| number | says |") == {name: says for name, (_, says) in COLUMNS.items()}


def test_the_rare_situations_are_named_before_they_are_counted() -> None:
    from tests.proof.simulation import SOMETIMES, SOMETIMES_EVENTS

    told = re.findall(r"^- (.+)$", PAGE[PAGE.index("## Rare situations") :], re.MULTILINE)
    assert told == [*SOMETIMES, *(f"event: {name.replace('_', ' ')}" for name in SOMETIMES_EVENTS)]
    assert len(told) >= 40


def test_the_scenario_of_the_page_runs(tmp_path: Path) -> None:
    from kos_runtime.cli import main

    (text,) = re.findall(r"```yaml scenario\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "research.kos.yaml").write_text(WORKFLOW)
    (tmp_path / "night.yaml").write_text(text.replace("runs: 50", "runs: 5"))
    assert main(["simulate", str(tmp_path / "night.yaml")]) == 0


def test_the_fixture_of_the_page_runs(pytester: pytest.Pytester) -> None:
    conftest, test = re.findall(r"```python\n(pytest_plugins.*?)\n\n\n(def.*?)```", PAGE, re.DOTALL)[0]
    (pytester.path / "research.kos.yaml").write_text(WORKFLOW)
    pytester.makeconftest(conftest)
    pytester.makepyfile(test.replace("range(20)", "range(3)"))
    # In a process of its own: within this one, what is imported there first is taken out again, and is another later.
    pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_what_is_compiled_is_compiled_once(tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(WORKFLOW)
    simulator = Simulator(str(tmp_path), tmp_path)
    first = simulator("w.yaml", seed=3, faults=None, topic="x")
    again = simulator("w.yaml", seed=3, faults=None, topic="x")
    assert first.trace_hash == again.trace_hash
    assert len(simulator._definitions) == 1

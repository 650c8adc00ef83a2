"""A thousand agents in one world."""

from kos_runtime.definition import WorkflowDocument, load
from kos_runtime.simulator.faults import Faults
from kos_runtime.testing.simulation import prepare, simulate

TEXT = """
workflow:
  id: thousand
  inputs: [{name: items, type: array, required: true}]
  agents: {k: {agent: "kos_runtime.testing.crew:SimulatedCrew", replicas: {min: 1000, max: 1000}}}
  steps:
    - {id: many, for_each: {in: $inputs.items, as: n, on_item_failure: collect}, agent: k, action: slow, inputs: {a: $n, b: 1}, outputs: {v: v}}
"""


def test_a_thousand_agents_work_in_one_world() -> None:
    document = load(TEXT.encode(), "thousand.yaml")
    assert isinstance(document, WorkflowDocument)
    result = simulate(
        prepare(document), 1, Faults.parse(["loss=0.02", "late=0.02"]), inputs={"items": list(range(2_000))}
    )
    assert result.violations == []
    assert set(result.statuses.values()) == {"completed"}
    assert result.metrics.processes >= 1_000
    assert result.executed >= 2_000

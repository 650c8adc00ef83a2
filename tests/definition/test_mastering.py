"""What a step of master and slaves may say, and what is wrong with it."""

import pytest

from kos_runtime.composition.discovery import Registry
from kos_runtime.composition.linking import link
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.plan.model import Action, ForEach, Plan
from kos_runtime.definition import DefinitionError, EngineSettings, WorkflowDocument, compile_workflow, load


def compiled(settings: str, *, step: str = "", agent: str = "tests.team:Team", action: str = "greet") -> Plan:
    text = f"""
workflow:
  id: w
  inputs: [{{name: items, type: array}}]
  agents: {{crew: {{agent: "{agent}", replicas: 2}}}}
  steps:
    - {{id: a, coordination: {{pattern: master_slave{settings}}}, action: {action}, inputs: {{name: $inputs.items}}{step}}}
"""
    document = load(text, "w.yaml")
    assert isinstance(document, WorkflowDocument)
    return compile_workflow(document)[0]


def test_workers_are_the_processes_of_the_pool_and_tasks_are_items_or_parts() -> None:
    (step,) = compiled(", workers: crew, tasks: $inputs.items, lease: 2m, aggregate: as_completed").body.steps
    assert isinstance(step.form, ForEach)
    assert step.master is not None
    assert (step.master.workers, step.master.lease_ms, step.master.aggregate) == (
        ("crew-1", "crew-2"), 120_000, "as_completed",
    )  # fmt: skip
    (step,) = compiled(", workers: crew").body.steps
    assert isinstance(step.form, Action)
    assert step.spread


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("", "step 'a' needs workers: the pool that works"),
        (", workers: crew, lease: 0s", "lease"),
        (", workers: crew, lease: 100ms", "a lease of 100ms would run out between two signs of life"),
        (", workers: crew, peers: crew", "peers does not go with master_slave"),
        (", workers: crew, as: x", "as goes with tasks"),
        (", workers: crew, tasks: 3", "tasks: expected an array or a reference to one"),
        (", workers: crew, tasks: $inputs.items, as: steps", "'steps' is a name of the language"),
        (", workers: crew, tasks: $inputs.items, on_item_failure: sometimes", "fail_fast"),
        (", workers: crew, speculate: perhaps", "speculate"),
    ],
)
def test_what_is_wrong_is_said(settings: str, says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        compiled(settings)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (", workers: crew", "crew.greet does not say over what it is spread; name the tasks"),
        (
            ", workers: crew, tasks: $inputs.items, speculate: true",
            "speculate has work done twice, and neither the step",
        ),
        (", workers: crow, tasks: $inputs.items", "no agent 'crow' here"),
    ],
)
def test_what_cannot_be_linked_says_why(settings: str, says: str) -> None:
    with pytest.raises(InvalidDefinition, match=says):
        link(compiled(settings), Registry(), EngineSettings(), "")


@pytest.mark.parametrize("step", ["", ", idempotent: true"])
def test_what_may_be_done_twice_is(step: str) -> None:
    settings = ", workers: crew, tasks: $inputs.items" + (", speculate: true" if step else "")
    assert "crew" in link(compiled(settings, step=step), Registry(), EngineSettings(), "").link.agents

"""The mission's three blocks load as they are, and mean what the mission says of them."""

import hashlib
from pathlib import Path

import pytest

from kos_runtime.core.plan.model import Action, Backoff
from kos_runtime.definition import (
    EngineDocument,
    EngineSettings,
    TemplatesDocument,
    WorkflowDocument,
    compile_workflow,
    load,
    render,
)
from kos_runtime.definition.canonical import format_document

EXAMPLES = Path(__file__).parents[2] / "examples"
DIGESTS = {
    "extended.yaml": "d70735249dce2f1d97f1d7dec4642123434fb7d6bf853e569c72dc267699f1ef",
    "research-and-summarize.yaml": "33a36fc02196b98dba7658503eeba72df5064739aeff1ccab2cd13a8635050e1",
    "templates.yaml": "7ed765c0cd07075578cd6c21362719ffbf4fc50479a5c8c05109336ebaf22f51",
    "workflow-engine.yaml": "a1fe81c89d008d0f0d4d81b7b20a06884f631b1173b0f2cb62c11ab55f06ddf6",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_an_example_is_the_missions_own_byte_for_byte(name: str) -> None:
    assert hashlib.sha256((EXAMPLES / name).read_bytes()).hexdigest() == DIGESTS[name]


def _workflow(name: str) -> WorkflowDocument:
    document = load((EXAMPLES / name).read_bytes(), name)
    assert isinstance(document, WorkflowDocument)
    return document


def test_the_missions_workflow_loads_and_means_what_it_says() -> None:
    plan, warnings = compile_workflow(_workflow("research-and-summarize.yaml"))
    assert (plan.workflow, plan.version, plan.requires) == ("research-and-summarize", "1.0", ())
    planning, gathering, synthesis, check = plan.body.steps
    assert planning.form == Action(agent="kPlanner", action="decompose_research_goal")
    assert planning.outputs == (("research_plan", "plan"),)
    assert gathering.spread
    assert [step.after for step in plan.body.steps] == [
        (), ("planning",), ("information_gathering",), ("synthesis",),
    ]  # fmt: skip
    retry, escalate = plan.policies[gathering.policies[0]], plan.policies[synthesis.policies[0]]
    assert (retry.ladder, retry.max_retries, retry.fallback) == (("retry", "fallback", "fail"), 3, "manual_research")
    assert (escalate.ladder[0], escalate.escalation_agent) == ("escalate", "kCoordinator")
    default = plan.policies[check.policies[0]]
    assert (default.ladder, default.max_retries, default.backoff) == (("retry", "fail"), 3, Backoff())
    assert [(spec.name, spec.required, spec.default) for spec in plan.inputs] == [
        ("topic", True, None), ("depth", False, "moderate"),
    ]  # fmt: skip
    # A fallback that names nothing here is a warning: an action of that name, or a manual task.
    assert [render(problem).splitlines()[0] for problem in warnings] == [
        (
            "research-and-summarize.yaml:65:17: warning[KOS213]: fallback 'manual_research' names no step, workflow or "
            "template that is here; an action of the same agent, if it has one of that name, else a manual task"
        ),
    ]


def test_the_missions_configuration_loads() -> None:
    document = load((EXAMPLES / "workflow-engine.yaml").read_bytes(), "workflow-engine.yaml")
    assert isinstance(document, EngineDocument)
    settings = EngineSettings.from_document(document.content, "workflow-engine.yaml")
    assert settings.drivers() == {"state": "postgresql", "checkpoint": "s3", "audit": "elasticsearch"}


def test_the_missions_templates_load_and_each_is_a_workflow() -> None:
    document = load((EXAMPLES / "templates.yaml").read_bytes(), "templates.yaml")
    assert isinstance(document, TemplatesDocument)
    for name in ("simple_llm_chain", "research_workflow"):
        plan, warnings = compile_workflow(document.workflow(name))
        assert (plan.workflow, plan.requires, warnings) == (name, (), [])


def test_every_construct_of_the_grown_example_loads_and_what_does_not_run_is_named() -> None:
    plan, _ = compile_workflow(_workflow("extended.yaml"))
    assert [step.id for step in plan.body.steps][-4:] == ["announce", "await_ack", "give_up", "loop"]
    assert {requirement.feature for requirement in plan.requires} == {
        "conflicts between peers",
        "template",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["extended.yaml", "research-and-summarize.yaml"])
def test_an_example_round_trips(name: str) -> None:
    document = _workflow(name)
    again = load(format_document(document), name)
    assert isinstance(again, WorkflowDocument)
    assert compile_workflow(again)[0] == compile_workflow(document)[0]

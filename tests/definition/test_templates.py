"""Templates are compiled into the workflows that use them."""

from typing import Any

import pytest

from kos_runtime.core.plan import model
from kos_runtime.core.plan.check import faults
from kos_runtime.core.plan.plain import from_plain, to_plain
from kos_runtime.definition import DefinitionError, TemplatesDocument, WorkflowDocument, compile_workflow, load

CHAIN = """
templates:
  chain:
    inputs: [{name: who, type: string, required: true}, {name: times, type: integer, default: 1}]
    outputs: [{name: text, value: $steps.polish.text}]
    variables: {mark: "!"}
    agents: {writers: {agent: k, replicas: 2}}
    steps:
      - {id: draft, agent: writers, action: write, inputs: {who: "${{ $inputs.who + $vars.mark }}"}, outputs: {text: text}}
      - {id: polish, agent: k, action: write, inputs: {who: $steps.draft.text}, outputs: {text: text}}
    error_handling: [{step: draft, errors: [transient], on_failure: skip}]
"""


def templates(text: str = CHAIN) -> dict[str, WorkflowDocument]:
    document = load(text, "templates.yaml")
    assert isinstance(document, TemplatesDocument)
    return {name: document.workflow(name) for name in document.content}


def compiled(steps: str, more: str = "", text: str = CHAIN) -> model.Plan:
    document = load(f"workflow:\n  id: w\n  steps:\n    - {steps}\n{more}", "w.yaml")
    assert isinstance(document, WorkflowDocument)
    plan, _ = compile_workflow(document, templates=templates(text))
    return plan


def inlined(plan: model.Plan, index: int = 0) -> model.Inlined:
    form = plan.body.steps[index].form
    assert isinstance(form, model.Inlined)
    return form


def refusal(steps: str, text: str = CHAIN) -> str:
    with pytest.raises(DefinitionError) as error:
        compiled(steps, text=text)
    return str(error.value)


def test_a_template_brings_its_steps_inputs_outputs_and_variables() -> None:
    plan = compiled("{id: one, template: {use: chain, with: {who: you}}}")
    form = inlined(plan)
    assert [step.id for step in form.body.steps] == ["draft", "polish"]
    assert form.variables == {"mark": "!"}
    assert [spec.name for spec in form.outputs] == ["text"]
    assert plan.requires == ()
    assert faults(plan) == ()
    assert from_plain(to_plain(plan), model.Plan) == plan


def test_the_agents_of_a_template_are_its_own() -> None:
    plan = compiled("{id: one, template: {use: chain, with: {who: you}}}", "  agents: {writers: {agent: other}}\n")
    assert plan.pools["writers"].agent == "other"
    assert plan.pools["chain.writers"].most == 2
    draft, polish = inlined(plan).body.steps
    assert (draft.form.agent, polish.form.agent) == ("chain.writers", "k")  # type: ignore[union-attr]


def test_error_handling_of_a_template_is_asked_before_that_of_the_workflow() -> None:
    handlers = "  error_handling: [{step: draft, on_failure: manual}, {step: one/polish, on_failure: skip}]\n"
    plan = compiled("{id: one, template: {use: chain, with: {who: you}}}", handlers)
    rules = [[plan.policies[index].rule for index in step.policies] for step in inlined(plan).body.steps]
    assert rules == [["chain.error_handling[0]", "error_handling[0]"], ["error_handling[1]"]]


def test_two_uses_of_a_template_do_not_share_their_policies() -> None:
    plan = compiled(
        "{id: one, template: {use: chain, with: {who: a}}}\n    - {id: two, template: {use: chain, with: {who: b}}}"
    )
    for form in (inlined(plan), inlined(plan, 1)):
        assert [plan.policies[i].rule for i in form.body.steps[0].policies] == ["chain.error_handling[0]", "default"]


def test_a_template_sees_nothing_of_what_is_around_it() -> None:
    text = "templates:\n  t:\n    steps: [{id: a, agent: k, action: x, inputs: {v: $steps.before.v}}]\n"
    message = refusal("{id: before, agent: k, action: x}\n    - {id: one, template: {use: t}}", text)
    assert "templates.yaml:3:" in message
    assert "no step 'before' can be seen from here" in message


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{}", "KOS101]: the template chain needs the input 'who'"),
        ("{who: x, whom: y}", "KOS205]: the template chain has no input 'whom'; did you mean 'who'?"),
        ("{who: x, times: often}", "KOS103]: the input 'times' of the template chain: expected integer, got string"),
        ("{who: $steps.nothing.x}", "KOS201]: no step 'nothing' can be seen from here"),
    ],
)
def test_wrong_values_are_told_where_the_template_is_used(given: str, said: str) -> None:
    message = refusal(f"{{id: one, template: {{use: chain, with: {given}}}}}")
    assert message.startswith("w.yaml:4:")
    assert said in message


def test_templates_that_use_each_other_are_refused() -> None:
    text = "templates:\n  a: {steps: [{id: x, template: {use: b}}]}\n  b: {steps: [{id: y, template: {use: a}}]}\n"
    assert "templates use each other: a → b → a" in refusal("{id: one, template: {use: a}}", text)


def test_a_template_that_uses_itself_is_refused_when_it_runs_alone() -> None:
    document = templates("templates:\n  a: {steps: [{id: x, template: {use: a}}]}\n")["a"]
    with pytest.raises(DefinitionError, match="templates use each other: a → a"):
        compile_workflow(document)


def test_a_template_in_a_template_is_found_beside_it() -> None:
    text = CHAIN + "  outer: {steps: [{id: inner, template: {use: chain, with: {who: $inputs.name}}}]}\n"
    plan, _ = compile_workflow(templates(text)["outer"])
    assert [step.id for step in inlined(plan).body.steps] == ["draft", "polish"]


def test_a_template_that_is_nowhere_is_a_warning_and_a_requirement() -> None:
    document: Any = load("workflow:\n  id: w\n  steps: [{id: a, template: {use: chian}}]\n", "w.yaml")
    plan, warnings = compile_workflow(document, templates=templates())
    assert [requirement.feature for requirement in plan.requires] == ["template"]
    assert [warning.hint for warning in warnings] == ["did you mean 'chain'?"]


def test_a_timeout_of_a_sub_workflow_is_for_one_attempt_and_means_nothing_where_nobody_waits() -> None:
    text = "workflow:\n  id: w\n  steps:\n    - {id: a, workflow: {id: other, mode: MODE}, timeout: 5m}\n"
    for mode, timeout_ms, codes in (("await", 300_000, []), ("detach", 0, ["KOS214"])):
        document = load(text.replace("MODE", mode), "w.yaml")
        assert isinstance(document, WorkflowDocument)
        plan, warnings = compile_workflow(document)
        form = plan.body.steps[0].form
        assert isinstance(form, model.Child)
        assert (form.timeout_ms, [problem.code for problem in warnings]) == (timeout_ms, codes)
        assert plan.requires == ()

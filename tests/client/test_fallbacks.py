"""Fallbacks to templates and to workflows: what stands in for a step is given what that was given, and gives what it would."""

from pathlib import Path

import pytest

import kos_runtime
from kos_runtime.client import RunFailed, RunWaits, WorkflowEngine
from kos_runtime.composition.catalogue import Catalogue
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.definition import EngineSettings, TemplatesDocument, WorkflowDocument, compile_workflow, load

TEAM = '"tests.team:Team"'
TEMPLATES = f"""
templates:
  by_template:
    inputs: [{{name: kind, type: string, required: true}}]
    outputs: [{{name: text, value: "${{{{ $steps.say.text + '!' }}}}"}}]
    steps:
      - {{id: say, agent: {TEAM}, action: greet, inputs: {{name: $inputs.kind}}, outputs: {{text: text}}}}
  in_circles:
    steps: [{{id: again, agent: {TEAM}, action: fail, inputs: {{kind: permanent}}}}]
    error_handling: [{{step: again, on_failure: fallback, fallback: in_circles}}]
  with_own_step:
    inputs: [{{name: kind, type: string}}]
    outputs: [{{name: text, value: $steps.tries.text}}]
    steps:
      - {{id: tries, agent: {TEAM}, action: fail, inputs: {{kind: $inputs.kind}}, outputs: {{text: text}}}}
      - {{id: spare, agent: {TEAM}, action: greet, inputs: {{name: spare}}, outputs: {{text: text}}}}
    error_handling: [{{step: tries, on_failure: fallback, fallback: spare}}]
"""
WORKFLOW = f"""
workflow:
  id: by_workflow
  version: "1.0"
  inputs: [{{name: kind, type: string, required: true}}]
  outputs: [{{name: text, value: $steps.say.text}}]
  steps: [{{id: say, agent: {TEAM}, action: greet, inputs: {{name: "${{{{ 'child ' + $inputs.kind }}}}"}}, outputs: {{text: text}}}}]
"""
USES = f"""
workflow:
  id: uses
  outputs: [{{name: said, value: $steps.tries.SEEN}}]
  steps:
    - {{id: tries, agent: {TEAM}, action: fail, inputs: {{kind: permanent}}, outputs: {{SEEN: text}}}}
  error_handling: [{{step: tries, on_failure: LADDER, fallback: NAME}}]
"""


@pytest.fixture
def there(tmp_path: Path) -> Path:
    (tmp_path / "templates.yaml").write_text(TEMPLATES)
    (tmp_path / "by_workflow.yaml").write_text(WORKFLOW)
    return tmp_path


def engine(there: Path) -> WorkflowEngine:
    return kos_runtime.connect(there / ".kos", host="process", settings=EngineSettings())


def uses(there: Path, name: str, *, seen: str = "text", ladder: str = "fallback", text: str = USES) -> Path:
    path = there / "uses.yaml"
    path.write_text(text.replace("SEEN", seen).replace("LADDER", ladder).replace("NAME", name))
    return path


@pytest.mark.parametrize(
    ("name", "said"), [("by_template", "hello permanent!"), ("by_workflow", "hello child permanent")]
)
def test_it_is_given_what_the_step_was_given_and_its_result_passes_through_the_outputs_of_that(
    there: Path, name: str, said: str
) -> None:
    with engine(there) as kos:
        run = kos.start(uses(there, name, seen="heard"))
        assert run.result(timeout=30) == {"said": said}
        view = run.view()
        assert view.steps["tries"].status == "completed"
        stand_in = view.steps[f"tries~{name}"]
        assert stand_in.status == "completed"
        if name == "by_workflow":
            (child,) = kos.children(run)
            assert (child.id, child.view().parent) == (
                stand_in.child,
                {"run": run.id, "step": f"tries~{name}", "attempt": 1},
            )
        else:
            assert f"tries~{name}/say" in view.steps


@pytest.mark.parametrize("name", ["by_template", "by_workflow"])
def test_each_item_has_its_own(there: Path, name: str) -> None:
    text = USES.replace("{id: tries,", "{id: tries, for_each: {in: [permanent, security]},").replace(
        "kind: permanent", "kind: $item"
    )
    with engine(there) as kos:
        run = kos.start(uses(there, name, seen="texts", text=text))
        said = run.result(timeout=30)["said"]
        assert [one.removesuffix("!").split()[-1] for one in said] == ["permanent", "security"]
        assert {f"tries[0]~{name}", f"tries[1]~{name}"} <= set(run.view().steps)


def test_what_stands_in_and_fails_leaves_the_rest_of_the_ladder(there: Path) -> None:
    (there / "by_workflow.yaml").write_text(
        WORKFLOW.replace("action: greet, inputs: {name:", "action: fail, inputs: {kind: permanent, x:").replace(
            ", x: \"${{ 'child ' + $inputs.kind }}\"", ""
        )
    )
    with engine(there) as kos:
        run = kos.start(uses(there, "by_workflow", ladder="[fallback, manual]"))
        with pytest.raises(RunWaits) as waiting:
            run.result(timeout=30)
        assert [task["step"] for task in waiting.value.tasks] == ["tries"]
        kos.answer(run, "tries", {"text": "by hand"})
        assert run.result(timeout=30) == {"said": "by hand"}


def test_a_result_that_lacks_what_the_step_gives_is_a_failure_of_what_stands_in(there: Path) -> None:
    with engine(there) as kos:
        run = kos.start(uses(there, "by_template", text=USES.replace("SEEN: text", "SEEN: other")))
        with pytest.raises(RunFailed, match="has no 'other', which its output 'text' needs"):
            run.result(timeout=30)


def test_a_template_never_stands_in_for_a_step_of_its_own_twice(there: Path) -> None:
    with engine(there) as kos:
        run = kos.start(uses(there, "in_circles"))
        with pytest.raises(RunFailed):
            run.result(timeout=30)
        assert set(run.view().steps) == {"tries", "tries~in_circles", "tries~in_circles/again"}


def test_inside_a_template_a_fallback_is_a_step_of_that(there: Path) -> None:
    text = f"workflow: {{id: uses, steps: [{{id: t, template: {{use: with_own_step, with: {{kind: permanent}}}}}}, {{id: spare, agent: {TEAM}, action: greet, inputs: {{name: not this}}}}]}}"
    with engine(there) as kos:
        run = kos.start(uses(there, "", text=text))
        run.result(timeout=30)
        steps = run.view().steps
        assert steps["t/tries~spare"].status == "completed"
        assert "t/spare" not in steps
    with engine(there) as kos:
        # The same as a fallback: what stands in for its step lies in what stands in.
        run = kos.start(uses(there, "with_own_step"))
        assert run.result(timeout=30) == {"said": "hello spare"}
        assert "tries~with_own_step/tries~spare" in run.view().steps


def test_a_workflow_that_falls_back_on_itself_is_refused(there: Path) -> None:
    (there / "by_workflow.yaml").write_text(
        WORKFLOW + "  error_handling: [{step: say, on_failure: fallback, fallback: by_workflow}]\n"
    )
    with engine(there) as kos, pytest.raises(InvalidDefinition, match="call each other without an end: by_workflow"):
        kos.start(there / "by_workflow.yaml", kind="x")


def test_a_name_that_is_nothing_is_told_and_remains_a_persons_task(there: Path) -> None:
    document = load(USES.replace("SEEN", "t").replace("LADDER", "fallback").replace("NAME", "by_nobody"), "uses.yaml")
    assert isinstance(document, WorkflowDocument)
    plan, warnings = compile_workflow(document, templates=Catalogue(there))
    assert [problem.code for problem in warnings] == ["KOS213"]
    assert plan.policies[0].fallback_kind == ""
    kinds = []
    for name in ("by_template", "by_workflow"):
        text = USES.replace("SEEN", "t").replace("LADDER", "fallback").replace("NAME", name)
        document = load(text, "uses.yaml")
        assert isinstance(document, WorkflowDocument)
        plan, warnings = compile_workflow(document, templates=Catalogue(there))
        assert warnings == []
        kinds.append(plan.policies[0].fallback_kind)
    assert kinds == ["template", "workflow"]
    with engine(there) as kos:
        run = kos.start(uses(there, "by_nobody"))
        with pytest.raises(RunWaits):
            run.result(timeout=30)


def test_a_template_of_the_same_file_stands_in(there: Path) -> None:
    text = (
        TEMPLATES
        + f"""  uses:
    outputs: [{{name: said, value: $steps.tries.text}}]
    steps: [{{id: tries, agent: {TEAM}, action: fail, inputs: {{kind: permanent}}, outputs: {{text: text}}}}]
    error_handling: [{{step: tries, on_failure: fallback, fallback: by_template}}]
"""
    )
    assert isinstance(load(text, "templates.yaml"), TemplatesDocument)
    (there / "templates.yaml").write_text(text)
    with engine(there) as kos:
        assert kos.start(f"{there / 'templates.yaml'}#uses").result(timeout=30) == {"said": "hello permanent!"}

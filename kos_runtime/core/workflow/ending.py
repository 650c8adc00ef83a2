"""A run's end: its outputs, or why there are none."""

from typing import Any

from kos_runtime.core.expression import ExpressionError, Template, evaluate_template
from kos_runtime.core.failure import ErrorType, failure
from kos_runtime.core.plan.model import Group, Loop, OutputSpec
from kos_runtime.core.plan.types import misfit, word_for
from kos_runtime.core.record import INLINE_LIMIT
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.compensating import fail_run
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.inputs import exposed_names
from kos_runtime.core.workflow.state import Run, StepState
from kos_runtime.core.workflow.status import StepStatus
from kos_runtime.core.workflow.values import View, step_value


def end_run(desk: Desk) -> None:
    """Complete or fail a run of which nothing is left to do.

    Raises:
        NeedsData: An output lies in a blob that is not loaded.
    """
    run = desk.run
    assert run.program is not None
    scope = run.scopes[""]
    if scope.gave_up is not None:
        step = run.steps[scope.gave_up]
        fail_run(desk, step.error or {}, scope.gave_up)
        return
    outputs: dict[str, Any] = {}
    if run.program.plan.free_outputs:
        try:
            outputs = _last_exposed(run)
        except ExpressionError as error:
            _fail(desk, f"the outputs: {error}", "")
            return
    for spec, template in run.program.outputs:
        run.cache.begin()
        try:
            outputs[spec.name], maker = _output(run, spec, template)
        except (ExpressionError, LookupError) as error:
            message = f"output {spec.name!r}: {error.args[0] if isinstance(error, LookupError) else error}"
            _fail(desk, message, "")
            return
        problem = misfit(outputs[spec.name], spec.type)
        if problem is not None:
            made = f", made by step {maker}" if maker else ""
            _fail(desk, f"output {spec.name!r}: {problem}{made}", maker)
            return
    blobs: list[list[Any]] = []
    for name in list(outputs):
        try:
            packed, blob = desk.pack_large(outputs[name], INLINE_LIMIT // max(len(outputs), 1))
        except ValueError as error:
            _fail(desk, f"output {name!r}: {error}", "")
            return
        if packed is None and blob is not None:
            value = outputs.pop(name)
            length = len(value) if isinstance(value, str | list | dict) else 0
            blobs.append([name, blob.digest, blob.size, word_for(value), length])
    desk.emit(ev.RunCompleted(run.codec.pack(outputs), blobs))


def _fail(desk: Desk, message: str, step: str) -> None:
    error = failure(ErrorType.VALIDATION, message, step=step, recoverable=False)
    fail_run(desk, error.to_plain(), step)


def _output(run: Run, spec: OutputSpec, template: Template | None) -> tuple[Any, str]:
    """Return an output's value and the step that made it: the last that exposes the name, unless it is computed."""
    scope = run.scopes[""]
    if template is not None:
        reads = [str(r.path[0]) for r in template.references if r.root == "steps" and r.path]
        return evaluate_template(template, View(run, scope, None)), reads[-1] if reads else ""
    for step in reversed(_completed(run)):
        if not isinstance(step.node.form, Group | Loop) and spec.name in exposed_names(run, step):
            return step_value(run, step, (spec.name,)), step.path
    raise LookupError("no completed step exposes it")


def _completed(run: Run) -> list[StepState]:
    """Return the completed steps of the run's own body, in declaration order; members that keep their names too."""
    scope = run.scopes[""]
    found: list[StepState] = []
    for id, node in scope.body.nodes.items():
        step = run.steps.get(scope.step_path(id))
        if step is None:
            continue
        if isinstance(node.form, Group) and node.form.transparent and step.path in run.scopes:
            inner = run.scopes[step.path]
            members = (run.steps.get(inner.step_path(member)) for member in inner.body.nodes)
            found.extend(m for m in members if m is not None and m.status is StepStatus.COMPLETED)
        if step.status is StepStatus.COMPLETED:
            found.append(step)
    return found


def _last_exposed(run: Run) -> dict[str, Any]:
    """Return what the last step of the declaration exposes; of a group, the object of its members."""
    completed = _completed(run)
    if not completed:
        return {}
    value = step_value(run, completed[-1], ())
    if isinstance(value, dict):
        # ``result`` repeats what its own keys say.
        return {k: v for k, v in value.items() if k != "result"} or value
    return {"result": value}

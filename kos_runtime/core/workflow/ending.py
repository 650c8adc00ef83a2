"""A run's end: its outputs, or why there are none. A template's body ends the same way inside its run."""

from collections.abc import Iterable
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
from kos_runtime.core.workflow.state import Run, Scope, StepState
from kos_runtime.core.workflow.status import StepStatus
from kos_runtime.core.workflow.values import View, step_value


class NoOutputs(Exception):
    """A body is over and its outputs are not to be had. ``step`` is the id of the step that made a wrong one."""

    def __init__(self, message: str, step: str = "") -> None:
        super().__init__(message, step)
        self.message, self.step = message, step


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
    try:
        outputs, blobs = outputs_of(desk, scope, run.program.outputs, free=run.program.plan.free_outputs)
    except NoOutputs as problem:
        error = failure(ErrorType.VALIDATION, problem.message, step=problem.step, recoverable=False)
        fail_run(desk, error.to_plain(), problem.step)
        return
    desk.emit(ev.RunCompleted(run.codec.pack(outputs), blobs))


def outputs_of(
    desk: Desk, scope: Scope, specs: Iterable[tuple[OutputSpec, Template | None]], *, free: bool
) -> tuple[dict[str, Any], list[list[Any]]]:
    """Return what a body that is over gives: small values, and ``[name, digest, size, kind, length]`` of large ones.

    Raises:
        NoOutputs: One is missing, does not fit its type, or cannot be kept.
        NeedsData: One lies in a blob that is not loaded.
    """
    run = desk.run
    outputs: dict[str, Any] = {}
    if free:
        try:
            outputs = _last_exposed(run, scope)
        except ExpressionError as error:
            raise NoOutputs(f"the outputs: {error}") from error
    for spec, template in specs:
        run.cache.begin()
        try:
            outputs[spec.name], maker = _output(run, scope, spec, template)
        except (ExpressionError, LookupError) as error:
            why = error.args[0] if isinstance(error, LookupError) else error
            raise NoOutputs(f"output {spec.name!r}: {why}") from error
        problem = misfit(outputs[spec.name], spec.type)
        if problem is not None:
            made = f", made by step {maker}" if maker else ""
            raise NoOutputs(f"output {spec.name!r}: {problem}{made}", maker)
    try:
        return outputs, keep_large(desk, outputs)
    except ValueError as error:
        raise NoOutputs(str(error)) from error


def keep_large(desk: Desk, values: dict[str, Any], what: str = "output") -> list[list[Any]]:
    """Take what is large out of an object, and return it as ``[name, digest, size, kind, length]`` of blobs.

    Raises:
        ValueError: A value is no plain data, or larger than any may be.
    """
    blobs: list[list[Any]] = []
    share = INLINE_LIMIT // max(len(values), 1)
    for name in list(values):
        try:
            packed, blob = desk.pack_large(values[name], share)
        except ValueError as error:
            raise ValueError(f"{what} {name!r}: {error}") from error
        if packed is None and blob is not None:
            value = values.pop(name)
            length = len(value) if isinstance(value, str | list | dict) else 0
            blobs.append([name, blob.digest, blob.size, word_for(value), length])
    return blobs


def _output(run: Run, scope: Scope, spec: OutputSpec, template: Template | None) -> tuple[Any, str]:
    """Return an output's value and the step that made it: the last that exposes the name, unless it is computed."""
    if template is not None:
        reads = [str(r.path[0]) for r in template.references if r.root == "steps" and r.path]
        return evaluate_template(template, View(run, scope, None)), reads[-1] if reads else ""
    for step in reversed(_completed(run, scope)):
        if not isinstance(step.node.form, Group | Loop) and spec.name in exposed_names(run, step):
            return step_value(run, step, (spec.name,)), step.path
    raise LookupError("no completed step exposes it")


def _completed(run: Run, scope: Scope) -> list[StepState]:
    """Return the completed steps of a body, in declaration order; members that keep their names too."""
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


def _last_exposed(run: Run, scope: Scope) -> dict[str, Any]:
    """Return what the last step of the declaration exposes; of a group, the object of its members."""
    completed = _completed(run, scope)
    if not completed:
        return {}
    value = step_value(run, completed[-1], ())
    if isinstance(value, dict):
        # ``result`` repeats what its own keys say.
        return {k: v for k, v in value.items() if k != "result"} or value
    return {"result": value}

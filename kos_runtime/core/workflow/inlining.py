"""A template's steps run inside the run that uses it, with inputs, variables and outputs of their own."""

from typing import Any

from kos_runtime.core.expression import ExpressionError, evaluate_template
from kos_runtime.core.failure import ErrorType, failure
from kos_runtime.core.plan.model import Inlined
from kos_runtime.core.plan.types import complete_inputs
from kos_runtime.core.record import INLINE_LIMIT
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.dispatching import given_to
from kos_runtime.core.workflow.ending import NoOutputs, outputs_of
from kos_runtime.core.workflow.failing import fail_before_start
from kos_runtime.core.workflow.results import MissingOutput, exposed_of
from kos_runtime.core.workflow.state import StepState
from kos_runtime.core.workflow.values import View


def open_template(desk: Desk, step: StepState, form: Inlined) -> None:
    """Compute a template's inputs and begin its steps."""
    view = View(desk.run, step.scope, step)
    try:
        values = _given(desk, step, form, view)
        values, problems = complete_inputs(form, values)
        packed, blob = desk.pack_large(values, INLINE_LIMIT)
    except (ExpressionError, ValueError) as error:
        problems, packed, blob = [str(error)], None, None
    if problems:
        message = f"the template {form.template} of {step.path} cannot begin: {'; '.join(problems)}"
        error_of = failure(ErrorType.VALIDATION, message, step=step.path, recoverable=False)
        fail_before_start(desk, step.path, error_of)
        return
    stored = [blob.digest, blob.size] if blob is not None else None
    desk.emit(ev.TemplateOpened(step.path, form.template, packed or b"", stored))


def _given(desk: Desk, step: StepState, form: Inlined, view: View) -> dict[str, Any]:
    """Return what the step gives the template; without ``with``, the inputs of what is around that it declares.

    One that stands in for a step is given the inputs of that.
    """
    if step.node.values is not None:
        return {name: evaluate_template(value, view) for name, value in step.node.values.items()}
    around: dict[str, Any] = given_to(desk, step) if step.beside == "stand_in" else view.lookup("inputs", ())
    known = {spec.name for spec in form.inputs}
    return {name: value for name, value in around.items() if form.free_inputs or name in known}


def close_template(desk: Desk, step: StepState, form: Inlined) -> None:
    """A template's steps are over: what it gives is what its step exposes.

    Raises:
        NeedsData: Something of that lies in a blob that is not loaded.
    """
    scope = desk.run.scopes[step.path]
    try:
        values, blobs = outputs_of(desk, scope, step.node.results, free=form.free_outputs)
        exposed, kept = exposed_of(desk, step, values, blobs)
    except (NoOutputs, MissingOutput, ValueError) as problem:
        why = problem.message if isinstance(problem, NoOutputs) else str(problem)
        message = f"the template {form.template} of {step.path}: {why}"
        error = failure(ErrorType.VALIDATION, message, step=step.path, recoverable=False)
        desk.emit(ev.StepGaveUp(step.path, error.to_plain(), "outputs"))
        return
    desk.emit(ev.ResultJoined(step.path, exposed, kept))

"""A person starts one step: one that is ready, or that runs only when it is named."""

from typing import Any

from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan.model import Action
from kos_runtime.core.plan.types import misfit
from kos_runtime.core.record import INLINE_LIMIT
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, ExecuteStep, Rejected
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.progress import advance
from kos_runtime.core.workflow.revised import is_going
from kos_runtime.core.workflow.state import Run
from kos_runtime.core.workflow.status import RunStatus, StepStatus


def execute(desk: Desk, command: ExecuteStep) -> Accepted | Rejected:
    """Start a step, with inputs of its own or with those that are given; its ``when`` is not asked."""
    run, path = desk.run, command.path
    if run.status is not RunStatus.RUNNING:
        return _refused(f"run {run.id} is {run.status}: only a step of one that has begun and is not over is started")
    if run.cancelling is not None:
        return _refused(f"run {run.id} is being cancelled")
    if run.undoing is not None:
        return _refused(f"run {run.id} is over; what it completed is being undone")
    problem = _not_startable(run, path)
    if problem is not None:
        return problem
    packed, blob = None, None
    if command.inputs is not None:
        wrong = _wrong_inputs(run, path, command.inputs)
        if wrong:
            return Rejected(code="invalid", message=f"step {path} cannot be given that: {'; '.join(wrong)}")
        try:
            packed, blob = desk.pack_large(command.inputs, INLINE_LIMIT)
        except ValueError as error:
            return Rejected(code="invalid", message=f"the inputs of {path} cannot be kept: {error}")
    desk.emit(
        ev.StepRequested(
            path,
            command.by,
            command.reason,
            command.inputs is not None,
            packed,
            [blob.digest, blob.size] if blob is not None else None,
        )
    )
    if blob is not None:
        assert command.inputs is not None
        run.cache.put(blob.digest, blob.size, command.inputs)
    run.todo.append(path)
    advance(desk)
    return Accepted(run=run.id, event="StepRequested")


def _refused(message: str) -> Rejected:
    return Rejected(code="conflict", message=message)


def _not_startable(run: Run, path: str) -> Rejected | None:
    above, _, id = path.rpartition("/")
    scope = run.scopes.get(above)
    if scope is None or id not in scope.body.nodes:
        known = [other.step_path(name) for other in run.scopes.values() if is_going(other) for name in other.body.nodes]
        near = nearest(path, tuple(known[:10_000]))
        hint = f"; did you mean {near!r}?" if near else f"; there are {', '.join(known[:12]) or 'none'}"
        return Rejected(code="not_found", message=f"run {run.id} has no step {path!r}{hint}")
    step = run.steps.get(path)
    if step is not None and step.status is not StepStatus.READY:
        return _refused(f"step {path} is {step.status}: only one that has not begun is started")
    if not is_going(scope):
        return _refused(f"step {path} cannot be started: what it is in is over")
    node = scope.body.nodes[id]
    if step is None and scope.waits.get(id):
        open_ = [other for other in node.step.after if _is_open(run, scope.step_path(other))]
        return _refused(f"step {path} is not ready: it waits for {', '.join(open_)}")
    return None


def _is_open(run: Run, path: str) -> bool:
    step = run.steps.get(path)
    return step is None or step.status not in {StepStatus.COMPLETED, StepStatus.SKIPPED}


def _wrong_inputs(run: Run, path: str, inputs: dict[str, Any]) -> list[str]:
    """Return what does not fit of inputs that a person gives to an action."""
    above, _, id = path.rpartition("/")
    form = run.scopes[above].body.nodes[id].form
    if not isinstance(form, Action):
        return ["it is no action of an agent, so it takes no inputs"]
    assert run.link is not None
    action = run.link.agents[form.agent].actions.get(form.action)
    if action is None:
        return []
    found = []
    known = {parameter.name: parameter for parameter in action.parameters}
    for name, value in inputs.items():
        if name in known:
            wrong = None if value is None else misfit(value, known[name].type)
            found += [f"input {name!r}: {wrong}"] if wrong else []
        elif not action.takes_any:
            near = nearest(name, tuple(known))
            hint = f"; did you mean {near!r}?" if near else f"; it takes {', '.join(sorted(known)) or 'nothing'}"
            found.append(f"{form.agent}.{form.action} has no input {name!r}{hint}")
    found += [f"input {p.name!r} is needed" for p in action.parameters if p.required and p.name not in inputs]
    return found

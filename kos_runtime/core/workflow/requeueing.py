"""A person has a run that was set aside go on, or a step that ended its processes tried once more."""

from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow import reopening
from kos_runtime.core.workflow.commands import Accepted, Rejected, RequeueRun, RetryStep
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.failing import MAX_KILLS, broke_off, is_once
from kos_runtime.core.workflow.progress import advance
from kos_runtime.core.workflow.reopened import failed_steps
from kos_runtime.core.workflow.status import RunStatus


def requeue(desk: Desk, command: RequeueRun) -> Accepted | Rejected:
    """Take a run up where it was set aside; of a failed one, the step that was poison.

    Nobody listened while it was set aside, so whatever was open is sent again under a new fence.
    """
    run = desk.run
    if run.status is RunStatus.FAILED:
        return _poisoned(desk, command)
    if run.status is not RunStatus.QUARANTINED:
        what = "only one that was set aside, or failed of a poison step, is requeued"
        return Rejected(code="conflict", message=f"run {run.id} is {run.status}: {what}")
    if command.path:
        message = f"run {run.id} was set aside as a whole; requeue it without naming a step"
        return Rejected(code="invalid", message=message)
    has_begun = bool(run.scopes)
    desk.emit(ev.RunRequeued(command.by, command.reason))
    if not has_begun:
        desk.emit(ev.RunStarted())
    for path, fence in list(run.open.items()):
        step = run.steps[path]
        if is_once(step):
            broke_off(desk, step, "its run was set aside", 0.0)
        else:
            desk.emit(ev.StepRedispatched(path, fence, "its run was set aside"))
    run.todo.extend(run.agenda)
    advance(desk)
    return Accepted(run=run.id, event="RunRequeued")


def _poisoned(desk: Desk, command: RequeueRun) -> Accepted | Rejected:
    run = desk.run
    failed = failed_steps(run)
    if not failed or run.steps[failed[0]].kills < MAX_KILLS:
        message = f"run {run.id} has failed, and not of a poison step; kos retry tries again where it failed"
        return Rejected(code="conflict", message=message)
    again = RetryStep(run=run.id, path=command.path, retries=1, by=command.by, reason=command.reason)
    return reopening.retry(desk, again)

"""A person has a failed run go on: at a step that failed for good, with further attempts."""

from kos_runtime.core.nearest import nearest
from kos_runtime.core.workflow import by_hand
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, Rejected, RetryStep
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.progress import advance, count_anew
from kos_runtime.core.workflow.reopened import failed_steps
from kos_runtime.core.workflow.state import FENCES_A_LIFE, StepState
from kos_runtime.core.workflow.status import RunStatus

#: A step is given at most so many further attempts at a time.
MAX_FURTHER = 100


def retry(desk: Desk, command: RetryStep) -> Accepted | Rejected:
    """Reopen a failed run at one of its failed steps; the one at which it failed unless named."""
    run = desk.run
    if run.status is not RunStatus.FAILED:
        return Rejected(code="conflict", message=f"run {run.id} is {run.status}: only a failed one is retried")
    if run.undoing is not None:
        message = f"run {run.id} cannot go on: what it completed was undone; start a new run, or fork it"
        return Rejected(code="conflict", message=message)
    if not 1 <= command.retries <= MAX_FURTHER:
        return Rejected(code="invalid", message=f"{command.retries} further attempts; it is 1 to {MAX_FURTHER}")
    failed = failed_steps(run)
    path = command.path or (failed[0] if failed else "")
    if path not in failed:
        near = nearest(path, failed)
        hint = f"; did you mean {near!r}?" if near else f"; failed: {', '.join(failed) or 'none'}"
        return Rejected(code="not_found", message=f"run {run.id} did not fail at step {path!r}{hint}")
    # Whatever failed around it, this is what has to be tried again: a loop goes on in the turn that failed.
    step = run.steps[failed[0]]
    if command.way == "compensate":
        return _compensate(desk, command, step)
    refused = by_hand.refusal(desk, step, command)
    if refused is not None:
        return refused
    policies = run.program.plan.policies if run.program is not None else ()
    most = max((policies[index].max_retries for index in step.node.step.policies), default=0)
    life = run.fences // FENCES_A_LIFE + 1
    desk.emit(ev.RunReopened(command.by, command.reason, step.path, most - command.retries + 1, life))
    by_hand.take(desk, step, command)
    count_anew(desk)
    advance(desk)
    return Accepted(run=run.id, event="RunReopened")


def _compensate(desk: Desk, command: RetryStep, step: StepState) -> Accepted | Rejected:
    """Have what a failed run completed undone, whatever its ``compensation`` says; then it has failed once more."""
    run = desk.run
    if not run.undo:
        message = f"run {run.id} has completed no step that says how it is undone (compensate)"
        return Rejected(code="conflict", message=message)
    undone = list(reversed(run.undo))
    desk.emit(ev.CompensationStarted("failed", undone, step.error or {}, step.path, command.by, command.reason))
    advance(desk)
    return Accepted(run=run.id, event="CompensationStarted")

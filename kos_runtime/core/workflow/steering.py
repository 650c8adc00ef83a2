"""Pausing, going on and calling off: what people decide of a whole run.

A paused run starts nothing; what runs may end, and what that leads to waits in the agenda. A cancelled run asks what
runs to stop, waits a grace period, ends what has not stopped, and is over.
"""

from typing import Final

from kos_runtime.core.failure import ErrorType, failure
from kos_runtime.core.instant import format_duration
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.beside import RESTORED
from kos_runtime.core.workflow.calling_off import cancel_inside
from kos_runtime.core.workflow.commands import Accepted, CancelRun, PauseRun, Rejected, ResumeRun, SetCheckpoints
from kos_runtime.core.workflow.compensating import begin_undoing, fail_run
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.progress import advance, length_of
from kos_runtime.core.workflow.spawning import StopChild
from kos_runtime.core.workflow.state import CANCEL_TIMER, Run
from kos_runtime.core.workflow.status import RunStatus

#: No attempt is given longer than this to stop, in milliseconds.
MAX_GRACE_MS: Final = 86_400_000
#: A run's state is kept at most and at least so often, in milliseconds.
MIN_INTERVAL_MS: Final = 1_000
MAX_INTERVAL_MS: Final = 30 * 86_400_000


def pause(desk: Desk, command: PauseRun) -> Accepted | Rejected:
    """Start nothing more until the run is told to go on."""
    run = desk.run
    if run.status is not RunStatus.RUNNING:
        return Rejected(code="conflict", message=f"run {run.id} is {run.status}: only one that has begun can be paused")
    if run.cancelling is not None:
        return Rejected(code="conflict", message=f"run {run.id} is being cancelled")
    if run.paused is not None:
        return Accepted(run=run.id, existing=True)
    desk.emit(ev.RunPaused(command.by, command.reason))
    if run.deadline:
        desk.emit(ev.DeadlineSet(0, max(run.deadline - desk.now, 1)))
    return Accepted(run=run.id, event="RunPaused")


def resume(desk: Desk, command: ResumeRun) -> Accepted | Rejected:
    """Let a paused run go on. One that is not paused goes on anyway."""
    run = desk.run
    if run.paused is None:
        return Accepted(run=run.id, existing=True)
    if run.cancelling is not None:
        return Rejected(code="conflict", message=f"run {run.id} is being cancelled")
    desk.emit(ev.RunResumed(command.by, command.reason))
    if run.left_ms:
        desk.emit(ev.DeadlineSet(desk.now + run.left_ms, 0))
    run.todo.extend(run.agenda)
    advance(desk)
    return Accepted(run=run.id, event="RunResumed")


def set_checkpoints(desk: Desk, command: SetCheckpoints) -> Accepted | Rejected:
    """Have a run's state kept by an interval, or by none."""
    run = desk.run
    if not (command.interval_ms == 0 or MIN_INTERVAL_MS <= command.interval_ms <= MAX_INTERVAL_MS):
        return Rejected(code="invalid", message=f"an interval of {command.interval_ms} ms; it is 1 s to 30 days")
    if run.checkpoint_ms == command.interval_ms:
        return Accepted(run=run.id, existing=True)
    desk.emit(ev.CheckpointsSet(command.by, command.interval_ms))
    return Accepted(run=run.id, event="CheckpointsSet")


def cancel(desk: Desk, command: CancelRun) -> Accepted | Rejected:
    """Call a run off: at once if nothing of it runs, else when what runs has stopped or its grace is over.

    A second call may shorten the grace, and does nothing otherwise.
    """
    run = desk.run
    if run.status is RunStatus.CREATED:
        desk.emit(ev.RunCancelled(command.by, command.reason))
        return Accepted(run=run.id, event="RunCancelled")
    if run.status is not RunStatus.RUNNING:
        return Rejected(code="conflict", message=f"run {run.id} is {run.status}: it has ended already")
    if run.undoing is not None:
        if run.undoing["outcome"] == "cancelled":
            return Accepted(run=run.id, existing=True)
        why = "is taken back" if run.undoing["outcome"] == RESTORED else "has failed"
        return Rejected(code="conflict", message=f"run {run.id} {why}; what it completed is being undone")
    if not 0 <= command.grace_ms <= MAX_GRACE_MS:
        return Rejected(code="invalid", message=f"a grace of {command.grace_ms} ms; it is 0 to {MAX_GRACE_MS}")
    until = desk.now + command.grace_ms
    if run.cancelling is not None and until >= run.timers.get(CANCEL_TIMER, (0, 0))[0]:
        return Accepted(run=run.id, existing=True)
    first = run.cancelling is None
    desk.emit(
        ev.CancelRequested(command.by, command.reason, until, 1 if run.cancelling is None else run.cancelling[2] + 1)
    )
    if first:
        for path, fence in run.open.items():
            desk.stops.asked.append((run.steps[path].agent, path, fence))
    for child in _awaited(run):
        desk.owe(StopChild(child, _why(command.reason), command.grace_ms))
    if command.grace_ms == 0:
        kill(desk)
    else:
        end_when_empty(desk)
    return Accepted(run=run.id, event="CancelRequested" if run.status is RunStatus.RUNNING else "RunCancelled")


def ran_too_long(desk: Desk) -> None:
    """A run has taken as long as it may: what runs is called off, and it has failed."""
    run = desk.run
    if run.status is not RunStatus.RUNNING or run.cancelling is not None or not 0 < run.deadline <= desk.now:
        return
    if run.undoing is not None:
        # It is over already, but for what is undone.
        return
    length = length_of(run)
    # A child that took longer than an attempt of its step may is tried again like any attempt.
    by_step = run.parent is not None and run.parent[5] == length
    message = f"the run took longer than {format_duration(length)}"
    error = failure(ErrorType.TIMEOUT, message, recoverable=None if by_step else False)
    cancel_inside(desk, "", "the run timed out")
    fail_run(desk, error.to_plain(), "")
    advance(desk)


def kill(desk: Desk) -> None:
    """The grace is over: close the fences of what still runs, and have its processes ended."""
    run = desk.run
    assert run.cancelling is not None
    for path, fence in list(run.open.items()):
        desk.stops.killed.append((run.steps[path].agent, path, fence))
        desk.emit(ev.StepCancelled(path, fence, "it did not stop, and its process was ended"))
    end_when_empty(desk)


def stopped(desk: Desk, path: str, fence: int, why: str) -> None:
    """An attempt of a run that is being cancelled is over without a result: it is called off, not tried again."""
    desk.emit(ev.StepCancelled(path, fence, why))
    end_when_empty(desk)


def end_when_empty(desk: Desk) -> None:
    """End a run that is being cancelled, once nothing of it runs."""
    run = desk.run
    if run.open or run.cancelling is None or (run.children and _awaited(run)):
        return
    by, reason, _ = run.cancelling
    cancel_inside(desk, "", _why(reason))
    if begin_undoing(desk, "cancelled", by=by, reason=reason):
        advance(desk)
    else:
        desk.emit(ev.RunCancelled(by, reason))


def _why(reason: str) -> str:
    return "the run was cancelled" + (f": {reason}" if reason else "")


def _awaited(run: Run) -> list[str]:
    """Return the children that are called off with their parent, which waits for their ends."""
    return [child for child, parent_close in run.children.values() if parent_close == "cancel"]

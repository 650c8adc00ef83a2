"""For what a run waits: the liveness invariant, as a function of state."""

from kos_runtime.core.workflow.state import Run
from kos_runtime.core.workflow.status import RunStatus


def waits_for(run: Run) -> list[str]:
    """Return what may move a run that is at work; never empty for one that can go on.

    Each element is one of ``attempt PATH``, ``turn PATH`` (free hands, or data being loaded), ``timer PATH`` and
    ``person PATH``, and ``paused``.
    """
    if run.status is not RunStatus.RUNNING:
        return []
    found = [f"attempt {path}" for path in run.open]
    found += [f"turn {path}" for path in run.agenda]
    found += [f"timer {path}" for path in run.timers]
    found += [f"person {path}" for path in run.manual]
    if run.paused is not None:
        found.append("paused")
    return found


def row_of(run: Run) -> tuple[RunStatus, str]:
    """Return the status of a run that is at work or before, as its row shows it, and for what it waits."""
    if run.paused is not None and run.status is RunStatus.RUNNING and run.cancelling is None:
        by, reason = run.paused
        why = f"paused by {by}" + (f": {reason}" if reason else "")
        # What still runs may end, and is listened to: a successor must load the run for that.
        return (RunStatus.RUNNING if run.open else RunStatus.PAUSED), why
    if run.status is RunStatus.RUNNING and run.manual and is_at_rest(run) and not run.timers:
        return RunStatus.WAITING, f"manual: {', '.join(run.manual)}"
    return run.status, ""


def is_at_rest(run: Run) -> bool:
    """Say whether nothing of a run is at work or may start: only timers and people can move it."""
    return not run.open and not run.agenda

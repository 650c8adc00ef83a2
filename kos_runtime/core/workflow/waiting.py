"""For what a run waits: the liveness invariant, as a function of state."""

from itertools import islice
from typing import Final

from kos_runtime.core.workflow.state import Run
from kos_runtime.core.workflow.status import RunStatus

#: The row of a run of a priority that waits to be admitted.
_PRIORITY: Final = "a place, priority "
#: A row names so many of the runs that a run waits for.
MOST_NAMED: Final = 16


def waits_for(run: Run) -> list[str]:
    """Return what may move a run that is at work; never empty for one that can go on.

    Each element is one of ``attempt PATH``, ``turn PATH`` (free hands, or data being loaded), ``timer PATH`` and
    ``person PATH``, ``signal PATH``, ``child PATH``, ``machine PATH`` (which is told something), and ``paused``.
    """
    if run.status is not RunStatus.RUNNING:
        return []
    found = [f"attempt {path}" for path in run.open]
    found += [f"turn {path}" for path in run.agenda]
    found += [f"timer {path}" for path in run.timers]
    found += [f"person {path}" for path in run.manual]
    for path, what in run.waits.items():
        if what["kind"] != "time":
            found.append(f"{'signal' if what['kind'] == 'signal' else 'person'} {path}")
    found += [f"child {path}" for path in run.children]
    found += [f"machine {path}" for path in run.machines]
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
    at_rest = is_at_rest(run) and holds_only_stored(run)
    if run.status is RunStatus.RUNNING and (run.manual or run.waits or run.children or run.machines) and at_rest:
        return RunStatus.WAITING, "; ".join(f"{kind}: {', '.join(paths)}" for kind, paths in _by_kind(run) if paths)
    return run.status, ""


def pending_row(run: Run) -> str:
    """Return what the row of a run that waits for a place says beside that: its priority, unless it has none."""
    priority = 0 if run.program is None else run.program.plan.priority
    return f"{_PRIORITY}{priority}" if priority else ""


def priority_in(row_waiting: str) -> int:
    """Return the priority that the row of a run which waits for a place tells of."""
    return int(row_waiting.removeprefix(_PRIORITY)) if row_waiting.startswith(_PRIORITY) else 0


def _by_kind(run: Run) -> list[tuple[str, list[str]]]:
    """Return who waits for what, people first, time last: what stands there alone keeps the store's owner."""
    kinds: dict[str, list[str]] = {"manual": list(run.manual), "approval": [], "signal": []}
    kinds |= {"child": named_children(run), "machine": list(run.machines), "time": []}
    for path, what in run.waits.items():
        kinds[what["kind"]].append(path)
    return list(kinds.items())


def holds_only_stored(run: Run) -> bool:
    """Say whether every timer of a run is that of a step which waits: those are stored, and bring it back."""
    return not run.timers or run.timers.keys() <= run.waits.keys()


def named_children(run: Run) -> list[str]:
    """Return the runs that a run waits for, as its row tells of them: the first few, and how many there are besides."""
    named = [child for child, _ in islice(run.children.values(), MOST_NAMED)]
    more = len(run.children) - len(named)
    return [*named, f"{more} more"] if more else named


def waited_for(row_waiting: str) -> dict[str, list[str]]:
    """Return what a row says that its run waits for: steps or, of children, runs, by kind."""
    parts = (part.partition(": ") for part in row_waiting.split("; ") if part)
    return {kind: named.split(", ") for kind, _, named in parts}


def waits_for_time(row_waiting: str) -> bool:
    """Say whether a row tells of a run that waits for time alone."""
    return row_waiting.startswith("time: ")


def is_at_rest(run: Run) -> bool:
    """Say whether nothing of a run is at work or may start: only timers and people can move it."""
    return not run.open and not run.agenda and not any(held.timed for held in run.machines.values())

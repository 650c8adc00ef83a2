"""``kos wait``: for scripts."""

import time
from typing import Annotated, Any, Final

from cyclopts import Parameter

from kos_runtime.cli.common import Common, Named, OfRun
from kos_runtime.cli.follow import detached
from kos_runtime.cli.ls import duration
from kos_runtime.cli.outcome import BY_STATUS, FAILED, OK, TIMEOUT, UNREACHABLE, USAGE, Exit
from kos_runtime.cli.reading import declared_step

_LOOK_S: Final = 0.05
#: So many looks in a row without an owner, and a live run is interrupted: one may just be taking over.
_MOST_GONE: Final = 20
_GOALS: Final = ("completed", "failed", "waiting", "approval")


def wait(
    *runs: Annotated[str, Named],
    for_: Annotated[str, Parameter(name="--for", completer=OfRun.completer)] = "",
    timeout: str = "",
    common: Common | None = None,
) -> int:
    """Wait until runs have ended, wait for a person, or have come to something else.

    Args:
        runs: Run ids, prefixes, names, @latest or @failed; - reads them from standard input; the latest unless given.
        for_: completed, failed, waiting, approval, or step=ID.
        timeout: How long at most, such as 10m; then the exit code is 124.
    """
    common = common or Common()
    step = for_.removeprefix("step=") if for_.startswith("step=") else ""
    if for_ and not step and for_ not in _GOALS:
        from kos_runtime.core.nearest import nearest

        near = nearest(for_, _GOALS)
        hint = f"; did you mean {near!r}?" if near else ""
        raise Exit(USAGE, f"error: --for {for_}: expected completed, failed, waiting, approval or step=ID{hint}")
    deadline = time.monotonic() + duration("--timeout", timeout) / 1_000 if timeout else None
    reading = common.reading()
    found = [row.run for row in common.rows(reading, runs)]
    if step:
        for run in found:
            declared_step(reading, run, step)
    try:
        if common.verbose:
            common.say(f"waiting for {' '.join(found)}")
        codes = [_wait_one(common, reading, run, for_, step, deadline) for run in found]
    except KeyboardInterrupt:
        return detached(found)
    if common.is_data:
        rows = [reading.log.run(run) for run in found]
        common.emit([{"run": row.run, "status": reading.status(row)} for row in rows], {}, one=len(rows) == 1)
    return max(codes)


def _wait_one(common: Common, reading: Any, run: str, goal: str, step: str, deadline: float | None) -> int:
    gone = 0
    while True:
        row = reading.log.run(run)
        status = reading.standing(row)
        if goal == "approval" and any(s.manual.get("kind") == "approval" for s in _asks(reading, row)):
            return OK
        if step:
            view = reading.view(run).steps.get(step)
            if view is not None and view.status == "completed":
                return OK
        elif goal and status == goal:
            return OK
        if status in BY_STATUS:
            if goal:
                wanted = f"step {step} to complete" if step else goal
                common.say(f"run {run} is {status}, and was to be waited for until {wanted}; see: kos get {run}")
            return (BY_STATUS[status] or FAILED) if goal else BY_STATUS[status]
        gone = gone + 1 if status == "interrupted" else 0
        if gone > _MOST_GONE:
            common.say(f"run {run} is interrupted: nobody owns the store; go on with: kos resume {run}")
            return UNREACHABLE
        if deadline is not None and time.monotonic() >= deadline:
            common.say(f"run {run} is still {status}; the time is over; see: kos get {run}")
            return TIMEOUT
        time.sleep(_LOOK_S)


def _asks(reading: Any, row: Any) -> list[Any]:
    """Return what a run asks of people; of one that is at work too, beside what it does."""
    found: list[Any] = reading.view(row.run).waits_for_people if row.status in {"running", "waiting", "paused"} else []
    return found

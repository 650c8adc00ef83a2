"""What becomes of instants that have come, and of those that nobody was there for.

An instant that is met within ``LATE_MS`` is on time. Whatever is later was missed, because nobody owned the store or the
wall clock jumped over it, and ``catch_up`` says what becomes of it. What is to have a run then meets ``overlap``, if the
schedule's run before it has not ended.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from kos_runtime.core.schedule import events as ev
from kos_runtime.core.schedule.state import Schedule

#: An instant that is met up to so much later is on time: a wall clock that was set is followed after a minute.
LATE_MS: Final = 120_000
#: So many missed instants are looked at, the newest; and so many of them get their runs with ``catch_up: all``.
MAX_LOOKED: Final = 1_000
MAX_CATCH_UP: Final = 100
#: So many runs of one schedule wait for the one before.
MAX_QUEUED: Final = 100
ON_TIME: Final = "on time"
CAUGHT_UP: Final = "caught up"
QUEUED: Final = "queued"
REPLACED: Final = "a newer one came (overlap: cancel_running)"


@dataclass(slots=True)
class Turn:
    """What one look at a schedule has decided: facts, and (instant, why) of those whose runs are to be made now."""

    events: list[Any] = field(default_factory=list)
    wanted: list[tuple[int, str]] = field(default_factory=list)


def wanted(schedule: Schedule, due: list[int], *, more: bool, wall: int) -> Turn:
    """Decide which instants that have come get a run. ``due`` are the newest, in order; ``more``: there were others."""
    turn = Turn()
    late = [nominal for nominal in due if wall - nominal > LATE_MS]
    kept = {"none": 0, "last": 1, "all": MAX_CATCH_UP}[schedule.catch_up]
    passed, caught = late[: max(len(late) - kept, 0)], late[max(len(late) - kept, 0) :]
    if passed:
        why = f"nobody was there for them (catch_up: {schedule.catch_up})"
        turn.events.append(ev.SchedulePassed(passed[0], passed[-1], len(passed), more, why))
    turn.wanted = [(nominal, CAUGHT_UP) for nominal in caught]
    turn.wanted += [(nominal, ON_TIME) for nominal in due[len(late) :]]
    if schedule.overlap == "cancel_running" and len(turn.wanted) > 1:
        # Each would only be started to be called off for the next.
        *older, newest = turn.wanted
        turn.events += [ev.SchedulePassed(n, n, 1, False, REPLACED) for n, _ in older]
        turn.wanted = [newest]
    return turn


def behind(schedule: Schedule, nominal: int, run: str) -> list[Any]:
    """Decide what becomes of an instant while the run before it has not ended."""
    if schedule.overlap == "skip":
        return [ev.SchedulePassed(nominal, nominal, 1, False, f"run {run} has not ended (overlap: skip)")]
    if schedule.overlap == "cancel_running":
        # Only the newest waits: whoever cancels what runs does not want what is older still.
        waiting = schedule.queued
        replaced = [ev.SchedulePassed(n, n, 1, False, REPLACED) for n in waiting]
        return [*replaced, ev.ScheduleQueued(nominal)]
    if len(schedule.queued) >= MAX_QUEUED:
        return [ev.SchedulePassed(nominal, nominal, 1, False, f"{MAX_QUEUED} wait already (overlap: queue)")]
    return [ev.ScheduleQueued(nominal)]

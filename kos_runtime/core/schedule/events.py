"""Everything that can happen to a schedule, as facts. Instants are milliseconds of the wall clock since 1970."""

from typing import Any, TypeAlias

from kos_runtime.core.event import event


@event("schedule_set")
class ScheduleSet:
    """A schedule is there, or says something else from now on. ``since``: instants up to it are none of its own."""

    workflow: str
    version: str
    cron: str
    timezone: str
    overlap: str
    catch_up: str
    plan: str
    link: str
    settings: dict[str, Any]
    drivers: dict[str, str]
    inputs: bytes
    since: int
    by: str


@event("schedule_planned")
class SchedulePlanned:
    """The next instant, 0 for never, as the calendar said under that version of the time zone database."""

    next: int
    tzdata: str


@event("schedule_fired")
class ScheduleFired:
    """The run of an instant was created, in the same commit. ``why`` is on time, caught up or queued."""

    nominal: int
    run: str
    why: str


@event("schedule_queued")
class ScheduleQueued:
    """The run of an instant waits for the end of the one before."""

    nominal: int


@event("schedule_passed")
class SchedulePassed:
    """Instants whose runs are not made: so many from first to last, or ``more`` than could be counted, and why."""

    first: int
    last: int
    count: int
    more: bool
    why: str


@event("scheduled_run_ended")
class ScheduledRunEnded:
    run: str
    status: str


@event("schedule_removed")
class ScheduleRemoved:
    by: str
    reason: str


Event: TypeAlias = (
    ScheduleSet
    | SchedulePlanned
    | ScheduleFired
    | ScheduleQueued
    | SchedulePassed
    | ScheduledRunEnded
    | ScheduleRemoved
)

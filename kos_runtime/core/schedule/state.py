"""A schedule: what its events have made of it."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

from kos_runtime.core.identity import StreamId
from kos_runtime.core.schedule import events as ev

#: Names the code that can read a snapshot of this state.
FINGERPRINT: Final = "schedule/1"
PREFIX: Final = "schedule/"
_SET: Final = (
    "workflow", "version", "cron", "timezone", "overlap", "catch_up", "plan", "link", "settings", "drivers", "inputs", "by",
)  # fmt: skip
_FOLDED: Final = (
    *_SET, "looked", "next", "tzdata", "running", "queued", "removed", "fired", "passed", "last", "last_run", "position",
)  # fmt: skip


def schedule_stream(id: str) -> StreamId:
    """Return the stream that holds a schedule's history."""
    return StreamId(f"{PREFIX}{id}")


def run_of(store_id: str, schedule: str, nominal: int) -> str:
    """Return the id of the run that belongs to an instant of a schedule: always the same in one store."""
    return sha256(f"{store_id}\x00schedule\x00{schedule}\x00{nominal}".encode()).hexdigest()[:24]


class Schedule:
    """See the module. Instants in milliseconds of the wall clock."""

    __slots__ = (*_FOLDED, "id")

    def __init__(self, id: str) -> None:
        self.id = id
        self.position = 0
        self.workflow = self.version = self.cron = self.timezone = self.overlap = self.catch_up = ""
        self.plan = self.link = self.by = self.tzdata = ""
        self.settings: dict[str, Any] = {}
        self.drivers: dict[str, str] = {}
        self.inputs = b""
        #: Every instant up to this one is settled: its run was made, waits or was passed over.
        self.looked = 0
        #: The next instant; 0 when it is not known, below 0 when there is none.
        self.next = 0
        #: Its runs that have not ended, and the instants whose runs wait for that.
        self.running: list[str] = []
        self.queued: list[int] = []
        self.removed = True
        #: How many instants got a run, and how many did not.
        self.fired = 0
        self.passed = 0
        self.last = 0
        self.last_run = ""


def to_plain(schedule: Schedule) -> dict[str, Any]:
    return {name: getattr(schedule, name) for name in _FOLDED}


def from_plain(schedule: Schedule, plain: dict[str, Any]) -> None:
    """Fill a schedule from a snapshot.

    Raises:
        KeyError: The snapshot does not fit this code; fold the events instead.
    """
    for name in _FOLDED:
        setattr(schedule, name, plain[name])


def evolve(schedule: Schedule, event: Any) -> None:
    """Fold an event."""
    HANDLERS[type(event)](schedule, event)


def _set(schedule: Schedule, event: ev.ScheduleSet) -> None:
    for name in _SET:
        setattr(schedule, name, getattr(event, name))
    schedule.removed = False
    schedule.looked = max(schedule.looked, event.since)
    schedule.next = 0


def _planned(schedule: Schedule, event: ev.SchedulePlanned) -> None:
    schedule.next = event.next or -1
    schedule.tzdata = event.tzdata


def _settled(schedule: Schedule, first: int, last: int) -> None:
    schedule.looked = max(schedule.looked, last)
    schedule.queued = [nominal for nominal in schedule.queued if not first <= nominal <= last]


def _fired(schedule: Schedule, event: ev.ScheduleFired) -> None:
    _settled(schedule, event.nominal, event.nominal)
    schedule.running.append(event.run)
    schedule.fired += 1
    schedule.last, schedule.last_run = event.nominal, event.run


def _queued(schedule: Schedule, event: ev.ScheduleQueued) -> None:
    schedule.looked = max(schedule.looked, event.nominal)
    schedule.queued.append(event.nominal)


def _passed(schedule: Schedule, event: ev.SchedulePassed) -> None:
    _settled(schedule, event.first, event.last)
    schedule.passed += event.count


def _ended(schedule: Schedule, event: ev.ScheduledRunEnded) -> None:
    schedule.running = [run for run in schedule.running if run != event.run]


def _removed(schedule: Schedule, _: ev.ScheduleRemoved) -> None:
    schedule.removed, schedule.next, schedule.queued = True, -1, []


HANDLERS: Final[dict[type, Callable[[Schedule, Any], None]]] = {
    ev.ScheduleSet: _set,
    ev.SchedulePlanned: _planned,
    ev.ScheduleFired: _fired,
    ev.ScheduleQueued: _queued,
    ev.SchedulePassed: _passed,
    ev.ScheduledRunEnded: _ended,
    ev.ScheduleRemoved: _removed,
}

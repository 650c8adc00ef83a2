"""Schedules as a driver script sees them: made, listed, removed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kos_runtime.client.reading import EventLine, Reading
from kos_runtime.core.errors import InvalidDefinition, NotFound
from kos_runtime.core.identity import is_run_id
from kos_runtime.core.nearest import nearest
from kos_runtime.core.schedule import events as _events  # noqa: F401 - they register themselves
from kos_runtime.core.schedule.state import PREFIX, Schedule, schedule_stream
from kos_runtime.engine.host import load_schedule


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """A schedule as its log tells it. Instants are milliseconds since 1970.

    ``next`` is 0 while nobody has asked the calendar yet, or when nothing comes. ``running`` are its runs that have not ended,
    ``queued`` the instants whose runs wait for that; ``fired`` and ``passed`` count instants that got a run, and that got none.
    """

    schedule: str
    workflow: str
    version: str
    cron: str
    timezone: str
    overlap: str
    catch_up: str
    next: int
    last: int
    last_run: str
    running: list[str]
    queued: list[int]
    fired: int
    passed: int
    by: str
    removed: bool


def schedule_views(reading: Reading, *, removed: bool = False) -> list[ScheduleView]:
    """Return the schedules of a store, in the order of their names; ``removed``: also those that were removed."""
    found = []
    for stream in reading.log.streams(PREFIX):
        schedule = Schedule(stream.removeprefix(PREFIX))
        load_schedule(reading.log, reading.codec, stream).fold(schedule)
        if removed or not schedule.removed:
            found.append(_view(schedule))
    return found


def schedule_lines(reading: Reading, id: str) -> list[EventLine]:
    """Return everything that happened to a schedule, oldest first.

    Raises:
        NotFound: There never was one of that name.
    """
    stream = schedule_stream(id)
    if reading.log.salt(stream) is None:
        near = nearest(id, [name.removeprefix(PREFIX) for name in reading.log.streams(PREFIX)])
        hint = f"; did you mean {near!r}?" if near else "; `kos schedules` lists them"
        raise NotFound(f"no schedule {id!r} in {reading.folder}{hint}")
    return list(reading.lines_of(stream))


def _view(schedule: Schedule) -> ScheduleView:
    names = [name for name in ScheduleView.__slots__ if name not in {"schedule", "next"}]
    return ScheduleView(
        schedule=schedule.id, next=max(schedule.next, 0), **{name: getattr(schedule, name) for name in names}
    )


def settled(document: Any, id: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Return what a schedule says: as the workflow does, with what was given over it, and what neither says by default.

    Raises:
        InvalidDefinition: Nothing says when it is due, or something cannot be followed.
    """
    from kos_runtime.definition.schedules import CATCH_UPS, OVERLAPS, cron_problem, with_defaults, zone_problem

    if not is_run_id(id):
        raise InvalidDefinition(f"{id!r:.200} names no schedule: letters, digits, - and _, at most 128")
    said = {**(document.content.get("schedule") or {}), **{key: value for key, value in given.items() if value}}
    if "cron" not in said:
        hint = 'write schedule: {cron: "0 6 * * 1"} into it, or name one by --cron'
        raise InvalidDefinition(f"workflow {document.id!r} does not say when it is due; {hint}")
    found = with_defaults(said)
    if problem := cron_problem(found["cron"]):
        raise InvalidDefinition(f"{problem}; write for example '0 6 * * 1', or @daily")
    problem, hint = zone_problem(found["timezone"])
    if problem:
        raise InvalidDefinition(f"{problem}; {hint}")
    for key, words in (("overlap", OVERLAPS), ("catch_up", CATCH_UPS)):
        if found[key] not in words:
            raise InvalidDefinition(f"{key}: {found[key]!r:.60} is none of {', '.join(words)}")
    return found


__all__ = ["ScheduleView", "schedule_lines", "schedule_views", "settled"]

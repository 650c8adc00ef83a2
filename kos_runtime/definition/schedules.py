"""The ``schedule`` of a workflow: when it is to run by itself."""

import zoneinfo
from datetime import UTC, datetime
from typing import Any, Final

from cronsim import CronSim, CronSimError

from kos_runtime.core.nearest import nearest
from kos_runtime.definition.problems import Path
from kos_runtime.definition.shapes import Check

#: Words for common expressions, as cron knows them.
WORDS: Final = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip
DEFAULTS: Final = {"timezone": "UTC", "overlap": "skip", "catch_up": "last", "inputs": {}}
OVERLAPS: Final = ("skip", "queue", "cancel_running")
CATCH_UPS: Final = ("none", "last", "all")
_FIELDS: Final = 5
_RANGES: Final = (
    ("minute", "0 to 59"), ("hour", "0 to 23"), ("day", "1 to 31, or L"), ("month", "1 to 12, or JAN to DEC"),
    ("weekday", "0 to 7, or SUN to SAT"),
)  # fmt: skip
_LONGEST: Final = 200


def with_defaults(schedule: dict[str, Any]) -> dict[str, Any]:
    """Return a schedule with everything that it leaves out, its expression in five fields."""
    cron = " ".join(str(schedule["cron"]).split())
    return {**DEFAULTS, **schedule, "cron": WORDS.get(cron, cron)}


def cron_problem(text: str) -> str:
    """Say what is wrong with a cron expression; nothing if it can be read."""
    if text in WORDS:
        return ""
    if len(text) > _LONGEST:
        return f"a cron expression of {len(text)} characters, at most {_LONGEST}"
    fields = text.split()
    if len(fields) != _FIELDS:
        return f"{text!r} has {len(fields)} fields; a cron expression has five: minute, hour, day, month, weekday"
    try:
        found = next(CronSim(text, datetime(2000, 1, 1, tzinfo=UTC)), None)
    except CronSimError as error:
        wrong = _wrong_field(fields)
        return f"{text!r} is no cron expression: {wrong}" if wrong else f"{text!r} is never due ({str(error).lower()})"
    return f"{text!r} is never due" if found is None else ""


def _wrong_field(fields: list[str]) -> str:
    """Say which field cannot be read by itself, and what it may be; nothing when each can."""
    for index, (name, range_) in enumerate(_RANGES):
        alone = ["*"] * _FIELDS
        alone[index] = fields[index]
        try:
            CronSim(" ".join(alone), datetime(2000, 1, 1, tzinfo=UTC))
        except CronSimError:
            return f"the {name} {fields[index]!r} is not of {range_}"
    return ""


def zone_problem(text: str) -> tuple[str, str]:
    """Say what is wrong with the name of a time zone, and what was probably meant; nothing if it is known here."""
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        near = nearest(text, sorted(zoneinfo.available_timezones()))
        hint = f"did you mean {near!r}?" if near else "write for example UTC or Europe/Berlin"
        return f"no time zone {text!r}", hint
    return "", ""


def check_schedule(schedule: dict[str, Any], path: Path, check: Check) -> None:
    """Report what of a schedule cannot be followed."""
    cron, zone = schedule.get("cron"), schedule.get("timezone", "UTC")
    if isinstance(cron, str) and (problem := cron_problem(" ".join(cron.split()))):
        check.fail((*path, "cron"), "KOS107", problem, 'write for example "0 6 * * 1", or @daily')
    if isinstance(zone, str):
        problem, hint = zone_problem(zone)
        if problem:
            check.fail((*path, "timezone"), "KOS107", problem, hint)

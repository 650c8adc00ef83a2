"""The calendar: cron expressions by cronsim, time zones by the system's database or the one of ``tzdata``.

An hour that a time zone leaves out or has twice is met as Debian's cron meets it. A job of fixed hours that falls into the hour left
out is due right after it, and of an hour that comes twice only the first counts; one that says ``*`` for the hour or the minute
follows the time that really passes.
"""

import zoneinfo
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Final

from cronsim import CronSim, CronSimError

from kos_runtime.core.schedule.calendar import Instants

_FIELDS: Final = 5


class CronCalendar:
    """See the module."""

    @property
    def version(self) -> str:
        """The version of the time zone database that is used."""
        return tzdata_version()

    def instants(self, cron: str, timezone: str, *, after: int, until: int, most: int) -> Instants:
        """Return the instants behind ``after`` and up to ``until``, at most so many, and the next one."""
        try:
            zone = zoneinfo.ZoneInfo(timezone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"no time zone {timezone!r} on this machine") from error
        if len(cron.split()) != _FIELDS:
            raise ValueError(f"no cron expression of five fields: {cron!r}")
        try:
            coming = next(CronSim(cron, _at(max(after, until), zone)), None)
            due: list[int] = []
            if until > after:
                # A millisecond before the next full one, so that an instant right at the end is found too.
                back = CronSim(cron, _at(until // 1_000 * 1_000 + 1_000, zone), reverse=True)
                for moment in islice(back, most + 1):
                    instant = _ms(moment)
                    if instant <= after:
                        break
                    if instant <= until:
                        due.append(instant)
        except CronSimError as error:
            raise ValueError(f"no cron expression: {cron!r}: {error}") from error
        found = sorted(set(due))
        return Instants(found[-most:], len(found) > most, 0 if coming is None else _ms(coming))


def _at(instant: int, zone: zoneinfo.ZoneInfo) -> datetime:
    return datetime.fromtimestamp(instant // 1_000, UTC).astimezone(zone)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000


@lru_cache(maxsize=1)
def tzdata_version() -> str:
    """Return the version of the database: the system's where there is one, else that of the package."""
    for folder in zoneinfo.TZPATH:
        for name in ("tzdata.zi", "+VERSION"):
            try:
                with (Path(folder) / name).open(encoding="ascii", errors="replace") as file:
                    first = file.readline(200)
            except OSError:
                continue
            return first.removeprefix("# version").strip() or "unknown"
    try:
        return metadata.version("tzdata")
    except metadata.PackageNotFoundError:
        return "unknown"

"""When something is due by the clock on the wall: whoever knows time zones says it."""

from typing import Protocol

from kos_runtime.core.schedule.calendar import Instants


class Calendar(Protocol):
    """Reads cron expressions of five fields in a time zone."""

    @property
    def version(self) -> str:
        """The version of the time zone database: another one may say other instants."""
        ...

    def instants(self, cron: str, timezone: str, *, after: int, until: int, most: int) -> Instants:
        """Return the newest instants behind ``after`` and up to ``until``, at most so many, and the next one.

        Raises:
            ValueError: The expression or the time zone cannot be read.
        """
        ...

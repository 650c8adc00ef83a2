"""What a calendar says."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instants:
    """Instants of a cron expression, in milliseconds since 1970.

    ``due`` are the newest of those that have come, in order; ``more``: there were others before them. ``next`` is the
    first that has not come, 0 for never.
    """

    due: list[int]
    more: bool
    next: int

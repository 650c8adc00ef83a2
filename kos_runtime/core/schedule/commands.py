"""What may be asked of a schedule."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSchedule:
    """Make a schedule, or let one say something else. ``run`` is its id; ``salt`` is 16 random bytes.

    ``plan`` and ``link`` are digests of what lies in the blob store, and are what its runs follow.
    """

    run: str
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
    inputs: dict[str, Any]
    salt: bytes
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveSchedule:
    """Make no more runs. Those that are there go on."""

    run: str
    by: str
    reason: str = ""


Scheduling = SetSchedule | RemoveSchedule

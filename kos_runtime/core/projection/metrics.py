"""What a store's runs come to, in numbers: folded from the log, record by record, by workflow."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from kos_runtime.core.workflow import events as ev

#: Upper bounds of what durations are counted by, in seconds; the last takes the rest.
BOUNDS: Final = (0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3_600.0, 86_400.0)
#: How an event's name is counted: in which count, as what.
COUNTED: Final = {
    "run_created": ("runs", "created"),
    "run_completed": ("runs", "completed"),
    "run_failed": ("runs", "failed"),
    "run_cancelled": ("runs", "cancelled"),
    "run_quarantined": ("runs", "quarantined"),
    "step_scheduled": ("attempts", "started"),
    "step_completed": ("attempts", "completed"),
    "step_failed": ("attempts", "failed"),
    "step_redispatched": ("attempts", "lost"),
    "step_gave_up": ("steps", "failed"),
    "step_skipped": ("steps", "skipped"),
    "result_reused": ("steps", "reused"),
    "retry_scheduled": ("steps", "retried"),
}
#: The names of events that say how long something took.
TIMED: Final = frozenset({"step_completed", "step_failed", "run_completed", "run_failed", "run_cancelled"})
_ENDS: Final = (ev.RunCompleted, ev.RunFailed, ev.RunCancelled)


@dataclass(slots=True)
class Durations:
    """How many took so long, by ``BOUNDS``, and how long all of them together, in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def take(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


@dataclass(slots=True)
class Metrics:
    """``counts`` by (what, how it ended, workflow); ``durations`` by (what, workflow), of attempts and of runs."""

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    durations: dict[tuple[str, str], Durations] = field(default_factory=dict)

    def count(self, names: str, workflow: str) -> None:
        """Take in a record by the names of its events."""
        for label in names.split():
            counted = COUNTED.get(label.partition(".")[0])
            if counted is not None:
                self.counts[(*counted, workflow)] += 1

    def time(self, events: Iterable[Any], workflow: str, *, at: int, created_at: int) -> None:
        """Take in how long things took, of the events of a record that was made at an instant (milliseconds)."""
        for event in events:
            if isinstance(event, ev.StepCompleted | ev.StepFailed):
                if event.duration_ms > 0:
                    self._durations("attempt", workflow).take(event.duration_ms / 1_000)
            elif isinstance(event, _ENDS):
                self._durations("run", workflow).take(max(at - created_at, 0) / 1_000)

    def _durations(self, what: str, workflow: str) -> Durations:
        return self.durations.setdefault((what, workflow), Durations())

    def to_plain(self) -> dict[str, Any]:
        return {
            "counts": [[*key, count] for key, count in sorted(self.counts.items())],
            "durations": [[*key, each.counts, each.total] for key, each in sorted(self.durations.items())],
        }


def from_plain(plain: dict[str, Any]) -> Metrics:
    """Return what ``to_plain`` was given.

    Raises:
        ValueError, KeyError, TypeError: It is something else.
    """
    made = Metrics()
    for what, how, workflow, count in plain["counts"]:
        made.counts[what, how, workflow] = int(count)
    for what, workflow, counts, total in plain["durations"]:
        if len(counts) != len(BOUNDS) + 1:
            raise ValueError("other bounds")
        made.durations[what, workflow] = Durations([int(each) for each in counts], float(total))
    return made

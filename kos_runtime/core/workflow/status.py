"""In which states runs and steps are, and which facts lead from one to another.

The table of a run's life is the one place that says so: folding refuses what is not in it, and the diagram in the
documents is drawn from it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from kos_runtime.core.workflow import events as ev


class RunStatus(StrEnum):
    """``waiting``, ``paused`` and ``interrupted`` are told apart by readers: none is a state of the history."""

    NEW = "new"
    CREATED = "created"
    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"
    INTERRUPTED = "interrupted"


class StepStatus(StrEnum):
    READY = "ready"
    OPEN = "running"
    BACKOFF = "retrying"
    FAILING = "failing"
    ESCALATED = "escalated"
    FALLBACK = "falling back"
    MANUAL = "waiting for a person"
    WAITING = "waiting"
    ACTIVE = "active"
    COMPLETED = "completed"
    SKIPPED = "skipped"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
OVER: Final = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED, StepStatus.FAILED, StepStatus.CANCELLED})

#: (status, kind of event) → status. Events of steps are taken in ``RUNNING`` only and change no run's status.
RUN_TRANSITIONS: Final[Mapping[tuple[RunStatus, type], RunStatus]] = {
    (RunStatus.NEW, ev.RunCreated): RunStatus.CREATED,
    (RunStatus.CREATED, ev.RunLinked): RunStatus.CREATED,
    (RunStatus.CREATED, ev.RunStarted): RunStatus.RUNNING,
    (RunStatus.RUNNING, ev.RunCompleted): RunStatus.COMPLETED,
    (RunStatus.RUNNING, ev.RunFailed): RunStatus.FAILED,
    (RunStatus.CREATED, ev.PlanRevised): RunStatus.CREATED,
    (RunStatus.RUNNING, ev.PlanRevised): RunStatus.RUNNING,
    (RunStatus.RUNNING, ev.DeadlineSet): RunStatus.RUNNING,
    (RunStatus.RUNNING, ev.RunPaused): RunStatus.RUNNING,
    (RunStatus.RUNNING, ev.RunResumed): RunStatus.RUNNING,
    (RunStatus.RUNNING, ev.CancelRequested): RunStatus.RUNNING,
    (RunStatus.FAILED, ev.RunReopened): RunStatus.RUNNING,
    (RunStatus.RUNNING, ev.CompensationStarted): RunStatus.RUNNING,
    (RunStatus.FAILED, ev.CompensationStarted): RunStatus.RUNNING,
    (RunStatus.CREATED, ev.RunForked): RunStatus.CREATED,
    (RunStatus.RUNNING, ev.RunForked): RunStatus.RUNNING,
    (RunStatus.RUNNING, ev.RestoreBegun): RunStatus.CREATED,
    (RunStatus.COMPLETED, ev.RestoreBegun): RunStatus.CREATED,
    (RunStatus.FAILED, ev.RestoreBegun): RunStatus.CREATED,
    (RunStatus.CANCELLED, ev.RestoreBegun): RunStatus.CREATED,
    (RunStatus.RUNNING, ev.RunTakenBack): RunStatus.RUNNING,
    (RunStatus.COMPLETED, ev.RunTakenBack): RunStatus.RUNNING,
    (RunStatus.FAILED, ev.RunTakenBack): RunStatus.RUNNING,
    (RunStatus.CANCELLED, ev.RunTakenBack): RunStatus.RUNNING,
    (RunStatus.CREATED, ev.RunRestored): RunStatus.CREATED,
    (RunStatus.RUNNING, ev.RunRestored): RunStatus.RUNNING,
    (RunStatus.CREATED, ev.RunCancelled): RunStatus.CANCELLED,
    (RunStatus.RUNNING, ev.RunCancelled): RunStatus.CANCELLED,
    (RunStatus.CREATED, ev.RunQuarantined): RunStatus.QUARANTINED,
    (RunStatus.RUNNING, ev.RunQuarantined): RunStatus.QUARANTINED,
    (RunStatus.QUARANTINED, ev.RunQuarantined): RunStatus.QUARANTINED,
    (RunStatus.QUARANTINED, ev.RunRequeued): RunStatus.RUNNING,
}

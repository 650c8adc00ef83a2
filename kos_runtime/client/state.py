"""What a run is, folded from its log, with the mission's fields; and what is kept of it.

::

    with kos_runtime.connect() as kos:
        state = WorkflowStateManager(kos).load_state(run.id)
        print(state.current_step, state.step_results["draft"])
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from kos_runtime.adapters.checkpoint_store.filesystem import CHECKPOINTS, FilesystemCheckpointStore, StoredCheckpoint
from kos_runtime.client import folding, retention
from kos_runtime.client.engine import RunHandle, WorkflowEngine
from kos_runtime.client.gone import is_gone
from kos_runtime.client.reading import Reading
from kos_runtime.composition.wiring import CODEC
from kos_runtime.core.errors import InvalidDefinition, NotFound
from kos_runtime.core.expression import NeedsData
from kos_runtime.core.plan.model import Plan
from kos_runtime.core.record import BlobRef
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.attributes import as_text
from kos_runtime.core.workflow.snapshot import FINGERPRINT, to_plain
from kos_runtime.core.workflow.state import Run
from kos_runtime.core.workflow.status import RunStatus, StepStatus
from kos_runtime.core.workflow.values import exposed, step_value

_T = TypeVar("_T")
#: So many rows are read at a time.
_PAGE: Final = 1_000
#: What is active: everything that has not ended.
_STATUSES: Final = [each.value for each in RunStatus if each is not RunStatus.NEW]
ACTIVE: Final = ("created", "pending", "running", "waiting", "paused", "interrupted")


@dataclass(frozen=True, slots=True)
class RecordedError:
    """One failure of a step, as it was recorded. ``type`` is one of the eight kinds."""

    type: str
    step_id: str
    message: str
    details: Mapping[str, Any]
    timestamp: datetime
    recoverable: bool
    suggested_action: str


@dataclass(frozen=True, slots=True)
class WorkflowState:
    """A run after its event ``seq``. Steps are named by their paths; ``digest`` is that of the whole folded state.

    ``current_step`` is the first of those at work, or of those that something is waited for; empty when there is none.
    ``step_results`` has what each completed step gives, by name.
    """

    id: str
    definition: Plan
    status: str
    created_at: datetime
    updated_at: datetime
    current_step: str
    completed_steps: tuple[str, ...]
    failed_steps: tuple[str, ...]
    step_results: Mapping[str, Mapping[str, Any]]
    variables: Mapping[str, Any]
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    errors: tuple[RecordedError, ...]
    retry_counts: Mapping[str, int]
    seq: int
    digest: str


class WorkflowStateManager:
    """States of the runs of an engine's store. Reading needs no owner; archiving and purging need the store for themselves."""

    def __init__(self, engine: WorkflowEngine) -> None:
        self._engine = engine

    def save_state(self, state: WorkflowState) -> None:
        """Keep a state as a checkpoint of its run, at its event.

        Raises:
            NotFound: There is no such run or event.
            InvalidDefinition: It is not what the run's log says: a state is changed by what happens, never by hand.
        """
        folded = folding.folded(self._reading, state.id, state.seq)
        expected = state_of(self._reading, folded)
        for field in fields(WorkflowState):
            if getattr(state, field.name) != getattr(expected, field.name):
                raise InvalidDefinition(
                    f"the state of run {state.id} at seq {state.seq} is not what its log says: {field.name} differs; "
                    "a run is changed by commands, such as retry_step, modify_step or fork"
                )
        keep(self._engine, folded, step=state.current_step)

    def load_state(self, run: str | RunHandle, *, at: int | None = None) -> WorkflowState:
        """Return what a run is, after its event ``at``; after all of them unless given.

        Raises:
            NotFound: There is no such run or event.
            InvalidDefinition: Its events cannot be folded, or were purged.
        """
        row = self._reading.find(run.id if isinstance(run, RunHandle) else run)
        return state_of(self._reading, folding.folded(self._reading, row.run, at))

    def get_workflows_by_status(self, status: str) -> list[WorkflowState]:
        """Return the states of all runs in a status, the newest first; ``interrupted`` is at work with nobody to do it.

        Raises:
            InvalidDefinition: There is no such status.
        """
        self._check_status(status)
        return [self.load_state(run) for run in self._in_status((status,))]

    def get_active_workflows(self) -> list[WorkflowState]:
        """Return the states of all runs that have not ended, the newest first."""
        return [self.load_state(run) for run in self._in_status(ACTIVE)]

    def get_workflows_by_attributes(self, attributes: Mapping[str, Any], *, status: str = "") -> list[WorkflowState]:
        """Return the states of all runs that have these search attributes, and are in a status, the newest first.

        Raises:
            InvalidDefinition: There is no such status.
        """
        found_by = {name: as_text(value) for name, value in attributes.items()}
        wanted = tuple(_STATUSES) if not status else (status,)
        self._check_status(status or wanted[0])
        return [self.load_state(run) for run in self._in_status(wanted, found_by)]

    def archive_completed_workflows(self, older_than: datetime) -> int:
        """Move what runs that completed before an instant have recorded into files; return how many that were.

        Raises:
            Unreachable: Somebody owns the store.
        """
        return self._collect(older_than, ("completed",), retention.archive)

    def purge_failed_workflows(self, older_than: datetime) -> int:
        """Delete what runs that failed before an instant have recorded; the log's chain stays whole. Return how many.

        Raises:
            Unreachable: Somebody owns the store.
        """
        return self._collect(older_than, ("failed", "quarantined"), retention.purge)

    def _collect(self, before: datetime, statuses: tuple[str, ...], act: Callable[..., list[Any]]) -> int:
        if before.tzinfo is None:
            raise InvalidDefinition("older_than needs a time zone, such as datetime.now(UTC) - timedelta(days=30)")
        instant = int(before.timestamp() * 1_000)
        rows = retention.collectable(self._reading, statuses=statuses, before=instant)
        return len(act(self._engine.folder, [row.run for row in rows], by=self._engine.author))

    def _check_status(self, status: str) -> None:
        if status not in _STATUSES:
            raise InvalidDefinition(f"no run is ever {status!r}; there is {', '.join(_STATUSES)}")

    def _in_status(self, statuses: Iterable[str], found_by: Mapping[str, str] | None = None) -> list[str]:
        wanted = set(statuses)
        stored = {"running", "pending"} if "interrupted" in wanted else set()
        found: list[str] = []
        after = 0
        while rows := self._reading.log.runs(
            status=sorted(wanted | stored), attributes=found_by, after_offset=after, limit=_PAGE
        ):
            found += [r.run for r in rows if self._reading.status(r) in wanted and not is_gone(r)]
            after = rows[-1].created_offset
        return found

    @property
    def _reading(self) -> Reading:
        return self._engine.reading


def checkpoints(engine: WorkflowEngine) -> FilesystemCheckpointStore:
    return FilesystemCheckpointStore(engine.folder / CHECKPOINTS, CODEC)


def keep(engine: WorkflowEngine, state: Run, *, step: str = "") -> StoredCheckpoint:
    """Keep a folded state as a checkpoint."""
    (record,) = engine.reading.log.stream(f"run/{state.id}", after=state.position - 1, limit=1)
    kept = StoredCheckpoint(
        state.id, state.position, record.hash, FINGERPRINT, step, engine.author, time.time_ns() // 1_000_000,
        CODEC.pack(to_plain(state)),
    )  # fmt: skip
    checkpoints(engine).put(kept)
    return kept


# --- from a folded run to its state -----------------------------------------------------------------


def state_of(reading: Reading, run: Run) -> WorkflowState:
    """Return a folded run with the mission's fields."""
    assert run.program is not None
    first = last = 0
    errors: list[RecordedError] = []
    for record in reading.records(run.id):
        if record.position > run.position:
            break
        first, last = first or record.time, record.time
        if "step_failed" in record.names or "step_gave_up" in record.names:
            errors += [
                _error(e, record.time) for e in folding.events_of(reading, record) if isinstance(e, ev.StepFailed)
            ]
    steps = [step for step in run.steps.values() if not step.ask_of]
    outputs: dict[str, Any] = reading.codec.unpack(run.outputs) if run.outputs else {}
    outputs |= {name: _blob(reading, digest) for name, digest, *_ in run.outputs_blobs}
    return WorkflowState(
        id=run.id,
        definition=run.program.plan,
        status=str(run.status),
        created_at=_instant(first),
        updated_at=_instant(last),
        current_step=next(iter((*run.open, *run.manual, *run.timers, *filter(None, run.agenda))), ""),
        completed_steps=tuple(step.path for step in steps if step.status is StepStatus.COMPLETED),
        failed_steps=tuple(step.path for step in steps if step.status is StepStatus.FAILED),
        step_results={step.path: _results(reading, run, step) for step in steps if step.status is StepStatus.COMPLETED},
        variables=dict(run.vars),
        inputs=_inputs(reading, run),
        outputs=outputs,
        errors=tuple(errors),
        retry_counts={step.path: step.retries for step in steps if step.retries > 0},
        seq=run.position,
        digest=folding.digest(reading, run),
    )


def _results(reading: Reading, run: Run, step: Any) -> Mapping[str, Any]:
    if step.fan is None and (step.exposed or step.blobs):
        names = exposed(run, step)
        return {n: _blob(reading, v.digest) if isinstance(v, BlobRef) else v for n, v in names.items()}
    value = _with_data(reading, run, lambda: step_value(run, step, ()))
    return value if isinstance(value, dict) else {}


def _with_data(reading: Reading, run: Run, compute: Callable[[], _T]) -> _T:
    """Compute something of a run's values, and load what that asks for."""
    seen: set[str] = set()
    while True:
        try:
            return compute()
        except NeedsData as missing:
            wanted, run.wanted = run.wanted, {}
            if wanted.keys() <= seen:
                raise InvalidDefinition(f"a value of run {run.id} cannot be loaded: {missing}") from missing
            for digest, size in wanted.items():
                seen.add(digest)
                run.cache.put(digest, size, _blob(reading, digest))


def _inputs(reading: Reading, run: Run) -> Mapping[str, Any]:
    if run.inputs_blob is not None:
        whole: dict[str, Any] = _blob(reading, run.inputs_blob.digest)
        return whole
    packed: dict[str, Any] = reading.codec.unpack(run.inputs_packed) if run.inputs_packed else {}
    return packed


def _blob(reading: Reading, digest: str) -> Any:
    try:
        return reading.codec.unpack(reading.blobs.get(digest))
    except KeyError as error:
        raise NotFound(f"the value {digest} is gone from {reading.folder}") from error


def _error(event: ev.StepFailed, at: int) -> RecordedError:
    plain = event.error
    return RecordedError(
        str(plain.get("type", "unknown")), event.path, str(plain.get("message", "")), plain.get("details") or {},
        _instant(at), bool(plain.get("recoverable", True)), str(plain.get("suggested_action", "")),
    )  # fmt: skip


def _instant(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1_000, UTC)

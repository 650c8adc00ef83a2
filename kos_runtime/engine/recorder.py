"""What was decided becomes records: packed, hashed, and given their places in their streams and in the log.

One recorder belongs to one partition. It holds the end of the log as it will be once everything that it made is stored,
so what it makes must be stored in that order, or be forgotten together with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from kos_runtime.core.chain import batch_link, batch_root, payload_digest, record_hash
from kos_runtime.core.event import describe
from kos_runtime.core.identity import run_stream
from kos_runtime.core.record import (
    AttributeRow,
    Batch,
    BatchLink,
    Head,
    Record,
    ResultRow,
    RunRow,
    SnapshotRow,
    TimerRow,
)
from kos_runtime.core.schedule.events import ScheduleSet
from kos_runtime.core.schedule.state import FINGERPRINT as SCHEDULE_FINGERPRINT
from kos_runtime.core.schedule.state import Schedule, schedule_stream
from kos_runtime.core.schedule.state import to_plain as schedule_plain
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.attributes import as_text
from kos_runtime.core.workflow.authority import DUE
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.snapshot import FINGERPRINT, to_plain
from kos_runtime.core.workflow.state import CANCEL_TIMER, DEADLINE_TIMER, Codec, Run
from kos_runtime.core.workflow.status import RunStatus
from kos_runtime.engine.limits import Limits

_new: Final = tuple.__new__
#: Up to so many events are one record without a look at their size.
SMALL_RECORD: Final = 4


@dataclass(slots=True)
class Meta:
    """What the log says of a run's stream, beside its state."""

    salt: bytes
    hash: bytes
    position: int
    created_at: int
    snapshot_position: int = 0
    #: When its last snapshot was taken, or when it was loaded or made.
    snapshot_at: int = 0
    #: Where its last record stands in the log.
    offset: int = 0
    #: What its row says.
    status: str = ""
    waiting: str = ""
    new: bool = False
    input_digest: str = ""
    #: Whether the run holds one of the places for runs at work.
    active: bool = False
    #: The store's timers of its steps that wait, by path, and that of the run as a whole (0 is none).
    timers: dict[str, TimerRow] = field(default_factory=dict)
    deadline: int = 0


def _is_taken_over(events: list[Any]) -> bool:
    """Say whether a run records once more what was recorded before."""
    return any(type(event) is ev.RunForked or type(event) is ev.RestoreBegun for event in events)


def stored_timers(run: Run) -> Iterator[tuple[str, TimerRow]]:
    """Return the timers of steps that wait. One that follows the wall clock has its fence below zero."""
    for path, what in run.waits.items():
        held = run.timers.get(path)
        if held is not None:
            yield path, TimerRow(held[0], run.id, path, -held[1] if what.get("wall") else held[1])


class Recorder:
    """See the module. ``time`` is log time in milliseconds, set by the partition before anything is recorded."""

    def __init__(
        self, *, store_id: str, number: int, epoch: int, head: Head, codec: Codec, limits: Limits, code_version: str
    ) -> None:
        self.store_id = store_id
        self.number = number
        self.epoch = epoch
        self.offset = head.offset
        self.link = head.link
        self.time = head.time
        self._codec = codec
        self._limits = limits
        self._code_version = code_version

    def decided(self, desk: Desk, meta: Meta, batch: Batch) -> list[tuple[int, str, str, int]]:
        """Put what one run decided into a batch; return its new timers, as (due, run, path, fence)."""
        run, events = desk.run, desk.events
        stream = run_stream(run.id)
        if meta.new:
            batch.streams.append((stream, meta.salt))
            meta.new = False
        cause = desk.causes[0] if len(desk.causes) == 1 else " ".join(desk.causes)
        for part in (events,) if len(events) <= SMALL_RECORD else self._parts(events):
            if part:
                self._append(batch, run.id, meta, stream, part, cause)
                if run.sought and not _is_taken_over(events):
                    self._keep(run, part, meta, batch)
        run.position = meta.position
        timers: list[tuple[int, str, str, int]] = []
        for event in events:
            kind = type(event)
            if kind is ev.StepScheduled:
                continue
            if kind is ev.StepCompleted:
                if event.blobs:
                    batch.blob_refs.extend((blob[1], stream) for blob in event.blobs)
            elif kind is ev.RetryScheduled:
                timers.append((event.at, run.id, event.path, event.fence))
                if event.delay_ms > self._limits.long_timer_ms:
                    batch.timers_set.append(TimerRow(event.at, run.id, event.path, event.fence))
            elif kind is ev.ResultReused:
                batch.blob_refs.extend((blob[1], stream) for blob in event.blobs)
            elif kind is ev.SearchAttributesSet:
                batch.attributes += (
                    AttributeRow(run.id, name, None if value is None else as_text(value))
                    for name, value in event.attributes.items()
                )
            elif kind is ev.RestoreBegun:
                batch.attributes.append(AttributeRow(run.id, "", None))
            elif kind is ev.PlanRevised:
                batch.blob_refs.extend((digest, stream) for digest in (event.plan, event.link))
            elif kind is ev.AuthorityAsked and event.due:
                timers.append((event.due, run.id, DUE + event.request, event.number))
            elif kind is ev.CancelRequested:
                timers.append((event.until, run.id, CANCEL_TIMER, event.number))
            elif kind is ev.TimerFired:
                batch.timers_cleared.append(TimerRow(event.due, run.id, event.path, event.fence))
            elif kind is ev.ResultJoined or kind is ev.ChildEnded:
                batch.blob_refs.extend((blob[1], stream) for blob in event.blobs)
        if desk.blobs:
            batch.blob_refs.extend((digest, stream) for digest in desk.blobs)
        if run.waits or meta.timers:
            timers += self._stored_timers(run, meta, batch)
        return timers

    def _keep(self, run: Run, events: list[Any], meta: Meta, batch: Batch) -> None:
        """Have others find the results in a record that was just made."""
        for event in events:
            if type(event) is ev.StepCompleted and (key := run.sought.get(event.path)):
                batch.results.append(ResultRow(key, run.id, event.path, meta.position, self.time))

    def _stored_timers(self, run: Run, meta: Meta, batch: Batch) -> list[tuple[int, str, str, int]]:
        """Have the store's timers say what the run's state does; return those that are new."""
        for path, row in list(meta.timers.items()):
            held = run.timers.get(path)
            if held is None or held != (row.due, abs(row.fence)):
                batch.timers_cleared.append(meta.timers.pop(path))
        found = []
        for path, row in stored_timers(run):
            if path not in meta.timers:
                meta.timers[path] = row
                batch.timers_set.append(row)
                found.append((row.due, run.id, path, row.fence))
        return found

    def deadline(self, run: Run, meta: Meta, batch: Batch, *, at_rest: bool) -> None:
        """Have the store bring back a run that rests when it has taken as long as it may."""
        due = run.deadline if at_rest and run.status is RunStatus.RUNNING else 0
        if due != meta.deadline:
            if meta.deadline:
                batch.timers_cleared.append(TimerRow(meta.deadline, run.id, DEADLINE_TIMER, 0))
            if due:
                batch.timers_set.append(TimerRow(due, run.id, DEADLINE_TIMER, 0))
            meta.deadline = due

    def row(self, run: Run, meta: Meta, status: str, waiting: str, batch: Batch) -> None:
        """Put a run's row, which is to say something new, into a batch."""
        meta.status, meta.waiting = status, waiting
        error = "" if run.error is None else str(run.error.get("message", ""))
        batch.runs.append(self._run_row(run, meta, status, waiting, error))

    def snapshot(self, run: Run, meta: Meta, batch: Batch, *, due: bool = False) -> None:
        """Put a snapshot of a run with some tail into a batch, if that is long for what the run is, or it is due."""
        if run.status is not RunStatus.RUNNING:
            return
        tail = meta.position - meta.snapshot_position
        long = tail > max(self._limits.snapshot_records, meta.snapshot_position // 2)
        if long or due or meta.status in {RunStatus.WAITING, RunStatus.PAUSED}:
            state = self._codec.pack(to_plain(run))
            batch.snapshots.append(
                SnapshotRow(run_stream(run.id), meta.position, meta.offset, FINGERPRINT, meta.hash, state)
            )
            meta.snapshot_position, meta.snapshot_at = meta.position, self.time

    def quarantined(self, run: Run, meta: Meta, error: str, cause: bytes, batch: Batch) -> tuple[str, bytes]:
        """Put a run's last record into a batch; return the blob that it mentions, the cause, by its digest."""
        digest = sha256(cause).hexdigest()
        stream = run_stream(run.id)
        self._append(
            batch, run.id, meta, stream, [ev.RunQuarantined(digest, error[:2_000], self._code_version)], "quarantine"
        )
        batch.blob_refs.append((digest, stream))
        batch.runs.append(self._run_row(run, meta, RunStatus.QUARANTINED, "", error))
        return digest, cause

    def schedule(self, schedule: Schedule, meta: Meta, events: list[Any], cause: str, batch: Batch) -> None:
        """Put what a schedule decided into a batch."""
        stream = schedule_stream(schedule.id)
        if meta.new:
            batch.streams.append((stream, meta.salt))
            meta.new = False
        self._append(batch, schedule.id, meta, stream, events, cause)
        schedule.position = meta.position
        batch.blob_refs.extend(
            (digest, stream)
            for event in events
            if isinstance(event, ScheduleSet)
            for digest in (event.plan, event.link)
        )
        if meta.position - meta.snapshot_position >= self._limits.snapshot_at_rest:
            state = self._codec.pack(schedule_plain(schedule))
            row = SnapshotRow(stream, meta.position, meta.offset, SCHEDULE_FINGERPRINT, meta.hash, state)
            batch.snapshots.append(row)
            meta.snapshot_position = meta.position

    def seal(self, batch: Batch) -> None:
        """Link a batch, which is complete, to the one before it."""
        count = len(batch.records)
        if count:
            first = self.offset - count + 1
            root = batch_root([record.hash for record in batch.records])
            self.link = batch_link(self.link, self.epoch, first, count, root)
            batch.link = BatchLink(first, count, self.epoch, root, self.link)

    def _append(self, batch: Batch, run: str, meta: Meta, stream: str, events: list[Any], cause: str) -> None:
        names, values = describe(events)
        self._put(batch, run, meta, stream, names, self._codec.pack(values), cause)

    def peer(self, run: str, stream: str, meta: Meta, written: list[Any], cause: str, batch: Batch) -> None:
        """Put records of a peer into a batch, as they come from its process."""
        if meta.new:
            batch.streams.append((stream, meta.salt))
            meta.new = False
        for names, payload in written:
            self._put(batch, run, meta, stream, names, payload, cause)

    def _put(self, batch: Batch, run: str, meta: Meta, stream: str, names: str, payload: bytes, cause: str) -> None:
        digest = payload_digest(meta.salt, payload)
        self.offset += 1
        meta.offset = self.offset
        meta.position += 1
        meta.hash = record_hash(
            self.store_id, self.number, stream, meta.position, names, self.time, cause, run, digest, meta.hash
        )
        # Not through the constructor, which takes four times as long.
        row = (
            self.offset, stream, meta.position, self.epoch, self.time, names, cause, run, payload, digest, meta.hash,
        )  # fmt: skip
        batch.records.append(_new(Record, row))

    def _parts(self, events: list[Any]) -> Iterator[list[Any]]:
        """Cut what one run decided into records that stay within their bounds."""
        part: list[Any] = []
        size = 0
        for event in events:
            weight = len(event.exposed) if type(event) is ev.StepCompleted else 64
            if (
                part
                and type(part[-1]) is not ev.AuthorityRecorded
                and (len(part) >= self._limits.max_record_events or size + weight > self._limits.max_record_bytes)
            ):
                yield part
                part, size = [], 0
            part.append(event)
            size += weight
        yield part

    def _run_row(self, run: Run, meta: Meta, status: str, waiting: str, error: str) -> RunRow:
        return RunRow(
            run.id,
            run.workflow,
            run.version,
            run.name,
            str(status),
            meta.created_at,
            self.time,
            meta.offset,
            meta.position,
            run.key,
            meta.input_digest,
            run.plan_digest,
            waiting,
            error[:500],
        )

"""Readers and writers of a log in memory, with the contract of those of a file, and with faults on demand."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import TypeVar

from kos_runtime.adapters.event_store.memory_evidence import MemoryEvidence
from kos_runtime.adapters.event_store.memory_log import Fault, MemoryLog, Row
from kos_runtime.adapters.event_store.writing import carries_rows, check_shape
from kos_runtime.core.errors import (
    AppendConflict,
    AppendUnknown,
    Fenced,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreReadOnly,
)
from kos_runtime.core.identity import run_stream
from kos_runtime.core.record import (
    Batch,
    BatchLink,
    CommandRow,
    Head,
    Lease,
    LimitRow,
    Record,
    ResultRow,
    RunRow,
    SnapshotRow,
    StoredRun,
    TimerRow,
)

Made = TypeVar("Made")

_WHERE = "the log in memory"


class MemoryLogReader:
    """A reader of a log in memory. What it returns is the caller's own."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log

    @property
    def store_id(self) -> str:
        """The store's identity, made once when it was created."""
        return self._readable().store_id

    @property
    def partition(self) -> int:
        """Which partition of the store this is, from 0."""
        return self._readable().partition

    def head(self) -> Head:
        """Return the end of the log."""
        return Head(*self._readable().head)

    def lease(self) -> Lease:
        """Return who claimed the partition last; epoch 0 and an empty owner when nobody has."""
        log = self._readable()
        return Lease(log.partition, log.epoch, log.owner, log.renewed_at)

    def stream(self, stream: str, *, after: int = 0, limit: int = 1_000) -> list[Record]:
        """Return records of one stream with ``position > after``, in order, at most ``limit``."""
        log = self._readable()
        places = log.positions.get(stream, {})
        # Positions have no gaps, so the next ones are known without looking at those before.
        wanted = range(after + 1, min(after + limit, len(places)) + 1)
        return [_made(Record, log.records[places[position] - 1]) for position in wanted]

    def records(self, *, after: int = 0, limit: int = 1_000) -> list[Record]:
        """Return records of the partition with ``offset > after``, in order, at most ``limit``."""
        return [_made(Record, row) for row in self._readable().records[after : after + limit]]

    def batches(self, *, after: int = 0, limit: int = 1_000) -> list[BatchLink]:
        """Return links of commits with ``first_offset > after``, in order, at most ``limit``."""
        links = [_made(BatchLink, row) for row in self._readable().links]
        return [link for link in links if link.first_offset > after][:limit]

    def salt(self, stream: str) -> bytes | None:
        """Return a stream's salt, or None when there is no such stream."""
        return self._readable().salts.get(stream)

    def streams(self, prefix: str) -> list[str]:
        """Return the names of streams that begin so, in the order of their names."""
        return sorted(stream for stream in self._readable().salts if stream.startswith(prefix))

    def origin(self, stream: str) -> tuple[str, int] | None:
        """Return the store and the partition in which a stream was written, None when it was here."""
        return self._readable().origins.get(stream)

    def blobs_of(self, stream: str) -> list[tuple[str, bool]]:
        """Return the blobs that a stream mentions, each with whether another one mentions it too."""
        refs = self._readable().blob_refs
        return sorted(
            (blob, any(other == blob and its != stream for other, its in refs)) for blob, its in refs if its == stream
        )

    def snapshot(self, stream: str) -> SnapshotRow | None:
        """Return the newest snapshot of a stream, if there is one."""
        row = self._readable().snapshots.get(stream)
        return None if row is None else _made(SnapshotRow, row)

    def run(self, run: str) -> RunRow | None:
        """Return one run's row, by its full id."""
        row = self._readable().runs.get(run)
        return None if row is None else _made(RunRow, row)

    def recall(self, runs: Sequence[str], *, tail: int) -> list[StoredRun]:
        """Return what is held of runs, by their full ids: of each at most ``tail`` records behind its snapshot."""
        found = []
        for run in dict.fromkeys(runs):
            row, stream = self.run(run), run_stream(run)
            if row is not None:
                snapshot = self.snapshot(stream)
                records = self.stream(stream, after=0 if snapshot is None else snapshot.position, limit=tail + 1)
                whole = len(records) <= tail
                salt = self.salt(stream) or b""
                found.append(StoredRun(row, salt, self.origin(stream), snapshot, records[:tail], whole))
        return found

    def runs(
        self,
        *,
        status: Sequence[str] = (),
        workflow: str | None = None,
        prefix: str = "",
        name: str | None = None,
        attributes: Mapping[str, str] | None = None,
        newest_first: bool = True,
        after_offset: int = 0,
        limit: int = 1_000,
    ) -> list[RunRow]:
        """Return rows of runs that match everything given, ordered by creation."""
        log = self._readable()
        rows = [_made(RunRow, row) for row in log.runs.values()]
        rows.sort(key=lambda row: log.numbers[run_stream(row.run)], reverse=newest_first)
        if after_offset or not newest_first:
            rows = [row for row in rows if (row.created_offset < after_offset) == newest_first]
            rows = [row for row in rows if row.created_offset != after_offset]
        return [
            row
            for row in rows
            if (not status or row.status in status)
            and workflow in {None, row.workflow}
            and name in {None, row.name}
            and row.run.startswith(prefix)
            and (attributes or {}).items() <= log.attributes.get(row.run, {}).items()
        ][:limit]

    def attributes(self, run: str) -> dict[str, str]:
        """Return a run's search attributes, as text, by name."""
        return dict(sorted(self._readable().attributes.get(run, {}).items()))

    def run_counts(self) -> dict[str, int]:
        """Return how many runs have which status."""
        counts: dict[str, int] = {}
        for row in sorted(self.runs(limit=len(self._readable().runs)), key=lambda row: row.status):
            counts[row.status] = counts.get(row.status, 0) + 1
        return counts

    def timers_due(self, before: int, *, after: TimerRow | None = None, limit: int = 1_000) -> list[TimerRow]:
        """Return timers with ``due <= before``, soonest first, at most ``limit``; of those behind ``after``."""
        timers = self._readable().timers
        begin = 0 if after is None else bisect_right(timers, (after.due, after.run, after.path, after.fence))
        return [TimerRow(*timer) for timer in timers[begin : begin + limit] if timer[0] <= before]

    def next_timer(self) -> int | None:
        """Return the instant of the soonest timer, or None."""
        timers = self._readable().timers
        return timers[0][0] if timers else None

    def command(self, command_id: str) -> CommandRow | None:
        """Return what a command was answered, when it was carried out before."""
        row = self._readable().commands.get(command_id)
        return None if row is None else _made(CommandRow, row)

    def result(self, key: str) -> ResultRow | None:
        """Return where the newest result of a key is kept, when one is."""
        row = self._readable().results.get(key)
        return None if row is None else _made(ResultRow, row)

    def limits(self) -> list[LimitRow]:
        """Return what is known of limits, in the order of their names."""
        return [LimitRow(name, state) for name, state in sorted(self._readable().limits.items())]

    def evidence(self) -> MemoryEvidence:
        """Return the rows as they are stored, for verification."""
        return MemoryEvidence.of(self._readable())

    def close(self) -> None:
        """Release what is held. Calling it again does nothing."""

    def _readable(self) -> MemoryLog:
        return self.log


class MemoryEventStore(MemoryLogReader):
    """A writer of a log in memory. Several may be opened on one log; the epoch tells them apart."""

    def __init__(self, log: MemoryLog, wall: Callable[[], int] = lambda: 0) -> None:
        super().__init__(log)
        self._wall = wall
        self._refusal: AppendUnknown | None = None

    def claim(self, expected_epoch: int, owner: str) -> Lease:
        """Become the owner: raise the epoch by one, if it still is ``expected_epoch``."""
        log = self._readable()
        log.settle()
        if log.epoch != expected_epoch:
            raise Fenced(log.partition, expected_epoch, log.epoch)
        log.epoch, log.owner, log.renewed_at = expected_epoch + 1, owner, self._wall()
        return self.lease()

    def renew(self, epoch: int) -> None:
        """Say that the owner is alive."""
        self._admit(Batch(epoch))
        self._readable().renewed_at = self._wall()

    def append(self, batch: Batch) -> None:
        """Store a batch: all of it or nothing, unless a fault was asked for."""
        log = self._readable()
        check_shape(batch, _WHERE)
        log.appends += 1
        fault = log.faults(log.appends)
        if fault is Fault.FENCED:
            log.epoch, log.owner = log.epoch + 1, "somebody else"
        self._admit(batch)
        if (refusal := _definite(fault)) is not None:
            raise refusal
        if fault is Fault.LATE:
            log.store_late(deepcopy(batch))
        elif fault is not Fault.LOST and carries_rows(batch):
            log.store(batch)
        if fault in {Fault.LOST, Fault.STORED, Fault.LATE}:
            self._refusal = AppendUnknown(log.partition, "the answer was lost")
            raise self._refusal

    def idle(self) -> None:
        """Do nothing: there is no file to care for."""
        self._readable()

    def _admit(self, batch: Batch) -> None:
        log = self._readable()
        if batch.epoch != log.epoch:
            raise Fenced(log.partition, batch.epoch, log.epoch)
        if batch.records and batch.records[0].offset != len(log.records) + 1:
            raise AppendConflict(log.partition, batch.records[0].offset, len(log.records) + 1)

    def _readable(self) -> MemoryLog:
        if self._refusal is not None:
            raise AppendUnknown(self._refusal.partition, self._refusal.reason)
        return self.log


def _definite(fault: Fault | None) -> StoreError | None:
    match fault:
        case Fault.FULL:
            return StoreFull(_WHERE)
        case Fault.BUSY:
            return StoreBusy(_WHERE)
        case Fault.READ_ONLY:
            return StoreReadOnly(_WHERE)
        case _:
            return None


def _made(make: Callable[..., Made], row: Row) -> Made:
    return make(*row)

"""A log in memory: what a partition's file is to SQLite, for simulations and tests.

It outlives the stores that are opened on it, as a file outlives processes. Rows are kept as tuples, so nobody shares a
record with anybody.
"""

from bisect import bisect_left, insort
from collections.abc import Callable
from enum import StrEnum
from operator import attrgetter
from typing import Final

from kos_runtime.adapters.event_store.schema import BATCH_LINK, COMMAND, RECORD, RESULT, RUN, SNAPSHOT, TIMER
from kos_runtime.adapters.event_store.writing import MAX_RESULTS
from kos_runtime.core.chain import EMPTY
from kos_runtime.core.errors import InvariantViolation
from kos_runtime.core.identity import run_stream
from kos_runtime.core.record import Batch, SnapshotRow

Row = tuple[object, ...]

as_record: Final = attrgetter(*RECORD)
as_link: Final = attrgetter(*BATCH_LINK)
as_run: Final = attrgetter(*RUN[:-1])
as_timer: Final = attrgetter(*TIMER)
as_command: Final = attrgetter(*COMMAND)
as_snapshot: Final = attrgetter(*SNAPSHOT)
as_result: Final = attrgetter(*RESULT)

Timer = tuple[int, str, str, int]


class Fault(StrEnum):
    """What an append can be made to suffer."""

    FULL = "full"
    BUSY = "busy"
    READ_ONLY = "read_only"
    #: Somebody else claims the partition just before.
    FENCED = "fenced"
    #: Indefinite, and it did not happen.
    LOST = "lost"
    #: Indefinite, and it did.
    STORED = "stored"
    #: Indefinite, and it happens when the next writer claims: until then a reader does not see it.
    LATE = "late"


class MemoryLog:
    """One partition's rows.

    ``faults`` says, of the n-th append to this log (from 1, whoever makes it), what it suffers; ``{3: Fault.FULL}.get``
    is one.
    """

    def __init__(
        self, store_id: str, partition: int = 0, *, faults: Callable[[int], Fault | None] = lambda _: None
    ) -> None:
        self.store_id, self.partition, self.faults = store_id, partition, faults
        self.appends = 0
        self.epoch, self.owner, self.renewed_at = 0, "", 0
        self.records: list[Row] = []
        self.links: list[Row] = []
        self.positions: dict[str, dict[int, int]] = {}
        self.salts: dict[str, bytes] = {}
        self.numbers: dict[str, int] = {}
        self.runs: dict[str, Row] = {}
        self.timers: list[Timer] = []
        self.commands: dict[str, Row] = {}
        self.blob_refs: set[tuple[str, str]] = set()
        self.snapshots: dict[str, Row] = {}
        self.origins: dict[str, tuple[str, int]] = {}
        self.results: dict[str, Row] = {}
        self.limits: dict[str, bytes] = {}
        self.attributes: dict[str, dict[str, str]] = {}
        self._late: Batch | None = None

    @property
    def head(self) -> tuple[int, bytes, int]:
        """Offset, link and log time of the end."""
        if not self.links:
            return 0, EMPTY, 0
        link, time = self.links[-1][4], self.records[-1][4]
        assert isinstance(link, bytes)
        assert isinstance(time, int)
        return len(self.records), link, time

    def store(self, batch: Batch) -> None:
        """Store a batch that was admitted: all of it, or nothing.

        Raises:
            InvariantViolation: It contradicts itself or the log.
        """
        self._check(batch)
        first = {record.stream: record.offset for record in reversed(batch.records)}
        for stream, salt in sorted(batch.streams, key=lambda begun: first.get(begun[0], 0)):
            self.salts[stream], self.numbers[stream], self.positions[stream] = salt, len(self.numbers) + 1, {}
        for record in batch.records:
            self.records.append(as_record(record))
            self.positions[record.stream][record.position] = record.offset
        if batch.link is not None:
            self.links.append(as_link(batch.link))
        for row in batch.runs:
            before = self.runs.get(row.run)
            self.runs[row.run] = (*as_run(row), row.offset if before is None else before[-1])
        for timer in map(as_timer, batch.timers_set):
            if not self._has(timer):
                insort(self.timers, timer)
        for timer in map(as_timer, batch.timers_cleared):
            if self._has(timer):
                del self.timers[bisect_left(self.timers, timer)]
        for command in batch.commands:
            self.commands[command.command_id] = as_command(command)
        self.blob_refs.update(batch.blob_refs)
        for stream, store, partition in batch.origins:
            self.origins[stream] = (store, partition)
        for result in batch.results:
            self.results.pop(result.key, None)
            self.results[result.key] = as_result(result)
        while len(self.results) > MAX_RESULTS:
            del self.results[next(iter(self.results))]
        self.limits |= {row.name: row.state for row in batch.limits}
        if batch.limits:
            self.limits = {name: state for name, state in self.limits.items() if state}
        for attribute in batch.attributes:
            held = self.attributes.setdefault(attribute.run, {})
            if attribute.value is not None:
                held[attribute.name] = attribute.value
            elif attribute.name:
                held.pop(attribute.name, None)
            else:
                held.clear()
        for stream in batch.emptied:
            self._empty(stream)
        for snapshot in batch.snapshots:
            kept = self.snapshots.get(snapshot.stream)
            if kept is None or SnapshotRow(*kept).position <= snapshot.position:  # type: ignore[arg-type]
                self.snapshots[snapshot.stream] = as_snapshot(snapshot)

    def _empty(self, stream: str) -> None:
        for offset in self.positions[stream].values():
            self.records[offset - 1] = (*self.records[offset - 1][:8], b"", *self.records[offset - 1][9:])
        self.salts[stream] = b""
        self.snapshots.pop(stream, None)
        self.attributes = {run: held for run, held in self.attributes.items() if run_stream(run) != stream}
        self.blob_refs = {reference for reference in self.blob_refs if reference[1] != stream}
        self.results = {key: row for key, row in self.results.items() if run_stream(str(row[1])) != stream}

    def store_late(self, batch: Batch) -> None:
        """Keep a batch back until the next claim."""
        self._late = batch

    def settle(self) -> None:
        """Let happen what was kept back: a claim waits for the append that holds the lease's row."""
        late, self._late = self._late, None
        if late is not None and late.epoch == self.epoch:
            self.store(late)

    def _has(self, timer: Timer) -> bool:
        at = bisect_left(self.timers, timer)
        return at < len(self.timers) and self.timers[at] == timer

    def _check(self, batch: Batch) -> None:
        """Refuse what a database would refuse by its keys, before anything is changed."""
        begun = dict(batch.streams)
        taken: set[tuple[str, int]] = set()
        commands: set[str] = set()
        if len(begun) != len(batch.streams) or any(stream in self.salts for stream in begun):
            raise InvariantViolation("a stream begins twice")
        for record in batch.records:
            place = (record.stream, record.position)
            if record.stream not in begun and record.stream not in self.salts:
                raise InvariantViolation(f"{record.stream} never began, it has no salt")
            if place in taken or record.position in self.positions.get(record.stream, ()):
                raise InvariantViolation(f"seq {record.position} of {record.stream} is taken")
            taken.add(place)
        for row in batch.runs:
            stream = run_stream(row.run)
            if stream not in begun and stream not in self.salts:
                raise InvariantViolation(f"{stream} never began, it has no salt")
        for command in batch.commands:
            if command.command_id in commands or command.command_id in self.commands:
                raise InvariantViolation(f"command {command.command_id} was carried out before")
            commands.add(command.command_id)

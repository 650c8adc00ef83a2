"""Rows in memory for verification, and for proofs that alter them first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import starmap

from kos_runtime.adapters.event_store.memory_log import MemoryLog
from kos_runtime.core.evidence import Finding, Mark, RawCommit, RawRecord
from kos_runtime.core.identity import run_stream
from kos_runtime.core.record import RunRow, SnapshotRow


@dataclass(slots=True)
class MemoryEvidence:
    """Rows, in the order in which a store would hold them."""

    store_id: str
    partition: int
    rows: Sequence[RawRecord]
    links: Sequence[RawCommit]
    salts: Mapping[str, object]
    remembered: Sequence[Mark] = ()
    origins: Mapping[str, tuple[object, object]] = field(default_factory=dict)

    @classmethod
    def of(cls, log: MemoryLog) -> "MemoryEvidence":
        """Take the rows of a log as they are now."""
        marks = [Mark(f"the salt of {stream}", stream, 1, 0) for stream in log.salts]
        marks += [
            Mark(f"the row of run {run.run}", run_stream(run.run), run.position, run.offset)
            for run in starmap(RunRow, log.runs.values())
        ]
        for kept in starmap(SnapshotRow, log.snapshots.values()):
            said_by = f"the snapshot of {kept.stream}"
            marks.append(Mark(said_by, kept.stream, kept.position, kept.offset, kept.hash))
        return cls(
            log.store_id, log.partition, list(log.records), list(log.links), dict(log.salts), marks, dict(log.origins)
        )

    def marks(self) -> Iterator[Mark]:
        """Yield what runs, snapshots and streams remember of the log."""
        return iter(self.remembered)

    def commits(self) -> Iterator[RawCommit]:
        """Yield all commits by first offset."""
        return iter(self.links)

    def records(self) -> Iterator[RawRecord]:
        """Yield all records by offset."""
        return iter(self.rows)

    def salt(self, stream: str) -> object:
        """Return what is kept as a stream's salt, None when nothing is."""
        return self.salts.get(stream)

    def origin(self, stream: str) -> tuple[object, object] | None:
        """Return where a stream was written, None when it was here."""
        return self.origins.get(stream)

    def complaints(self) -> Iterator[Finding]:
        """Yield nothing: there is no index to disagree."""
        return iter(())

    def stream_marks(self, stream: str) -> Iterator[Mark]:
        """Yield what a run's row and a snapshot remember of one stream."""
        return (mark for mark in self.remembered if mark.stream == stream and mark.offset > 0)

    def stream_records(self, stream: str) -> Iterator[RawRecord]:
        """Yield one stream's records."""
        return (row for row in self.rows if row[1] == stream)

    def commit_around(self, offset: int) -> tuple[RawCommit | None, RawCommit | None]:
        """Return the commit that begins at an offset or last before it, and the one before that."""
        before = [link for link in self.links if isinstance(link[0], int) and link[0] <= offset]
        return (before[-1] if before else None), (before[-2] if len(before) > 1 else None)

    def hashes(self, first: int, last: int) -> Iterator[tuple[object, object]]:
        """Yield offset and hash of the records from one offset to another, both included."""
        return ((row[0], row[10]) for row in self.rows if isinstance(row[0], int) and first <= row[0] <= last)

    def last_commit(self) -> RawCommit | None:
        """Return the commit with the greatest first offset."""
        return self.links[-1] if self.links else None

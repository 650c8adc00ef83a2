"""The log's store: what every backend promises, and what its contract suite checks.

A store holds one partition: one sequence of records with contiguous offsets from 1, and one writer at a time. The
writer is told from those that it has outlived by its *epoch*, a number that only ``claim`` raises and that each
append checks inside its own transaction.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

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


class LogReader(Protocol):
    """What may be read without owning anything. It never blocks the writer and may lag behind it."""

    @property
    def store_id(self) -> str:
        """The store's identity, made once when it was created."""
        ...

    @property
    def partition(self) -> int:
        """Which partition of the store this is, from 0."""
        ...

    def head(self) -> Head:
        """Return the end of the log."""
        ...

    def lease(self) -> Lease:
        """Return who claimed the partition last; epoch 0 and an empty owner when nobody has."""
        ...

    def stream(self, stream: str, *, after: int = 0, limit: int = 1_000) -> list[Record]:
        """Return records of one stream with ``position > after``, in order, at most ``limit``."""
        ...

    def records(self, *, after: int = 0, limit: int = 1_000) -> list[Record]:
        """Return records of the partition with ``offset > after``, in order, at most ``limit``."""
        ...

    def batches(self, *, after: int = 0, limit: int = 1_000) -> list[BatchLink]:
        """Return links of commits with ``first_offset > after``, in order, at most ``limit``."""
        ...

    def salt(self, stream: str) -> bytes | None:
        """Return a stream's salt, or None when there is no such stream."""
        ...

    def streams(self, prefix: str) -> list[str]:
        """Return the names of streams that begin so, in the order of their names."""
        ...

    def origin(self, stream: str) -> tuple[str, int] | None:
        """Return the store and the partition in which a stream was written, None when it was here."""
        ...

    def blobs_of(self, stream: str) -> list[tuple[str, bool]]:
        """Return the blobs that a stream mentions, each with whether another stream mentions it too."""
        ...

    def snapshot(self, stream: str) -> SnapshotRow | None:
        """Return the newest snapshot of a stream, if there is one."""
        ...

    def run(self, run: str) -> RunRow | None:
        """Return one run's row, by its full id."""
        ...

    def recall(self, runs: Sequence[str], *, tail: int) -> list[StoredRun]:
        """Return what is held of runs, by their full ids: of each at most ``tail`` records behind its snapshot.

        For many runs at once it is a handful of questions instead of that many each. Runs that are not there are left
        out.

        Raises:
            StoreDamaged: The index of streams leads to a record of another stream or place.
        """
        ...

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
        """Return rows of runs that match everything given, ordered by creation.

        ``attributes``: search attributes as text, all of which the run has.

        ``after_offset`` pages: with ``newest_first`` False only rows created behind it are returned
        (a run's creation offset never changes), with ``newest_first`` True only rows before it unless it is 0.
        """
        ...

    def attributes(self, run: str) -> dict[str, str]:
        """Return a run's search attributes, as text, by name."""
        ...

    def run_counts(self) -> dict[str, int]:
        """Return how many runs have which status."""
        ...

    def timers_due(self, before: int, *, after: TimerRow | None = None, limit: int = 1_000) -> list[TimerRow]:
        """Return timers with ``due <= before``, soonest first, at most ``limit``; of those behind ``after``."""
        ...

    def next_timer(self) -> int | None:
        """Return the instant of the soonest timer, or None."""
        ...

    def command(self, command_id: str) -> CommandRow | None:
        """Return what a command was answered, when it was carried out before."""
        ...

    def limits(self) -> list[LimitRow]:
        """Return what is known of limits, in the order of their names."""
        ...

    def result(self, key: str) -> ResultRow | None:
        """Return where the newest result of a key is kept, when one is: at most ``MAX_RESULTS`` are, the newest."""
        ...

    def close(self) -> None:
        """Release what is held. Calling it again does nothing."""
        ...


class EventStore(LogReader, Protocol):
    """The writer's side. One object, one thread at a time."""

    def claim(self, expected_epoch: int, owner: str) -> Lease:
        """Become the owner: raise the epoch by one, if it still is ``expected_epoch``.

        Durable when it returns. From then on every append with an older epoch is refused.

        Raises:
            Fenced: Somebody else claimed since the epoch was read.
        """
        ...

    def renew(self, epoch: int) -> None:
        """Say that the owner is alive.

        Raises:
            Fenced: The epoch is not the newest any more.
        """
        ...

    def append(self, batch: Batch) -> None:
        """Store a batch in one transaction: all of it or nothing, durable when this returns.

        The epoch and the next offset are checked in the same transaction. A batch without records only checks the
        epoch, so that an answer which needed no record can leave.

        Raises:
            Fenced: The epoch is old. Definite: nothing was stored.
            AppendConflict: The next offset is another one. Definite.
            StoreFull, StoreBusy, StoreReadOnly: Definite; the same append may succeed later.
            AppendUnknown: Indefinite. This object refuses everything from then on; a successor must claim
                a new epoch, read the tail and compare offset and hash.
        """
        ...

    def idle(self) -> None:
        """Do what may be done between batches, such as a checkpoint of the write-ahead log. Bounded in time."""
        ...


class Follower(Protocol):
    """Something that reads the log from a cursor, such as an export."""

    def follow(self, after: int) -> Iterator[Record]: ...

"""The log of a partition in one SQLite file, and its one writer.

Two things keep a second writer out. A lock on ``<file>.owner`` keeps it from starting on this host, and the epoch,
checked inside each transaction, keeps whoever was outlived from storing anything. Durable means: write-ahead log with
``synchronous=FULL``, so a commit returns after its frames are synced.

What a failure means is decided here. A transaction that was rolled back did not happen. Of a commit that failed
otherwise, and of any I/O error, nobody knows: this object then refuses everything, and the next writer to open the
file copies the whole write-ahead log into the database before it believes the tail.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import apsw

from kos_runtime.adapters.event_store.connection import (
    Meta,
    Tuning,
    check_quickly,
    connect_writer,
    empty_wal,
    grow_wal,
    meta_of,
    opening,
)
from kos_runtime.adapters.event_store.faults import definite
from kos_runtime.adapters.event_store.layout import (
    database_path,
    new_database_path,
    prepare_folder,
    refuse_network,
    sync_folder,
)
from kos_runtime.adapters.event_store.queries import LogQueries
from kos_runtime.adapters.event_store.writing import Numbers, carries_rows, check_shape, write
from kos_runtime.adapters.ownership import Ownership
from kos_runtime.core.errors import (
    AppendConflict,
    AppendUnknown,
    Fenced,
    InvariantViolation,
    NotFound,
    StoreDamaged,
    Unreachable,
)
from kos_runtime.core.failpoint import hit
from kos_runtime.core.record import LOG_FORMAT, Batch, Lease

Result = TypeVar("Result")

#: How many streams' numbers are kept at hand before all are dropped, to be asked for again.
_KNOWN_STREAMS: Final = 131_072
#: At this multiple of its size the write-ahead log is too long for politeness: readers are waited for.
_WAL_EXCESS: Final = 4

_ADMISSION: Final = (
    "SELECT (SELECT epoch FROM partitions WHERE partition = ?),"
    " (SELECT first_offset + count FROM batches ORDER BY first_offset DESC LIMIT 1),"
    " (SELECT max(number) FROM streams)"
)


class SqliteEventStore(LogQueries):
    """The writer of one partition. One object, one thread at a time."""

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        wall: Callable[[], int],
        partition: int = 0,
        partitions: int = 1,
        create: bool = True,
        store_id: str | None = None,
        wait_ms: int = 2_000,
        takeover_after_ms: int | None = None,
        tuning: Tuning | None = None,
    ) -> "SqliteEventStore":
        """Open a partition of the store in a folder, for writing, and own it until ``close``.

        Args:
            folder: The store's folder.
            wall: The time in milliseconds since 1970, for leases.
            partition: Which partition, from 0.
            partitions: How many the store has; told when it is created.
            create: Whether to create the store when there is none; then ``store_id`` is needed.
            store_id: Which store this has to be; None for whichever it is.
            wait_ms: How long to wait for another owner on this host to let go.
            takeover_after_ms: After how long to end another owner instead; None to leave it alone.
            tuning: How to treat the file.

        Raises:
            NotFound: There is no store, and none was to be created.
            Unreachable: It is another store, or lies where no store may lie.
            HeldByAnother: Another process owns it.
            StoreTooNew, StoreDamaged, StoreReadOnly, StoreBusy, StoreFull: As they say.
        """
        place, how = Path(folder), tuning or Tuning()
        path = database_path(place, partition)
        if path.exists():
            refuse_network(place)
        elif create:
            prepare_folder(place)
            path = new_database_path(place, partition, partitions)
        else:
            raise NotFound(f"there is no store in {place}: run a workflow first, or name another folder")
        lock = path.with_name(path.name + ".owner")
        ownership = Ownership.acquire(lock, wait_ms=wait_ms, takeover_after_ms=takeover_after_ms) if how.owned else None
        try:
            meta = Meta(store_id or "", LOG_FORMAT, 1, wall(), partitions)
            return cls._opened(path, meta, partition, create and store_id is not None, how, wall, ownership)
        except BaseException:
            if ownership is not None:
                ownership.release()
            raise

    @classmethod
    def _opened(
        cls,
        path: Path,
        wanted: Meta,
        partition: int,
        create: bool,
        tuning: Tuning,
        wall: Callable[[], int],
        ownership: Ownership | None,
    ) -> "SqliteEventStore":
        where, connection = str(path), connect_writer(path, tuning)
        try:
            meta = meta_of(connection, where, wanted, partition, create=create)
            sync_folder(path.parent)
            empty_wal(connection, where)
            check_quickly(connection, where, tuning.check_ms)
            grow_wal(connection, tuning)
        except apsw.Error as error:
            connection.close(force=True)
            raise opening(error, where) from error
        except BaseException:
            connection.close(force=True)
            raise
        return cls(connection, where, meta, partition, tuning, wall, ownership)

    def __init__(
        self,
        connection: apsw.Connection,
        where: str,
        meta: Meta,
        partition: int,
        tuning: Tuning,
        wall: Callable[[], int],
        ownership: Ownership | None,
    ) -> None:
        super().__init__(connection, where, meta.store_id, partition, meta.partitions)
        self._tuning, self._wall, self._ownership = tuning, wall, ownership
        self._incarnation = meta.incarnation
        self._numbers = Numbers(self._find_number)
        self._wal_pages = self._copied_pages = 0
        self._refusal: AppendUnknown | None = None
        self._closed = False
        connection.set_wal_hook(self._committed)

    @property
    def incarnation(self) -> int:
        """Which life of the store this is: a backup that is restored begins another."""
        return self._incarnation

    def claim(self, expected_epoch: int, owner: str) -> Lease:
        """Become the owner: raise the epoch by one, if it still is ``expected_epoch``."""
        lease = Lease(self._partition, expected_epoch + 1, owner, self._wall())

        def raise_epoch() -> None:
            epoch, _, _ = self._admission()
            if epoch != expected_epoch:
                raise Fenced(self._partition, expected_epoch, epoch)
            self._connection.execute(
                "UPDATE partitions SET epoch = ?, owner = ?, renewed_at = ? WHERE partition = ?",
                (lease.epoch, owner, lease.renewed_at, self._partition),
            )

        self._transact(raise_epoch)
        return lease

    def renew(self, epoch: int) -> None:
        """Say that the owner is alive."""

        def touch() -> None:
            current, _, _ = self._admission()
            if current != epoch:
                raise Fenced(self._partition, epoch, current)
            self._connection.execute(
                "UPDATE partitions SET renewed_at = ? WHERE partition = ?", (self._wall(), self._partition)
            )

        self._transact(touch)

    def append(self, batch: Batch) -> None:
        """Store a batch in one transaction: all of it or nothing, durable when this returns."""
        check_shape(batch, self._where)
        if not carries_rows(batch):
            self._confirm(batch.epoch)
            return
        if self._wal_pages - self._copied_pages >= self._tuning.wal_pages:
            self._copy_wal()
        if len(self._numbers) > _KNOWN_STREAMS:
            self._numbers.clear()
        self._transact(lambda: self._write(batch))

    def idle(self) -> None:
        """Copy the write-ahead log into the database when it is half full. Takes some tens of milliseconds at most.

        Raises:
            AppendUnknown: An I/O error; this object refuses everything from then on.
        """
        self._readable()
        if 2 * (self._wal_pages - self._copied_pages) >= self._tuning.wal_pages:
            self._copy_wal()

    def close(self) -> None:
        """Release the file and the ownership. Calling it again does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._refusal is not None:
                # What is in the log may not be on the disk: whoever opens the file next decides.
                self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._connection.close(force=True)
        finally:
            if self._ownership is not None:
                self._ownership.release()

    def _write(self, batch: Batch) -> None:
        epoch, next_offset, next_number = self._admission()
        if epoch != batch.epoch:
            raise Fenced(self._partition, batch.epoch, epoch)
        if batch.records and batch.records[0].offset != next_offset:
            raise AppendConflict(self._partition, batch.records[0].offset, next_offset)
        write(batch, self._connection.execute, self._numbers, next_number)

    def _admission(self) -> tuple[int, int, int]:
        """Return the epoch, the next offset and the next stream's number."""
        match self._connection.execute(_ADMISSION, (self._partition,)).fetchone():
            case (int(epoch), int() | None as next_offset, int() | None as number):
                return epoch, next_offset or 1, (number or 0) + 1
            case _:
                raise StoreDamaged(self._where, "the lease or the last commit cannot be read")

    def _find_number(self, stream: str) -> int:
        match self.fetch("SELECT number FROM streams WHERE stream = {text}", (stream,)):
            case [(int(found),)]:
                return found
            case _:
                raise InvariantViolation(f"{self._where}: {stream} never began, it has no salt")

    def _confirm(self, epoch: int) -> None:
        match self.fetch("SELECT epoch FROM partitions WHERE partition = ?", (self._partition,)):
            case [(int(current),)] if current == epoch:
                return
            case [(int(current),)]:
                raise Fenced(self._partition, epoch, current)
            case _:
                raise StoreDamaged(self._where, "the lease cannot be read")

    def _transact(self, work: Callable[[], Result]) -> Result:
        """Carry something out in a transaction, and say what is certain about whether it happened."""
        execute = self._readable().execute
        try:
            execute("BEGIN IMMEDIATE")
            hit("append.begun")
            result = work()
            hit("append.rows")
        except BaseException as error:
            self._undo(error, definite(error, self._where))
            raise
        try:
            execute("COMMIT")
            hit("append.commit")
        except (apsw.FullError, apsw.ReadOnlyError) as error:
            # The frames were not all written, so there is no commit among them; a failed sync is an I/O error. Busy is
            # not among these: who holds the write lock is never told so before the commit, only perhaps after it.
            self._undo(error, definite(error, self._where))
            raise
        except BaseException as error:
            self._undo(error, None)
            raise
        return result

    def _undo(self, error: BaseException, known: BaseException | None) -> None:
        """Roll back, and raise what an error means; return if it means just itself."""
        self._numbers.clear()
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error:
            known = None
        if known is None and isinstance(error, Exception):
            raise self._refuse(error) from error
        if known is None:
            self._refuse(error)
        elif known is not error:
            raise known from error

    def _refuse(self, error: BaseException) -> AppendUnknown:
        self._refusal = AppendUnknown(self._partition, f"{type(error).__name__}: {error}")
        return self._refusal

    def _failed(self, error: apsw.Error) -> BaseException:
        return definite(error, self._where) or self._refuse(error)

    def _readable(self) -> apsw.Connection:
        if self._refusal is not None:
            raise AppendUnknown(self._refusal.partition, self._refusal.reason)
        if self._closed:
            raise Unreachable(f"{self._where} was closed")
        return self._connection

    def _committed(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        """Note how long the write-ahead log is; shorter than before means that it is used from its start again."""
        if pages < self._wal_pages:
            self._copied_pages = 0
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _copy_wal(self) -> None:
        excessive = self._wal_pages >= _WAL_EXCESS * self._tuning.wal_pages
        mode = apsw.SQLITE_CHECKPOINT_RESTART if excessive else apsw.SQLITE_CHECKPOINT_PASSIVE
        try:
            self._readable().wal_checkpoint(mode=mode)
        except (apsw.BusyError, apsw.FullError):
            # Readers are in the way, or there is no space to grow into: the log goes on growing instead.
            pass
        except apsw.Error as error:
            raise self._failed(error) from error
        self._copied_pages = self._wal_pages

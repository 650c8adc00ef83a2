"""Opening a partition's file, for its writer and for readers."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from kos_runtime.adapters.event_store.faults import definite
from kos_runtime.adapters.event_store.schema import APPLICATION_ID, LATER, SCHEMA
from kos_runtime.core.errors import NotFound, StoreBusy, StoreDamaged, StoreReadOnly, StoreTooNew, Unreachable
from kos_runtime.core.record import LOG_FORMAT

_PAGE_BYTES: Final = 4_096
#: A page in the write-ahead log has a header of 24 bytes.
_FRAME_BYTES: Final = _PAGE_BYTES + 24
#: How long an opening writer waits for readers to let it empty the write-ahead log.
_EMPTY_WAL_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Tuning:
    """How the writer treats its file. The defaults are for use; tests and proofs set others.

    ``wal_bytes`` is the size at which the write-ahead log is copied into the database, and that it is grown to
    beforehand: overwriting blocks that are there costs half of what appending blocks costs. Anything but "FULL" for
    ``synchronous`` loses acknowledged records with the power. Without ``owned`` the file's lock is not taken, which
    is only good for showing what the epoch catches.
    """

    synchronous: str = "FULL"
    wal_bytes: int = 8 << 20
    cache_bytes: int = 32 << 20
    busy_timeout_ms: int = 2_000
    check_ms: int = 100
    vfs: str | None = None
    owned: bool = True

    @property
    def wal_pages(self) -> int:
        """``wal_bytes`` in pages of the log."""
        return max(1, self.wal_bytes // _FRAME_BYTES)


@dataclass(frozen=True, slots=True)
class Meta:
    """What a file says about itself."""

    store_id: str
    format: int
    incarnation: int
    created: int
    partitions: int


def connect_writer(path: Path, tuning: Tuning) -> apsw.Connection:
    """Open a file for writing; an empty one is made if there is none, readable by this user alone.

    Raises:
        StoreReadOnly: The file may not be written.
        Unreachable, StoreDamaged, StoreBusy: It cannot be opened, or is no database.
    """
    where = str(path)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise StoreReadOnly(where) from error
    try:
        connection = apsw.Connection(where, vfs=tuning.vfs)
    except apsw.Error as error:
        raise opening(error, where) from error
    try:
        _settle(connection, tuning)
    except apsw.Error as error:
        connection.close(force=True)
        raise opening(error, where) from error
    return connection


def _settle(connection: apsw.Connection, tuning: Tuning) -> None:
    connection.set_busy_timeout(tuning.busy_timeout_ms)
    if connection.readonly("main"):
        raise apsw.ReadOnlyError
    connection.pragma("locking_mode", "NORMAL")
    connection.pragma("journal_mode", "WAL")
    connection.pragma("synchronous", tuning.synchronous)
    connection.pragma("trusted_schema", 0)
    connection.pragma("cache_size", -(tuning.cache_bytes >> 10))
    connection.wal_autocheckpoint(0)


def opening(error: apsw.Error, where: str) -> BaseException:
    """Translate an error from opening a file."""
    return definite(error, where) or Unreachable(f"{where} cannot be opened: {error}")


def meta_of(connection: apsw.Connection, where: str, wanted: Meta, partition: int, *, create: bool) -> Meta:
    """Return what a file says about itself, and make it say so first if it is new and may be made.

    Raises:
        NotFound: It is new, and was not to be made.
        Unreachable: It is another store, or a database of something else.
    """
    meta = read_meta(connection, where)
    if meta is None:
        if not create:
            raise NotFound(f"there is no store in {where}: give it an identity to create one")
        if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() != (0,):
            raise Unreachable(f"{where} is a database, but not one of ours")
        _create_tables(connection, wanted, partition)
        meta = wanted
    else:
        connection.execute(LATER)
    if wanted.store_id not in {"", meta.store_id}:
        raise Unreachable(f"{where} holds store {meta.store_id}, not {wanted.store_id}")
    return meta


def _create_tables(connection: apsw.Connection, meta: Meta, partition: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.pragma("application_id", APPLICATION_ID)
    connection.execute(SCHEMA + LATER)
    connection.execute(
        "INSERT INTO meta(store_id, format, incarnation, created, partitions) VALUES (?, ?, ?, ?, ?)",
        (meta.store_id, meta.format, meta.incarnation, meta.created, meta.partitions),
    )
    connection.execute("INSERT INTO partitions(partition, epoch, owner, renewed_at) VALUES (?, 0, '', 0)", (partition,))
    connection.execute("COMMIT")


def read_meta(connection: apsw.Connection, where: str) -> Meta | None:
    """Return what a file says about itself, None when it has no tables yet.

    Raises:
        StoreTooNew: A newer version wrote it.
        StoreDamaged: What it says makes no sense.
    """
    found = connection.execute("SELECT name FROM pragma_table_info('meta')").fetchall()
    if not found:
        return None
    # A newer format may have another table; its format is the one column that every format has.
    match connection.execute("SELECT format FROM meta").fetchall():
        case [(int(number),)] if number <= LOG_FORMAT:
            pass
        case [(int(number),)]:
            raise StoreTooNew(where, number, LOG_FORMAT)
        case _:
            raise StoreDamaged(where, "it does not tell its format")
    match connection.execute("SELECT store_id, format, incarnation, created, partitions FROM meta").fetchall():
        case [(str(store_id), int(number), int(incarnation), int(created), int(partitions))]:
            return Meta(store_id, number, incarnation, created, partitions)
        case _:
            raise StoreDamaged(where, "it does not tell whose it is")


def check_quickly(connection: apsw.Connection, where: str, bound_ms: int) -> None:
    """Let SQLite check the file's structure, for a bounded time; a large file is checked as far as that goes.

    Raises:
        StoreDamaged: It found something.
    """
    deadline = time.monotonic() + bound_ms / 1_000
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 20_000)
    try:
        for (said,) in connection.execute("PRAGMA quick_check(1)"):
            if said != "ok":
                raise StoreDamaged(where, str(said))
    except apsw.InterruptError:
        pass
    finally:
        connection.set_progress_handler(None)


def empty_wal(connection: apsw.Connection, where: str) -> None:
    """Copy the whole write-ahead log into the database, synced, before anything in it is believed.

    A writer that died of a failed fsync may have left frames that can be read and are not on the disk. Copying
    rewrites and syncs every one of them.

    Raises:
        StoreBusy: Readers did not let it happen.
    """
    deadline = time.monotonic() + _EMPTY_WAL_S
    while True:
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.BusyError as error:
            if time.monotonic() > deadline:
                raise StoreBusy(where) from error
        else:
            return


def grow_wal(connection: apsw.Connection, tuning: Tuning) -> None:
    """Grow the write-ahead log to the size it is used up to.

    A transaction that outgrows its cache spills into the log; rolled back, it leaves the file's size behind
    and nothing in the database. Without the space for it the log grows when it must.
    """
    cached = 10
    connection.pragma("cache_size", cached)
    try:
        connection.execute("BEGIN IMMEDIATE; CREATE TABLE filler(bytes)")
        connection.execute("INSERT INTO filler VALUES (zeroblob(?))", ((tuning.wal_pages + 2 * cached) * _PAGE_BYTES,))
    except apsw.FullError:
        pass
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.pragma("cache_size", -(tuning.cache_bytes >> 10))

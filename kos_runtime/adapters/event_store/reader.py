"""Reading a partition's file without owning it: any number of readers, beside the writer or when nobody writes."""

import os
from pathlib import Path
from typing import Final

import apsw

from kos_runtime.adapters.event_store.connection import opening, read_meta
from kos_runtime.adapters.event_store.evidence import SqliteEvidence
from kos_runtime.adapters.event_store.layout import database_path
from kos_runtime.adapters.event_store.queries import LogQueries
from kos_runtime.adapters.ownership import Owner, owner_of
from kos_runtime.core.errors import NotFound

_BUSY_TIMEOUT_MS: Final = 2_000
_FLAGS: Final = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI

#: What tells whether a file at rest was written since: modification times and sizes of the database and its log.
_Stamp = tuple[tuple[int, int, int], ...]


class SqliteLogReader(LogQueries):
    """A reader of one partition.

    SQLite's readers share memory with the writer, through a file beside the database. Where that file is missing and
    cannot be made (a folder or file system that may only be read), nobody can be writing: the database is then opened
    as one at rest, without locks, and opened again whenever it was changed after all.
    """

    @classmethod
    def open(cls, folder: str | Path, *, partition: int = 0) -> "SqliteLogReader":
        """Open a partition of the store in a folder.

        Raises:
            NotFound: There is no store.
            StoreTooNew, StoreDamaged, StoreBusy, Unreachable: As they say.
        """
        path = database_path(Path(folder), partition)
        missing = NotFound(f"there is no store in {folder}: run a workflow first, or name another folder")
        if not path.exists():
            raise missing
        stamp = None
        try:
            connection, at_rest = _connect(path)
            stamp = _stamp(path) if at_rest else None
            meta = read_meta(connection, str(path))
        except apsw.Error as error:
            raise opening(error, str(path)) from error
        if meta is None:
            connection.close()
            raise missing
        reader = cls(connection, str(path), meta.store_id, partition, meta.partitions)
        reader._path, reader._rest = path, stamp
        return reader

    _path: Path
    _rest: _Stamp | None

    def owner(self) -> Owner | None:
        """Return the process of this host that owns the partition right now, None when none does."""
        return owner_of(self._path.with_name(self._path.name + ".owner"))

    def evidence(self) -> SqliteEvidence:
        """Return the rows as they are stored, for verification."""
        return SqliteEvidence(self)

    def close(self) -> None:
        """Release what is held. Calling it again does nothing."""
        self._connection.close(force=True)

    def _readable(self) -> apsw.Connection:
        if self._rest is not None and self._rest != (now := _stamp(self._path)):
            self._connection.close(force=True)
            self._connection, at_rest = _connect(self._path)
            self._rest = now if at_rest else None
        return self._connection


def _connect(path: Path) -> tuple[apsw.Connection, bool]:
    """Open a file for reading; say whether it was opened as one at rest."""
    uri = path.absolute().as_uri() + "?mode=ro"
    wal = path.with_name(path.name + "-wal")
    connection = apsw.Connection(uri, flags=_FLAGS)
    try:
        connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except (apsw.CantOpenError, apsw.ReadOnlyError):
        connection.close(force=True)
        if path.with_name(path.name + "-shm").exists():
            raise
    except apsw.Error:
        connection.close(force=True)
        raise
    else:
        return connection, False
    if wal.exists() and wal.stat().st_size > 0:
        # With exclusive locking the index of the log is kept in this process's own memory.
        connection = apsw.Connection(uri, flags=_FLAGS, vfs="unix-none")
        connection.pragma("locking_mode", "EXCLUSIVE")
    else:
        connection = apsw.Connection(uri + "&immutable=1", flags=_FLAGS)
    return connection, True


def _stamp(path: Path) -> _Stamp:
    found = []
    for suffix in ("", "-wal", "-shm"):
        try:
            status = os.stat(path.with_name(path.name + suffix))  # noqa: PTH116
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        except OSError:
            found.append((0, 0, 0))
    return tuple(found)

"""Worlds for the event stores' contract."""

from pathlib import Path

import apsw

from kos_runtime.adapters.event_store.connection import Tuning
from kos_runtime.adapters.event_store.evidence import SqliteEvidence
from kos_runtime.adapters.event_store.memory import MemoryEventStore, MemoryLogReader
from kos_runtime.adapters.event_store.memory_evidence import MemoryEvidence
from kos_runtime.adapters.event_store.memory_log import Fault, MemoryLog
from kos_runtime.adapters.event_store.reader import SqliteLogReader
from kos_runtime.adapters.event_store.sqlite import SqliteEventStore
from kos_runtime.testing.store_contract import Failure
from tests.adapters.faulty_vfs import FaultyVFS, io_error

#: Small enough that a test sees the write-ahead log copied and used again.
SMALL_WAL = 64 << 10


class Clock:
    """A wall clock that moves by a second each time it is read."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def __call__(self) -> int:
        self.now += 1_000
        return self.now


class MemoryWorld:
    def __init__(self) -> None:
        self._next: Fault | None = None
        self.log = MemoryLog("store-1", faults=self._fault)

    def _fault(self, _number: int) -> Fault | None:
        fault, self._next = self._next, None
        return fault

    def open(self) -> MemoryEventStore:
        return MemoryEventStore(self.log, Clock())

    def rival(self) -> MemoryEventStore:
        return MemoryEventStore(self.log, Clock())

    def reader(self) -> MemoryLogReader:
        return MemoryLogReader(self.log)

    def evidence(self) -> MemoryEvidence:
        return MemoryEvidence.of(self.log)

    def fail_next_append(self, how: Failure) -> None:
        self._next = {"full": Fault.FULL, "lost": Fault.LOST, "stored": Fault.STORED}[how]

    def close(self) -> None:
        pass


class SqliteWorld:
    """A folder, and a file system that fails on demand."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.vfs = folder / "store", FaultyVFS()
        self._store: SqliteEventStore | None = None
        self._others: list[SqliteEventStore | SqliteLogReader] = []

    def open(self) -> SqliteEventStore:
        if self._store is not None:
            self._store.close()
        tuning = Tuning(wal_bytes=SMALL_WAL, vfs=self.vfs.vfs_name, busy_timeout_ms=200)
        self._store = SqliteEventStore.open(self.folder, wall=Clock(), store_id="store-1", tuning=tuning)
        return self._store

    def rival(self) -> SqliteEventStore:
        tuning = Tuning(wal_bytes=SMALL_WAL, owned=False, busy_timeout_ms=200)
        rival = SqliteEventStore.open(self.folder, wall=Clock(), store_id="store-1", tuning=tuning)
        self._others.append(rival)
        return rival

    def reader(self) -> SqliteLogReader:
        reader = SqliteLogReader.open(self.folder)
        self._others.append(reader)
        return reader

    def evidence(self) -> SqliteEvidence:
        return self.reader().evidence()

    def fail_next_append(self, how: Failure) -> None:
        """Fail a write for want of space; or fail the sync, after which the frames can be read or not."""

        def judge(call: str, file: str) -> BaseException | None:
            if how == "full" and call == "xWrite":
                self.vfs.judge = lambda _call, _file: None
                return apsw.FullError("injected")
            if how == "stored" and call == "xSync":
                self.vfs.judge = lambda _call, _file: None
                return io_error(apsw.SQLITE_IOERR_FSYNC)
            if how == "lost" and call == "xWrite" and file.endswith("-wal"):
                self.vfs.judge = lambda _call, _file: None
                return io_error(apsw.SQLITE_IOERR_WRITE)
            return None

        self.vfs.judge = judge

    def close(self) -> None:
        for one in [*self._others, self._store]:
            if one is not None:
                one.close()
        self.vfs.unregister()

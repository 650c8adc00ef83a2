"""The write-ahead log: grown beforehand, copied between batches, used again from its start."""

import sys
import threading
from pathlib import Path
from typing import Any

import apsw
import pytest

from kos_runtime.adapters.event_store.connection import Tuning
from kos_runtime.adapters.event_store.sqlite import SqliteEventStore
from kos_runtime.core.errors import StoreBusy
from kos_runtime.core.record import Batch
from kos_runtime.core.verify import verify_partition
from kos_runtime.testing.log_builder import LogBuilder
from tests.adapters.store_worlds import Clock

WAL = 256 << 10


def claimed(folder: Path, **other: object) -> tuple[SqliteEventStore, LogBuilder]:
    tuning = Tuning(wal_bytes=WAL, busy_timeout_ms=20, **other)  # type: ignore[arg-type]
    store = SqliteEventStore.open(folder, wall=Clock(), store_id="store-1", tuning=tuning)
    return store, LogBuilder(epoch=store.claim(store.lease().epoch, "host-1").epoch)


def wal_size(folder: Path) -> int:
    return (folder / "events.db-wal").stat().st_size


def append(store: SqliteEventStore, builder: LogBuilder, batches: int) -> None:
    for _ in range(batches):
        store.append(builder.batch(*(("run/a", b"x" * 1_000) for _ in range(8))))


def traced(store: SqliteEventStore, batches: list[Batch]) -> list[str]:
    """Append batches; return the statements that it took."""
    statements: list[str] = []

    def note(event: dict[str, Any]) -> None:
        statements.append(event["sql"])

    store._connection.trace_v2(apsw.SQLITE_TRACE_STMT, note)
    for batch in batches:
        store.append(batch)
    store._connection.trace_v2(0, None)
    return statements


def test_the_log_is_grown_when_the_store_opens_and_the_database_is_not(tmp_path: Path) -> None:
    store, _ = claimed(tmp_path)
    assert WAL <= wal_size(tmp_path) < WAL * 1.2
    assert (tmp_path / "events.db").stat().st_size < 150_000
    assert store._connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'filler'").fetchone() == (0,)
    store.close()


def test_the_log_keeps_its_size_under_many_appends(tmp_path: Path) -> None:
    store, builder = claimed(tmp_path)
    sizes = []
    for _ in range(30):
        append(store, builder, 5)
        sizes.append(wal_size(tmp_path))
    # A batch may begin just below the bound, so it may end beyond it.
    assert max(sizes) < WAL + 100_000
    assert (tmp_path / "events.db").stat().st_size > 1_000_000
    store.close()


def test_an_idle_store_copies_its_log_when_it_is_half_full(tmp_path: Path) -> None:
    store, builder = claimed(tmp_path)
    append(store, builder, 1)
    store.idle()
    assert store._copied_pages == 0
    while 2 * store._wal_pages < Tuning(wal_bytes=WAL).wal_pages:
        append(store, builder, 1)
    store.idle()
    assert store._copied_pages == store._wal_pages > 0
    append(store, builder, 1)
    assert store._wal_pages < 20, "the log was not used from its start again"
    store.close()


def test_readers_that_hold_on_make_the_log_grow_and_lose_nothing(tmp_path: Path) -> None:
    store, builder = claimed(tmp_path)
    append(store, builder, 1)
    reader = apsw.Connection(str(tmp_path / "events.db"), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN")
    assert reader.execute("SELECT max(offset) FROM events").fetchone() == (8,)
    append(store, builder, 120)
    grown = wal_size(tmp_path)
    assert grown > 4 * WAL
    assert reader.execute("SELECT max(offset) FROM events").fetchone() == (8,)
    reader.execute("ROLLBACK")
    append(store, builder, 120)
    assert wal_size(tmp_path) < grown + 2 * WAL, "the log was not used from its start again"
    reader.close()
    assert verify_partition_of(tmp_path, 241 * 8)
    store.close()


def verify_partition_of(folder: Path, records: int) -> bool:
    from kos_runtime.adapters.event_store.reader import SqliteLogReader

    reader = SqliteLogReader.open(folder)
    verdict = verify_partition(reader.evidence())
    reader.close()
    return verdict.ok and verdict.records == records


def test_a_writer_does_not_believe_a_log_that_readers_keep_from_being_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kos_runtime.adapters.event_store import connection

    store, builder = claimed(tmp_path)
    append(store, builder, 2)
    reader = apsw.Connection(str(tmp_path / "events.db"), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN")
    reader.execute("SELECT max(offset) FROM events").fetchone()
    append(store, builder, 2)
    store.close()
    monkeypatch.setattr(connection, "_EMPTY_WAL_S", 0.05)
    with pytest.raises(StoreBusy):
        claimed(tmp_path)
    reader.execute("ROLLBACK")
    reader.close()
    store, _ = claimed(tmp_path)
    assert store.head().offset == 32
    store.close()


def test_the_file_is_written_the_way_that_durability_asks_for(tmp_path: Path) -> None:
    store, _ = claimed(tmp_path)
    asked = ("journal_mode", "synchronous", "locking_mode", "trusted_schema", "mmap_size", "wal_autocheckpoint")
    assert [store._connection.pragma(name) for name in asked] == ["wal", 2, "normal", 0, 0, 0]
    store.close()


def test_an_append_takes_few_statements_however_many_rows_it_has(tmp_path: Path) -> None:
    store, builder = claimed(tmp_path)
    for size, most in ((1, 7), (256, 7), (700, 40)):
        batch = builder.batch(*(f"run/{size}-{number}" for number in range(size)))
        statements = traced(store, [batch])
        assert len(statements) <= most, statements
        assert statements[0] == "BEGIN IMMEDIATE"
        assert statements[-1] == "COMMIT"
        assert not any(text.startswith("UPDATE") for text in statements), "an append writes no row that is not news"
    store.close()


def test_an_append_that_carries_nothing_writes_nothing(tmp_path: Path) -> None:
    store, builder = claimed(tmp_path)
    append(store, builder, 1)
    pages = store._wal_pages
    store.append(Batch(1))
    assert store._wal_pages == pages
    store.close()


def test_a_large_append_beside_a_busy_thread_is_not_starved(tmp_path: Path) -> None:
    """Row by row this takes about five milliseconds a row, since each row waits for the busy thread to let go."""
    store, builder = claimed(tmp_path)
    batches = [builder.batch(*(f"run/{number}" for number in range(700))) for _ in range(3)]
    stop = threading.Event()
    switches, interval = 0, sys.getswitchinterval()

    def compute() -> None:
        nonlocal switches
        while not stop.is_set():
            switches += sum(range(50))

    busy = threading.Thread(target=compute)
    sys.setswitchinterval(0.0002)
    busy.start()
    try:
        statements = traced(store, batches)
    finally:
        stop.set()
        busy.join()
        sys.setswitchinterval(interval)
    assert len(statements) < 3 * 40
    store.close()

"""What a file can suffer: no space, no permission, damage, a newer version, somebody with a shell."""

import os
import sys
from pathlib import Path

import apsw
import pytest

from kos_runtime.adapters.event_store import layout
from kos_runtime.adapters.event_store.connection import Tuning
from kos_runtime.adapters.event_store.reader import SqliteLogReader
from kos_runtime.adapters.event_store.sqlite import SqliteEventStore
from kos_runtime.adapters.ownership import HeldByAnother
from kos_runtime.core.errors import (
    AppendUnknown,
    NotFound,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreTooNew,
    Unreachable,
)
from kos_runtime.core.record import LOG_FORMAT, Batch, TimerRow
from kos_runtime.core.verify import verify_partition
from kos_runtime.core.verify_stream import verify_stream
from kos_runtime.testing.log_builder import LogBuilder, run_row
from tests.adapters.people import run_as_ordinary_user, share, start
from tests.adapters.store_worlds import SMALL_WAL, Clock

TUNING = Tuning(wal_bytes=SMALL_WAL, busy_timeout_ms=50)


def opened(folder: Path, **other: object) -> SqliteEventStore:
    arguments: dict[str, object] = {"wall": Clock(), "store_id": "store-1", "tuning": TUNING} | other
    return SqliteEventStore.open(folder, **arguments)  # type: ignore[arg-type]


def claimed(folder: Path) -> tuple[SqliteEventStore, LogBuilder]:
    store = opened(folder)
    return store, LogBuilder(epoch=store.claim(store.lease().epoch, "host-1").epoch)


def shell_on(folder: Path) -> apsw.Connection:
    """Open the file as a person with a SQLite shell does.

    By the same library: another copy of SQLite in one process would not see this one's locks, and drop them.
    """
    return apsw.Connection(str(folder / "events.db"))


def test_a_full_disk_refuses_the_append_and_room_lets_the_same_one_through(tmp_path: Path) -> None:
    store, builder = claimed(tmp_path)
    pages = store._connection.pragma("page_count")
    store._connection.pragma("max_page_count", pages + 20)
    stored = 0
    for _ in range(100):
        batch = builder.batch(*(("run/a", os.urandom(1_000)) for _ in range(10)))
        try:
            store.append(batch)
        except StoreFull:
            break
        stored += 10
    else:
        pytest.fail("the disk never filled")
    assert store.head().offset == stored
    store._connection.pragma("max_page_count", pages + 1_000)
    store.append(batch)
    assert store.head().offset == stored + 10
    assert verify_partition(SqliteLogReader.open(tmp_path).evidence()).ok
    store.close()


def test_a_store_that_turns_read_only_refuses_definitely(tmp_path: Path) -> None:
    store, builder = claimed(tmp_path)
    batch = builder.batch("run/a")
    store._connection.pragma("query_only", 1)
    with pytest.raises(StoreReadOnly):
        store.append(batch)
    store._connection.pragma("query_only", 0)
    store.append(batch)
    store.close()


def test_a_file_that_may_not_be_written_is_not_opened_for_writing(tmp_path: Path) -> None:
    claimed(tmp_path)[0].close()
    share(tmp_path)
    for path in (tmp_path / "events.db", tmp_path / "events.db.owner"):
        path.chmod(0o644)
    tmp_path.chmod(0o755)
    code = """
try:
    SqliteEventStore.open(sys.argv[1], wall=lambda: 0)
except KosError as error:
    print(type(error).__name__)
"""
    if os.geteuid() != 0:
        (tmp_path / "events.db").chmod(0o400)
        (tmp_path / "events.db.owner").chmod(0o400)
    assert run_as_ordinary_user(code, tmp_path) == "StoreReadOnly"


def test_a_shell_that_holds_the_file_makes_an_append_busy_and_no_more(tmp_path: Path) -> None:
    store, builder = claimed(tmp_path)
    batch = builder.batch("run/a")
    shell = shell_on(tmp_path)
    shell.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy):
        store.append(batch)
    with pytest.raises(StoreBusy):
        store.renew(1)
    shell.execute("ROLLBACK")
    shell.close()
    store.append(batch)
    store.close()


def test_a_newer_format_is_left_alone_by_writers_and_readers(tmp_path: Path) -> None:
    claimed(tmp_path)[0].close()
    shell = shell_on(tmp_path)
    shell.execute("UPDATE meta SET format = ?", (LOG_FORMAT + 1,))
    shell.close()
    for open_one in (lambda: opened(tmp_path), lambda: SqliteLogReader.open(tmp_path)):
        with pytest.raises(StoreTooNew) as caught:
            open_one()
        assert (caught.value.found, caught.value.known) == (LOG_FORMAT + 1, LOG_FORMAT)


def test_another_store_is_refused(tmp_path: Path) -> None:
    claimed(tmp_path)[0].close()
    with pytest.raises(Unreachable, match="holds store store-1"):
        opened(tmp_path, store_id="store-2")
    store = opened(tmp_path, store_id=None)
    assert store.store_id == "store-1"
    store.close()


def test_a_store_is_not_created_unasked(tmp_path: Path) -> None:
    for arguments in ({"create": False}, {"store_id": None}):
        with pytest.raises(NotFound):
            opened(tmp_path, **arguments)


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    shell = shell_on(tmp_path)
    shell.execute("CREATE TABLE mine(a)")
    shell.close()
    with pytest.raises(Unreachable, match="not one of ours"):
        opened(tmp_path)
    with pytest.raises(NotFound):
        SqliteLogReader.open(tmp_path)


def test_a_file_that_is_no_database_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(StoreDamaged):
        opened(tmp_path)
    with pytest.raises(StoreDamaged):
        SqliteLogReader.open(tmp_path)


def test_a_creation_that_broke_off_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "events.db").touch()
    store, builder = claimed(tmp_path)
    store.append(builder.batch("run/a"))
    store.close()


def test_a_page_that_was_overwritten_is_noticed_when_the_file_is_opened(tmp_path: Path) -> None:
    store, builder = claimed(tmp_path)
    for _ in range(20):
        store.append(builder.batch(*("run/a" for _ in range(50))))
    [(root,)] = store._connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").fetchall()
    assert isinstance(root, int)
    store.close()
    with (tmp_path / "events.db").open("r+b") as file:
        file.seek((root - 1) * 4_096)
        file.write(b"\x55" * 4_096)
    with pytest.raises(StoreDamaged) as caught:
        opened(tmp_path)
    assert "kos verify" in str(caught.value)
    verdict = verify_partition(SqliteLogReader.open(tmp_path).evidence())
    assert verdict.first_bad is not None
    assert (verdict.first_bad.offset, "cannot be read" in str(verdict.first_bad)) == (1, True)


def test_a_payload_changed_with_a_shell_is_named(tmp_path: Path) -> None:
    store, builder = claimed(tmp_path)
    for number in range(20):
        batch = builder.batch(f"run/{number % 3}")
        batch.runs = [run_row(batch.records[0])]
        store.append(batch)
    store.close()
    shell = shell_on(tmp_path)
    shell.execute("update events set payload=x'00' where offset=12")
    shell.close()
    evidence = SqliteLogReader.open(tmp_path).evidence()
    expected = "offset 12 (seq 4) was altered: its payload is not what the record's digest says"
    assert str(verify_partition(evidence).first_bad) == expected
    assert str(verify_stream(evidence, "run/2").first_bad) == expected
    assert verify_stream(evidence, "run/1").ok


def test_an_index_of_streams_that_was_tampered_with_is_refused_and_named(tmp_path: Path) -> None:
    store, builder = claimed(tmp_path)
    store.append(builder.batch("run/a", "run/b", "run/a", "run/a"))
    store.close()
    for statement, offset in (
        ("UPDATE positions SET offset = 2 WHERE number = 1 AND position = 2", 2),
        ("DELETE FROM positions WHERE number = 1 AND position = 2", 3),
        ("INSERT INTO positions VALUES (2, 2, 3)", 3),
        ("UPDATE positions SET offset = 99 WHERE number = 1 AND position = 3", 4),
    ):
        shell = shell_on(tmp_path)
        shell.execute("BEGIN")
        shell.execute(statement)
        shell.execute("COMMIT")
        finding = verify_partition(SqliteLogReader.open(tmp_path).evidence()).first_bad
        assert finding is not None, statement
        assert finding.offset == offset, statement
        shell.execute("DELETE FROM positions")
        shell.execute("INSERT INTO positions VALUES (1, 1, 1), (2, 1, 2), (1, 2, 3), (1, 3, 4)")
        shell.close()
    assert verify_partition(SqliteLogReader.open(tmp_path).evidence()).ok
    shell = shell_on(tmp_path)
    shell.execute("UPDATE positions SET offset = 2 WHERE number = 1 AND position = 2")
    shell.close()
    with pytest.raises(StoreDamaged):
        SqliteLogReader.open(tmp_path).stream("run/a")


@pytest.mark.parametrize("magic", sorted(layout.NETWORK_FILE_SYSTEMS))
def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, magic: int) -> None:
    # A negative number is what a 64-bit f_type looks like where the kernel extends its sign.
    monkeypatch.setattr(layout, "file_system_magic", lambda _folder: magic - (1 << 32))
    with pytest.raises(Unreachable, match="network file system"):
        opened(tmp_path / "new")


def test_a_local_file_system_tells_its_kind(tmp_path: Path) -> None:
    assert layout.file_system_magic(tmp_path) != 0
    assert layout.file_system_magic(tmp_path / "missing") == 0


def test_partitions_have_files_and_owners_of_their_own(tmp_path: Path) -> None:
    stores = [opened(tmp_path, partition=number, partitions=3) for number in range(3)]
    for number, store in enumerate(stores):
        builder = LogBuilder(partition=number, epoch=store.claim(0, f"host-{number}").epoch)
        store.append(builder.batch("run/a"))
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["events-0.db", "events-1.db", "events-2.db"]
    for number in range(3):
        reader = SqliteLogReader.open(tmp_path, partition=number)
        assert (reader.partition, reader.partitions, reader.lease().owner) == (number, 3, f"host-{number}")
        assert verify_partition(reader.evidence()).ok
        stores[number].close()


def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "store"
    store, _ = claimed(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == dict.fromkeys(
        ("events.db", "events.db-shm", "events.db-wal", "events.db.owner"), 0o600
    )
    store.close()


OWN = """
import sys
from kos_runtime.adapters.event_store.sqlite import SqliteEventStore
store = SqliteEventStore.open(sys.argv[1], wall=lambda: 0)
print("owned", flush=True)
sys.stdin.read()
"""


def test_a_store_has_one_writer_on_a_host_and_a_successor_can_take_it_over(tmp_path: Path) -> None:
    claimed(tmp_path)[0].close()
    with start(OWN, tmp_path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "owned\n"
        with pytest.raises(HeldByAnother, match=str(holder.pid)):
            opened(tmp_path, wait_ms=20)
        reader = SqliteLogReader.open(tmp_path)
        owner = reader.owner()
        assert owner is not None
        assert owner.pid == holder.pid
        store = opened(tmp_path, takeover_after_ms=20)
        assert holder.wait(timeout=10) < 0
        assert store.claim(1, "host-2").epoch == 2
        store.close()
        assert reader.owner() is None


def test_an_error_that_is_not_sqlites_is_shown_as_it_is_and_nothing_is_stored(tmp_path: Path) -> None:
    store, builder = claimed(tmp_path)
    batch = builder.fork().batch("run/a")
    batch.timers_set = [TimerRow(1, object(), "wait", 1)]  # type: ignore[arg-type]
    with pytest.raises(Exception, match="contradicts itself"):
        store.append(batch)
    store.append(builder.batch("run/a"))
    store.close()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store, builder = claimed(tmp_path)
    store.close()
    with pytest.raises(Unreachable, match="was closed"):
        store.append(builder.batch("run/a"))


def test_a_refused_store_leaves_its_log_to_the_successor(tmp_path: Path) -> None:
    store, builder = claimed(tmp_path)
    store.append(builder.batch("run/a"))
    store._refuse(apsw.IOError("injected"))
    with pytest.raises(AppendUnknown):
        store.append(Batch(1))
    store.close()
    assert (tmp_path / "events.db-wal").stat().st_size > 0
    successor = opened(tmp_path)
    assert successor.head().offset == 1
    successor.close()


def test_every_error_of_the_store_is_definite_but_one() -> None:
    assert [kind.__name__ for kind in StoreError.__subclasses__() if not kind.definite] == ["AppendUnknown"]


def test_this_python_is_the_one_that_was_meant() -> None:
    assert sys.version_info >= (3, 11)
    assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= (3, 51, 3)

"""Readers beside a writer, without one, and where nothing may be written."""

import shutil
from pathlib import Path

import apsw
import pytest

from kos_runtime.adapters.event_store.reader import SqliteLogReader
from kos_runtime.adapters.event_store.sqlite import SqliteEventStore
from kos_runtime.core.errors import NotFound
from kos_runtime.core.verify import verify_partition
from kos_runtime.testing.log_builder import LogBuilder, run_row
from tests.adapters.people import run_as_ordinary_user, share
from tests.adapters.test_sqlite_wal import claimed

READ = """
reader = SqliteLogReader.open(sys.argv[1])
verdict = verify_partition(reader.evidence())
print(json.dumps([reader.head().offset, len(reader.stream("run/a")), verdict.ok, verdict.records]))
"""


def filled(folder: Path, batches: int = 3) -> tuple[SqliteEventStore, LogBuilder]:
    store, builder = claimed(folder)
    for _ in range(batches):
        batch = builder.batch("run/a", "run/b")
        batch.runs = [run_row(record) for record in batch.records]
        store.append(batch)
    return store, builder


def make_read_only(folder: Path) -> None:
    share(folder)
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)


def test_no_store_is_not_found_and_nothing_is_made(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(NotFound, match="run a workflow first"):
            SqliteLogReader.open(folder)
    assert list(tmp_path.iterdir()) == []


def test_many_readers_follow_a_writer(tmp_path: Path) -> None:
    store, builder = filled(tmp_path)
    readers = [SqliteLogReader.open(tmp_path) for _ in range(10)]
    for _ in range(50):
        store.append(builder.batch("run/a"))
        assert {reader.head() for reader in readers} == {store.head()}
    for reader in readers:
        assert len(reader.stream("run/a")) == 53
        reader.close()
    store.close()


def test_a_reader_outlives_the_writer_and_meets_the_next(tmp_path: Path) -> None:
    store, builder = filled(tmp_path)
    reader = SqliteLogReader.open(tmp_path)
    store.close()
    assert reader.head().offset == 6
    assert reader.owner() is None
    store = claimed(tmp_path)[0]
    builder.epoch = 2
    store.append(builder.batch("run/a"))
    assert reader.head().offset == 7
    assert reader.lease().epoch == 2
    assert reader.owner() is not None
    store.close()
    reader.close()


def test_a_reader_of_a_store_that_was_left_behind_reads_its_log(tmp_path: Path) -> None:
    store, _ = filled(tmp_path / "live")
    left = tmp_path / "left"
    left.mkdir()
    for name in ("events.db", "events.db-wal"):
        shutil.copy(tmp_path / "live" / name, left / name)
    store.close()
    reader = SqliteLogReader.open(left)
    assert reader.head().offset == 6
    reader.close()


@pytest.mark.parametrize("names", [("",), ("", "-wal"), ("", "-wal", "-shm")])
def test_a_store_is_read_where_nothing_may_be_written(tmp_path: Path, names: tuple[str, ...]) -> None:
    store, _ = filled(tmp_path / "live")
    if names == ("",):
        store.close()
    still = tmp_path / "still"
    still.mkdir()
    for name in names:
        shutil.copy(tmp_path / "live" / f"events.db{name}", still / f"events.db{name}")
    store.close()
    make_read_only(still)
    assert run_as_ordinary_user(READ, still) == "[6, 3, true, 6]"


def test_a_live_store_is_read_by_somebody_who_may_not_write(tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    make_read_only(tmp_path)
    assert run_as_ordinary_user(READ, tmp_path) == "[6, 3, true, 6]"
    tmp_path.chmod(0o700)
    store.close()


def test_a_store_at_rest_that_was_changed_after_all_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, builder = filled(tmp_path / "live")
    store.close()
    from kos_runtime.adapters.event_store import reader as module

    genuine = module._connect
    monkeypatch.setattr(module, "_connect", lambda path: (genuine(path)[0], True))
    reader = SqliteLogReader.open(tmp_path / "live")
    connection = reader._connection
    assert reader.head().offset == 6
    assert reader._connection is connection
    store = claimed(tmp_path / "live")[0]
    builder.epoch = 2
    store.append(builder.batch("run/a"))
    assert reader.head().offset == 7
    assert reader._connection is not connection
    reader.close()
    store.close()


def test_a_reader_holds_no_transaction_between_its_questions(tmp_path: Path) -> None:
    store, _ = filled(tmp_path)
    reader = SqliteLogReader.open(tmp_path)
    reader.records()
    list(reader.evidence().records())
    reader.runs()
    assert reader._connection.in_transaction is False
    assert reader._connection.txn_state() == 0
    assert store._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE) == (0, 0)
    store.close()
    reader.close()


def test_evidence_is_of_one_moment_while_the_log_grows(tmp_path: Path) -> None:
    store, builder = filled(tmp_path)
    evidence = SqliteLogReader.open(tmp_path).evidence()
    commits = evidence.commits()
    next(commits)
    for _ in range(5):
        store.append(builder.batch("run/a", "run/c"))
    assert len(list(commits)) == 2
    assert len(list(evidence.records())) == 6
    assert verify_partition(evidence).records == 6
    store.close()

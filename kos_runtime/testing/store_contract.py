"""What every event store promises, as tests.

A backend's test class inherits ``EventStoreContract`` and says how to make a world for it::

    class TestMemoryEventStore(EventStoreContract):
        def world(self, folder: Path) -> StoreWorld:
            return MemoryWorld()
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, Protocol, TypeVar

from kos_runtime.core.chain import EMPTY
from kos_runtime.core.errors import AppendConflict, AppendUnknown, Fenced, InvariantViolation, KosError, StoreFull
from kos_runtime.core.evidence import Evidence
from kos_runtime.core.record import (
    AttributeRow,
    Batch,
    CommandRow,
    Head,
    Lease,
    LimitRow,
    Record,
    ResultRow,
    SnapshotRow,
    TimerRow,
)
from kos_runtime.core.verify import verify_partition
from kos_runtime.ports.event_store import EventStore, LogReader
from kos_runtime.testing.log_builder import LogBuilder, run_row, salt_of

#: What an append can be made to suffer: definitely not stored; unknown and not stored; unknown and stored.
Failure = Literal["full", "lost", "stored"]


Raised = TypeVar("Raised", bound=KosError)


class StoreWorld(Protocol):
    """One log, and the means to open and to disturb it."""

    def open(self) -> EventStore:
        """Open a writer; opened again, a successor, after the one before was closed."""
        ...

    def rival(self) -> EventStore:
        """Open a writer beside the one that is open."""
        ...

    def reader(self) -> LogReader:
        """Open a reader."""
        ...

    def evidence(self) -> Evidence:
        """Return the stored rows for verification."""
        ...

    def fail_next_append(self, how: Failure) -> None:
        """Make the next append that has anything to store fail."""
        ...

    def close(self) -> None:
        """End it all."""
        ...


class EventStoreContract(ABC):
    """The tests. Each makes a world of its own."""

    @abstractmethod
    def world(self, folder: Path) -> StoreWorld:
        """Make a world around a log that does not exist yet. Its store is named ``store-1``."""

    # --- an empty log -----------------------------------------------------------------------------------------------

    def test_an_empty_log_has_a_head_at_zero(self, tmp_path: Path) -> None:
        with self._opened(tmp_path) as (_, store):
            assert store.head() == Head(0, EMPTY, 0)
            assert store.records() == []
            assert store.batches() == []
            assert store.stream("run/a") == []
            assert store.runs() == []
            assert store.run_counts() == {}
            assert store.run("a") is None
            assert store.salt("run/a") is None
            assert store.snapshot("run/a") is None
            assert store.next_timer() is None
            assert store.timers_due(2**62) == []
            assert store.command("c") is None
            assert store.result("k") is None
            assert store.limits() == []
            assert (store.store_id, store.partition) == ("store-1", 0)

    def test_nobody_owns_a_log_that_was_never_claimed(self, tmp_path: Path) -> None:
        with self._opened(tmp_path) as (_, store):
            assert store.lease() == Lease(0, 0, "", 0)

    # --- epochs -----------------------------------------------------------------------------------------------------

    def test_a_claim_raises_the_epoch_by_one(self, tmp_path: Path) -> None:
        with self._opened(tmp_path) as (world, store):
            lease = store.claim(0, "host-1")
            assert (lease.partition, lease.epoch, lease.owner) == (0, 1, "host-1")
            assert store.lease() == lease == world.reader().lease()
            assert store.claim(1, "host-2").epoch == 2

    def test_a_claim_fails_when_somebody_claimed_since(self, tmp_path: Path) -> None:
        with self._opened(tmp_path) as (world, store):
            store.claim(0, "host-1")
            with _refused(Fenced) as caught:
                world.rival().claim(0, "host-2")
            assert (caught[0].epoch, caught[0].current) == (0, 1)
            assert store.lease().owner == "host-1"

    def test_a_claim_outlives_the_store_that_made_it(self, tmp_path: Path) -> None:
        with self._opened(tmp_path) as (world, store):
            lease = store.claim(0, "host-1")
            assert world.open().lease() == lease

    def test_an_append_of_an_older_epoch_is_refused_and_stores_nothing(self, tmp_path: Path) -> None:
        with self._opened(tmp_path) as (world, old):
            old.claim(0, "host-1")
            builder = LogBuilder()
            old.append(builder.batch("run/a"))
            new = world.rival()
            new.claim(1, "host-2")
            with _refused(Fenced) as caught:
                old.append(builder.fork().batch("run/a", "run/b"))
            assert caught[0].current == 2
            assert new.head().offset == 1
            assert new.salt("run/b") is None

    def test_an_empty_append_confirms_the_epoch_and_nothing_else(self, tmp_path: Path) -> None:
        with self._opened(tmp_path) as (world, old):
            old.claim(0, "host-1")
            old.append(Batch(1))
            assert old.head().offset == 0
            world.rival().claim(1, "host-2")
            with _refused(Fenced):
                old.append(Batch(1))

    def test_two_writers_take_turns_and_only_the_newest_epoch_stores(self, tmp_path: Path) -> None:
        with self._opened(tmp_path) as (world, first):
            second = world.rival()
            builder = LogBuilder(epoch=0)
            stores, owner = [first, second], 0
            for turn in range(6):
                owner = turn % 2
                builder.epoch = stores[owner].claim(builder.epoch, f"host-{owner}").epoch
                with _refused(Fenced):
                    late = builder.fork()
                    late.epoch -= 1
                    stores[1 - owner].append(late.batch("run/z"))
                stores[owner].append(builder.batch("run/a"))
            assert [record.epoch for record in first.records()] == [1, 2, 3, 4, 5, 6]
            _verified(world, 6)

    def test_an_owner_that_was_outlived_cannot_renew(self, tmp_path: Path) -> None:
        with self._opened(tmp_path) as (world, old):
            old.claim(0, "host-1")
            old.renew(1)
            world.rival().claim(1, "host-2")
            with _refused(Fenced):
                old.renew(1)
            assert world.reader().lease().owner == "host-2"

    # --- appending --------------------------------------------------------------------------------------------------

    def test_what_was_appended_is_read_back_equal(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (world, store, builder):
            batch = builder.batch(("run/a", b"\x00\xff" * 100), "run/b", "run/a")
            store.append(batch)
            assert store.records() == batch.records == world.reader().records()
            assert store.batches() == [batch.link]
            assert store.stream("run/a") == [batch.records[0], batch.records[2]]
            assert store.salt("run/b") == salt_of("run/b")
            assert batch.link is not None
            assert store.head() == Head(3, batch.link.link, batch.records[-1].time)
            _verified(world, 3)

    def test_what_was_appended_outlives_the_store(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (world, store, builder):
            batches = [builder.batch("run/a", f"run/{number}") for number in range(20)]
            for batch in batches:
                store.append(batch)
            successor = world.open()
            assert successor.records() == [record for batch in batches for record in batch.records]
            assert successor.batches() == [batch.link for batch in batches]
            assert len(successor.stream("run/a")) == 20
            successor.append(builder.batch("run/a", "run/new"))
            assert [record.position for record in successor.stream("run/a")] == list(range(1, 22))
            _verified(world, 42)

    def test_the_caller_keeps_its_records_and_the_store_its_own(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (_, store, builder):
            batch = builder.batch("run/a")
            batch.runs = [run_row(batch.records[0])]
            store.append(batch)
            batch.records[0] = batch.records[0]._replace(payload=b"changed by the caller")
            batch.runs[0].status = "changed by the caller"
            store.records().clear()
            store.runs()[0].status = "changed by a reader"
            assert store.records()[0].payload == b"run/a 1"
            assert store.records()[0].names == "step_completed.1"
            assert store.runs()[0].status == "running"

    def test_an_append_elsewhere_than_at_the_end_is_a_conflict(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (_, store, builder):
            store.append(builder.batch("run/a"))
            behind, ahead = LogBuilder(), builder.fork()
            ahead.batch("run/x")
            for batch, expected in ((behind.batch("run/b"), 1), (ahead.batch("run/b"), 3)):
                with _refused(AppendConflict) as caught:
                    store.append(batch)
                conflict = caught[0]
                assert (conflict.expected_offset, conflict.actual_offset) == (expected, 2)
            assert store.head().offset == 1

    def test_a_batch_is_stored_whole_or_not_at_all(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (world, store, builder):
            store.append(builder.batch("run/a"))
            before = builder.fork()
            batch = _with_everything(builder, 300)
            _, stream, position, *_ = batch.records[149]
            batch.records[150] = batch.records[150]._replace(stream=stream, position=position)
            with _refused(InvariantViolation):
                store.append(batch)
            assert store.head().offset == 1
            assert store.runs() == []
            assert store.next_timer() is None
            assert store.command("command-1") is None
            assert store.snapshot("run/0") is None
            assert store.salt("run/0") is None
            store.append(_with_everything(before, 300))
            _verified(world, 301)

    def test_a_batch_that_contradicts_itself_is_refused(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (_, store, builder):
            gap = builder.fork().batch("run/a", "run/b")
            gap.records[1] = gap.records[1]._replace(offset=gap.records[1].offset + 1)
            epoch = builder.fork().batch("run/a", "run/b")
            epoch.records[1] = epoch.records[1]._replace(epoch=epoch.records[1].epoch + 1)
            unlinked = builder.fork().batch("run/a")
            unlinked.link = None
            unsalted = builder.fork().batch("run/a")
            unsalted.streams = []
            twice = builder.fork().batch("run/a")
            twice.streams *= 2
            for batch in (gap, epoch, unlinked, unsalted, twice):
                with _refused(InvariantViolation):
                    store.append(batch)
            assert store.head().offset == 0
            store.append(builder.batch("run/a"))

    def test_a_stream_begins_once(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (_, store, builder):
            store.append(builder.batch("run/a"))
            again = builder.fork().batch("run/a")
            again.streams = [("run/a", salt_of("another"))]
            with _refused(InvariantViolation):
                store.append(again)
            assert store.salt("run/a") == salt_of("run/a")

    def test_a_batch_of_ten_thousand_records_is_one_commit(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (world, store, builder):
            batch = builder.batch(*(f"run/{number % 500}" for number in range(10_000)))
            store.append(batch)
            assert len(store.batches()) == 1
            assert store.records(limit=10_000) == batch.records
            assert [record.position for record in store.stream("run/7")] == list(range(1, 21))
            _verified(world, 10_000)

    def test_batches_of_every_small_size_are_stored(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (world, store, builder):
            for size in (*range(1, 20), 63, 64, 65, 255, 256, 257):
                store.append(builder.batch(*("run/a" for _ in range(size))))
            total = sum(range(1, 20)) + 63 + 64 + 65 + 255 + 256 + 257
            assert [record.position for record in store.stream("run/a", limit=5_000)] == list(range(1, total + 1))
            _verified(world, total)

    def test_large_and_empty_payloads_come_back(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (_, store, builder):
            batch = builder.batch(("run/a", bytes(range(256)) * 4_096), ("run/a", b"\x00"))
            store.append(batch)
            assert store.records() == batch.records

    def test_text_of_any_kind_comes_back(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (world, store, builder):
            texts = [
                "",
                "naïve Ω 漢字 🜁",
                "a\x00b",
                "line\nline\r\t",
                "half a pair: \ud800",
                "'; DROP TABLE events; --",
            ]
            for number, text in enumerate(texts):
                stream = f"run/{number}{text}"
                record = builder.record(stream, text.encode("utf-8", "surrogatepass"), names=text, causation=text)
                batch = builder.seal([record])
                batch.runs = [run_row(record, name=text, error=text)]
                batch.commands = [CommandRow(f"command-{text}", record.offset, text.encode("utf-8", "surrogatepass"))]
                batch.timers_set = [TimerRow(5, f"{number}{text}", text, 1)]
                batch.blob_refs = [("ab" * 32, stream)]
                batch.snapshots = [SnapshotRow(stream, 1, record.offset, text, batch.records[0].hash, b"state")]
                store.append(batch)
                row = store.run(f"{number}{text}")
                assert row is not None
                assert (row.name, row.error) == (text, text)
                assert store.command(f"command-{text}") == batch.commands[0]
                assert store.salt(stream) == salt_of(stream)
                assert store.snapshot(stream) == batch.snapshots[0]
                assert store.stream(stream) == batch.records
                assert store.runs(name=text) == [row]
                assert store.timers_due(5) == batch.timers_set
                store.append(Batch(builder.epoch, timers_cleared=batch.timers_set))
                assert store.timers_due(5) == []
            assert len(store.records()) == len(texts)
            _verified(world, len(texts))

    # --- reading ----------------------------------------------------------------------------------------------------

    def test_records_and_streams_are_paged_in_order(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (_, store, builder):
            for _ in range(30):
                store.append(builder.batch("run/a", "run/b", "run/a"))
            whole = store.records()
            assert [record.offset for record in whole] == list(range(1, 91))
            assert _paged(lambda after: store.records(after=after, limit=7), lambda record: record.offset) == whole
            stream = store.stream("run/a")
            assert (
                _paged(lambda after: store.stream("run/a", after=after, limit=7), lambda record: record.position)
                == stream
            )
            assert [link.first_offset for link in store.batches(after=40, limit=3)] == [43, 46, 49]
            assert store.records(after=90) == []
            assert store.records(limit=0) == []
            assert store.stream("run/none") == []

    def test_a_reader_sees_what_was_appended_and_never_half_of_it(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (world, store, builder):
            reader = world.reader()
            for size in (1, 5, 300):
                store.append(builder.batch(*("run/a" for _ in range(size))))
                assert reader.head() == store.head()
                assert len(reader.records(limit=1_000)) == reader.head().offset
            reader.close()
            reader.close()

    # --- what is stored with the records ----------------------------------------------------------------------------

    def test_of_results_under_one_key_the_newest_counts_and_those_of_an_emptied_stream_are_gone(
        self, tmp_path: Path
    ) -> None:
        with self._claimed(tmp_path) as (world, store, builder):
            for run, keys in (("a", ("x", "y", "\ud800")), ("b", ("y",))):
                batch = builder.batch(f"run/{run}")
                batch.runs = [run_row(batch.records[0])]
                batch.results = [ResultRow(key, run, "s", 1, 5) for key in keys]
                store.append(batch)
            assert store.result("x") == ResultRow("x", "a", "s", 1, 5)
            assert store.result("\ud800") == ResultRow("\ud800", "a", "s", 1, 5)
            assert world.reader().result("y") == ResultRow("y", "b", "s", 1, 5)
            batch = builder.batch("run/a")
            batch.emptied = ["run/a"]
            store.append(batch)
            assert store.result("x") is None
            assert store.result("y") == ResultRow("y", "b", "s", 1, 5)

    def test_of_a_limit_the_newest_state_counts_and_an_empty_one_is_forgotten(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (world, store, builder):
            for rows in ([("b", b"1"), ("a", b"2")], [("a", b"3")]):
                batch = builder.batch("run/a")
                batch.limits = [LimitRow(name, state) for name, state in rows]
                store.append(batch)
            assert store.limits() == [LimitRow("a", b"3"), LimitRow("b", b"1")]
            assert world.reader().limits() == store.limits()
            batch = builder.batch("run/a")
            batch.limits = [LimitRow("a", b"")]
            store.append(batch)
            assert store.limits() == [LimitRow("b", b"1")]

    def test_runs_are_found_by_attributes_until_they_are_taken_away(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (world, store, builder):
            for run, team in (("a", "red"), ("b", "red"), ("c", "blue")):
                batch = builder.batch(f"run/{run}")
                batch.runs = [run_row(batch.records[0])]
                batch.attributes = [AttributeRow(run, "team", team), AttributeRow(run, "n", "1")]
                store.append(batch)

            def found(**attributes: str) -> list[str]:
                return [row.run for row in world.reader().runs(attributes=attributes, limit=9)]

            assert found(team="red") == ["b", "a"]
            assert found(team="red", n="1") == ["b", "a"]
            assert found(team="red", n="2") == found(other="red") == []
            assert store.attributes("a") == world.reader().attributes("a") == {"n": "1", "team": "red"}
            batch = builder.batch("run/a", "run/b", "run/c")
            batch.attributes = [
                AttributeRow("a", "team", "blue"), AttributeRow("b", "team", None), AttributeRow("c", "", None),
                AttributeRow("c", "new", "x"),
            ]  # fmt: skip
            store.append(batch)
            assert found(team="blue") == ["a"]
            assert (store.attributes("b"), store.attributes("c")) == ({"n": "1"}, {"new": "x"})
            batch = builder.batch("run/a")
            batch.emptied = ["run/a"]
            store.append(batch)
            assert store.attributes("a") == {}

    def test_runs_timers_commands_and_the_rest_are_stored_with_the_records(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (world, store, builder):
            batch = _with_everything(builder, 20)
            store.append(batch)
            for open_one in (lambda: store, world.reader, world.open):
                reader: LogReader = open_one()
                assert len(reader.runs()) == 20
                assert reader.run_counts() == {"running": 20}
                assert reader.timers_due(2**62) == batch.timers_set
                assert reader.next_timer() == batch.timers_set[0].due
                assert reader.command("command-1") == batch.commands[0]
                assert reader.snapshot("run/0") == batch.snapshots[0]

    def test_rows_without_records_are_stored_too(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (_, store, builder):
            batch = builder.batch("run/a")
            store.append(batch)
            snapshot = SnapshotRow("run/a", 1, 1, "machine-1", batch.records[0].hash, b"state")
            store.append(Batch(builder.epoch, snapshots=[snapshot], timers_set=[TimerRow(9, "a", "wait", 1)]))
            assert store.snapshot("run/a") == snapshot
            assert store.next_timer() == 9
            assert store.head().offset == 1

    def test_a_run_is_written_again_and_keeps_its_creation(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (_, store, builder):
            first = builder.batch("run/b", "run/a")
            first.runs = [run_row(record) for record in reversed(first.records)]
            store.append(first)
            second = builder.batch("run/b")
            second.runs = [run_row(second.records[0], "completed", waiting="nothing", error="none")]
            store.append(second)
            row = store.run("b")
            assert row is not None
            assert (row.status, row.offset, row.position, row.created_offset) == ("completed", 3, 2, 1)
            assert (row.waiting, row.error, row.updated_at) == ("nothing", "none", second.records[0].time)
            assert [row.run for row in store.runs(newest_first=False)] == ["b", "a"]
            assert store.run_counts() == {"completed": 1, "running": 1}

    def test_runs_are_found_by_everything_asked_at_once(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (_, store, builder):
            for number in range(24):
                batch = builder.batch(f"run/{number % 3}{number:02}")
                status = ("running", "failed")[number % 2]
                workflow, name = ("research", "review")[number % 4 // 2], ("", "nightly")[number % 5 == 0]
                batch.runs = [run_row(batch.records[0], status, workflow=workflow, name=name)]
                store.append(batch)
            every = store.runs()
            assert [row.created_offset for row in every] == list(range(24, 0, -1))
            assert store.runs(newest_first=False) == every[::-1]
            for row in every:
                assert store.run(row.run) == row
            expected = [
                row for row in every if row.status == "failed" and row.workflow == "review" and row.run[0] == "1"
            ]
            assert expected
            assert store.runs(status=("failed",), workflow="review", prefix="1") == expected
            assert store.runs(status=("failed", "running")) == every
            assert store.runs(name="nightly") == [row for row in every if row.name == "nightly"]
            assert store.runs(prefix="zz") == []
            assert store.runs(status=("paused",)) == []

    def test_runs_are_paged_in_both_directions(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (_, store, builder):
            batch = builder.batch(*(f"run/{number:03}" for number in range(50)))
            batch.runs = [run_row(record) for record in batch.records]
            store.append(batch)
            for newest_first in (True, False):
                pages, after = [], 0
                while page := store.runs(newest_first=newest_first, after_offset=after, limit=7):
                    pages += page
                    after = page[-1].created_offset
                assert pages == store.runs(newest_first=newest_first)

    def test_many_runs_are_recalled_at_once(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (world, store, builder):
            names = [f"{index:04d}" for index in range(300)]
            batch = builder.batch(*(f"run/{name}" for name in names), *["run/0001"] * 5, *["run/0002"] * 3)
            batch.runs = [run_row(record) for record in batch.records[:300]]
            store.append(batch)
            tip = store.stream("run/0002")[2]
            batch = builder.batch(("run/odd \ud800", b"x"))
            batch.runs = [run_row(batch.records[0])]
            batch.snapshots = [SnapshotRow("run/0002", 3, tip.offset, "f", tip.hash, b"state")]
            store.append(batch)
            for reader in (store, world.reader()):
                found = {item.row.run: item for item in reader.recall([*names, "none", "odd \ud800", "0001"], tail=2)}
                assert sorted(found) == sorted([*names, "odd \ud800"])
                for run, item in found.items():
                    stream = f"run/{run}"
                    assert (item.row, item.salt, item.origin) == (reader.run(run), reader.salt(stream), None)
                    assert item.snapshot == reader.snapshot(stream)
                    after = 3 if run == "0002" else 0
                    assert item.records == reader.stream(stream, after=after, limit=2)
                    assert item.whole is (run != "0001")
            assert store.recall([], tail=2) == []

    def test_timers_come_back_soonest_first_and_are_cleared_exactly(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (_, store, builder):
            timers = [TimerRow(due, run, "wait", fence) for due in (30, 10, 20) for run in "ab" for fence in (1, 2)]
            store.append(Batch(builder.epoch, timers_set=timers + timers[:2]))
            in_order = sorted(timers, key=lambda timer: (timer.due, timer.run, timer.path, timer.fence))
            assert store.timers_due(30) == in_order
            assert store.timers_due(20, limit=3) == in_order[:3]
            assert store.timers_due(20, after=in_order[2], limit=3) == in_order[3:6]
            assert store.timers_due(20, after=in_order[7]) == []
            assert store.timers_due(9) == []
            unknown = TimerRow(10, "a", "wait", 3)
            store.append(Batch(builder.epoch, timers_cleared=[in_order[0], in_order[5], unknown]))
            assert store.timers_due(30) == [timer for timer in in_order if timer not in (in_order[0], in_order[5])]
            assert store.next_timer() == 10
            passing = TimerRow(1, "a", "wait", 9)
            store.append(Batch(builder.epoch, timers_set=[passing], timers_cleared=[passing]))
            assert store.next_timer() == 10

    def test_a_command_is_answered_once(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (_, store, builder):
            store.append(Batch(builder.epoch, commands=[CommandRow("c-1", 1, b"first")]))
            with _refused(InvariantViolation):
                store.append(Batch(builder.epoch, commands=[CommandRow("c-1", 2, b"second")]))
            assert store.command("c-1") == CommandRow("c-1", 1, b"first")

    def test_the_newest_snapshot_of_a_stream_is_kept(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (_, store, builder):
            newer = SnapshotRow("run/a", 8, 9, "machine-2", bytes(32), b"newer")
            for position, kept in ((5, 5), (8, 8), (7, 8)):
                row = SnapshotRow("run/a", position, position + 1, "machine-2", bytes(32), b"newer")
                store.append(Batch(builder.epoch, snapshots=[row]))
                found = store.snapshot("run/a")
                assert found is not None
                assert found.position == kept
            assert store.snapshot("run/a") == newer

    # --- failing ----------------------------------------------------------------------------------------------------

    def test_a_definite_failure_stores_nothing_and_the_same_append_succeeds_later(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (world, store, builder):
            store.append(builder.batch("run/a"))
            batch = _with_everything(builder, 40)
            world.fail_next_append("full")
            with _refused(StoreFull) as caught:
                store.append(batch)
            assert caught[0].definite
            assert store.head().offset == 1
            assert store.runs() == []
            store.append(batch)
            assert store.head().offset == 41
            _verified(world, 41)

    def test_after_an_indefinite_failure_the_store_refuses_everything(self, tmp_path: Path) -> None:
        for how in _INDEFINITE:
            with self._claimed(tmp_path / how) as (world, store, builder):
                world.fail_next_append(how)
                with _refused(AppendUnknown) as caught:
                    store.append(builder.batch("run/a"))
                assert not caught[0].definite
                for ask in _QUESTIONS:
                    with _refused(AppendUnknown):
                        ask(store)

    def test_a_successor_finds_out_what_became_of_an_indefinite_append(self, tmp_path: Path) -> None:
        for how in _INDEFINITE:
            with self._claimed(tmp_path / how) as (world, store, builder):
                store.append(builder.batch("run/a"))
                before = builder.fork()
                batch = _with_everything(builder, 40)
                world.fail_next_append(how)
                with _refused(AppendUnknown):
                    store.append(batch)
                successor = world.open()
                successor.claim(1, "host-2")
                tail = successor.records(after=1)
                assert tail in ([], batch.records), "all of it or nothing"
                assert bool(successor.runs()) == bool(tail)
                end = builder if tail else before
                end.epoch = 2
                successor.append(end.batch("run/a"))
                _verified(world, 42 if tail else 2)

    def test_closing_twice_does_nothing(self, tmp_path: Path) -> None:
        with self._claimed(tmp_path) as (world, store, builder):
            store.append(builder.batch("run/a"))
            store.idle()
            store.close()
            store.close()
            assert world.open().head().offset == 1

    # --- worlds -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _opened(self, folder: Path) -> Iterator[tuple[StoreWorld, EventStore]]:
        with contextlib.closing(self.world(folder)) as world:
            yield world, world.open()

    @contextlib.contextmanager
    def _claimed(self, folder: Path) -> Iterator[tuple[StoreWorld, EventStore, LogBuilder]]:
        with self._opened(folder) as (world, store):
            assert store.claim(0, "host-1").epoch == 1
            yield world, store, LogBuilder(store.store_id, store.partition)


_QUESTIONS: tuple[Callable[[EventStore], object], ...] = (
    lambda store: store.append(Batch(1)),
    lambda store: store.claim(1, "again"),
    lambda store: store.renew(1),
    lambda store: store.head(),
    lambda store: store.records(),
    lambda store: store.idle(),
)
_INDEFINITE: tuple[Failure, ...] = ("lost", "stored")


@contextlib.contextmanager
def _refused(kind: type[Raised]) -> Iterator[list[Raised]]:
    """Expect an error, and hand it over once the block is left."""
    caught: list[Raised] = []
    try:
        yield caught
    except kind as error:
        caught.append(error)
    else:
        raise AssertionError(f"{kind.__name__} was not raised")


def _paged(read: Callable[[int], list[Record]], place: Callable[[Record], int]) -> list[Record]:
    """Read to the end, page after page."""
    found: list[Record] = []
    while page := read(place(found[-1]) if found else 0):
        found += page
    return found


def _verified(world: StoreWorld, records: int) -> None:
    verdict = verify_partition(world.evidence())
    assert verdict.first_bad is None, str(verdict.first_bad)
    assert verdict.records == records


def _with_everything(builder: LogBuilder, size: int) -> Batch:
    """Return a batch of so many new runs with a row for each, and one of every other kind."""
    batch = builder.batch(*(f"run/{number}" for number in range(size)))
    first: Record = batch.records[0]
    batch.runs = [run_row(record) for record in batch.records]
    batch.timers_set = [TimerRow(first.time + number, str(number), "wait", 1) for number in range(size)]
    batch.commands = [CommandRow(f"command-{number}", first.offset, b"answer") for number in range(1, size)]
    batch.blob_refs = [(f"{number:064x}", f"run/{number}") for number in range(size)]
    batch.snapshots = [SnapshotRow("run/0", 1, first.offset, "machine-1", first.hash, b"state" * 1_000)]
    return batch

"""A writer that is killed at any moment: what it acknowledged is there, and nothing is there by half."""

import os
import random
import select
import signal
from itertools import count
from pathlib import Path

from kos_runtime.adapters.event_store.connection import Tuning
from kos_runtime.adapters.event_store.reader import SqliteLogReader
from kos_runtime.adapters.event_store.sqlite import SqliteEventStore
from kos_runtime.core import failpoint
from kos_runtime.core.verify import verify_partition
from kos_runtime.testing.log_builder import LogBuilder, run_row
from tests.adapters.store_worlds import Clock

KILLS = 40
SIZES = (1, 3, 40, 300)
#: Where every fourth writer ends itself, in turn: the others are killed at whatever moment it is.
PLACES = ("append.begun", "append.rows", "append.commit")


def end_at(place: str, visit: int) -> None:
    """Have this process end itself, as by ``kill -9``, when it comes to a place for the n-th time."""
    visits = count(1)

    def hook(name: str) -> None:
        if name == place and next(visits) == visit:
            os.kill(os.getpid(), signal.SIGKILL)

    failpoint.plant(hook)


def write_for_ever(folder: Path, builder: LogBuilder, acknowledge: int) -> None:
    """Open, claim, append; tell each offset that was acknowledged through a pipe."""
    tuning = Tuning(wal_bytes=64 << 10)
    store = SqliteEventStore.open(folder, wall=Clock(), store_id="store-1", tuning=tuning)
    builder.epoch = store.claim(store.lease().epoch, f"host-{os.getpid()}").epoch
    turn = 0
    while True:
        size = SIZES[turn % len(SIZES)]
        batch = builder.batch(*(f"run/{builder.offset // 1_000}-{number}" for number in range(size)))
        batch.runs = [run_row(record) for record in batch.records]
        store.append(batch)
        os.write(acknowledge, f"{builder.offset}\n".encode())
        store.idle()
        turn += 1


def test_what_was_acknowledged_survives_a_writer_that_is_killed_at_any_moment(tmp_path: Path) -> None:
    draw = random.Random(20_231_114)
    acknowledged, unacknowledged = 0, 0
    for kill in range(KILLS):
        folder = tmp_path / str(kill // 8)
        if kill % 8 == 0:
            builder, acknowledged = LogBuilder(), 0
        read, write = os.pipe()
        child = os.fork()
        place = PLACES[kill // 4 % len(PLACES)] if kill % 4 == 3 else ""
        if child == 0:
            try:
                os.close(read)
                if place:
                    # The first visits are the claim's.
                    end_at(place, 2 + kill // 4 % 4)
                write_for_ever(folder, builder, write)
            finally:
                os._exit(1)
        os.close(write)
        heard = b""
        if not place:
            # Killed after so many acknowledgements and a little: mostly in the midst of an append.
            for _ in range(draw.randrange(6)):
                heard += os.read(read, 4_096)
            select.select([], [], [], draw.random() * 0.004)
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while said := os.read(read, 4_096):
            heard += said
        os.close(read)
        last = int(heard.split()[-1]) if heard else acknowledged

        reader = SqliteLogReader.open(folder)
        verdict = verify_partition(reader.evidence())
        assert verdict.first_bad is None, str(verdict.first_bad)
        head = reader.head()
        assert head.offset >= last
        assert len(reader.runs(limit=1_000_000)) == sum(
            record.position == 1 for record in reader.records(limit=1_000_000)
        )
        if place == "append.commit":
            assert head.offset > last, "what was committed and never acknowledged is there"
            unacknowledged += 1
        builder.offset, builder.link = head.offset, head.link
        builder.tips = {}
        for record in reader.records(limit=1_000_000):
            builder.tips[record.stream] = (record.position, record.hash)
        acknowledged = head.offset
        reader.close()
    assert acknowledged > 500
    assert unacknowledged >= 3


def test_a_creation_that_is_killed_can_be_repeated(tmp_path: Path) -> None:
    draw = random.Random(7)
    for attempt in range(10):
        folder = tmp_path / str(attempt)
        child = os.fork()
        if child == 0:
            try:
                write_for_ever(folder, LogBuilder(), os.open(os.devnull, os.O_WRONLY))
            finally:
                os._exit(1)
        select.select([], [], [], draw.random() * 0.02)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        store = SqliteEventStore.open(folder, wall=Clock(), store_id="store-1")
        assert verify_partition(SqliteLogReader.open(folder).evidence()).ok
        store.close()

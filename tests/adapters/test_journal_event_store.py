"""The store of simulations keeps the contract of all stores, and what was acknowledged through every loss of power."""

from pathlib import Path
from random import Random

import pytest

from kos_runtime.adapters.event_store.journal import Journal, JournalEventStore
from kos_runtime.adapters.event_store.memory import MemoryLogReader
from kos_runtime.adapters.event_store.memory_evidence import MemoryEvidence
from kos_runtime.adapters.event_store.memory_log import Fault
from kos_runtime.core import failpoint
from kos_runtime.core.verify import verify_partition
from kos_runtime.simulator.disk import SimulatedDisk
from kos_runtime.testing.log_builder import LogBuilder
from kos_runtime.testing.store_contract import EventStoreContract, Failure
from tests.adapters.store_worlds import Clock


class JournalWorld:
    def __init__(self) -> None:
        self._next: Fault | None = None
        self.journal = Journal(SimulatedDisk(), "store-1", faults=self._fault)

    def _fault(self) -> Fault | None:
        fault, self._next = self._next, None
        return fault

    def open(self) -> JournalEventStore:
        # What a successor knows is what the disk says.
        self.journal.recover()
        return self.rival()

    def rival(self) -> JournalEventStore:
        return JournalEventStore(self.journal, Clock())

    def reader(self) -> MemoryLogReader:
        return JournalEventStore(self.journal)

    def evidence(self) -> MemoryEvidence:
        return MemoryEvidence.of(self.journal.log)

    def fail_next_append(self, how: Failure) -> None:
        self._next = {"full": Fault.FULL, "lost": Fault.LOST, "stored": Fault.STORED}[how]

    def close(self) -> None:
        pass


class TestJournalEventStore(EventStoreContract):
    def world(self, folder: Path) -> JournalWorld:
        return JournalWorld()


class Killed(BaseException):
    pass


@pytest.mark.parametrize("seed", range(40))
def test_a_loss_of_power_keeps_what_was_acknowledged_and_half_of_nothing(seed: int) -> None:
    draw = Random(seed)
    disk = SimulatedDisk()
    journal = Journal(disk, "store-1")
    store, builder = JournalEventStore(journal), LogBuilder()
    store.claim(0, "host-1")
    acknowledged = draw.randrange(4)
    for _ in range(acknowledged):
        store.append(builder.batch("run/a", ("run/b", b"x" * draw.randrange(3_000))))
    last = builder.batch(("run/a", b"y" * draw.randrange(3_000)), "run/c")

    def die(place: str) -> None:
        if place == draw_place:
            raise Killed

    draw_place = draw.choice(["append.begun", "append.commit"])
    failpoint.plant(die)
    try:
        with pytest.raises(Killed):
            store.append(last)
    finally:
        failpoint.plant(None)
    disk.lose_power(draw)
    journal.recover()
    after = JournalEventStore(journal)
    found = len(after.records())
    assert found in {2 * acknowledged, 2 * acknowledged + 2}, "a batch is there as a whole or not at all"
    assert verify_partition(MemoryEvidence.of(journal.log)).first_bad is None
    assert after.lease().epoch == 1


def test_without_a_sync_what_was_acknowledged_is_lost_at_some_time() -> None:
    """The disk does forget: a store that does not sync is caught by it."""

    class Forgetful(SimulatedDisk):
        def sync(self) -> None:
            pass

    lost = 0
    for seed in range(20):
        disk = Forgetful()
        journal = Journal(disk, "store-1")
        store = JournalEventStore(journal)
        store.claim(0, "host-1")
        store.append(LogBuilder().batch("run/a"))
        disk.lose_power(Random(seed))
        SimulatedDisk.sync(disk)
        journal.recover()
        lost += not JournalEventStore(journal).records()
    assert lost

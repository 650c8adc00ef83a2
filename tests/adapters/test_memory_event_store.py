from pathlib import Path

import pytest

from kos_runtime.adapters.event_store.memory import MemoryEventStore
from kos_runtime.adapters.event_store.memory_log import Fault, MemoryLog
from kos_runtime.core.errors import AppendUnknown, Fenced, StoreBusy, StoreReadOnly
from kos_runtime.core.record import Batch
from kos_runtime.testing.log_builder import LogBuilder
from kos_runtime.testing.store_contract import EventStoreContract
from tests.adapters.store_worlds import MemoryWorld


class TestMemoryEventStore(EventStoreContract):
    def world(self, folder: Path) -> MemoryWorld:
        return MemoryWorld()


def test_a_late_append_is_seen_by_nobody_until_the_next_claim() -> None:
    log = MemoryLog("store-1", faults={1: Fault.LATE}.get)
    store, successor, builder = MemoryEventStore(log), MemoryEventStore(log), LogBuilder()
    store.claim(0, "host-1")
    batch = builder.batch("run/a")
    with pytest.raises(AppendUnknown):
        store.append(batch)
    assert successor.records() == []
    batch.records[0] = batch.records[0]._replace(payload=b"changed by the caller")
    successor.claim(1, "host-2")
    assert [record.payload for record in successor.records()] == [b"run/a 1"]


def test_a_rival_can_be_made_to_claim_just_before_an_append() -> None:
    log = MemoryLog("store-1", faults={2: Fault.FENCED}.get)
    store, builder = MemoryEventStore(log), LogBuilder()
    store.claim(0, "host-1")
    store.append(Batch(1))
    with pytest.raises(Fenced):
        store.append(builder.batch("run/a"))
    assert log.epoch == 2
    assert log.records == []


@pytest.mark.parametrize(("fault", "kind"), [(Fault.BUSY, StoreBusy), (Fault.READ_ONLY, StoreReadOnly)])
def test_every_definite_fault_leaves_the_store_usable(fault: Fault, kind: type[Exception]) -> None:
    log = MemoryLog("store-1", faults={1: fault}.get)
    store, builder = MemoryEventStore(log), LogBuilder()
    store.claim(0, "host-1")
    batch = builder.batch("run/a")
    with pytest.raises(kind):
        store.append(batch)
    store.append(batch)
    assert store.head().offset == 1

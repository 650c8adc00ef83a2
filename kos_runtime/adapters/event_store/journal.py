"""A log kept as a journal on a disk that may lose power: the store of simulations.

The journal is a row of frames, each a length, a checksum and what one claim or one batch stores. Whoever opens it folds
the frames into a log in memory, up to the first that is torn or missing, and cuts off the rest. A batch is written,
synced, and only then seen. It stands under the same contract as the stores of files.
"""

from binascii import crc32
from collections.abc import Callable
from dataclasses import fields
from struct import Struct
from typing import Any, Final, Protocol

import msgpack

from kos_runtime.adapters.event_store.memory import MemoryEventStore
from kos_runtime.adapters.event_store.memory_log import Fault, MemoryLog
from kos_runtime.adapters.event_store.writing import carries_rows, check_shape
from kos_runtime.core.errors import AppendUnknown, Fenced, StoreBusy, StoreFull, StoreReadOnly
from kos_runtime.core.failpoint import hit
from kos_runtime.core.record import Batch, BatchLink, CommandRow, Lease, Record, RunRow, SnapshotRow, TimerRow

_HEAD: Final = Struct("<II")
_WHERE: Final = "the simulated disk"
_DEFINITE: Final = {Fault.FULL: StoreFull, Fault.BUSY: StoreBusy, Fault.READ_ONLY: StoreReadOnly}
#: The rows of a batch, by the name of its field.
_ROWS: Final[dict[str, type]] = {
    "runs": RunRow, "timers_set": TimerRow, "timers_cleared": TimerRow, "commands": CommandRow, "snapshots": SnapshotRow,
}  # fmt: skip
_PLAIN: Final = ("streams", "blob_refs", "origins", "emptied")
_COLUMNS: Final = {kind: tuple(field.name for field in fields(kind)) for kind in {*_ROWS.values(), BatchLink}}


class Disk(Protocol):
    """One file that grows."""

    def read(self) -> bytes: ...
    def write(self, data: bytes) -> None: ...
    def sync(self) -> None: ...
    def truncate(self, size: int) -> None: ...


class Journal:
    """The file of one partition, and what it says. ``faults`` says what the next append suffers; None for nothing."""

    def __init__(
        self, disk: Disk, store_id: str, partition: int = 0, *, faults: Callable[[], Fault | None] = lambda: None
    ) -> None:
        self.disk, self.faults = disk, faults
        self._store_id, self._partition = store_id, partition
        self._stale = False
        self.log = MemoryLog(store_id, partition)
        #: Frames that were found torn or missing, with whatever stood behind them.
        self.cut = 0

    def write(self, what: Any) -> None:
        """Append a frame and sync it. From the first byte on, what is in memory says less than the disk."""
        body: bytes = msgpack.packb(what, unicode_errors="surrogatepass")
        self._stale = True
        self.disk.write(_HEAD.pack(len(body), crc32(body)) + body)
        hit("append.commit")
        self.disk.sync()

    def settled(self) -> None:
        """What was written is in memory too."""
        self._stale = False

    def open(self) -> None:
        """Read the disk again if it may say something else, and trust it only when it is synced."""
        if self._stale:
            self.recover()

    def recover(self) -> None:
        """Fold the log from the disk."""
        self.disk.sync()
        data = self.disk.read()
        self.log = log = MemoryLog(self._store_id, self._partition)
        at = 0
        while at + _HEAD.size <= len(data):
            length, checksum = _HEAD.unpack_from(data, at)
            body = data[at + _HEAD.size : at + _HEAD.size + length]
            if not length or len(body) != length or crc32(body) != checksum:
                break
            _apply(log, msgpack.unpackb(body, use_list=False, unicode_errors="surrogatepass"))
            at += _HEAD.size + length
        if at < len(data):
            self.cut += 1
            self.disk.truncate(at)
        self._stale = False


class JournalEventStore(MemoryEventStore):
    """A writer of a journal. Several may be opened on one; the epoch tells them apart."""

    def __init__(self, journal: Journal, wall: Callable[[], int] = lambda: 0) -> None:
        self._journal = journal
        journal.open()
        super().__init__(journal.log, wall)

    def claim(self, expected_epoch: int, owner: str) -> Lease:
        """Become the owner: raise the epoch by one, if it still is ``expected_epoch``."""
        log = self._readable()
        if log.epoch != expected_epoch:
            raise Fenced(log.partition, expected_epoch, log.epoch)
        self._claim(owner)
        return self.lease()

    def _claim(self, owner: str) -> None:
        log = self._readable()
        what = ("claim", log.epoch + 1, owner, self._wall())
        self._journal.write(what)
        _apply(log, what)
        self._journal.settled()

    def append(self, batch: Batch) -> None:
        """Store a batch: all of it or nothing, unless a fault was asked for."""
        log = self._readable()
        check_shape(batch, _WHERE)
        fault = self._journal.faults()
        if fault is Fault.FENCED:
            self._claim("somebody else")
        self._admit(batch)
        if fault in _DEFINITE:
            raise _DEFINITE[fault](_WHERE)
        if carries_rows(batch) and fault is not Fault.LOST:
            hit("append.begun")
            log._check(batch)
            hit("append.rows")
            self._journal.write(("batch", _packed(batch)))
            log.store(batch)
            self._journal.settled()
        if fault in {Fault.LOST, Fault.STORED}:
            self._refusal = AppendUnknown(log.partition, "the answer was lost")
            raise self._refusal

    def _readable(self) -> MemoryLog:
        # Whoever recovered it meanwhile has made another one.
        self.log = self._journal.log
        return super()._readable()


def _packed(batch: Batch) -> tuple[Any, ...]:
    rows = {
        name: [tuple(getattr(row, column) for column in _COLUMNS[kind]) for row in found]
        for name, kind in _ROWS.items()
        if (found := getattr(batch, name))
    }
    plain = {name: list(map(_bare, found)) for name in _PLAIN if (found := getattr(batch, name))}
    link = None if batch.link is None else tuple(getattr(batch.link, column) for column in _COLUMNS[BatchLink])
    return batch.epoch, list(map(tuple, batch.records)), link, rows, plain


def _bare(row: Any) -> Any:
    return str(row) if isinstance(row, str) else tuple(row)


def _apply(log: MemoryLog, what: Any) -> None:
    if what[0] == "claim":
        _, log.epoch, log.owner, log.renewed_at = what
        return
    epoch, records, link, rows, plain = what[1]
    batch = Batch(epoch, [Record(*record) for record in records], None if link is None else BatchLink(*link))
    for name, found in rows.items():
        setattr(batch, name, [_ROWS[name](*row) for row in found])
    for name, found in plain.items():
        setattr(batch, name, list(found))
    log.store(batch)

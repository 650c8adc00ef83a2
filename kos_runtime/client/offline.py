"""Writing a store by ourselves, while nobody owns it: what is kept of runs, not what they do.

Bringing runs in, archiving and purging need the whole store for themselves: an owner keeps in memory which runs and which
values there are.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kos_runtime.adapters.clock import LogClock
from kos_runtime.adapters.ownership import HeldByAnother
from kos_runtime.client.owner import is_owned
from kos_runtime.core.errors import Unreachable
from kos_runtime.core.identity import run_stream
from kos_runtime.core.record import Batch, Record
from kos_runtime.engine.limits import Limits
from kos_runtime.engine.recorder import Meta, Recorder


class Keeper:
    """A claimed store. ``commit`` stores one batch, all of it or nothing."""

    def __init__(self, store: Any, blobs: Any, recorder: Recorder, now: Callable[[], int]) -> None:
        self.store, self.blobs, self.recorder, self._now = store, blobs, recorder, now

    def now(self) -> int:
        """Return log time, and let what is recorded next have it."""
        self.recorder.time = max(self.recorder.time, self._now())
        return self.recorder.time

    def bring_in(self, records: list[Record], batch: Batch) -> None:
        """Put records that were made elsewhere behind the end of the log; their own chain stays as it is."""
        recorder = self.recorder
        for record in records:
            recorder.offset += 1
            batch.records.append(record._replace(offset=recorder.offset, epoch=recorder.epoch))

    def record(self, batch: Batch, run: str, meta: Meta, event: Any, cause: str) -> None:
        """Put a record of one event behind the end of a run's stream."""
        self.recorder._append(batch, run, meta, run_stream(run), [event], cause)

    def commit(self, batch: Batch) -> None:
        self.recorder.seal(batch)
        self.store.append(batch)


@contextmanager
def kept(folder: Path, what: str) -> Iterator[Keeper]:
    """Own a store for as long as the block lasts.

    Raises:
        Unreachable: Somebody else owns it; ``what`` says which command needs it.
    """
    from kos_runtime.composition import wiring

    busy = f"{folder} is in use by its owner, and {what} needs it for itself: first end the owner by kos down"
    if is_owned(folder):
        raise Unreachable(busy)
    try:
        store = wiring.open_store(str(folder))
    except HeldByAnother as error:
        raise Unreachable(busy) from error
    try:
        lease = store.claim(store.lease().epoch, wiring.owner_name())
        head = store.head()
        recorder = Recorder(
            store_id=store.store_id, number=store.partition, epoch=lease.epoch, head=head, codec=wiring.INNER_CODEC,
            limits=Limits(), code_version="",
        )  # fmt: skip
        yield Keeper(store, wiring.blob_store(str(folder)), recorder, LogClock.at_claim(head.time).now)
    finally:
        store.close()

"""Batches with true digests, hashes and links, for tests of stores and of verification."""

from dataclasses import dataclass, field
from hashlib import sha256

from kos_runtime.core.chain import EMPTY, SALT_BYTES, batch_link, batch_root, payload_digest, record_hash
from kos_runtime.core.record import Batch, BatchLink, Record, RunRow

#: A moment for records to begin at: 2023-11-14T22:13:20Z, in milliseconds.
EPOCH_TIME = 1_700_000_000_000


@dataclass(slots=True)
class LogBuilder:
    """The end of a log, and batches that continue it.

    A batch moves the end on, whether or not somebody stores it; ``fork`` keeps an end to come back to.
    """

    store_id: str = "store-1"
    partition: int = 0
    epoch: int = 1
    offset: int = 0
    link: bytes = EMPTY
    tips: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def fork(self) -> "LogBuilder":
        """Return another builder with the same end."""
        return LogBuilder(self.store_id, self.partition, self.epoch, self.offset, self.link, dict(self.tips))

    def batch(self, *entries: str | tuple[str, bytes]) -> Batch:
        """Return the next batch: a record for each entry, which is a stream's name, with a payload or without."""
        return self.seal([self.record(*((entry,) if isinstance(entry, str) else entry)) for entry in entries])

    def seal(self, records: list[Record]) -> Batch:
        """Return the batch of the records that were made since the last one."""
        new = [record.stream for record in records if record.position == 1]
        batch = Batch(self.epoch, records, streams=[(stream, salt_of(stream)) for stream in new])
        if records:
            root = batch_root(record.hash for record in records)
            first, count = records[0].offset, len(records)
            self.link = batch_link(self.link, self.epoch, first, count, root)
            batch.link = BatchLink(first, count, self.epoch, root, self.link)
        return batch

    def record(
        self, stream: str, payload: bytes = b"", *, names: str = "step_completed.1", causation: str = "command:c-1"
    ) -> Record:
        """Return the next record of a stream, for ``seal``."""
        position, previous = self.tips.get(stream, (0, EMPTY))
        position, self.offset = position + 1, self.offset + 1
        payload = payload or f"{stream} {position}".encode()
        time, correlation = EPOCH_TIME + self.offset, "conversation-1"
        digest = payload_digest(salt_of(stream), payload)
        its_hash = record_hash(
            self.store_id, self.partition, stream, position, names, time, causation, correlation, digest, previous
        )
        self.tips[stream] = (position, its_hash)
        return Record(
            self.offset, stream, position, self.epoch, time, names, causation, correlation, payload, digest, its_hash
        )


def salt_of(stream: str) -> bytes:
    """Return the salt that a builder gives to a stream: the same each time, so that tests repeat."""
    return sha256(f"salt of {stream}".encode("utf-8", "surrogatepass")).digest()[:SALT_BYTES]


def run_row(
    record: Record,
    status: str = "running",
    *,
    workflow: str = "research",
    name: str = "",
    waiting: str = "",
    error: str = "",
) -> RunRow:
    """Return the row of the run whose stream a record belongs to, changed by that record."""
    return RunRow(
        run=record.stream.removeprefix("run/"),
        workflow=workflow,
        version="1",
        name=name,
        status=status,
        created_at=EPOCH_TIME,
        updated_at=record.time,
        offset=record.offset,
        position=record.position,
        waiting=waiting,
        error=error,
    )

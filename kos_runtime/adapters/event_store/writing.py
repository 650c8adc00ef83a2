"""How a batch becomes rows."""

from collections.abc import Callable
from itertools import chain
from operator import attrgetter
from typing import Final

from kos_runtime.adapters.event_store.multirow import Execute, MultiRow, insertion
from kos_runtime.adapters.event_store.schema import BATCH_LINK, COMMAND, RECORD, RUN, SNAPSHOT, TIMER
from kos_runtime.core.errors import InvariantViolation
from kos_runtime.core.identity import run_stream
from kos_runtime.core.record import Batch, Record

_EVENTS: Final = insertion("events", RECORD)
_STREAMS: Final = insertion("streams", ("number", "stream", "salt"))
_POSITIONS: Final = insertion("positions", ("number", "position", "offset"))
_BATCHES: Final = insertion("batches", BATCH_LINK)
_KEPT: Final = frozenset(("run", "created_offset"))
_RUNS: Final = insertion(
    "runs",
    ("number", *RUN),
    "ON CONFLICT(number) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in RUN if name not in _KEPT),
)
_TIMERS_SET: Final = insertion("timers", TIMER, "ON CONFLICT DO NOTHING")
_TIMERS_CLEARED: Final = MultiRow(
    f"DELETE FROM timers WHERE ({', '.join(TIMER)}) IN (VALUES",  # noqa: S608 - the names are ours
    TIMER,
    ")",
)
_COMMANDS: Final = insertion("commands", COMMAND)
_BLOB_REFS: Final = insertion("blob_refs", ("blob", "stream"), "ON CONFLICT DO NOTHING")
_SNAPSHOTS: Final = insertion(
    "snapshots",
    SNAPSHOT,
    "ON CONFLICT(stream) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in SNAPSHOT[1:])
    + " WHERE excluded.position >= snapshots.position",
)

_record = attrgetter(*RECORD)
_link = attrgetter(*BATCH_LINK)
_run = attrgetter(*RUN[:-1])
_timer = attrgetter(*TIMER)
_command = attrgetter(*COMMAND)
_snapshot = attrgetter(*SNAPSHOT)


def check_shape(batch: Batch, where: str) -> None:
    """Refuse a batch whose parts do not fit each other.

    Raises:
        InvariantViolation: Its offsets have a gap, its link is about other records, or records have no link.
    """
    records, link = batch.records, batch.link
    if not records:
        if link is not None:
            raise InvariantViolation(f"{where}: a commit's link without records")
        return
    first = records[0].offset
    if link is None or (link.first_offset, link.count, link.epoch) != (first, len(records), batch.epoch):
        raise InvariantViolation(f"{where}: the link is not about the records of its batch")
    for offset, record in enumerate(records, first):
        if record.offset != offset or record.epoch != batch.epoch:
            raise InvariantViolation(f"{where}: offset {record.offset} of epoch {record.epoch} stands at {offset}")


def carries_rows(batch: Batch) -> bool:
    """Say whether a batch has anything to store."""
    return bool(
        batch.records
        or batch.streams
        or batch.runs
        or batch.timers_set
        or batch.timers_cleared
        or batch.commands
        or batch.blob_refs
        or batch.snapshots
    )


def write(batch: Batch, execute: Execute, numbers: Callable[[str], int], next_number: int) -> dict[str, int]:
    """Insert everything a batch carries, inside a transaction that is open already.

    Args:
        batch: One whose shape was checked.
        execute: Carries out one statement.
        numbers: Gives the number of a stream that was stored before; raises InvariantViolation for any other.
        next_number: The number for the first new stream.

    Returns:
        The numbers given to the streams that begin here; they are true once the transaction is committed.
    """
    records, flat = batch.records, chain.from_iterable
    fresh = _numbered(batch, next_number)
    if fresh:
        salts = dict(batch.streams)
        _STREAMS.run(execute, [value for stream, number in fresh.items() for value in (number, stream, salts[stream])])

    def number(stream: str) -> int:
        return fresh[stream] if stream in fresh else numbers(stream)

    if records:
        assert batch.link is not None
        _EVENTS.run(execute, list(flat(map(_record, records))))
        places = [(number(record.stream), record.position, record.offset) for record in records]
        _POSITIONS.run(execute, list(flat(places)))
        _BATCHES.run(execute, list(_link(batch.link)))
    if batch.runs:
        rows = [(number(run_stream(row.run)), *_run(row), row.offset) for row in batch.runs]
        _RUNS.run(execute, list(flat(rows)))
    if batch.timers_set:
        _TIMERS_SET.run(execute, list(flat(map(_timer, batch.timers_set))))
    if batch.timers_cleared:
        _TIMERS_CLEARED.run(execute, list(flat(map(_timer, batch.timers_cleared))))
    if batch.commands:
        _COMMANDS.run(execute, list(flat(map(_command, batch.commands))))
    if batch.blob_refs:
        _BLOB_REFS.run(execute, list(flat(batch.blob_refs)))
    if batch.snapshots:
        _SNAPSHOTS.run(execute, list(flat(map(_snapshot, batch.snapshots))))
    return fresh


def _numbered(batch: Batch, next_number: int) -> dict[str, int]:
    """Number the new streams in the order of their first records, which makes it the order of creation for good."""
    if len(batch.streams) > 1:
        first = _first_offsets(batch.records)
        names = sorted((stream for stream, _ in batch.streams), key=lambda stream: first.get(stream, 0))
    else:
        names = [stream for stream, _ in batch.streams]
    fresh = {stream: number for number, stream in enumerate(names, next_number)}
    if len(fresh) != len(names):
        raise InvariantViolation("a stream begins twice in one batch")
    return fresh


def _first_offsets(records: list[Record]) -> dict[str, int]:
    first: dict[str, int] = {}
    for record in records:
        first.setdefault(record.stream, record.offset)
    return first

"""How a batch becomes rows."""

from collections.abc import Callable, Iterable
from itertools import chain
from operator import attrgetter
from typing import Final

from kos_runtime.adapters.event_store.multirow import Execute, MultiRow, insertion
from kos_runtime.adapters.event_store.schema import (
    BATCH_LINK,
    COMMAND,
    LIMIT,
    ORIGIN,
    RECORD,
    RESULT,
    RUN,
    SNAPSHOT,
    TIMER,
)
from kos_runtime.core.errors import InvariantViolation
from kos_runtime.core.identity import run_stream
from kos_runtime.core.record import AttributeRow, Batch

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
#: What comes last has the highest number, also where it takes another's place.
_RESULTS: Final = MultiRow(f"INSERT OR REPLACE INTO results({', '.join(RESULT)}) VALUES", RESULT)
_LIMITS: Final = MultiRow(f"INSERT OR REPLACE INTO limits({', '.join(LIMIT)}) VALUES", LIMIT)
#: So many results are kept; the oldest give way.
MAX_RESULTS: Final = 100_000

_link = attrgetter(*BATCH_LINK)
_run = attrgetter(*RUN[:-1])
_timer = attrgetter(*TIMER)
_command = attrgetter(*COMMAND)
_snapshot = attrgetter(*SNAPSHOT)
_result = attrgetter(*RESULT)


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
        or batch.results
        or batch.limits
        or batch.attributes
        or batch.emptied
    )


class Numbers(dict[str, int]):
    """The numbers of streams, asked for when they are not at hand.

    ``find`` returns a stored stream's number, or raises for one that never began. About 20 MB when full.
    """

    __slots__ = ("_find",)

    def __init__(self, find: Callable[[str], int]) -> None:
        self._find = find
        super().__init__()

    def __missing__(self, stream: str) -> int:
        number = self[stream] = self._find(stream)
        return number

    def begin(self, batch: Batch, number: int) -> list[object]:
        """Number the streams that begin, from a number on; return their rows.

        In the order of their first records, so that the order of numbers is the order of creation for good.
        """
        salts = dict(batch.streams)
        if len(salts) != len(batch.streams):
            raise InvariantViolation("a stream begins twice in one batch")
        rows: list[object] = []
        for stream in sorted(salts, key=_first_offsets(batch).__getitem__) if len(salts) > 1 else salts:
            rows += (number, stream, salts[stream])
            self[stream] = number
            number += 1
        return rows


def _first_offsets(batch: Batch) -> dict[str, int]:
    first = {stream: 0 for stream, _ in batch.streams}
    for record in batch.records:
        if first.get(record.stream) == 0:
            first[record.stream] = record.offset
    return first


def write(batch: Batch, execute: Execute, numbers: Numbers, next_number: int) -> None:
    """Insert everything a batch carries, inside a transaction that is open already.

    Args:
        batch: One whose shape was checked.
        execute: Carries out one statement.
        numbers: The streams' numbers; those that begin here are added. To be emptied if the transaction fails.
        next_number: The number for the first new stream.
    """
    records = batch.records
    if batch.streams:
        _STREAMS.run(execute, numbers.begin(batch, next_number))
    if records:
        assert batch.link is not None
        _EVENTS.run(execute, _flat(records))
        places: list[object] = []
        for record in records:
            places += (numbers[record.stream], record.position, record.offset)
        _POSITIONS.run(execute, places)
        _BATCHES.run(execute, list(_link(batch.link)))
    if batch.runs:
        _RUNS.run(execute, _flat((numbers[run_stream(row.run)], *_run(row), row.offset) for row in batch.runs))
    if batch.timers_set:
        _TIMERS_SET.run(execute, _flat(map(_timer, batch.timers_set)))
    if batch.timers_cleared:
        _TIMERS_CLEARED.run(execute, _flat(map(_timer, batch.timers_cleared)))
    if batch.commands:
        _COMMANDS.run(execute, _flat(map(_command, batch.commands)))
    if batch.blob_refs:
        _BLOB_REFS.run(execute, _flat(batch.blob_refs))
    if batch.snapshots:
        _SNAPSHOTS.run(execute, _flat(map(_snapshot, batch.snapshots)))
    if batch.results:
        _RESULTS.run(execute, _flat(map(_result, batch.results)))
        execute("DELETE FROM results WHERE number <= (SELECT max(number) FROM results) - ?", (MAX_RESULTS,))
    if batch.limits:
        _LIMITS.run(execute, _flat((row.name, row.state) for row in batch.limits))
        execute("DELETE FROM limits WHERE state = x''", ())
    for row in batch.attributes:
        _attribute(row, execute, numbers[run_stream(row.run)])
    for stream, store, partition in batch.origins:
        execute(f"INSERT INTO origins({', '.join(ORIGIN)}) VALUES (?, ?, ?)", (numbers[stream], store, partition))  # noqa: S608 - the names are ours
    for stream in batch.emptied:
        _empty(stream, execute, numbers)


def _attribute(row: AttributeRow, execute: Execute, number: int) -> None:
    if row.value is not None:
        execute(
            "INSERT OR REPLACE INTO attributes(number, name, value) VALUES (?, ?, ?)", (number, row.name, row.value)
        )
    elif row.name:
        execute("DELETE FROM attributes WHERE number = ? AND name = ?", (number, row.name))
    else:
        execute("DELETE FROM attributes WHERE number = ?", (number,))


def _empty(stream: str, execute: Execute, numbers: Numbers) -> None:
    """Take away what a stream holds: the chain stays whole, since it is over digests."""
    number = numbers[stream]
    # What is freed is overwritten, so that it is not found in the file's free pages.
    execute("PRAGMA secure_delete = ON", ())
    execute(
        "UPDATE events SET payload = x'' WHERE offset IN (SELECT offset FROM positions WHERE number = ?)", (number,)
    )
    execute("UPDATE streams SET salt = x'' WHERE number = ?", (number,))
    execute("DELETE FROM snapshots WHERE stream = (SELECT stream FROM streams WHERE number = ?)", (number,))
    execute("DELETE FROM blob_refs WHERE stream = (SELECT stream FROM streams WHERE number = ?)", (number,))
    execute("DELETE FROM attributes WHERE number = ?", (number,))
    execute("DELETE FROM results WHERE run = (SELECT run FROM runs WHERE number = ?)", (number,))


def _flat(rows: Iterable[tuple[object, ...]]) -> list[object]:
    return list(chain.from_iterable(rows))

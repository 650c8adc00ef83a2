"""What both the writer and the readers ask of a partition's file.

Each question is one statement, or several that page, so no read transaction lasts: a long one would keep the
write-ahead log from being used again from its start.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import apsw

from kos_runtime.adapters.event_store.faults import reading
from kos_runtime.adapters.event_store.schema import BATCH_LINK, COMMAND, LIMIT, RECORD, RESULT, RUN, SNAPSHOT, TIMER
from kos_runtime.adapters.event_store.text import as_parameter, encoded, lossless, restored
from kos_runtime.core.chain import EMPTY
from kos_runtime.core.errors import StoreDamaged
from kos_runtime.core.identity import run_stream
from kos_runtime.core.record import (
    BatchLink,
    CommandRow,
    Head,
    Lease,
    LimitRow,
    Record,
    ResultRow,
    RunRow,
    SnapshotRow,
    StoredRun,
    TimerRow,
)

Row = TypeVar("Row")

#: The most rows that one statement returns.
_PAGE: Final = 5_000
#: So many runs are recalled by one statement.
_AT_ONCE: Final = 128
_HAS_ATTRIBUTES: Final = "SELECT 1 FROM pragma_table_info('attributes') LIMIT 1"
_LAST_CHARACTER: Final = "\U0010ffff"

_EVENTS: Final = "{columns} FROM events e WHERE offset > ? ORDER BY offset LIMIT ?"
_BATCHES: Final = f"SELECT {', '.join(BATCH_LINK)} FROM batches WHERE first_offset > ? ORDER BY first_offset LIMIT ?"  # noqa: S608 - the names are ours
_STREAM: Final = (
    "{columns} FROM streams s JOIN positions p ON p.number = s.number JOIN events e ON e.offset = p.offset"
    " WHERE s.stream = {text} AND p.position > ? ORDER BY p.position LIMIT ?"
)


class LogQueries:
    """The reading half of the port, over one connection."""

    def __init__(self, connection: apsw.Connection, where: str, store_id: str, partition: int, partitions: int) -> None:
        self._connection, self._where = connection, where
        self._store_id, self._partition, self._partitions = store_id, partition, partitions
        self._origins = False

    @property
    def store_id(self) -> str:
        """The store's identity, made once when it was created."""
        return self._store_id

    @property
    def partition(self) -> int:
        """Which partition of the store this is, from 0."""
        return self._partition

    @property
    def partitions(self) -> int:
        """How many partitions the store has."""
        return self._partitions

    def head(self) -> Head:
        """Return the end of the log."""
        rows = self.fetch(
            "SELECT first_offset + count - 1, link, (SELECT time FROM events ORDER BY offset DESC LIMIT 1)"
            " FROM batches ORDER BY first_offset DESC LIMIT 1"
        )
        if not rows:
            return Head(0, EMPTY, 0)
        match rows[0]:
            case (int(offset), bytes(link), int(time)):
                return Head(offset, link, time)
            case _:
                raise StoreDamaged(self._where, "the end of the log cannot be read")

    def lease(self) -> Lease:
        """Return who claimed the partition last; epoch 0 and an empty owner when nobody has."""
        match self.fetch("SELECT epoch, owner, renewed_at FROM partitions WHERE partition = ?", (self._partition,)):
            case [(int(epoch), str(owner), int(renewed_at))]:
                return Lease(self._partition, epoch, owner, renewed_at)
            case _:
                raise StoreDamaged(self._where, "the lease cannot be read")

    def records(self, *, after: int = 0, limit: int = 1_000) -> list[Record]:
        """Return records of the partition with ``offset > after``, in order, at most ``limit``."""
        return self._paged(
            limit,
            lambda found, size: _built(
                Record, self.select(_EVENTS, RECORD, (found[-1].offset if found else after, size), "e")
            ),
        )

    def stream(self, stream: str, *, after: int = 0, limit: int = 1_000) -> list[Record]:
        """Return records of one stream with ``position > after``, in order, at most ``limit``.

        Raises:
            StoreDamaged: The index of streams leads to a record of another stream or place.
        """
        found = self._paged(
            limit,
            lambda found, size: _built(Record, self.select(_STREAM, RECORD, (stream, after + len(found), size), "e")),
        )
        for position, record in enumerate(found, after + 1):
            if record.position != position or record.stream != stream:
                raise StoreDamaged(self._where, f"offset {record.offset} is not seq {position} of {stream}")
        return found

    def batches(self, *, after: int = 0, limit: int = 1_000) -> list[BatchLink]:
        """Return links of commits with ``first_offset > after``, in order, at most ``limit``."""
        return self._paged(
            limit,
            lambda found, size: _built(
                BatchLink, self.fetch(_BATCHES, (found[-1].first_offset if found else after, size))
            ),
        )

    def salt(self, stream: str) -> bytes | None:
        """Return a stream's salt, or None when there is no such stream."""
        rows = self.fetch("SELECT salt FROM streams WHERE stream = {text}", (stream,))
        return rows[0][0] if rows and isinstance(rows[0][0], bytes) else None

    def streams(self, prefix: str) -> list[str]:
        """Return the names of streams that begin so, in the order of their names."""
        query = "SELECT stream FROM streams WHERE stream >= {text} AND stream < {text} ORDER BY stream"
        return [str(stream) for (stream,) in self.fetch(query, (prefix, prefix + _LAST_CHARACTER))]

    def origin(self, stream: str) -> tuple[str, int] | None:
        """Return the store and the partition in which a stream was written, None when it was here."""
        if not self._has_origins():
            return None
        query = "SELECT o.store_id, o.partition FROM streams s JOIN origins o ON o.number = s.number WHERE s.stream = {text}"
        match self.fetch(query, (stream,)):
            case [(str(store), int(partition))]:
                return store, partition
            case _:
                return None

    def _has_origins(self) -> bool:
        """Say whether the file has the table, which came later. Once it is there, it stays."""
        self._origins = self._origins or bool(self.fetch("SELECT 1 FROM pragma_table_info('origins') LIMIT 1"))
        return self._origins

    def blobs_of(self, stream: str) -> list[tuple[str, bool]]:
        """Return the blobs that a stream mentions, each with whether another one mentions it too."""
        query = (
            "SELECT b.blob, EXISTS(SELECT 1 FROM blob_refs o WHERE o.blob = b.blob AND o.stream <> b.stream)"
            " FROM blob_refs b WHERE b.stream = {text}"
        )
        return [(str(blob), bool(shared)) for blob, shared in self.fetch(query, (stream,))]

    def snapshot(self, stream: str) -> SnapshotRow | None:
        """Return the newest snapshot of a stream, if there is one."""
        return _only(SnapshotRow, self.select("{columns} FROM snapshots WHERE stream = {text}", SNAPSHOT, (stream,)))

    def run(self, run: str) -> RunRow | None:
        """Return one run's row, by its full id."""
        query = "{columns} FROM streams s JOIN runs r ON r.number = s.number WHERE s.stream = {text}"
        return _only(RunRow, self.select(query, RUN, (run_stream(run),), "r"))

    def recall(self, runs: Sequence[str], *, tail: int) -> list[StoredRun]:
        """Return what is held of runs, by their full ids: of each at most ``tail`` records behind its snapshot.

        Raises:
            StoreDamaged: The index of streams leads to a record of another stream or place.
        """
        found: dict[str, StoredRun] = {}
        for begin in range(0, len(runs), _AT_ONCE):
            names = [run_stream(run) for run in dict.fromkeys(runs[begin : begin + _AT_ONCE])]
            found |= self._recall(names, tail)
        return list(found.values())

    def _recall(self, names: Sequence[str], tail: int) -> dict[str, StoredRun]:
        among = f"IN ({', '.join(['{text}'] * len(names))})"
        query = (
            f"{{columns}} FROM streams s JOIN runs r ON r.number = s.number WHERE s.stream {among} ORDER BY s.number"
        )
        rows = _built(RunRow, self.select(query, RUN, names, "r"))
        found: dict[str, StoredRun] = {run_stream(row.run): StoredRun(row, b"", None, None, [], True) for row in rows}
        for stream, salt in self.select(f"{{columns}} FROM streams WHERE stream {among}", ("stream", "salt"), names):
            if isinstance(stream, str) and stream in found and isinstance(salt, bytes):
                found[stream].salt = salt
        query = f"{{columns}} FROM snapshots WHERE stream {among}"
        for snapshot in _built(SnapshotRow, self.select(query, SNAPSHOT, names)):
            found[snapshot.stream].snapshot = snapshot
        if self._has_origins():
            query = f"{{columns}}, o.store_id, o.partition FROM streams s JOIN origins o USING(number) WHERE s.stream {among}"
            for stream, store, partition in self.select(query, ("stream",), names, "s"):
                if isinstance(store, str) and isinstance(partition, int):
                    found[str(stream)].origin = store, partition
        if found:
            self._recall_records(found, tail)
        return found

    def _recall_records(self, found: dict[str, StoredRun], tail: int) -> None:
        wanted = ", ".join(["({text}, ?)"] * len(found))
        after = {name: stored.snapshot.position if stored.snapshot else 0 for name, stored in found.items()}
        records = self.select(
            f"{{columns}} FROM (VALUES {wanted}) w CROSS JOIN streams s ON s.stream = w.column1"
            " CROSS JOIN positions p ON p.number = s.number AND p.position > w.column2 AND p.position <= w.column2 + ?"
            " CROSS JOIN events e ON e.offset = p.offset ORDER BY p.number, p.position",
            RECORD,
            [*(value for pair in after.items() for value in pair), tail + 1],
            "e",
        )
        for record in _built(Record, records):
            stored = found.get(record.stream)
            if stored is None or record.position != after[record.stream] + len(stored.records) + 1:
                raise StoreDamaged(self._where, f"offset {record.offset} is not what its stream's index says")
            stored.records.append(record)
        for stored in found.values():
            if len(stored.records) > tail:
                stored.records.pop()
                stored.whole = False

    def runs(
        self,
        *,
        status: Sequence[str] = (),
        workflow: str | None = None,
        prefix: str = "",
        name: str | None = None,
        attributes: Mapping[str, str] | None = None,
        newest_first: bool = True,
        after_offset: int = 0,
        limit: int = 1_000,
    ) -> list[RunRow]:
        """Return rows of runs that match everything given, ordered by creation.

        ``after_offset`` is a ``created_offset``: rows created behind it follow, or before it with ``newest_first``
        (where 0 means from the newest on).
        """
        tests, bindings = ["1"], list[object]()
        source = "runs r"
        if prefix:
            source = "streams s JOIN runs r ON r.number = s.number"
            tests.append("s.stream >= {text} AND s.stream < {text}")
            bindings += [run_stream(prefix), run_stream(prefix) + _LAST_CHARACTER]
        if status:
            tests.append(f"r.status IN ({', '.join(['{text}'] * len(status))})")
            bindings += status
        for column, value in (("workflow", workflow), ("name", name)):
            if value is not None:
                tests.append(f"r.{column} = {{text}}")
                bindings.append(value)
        for attribute, wanted in (attributes or {}).items():
            if not self.fetch(_HAS_ATTRIBUTES):
                return []
            tests.append("EXISTS (SELECT 1 FROM attributes a WHERE a.number = r.number AND a.name = ? AND a.value = ?)")
            bindings += [attribute, wanted]
        if after_offset or not newest_first:
            tests.append(f"r.created_offset {'<' if newest_first else '>'} ?")
            bindings.append(after_offset)
        order = f"ORDER BY r.number {'DESC' if newest_first else 'ASC'} LIMIT ?"
        query = f"{{columns}} FROM {source} WHERE {' AND '.join(tests)} {order}"
        return _built(RunRow, self.select(query, RUN, (*bindings, limit), "r"))

    def attributes(self, run: str) -> dict[str, str]:
        """Return a run's search attributes, as text, by name."""
        if not self.fetch(_HAS_ATTRIBUTES):
            return {}
        query = "SELECT a.name, a.value FROM attributes a JOIN streams s ON s.number = a.number WHERE s.stream = ? ORDER BY a.name"
        return {str(name): str(value) for name, value in self.fetch(query, (run_stream(run),))}

    def run_counts(self) -> dict[str, int]:
        """Return how many runs have which status."""
        rows = self.fetch("SELECT status, count(*) FROM runs GROUP BY status ORDER BY status")
        return {str(status): count for status, count in rows if isinstance(count, int)}

    def timers_due(self, before: int, *, after: TimerRow | None = None, limit: int = 1_000) -> list[TimerRow]:
        """Return timers with ``due <= before``, soonest first, at most ``limit``; of those behind ``after``."""
        names = ", ".join(TIMER)
        last = (-1, "", "", 0) if after is None else (after.due, after.run, after.path, after.fence)
        query = f"{{columns}} FROM timers WHERE due <= ? AND ({names}) > (?, {{text}}, {{text}}, ?) ORDER BY {names} LIMIT ?"
        return _built(TimerRow, self.select(query, TIMER, (before, *last, limit)))

    def next_timer(self) -> int | None:
        """Return the instant of the soonest timer, or None."""
        match self.fetch("SELECT min(due) FROM timers"):
            case [(int(due),)]:
                return due
            case _:
                return None

    def command(self, command_id: str) -> CommandRow | None:
        """Return what a command was answered, when it was carried out before."""
        query = "{columns} FROM commands WHERE command_id = {text}"
        return _only(CommandRow, self.select(query, COMMAND, (command_id,)))

    def result(self, key: str) -> ResultRow | None:
        """Return where the newest result of a key is kept, when one is."""
        if not self.fetch("SELECT 1 FROM pragma_table_info('results') LIMIT 1"):
            return None
        return _only(ResultRow, self.select("{columns} FROM results WHERE key = {text}", RESULT, (key,)))

    def limits(self) -> list[LimitRow]:
        """Return what is known of limits, in the order of their names."""
        if not self.fetch("SELECT 1 FROM pragma_table_info('limits') LIMIT 1"):
            return []
        return _built(LimitRow, self.select("{columns} FROM limits ORDER BY name", LIMIT))

    def select(
        self, query: str, columns: Sequence[str], bindings: Sequence[object] = (), alias: str = ""
    ) -> list[tuple[object, ...]]:
        """Return rows of columns that may hold text of any kind; ``{columns}`` opens the query without its SELECT."""
        prefix = f"{alias}." if alias else ""
        plain = f"SELECT {query.replace('{columns}', ', '.join(prefix + name for name in columns))}"
        try:
            return self.fetch(plain, bindings)
        except UnicodeDecodeError:
            marked = f"SELECT {query.replace('{columns}', lossless(columns, alias))}"
            return [restored(row) for row in self.fetch(marked, bindings)]

    def fetch(self, query: str, bindings: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Return all rows of a query, whose ``{text}`` parameters may hold text of any kind.

        Raises:
            StoreBusy, StoreDamaged, Unreachable: As SQLite says.
        """
        try:
            connection = self._readable()
            try:
                return connection.execute(query.replace("{text}", "?"), bindings).fetchall()
            except UnicodeEncodeError:
                return connection.execute(query.replace("{text}", as_parameter("stream")), encoded(bindings)).fetchall()
        except apsw.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: apsw.Error) -> BaseException:
        return reading(error, self._where)

    def _readable(self) -> apsw.Connection:
        return self._connection

    def _paged(self, limit: int, ask: Callable[[list[Row], int], list[Row]]) -> list[Row]:
        found: list[Row] = []
        while len(found) < limit:
            size = min(limit - len(found), _PAGE)
            page = ask(found, size)
            found += page
            if len(page) < size:
                break
        return found


def _built(make: Callable[..., Row], rows: list[tuple[object, ...]]) -> list[Row]:
    return [make(*row) for row in rows]


def _only(make: Callable[..., Row], rows: list[tuple[object, ...]]) -> Row | None:
    return make(*rows[0]) if rows else None

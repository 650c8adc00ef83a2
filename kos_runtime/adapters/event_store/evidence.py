"""A partition's rows for verification: as SQLite returns them, never as what they ought to be.

The rows are those of one moment, although they are read in many short statements: the log only grows, so it is enough
to note at the beginning how far it goes.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from kos_runtime.adapters.event_store.schema import BATCH_LINK, COMMAND, RECORD, RESULT, RUN
from kos_runtime.adapters.event_store.writing import MAX_RESULTS
from kos_runtime.core.evidence import Finding, Mark, RawCommit, RawRecord
from kos_runtime.core.identity import run_stream
from kos_runtime.core.record import ResultRow, TimerRow

if TYPE_CHECKING:
    from kos_runtime.adapters.event_store.queries import LogQueries

_PAGE: Final = 1_000
_SMALLEST: Final = -(2**63)

#: What stands in a record that the index leads to and that is not there.
_NOTHING: Final = (None,) * (len(RECORD) - 1)

_RUN_MARKS: Final = "{columns} FROM runs WHERE number > ? ORDER BY number LIMIT ?"
_RUN_ROWS: Final = "{columns} FROM runs r WHERE number > ? ORDER BY number LIMIT ?"
_ROWLESS: Final = (
    "SELECT s.number, s.stream FROM streams s LEFT JOIN runs r ON r.number = s.number"
    " WHERE s.number > ? AND r.number IS NULL AND substr(s.stream, 1, 4) = 'run/' ORDER BY s.number LIMIT 1"
)
_STREAM_MARKS: Final = "{columns} FROM streams WHERE number > ? ORDER BY number LIMIT ?"
_LAST_COMMAND: Final = "{columns} FROM commands ORDER BY offset DESC LIMIT 1"
_EVENTS: Final = "{columns} FROM events WHERE offset >= ? AND offset <= ? ORDER BY offset LIMIT ?"
_COMMANDS: Final = "{columns} FROM commands WHERE command_id > ? ORDER BY command_id LIMIT ?"
_REFERENCE: Final = "SELECT 1 FROM blob_refs WHERE blob = {text} AND stream = {text}"
_TIMER: Final = "SELECT 1 FROM timers WHERE due = ? AND run = {text} AND path = {text} AND fence = ?"
_BATCHES: Final = "{columns} FROM batches WHERE first_offset >= ? AND first_offset <= ? ORDER BY first_offset LIMIT ?"
_STREAM: Final = (
    "SELECT p.position, p.offset FROM streams s JOIN positions p ON p.number = s.number"
    " WHERE s.stream = {text} AND p.position >= ? ORDER BY p.position LIMIT ?"
)
_UNINDEXED: Final = (
    "SELECT e.offset FROM events e LEFT JOIN streams s ON s.stream = e.stream"
    " LEFT JOIN positions p ON p.number = s.number AND p.position = e.position"
    " WHERE e.offset >= ? AND e.offset <= ? AND p.offset IS NOT e.offset ORDER BY e.offset LIMIT 1"
)
_MISLED: Final = (
    "SELECT p.offset FROM positions p LEFT JOIN streams s ON s.number = p.number"
    " LEFT JOIN events e ON e.offset = p.offset AND e.position = p.position AND e.stream = s.stream"
    " WHERE p.number >= ? AND p.number <= ? AND e.offset IS NULL ORDER BY p.offset LIMIT 1"
)
_MISPLACED_RUNS: Final = (
    "SELECT r.offset FROM runs r LEFT JOIN streams s ON s.number = r.number"
    " WHERE r.number >= ? AND r.number <= ? AND s.stream IS NOT 'run/' || r.run ORDER BY r.offset LIMIT 1"
)


class SqliteEvidence:
    """The rows of one partition's file."""

    def __init__(self, log: "LogQueries") -> None:
        self._log = log
        self._bound: tuple[int, int] | None = None
        self._origins: dict[object, tuple[object, object]] | None = None

    @property
    def store_id(self) -> str:
        """The store's identity."""
        return self._log.store_id

    @property
    def partition(self) -> int:
        """Which partition this is."""
        return self._log.partition

    def marks(self) -> Iterator[Mark]:
        """Yield what runs, snapshots, streams and answered commands remember of the log."""
        for row in self._by_number(_STREAM_MARKS, ("number", "stream")):
            yield from _mark(f"the salt of {row[1]}", row[1], 1, 0, None)
        for row in self._by_number(_RUN_MARKS, ("number", "run", "position", "offset")):
            yield from _run_mark(*row[1:])
        for row in self._log.select("{columns} FROM snapshots", ("stream", "position", "offset", "hash")):
            yield from _snapshot_mark(*row)
        for row in self._log.select(_LAST_COMMAND, ("command_id", "offset")):
            yield from _mark(f"the answer to command {row[0]}", "", 0, row[1], None)

    def commits(self) -> Iterator[RawCommit]:
        """Yield all commits by first offset."""
        return self._by_place(_BATCHES, BATCH_LINK, self._bounds()[0])

    def records(self) -> Iterator[RawRecord]:
        """Yield all records by offset."""
        return self._by_place(_EVENTS, RECORD, self._bounds()[1])

    def salt(self, stream: str) -> object:
        """Return what is stored as a stream's salt, None when nothing is."""
        rows = self._log.fetch("SELECT salt FROM streams WHERE stream = {text}", (stream,))
        return rows[0][0] if rows else None

    def origin(self, stream: str) -> tuple[object, object] | None:
        """Return where a stream was written, None when it was here."""
        if self._origins is None:
            self._origins = {}
            if self._log.fetch("SELECT 1 FROM pragma_table_info('origins') LIMIT 1"):
                rows = self._log.fetch(
                    "SELECT s.stream, o.store_id, o.partition FROM origins o JOIN streams s USING (number)"
                )
                self._origins = {stream_: (store, partition) for stream_, store, partition in rows}
        return self._origins.get(stream)

    def complaints(self) -> Iterator[Finding]:
        """Yield where the index of streams and the records disagree, by offset."""
        found: list[Finding] = []
        what = "is not where the index of streams looks for it"
        found += self._disagreements(_UNINDEXED, ("events", "offset"), what)
        what = "is indexed as a record that it is not"
        found += self._disagreements(_MISLED, ("positions", "number"), what)
        what = "is remembered by a run's row that belongs to another stream"
        found += self._disagreements(_MISPLACED_RUNS, ("runs", "number"), what)
        yield from sorted(found, key=lambda finding: finding.offset)

    def run_rows(self) -> Iterator[tuple[object, ...]]:
        """Yield the rows of all runs, each a row's columns in order."""
        return (row[1:] for row in self._by_number(_RUN_ROWS, ("number", *RUN)))

    def rowless(self) -> str:
        """Return the stream of a run that has no row, empty when each has one."""
        rows = self._log.fetch(_ROWLESS, (_SMALLEST,))
        return str(rows[0][1]) if rows else ""

    def attributed(self) -> Iterator[str]:
        """Yield the streams that have search attributes, empty for those of none."""
        if self._has("attributes"):
            query = "SELECT DISTINCT a.number, s.stream FROM attributes a LEFT JOIN streams s USING (number)"
            yield from ("" if stream is None else str(stream) for _, stream in self._log.fetch(query))

    def result_rows(self, run: str | None = None) -> Iterator[ResultRow]:
        """Yield where results are kept, of one run or of all."""
        if self._has("results"):
            where, given = ("", ()) if run is None else (" WHERE run = {text}", (run,))
            for row in self._log.select(f"{{columns}} FROM results{where} ORDER BY number", RESULT, given):
                yield ResultRow(*row)  # type: ignore[arg-type]

    def results_are_full(self) -> bool:
        """Say whether so many results are kept that some may have had to go."""
        if not self._has("results"):
            return True
        first, last = self._log.fetch("SELECT min(number), max(number) FROM results")[0]
        return isinstance(first, int) and isinstance(last, int) and last >= MAX_RESULTS

    def command_rows(self) -> Iterator[tuple[object, ...]]:
        """Yield the commands that were carried out, and what they were answered."""
        last: object = ""
        while rows := self._log.select(_COMMANDS, COMMAND, (last, _PAGE)):
            yield from rows
            last = rows[-1][0]

    def snapshots(self) -> Iterator[tuple[str, str]]:
        """Yield the streams that have a snapshot, and the fingerprint of the code that reads it."""
        for stream, fingerprint in self._log.select("{columns} FROM snapshots", ("stream", "fingerprint")):
            yield str(stream), str(fingerprint)

    def has_reference(self, digest: str, stream: str) -> bool:
        """Say whether a stream is known to mention a blob."""
        return bool(self._log.fetch(_REFERENCE, (digest, stream)))

    def has_timer(self, row: TimerRow) -> bool:
        """Say whether a timer is stored as it is to be."""
        return bool(self._log.fetch(_TIMER, (row.due, row.run, row.path, row.fence)))

    def runless_timer(self) -> str:
        """Return the run of a stored timer that belongs to none, empty when each belongs to one."""
        rows = self._log.fetch(
            "SELECT t.run FROM timers t LEFT JOIN streams s ON s.stream = 'run/' || t.run WHERE s.stream IS NULL LIMIT 1"
        )
        return str(rows[0][0]) if rows else ""

    def _has(self, table: str) -> bool:
        """Say whether there is a table that came later than the first stores."""
        return bool(self._log.fetch("SELECT 1 FROM pragma_table_info(?) LIMIT 1", (table,)))

    def stream_marks(self, stream: str) -> Iterator[Mark]:
        """Yield what a run's row and a snapshot remember of one stream."""
        query = (
            "{columns} FROM streams s JOIN runs r ON r.number = s.number WHERE s.stream = {text}",
            "{columns} FROM snapshots r WHERE stream = {text}",
        )
        for row in self._log.select(query[0], ("run", "position", "offset"), (stream,), "r"):
            yield from _run_mark(*row)
        for row in self._log.select(query[1], ("stream", "position", "offset", "hash"), (stream,), "r"):
            yield from _snapshot_mark(*row)

    def stream_records(self, stream: str) -> Iterator[RawRecord]:
        """Yield one stream's records in the order of its index."""
        start = _SMALLEST
        while True:
            places = self._log.fetch(_STREAM, (stream, start, _PAGE))
            for _, offset in places:
                rows = self._log.select("{columns} FROM events WHERE offset = ?", RECORD, (offset,))
                yield rows[0] if rows else (offset, *_NOTHING)
            last = places[-1][0] if places else None
            if len(places) < _PAGE or not isinstance(last, int):
                return
            start = last + 1

    def commit_around(self, offset: int) -> tuple[RawCommit | None, RawCommit | None]:
        """Return the commit that begins at an offset or last before it, and the one before that."""
        query = "{columns} FROM batches WHERE first_offset <= ? ORDER BY first_offset DESC LIMIT 2"
        rows = self._log.select(query, BATCH_LINK, (offset,))
        return (rows[0] if rows else None), (rows[1] if len(rows) > 1 else None)

    def hashes(self, first: int, last: int) -> Iterator[tuple[object, object]]:
        """Yield offset and hash of the records from one offset to another, both included."""
        query = "SELECT offset, hash FROM events WHERE offset >= ? AND offset <= ? ORDER BY offset"
        yield from ((offset, its_hash) for offset, its_hash in self._log.fetch(query, (first, last)))

    def last_commit(self) -> RawCommit | None:
        """Return the commit with the greatest first offset."""
        rows = self._log.select("{columns} FROM batches ORDER BY first_offset DESC LIMIT 1", BATCH_LINK)
        return rows[0] if rows else None

    def _bounds(self) -> tuple[int, int]:
        if self._bound is None:
            query = "SELECT (SELECT max(first_offset) FROM batches), (SELECT max(offset) FROM events)"
            commit, record = self._log.fetch(query)[0]
            self._bound = (commit if isinstance(commit, int) else 0, record if isinstance(record, int) else 0)
        return self._bound

    def _by_place(self, query: str, columns: Sequence[str], bound: int) -> Iterator[tuple[object, ...]]:
        """Page over a table whose first column is its key."""
        start = _SMALLEST
        while start <= bound:
            rows = self._log.select(query, columns, (start, bound, _PAGE))
            yield from rows
            last = rows[-1][0] if rows else None
            if len(rows) < _PAGE or not isinstance(last, int):
                return
            start = last + 1

    def _by_number(self, query: str, columns: Sequence[str]) -> Iterator[tuple[object, ...]]:
        last: object = _SMALLEST
        while True:
            rows = self._log.select(query, columns, (last, _PAGE))
            yield from rows
            if len(rows) < _PAGE:
                return
            last = rows[-1][0]

    def _disagreements(self, query: str, key: tuple[str, str], what: str) -> Iterator[Finding]:
        """Ask a question page by page, from one end of a table's key to the other; yield the first answer."""
        table, column = key
        page = f"SELECT max({column}) FROM (SELECT {column} FROM {table} WHERE {column} >= ? ORDER BY 1 LIMIT {_PAGE})"  # noqa: S608
        start = _SMALLEST
        while start < -_SMALLEST:
            end = self._log.fetch(page, (start,))[0][0]
            if not isinstance(end, int):
                return
            for (offset,) in self._log.fetch(query, (start, end)):
                if isinstance(offset, int):
                    yield Finding(offset, offset, "", 0, what)
                    return
            start = end + 1


def _mark(said_by: str, stream: object, position: object, offset: object, its_hash: bytes | None) -> Iterator[Mark]:
    """Make a mark of values that may be anything; what is not even a number remembers nothing."""
    if isinstance(stream, str) and isinstance(position, int) and isinstance(offset, int):
        yield Mark(said_by, stream, position, offset, its_hash)


def _run_mark(run: object, position: object, offset: object) -> Iterator[Mark]:
    return _mark(f"the row of run {run}", run_stream(str(run)), position, offset, None)


def _snapshot_mark(stream: object, position: object, offset: object, its_hash: object) -> Iterator[Mark]:
    kept = its_hash if isinstance(its_hash, bytes) else b""
    return _mark(f"the snapshot of {stream}", stream, position, offset, kept)

"""The tables of a partition's file, readable by anyone with a SQLite shell (3.37 or newer).

``events`` and ``batches`` are the log; the rest is read models, leases and indexes. The index that finds a stream's
records is a table of its own, ``positions``, keyed by the stream's number. Numbers are given in order of appearance,
so what is being written lies together: the records of a thousand live runs touch a handful of its pages, where an
index over the streams' random names dirties one page a record (measured at 100,000 records, 256 a commit: 15 us
a record against 30). For the same reason ``runs`` has the number of the run's stream as its key, and no other index
over a random name.
"""

from typing import Final

#: Marks the file for ``file(1)`` and keeps other programs' databases from being taken for ours: "kos1".
APPLICATION_ID: Final = 0x6B6F7331

SCHEMA: Final = """
CREATE TABLE meta(
    store_id TEXT NOT NULL, format INTEGER NOT NULL, incarnation INTEGER NOT NULL, created INTEGER NOT NULL,
    partitions INTEGER NOT NULL
) STRICT;
CREATE TABLE partitions(
    partition INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, owner TEXT NOT NULL, renewed_at INTEGER NOT NULL
) STRICT;
CREATE TABLE events(
    offset INTEGER PRIMARY KEY, stream TEXT NOT NULL, position INTEGER NOT NULL, epoch INTEGER NOT NULL,
    time INTEGER NOT NULL, names TEXT NOT NULL, causation TEXT NOT NULL, correlation TEXT NOT NULL,
    payload BLOB NOT NULL, digest BLOB NOT NULL, hash BLOB NOT NULL
) STRICT;
CREATE TABLE batches(
    first_offset INTEGER PRIMARY KEY, count INTEGER NOT NULL, epoch INTEGER NOT NULL, root BLOB NOT NULL,
    link BLOB NOT NULL
) STRICT;
CREATE TABLE streams(number INTEGER PRIMARY KEY, stream TEXT NOT NULL UNIQUE, salt BLOB NOT NULL) STRICT;
CREATE TABLE positions(
    number INTEGER NOT NULL, position INTEGER NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY(number, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE runs(
    number INTEGER PRIMARY KEY, run TEXT NOT NULL, workflow TEXT NOT NULL, version TEXT NOT NULL, name TEXT NOT NULL,
    status TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, offset INTEGER NOT NULL,
    position INTEGER NOT NULL, key TEXT NOT NULL, input_digest TEXT NOT NULL, plan_digest TEXT NOT NULL,
    waiting TEXT NOT NULL, error TEXT NOT NULL, created_offset INTEGER NOT NULL
) STRICT;
CREATE INDEX runs_by_status ON runs(status);
CREATE INDEX runs_by_creation ON runs(created_offset);
CREATE TABLE timers(
    due INTEGER NOT NULL, run TEXT NOT NULL, path TEXT NOT NULL, fence INTEGER NOT NULL,
    PRIMARY KEY(due, run, path, fence)
) STRICT, WITHOUT ROWID;
CREATE TABLE commands(
    command_id TEXT PRIMARY KEY, offset INTEGER NOT NULL, answer BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE blob_refs(blob TEXT NOT NULL, stream TEXT NOT NULL, PRIMARY KEY(blob, stream)) STRICT, WITHOUT ROWID;
CREATE TABLE snapshots(
    stream TEXT PRIMARY KEY, position INTEGER NOT NULL, offset INTEGER NOT NULL, fingerprint TEXT NOT NULL,
    hash BLOB NOT NULL, state BLOB NOT NULL
) STRICT;
"""
#: Tables that came later: a writer makes them in a file that has them not yet, and a reader does without them.
LATER: Final = """
CREATE TABLE IF NOT EXISTS origins(
    number INTEGER PRIMARY KEY, store_id TEXT NOT NULL, partition INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS results(
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, run TEXT NOT NULL, path TEXT NOT NULL,
    position INTEGER NOT NULL, at INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS results_by_run ON results(run);
CREATE TABLE IF NOT EXISTS limits(name TEXT PRIMARY KEY, state BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attributes(
    number INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(number, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS attributes_by_value ON attributes(name, value, number);
"""

#: The columns of each row type, in the order of its dataclass, and which of them hold text.
RECORD: Final = (
    "offset", "stream", "position", "epoch", "time", "names", "causation", "correlation", "payload", "digest", "hash",
)  # fmt: skip
RUN: Final = (
    "run", "workflow", "version", "name", "status", "created_at", "updated_at", "offset", "position", "key",
    "input_digest", "plan_digest", "waiting", "error", "created_offset",
)  # fmt: skip
BATCH_LINK: Final = ("first_offset", "count", "epoch", "root", "link")
ORIGIN: Final = ("number", "store_id", "partition")
TIMER: Final = ("due", "run", "path", "fence")
COMMAND: Final = ("command_id", "offset", "answer")
LIMIT: Final = ("name", "state")
RESULT: Final = ("key", "run", "path", "position", "at")
SNAPSHOT: Final = ("stream", "position", "offset", "fingerprint", "hash", "state")
TEXT: Final = frozenset(
    (
        "stream", "names", "causation", "correlation", "run", "workflow", "version", "name", "status", "key",
        "input_digest", "plan_digest", "waiting", "error", "path", "command_id", "fingerprint", "blob",
    )
)  # fmt: skip

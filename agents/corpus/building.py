"""Builds the index of a corpus: a SQLite file with an FTS5 table, written once and renamed into place.

Several processes may want the same index at the same moment: the first to lock builds it, the others wait and find it
there. Where a file system knows no locks each builds its own, and the last rename wins: the content is the same.
"""

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import apsw

from agents.corpus.blocks import Passage
from agents.corpus.files import CorpusFile, Listing
from agents.corpus.place import listing_of
from agents.corpus.reading import UnreadableError, read
from agents.text import TOKENIZER, normal

#: Grows when readers or the layout change, so that an older file is not taken for today's.
FORMAT: Final = 4
#: More passages than this are left out.
MAX_PASSAGES: Final = 500_000

_SCHEMA: Final = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE passages (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL, line INTEGER NOT NULL, heading TEXT NOT NULL,
    title TEXT NOT NULL, text TEXT NOT NULL
);
CREATE VIRTUAL TABLE search USING fts5(title, text, content='passages', content_rowid='id', tokenize='{" ".join(TOKENIZER)}');
CREATE VIRTUAL TABLE vocabulary USING fts5vocab(search, 'row');
"""


class CorpusChangedError(ValueError):
    """The corpus is no longer what it was when the run was linked."""


def file_for(cache_dir: str, digest: str) -> Path:
    """Return where the index of a corpus with this digest is kept."""
    return Path(cache_dir) / "corpus" / f"{digest}.v{FORMAT}.db"


def ensure(corpus: str, digest: str, cache_dir: str, alive: Callable[[str], None]) -> Path:
    """Return the file of a corpus's index, after building it if it is not there.

    Args:
        corpus: The corpus's name.
        digest: What it was when it was linked; empty takes it as it is.
        cache_dir: Where indexes are kept.
        alive: Told now and then what is being done.

    Raises:
        ValueError: The corpus cannot be read.
        CorpusChangedError: It is not in the cache, and the files are no longer those that were linked.
        OSError: The cache cannot be written.
    """
    if digest and (path := file_for(cache_dir, digest)).exists():
        return path
    listing = listing_of(corpus)
    found = listing.digest()
    if digest and found != digest:
        raise CorpusChangedError(
            f"the corpus {corpus} has changed since the run was linked (then {digest[:12]}, now {found[:12]}); start a new run"
        )
    path = file_for(cache_dir, found)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_suffix(".lock")):
        if not path.exists():
            _build(listing, path, corpus, found, alive)
    return path


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _build(listing: Listing, path: Path, corpus: str, digest: str, alive: Callable[[str], None]) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        connection = apsw.Connection(name)
        try:
            # A cache that is renamed when it is whole needs neither journal nor sync.
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "page_size=8192", "cache_size=-65536"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            connection.execute(_SCHEMA)
            connection.execute("BEGIN")
            unread = _fill(connection, listing, alive)
            meta: dict[str, Any] = {"corpus": corpus, "digest": digest, "format": FORMAT, "files": len(listing.files)}
            meta |= {"left_out": listing.note(), "unreadable": unread}
            connection.executemany("INSERT INTO meta VALUES (?, ?)", [(k, json.dumps(v)) for k, v in meta.items()])
            alive("indexing")
            connection.execute("INSERT INTO search(search) VALUES ('rebuild')")
            connection.execute("COMMIT")
        finally:
            connection.close()
        Path(name).replace(path)
    except apsw.FullError as error:
        raise OSError(28, "no space left for the index", str(path)) from error
    finally:
        Path(name).unlink(missing_ok=True)


def _fill(connection: apsw.Connection, listing: Listing, alive: Callable[[str], None]) -> list[str]:
    """Insert all passages, each text once; return the files that could not be read, with the reason."""
    unread: list[str] = []
    seen: set[int] = set()
    count = 0
    for number, file in enumerate(listing.files):
        if number % 100 == 0:
            alive(f"reading the corpus, file {number + 1} of {len(listing.files)}")
        passages = _passages(file, listing.docs_only, unread)
        rows = []
        for passage in passages:
            key = hash(normal(passage.text))
            if key not in seen and count < MAX_PASSAGES:
                seen.add(key)
                count += 1
                rows.append((passage.path, passage.line, passage.heading, _title(passage), passage.text))
        if rows:
            connection.executemany(
                "INSERT INTO passages(path, line, heading, title, text) VALUES (?, ?, ?, ?, ?)", rows
            )
    return unread


def _passages(file: CorpusFile, docs_only: bool, unread: list[str]) -> list[Passage]:
    try:
        return read(file.path, Path(file.where).read_bytes(), docs_only=docs_only)
    except (UnreadableError, OSError) as error:
        unread.append(f"{file.path}: {error}"[:300])
        return []


def _title(passage: Passage) -> str:
    """What a passage is found by beside its text: the words of its heading and of its file's name."""
    name = passage.path.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return f"{passage.heading} {name}".replace("_", " ").replace(".", " ").strip()

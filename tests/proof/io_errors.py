"""An error at every call that the store makes to its file system.

A short life of a store (open, claim, appends, a copy of the write-ahead log, close) is repeated, and each time another
call fails, with each kind of error. Whatever happens: no other exception than ours leaves the store, what was
acknowledged is there when the file is opened again, what was refused definitely is not, and the file is whole. That is
checked of what the life left behind, of what a crash at its end would have left, and of what a crash right after each
refusal would have: later the next append writes over what a commit that failed has left in the write-ahead log, and
nobody could tell any more that it was there.
"""

import contextlib
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw

from kos_runtime.adapters.event_store.connection import Tuning
from kos_runtime.adapters.event_store.reader import SqliteLogReader
from kos_runtime.adapters.event_store.sqlite import SqliteEventStore
from kos_runtime.core.errors import AppendUnknown, KosError
from kos_runtime.core.verify import verify_partition
from kos_runtime.testing.log_builder import LogBuilder, run_row
from tests.adapters.faulty_vfs import FaultyVFS, Judge, io_error

KINDS = ("full", "io", "fsync", "busy")
_WAL = 48 << 10
#: The calls that an error can come from. A file system has no space for a write, never for a sync that follows it
#: (what a sync has no space for is an I/O error), and only a lock is busy. Other kinds come from anywhere.
_COME_FROM = {"full": {"xWrite", "xOpen", "xTruncate"}, "busy": {"xLock", "xOpen"}}


def error_of(kind: str) -> BaseException:
    """Return the error of a kind that SQLite is to be told."""
    match kind:
        case "full":
            return apsw.FullError("injected")
        case "fsync":
            return io_error(apsw.SQLITE_IOERR_FSYNC)
        case "busy":
            return apsw.BusyError("injected")
        case _:
            return io_error(apsw.SQLITE_IOERR)


class Life:
    """One life of a store, and what was acknowledged, refused, or left open in it."""

    def __init__(self, folder: Path, vfs: FaultyVFS) -> None:
        self.folder, self.image, self.vfs = folder, folder.with_name(folder.name + "-image"), vfs
        self.acknowledged, self.refused, self.unknown = 0, 0, 0
        self.possible: set[int] = {0}
        self.builder = LogBuilder()
        #: What the next append holds, if the one before was refused: it is tried again, as an engine does.
        self.again: list[tuple[str, bytes]] = []
        self.errors: list[str] = []
        #: What was wrong right after an append was refused.
        self.wrong: str | None = None

    def live(self) -> None:
        """Run from opening to closing; an error of ours ends it where a host would end."""
        tuning = Tuning(wal_bytes=_WAL, vfs=self.vfs.vfs_name, busy_timeout_ms=1, owned=False)
        try:
            store = SqliteEventStore.open(self.folder, wall=lambda: 0, store_id="store-1", tuning=tuning)
        except KosError as error:
            self.errors.append(type(error).__name__)
            return
        try:
            self.builder.epoch = store.claim(store.lease().epoch, "host").epoch
            for turn in range(6):
                self._append(store, turn)
            store.idle()
            store.head()
        except KosError as error:
            self.errors.append(type(error).__name__)
        finally:
            self._take_image()
            with contextlib.suppress(apsw.Error):
                store.close()

    def _take_image(self) -> None:
        """Copy the files as a process that dies now would leave them."""
        self.image.mkdir(exist_ok=True)
        for name in ("events.db", "events.db-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(self.folder / name, self.image / name)

    def _append(self, store: SqliteEventStore, turn: int) -> None:
        before = self.builder.fork()
        entries = self.again or [(f"run/{turn}-{number}", b"x" * 500) for number in range((1, 20)[turn % 2])]
        batch = self.builder.batch(*entries)
        batch.runs = [run_row(record) for record in batch.records]
        try:
            store.append(batch)
        except AppendUnknown:
            self.unknown += 1
            self.possible = {before.offset, self.builder.offset}
            raise
        except KosError as error:
            self.errors.append(type(error).__name__)
            self.refused += 1
            self.builder, self.again = before, entries[::-1]
            self._take_image()
            self.wrong = self.wrong or check(self, self.image)
            shutil.rmtree(self.image)
        else:
            self.again = []
            self.acknowledged = self.builder.offset
            self.possible = {self.builder.offset}


def check(life: Life, folder: Path) -> str | None:
    """Open files that a life left behind, with a sound file system; return what is wrong with them."""
    if not (folder / "events.db").exists():
        return None if life.acknowledged == 0 else "the file is gone"
    tuning = Tuning(wal_bytes=_WAL, owned=False)
    store = SqliteEventStore.open(folder, wall=lambda: 0, store_id="store-1", tuning=tuning)
    try:
        [(said,)] = store._connection.execute("PRAGMA integrity_check(1)").fetchall()
        head = store.head().offset
        verdict = verify_partition(SqliteLogReader.open(folder).evidence())
        if said != "ok":
            return f"integrity: {said}"
        if head < life.acknowledged:
            return f"lost: {life.acknowledged} were acknowledged, {head} are there"
        if head not in life.possible:
            return f"{head} are there, where only {sorted(life.possible)} can be"
        if not verdict.ok:
            return str(verdict.first_bad)
        if len(store.runs()) != head:
            return "runs and records were not stored together"
        if store.lease().epoch < life.builder.epoch and life.acknowledged:
            return "the claim is gone"
    finally:
        store.close()
    return None


def run(share: float = 1.0, seed: int = 0, kinds: Sequence[str] = KINDS) -> dict[str, Any]:
    """Fail every call, or a share of the calls drawn by the seed, with each kind of error; return counts.

    Syncs are not left out of any share: they are few, and it is of them that a commit's outcome is unknown.
    ``positions`` were tried, ``wrong`` must be 0; ``unknown``, ``refused`` and ``unharmed`` say what became of them. ``first``
    says what was wrong first.
    """
    draw, counts, first = random.Random(seed), Counter[str](positions=0, wrong=0), ""
    base = Path(tempfile.mkdtemp(prefix="kos-io-"))
    vfs = FaultyVFS()
    try:
        calls = _calls(base / "template", vfs)
        for kind in kinds:
            for position, call in enumerate(calls):
                drawn = draw.random() < share or call == "xSync"
                if not drawn or call not in _COME_FROM.get(kind, {call}):
                    continue
                counts["positions"] += 1
                folder = base / "life"
                life = Life(folder, vfs)
                vfs.judge = failing_at(position, kind)
                life.live()
                vfs.judge = lambda _call, _file: None
                wrong = (
                    life.wrong or check(life, life.folder) or (check(life, life.image) if life.image.exists() else None)
                )
                if wrong is not None:
                    counts["wrong"] += 1
                    print(f"{kind} at call {position}: {wrong}; {life.errors}")
                    first = first or f"{kind} at call {position}: {wrong}"
                outcome = "unknown" if life.unknown else "refused" if life.refused or life.errors else "unharmed"
                counts[outcome] += 1
                shutil.rmtree(life.folder, ignore_errors=True)
                shutil.rmtree(life.image, ignore_errors=True)
    finally:
        vfs.unregister()
        shutil.rmtree(base, ignore_errors=True)
    return {**counts, "first": first}


def failing_at(position: int, kind: str) -> Judge:
    """Return a judge that fails the call of a number, from 0, and lets all others pass."""
    seen = 0

    def judge(_call: str, _file: str) -> BaseException | None:
        nonlocal seen
        seen += 1
        return error_of(kind) if seen == position + 1 else None

    return judge


def _calls(folder: Path, vfs: FaultyVFS) -> list[str]:
    """Return the calls of a life in which nothing fails."""
    life = Life(folder, vfs)
    vfs.calls.clear()
    life.live()
    assert life.errors == []
    assert check(life, life.folder) is None
    assert check(life, life.image) is None
    return [call for call, _ in vfs.calls]


if __name__ == "__main__":
    print(run())

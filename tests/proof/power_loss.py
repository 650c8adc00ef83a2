"""Power losses: what a disk may hold at any moment, by what was written and what was synced.

A life of a store is lived on a file system that writes down every call. A crash image is made of it at any call: what
was synced is there; of what was written since, each write is kept, lost, or torn at a sector, by chance. Then the image
is opened by the store itself, and every batch that was acknowledged before that call must be in it, whole.
"""

import random
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

from kos_runtime.adapters.event_store.connection import Tuning
from kos_runtime.adapters.event_store.reader import SqliteLogReader
from kos_runtime.adapters.event_store.sqlite import SqliteEventStore
from kos_runtime.core.errors import KosError
from kos_runtime.core.verify import verify_partition
from kos_runtime.testing.log_builder import LogBuilder, run_row

_WAL = 64 << 10
_SECTOR = 512
#: Images are taken of this many lives, in turn.
_LIVES = 6
_APPENDS = 60


@dataclass(slots=True)
class Tape:
    """Every call in order: (kind, file, offset, data). ``acknowledged`` pairs a number of calls with an offset."""

    calls: list[tuple[str, str, int, bytes]] = field(default_factory=list)
    acknowledged: list[tuple[int, int]] = field(default_factory=list)


class RecordingVFS(apsw.VFS):
    """Passes everything on and writes it down."""

    def __init__(self, name: str, tape: Tape) -> None:
        self.vfs_name, self.tape = name, tape
        super().__init__(name, "")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _File(self.tape, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.tape.calls.append(("delete", Path(filename).name, 0, b""))
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(self, tape: Tape, name: Any, flags: list[int]) -> None:
        text = name.filename() if isinstance(name, apsw.URIFilename) else name or ""
        self._tape, self._name = tape, Path(text).name
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._tape.calls.append(("write", self._name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._tape.calls.append(("sync", self._name, 0, b""))

    def xTruncate(self, newsize: int) -> None:
        self._tape.calls.append(("truncate", self._name, newsize, b""))
        super().xTruncate(newsize)


def run(images: int, seed: int, *, synchronous: str = "FULL") -> dict[str, Any]:
    """Make so many images; return how many ``images`` there were, ``lost`` something acknowledged, or were ``corrupt``."""
    draw = random.Random(seed)
    base = Path(tempfile.mkdtemp(prefix="kos-power-"))
    found: dict[str, Any] = {"images": 0, "lost": 0, "corrupt": 0, "first": ""}
    try:
        tapes = [_live(base / f"life-{n}", f"power-{seed}-{synchronous}-{n}", synchronous, draw) for n in range(_LIVES)]
        for number in range(images):
            tape = tapes[number % len(tapes)]
            call = draw.randrange(1, len(tape.calls) + 1)
            image = base / "image"
            _make(image, tape, call, draw)
            acknowledged = max((offset for at, offset in tape.acknowledged if at <= call), default=0)
            verdict = _judge(image, acknowledged)
            found["images"] += 1
            if verdict:
                found[verdict[0]] += 1
                found["first"] = found["first"] or f"{seed}:{number}: {verdict[1]}"
            shutil.rmtree(image, ignore_errors=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    return found


def _live(folder: Path, name: str, synchronous: str, draw: random.Random) -> Tape:
    """Open, claim, append in batches of many sizes with copies of the write-ahead log between, and close."""
    tape = Tape()
    vfs = RecordingVFS(name, tape)
    try:
        tuning = Tuning(synchronous=synchronous, wal_bytes=_WAL, vfs=name, owned=False)
        store = SqliteEventStore.open(folder, wall=lambda: 0, store_id="store-1", tuning=tuning)
        builder = LogBuilder()
        builder.epoch = store.claim(store.lease().epoch, "host").epoch
        for turn in range(_APPENDS):
            entries = [
                (f"run/{turn}-{n}", draw.randbytes(draw.randrange(20, 900))) for n in range(draw.choice((1, 1, 3, 25)))
            ]
            batch = builder.batch(*entries)
            batch.runs = [run_row(record) for record in batch.records]
            store.append(batch)
            tape.acknowledged.append((len(tape.calls), builder.offset))
            if turn % 7 == 6:
                store.idle()
        store.close()
    finally:
        vfs.unregister()
    return tape


def _make(image: Path, tape: Tape, call: int, draw: random.Random) -> None:
    """Write what the disk may hold after so many calls."""
    files: dict[str, bytearray] = {}
    pending: dict[str, list[tuple[str, int, bytes]]] = {}
    for kind, name, offset, data in tape.calls[:call]:
        if name.endswith("-shm"):
            continue
        waiting = pending.setdefault(name, [])
        if kind == "sync":
            for change in waiting:
                _apply(files.setdefault(name, bytearray()), *change)
            waiting.clear()
        elif kind == "delete":
            files.pop(name, None)
            waiting.clear()
        else:
            waiting.append((kind, offset, data))
    for name, waiting in pending.items():
        content = files.setdefault(name, bytearray())
        for kind, offset, data in waiting:
            chance = draw.random()
            if chance < 0.4:
                continue
            if chance < 0.6 and kind == "write" and len(data) > _SECTOR:
                data = data[: draw.randrange(len(data) // _SECTOR) * _SECTOR]  # noqa: PLW2901 - torn
            _apply(content, kind, offset, data)
    image.mkdir()
    for name, content in files.items():
        if name in {"events.db", "events.db-wal"}:
            (image / name).write_bytes(content)


def _apply(content: bytearray, kind: str, offset: int, data: bytes) -> None:
    if kind == "truncate":
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _judge(image: Path, acknowledged: int) -> tuple[str, str] | None:
    """Open an image with the store; say what is wrong with it, if anything."""
    if not (image / "events.db").exists():
        return ("lost", "the file is gone") if acknowledged else None
    tuning = Tuning(wal_bytes=_WAL, owned=False)
    try:
        store = SqliteEventStore.open(image, wall=lambda: 0, store_id="store-1", tuning=tuning)
    except KosError as error:
        return ("corrupt", f"{type(error).__name__}: {error}") if acknowledged else None
    try:
        [(said,)] = store._connection.execute("PRAGMA integrity_check(1)").fetchall()
        if said != "ok":
            return "corrupt", str(said)
        head = store.head().offset
        if head < acknowledged:
            return "lost", f"{acknowledged} were acknowledged, {head} are there"
        reader = SqliteLogReader.open(image)
        verdict = verify_partition(reader.evidence())
        reader.close()
        if not verdict.ok:
            return "corrupt", str(verdict.first_bad)
        if len(store.runs(limit=10_000)) != head:
            return "corrupt", "runs and records were not stored together"
    finally:
        store.close()
    return None

"""What is kept of runs that have ended, and for how long: archives and purges.

An archive is the run's export, compressed, in the store's own folder; then its payloads are taken out of the log. A purge takes
them out without keeping anything. Both leave headers, digests and hashes behind, so that the chain stays whole, and a record that
says who did it, when and why. Both need the store for themselves.
"""

import contextlib
import gzip
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from kos_runtime.adapters.checkpoint_store.filesystem import CHECKPOINTS, FilesystemCheckpointStore
from kos_runtime.adapters.event_store.layout import sync_folder
from kos_runtime.client.families import ended_children, goes_alone, waiting_root
from kos_runtime.client.gone import ARCHIVED, OVER, PURGED, digest_of, is_gone
from kos_runtime.client.offline import Keeper, kept
from kos_runtime.client.reading import Reading
from kos_runtime.client.transfer import check, export_lines
from kos_runtime.composition.wiring import CODEC
from kos_runtime.core.errors import InvalidDefinition, KosError, NotFound, StoreError
from kos_runtime.core.event import describe
from kos_runtime.core.identity import run_stream
from kos_runtime.core.peer.records import prefix_of
from kos_runtime.core.record import Batch, Record, RunRow
from kos_runtime.core.workflow import events as ev
from kos_runtime.engine.recorder import Meta

ARCHIVE: Final = "archive"
_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Kept:
    """What was done with a run; ``file`` is its archive, ``freed`` the bytes of its values that were deleted.

    ``event`` at ``seq`` says so in its log.
    """

    run: str
    what: str
    file: str
    freed: int
    seq: int
    event: str


def collectable(reading: Reading, *, statuses: Sequence[str] = OVER, before: int) -> list[RunRow]:
    """Return the runs that ended before an instant (milliseconds) and still have their payloads, the oldest first.

    A child that is awaited goes with the run at the root of its family, however it ended itself.
    """
    found: dict[str, RunRow] = {}
    after = 0
    while rows := reading.log.runs(status=list(statuses), newest_first=False, after_offset=after, limit=_PAGE):
        for row in rows:
            if row.updated_at >= before or is_gone(row) or not goes_alone(reading, row):
                continue
            found |= {each.run: each for each in (row, *ended_children(reading, row.run))}
        after = rows[-1].created_offset
    return list(found.values())


def archive(folder: Path, runs: Sequence[str], *, by: str, reason: str = "") -> list[Kept]:
    """Move what ended runs have recorded into files of their own; each can be imported.

    Raises:
        NotFound, InvalidDefinition: A run is not there, has not ended, or cannot be exported; those before it are done.
        Unreachable: Somebody owns the store.
    """
    return _each(folder, runs, by, reason, ARCHIVED, "kos gc")


def purge(folder: Path, runs: Sequence[str], *, by: str, reason: str = "") -> list[Kept]:
    """Delete what ended runs have recorded, for good; raises as ``archive``."""
    return _each(folder, runs, by, reason, PURGED, "kos gc --purge")


def _each(folder: Path, runs: Sequence[str], by: str, reason: str, what: str, command: str) -> list[Kept]:
    done: list[Kept] = []
    if not runs:
        return done
    with kept(folder, command) as keeper, contextlib.closing(Reading(folder)) as reading:
        for run in runs:
            row = reading.log.run(run)
            if row is None:
                raise NotFound(f"no run {run!r} in {folder}")
            if row.status not in OVER:
                raise InvalidDefinition(f"run {run} is {row.status}: only what has ended is archived or purged")
            root = None if run in {each.run for each in done} else waiting_root(reading, row)
            if root is not None:
                raise InvalidDefinition(
                    f"run {run} is a child in the family of run {root.run}, which is {root.status}: "
                    "they are archived or purged together, when that has ended"
                )
            if not is_gone(row):
                done.append(_take_away(keeper, reading, row, by, reason, what))
            done += [_take_away(keeper, reading, each, by, reason, what) for each in ended_children(reading, run)]
    return done


def _take_away(keeper: Keeper, reading: Reading, row: RunRow, by: str, reason: str, what: str) -> Kept:
    file, digest = "", ""
    if what == ARCHIVED:
        path, digest = _segment(reading, row.run)
        file = str(path.relative_to(reading.folder))
    store, stream = keeper.store, run_stream(row.run)
    last = store.stream(stream, after=max(row.position - 1, 0), limit=_PAGE)[-1]
    followed = _followed(reading, row.run)
    doomed = [blob for blob, shared in store.blobs_of(stream) if not shared and blob not in followed]
    keeper.now()
    meta = Meta(store.salt(stream) or b"", last.hash, last.position, row.created_at)
    batch = Batch(keeper.recorder.epoch)
    event: Any = ev.RunArchived(by, file, digest) if file else ev.PayloadsPurged(by, reason)
    why = f": {reason}" if reason else ""
    cause = f"{what} by {by}" + (f" into {file} sha256 {digest}" if file else "") + why
    keeper.record(batch, row.run, meta, event, cause)
    batch.emptied.append(stream)
    after = batch.records[-1]
    if what == PURGED:
        # An archive holds the run, and its peers' own records stay where they are.
        _purge_peers(keeper, batch, row, event, cause)
    batch.runs.append(
        replace(
            row, updated_at=after.time, offset=after.offset, position=after.position, error="",
            waiting=f"{what} into {file}" if file else what,
        )
    )  # fmt: skip
    # They are caches, and hold what is to go: before it is said that it went.
    _forget_checkpoints(reading, row.run)
    keeper.commit(batch)
    freed = _delete(keeper, doomed, row.updated_at)
    return Kept(row.run, what, file, freed, after.position, type(event).__name__)


def _purge_peers(keeper: Keeper, batch: Batch, row: RunRow, event: Any, cause: str) -> None:
    """Take away what the peers of a run's votes recorded in streams of their own, and say so there."""
    names, values = describe([event])
    for stream in keeper.store.streams(prefix_of(row.run)):
        last: Record | None = None
        while page := keeper.store.stream(stream, after=last.position if last else 0, limit=_PAGE):
            last = page[-1]
        assert last is not None
        meta = Meta(keeper.store.salt(stream) or b"", last.hash, last.position, row.created_at)
        keeper.recorder.peer(row.run, stream, meta, [(names, CODEC.pack(values))], cause, batch)
        batch.emptied.append(stream)


def _forget_checkpoints(reading: Reading, run: str) -> None:
    store = FilesystemCheckpointStore(reading.folder / CHECKPOINTS, CODEC)
    for seq in store.positions(run):
        store.delete(run, seq)


def _followed(reading: Reading, run: str) -> set[str]:
    """Return the plans and links that a run followed: others may follow them too, and say so nowhere."""
    events = (line.event for line in reading.lines(run) if line.event is not None)
    return {d for e in events if isinstance(e, ev.PlanRevised | ev.RunLinked | ev.RunCreated)
            for d in (getattr(e, "plan", ""), getattr(e, "link", ""))}  # fmt: skip


def _segment(reading: Reading, run: str) -> tuple[Path, str]:
    """Write a run's archive, read it back, and return its place and the SHA-256 of its bytes."""
    folder = reading.folder / ARCHIVE
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{run}.jsonl.gz"
    part = path.with_name(f"{path.name}.part.gz")
    try:
        # Without a time in it, the same run is the same bytes.
        with part.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as out:
            for text in export_lines(reading, run):
                out.write(text.encode())
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        check(str(part), CODEC)
        part.replace(path)
        sync_folder(folder)
    except KosError as error:
        raise InvalidDefinition(f"run {run} cannot be archived: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return path, digest_of(path)


def _delete(keeper: Keeper, digests: Sequence[str], ended: int) -> int:
    """Delete values that nothing mentions any more, unless somebody has put them there again since the run ended."""
    freed = 0
    for digest in digests:
        with contextlib.suppress(StoreError, OSError, KeyError):
            freed += keeper.blobs.delete(digest, not_after_ms=max(ended, 0) + 1_000)
    return freed

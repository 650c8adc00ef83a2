"""Runs whose payloads were taken away: how they are told, and whether what was archived is still what it was."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kos_runtime.core.identity import run_stream
from kos_runtime.core.record import RunRow

if TYPE_CHECKING:
    from kos_runtime.client.reading import Reading

#: What a run's row says when its payloads are gone.
PURGED: Final = "purged"
ARCHIVED: Final = "archived"
OVER: Final = ("completed", "failed", "cancelled", "quarantined")
_CHUNK: Final = 1 << 20


def is_gone(row: RunRow) -> bool:
    """Say whether a run's row says that its payloads are gone."""
    return row.status in OVER and row.waiting.partition(" ")[0] in {PURGED, ARCHIVED}


@dataclass(frozen=True, slots=True)
class TakenAway:
    """What became of a run's payloads. ``what`` is purged or archived; ``cause`` says by whom, into which file, and why."""

    what: str
    at: int
    seq: int
    cause: str
    ended_at: int


def taken_away(reading: "Reading", row: RunRow) -> TakenAway | None:
    """Return what became of a run's payloads, None while it has them."""
    if not is_gone(row):
        return None
    *_, before, last = [None, *reading.log.stream(run_stream(row.run), after=max(row.position - 2, 0), limit=2)]
    assert last is not None
    what = row.waiting.partition(" ")[0]
    return TakenAway(what, last.time, last.position, last.causation, last.time if before is None else before.time)


def went(row: RunRow) -> str:
    """Say where the payloads of such a run went."""
    if row.waiting == PURGED:
        return f"run {row.run} has no payloads any more: they were purged; only its headers and hashes are left"
    file = row.waiting.removeprefix(f"{ARCHIVED} into ")
    return f"run {row.run} has no payloads any more: they were archived into {file}, which another store takes by: kos import"


def digest_of(path: Path) -> str:
    """Return SHA-256 of a file, as hex."""
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def archive_problem(reading: "Reading", run: str) -> str:
    """Say what is wrong with an archived run's file, by what its last record says of it; empty when it is good."""
    row = reading.log.run(run)
    if row is None or not row.waiting.startswith(f"{ARCHIVED} into "):
        return ""
    path = reading.folder / row.waiting.removeprefix(f"{ARCHIVED} into ")
    (last,) = reading.log.stream(run_stream(run), after=row.position - 1, limit=1)
    try:
        found = digest_of(path)
    except OSError as error:
        return f"run {run} was archived into {path}, which cannot be read: {error.strerror}"
    if f" sha256 {found}" not in last.causation:
        return f"run {run} was archived into {path}, which was changed since"
    return ""

"""Runs whose payloads were taken away: how they are told, and whether what was archived is still what it was."""

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

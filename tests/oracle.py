"""The oracle over a store on disk: its checks are those of ``kos_runtime.testing.oracle``, and the rows of its runs."""

from pathlib import Path

from kos_runtime.client.proof import verify_all
from kos_runtime.client.reading import Reading
from kos_runtime.testing.oracle import Library, check_history


def check_store(
    folder: Path, *, created: list[str], ledger: list[tuple[str, str, int, int]] | None = None
) -> list[str]:
    """Return every violation in a store.

    Args:
        folder: The store.
        created: Runs whose creation was acknowledged.
        ledger: (run, path, attempt, fence) of every execution of an action's body, in order.
    """
    reading = Reading(folder)
    try:
        proof = verify_all(reading)
        found = [] if proof.ok else [f"I15: {proof.problem}"]
        library = Library.of(reading.blobs, reading.codec)
        return found + check_history(reading.log, library, created=created, ledger=ledger)
    finally:
        reading.close()

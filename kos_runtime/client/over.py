"""What a run that is over for good cannot do is told from its row: at once, without an owner, and without a Ray for it.

A row is stored with the event that made it so. What it says at the moment of looking is what the engine would have
answered at that moment, and nothing but going back to an earlier point, which is not refused here, makes such a run go on.
"""

from typing import Final

from kos_runtime.client.gone import is_gone, went
from kos_runtime.client.reading import Reading
from kos_runtime.core.errors import InvalidDefinition, NotFound
from kos_runtime.core.record import RunRow

#: A failed run can be retried, and one that was set aside requeued; these can only be forked or taken back.
FINAL: Final = frozenset({"completed", "cancelled"})


def need_run(reading: Reading, run: str) -> RunRow:
    """Return the row of a run that still has what it recorded.

    Raises:
        NotFound: There is no such run.
        InvalidDefinition: Its payloads were purged or archived.
    """
    row = reading.log.run(run)
    if row is None:
        raise NotFound(f"no run {run!r} in {reading.folder}")
    if is_gone(row):
        raise InvalidDefinition(went(row))
    return row


def need_open(reading: Reading, run: str, only: str) -> None:
    """Refuse a run that can never do what is asked; ``only`` says which runs can.

    Raises:
        NotFound: There is no such run.
        InvalidDefinition: It has completed or was cancelled, or its payloads are gone.
    """
    row = need_run(reading, run)
    if row.status in FINAL:
        raise InvalidDefinition(f"run {run} is {row.status}: {only}")

"""Answers that came too late: each is said once.

An agent that nobody hears goes on repeating itself: after every change of owners it is asked what it holds. The log says
of each fence at most once that its answer was not taken, and of a run at most so often; what comes again is dropped.
"""

from typing import Final

from kos_runtime.core.workflow.state import Run

#: So many answers that were not taken are told of a run, and remembered; the log then holds enough to see what is going on.
MOST: Final = 1_000


def has_discarded(run: Run, path: str, fence: int) -> bool:
    """Say whether nothing more is to be said of an answer under this fence."""
    told = run.discarded
    return told is not None and (fence in told.get(path, ()) or sum(map(len, told.values())) >= MOST)


def discarded(run: Run, path: str, fence: int) -> None:
    """Fold that an answer was not taken."""
    if run.discarded is None:
        run.discarded = {}
    run.discarded.setdefault(path, []).append(fence)

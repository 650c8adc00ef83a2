"""A second attempt beside the first, of a task that takes long and may be done twice: the first result is the task's.

It stands beside the item under a key of its own, ``PATH+``, with the same inputs and the same idempotency key.
"""

from typing import Final

from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.state import Run, StepState

#: What stands beside an item as its second attempt.
BESIDE: Final = "spare"
_MARK: Final = "+"


def spare_path(path: str) -> str:
    return path + _MARK


def is_spare(path: str) -> bool:
    return path.endswith("]" + _MARK)


def started(run: Run, e: ev.SpareStarted) -> None:
    item = run.steps[e.path]
    spare = StepState(e.spare, item.id, item.scope, item.node)
    spare.index, spare.beside, spare.of = item.index, BESIDE, e.path
    run.steps[e.spare] = spare


def take(run: Run, e: ev.SpareWon) -> StepState:
    """Give the item what its second attempt gave; return the item, which is over."""
    spare, item = run.steps.pop(e.spare), run.steps[e.path]
    item.exposed, item.blobs, item.error = spare.exposed, spare.blobs, None
    return item


def dropped(run: Run, path: str) -> None:
    """A second attempt is over without a result."""
    run.steps.pop(path, None)
    run.open.pop(path, None)
    run.agenda.pop(path, None)

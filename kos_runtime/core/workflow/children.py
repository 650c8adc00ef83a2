"""What a run is told of the runs that it asked for, and what it has done with them when it ends."""

from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow import steering
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.progress import advance


def child_ended(desk: Desk, end: ev.ChildEnded) -> None:
    """A child is over. What nobody waits for any more changes nothing."""
    run = desk.run
    held = run.children.get(end.path)
    if held is None or held[0] != end.child:
        return
    desk.emit(end)
    if run.cancelling is not None:
        steering.end_when_empty(desk)
    else:
        advance(desk)

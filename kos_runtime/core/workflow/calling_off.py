"""What is called off together with what is around it."""

from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.granting import withdraw_unneeded
from kos_runtime.core.workflow.spawning import StopChild
from kos_runtime.core.workflow.status import OVER
from kos_runtime.core.workflow.withdrawing import give_up_messages


def cancel_inside(desk: Desk, path: str, reason: str) -> None:
    """Call off everything that has begun or may begin below a path."""
    run = desk.run
    size = len(path)

    def inside(other: str) -> bool:
        return not path or (other.startswith(path) and len(other) > size and other[size] in "/[#!~")

    begun = [p for p, s in run.steps.items() if s.status not in OVER and inside(p)]
    for other in begun:
        if other not in run.steps:
            # A message that nobody has got yet, or a question of a machine: it went with whoever said it.
            continue
        fence = run.open.get(other)
        if fence is not None:
            desk.stops.closed.append((run.steps[other].agent, other, fence))
        elif run.children and other in run.children:
            child, parent_close = run.children[other]
            if parent_close == "cancel":
                desk.owe(StopChild(child, reason))
        if run.mail is not None:
            give_up_messages(desk, run.steps[other], reason)
        desk.emit(ev.StepCancelled(other, fence or 0, reason))
    for other in [p for p in run.agenda if p and inside(p)]:
        desk.emit(ev.StepCancelled(other, 0, reason))
    if run.authority is not None and run.authority.asks:
        withdraw_unneeded(desk)

"""Step keys that are no steps of a body but stand beside one: who stands in for it, and what undoes it.

A fallback step, template or workflow runs as ``PATH~STEP``, what undoes a completed step as ``PATH:undo``. Neither is counted by the body;
whatever it comes to is told to the step that it stands beside, or to the run that is being compensated.
"""

import re
from typing import Any, Final

from kos_runtime.core.errors import InvariantViolation
from kos_runtime.core.plan.model import Action, Child, Inlined
from kos_runtime.core.plan.program import Node
from kos_runtime.core.workflow import authority, held, mail
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.state import CLOSE, ENTER, Run, Scope, StepState
from kos_runtime.core.workflow.status import StepStatus
from kos_runtime.core.workflow.values import template_around

#: A step keeps so many of the processes that it failed in.
MAX_AVOIDED: Final = 16
#: How a run "ends" that goes back to an earlier point when all is undone.
RESTORED: Final = "restored"
_PLACE: Final = re.compile(r"#\d+|\[\d+\]")


def stand_in_path(path: str, step: str) -> str:
    return f"{path}~{step}"


def undo_path(path: str) -> str:
    return f"{path}:undo"


def node_at(run: Run, path: str) -> Node:
    """Return the step of the plan that a key belongs to.

    Raises:
        InvariantViolation: There is none.
    """
    assert run.program is not None
    body, around, node = run.program.body, run.program.body, None
    for part in _PLACE.sub("", path).split("/"):
        id, _, stand_in = part.partition("~")
        if stand_in:
            node = around.nodes.get(stand_in) or run.program.fallbacks.nodes.get(stand_in)
        else:
            node = None if body is None else body.nodes.get(id)
        if node is None:
            raise InvariantViolation(f"no step {path!r} in the plan of run {run.id}")
        body = node.body  # type: ignore[assignment]
        if isinstance(node.form, Inlined) and body is not None:
            around = body
    assert node is not None
    return node


def fallback_node(run: Run, scope: Scope, name: str) -> Node | None:
    """Return what stands in under a name for a step of a body: a step of the template or the run that stands aside, else
    a template or a workflow that was compiled for that.
    """
    assert run.program is not None
    template = template_around(scope)
    body = run.program.body if template is None else template.node.body
    node = None if body is None else body.nodes.get(name)
    if node is not None and node.step.on_demand and isinstance(node.form, Action | Inlined | Child):
        return node
    return run.program.fallbacks.nodes.get(name)


def avoid(step: StepState) -> None:
    """Its next attempt goes to another process than the one that it failed in."""
    if step.agent and step.agent not in step.avoid:
        step.avoid = [*step.avoid, step.agent][-MAX_AVOIDED:]


def reassigned(run: Run, e: ev.StepReassigned) -> None:
    """An agent by name, or, without one, another process of the kind that it has."""
    step = run.steps[e.path]
    if e.agent:
        step.instead = e.agent
    else:
        avoid(step)


def stand_in(run: Run, e: ev.FallbackStepStarted) -> None:
    step = run.steps[e.path]
    node = fallback_node(run, step.scope, e.step)
    if node is None:
        raise InvariantViolation(f"nothing stands in as {e.step!r} in the plan of run {run.id}")
    run.agenda.pop(e.path, None)
    step.status, step.then = StepStatus.FALLBACK, "fallback"
    other = StepState(e.stand_in, e.step, step.scope, node)
    other.beside, other.of = "stand_in", e.path
    _open(run, other)


def compensate(run: Run, e: ev.CompensationStarted) -> None:
    """Nothing else goes on; what was completed is undone, one after the other."""
    _undo_all(
        run,
        {
            "outcome": e.outcome,
            "left": list(e.steps),
            "error": e.error,
            "step": e.step,
            "by": e.by,
            "reason": e.reason,
        },
    )


def take_back(run: Run, e: ev.RunTakenBack) -> None:
    """Nothing else goes on; what was done since a point is undone, after which the run is restored to it."""
    _undo_all(run, {"outcome": RESTORED, "left": list(e.steps), "to": e.to, "by": e.by, "reason": e.reason})


def _undo_all(run: Run, said: dict[str, Any]) -> None:
    run.agenda.clear()
    run.todo.clear()
    run.timers.clear()
    run.manual.clear()
    run.waits.clear()
    held.drop_all(run)
    run.cancelling = None
    run.undoing = said
    _undo_next(run)


def _undo_next(run: Run) -> None:
    assert run.undoing is not None
    left: list[str] = run.undoing["left"]
    if not left:
        _put(run, "", CLOSE)
        return
    path = left[0]
    node = node_at(run, path)
    assert node.undo is not None
    forward = run.steps.get(path) or run.steps.get(path.rpartition("[")[0])
    other = StepState(undo_path(path), node.id, run.scopes[""] if forward is None else forward.scope, node.undo)
    other.beside, other.of = "undo", path
    _open(run, other)


def ended(run: Run, step: StepState) -> None:
    """A key that stands beside a step is over."""
    if step.beside == "stand_in":
        _put(run, step.of, CLOSE)
    elif step.beside == "undo" and run.undoing is not None:
        run.undoing["left"] = run.undoing["left"][1:]
        _undo_next(run)
    elif step.beside == mail.BESIDE:
        mail.ended(run, step)
    elif step.beside == authority.BESIDE:
        authority.ended(run, step)
    elif step.beside == held.BESIDE:
        held.ended(run, step)


def _open(run: Run, step: StepState) -> None:
    run.steps[step.path] = step
    _put(run, step.path, ENTER)


def _put(run: Run, path: str, why: str) -> None:
    run.agenda[path] = why
    run.todo.append(path)

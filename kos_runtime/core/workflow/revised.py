"""What a run is when its plan has changed: what ran keeps what it did, the rest is put in its place again.

Every body at work is counted anew from the states of its steps. A step that was about to start and has changed, or now
waits for another, is entered afresh; bodies that are over only get the new plan's names.
"""

from collections import deque

from kos_runtime.core.errors import InvariantViolation
from kos_runtime.core.plan.change import differences
from kos_runtime.core.record import BlobRef
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.state import CLOSE, ENTER, Run, Scope, StepState
from kos_runtime.core.workflow.status import StepStatus

#: Steps in these states were counted down by whoever waits for them.
_COUNTED = frozenset({StepStatus.COMPLETED, StepStatus.SKIPPED})


def definition_of(step: StepState) -> str:
    """Return where a step stands in the definition: its path without turns and items."""
    return f"{body_prefix(step.scope)}{step.id}"


def body_prefix(scope: Scope) -> str:
    """Return what the paths of a body's steps begin with in the definition."""
    return "" if scope.owner is None else f"{definition_of(scope.owner)}/"


def is_going(scope: Scope) -> bool:
    """Say whether a body is at work, as far up as the run: not a past turn, nor an item that is over."""
    at: Scope | None = scope
    while at is not None:
        owner = at.owner
        if at.gave_up is not None or (at.item >= 0 and at.remaining == 0):
            return False
        if owner is not None and (owner.status is not StepStatus.ACTIVE or at.turn not in {-1, owner.turn}):
            return False
        at = None if owner is None else owner.scope
    return True


def revise(run: Run, e: ev.PlanRevised) -> None:
    """Fold a change of the plan into a run whose status is checked already."""
    program, link = run.plans.get(e.plan), run.links.get(e.link)
    if program is None or link is None or run.program is None:
        raise InvariantViolation(f"run {run.id} was not given the plan of revision {e.revision}")
    changed = {change.path: change.fields for change in differences(run.program.plan, program.plan)}
    run.program, run.link = program, link
    run.revision, run.plan_now, run.link_now = e.revision, e.plan, e.link
    inside: dict[str, list[StepState]] = {}
    for step in run.steps.values():
        inside.setdefault(step.scope.path, []).append(step)
    # A body comes after the step that it belongs to, so that one has its new node by then.
    for scope in list(run.scopes.values()):
        body = program.body if scope.owner is None else scope.owner.node.body
        if body is None:
            raise InvariantViolation(f"step {scope.path!r} of run {run.id} has lost its body")
        scope.body = body
        steps = inside.get(scope.path, [])
        for step in steps:
            node = body.nodes.get(step.id)
            if node is not None:
                step.node = node
        if is_going(scope):
            _recount(run, scope, [s for s in steps if s.index < 0 and not s.ask_of], changed)


def as_created(run: Run) -> None:
    """Have a run that is taken back follow the plan that it was created with."""
    if not run.revision:
        return
    program, link = run.plans.get(run.plan_digest), run.links.get(run.link_digest)
    if program is None or link is None:
        raise InvariantViolation(f"run {run.id} was not given the plan that it was created with")
    run.program, run.link = program, link
    run.revision, run.plan_now, run.link_now = 0, run.plan_digest, run.link_digest


def _recount(run: Run, scope: Scope, steps: list[StepState], changed: dict[str, tuple[str, ...]]) -> None:
    """Count what a body waits for from what has come of its steps, and enter what is ready now."""
    body, prefix = scope.body, body_prefix(scope)
    over = {step.id for step in steps if step.status in _COUNTED}
    scope.waits = {
        id: sum(other not in over for other in node.step.after) if node.step.after else 0
        for id, node in body.nodes.items()
    }
    known = {step.id for step in steps}
    for step in steps:
        fields = changed.get(f"{prefix}{step.id}")
        if step.status is StepStatus.READY:
            waits = scope.waits.get(step.id)
            if waits is None or (waits and not step.node.step.on_demand):
                del run.steps[step.path]
                run.agenda.pop(step.path, None)
                known.discard(step.id)
            elif fields:
                _afresh(run, step)
        elif fields and step.status not in _COUNTED:
            _from_next_attempt(step, fields)
    if scope.parked:
        scope.parked = deque(path for path in scope.parked if path in run.agenda)
    by_hand = {step.id for step in steps if step.by_hand and step.id in known}
    scope.remaining = sum(
        id not in over and (id in by_hand or not node.step.on_demand) for id, node in body.nodes.items()
    )
    for id, node in body.nodes.items():
        if id not in known and not node.step.on_demand and not scope.waits[id]:
            _enter(run, scope, id)
    _look_at_end(run, scope)


def _afresh(run: Run, step: StepState) -> None:
    """A step that is about to start is a changed one now; what a person asked of it stays."""
    made = run.steps[step.path] = StepState(step.path, step.id, step.scope, step.node)
    if step.requested:
        made.requested, made.by_hand, made.given, made.condition_met = True, step.by_hand, step.given, True
        made.inputs, made.inputs_blob = step.inputs, step.inputs_blob
    _put(run, step.path, ENTER)


def _from_next_attempt(step: StepState, fields: tuple[str, ...]) -> None:
    """A step at work is changed from its next attempt on: what was fixed for all of them is fixed anew."""
    if "inputs" in fields:
        step.inputs = step.inputs_blob = None
        step.given = False
    if "action" in fields or "agent" in fields:
        step.action = ""


def _enter(run: Run, scope: Scope, id: str) -> StepState:
    path = scope.step_path(id)
    step = run.steps[path] = StepState(path, id, scope, scope.body.nodes[id])
    _put(run, path, ENTER)
    return step


def _look_at_end(run: Run, scope: Scope) -> None:
    """A body that was about to be closed goes on if there is something in it again, and the other way round."""
    closing = scope.path if scope.item >= 0 else "" if scope.owner is None else scope.owner.path
    if scope.remaining == 0:
        _put(run, closing, CLOSE)
    elif run.agenda.get(closing) == CLOSE and not scope.watched:
        del run.agenda[closing]


def request_step(run: Run, e: ev.StepRequested) -> None:
    """Fold that a person has a step run."""
    step = run.steps.get(e.path)
    if step is None:
        scope = run.scopes[e.path.rpartition("/")[0]]
        step = _enter(run, scope, e.path.rpartition("/")[2])
        step.by_hand = True
        scope.remaining += 1
        _look_at_end(run, scope)
    step.requested = step.condition_met = True
    if e.given:
        step.given = True
        step.inputs = e.inputs
        step.inputs_blob = None if e.inputs_blob is None else BlobRef(e.inputs_blob[0], e.inputs_blob[1])


def _put(run: Run, path: str, why: str) -> None:
    run.agenda[path] = why
    run.todo.append(path)

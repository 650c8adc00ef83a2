"""What a failed run is when it goes on: everything that was completed stays, the rest is taken up again.

The step at which it is reopened is tried again; everything around it that was called off when the run failed goes on
where it was. An item, part or turn that did not complete is done again as a whole.
"""

from kos_runtime.core.plan.model import Decision, Group, Inlined, Loop
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow import mail
from kos_runtime.core.workflow.state import AGAIN, CLOSE, ENTER, FENCES_A_LIFE, ITEMS, Run, Scope, StepState
from kos_runtime.core.workflow.status import StepStatus


def failed_steps(run: Run) -> list[str]:
    """Return where a failed run can be reopened, the innermost step first, then what it failed with it."""
    found: list[str] = []
    scope: Scope | None = run.scopes.get("")
    while scope is not None and scope.gave_up is not None:
        step = run.steps[scope.gave_up]
        found.insert(0, step.path)
        scope = _inside(run, step)
    return found


def _inside(run: Run, step: StepState) -> Scope | None:
    """Return the body in which a step failed, if it has one that is taken up again as it was."""
    match step.node.form:
        case Loop() if step.turn >= 0:
            return run.scopes.get(f"{step.path}#{step.turn}")
        case Group() | Inlined():
            return run.scopes.get(step.path)
        case _:
            return None


def reopen(run: Run, e: ev.RunReopened) -> None:
    """Fold a reopening into a run whose status is set already."""
    run.error = None
    run.fences = e.life * FENCES_A_LIFE
    leaf = run.steps[e.path]
    _resume_chain(run, leaf)
    leaf.retries, leaf.rung, leaf.rule, leaf.then = e.retries, 0, "", ""
    leaf.escalations = leaf.kills = 0
    leaf.action = leaf.instead = ""
    leaf.avoid, leaf.replaced, leaf.delegation = [], False, None
    for other in [path for path in run.steps if path.startswith(f"{e.path}~")]:
        del run.steps[other]
    if leaf.fan is not None:
        leaf.status = StepStatus.ACTIVE
        _redo(run, leaf)
    else:
        leaf.status = StepStatus.FAILING
        _put(run, e.path, AGAIN)
    for step in list(run.steps.values()):
        if run.steps.get(step.path) is not step:
            # It stood in an item that is done again as a whole.
            continue
        if step.status is StepStatus.CANCELLED and not step.beside and _is_going(step.scope):
            _take_up(run, step)
    mail.reopen(run)


def _resume_chain(run: Run, leaf: StepState) -> None:
    """Make everything around a step active again, up to the run."""
    del run
    step: StepState | None = leaf
    while step is not None:
        scope = step.scope
        scope.gave_up = None
        scope.active += 1
        for name, amount in step.node.step.resources.items():
            scope.held[name] = scope.held.get(name, 0.0) + amount
        if step is not leaf:
            step.status = StepStatus.ACTIVE
        step.error = None if step is not leaf else step.error
        step = scope.owner


def _is_going(scope: Scope) -> bool:
    """Say whether a body is at work, as far up as the run."""
    at: Scope | None = scope
    while at is not None:
        if at.gave_up is not None or (at.owner is not None and at.owner.status is not StepStatus.ACTIVE):
            return False
        at = None if at.owner is None else at.owner.scope
    return True


def _take_up(run: Run, step: StepState) -> None:
    """A step that was called off when the run failed goes on where it was."""
    inside = _inside(run, step)
    if step.fan is not None:
        step.status = StepStatus.ACTIVE
        _redo(run, step)
    elif inside is not None:
        step.status = StepStatus.ACTIVE
        if inside.remaining == 0:
            _put(run, step.path, CLOSE)
    elif isinstance(step.node.form, Decision) and step.turn >= 0:
        step.status = StepStatus.ACTIVE
        if not any(decision == step.id for _, decision in step.scope.follow.values()):
            _put(run, step.path, CLOSE)
    elif step.attempt:
        step.status = StepStatus.FAILING
        _put(run, step.path, AGAIN)
    else:
        step.status = StepStatus.READY
        _put(run, step.path, ENTER)


def _redo(run: Run, step: StepState) -> None:
    """Have every item that began and did not succeed done again, from its beginning."""
    fan = step.fan
    assert fan is not None
    with_bodies = step.node.body is not None
    fan.failures.clear()
    fan.open = 0
    fan.again = [
        index
        for index in range(fan.next)
        if index not in fan.skipped and not (_succeeded(run, step, index) if with_bodies else index in fan.results)
    ]
    if with_bodies:
        for index in fan.again:
            _forget(run, f"{step.path}[{index}]")
    _put(run, step.path, ITEMS)


def _succeeded(run: Run, step: StepState, index: int) -> bool:
    scope = run.scopes.get(f"{step.path}[{index}]")
    return scope is not None and scope.remaining == 0 and scope.gave_up is None


def _forget(run: Run, item: str) -> None:
    for path in [path for path in run.steps if path.startswith(f"{item}/")]:
        del run.steps[path]
    for path in [path for path in run.scopes if path == item or path.startswith(f"{item}/")]:
        del run.scopes[path]


def _put(run: Run, path: str, why: str) -> None:
    run.agenda[path] = why
    run.todo.append(path)

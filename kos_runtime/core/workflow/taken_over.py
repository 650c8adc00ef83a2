"""What becomes of a run's state when another run takes over what it had recorded, or it goes back to an earlier point."""

from kos_runtime.core.errors import InvariantViolation
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.revised import as_created
from kos_runtime.core.workflow.sparing import BESIDE as SPARE
from kos_runtime.core.workflow.sparing import dropped
from kos_runtime.core.workflow.state import AGAIN, CANCEL_TIMER, ENTER, FENCES_A_LIFE, Run, StepState
from kos_runtime.core.workflow.status import StepStatus


def is_fresh(run: Run, step: StepState) -> bool:
    """Say whether a step is at its first attempt, which is open: it is entered anew by whoever takes over."""
    return step.path in run.open and step.attempt == 1 and step.index < 0 and not step.beside and step.retries == 0


def begin_again(run: Run) -> None:
    """Forget what a run has done, as far as it is folded; its name, the plan of its creation and its fences stay."""
    as_created(run)
    run.vars = {}
    for held in (
        run.scopes,
        run.steps,
        run.agenda,
        run.open,
        run.timers,
        run.manual,
        run.waits,
        run.children,
        run.sought,
        run.held,
        run.machines,
    ):
        held.clear()
    run.todo.clear()
    run.paused = run.cancelling = run.error = run.undoing = None
    run.undo, run.undo_asked = {}, False
    run.outputs, run.outputs_blobs = b"", []
    run.signals, run.signalled = [], 0
    run.attributes = {}
    run.mail = run.authority = None
    run.deadline = run.left_ms = 0


def take_over(run: Run) -> None:
    """What was open has nobody any more who would answer: it is to be done again."""
    run.paused = run.cancelling = None
    run.timers.pop(CANCEL_TIMER, None)
    for path in list(run.open):
        step = run.steps.get(path)
        if step is not None and step.beside == SPARE:
            # Its task is given out anew, and it with that if need be.
            dropped(run, path)
            continue
        if step is None:
            raise InvariantViolation(f"an attempt of {path!r} is open, which run {run.id} does not have")
        if is_fresh(run, step):
            step.scope.active -= 1
            for name, amount in step.node.step.resources.items():
                step.scope.held[name] -= amount
            step.status, step.attempt, step.condition_met = StepStatus.READY, 0, step.requested
            if not step.given:
                step.inputs = step.inputs_blob = None
            run.agenda[path] = ENTER
        else:
            step.status, step.then = StepStatus.FAILING, "redispatch"
            run.agenda[path] = AGAIN
        del run.open[path]
        run.todo.append(path)
    for path, step in run.steps.items():
        if step.status is StepStatus.FAILING and path not in run.agenda:
            # A long decision is several records, and the point lies between a failure and what was decided of it.
            step.then = "redispatch"
            run.agenda[path] = AGAIN
            run.todo.append(path)
    for path in run.machines:
        # It begins once more, and says again what it owes.
        if run.steps[path].fan is None:
            run.agenda[path] = AGAIN
        run.todo.append(path)
    for path in list(run.children):
        # They answer to whoever asked for them: another is asked for.
        del run.children[path]
        run.steps[path].status = StepStatus.FAILING
        run.agenda[path] = AGAIN
        run.todo.append(path)


def replace_result(run: Run, e: ev.ResultReplaced) -> None:
    step = run.steps[e.path]
    step.exposed, step.blobs, step.cache = e.exposed, e.blobs, None


def restored(run: Run, e: ev.RunRestored) -> None:
    """The run stands where it stood: fences and keys go on above all that there were."""
    run.fences, run.generation = e.life * FENCES_A_LIFE, e.generation
    take_over(run)

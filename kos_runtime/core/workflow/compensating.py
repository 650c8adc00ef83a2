"""What a run completed is undone before it ends: a saga, after Garcia-Molina and Salem, "Sagas" (SIGMOD 1987).

Newest first, one after the other, at least once. Each undoing is a step key of its own with an idempotency key of its
own, since a service that honours the forward step's would answer the forward call once more. One that cannot be done
becomes a person's task and is never dropped.
"""

from dataclasses import dataclass
from typing import Any, Final

from kos_runtime.core.expression import ExpressionError, evaluate_template
from kos_runtime.core.failure import ErrorType, failure
from kos_runtime.core.identity import idempotency_key
from kos_runtime.core.invocation import Invocation
from kos_runtime.core.plan.link import ActionLink
from kos_runtime.core.record import INLINE_LIMIT
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.beside import RESTORED
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.dispatching import input_digest, key_of, linked, recorded_inputs
from kos_runtime.core.workflow.failing import fail_before_start
from kos_runtime.core.workflow.state import Run, StepState
from kos_runtime.core.workflow.status import StepStatus
from kos_runtime.core.workflow.values import View, blob_value, step_value, unpack_exposed

#: Under this name an action that takes it is given what is to be undone: ``{step, key, result}``.
FORWARD: Final = "forward"


@dataclass(frozen=True, slots=True)
class GoBack:
    """What a run did since a point is undone, and it is to be restored to it."""

    to: int
    by: str
    reason: str


def begin_undoing(
    desk: Desk, outcome: str, *, error: Any = None, step: str = "", by: str = "", reason: str = ""
) -> bool:
    """Have what the run completed undone before it ends so, if it says that and there is anything."""
    run = desk.run
    assert run.program is not None
    if not run.undo or run.undoing is not None:
        return False
    if outcome not in run.program.plan.compensate_on and not (outcome == "failed" and run.undo_asked):
        return False
    desk.emit(ev.CompensationStarted(outcome, list(reversed(run.undo)), error or {}, step, by, reason))
    return True


def fail_run(desk: Desk, error: dict[str, Any], step: str) -> None:
    """End a run without its outputs, when what it completed is undone."""
    if not begin_undoing(desk, "failed", error=error, step=step):
        desk.emit(ev.RunFailed(error, step))


def end_undone(desk: Desk) -> None:
    """All is undone: the run ends as it would have."""
    said = desk.run.undoing
    assert said is not None
    if said["outcome"] == RESTORED:
        desk.owe(GoBack(said["to"], said["by"], said["reason"]))
    elif said["outcome"] == "failed":
        desk.emit(ev.RunFailed(said["error"], said["step"]))
    else:
        desk.emit(ev.RunCancelled(said["by"], said["reason"]))


def undo(desk: Desk, step: StepState) -> None:
    """Start the next attempt to undo a step, if its agent has hands free.

    Raises:
        NeedsData: What the step gave lies in a blob that is not loaded.
    """
    run = desk.run
    form: Any = step.node.form
    agent, action = linked(desk, form.agent, form.action)
    if not desk.pools.has_room(agent.pool, run.id, step.path):
        return
    try:
        forward_key, values = _inputs(desk, step, action)
        whole = run.codec.pack(values)
        packed, blob = (whole, None) if len(whole) <= INLINE_LIMIT else (None, desk.put_blob(whole))
    except (ExpressionError, ValueError) as error:
        message = f"the inputs of {step.path}: {error}"
        fail_before_start(desk, step.path, failure(ErrorType.VALIDATION, message, step=step.path, recoverable=False))
        return
    attempt, fence = step.attempt + (step.then != "redispatch"), max(step.fence, run.fences) + 1
    timeout = step.node.step.timeout_ms
    process = desk.pools.take(run.id, step.path, fence, timeout)
    first = step.inputs is None and step.inputs_blob is None
    stored = [blob.digest, blob.size] if blob is not None else None
    desk.emit(
        ev.StepScheduled(
            step.path,
            attempt,
            fence,
            process,
            timeout,
            input_digest(packed, blob.digest if blob else ""),
            packed if first else None,
            stored if first else None,
        )
    )
    desk.dispatches.append(
        (
            process,
            Invocation(
                run=run.id,
                path=step.path,
                attempt=attempt,
                fence=fence,
                epoch=desk.epoch,
                agent=form.agent,
                action=form.action,
                inputs=packed or b"",
                timeout_ms=timeout,
                key=f"{forward_key}:undo",
                lenient=step.node.step.inputs is None,
                inputs_blob=blob,
            ),
        )
    )


def _inputs(desk: Desk, step: StepState, action: ActionLink | None) -> tuple[str, dict[str, Any]]:
    """Return the forward step's idempotency key, and what its undoing is given."""
    run, path = desk.run, step.of
    state, index = run.steps.get(path), -1
    if state is None and path.endswith("]"):
        base, _, number = path[:-1].rpartition("[")
        state, index = run.steps.get(base), int(number)
    key = (
        idempotency_key(run.store_id, run.id, path, run.generation)
        if state is None
        else key_of(run, state, path, index)
    )
    if step.inputs is not None or step.inputs_blob is not None:
        return key, recorded_inputs(desk, step)
    result = {} if state is None else _result(run, state, index)
    forward = {"step": path, "key": key, "result": result}
    if step.node.inputs is None:
        values = dict(result)
    else:
        view = _View(run, step.scope, state, index=index)
        view.forward = forward
        values = {name: evaluate_template(template, view) for name, template in step.node.inputs.items()}
    takes = action is None or action.takes_any or any(p.name == FORWARD for p in action.parameters)
    if takes:
        values.setdefault(FORWARD, forward)
    return key, values


def _result(run: Run, state: StepState, index: int) -> dict[str, Any]:
    if index >= 0:
        fan = state.fan
        if fan is None or index not in fan.results:
            return {}
        names = unpack_exposed(run, *fan.results[index])
        return {
            name: blob_value(run, value) if name in _moved(fan.results[index][1]) else value
            for name, value in names.items()
        }
    if state.status is not StepStatus.COMPLETED:
        return {}
    value = step_value(run, state, ())
    return value if isinstance(value, dict) else {"result": value}


def _moved(blobs: list[list[Any]]) -> set[str]:
    return {blob[0] for blob in blobs}


class _View(View):
    """What the inputs of an undoing see: the forward step's place, and of ``$self`` its ``key`` and ``result`` too."""

    __slots__ = ("forward",)

    forward: dict[str, Any]

    def _self(self) -> dict[str, Any]:
        path = self.forward["step"]
        own = {"id": self.step.id if self.step is not None else "", "path": path}
        return {**own, "idempotency_key": self.forward["key"], "result": self.forward["result"]}

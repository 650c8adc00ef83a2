"""Steps that wait: for time, for a signal, for people.

Nothing is held while they do. What a step waits for is folded state, its timer a row of the store; whatever ends the
wait comes as a command or as that timer, finds the run in memory or has it folded again, and is decided here.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from kos_runtime.core.expression import ExpressionError, evaluate_template
from kos_runtime.core.failure import ErrorType, WorkflowError, failure
from kos_runtime.core.instant import parse_instant, utc_text
from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan import model
from kos_runtime.core.plan.types import misfit
from kos_runtime.core.record import INLINE_LIMIT
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.failing import (
    MAX_ESCALATIONS,
    attempt_failed,
    fail_before_start,
    policy_for,
    request_manual,
)
from kos_runtime.core.workflow.state import StepState
from kos_runtime.core.workflow.status import StepStatus
from kos_runtime.core.workflow.values import View, dotted

#: Characters of a prompt, and of a comment.
MAX_PROMPT: Final = 2_000
MAX_COMMENT: Final = 2_000
#: Who decided, when the time was over and nobody had.
NOBODY: Final = "timeout"


def begin_waiting(desk: Desk, step: StepState) -> None:
    """Let a step begin to wait, or look again whether what it waits for has come."""
    match step.node.form:
        case model.Wait() as form:
            _wait(desk, step, form)
        case model.WaitFor() as form:
            _wait_for(desk, step, form)
        case model.Approval() as form:
            _ask(desk, step, form)
        case _:
            raise AssertionError(f"{step.path} does not wait")


def time_is_over(desk: Desk, step: StepState) -> None:
    """The timer of a step that waits has come."""
    due, fence = desk.run.timers[step.path]
    match step.node.form:
        case model.WaitFor(on_timeout=then, signal=signal):
            exposed = b""
            if then == "continue":
                exposed = desk.run.codec.pack(_exposed(step, None))
            desk.emit(ev.WaitingTimedOut(step.path, fence, due, then, exposed))
            _too_late(desk, step, then, f"no signal {signal!r} came in time")
        case model.Approval(on_timeout=then):
            exposed = b""
            if then in {"approve", "reject"}:
                try:
                    exposed = desk.run.codec.pack(_exposed(step, _decision(desk, step, then == "approve", [NOBODY])))
                except ValueError as error:
                    attempt_failed(desk, step, _invalid(step, f"the approval: {error}"), 0.0)
                    return
            desk.emit(ev.WaitingTimedOut(step.path, fence, due, then, exposed))
            _too_late(desk, step, then, "nobody decided in time")
        case _:
            desk.emit(ev.WaitEnded(step.path, fence, due))


def _too_late(desk: Desk, step: StepState, then: str, message: str) -> None:
    error = failure(ErrorType.TIMEOUT, f"{step.path}: {message}", step=step.path, recoverable=False)
    if then == "fail":
        attempt_failed(desk, step, error, 0.0)
    elif then == "escalate":
        policy = policy_for(desk, step, error)
        number = step.escalations + 1
        plain = error.to_plain()
        goes_up = policy.escalation_agent is not None and number <= MAX_ESCALATIONS
        up = "escalate" if goes_up else "manual"
        desk.emit(ev.StepFailed(step.path, step.fence, step.attempt, plain, "on_timeout", up, step.rung, 0.0))
        if goes_up:
            desk.emit(ev.Escalated(step.path, number, policy.escalation_agent or "", f"{step.path}!{number}"))
        else:
            request_manual(desk, step, step.id, "on_timeout")


def _fence(desk: Desk, step: StepState) -> int:
    return max(step.fence, desk.run.fences) + 1


def _invalid(step: StepState, message: str) -> WorkflowError:
    return failure(ErrorType.VALIDATION, message, step=step.path, recoverable=False)


# --- time ---------------------------------------------------------------------------------------


def _wait(desk: Desk, step: StepState, form: model.Wait) -> None:
    if not form.has_until:
        desk.emit(ev.WaitStarted(step.path, _fence(desk, step), desk.now + form.for_ms, form.for_ms, False))
        return
    assert step.node.value is not None
    try:
        until = evaluate_template(step.node.value, View(desk.run, step.scope, step))
        if until is None:
            desk.emit(ev.WaitEnded(step.path, _fence(desk, step), 0))
            return
        due = parse_instant(until if isinstance(until, str) else repr(until))
    except (ExpressionError, ValueError) as error:
        fail_before_start(desk, step.path, _invalid(step, f"until: {error}"))
        return
    desk.emit(ev.WaitStarted(step.path, _fence(desk, step), due, 0, True))


# --- signals ------------------------------------------------------------------------------------


def _wait_for(desk: Desk, step: StepState, form: model.WaitFor) -> None:
    """Give a step the first signal kept for it that matches, else let it wait on."""
    run = desk.run
    found = next((kept for kept in run.signals if kept[1] == form.signal and _matches(desk, step, kept)), None)
    if step.status is not StepStatus.WAITING:
        due = desk.now + form.timeout_ms if form.timeout_ms else 0
        desk.emit(ev.SignalAwaited(step.path, _fence(desk, step), form.signal, due))
    elif found is None:
        desk.emit(ev.SignalPassed(step.path, step.fence, run.signalled))
    if found is None:
        return
    try:
        exposed = run.codec.pack(_exposed(step, run.codec.unpack(found[2])))
    except ValueError as error:
        attempt_failed(desk, step, _invalid(step, f"signal {form.signal!r}: {error}"), 0.0)
        return
    desk.emit(ev.SignalTaken(step.path, step.fence, found[0], exposed))


def _matches(desk: Desk, step: StepState, kept: list[Any]) -> bool:
    """Say whether a signal is the one that is waited for; one of which that cannot be told is not."""
    if step.node.condition is None:
        return True
    view = View(desk.run, step.scope, step)
    view.signal = desk.run.codec.unpack(kept[2])
    try:
        return step.node.condition.evaluate(view) is True
    except ExpressionError:
        return False


def _exposed(step: StepState, result: Any) -> dict[str, Any]:
    """Return what a step exposes of its result.

    Raises:
        ValueError: An output asks for what is not there.
    """
    outputs = step.node.step.outputs
    if outputs is None:
        return {"result": result, **(result if isinstance(result, dict) else {})}
    if result is None:
        return dict.fromkeys(name for name, _ in outputs)
    found = {}
    for name, key in outputs:
        try:
            found[name] = result if key == "$result" else dotted(result, key.split("."), (name,))
        except ValueError as error:
            raise ValueError(f"it has no {key!r}, which output {name!r} needs") from error
    return found


# --- approvals ----------------------------------------------------------------------------------


def _ask(desk: Desk, step: StepState, form: model.Approval) -> None:
    run = desk.run
    texts = step.node.values or {}
    try:
        view = View(run, step.scope, step)
        prompt = str(evaluate_template(texts["prompt"], view))[:MAX_PROMPT]
        shown = evaluate_template(texts["show"], view)
        packed, blob = desk.pack_large(shown, INLINE_LIMIT)
        digest = sha256(run.codec.pack([prompt, shown])).hexdigest()
    except (ExpressionError, ValueError) as error:
        fail_before_start(desk, step.path, _invalid(step, f"what is shown for approval: {error}"))
        return
    desk.emit(
        ev.ApprovalRequested(
            step.path,
            _fence(desk, step),
            prompt,
            packed or b"",
            [blob.digest, blob.size] if blob else None,
            digest,
            list(form.approvers),
            form.quorum,
            [[f.name, f.type, f.required, f.default, list(f.values)] for f in form.fields],
            desk.now + form.timeout_ms if form.timeout_ms else 0,
        )
    )


def vote(
    desk: Desk, step: StepState, approved: bool, data: Mapping[str, Any], comment: str, by: str, right: str
) -> None:
    """Take one person's decision: enough approvals decide, and so does one rejection."""
    run = desk.run
    what = run.waits[step.path]
    desk.emit(
        ev.ApprovalGiven(
            step.path, step.fence, approved, run.codec.pack(dict(data)), comment, by, right, what["digest"]
        )
    )
    votes = what["votes"]
    if approved and sum(1 for given in votes if given[1]) < what["quorum"]:
        return
    try:
        exposed = _exposed(step, _decision(desk, step, approved, [given[0] for given in votes]))
    except ValueError as error:
        attempt_failed(desk, step, _invalid(step, f"the approval: {error}"), 0.0)
        return
    rule = f"quorum of {what['quorum']}" if approved else "one rejection"
    desk.emit(ev.ApprovalDecided(step.path, step.fence, approved, run.codec.pack(exposed), rule))


def _decision(desk: Desk, step: StepState, approved: bool, by: list[str]) -> dict[str, Any]:
    """Return an approval's result. Of a field that several people filled in the last one counts."""
    form = step.node.form
    assert isinstance(form, model.Approval)
    filled: dict[str, Any] = {field.name: field.default for field in form.fields}
    for _, _, data, _ in desk.run.waits[step.path]["votes"]:
        filled.update(desk.run.codec.unpack(data))
    return {**filled, "approved": approved, "decided_by": by, "decided_at": utc_text(desk.now)}


def unfit(step: StepState, data: Mapping[str, Any], *, approved: bool) -> str:
    """Return what is wrong with a filled form, or nothing. Who rejects need not fill it in."""
    form = step.node.form
    assert isinstance(form, model.Approval)
    names = tuple(field.name for field in form.fields)
    problems = [
        f"{name!r} is not asked for" + (f"; did you mean {near!r}?" if (near := nearest(name, names)) else "")
        for name in data
        if name not in names
    ]
    for field in form.fields:
        if field.name not in data:
            if field.required and approved:
                problems.append(f"{field.name!r} is missing")
        elif problem := misfit(data[field.name], field.type, field.values):
            problems.append(f"{field.name!r}: {problem}")
    return "; ".join(problems)

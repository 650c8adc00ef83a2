"""A task goes down or up a hierarchy to whoever takes it, with the authority that it needs; and whoever is asked for more."""

from hashlib import sha256
from itertools import pairwise
from typing import Any

from kos_runtime.core.expression import ExpressionError
from kos_runtime.core.failure import ErrorType, WorkflowError, failure
from kos_runtime.core.machine import UnknownMachine
from kos_runtime.core.plan.model import Hierarchical
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.authority import ASK_ACTION, DELEGATION, of, told
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.dispatching import dispatch
from kos_runtime.core.workflow.failing import attempt_failed, fail_before_start
from kos_runtime.core.workflow.granting import command, request, settle, uses_of
from kos_runtime.core.workflow.state import FENCES_A_LIFE, StepState
from kos_runtime.core.workflow.status import StepStatus
from kos_runtime.core.workflow.values import unpack_exposed

# --- the form -----------------------------------------------------------------------------------


def hand_over(desk: Desk, step: StepState, form: Hierarchical) -> None:
    """Have a step's task taken, and its action done by who took it."""
    if step.delegation is None:
        try:
            use = next(iter(uses_of(desk.run, step, -1, form.levels[0])), None) if form.grant else None
        except (ExpressionError, ValueError) as error:
            problem = failure(ErrorType.VALIDATION, f"{step.path}: {error}", step=step.path, recoverable=False)
            fail_before_start(desk, step.path, problem)
            return
        try:
            found = _down(desk, step, form, use) if form.delegate == "down" else _up(desk, step, form, use)
        except UnknownMachine as error:
            fail_before_start(desk, step.path, failure(ErrorType.RESOURCE, str(error), step=step.path))
            return
        if found is None:
            return
        desk.emit(ev.TaskTaken(step.path, *found, ""))
    dispatch(desk, step)


def _task(desk: Desk, step: StepState, hop: int) -> str:
    life = desk.run.fences // FENCES_A_LIFE
    return f"{step.path}/{hop}" + (f"~{life}" if life else "")


def _hand(desk: Desk, step: StepState, form: Hierarchical, hop: int, by: str, to: str, use: list[Any] | None) -> Any:
    needs = None if use is None else [by if form.delegate == "down" else to, *use[1:]]
    asked = {
        "do": "delegate",
        "task": _task(desk, step, hop),
        "by": by,
        "direction": form.delegate,
        "level": -1,
        "to": to,
    }
    return command(desk, step.path, {**asked, "use": needs, "expires_ms": form.expires_ms, "count": 1}).reply


def _down(desk: Desk, step: StepState, form: Hierarchical, use: list[Any] | None) -> tuple[str, int, str] | None:
    """Hand the task from level to level, each time with a grant for just that, cut from the one above."""
    levels = form.levels
    said: Any = None
    for hop, (by, to) in enumerate(pairwise(levels), 1):
        said = _hand(desk, step, form, hop, by, to, use)
        if said["refused"]:
            _want(desk, step, by, use, said["refused"], depth=len(levels) - hop)
            return None
    return said["taken_by"], said["level"], said["grant"]


def _up(desk: Desk, step: StepState, form: Hierarchical, use: list[Any] | None) -> tuple[str, int, str] | None:
    """Hand the task to the first above who may do it."""
    reason = ""
    for hop, to in enumerate(reversed(form.levels[:-1]), 1):
        said = _hand(desk, step, form, hop, form.levels[-1], to, use)
        if not said["refused"]:
            return said["taken_by"], said["level"], said["grant"]
        reason = said["refused"]
    _want(desk, step, form.levels[0], use, reason, depth=0)
    return None


def _want(desk: Desk, step: StepState, agent: str, use: list[Any] | None, reason: str, *, depth: int) -> None:
    """Whoever would hand it on or do it may not: those above are asked, the last of them a person."""
    form = step.node.form
    assert isinstance(form, Hierarchical)
    if use is not None and request(desk, step.path, [agent, *use[1:]], reason, depth, form.expires_ms):
        return
    refuse(desk, step, reason)


def refuse(desk: Desk, step: StepState, reason: str) -> None:
    """Nobody takes the task, or is granted what it needs: the step fails of it, or says so as its result."""
    form = step.node.form
    if not isinstance(form, Hierarchical) or form.on_refused == "fail":
        attempt_failed(desk, step, _not_granted(step, reason), 0.0)
        return
    desk.emit(ev.TaskTaken(step.path, "", -1, "", reason))
    exposed: dict[str, Any] = {name: None for name, _ in step.node.step.outputs or (("result", ""),)}
    exposed[DELEGATION] = told(step)
    desk.emit(ev.ResultJoined(step.path, desk.run.codec.pack(exposed), []))


def _not_granted(step: StepState, reason: str) -> WorkflowError:
    return failure(ErrorType.SECURITY, f"{step.path}: {reason}", step=step.path, denied=True)


def denied(desk: Desk, step: StepState) -> None:
    """What a step had asked for was not granted."""
    refuse(desk, step, of(desk.run).denied.get(step.path) or "what it needs was not granted")


# --- whoever is asked ---------------------------------------------------------------------------


def ask(desk: Desk, step: StepState) -> None:
    """Put a request to an agent, by its action, or to a person, as an approval."""
    run = desk.run
    assert run.link is not None
    if step.id == of(run).person:
        _ask_person(desk, step)
        return
    agent = run.link.agents.get(step.id)
    if agent is None or ASK_ACTION not in agent.actions:
        settle(desk, step, "pass", f"{step.id} has no action {ASK_ACTION}")
        return
    dispatch(desk, step)


def _ask_person(desk: Desk, step: StepState) -> None:
    run = desk.run
    asked = run.codec.unpack(step.inputs or b"")["request"]
    where = f" at {asked['target']!r}" if asked["target"] else ""
    cost = f", at a cost of {asked['cost']}" if asked["cost"] else ""
    prompt = f"May {asked['agent']} {asked['action']!r}{where}{cost}? {asked['reason']}".strip()[:2_000]
    form: Any = step.node.form
    desk.emit(
        ev.ApprovalRequested(
            step.path,
            max(step.fence, run.fences) + 1,
            prompt,
            run.codec.pack(asked),
            None,
            sha256(run.codec.pack([prompt, asked])).hexdigest(),
            list(form.approvers),
            1,
            [[f.name, f.type, f.required, f.default, list(f.values)] for f in form.fields],
            0,
        )
    )


def close_question(desk: Desk, step: StepState) -> None:
    """Take what came of a question: an answer, or that there is none."""
    if step.status is not StepStatus.COMPLETED:
        why = step.error["message"] if step.error else "it did not answer"
        settle(desk, step, "pass", why)
        return
    said = unpack_exposed(desk.run, step.exposed, step.blobs)
    if step.id == of(desk.run).person:
        by = ", ".join(said.get("decided_by") or [])
        settle(desk, step, "grant" if said.get("approved") is True else "deny", _text(said.get("comment")), by)
        return
    verdict = said.get("verdict")
    if verdict not in {"grant", "deny", "pass"}:
        settle(desk, step, "pass", f"{step.id} answered {verdict!r:.100}; it is grant, deny or pass")
        return
    settle(desk, step, str(verdict), _text(said.get("comment")), step.agent)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""

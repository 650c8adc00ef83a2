"""What people say to a run that waits for them: signals and approvals."""

from collections.abc import Sequence
from typing import Final

from kos_runtime.core.nearest import nearest
from kos_runtime.core.record import INLINE_LIMIT
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import (
    Accepted,
    DecideApproval,
    GrantAuthority,
    Rejected,
    RevokeAuthority,
    SendSignal,
)
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.progress import advance
from kos_runtime.core.workflow.status import RunStatus
from kos_runtime.core.workflow.waits import MAX_COMMENT, unfit, vote

#: A run keeps at most so many signals that no step has taken.
MAX_SIGNALS: Final = 256
#: Stands for all roles: on a store whose configuration names no people.
EVERY_ROLE: Final = "*"


def signal(desk: Desk, command: SendSignal) -> Accepted | Rejected:
    """Keep a signal, and give it to a step that waits for it."""
    run = desk.run
    if run.status is not RunStatus.RUNNING and run.status is not RunStatus.CREATED:
        return Rejected(code="conflict", message=f"run {run.id} is {run.status} and takes no signals")
    if run.cancelling is not None:
        return Rejected(code="conflict", message=f"run {run.id} is being cancelled")
    if len(run.signals) >= MAX_SIGNALS:
        return Rejected(code="busy", message=f"run {run.id} keeps {MAX_SIGNALS} signals that no step has taken")
    try:
        packed = run.codec.pack(command.data)
    except ValueError as error:
        return Rejected(code="invalid", message=f"the data of signal {command.signal!r} cannot be kept: {error}")
    if len(packed) > INLINE_LIMIT:
        message = f"the data of signal {command.signal!r} are oversize: {len(packed)} bytes, at most {INLINE_LIMIT}"
        return Rejected(code="invalid", message=message)
    desk.emit(ev.SignalReceived(run.signalled + 1, command.signal, packed, command.by))
    advance(desk)
    return Accepted(run=run.id, event="SignalReceived")


def decide(desk: Desk, command: DecideApproval) -> Accepted | Rejected:
    """Take a person's decision of an approval, if it is that person's to take."""
    run = desk.run
    if run.status is not RunStatus.RUNNING:
        return Rejected(code="conflict", message=f"run {run.id} is {run.status} and waits for no approval")
    if run.cancelling is not None:
        return Rejected(code="conflict", message=f"run {run.id} is being cancelled")
    waiting = [path for path, what in run.waits.items() if what["kind"] == "approval"]
    path = command.path or (waiting[0] if len(waiting) == 1 else "")
    if not path and waiting:
        return Rejected(
            code="invalid", message=f"run {run.id} waits for several approvals; name one of {', '.join(waiting)}"
        )
    if path not in waiting:
        step = run.steps.get(path)
        if step is not None and step.status.value in {"completed", "failed", "skipped", "cancelled"}:
            return Rejected(code="conflict", message=f"step {path!r} of run {run.id} is {step.status}: too late")
        near = nearest(path, tuple(waiting))
        hint = f"; did you mean {near!r}?" if near else f"; waiting: {', '.join(waiting) or 'none'}"
        which = f"step {path!r} of run {run.id}" if path else f"run {run.id}"
        return Rejected(code="not_found", message=f"{which} waits for no approval{hint}")
    step, what = run.steps[path], run.waits[path]
    right = right_of(what["approvers"], command)
    if not right:
        wanted = ", ".join(what["approvers"])
        return Rejected(code="invalid", message=f"{command.by} may not decide {path!r}: it is for {wanted}")
    if any(by == command.by for by, *_ in what["votes"]):
        return Rejected(code="conflict", message=f"{command.by} has decided {path!r} already, and counts once")
    if len(command.comment) > MAX_COMMENT:
        return Rejected(code="invalid", message=f"a comment has at most {MAX_COMMENT} characters")
    problem = unfit(step, command.data, approved=command.approved)
    if problem:
        return Rejected(code="invalid", message=f"the form of {path!r} does not fit: {problem}")
    try:
        size = len(run.codec.pack(command.data))
    except ValueError as error:
        return Rejected(code="invalid", message=f"the form of {path!r} cannot be kept: {error}")
    if size > INLINE_LIMIT:
        return Rejected(
            code="invalid", message=f"the form of {path!r} is oversize: {size} bytes, at most {INLINE_LIMIT}"
        )
    vote(desk, step, command.approved, command.data, command.comment, command.by, right)
    advance(desk)
    return Accepted(run=run.id, event="ApprovalGiven")


def right_of(approvers: Sequence[str], command: DecideApproval | GrantAuthority | RevokeAuthority) -> str:
    """Say by what a person may decide; nothing when not."""
    if not approvers:
        return f"anybody ({command.right})"
    if command.by in approvers:
        return f"named ({command.right})"
    for approver in approvers:
        if approver.startswith("role:") and (approver[5:] in command.roles or EVERY_ROLE in command.roles):
            return f"{approver} ({command.right})"
    return ""

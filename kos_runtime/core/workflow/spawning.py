"""A step asks for a run of another workflow, and takes what came of it for its own result.

The child is a run of its own, with its own log, in the partition of its parent. Its id follows from the parent, the
step's path and the attempt, so one attempt has one child, however often it is asked for. What a child owes its parent,
and a parent its child, is decided in one batch and stored in one transaction: neither is ever without the other.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from kos_runtime.core.expression import ExpressionError, evaluate_template
from kos_runtime.core.failure import ErrorType, WorkflowError, failure
from kos_runtime.core.plan.link import ChildLink
from kos_runtime.core.plan.model import Child
from kos_runtime.core.record import INLINE_LIMIT
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.dispatching import given_to
from kos_runtime.core.workflow.failing import attempt_failed, fail_before_start
from kos_runtime.core.workflow.results import MissingOutput, exposed_of
from kos_runtime.core.workflow.state import FENCES_A_LIFE, StepState
from kos_runtime.core.workflow.values import View

#: Runs lie in one another at most so deep.
MAX_DEPTH: Final = 16
#: What runs in a child has so long to stop when its parent ends or is done with it, in milliseconds.
GRACE_MS: Final = 10_000
#: How a child ended that goes on alone, and one that never began.
DETACHED: Final = "detached"
REFUSED: Final = "refused"


@dataclass(slots=True)
class StartChild:
    """A child is owed: the partition creates it. ``parent`` is ``[run, path, attempt, depth, mode, timeout_ms]``."""

    child: str
    link: ChildLink
    inputs: dict[str, Any]
    parent: list[Any]


@dataclass(slots=True)
class StopChild:
    """A child is to be called off, because of what became of its parent."""

    child: str
    reason: str
    grace_ms: int = GRACE_MS


def child_id(store: str, parent: str, path: str, attempt: int, mode: str, life: str = "") -> str:
    """Return the id of the run that an attempt of a step asks for.

    An awaited one begins with the id of the run at the root of its family; one that is detached has a family of its own.
    ``life`` tells apart what a run asked for before it was reopened or restored: attempts are counted anew then.
    """
    digest = sha256(f"{store}\x00child\x00{parent}\x00{path}\x00{attempt}{life}".encode()).hexdigest()
    return digest[:24] if mode == "detach" else f"{root_of(parent)}-{digest[:12]}"


def root_of(run: str) -> str:
    """Return the run at the root of a run's family: its own id without what makes it a child's."""
    return run.rpartition("-")[0] if is_child(run) else run


def is_child(run: str) -> bool:
    """Say whether an id is that of an awaited child, which is listed with its parent."""
    root, dash, rest = run.rpartition("-")
    return bool(dash and root) and len(rest) == 12 and set(rest) <= _HEX


_HEX: Final = frozenset("0123456789abcdef")


def request_child(desk: Desk, step: StepState, form: Child) -> None:
    """Ask for the run that a step stands for."""
    run = desk.run
    assert run.link is not None
    found = run.link.children.get(form.key)
    depth = (run.parent[3] if run.parent is not None else 0) + 1
    if found is None or depth > MAX_DEPTH:
        why = "was not linked" if found is None else f"would be nested deeper than {MAX_DEPTH}"
        _refuse(desk, step, f"the workflow {form.key} {why}")
        return
    view = View(run, step.scope, step)
    try:
        if step.beside == "stand_in" and not form.inputs:
            values = {
                name: value for name, value in given_to(desk, step).items() if found.takes_any or name in found.takes
            }
        else:
            values = {name: evaluate_template(value, view) for name, value in (step.node.values or {}).items()}
        packed, blob = desk.pack_large(values, INLINE_LIMIT)
    except (ExpressionError, ValueError) as error:
        _refuse(desk, step, f"the inputs of {step.path}: {error}")
        return
    attempt = step.attempt + 1
    lives = (run.generation, run.fences // FENCES_A_LIFE)
    life = f"\x00{lives[0]}.{lives[1]}" if any(lives) else ""
    child = child_id(run.store_id, run.id, step.path, attempt, form.mode, life)
    stored = [blob.digest, blob.size] if blob is not None else None
    desk.emit(
        ev.ChildRequested(
            step.path,
            attempt,
            child,
            found.workflow,
            found.version,
            packed or b"",
            stored,
            form.parent_close,
            form.mode,
        )
    )
    desk.owe(StartChild(child, found, values, [run.id, step.path, attempt, depth, form.mode, form.timeout_ms]))


def _refuse(desk: Desk, step: StepState, message: str) -> None:
    error = failure(ErrorType.VALIDATION, message, step=step.path, recoverable=False)
    fail_before_start(desk, step.path, error)


def close_child(desk: Desk, step: StepState) -> None:
    """A step's child is over: its outputs are the step's result, its failure is the step's.

    Raises:
        NeedsData: A value that is looked into is not loaded.
    """
    assert step.child_end is not None
    status, packed, blobs, error = step.child_end
    if status not in {"completed", DETACHED}:
        attempt_failed(desk, step, _failed(step, status, error or {}), 0.0)
        return
    try:
        exposed, kept = exposed_of(desk, step, desk.run.codec.unpack(packed) if packed else {}, blobs)
    except MissingOutput as missing:
        attempt_failed(desk, step, failure(ErrorType.VALIDATION, str(missing), step=step.path), 0.0)
        return
    except ValueError as problem:
        error_of = failure(ErrorType.VALIDATION, f"{step.path}: {problem}", step=step.path, recoverable=False)
        attempt_failed(desk, step, error_of, 0.0)
        return
    desk.emit(ev.ResultJoined(step.path, exposed, kept))


def _failed(step: StepState, status: str, error: dict[str, Any]) -> WorkflowError:
    """Return a child's failure as its step's: of the same kind, and as recoverable."""
    kinds = {kind.value for kind in ErrorType}
    kind = ErrorType(error["type"]) if error.get("type") in kinds else ErrorType.PERMANENT
    message = str(error.get("message", ""))
    said = message if status == REFUSED or message.startswith(status) else f"{status}: {message}"
    recoverable = error.get("recoverable") if status == "failed" else False
    return failure(kind, f"child run {said}", step=step.path, recoverable=recoverable)

"""What a command, an answer or a moment makes of a run.

Each function decides on a desk: it emits the events that follow, sees each of them at once, and leaves there what is to
be done when they are stored. A command that does not fit the state returns ``Rejected`` and emits nothing.
"""

from collections.abc import Mapping
from typing import Any

from kos_runtime.core.failure import ErrorType, WorkflowError
from kos_runtime.core.invocation import Outcome
from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan.model import ForEach
from kos_runtime.core.plan.types import complete_inputs, misfit
from kos_runtime.core.record import INLINE_LIMIT
from kos_runtime.core.workflow import attributes, granting, machining, mastering, steering
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.asking import answered
from kos_runtime.core.workflow.authority import DUE
from kos_runtime.core.workflow.commands import Accepted, AnswerTask, CommandMachine, CreateRun, Rejected
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.discarding import has_discarded
from kos_runtime.core.workflow.failing import MAX_KILLS, attempt_failed, broke_off, is_once, poisoned
from kos_runtime.core.workflow.messaging import is_about_mail, said
from kos_runtime.core.workflow.progress import advance, length_of
from kos_runtime.core.workflow.sparing import BESIDE as SPARE
from kos_runtime.core.workflow.state import CANCEL_TIMER, DEADLINE_TIMER, MACHINE_TIMER
from kos_runtime.core.workflow.status import RunStatus
from kos_runtime.core.workflow.values import dotted, unpack_exposed
from kos_runtime.core.workflow.voting import answered_by
from kos_runtime.core.workflow.waits import time_is_over


def create(desk: Desk, command: CreateRun) -> Accepted | Rejected:
    """Make the run and link it. Inputs are completed by the workflow's defaults."""
    run = desk.run
    assert run.program is not None
    plan = run.program.plan
    values, problems = complete_inputs(plan, command.inputs)
    if command.attributes and (wrong := attributes.problem(command.attributes, {})):
        problems = [*problems, wrong]
    if problems:
        return Rejected(code="invalid", message="; ".join(problems))
    try:
        packed, blob = desk.pack_large(values, INLINE_LIMIT)
    except ValueError as error:
        return Rejected(code="invalid", message=f"the inputs cannot be kept: {error}")
    desk.emit(
        ev.RunCreated(
            plan.workflow,
            plan.version,
            command.name,
            command.plan,
            command.key,
            packed or b"",
            [blob.digest, blob.size] if blob else None,
            command.seed,
            command.author,
        )
    )
    desk.emit(ev.RunLinked(command.link, command.settings, command.drivers))
    if command.attributes:
        given = {name: value for name, value in command.attributes.items() if value is not None}
        desk.emit(ev.SearchAttributesSet(given, command.author))
    if command.parent is not None:
        desk.emit(ev.RunSpawned(*command.parent))
    return Accepted(run=run.id, position=1, event="RunCreated")


def start(desk: Desk) -> None:
    """Let a created run begin."""
    length = length_of(desk.run)
    desk.emit(ev.RunStarted(desk.now + length if length else 0))
    program = desk.run.program
    if program is not None and program.plan.authority is not None:
        granting.begin(desk, program.plan.authority)
    advance(desk)


def outcome(desk: Desk, result: Outcome) -> None:
    """Record how an attempt ended, and decide what follows. An answer under a closed fence changes nothing."""
    run = desk.run
    path = result.path
    if run.open.get(path) != result.fence:
        if is_about_mail(path):
            if run.status is RunStatus.RUNNING:
                said(desk, result)
                advance(desk)
            return
        if run.status is RunStatus.RUNNING and not has_discarded(run, path, result.fence):
            desk.emit(ev.ResultDiscarded(path, result.fence, "its fence is not open"))
        return
    if run.cancelling is not None:
        if result.error is None and not run.steps[path].ask_of:
            desk.complete(result)
            steering.end_when_empty(desk)
        else:
            why = "" if result.error is None else f": {result.error.type}: {result.error.message}"
            steering.stopped(desk, path, result.fence, f"it stopped{why}")
        return
    step = run.steps[path]
    if step.ask_of:
        _asked(desk, result)
    elif result.error is None:
        desk.complete(result)
    elif result.error.type is ErrorType.TIMEOUT and is_once(step):
        broke_off(desk, step, result.error.message, result.duration_ms)
    else:
        attempt_failed(desk, step, result.error, result.duration_ms)
    if run.machines:
        mastering.settle(desk, path, result.fence)
    advance(desk)


def _asked(desk: Desk, result: Outcome) -> None:
    step = desk.run.steps[result.path]
    problem, names = "", {}
    if result.error is None:
        desk.complete(result)
        names = unpack_exposed(desk.run, result.exposed, [])
    else:
        problem = f"{step.agent} did not answer: {result.error.message}"
        desk.emit(ev.StepCancelled(step.path, result.fence, problem))
    answered(desk, step, names, problem)


def timer(desk: Desk, path: str, fence: int) -> None:
    """A retry's time has come, or that of a step which waits; a timer of an older fence is dropped."""
    if path == DEADLINE_TIMER:
        steering.ran_too_long(desk)
        return
    held = desk.run.timers.get(path)
    if held is None or held[1] != fence:
        if path.startswith(MACHINE_TIMER) and desk.run.cancelling is None:
            machining.fired(desk, path)
            advance(desk)
        return
    if path == CANCEL_TIMER:
        steering.kill(desk)
        return
    if path.startswith(DUE):
        granting.timed_out(desk, path)
        advance(desk)
        return
    if path in desk.run.waits:
        time_is_over(desk, desk.run.steps[path])
        advance(desk)
        return
    desk.emit(ev.TimerFired(path, fence, held[0]))
    advance(desk)


def lost(desk: Desk, path: str, fence: int, cause: str, *, suspect: bool, sent: bool = True) -> None:
    """The process that held an attempt is gone: the attempt goes to another one, under a new fence.

    One that is delivered at most once has failed instead, since nobody knows what it did, unless it was never ``sent``.

    ``suspect``: its body had begun, so it may be what ended the process. A step that ended too many is given up.
    """
    run = desk.run
    if run.open.get(path) != fence:
        return
    if run.cancelling is not None:
        steering.stopped(desk, path, fence, cause)
        return
    step = run.steps[path]
    if sent and is_once(step):
        broke_off(desk, step, cause, 0.0)
        if run.machines:
            mastering.lost(desk, path, fence, cause)
        advance(desk)
        return
    if step.beside == SPARE:
        desk.emit(ev.StepCancelled(path, fence, cause[:500]))
    else:
        desk.emit(ev.StepRedispatched(path, fence, f"suspect: {cause}" if suspect else cause))
    if step.kills >= MAX_KILLS and not step.ask_of:
        attempt_failed(desk, step, poisoned(step), 0.0)
    if run.machines:
        mastering.lost(desk, path, fence, cause)
    advance(desk)


def expired(desk: Desk, path: str, fence: int, error: WorkflowError) -> None:
    """An attempt's process stayed silent beyond its deadline."""
    run = desk.run
    if run.open.get(path) != fence:
        return
    step = run.steps[path]
    desk.stops.closed.append((step.agent, path, fence))
    if run.cancelling is not None:
        steering.stopped(desk, path, fence, error.message)
        return
    if step.ask_of:
        desk.emit(ev.StepCancelled(path, fence, error.message))
        answered(desk, step, {}, error.message)
    elif is_once(step):
        broke_off(desk, step, error.message, 0.0)
    else:
        attempt_failed(desk, step, error, 0.0)
    if run.machines:
        mastering.settle(desk, path, fence)
    advance(desk)


def answer(desk: Desk, command: AnswerTask) -> Accepted | Rejected:
    """Take a person's answer to a manual task in place of the step's result."""
    run = desk.run
    path = command.path
    task = run.manual.get(path)
    if task is None:
        waiting = tuple(run.manual)
        near = nearest(path, waiting)
        hint = f"; did you mean {near!r}?" if near else f"; waiting: {', '.join(waiting) or 'none'}"
        return Rejected(code="not_found", message=f"step {path!r} of run {run.id} waits for no answer{hint}")
    fields = task[2]
    problem = _misfits(command.data, fields)
    if problem:
        return Rejected(code="invalid", message=f"the answer to {task[0]!r} does not fit: {problem}")
    step = run.steps[path]
    outputs = step.node.step.outputs
    part = step.index >= 0 and not isinstance(step.node.form, ForEach)
    exposed: dict[str, Any]
    if (
        isinstance(step.node.form, ForEach)
        and step.node.form.consensus is not None
        and step.index < 0
        and step.fan is None
    ):
        try:
            exposed = answered_by(desk, step, step.node.form.consensus, command.data, command.by)
        except ValueError as error:
            return Rejected(code="invalid", message=f"the answer to {task[0]!r} does not fit: {error}")
    elif outputs is not None and not part and {f[0] for f in fields} != {"result"}:
        exposed = {}
        for name, key in outputs:
            try:
                exposed[name] = command.data if key == "$result" else dotted(command.data, key.split("."), (name,))
            except ValueError:
                return Rejected(code="invalid", message=f"the answer has no {key!r}, which output {name!r} needs")
    elif outputs is not None and not part:
        exposed = {name: command.data.get("result") for name, _ in outputs}
    else:
        exposed = dict(command.data) if part else {"result": command.data, **command.data}
    blobs: list[list[Any]] = []
    for name in list(exposed):
        try:
            packed, blob = desk.pack_large(exposed[name], INLINE_LIMIT // max(len(exposed), 1))
        except ValueError as error:
            return Rejected(code="invalid", message=f"{name!r} of the answer to {task[0]!r} cannot be kept: {error}")
        if packed is None and blob is not None:
            value = exposed.pop(name)
            kind = "array" if isinstance(value, list) else "object"
            blobs.append(
                [name, blob.digest, blob.size, kind, len(value) if isinstance(value, list | dict | str) else 0]
            )
    desk.emit(ev.ManualTaskAnswered(path, run.codec.pack(exposed), blobs, command.by))
    advance(desk)
    return Accepted(run=run.id, event="ManualTaskAnswered")


def come_back(desk: Desk) -> None:
    """A run was folded again: the machines of its steps begin once more."""
    machining.come_back(desk)
    advance(desk)


def tell(desk: Desk, command: CommandMachine) -> Accepted | Rejected:
    """Give a machine of a step a command."""
    run = desk.run
    if run.status is not RunStatus.RUNNING or run.cancelling is not None or run.undoing is not None:
        why = "is being called off" if run.status is RunStatus.RUNNING else f"is {run.status}"
        return Rejected(code="conflict", message=f"run {run.id} {why}; its machines take no commands")
    answer = machining.command(desk, command)
    advance(desk)
    return answer


def _misfits(data: Mapping[str, Any], fields: list[list[Any]]) -> str:
    names = [name for name, _, _ in fields]
    problems = [f"{name!r} is missing" for name, _, required in fields if required and name not in data]
    problems += [
        f"{name!r} is not asked for" + (f"; did you mean {near!r}?" if (near := nearest(name, tuple(names))) else "")
        for name in data
        if name not in names
    ]
    for name, kind, _ in fields:
        if name in data and (wrong := misfit(data[name], kind)):
            problems.append(f"{name!r}: {wrong}")
    return "; ".join(problems)


def is_waiting_only(desk_run: Any) -> bool:
    """Say whether a run owes nothing but people's answers and timers."""
    return not desk_run.open and not desk_run.agenda and desk_run.status is RunStatus.RUNNING

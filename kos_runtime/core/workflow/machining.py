"""A step holds a machine: what comes to it, and what follows of what it decides.

Facts are events of the run, so that they are stored with everything that follows of them or not at all. Messages between
nodes of the step are delivered in memory, within the same decision. Timers are the run's and are not stored: a machine
sets them again when it begins once more. A question is an attempt of an agent's action, or a task of a person. A machine
that raises fails its step, and nothing else.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from kos_runtime.core.envelope import Envelope
from kos_runtime.core.expression import ExpressionError, evaluate_template
from kos_runtime.core.failure import ErrorType, WorkflowError, failure
from kos_runtime.core.machine import (
    Answered,
    Began,
    Commanded,
    Consult,
    Fired,
    Received,
    SetTimer,
    Stimulus,
    UnknownMachine,
    machine_named,
)
from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan.model import Coordination
from kos_runtime.core.terms import fact_written, unwritten, written
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow import mastering
from kos_runtime.core.workflow.calling_off import cancel_inside
from kos_runtime.core.workflow.commands import Accepted, CommandMachine, Rejected
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.failing import attempt_failed, fail_before_start
from kos_runtime.core.workflow.held import ANSWER, Held
from kos_runtime.core.workflow.results import exposed_of
from kos_runtime.core.workflow.state import MACHINE_TIMER, StepState
from kos_runtime.core.workflow.status import RunStatus, StepStatus
from kos_runtime.core.workflow.values import View, step_value

#: What one thing that comes to a machine may lead to between its nodes: so many messages. More is nodes that answer each
#: other for ever.
MAX_DELIVERIES: Final = 10_000
#: What is recorded of one decision of a machine takes at most so many bytes.
MAX_FACTS: Final = 1 << 20
#: A machine asks so many questions at a time.
MAX_QUESTIONS: Final = 1_000
#: What a machine asks where it does not say which action answers.
ON_QUESTION: Final = "on_question"
#: People are named so.
_PEOPLE: Final = ("user:", "role:")


class Runaway(Exception):
    """The nodes of a machine send to each other without end."""


def open_machine(desk: Desk, step: StepState, form: Coordination) -> None:
    """Set a step's machine up and let its nodes begin."""
    assert step.node.value is not None
    try:
        setup = evaluate_template(step.node.value, View(desk.run, step.scope, step))
    except ExpressionError as error:
        message = f"{step.path} cannot be set up: {error}"
        fail_before_start(desk, step.path, failure(ErrorType.VALIDATION, message, step=step.path, recoverable=False))
        return
    try:
        version = _try(desk, form, setup)
    except UnknownMachine as error:
        fail_before_start(desk, step.path, failure(ErrorType.RESOURCE, str(error), step=step.path))
        return
    except ValueError as error:
        message = f"{step.path} cannot be set up: {error}"
        fail_before_start(desk, step.path, failure(ErrorType.VALIDATION, message, step=step.path, recoverable=False))
        return
    except Exception as error:
        fail_before_start(desk, step.path, raised(step.path, form.machine, error))
        return
    desk.emit(ev.MachineOpened(step.path, form.machine, version, setup, list(form.nodes)))
    begin(desk, desk.run.machines[step.path])


def _try(desk: Desk, form: Coordination, setup: Any) -> int:
    """Set every node up once, to see whether that goes; return the machine's version."""
    machine = machine_named(form.machine)
    if len(desk.run.codec.pack(setup)) > MAX_FACTS:
        raise ValueError(f"what a machine is set up with takes at most {MAX_FACTS} bytes")
    made = unwritten(setup)
    for node in form.nodes:
        machine.initial(node, made)
    return machine.version


def begin(desk: Desk, held: Held) -> None:
    """Let every node begin: for the first time, or once more in this process."""
    held.alive = True
    drive(desk, held, [(node, Began(held.life)) for node in held.nodes])


def come_back(desk: Desk) -> None:
    """The run was folded again: every machine that it holds begins once more, and says what it owes."""
    if desk.run.status is RunStatus.RUNNING:
        for held in list(desk.run.machines.values()):
            if desk.run.steps[held.path].node.step.master is None:
                wake(desk, held)


def wake(desk: Desk, held: Held) -> None:
    if not held.alive:
        if held.crew is None:
            desk.run.agenda.pop(held.path, None)
        desk.emit(ev.MachineRecovered(held.path, held.life + 1))
        begin(desk, held)


# --- what comes in ------------------------------------------------------------------------------


def command(desk: Desk, said: CommandMachine) -> Accepted | Rejected:
    """Give a node of a machine a command; its reply is the answer's."""
    run = desk.run
    path = said.path or next(iter(run.machines), "")
    held: Held | None = run.machines.get(path)
    if held is None:
        return Rejected(code="not_found", message=f"step {path!r} of run {run.id} holds no machine that takes commands")
    node = said.node or next(iter(held.nodes))
    if node not in held.nodes:
        near = nearest(node, tuple(held.nodes))
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(list(held.nodes)[:12])}"
        return Rejected(code="not_found", message=f"there is no {node!r} in {path}; {hint}")
    try:
        told = unwritten(said.command)
    except ValueError as error:
        return Rejected(code="invalid", message=f"a command to {path}: {error}")
    wake(desk, held)
    before = len(desk.events)
    reply = drive(desk, held, [(node, Commanded(told))])
    if path not in run.machines and (problem := run.steps[path].error) is not None:
        return Rejected(code="invalid", message=str(problem.get("message", "")))
    try:
        plain = written(reply)
    except ValueError as error:
        return Rejected(code="invalid", message=f"the reply of {path}: {error}")
    # What recorded nothing is answered anew when it is asked again.
    changed = len(desk.events) > before
    return Accepted(run=run.id, event="MachineDecided" if changed else "", existing=not changed, reply=plain)


def fired(desk: Desk, timer: str) -> None:
    """A timer of a machine may be due; one that was moved is looked at again later."""
    path, node, name = timer.removeprefix(MACHINE_TIMER).split("\n")
    held: Held | None = desk.run.machines.get(path)
    if held is None or not held.alive:
        return
    key = (node, name)
    pushed = held.pushed.get(key, 0)
    if pushed > desk.now:
        # Another entry stands for it.
        return
    held.pushed.pop(key, None)
    due = held.timers.get(key)
    if due is None:
        return
    if due > desk.now:
        _push(desk, held, key, due)
        return
    del held.timers[key]
    if held.crew is not None:
        mastering.renew(desk, held)
    drive(desk, held, [(node, Fired(name))])


def close_asked(desk: Desk, step: StepState) -> None:
    """A question's step is over: tell the machine what came of it.

    Raises:
        NeedsData: The answer lies in a blob that is not loaded.
    """
    run = desk.run
    held: Held = run.machines[step.of]
    node, who, key, question, *_ = held.asks[step.path]
    value, problem = None, ""
    if step.status is StepStatus.COMPLETED:
        value = step_value(run, step, ())
        if not step.attempt and isinstance(value, dict) and ANSWER not in value:
            value = value.get("result", value)
        elif isinstance(value, dict):
            value = value.get(ANSWER)
    elif step.error is not None:
        problem = f"{step.error.get('type')}: {step.error.get('message')}"
    else:
        problem = f"the question was {step.status.value}"
    status = step.status.value
    desk.emit(ev.QuestionAnswered(held.path, step.path, status))
    wake(desk, held)
    if held.path in run.machines:
        answer(desk, held, node, Answered(who, key, unwritten(question), value, problem))


def answer(desk: Desk, held: Held, node: str, said: Answered) -> None:
    """Give a node the answer to what it asked, as the command that it takes for that."""
    turned = getattr(held.machine, "answered", None)
    try:
        told = said if turned is None else turned(said)
    except Exception as error:
        give_up(desk, held, raised(held.path, held.name, error))
        return
    if told is not None:
        drive(desk, held, [(node, Commanded(told))])


# --- what follows -------------------------------------------------------------------------------


def drive(desk: Desk, held: Held, stimuli: list[tuple[str, Stimulus]]) -> Any:
    """Let nodes decide, and deliver what they send to each other; return the reply to the first stimulus."""
    try:
        reply = _deliver(desk, held, deque(stimuli))
    except Runaway as problem:
        give_up(desk, held, failure(ErrorType.PERMANENT, f"limit_exceeded: {held.path}: {problem}", step=held.path))
        return None
    except Exception as problem:
        give_up(desk, held, raised(held.path, held.name, problem))
        return None
    if held.crew is None and desk.run.machines.get(held.path) is held:
        if held.outcome is not None:
            conclude(desk, held)
        elif held.timed is not bool(held.timers):
            desk.emit(ev.MachineTimed(held.path, not held.timed))
    return reply


def _deliver(desk: Desk, held: Held, queue: deque[tuple[str, Stimulus]]) -> Any:
    reply: Any = None
    first, left = True, MAX_DELIVERIES + len(queue)
    while queue:
        if not left:
            raise Runaway(f"its nodes sent each other {MAX_DELIVERIES} messages because of one input")
        left -= 1
        node, stimulus = queue.popleft()
        instance = held.nodes[node]
        made = instance.machine.decide(instance.state, stimulus, desk.now)
        if made.facts:
            _record(desk, held, node, made.facts)
        for note in made.notes:
            instance.machine.evolve(instance.state, note)
        for send in made.sends:
            if send.to in held.nodes:
                number = held.numbers[node] = held.numbers.get(node, 0) + 1
                queue.append((send.to, Received(Envelope(node, send.to, number, held.life, send.body, held.path))))
            elif held.crew is not None:
                mastering.order(desk, held, send.to, send.body)
        for timer in made.timers:
            _set(desk, held, node, timer)
        for key in made.withdraws:
            _withdraw(desk, held, node, key)
        for consult in made.consults:
            _ask(desk, held, node, consult)
        if first:
            reply, first = made.reply, False
    return reply


def _record(desk: Desk, held: Held, node: str, facts: Sequence[Any]) -> None:
    packed = desk.run.codec.pack([fact_written(fact) for fact in facts])
    if len(packed) > MAX_FACTS:
        raise ValueError(f"what it wants recorded takes {len(packed)} bytes, and at most {MAX_FACTS} are")
    held.fresh = facts
    desk.emit(ev.MachineDecided(held.path, node, packed))


def _set(desk: Desk, held: Held, node: str, timer: SetTimer) -> None:
    key = (node, timer.name)
    if not timer.at:
        held.timers.pop(key, None)
        return
    held.timers[key] = timer.at
    if not 0 < held.pushed.get(key, 0) <= timer.at:
        _push(desk, held, key, timer.at)


def _push(desk: Desk, held: Held, key: tuple[str, str], due: int) -> None:
    held.pushed[key] = due
    desk.wake_at(due, f"{MACHINE_TIMER}{held.path}\n{key[0]}\n{key[1]}")


def _ask(desk: Desk, held: Held, node: str, consult: Consult) -> None:
    """Have a question answered, unless it is open already: by an agent's action, or by a person."""
    run = desk.run
    ask = f"{held.path}!{node}/{consult.key}"
    if ask in held.asks:
        return
    if len(held.asks) >= MAX_QUESTIONS:
        raise Runaway(f"it has {MAX_QUESTIONS} questions open")
    form: Any = run.steps[held.path].node.form
    asks = getattr(held.machine, "asks", None)
    action, inputs = (ON_QUESTION, {"question": written(consult.question)}) if asks is None else asks(consult)
    agent, own = form.agents.get(consult.who, ("", ""))
    action = own or action
    is_person = consult.who.startswith(_PEOPLE)
    if not is_person and (not agent or run.link is None or agent not in run.link.agents):
        # Nobody who could be asked: it answers by a command, or its silence is its answer.
        return
    question, packed = written(consult.question), run.codec.pack(inputs)
    if is_person:
        agent = action = ""
    desk.emit(ev.QuestionAsked(held.path, ask, node, consult.who, consult.key, question, agent, action, packed))
    if is_person:
        prompt = f"{consult.who} is asked by {held.path}: {consult.question}"
        desk.emit(ev.ManualTaskRequested(ask, consult.key, prompt[:2_000], [["answer", "any", True]], "question"))


def _withdraw(desk: Desk, held: Held, node: str, key: str) -> None:
    """Nobody needs the answer to a question any more: whoever is at it may stop."""
    ask = f"{held.path}!{node}/{key}"
    if ask not in held.asks:
        return
    fence = desk.run.open.get(ask)
    if fence is not None:
        desk.stops.closed.append((desk.run.steps[ask].agent, ask, fence))
    desk.emit(ev.StepCancelled(ask, fence or 0, "its answer is not needed any more"))


def give_up(desk: Desk, held: Held, error: WorkflowError) -> None:
    """A machine cannot go on: its step has failed, and what the step says of that follows."""
    if desk.run.machines.get(held.path) is not held:
        return
    cancel_inside(desk, held.path, "its machine gave up")
    if held.crew is not None:
        desk.emit(ev.StepGaveUp(held.path, error.to_plain(), "machine"))
    else:
        attempt_failed(desk, desk.run.steps[held.path], error, 0.0)


def raised(path: str, name: str, error: Exception) -> WorkflowError:
    message = f"machine {name!r} of {path} raised {type(error).__name__}: {error}"
    return failure(ErrorType.PERMANENT, message[:2_000], step=path, recoverable=False)


def conclude(desk: Desk, held: Held) -> None:
    """The machine has come to its end: so has its step, with that outcome or, where it names an ``error``, without."""
    assert held.outcome is not None
    (outcome,) = held.outcome
    step = desk.run.steps[held.path]
    cancel_inside(desk, held.path, "its machine has come to its end")
    if isinstance(outcome, dict) and isinstance(said := outcome.get("error"), str) and said:
        give_up(desk, held, failure(ErrorType.PERMANENT, f"{held.path}: {said}", step=held.path, recoverable=False))
        return
    values = outcome if isinstance(outcome, dict) else {"result": outcome}
    try:
        exposed, blobs = exposed_of(desk, step, written(values), [])
    except Exception as problem:
        error = failure(
            ErrorType.VALIDATION, f"the outcome of {held.path}: {problem}", step=held.path, recoverable=False
        )
        give_up(desk, held, error)
        return
    desk.emit(ev.ResultJoined(held.path, exposed, blobs))

"""What an attempt says to another agent: taken down, delivered to that agent's handler, answered.

Between a process and its partition a message travels as an outcome of ``PATH>NUMBER`` under the fence of the attempt that
speaks, and what it is told as an invocation of ``PATH<NUMBER``. The process says it again until it is told; what comes
twice is known by its id.
"""

from typing import Any, Final

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.invocation import Gather, Invocation, Outcome, Piece
from kos_runtime.core.nearest import nearest
from kos_runtime.core.record import BlobRef
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.dispatching import dispatch, names_of
from kos_runtime.core.workflow.mail import BESIDE, OPEN, REPLY, WAITING, WITHDRAWN, Mail, Message, of
from kos_runtime.core.workflow.state import StepState
from kos_runtime.core.workflow.withdrawing import give_up

#: A message is at most so many bytes: it is part of a record. What is larger is put into a result or a file and named.
MAX_BODY: Final = 65_536
#: Characters of a message's key and of a conversation's name: both are part of what is recorded with each.
MAX_NAME: Final = 256
#: One attempt sends at most so many messages, one run so many and so many bytes of them.
MAX_OF_ATTEMPT: Final = 1_000
MAX_OF_RUN: Final = 10_000
MAX_BYTES_OF_RUN: Final = 64 * 1_048_576
#: So many messages to one agent wait for it or are being handled.
MAX_MAILBOX: Final = 1_000
#: A message may have been caused by one that was caused by one …, so often: two agents that answer each other for ever end.
MAX_DEPTH: Final = 32
#: A handler is shown so much of its conversation, the newest of it.
MAX_HISTORY: Final = 262_144


def is_about_mail(path: str) -> bool:
    """Say whether an outcome is no outcome of a step but what its attempt says, or has been told."""
    return ">" in path or "<" in path


def said(desk: Desk, result: Outcome) -> None:
    """Take down what an open attempt says; tell it what became of that."""
    run = desk.run
    path, _, place = result.path.rpartition(">")
    step = run.steps.get(path)
    if step is None or run.open.get(path) != result.fence:
        # It was superseded: nobody listens to it, or it has been told something.
        return
    to, action, body, key, conversation, ask, *rest = run.codec.unpack(result.exposed)
    mail: Mail | None = run.mail
    where = f"{path}/!{key}" if key else f"{path}/{step.attempt}/{place}"
    found = None if mail is None else _known(desk, mail, step, where, (to, action, body, ask), keyed=bool(key))
    known = found if isinstance(found, Message) else None
    if isinstance(found, str):
        where = found
    if known is None:
        cause = mail.handled_by(path).id if mail is not None and step.beside == BESIDE else ""
        if not conversation:
            conversation = path if not cause else of(run).messages[of(run).ids[cause]].conversation
        refusal = _refusal(desk, mail, to, action, body, cause, int(place))
        if refusal is not None:
            _tell(desk, path, result.fence, place, {"refused": list(refusal)})
            return
        number = 1 if mail is None else len(mail.messages) + 1
        sender = names_of(step)[0]
        desk.emit(
            ev.MessageSent(
                number,
                f"{run.id}/{where}",
                path,
                step.attempt,
                result.fence,
                sender,
                to,
                action,
                conversation,
                cause,
                key,
                ask,
                body,
            )
        )
        known = of(run).messages[number]
    if not ask:
        _tell(desk, path, result.fence, place, {"sent": known.id})
        return
    known.asker = (path, result.fence, place)
    _answer(desk, known)
    if known.asker is not None and rest == [True]:
        desk.pools.asks(step.agent, (run.id, path, result.fence), place)


def _known(
    desk: Desk, mail: Mail, step: StepState, where: str, content: tuple[Any, ...], *, keyed: bool
) -> Message | str | None:
    """Return the message if it was taken down before; a place of its own when another dispatch of the attempt said
    something else there, which is given up.
    """
    number = mail.places.get(where)
    if number is None:
        return None
    message = mail.messages[number]
    if keyed or (message.to, message.action, message.body, message.ask) == content:
        return message
    own = f"{where}~{step.fence}"
    if own in mail.places:
        return mail.messages[mail.places[own]]
    give_up(desk, message, f"attempt {step.attempt} of {step.path} was given to another process, which says otherwise")
    return own


def _refusal(
    desk: Desk, mail: Mail | None, to: str, action: str, body: bytes, cause: str, place: int
) -> tuple[str, str, str] | None:
    """Return why a message is not taken (code, kind of failure, words), None when it is."""
    run = desk.run
    assert run.link is not None
    if run.cancelling is not None or run.undoing is not None:
        return "ending", ErrorType.TRANSIENT, "the run is being called off; no more messages are taken"
    agent = run.link.agents.get(to)
    if agent is None:
        names = tuple(run.link.agents)
        near = nearest(to, names)
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(names))}"
        return "nobody", ErrorType.PERMANENT, f"no agent {to!r:.80} in this run; {hint}"
    if action not in agent.actions:
        near = nearest(action, tuple(agent.actions))
        hint = f"did you mean {near!r}?" if near else f"it has {', '.join(sorted(agent.actions)) or 'none'}"
        return "no_handler", ErrorType.PERMANENT, f"{to} has no action {action!r:.80} to handle a message; {hint}"
    if len(body) > MAX_BODY:
        return "oversize", ErrorType.PERMANENT, f"a message of {len(body)} bytes, at most {MAX_BODY} are taken"
    if place > MAX_OF_ATTEMPT:
        return "limit_exceeded", ErrorType.PERMANENT, f"an attempt sends at most {MAX_OF_ATTEMPT} messages"
    if mail is None:
        return None
    if len(mail.messages) >= MAX_OF_RUN:
        return "limit_exceeded", ErrorType.PERMANENT, f"a run sends at most {MAX_OF_RUN} messages"
    if mail.bytes + len(body) > MAX_BYTES_OF_RUN:
        return "limit_exceeded", ErrorType.PERMANENT, f"the messages of a run hold at most {MAX_BYTES_OF_RUN} bytes"
    if mail.boxes.get(to, 0) >= MAX_MAILBOX:
        return (
            "mailbox_full",
            ErrorType.RESOURCE,
            f"the mailbox of {to} is full: {MAX_MAILBOX} messages wait for it or are being handled; send again later",
        )
    if cause and len(mail.causes(mail.messages[mail.ids[cause]])) + 1 >= MAX_DEPTH:
        return (
            "too_deep",
            ErrorType.PERMANENT,
            f"a chain of {MAX_DEPTH} messages, each sent while the one before was handled: do these agents answer each other for ever?",
        )
    return None


# --- handling -----------------------------------------------------------------------------------


def handle(desk: Desk, step: StepState) -> None:
    """Give a message to a process of its recipient, if that has hands free."""
    mail = of(desk.run)
    message = mail.handled_by(step.path)
    count = len(desk.dispatches)
    dispatch(desk, step)
    if len(desk.dispatches) > count:
        process, invocation = desk.dispatches[-1]
        packed = desk.run.codec.pack([_envelope(message), _history(mail, message)])
        desk.dispatches[-1] = (process, invocation._replace(mail=packed))


def close_handler(desk: Desk, step: StepState) -> None:
    """A handler is over: the message is processed, and whoever asked is answered."""
    message = of(desk.run).handled_by(step.path)
    desk.emit(ev.MessageHandled(message.number, step.path, step.status.value))
    if message.ask:
        _answer(desk, message)


def _envelope(message: Message) -> list[Any]:
    return [
        message.id, message.number, message.sender, message.to, message.path, message.attempt, message.conversation,
        message.cause, message.superseded,
    ]  # fmt: skip


def _history(mail: Mail, message: Message) -> list[Any]:
    """Return what was said before in a conversation, the newest first: envelope, body, answer."""
    found: list[Any] = []
    size = 0
    for number in reversed(mail.conversations[message.conversation]):
        other = mail.messages[number]
        if number >= message.number or other.status == WITHDRAWN:
            continue
        size += len(other.body) + len(other.reply)
        if size > MAX_HISTORY:
            break
        found.append([_envelope(other), other.body, other.reply])
    return found


# --- telling ------------------------------------------------------------------------------------


def _answer(desk: Desk, message: Message) -> None:
    """Tell whoever waits for an answer what there is to tell, if there is."""
    if message.asker is None or message.status in {WAITING, OPEN}:
        return
    path, fence, place = message.asker
    message.asker = None
    match message.status:
        case "completed":
            values = desk.run.codec.unpack(message.reply)
            gathers = []
            for name, digest, size, *_ in message.blobs:
                values[name] = None
                gathers.append(Gather((name,), "one", [Piece(blob=BlobRef(digest, size))]))
            _tell(desk, path, fence, place, values, gathers)
        case "skipped":
            _tell(desk, path, fence, place, {REPLY: None})
        case "withdrawn":
            _tell(desk, path, fence, place, {"failed": f"message {message.id} was withdrawn"})
        case _:
            error = message.error or {}
            text = f"{message.to}.{message.action} failed: {error.get('message', '')}"
            # What cannot be mended there is not mended by asking again: else each of a chain of askers would, in turn.
            _tell(desk, path, fence, place, {"failed": text, "for_good": not error.get("recoverable", True)})


def _tell(
    desk: Desk, path: str, fence: int, place: str, values: dict[str, Any], gathers: list[Gather] | None = None
) -> None:
    run = desk.run
    step = run.steps.get(path)
    if step is None or run.open.get(path) != fence:
        return
    desk.pools.answered(step.agent, (run.id, path, fence), place)
    packed = run.codec.pack(values)
    told = Invocation(run.id, f"{path}<{place}", step.attempt, fence, desk.epoch, "", "", packed, 0, "", gathers or ())
    desk.dispatches.append((step.agent, told))

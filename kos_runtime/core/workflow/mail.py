"""The messages of one run, as its events tell of them, and how each event changes them.

A message waits in a lane (one conversation, one sender, one recipient) until those before it are over; then a step key
that stands beside all others, ``RECIPIENT@NUMBER``, handles it. A message that was caused by what is at the head of its
lane does not wait for that, which waits for it.
"""

from typing import Any, Final

from kos_runtime.core.errors import InvariantViolation
from kos_runtime.core.plan.model import Action, Step
from kos_runtime.core.plan.program import Node
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.state import AGAIN, CLOSE, ENTER, Run, StepState
from kos_runtime.core.workflow.status import StepStatus

#: What stands beside a step as the handler of a message.
BESIDE: Final = "message"
WAITING: Final = "waiting"
OPEN: Final = "open"
WITHDRAWN: Final = "withdrawn"
#: What a handler gives is recorded under this name.
REPLY: Final = "reply"

_FIELDS: Final = (
    "number", "id", "path", "attempt", "sender", "to", "action", "conversation", "cause", "key", "ask", "body", "status",
    "superseded", "lane", "reply", "blobs", "error",
)  # fmt: skip


class Message:
    """One message. ``status`` is waiting, open, withdrawn, or how its handler ended: completed, skipped, failed."""

    __slots__ = (*_FIELDS, "asker")

    def __init__(self, event: ev.MessageSent) -> None:
        self.number = event.number
        self.id = event.id
        self.path = event.path
        self.attempt = event.attempt
        self.sender = event.sender
        self.to = event.to
        self.action = event.action
        self.conversation = event.conversation
        self.cause = event.cause
        self.key = event.key
        self.ask = event.ask
        self.body = event.body
        self.status = WAITING
        #: The attempt that sent it was given up after it had been delivered.
        self.superseded = False
        self.lane = ""
        self.reply: bytes = b""
        self.blobs: list[list[Any]] = []
        self.error: dict[str, Any] | None = None
        #: (path, fence, number in the attempt) of who waits for the answer; not folded: whoever waits asks again.
        self.asker: tuple[str, int, str] | None = None

    @property
    def handler(self) -> str:
        """The key of the step that handles it."""
        return f"{self.to}@{self.number}"


class Mail:
    """All messages of a run. What is derived from ``messages`` is not stored."""

    __slots__ = ("boxes", "bytes", "conversations", "ids", "lanes", "messages", "nodes", "of_path", "places")

    def __init__(self) -> None:
        self.messages: dict[int, Message] = {}
        self.ids: dict[str, int] = {}
        #: The same without the run, under which a fork finds what was said before it.
        self.places: dict[str, int] = {}
        #: lane → numbers of messages that are not over, in order; the first is open.
        self.lanes: dict[str, list[int]] = {}
        #: recipient → how many messages to it are not over.
        self.boxes: dict[str, int] = {}
        #: sender's path → numbers.
        self.of_path: dict[str, list[int]] = {}
        self.conversations: dict[str, list[int]] = {}
        self.bytes = 0
        self.nodes: dict[tuple[str, str], Node] = {}

    @property
    def is_busy(self) -> bool:
        return bool(self.boxes)

    def add(self, message: Message) -> None:
        number = message.number
        self.messages[number] = message
        self.ids[message.id] = number
        self.places[message.id[message.id.index(f"/{message.path}/") + 1 :]] = number
        self.of_path.setdefault(message.path, []).append(number)
        self.conversations.setdefault(message.conversation, []).append(number)
        self.bytes += len(message.body)
        if message.status in {WAITING, OPEN}:
            self.boxes[message.to] = self.boxes.get(message.to, 0) + 1
            if message.lane:
                self.lanes.setdefault(message.lane, []).append(number)

    def handled_by(self, path: str) -> Message:
        """Return the message that a step key handles."""
        return self.messages[int(path.rpartition("@")[2])]

    def causes(self, message: Message) -> list[int]:
        """Return the message that caused this one, what caused that, and so on."""
        found: list[int] = []
        at = self.ids.get(message.cause, 0)
        while at:
            found.append(at)
            at = self.ids.get(self.messages[at].cause, 0)
        return found

    def node(self, run: Run, message: Message) -> Node:
        """Return what stands for the handler in place of a step of the plan."""
        key = (message.to, message.action)
        found = self.nodes.get(key)
        if found is None:
            assert run.program is not None
            form = Action(agent=message.to, action=message.action)
            plan = run.program.plan
            rules = [policy.rule for policy in plan.policies]
            policy = rules.index("default") if "default" in rules else len(rules) - 1
            step = Step(
                id=message.to,
                form=form,
                timeout_ms=plan.timeout_default_ms,
                policies=(policy,),
                outputs=((REPLY, "$result"),),
            )
            found = Node(step=step, id=step.id, form=form, dependents=(), outputs=[(REPLY, "$result")])
            self.nodes[key] = found
        return found


def of(run: Run) -> Mail:
    """Return a run's messages, of which there are some."""
    if run.mail is None:
        raise InvariantViolation(f"run {run.id} has no messages")
    mail: Mail = run.mail
    return mail


# --- folding ------------------------------------------------------------------------------------


def sent(run: Run, e: ev.MessageSent) -> None:
    if run.mail is None:
        run.mail = Mail()
    mail, message = run.mail, Message(e)
    lane = f"{e.conversation}\n{e.sender}\n{e.to}"
    ahead = mail.lanes.get(lane)
    if ahead and any(number in ahead for number in mail.causes(message)):
        ahead = None
    else:
        message.lane = lane
    mail.add(message)
    if not ahead:
        _open(run, mail, message)


def handled(run: Run, e: ev.MessageHandled) -> None:
    mail = of(run)
    message = mail.messages[e.number]
    step = run.steps.pop(message.handler)
    run.agenda.pop(message.handler, None)
    message.status = e.status
    message.reply, message.blobs, message.error = step.exposed, step.blobs, step.error
    _over(run, mail, message)


def withdrawn(run: Run, e: ev.MessageWithdrawn) -> None:
    mail = of(run)
    message = mail.messages[e.number]
    run.steps.pop(message.handler, None)
    run.agenda.pop(message.handler, None)
    message.status = WITHDRAWN
    _over(run, mail, message)


def superseded(run: Run, e: ev.MessageSuperseded) -> None:
    of(run).messages[e.number].superseded = True


def ended(run: Run, step: StepState) -> None:
    """A handler is over: what it came to is told to whoever asked."""
    run.agenda[step.path] = CLOSE
    run.todo.append(step.path)


def reopen(run: Run) -> None:
    """The run goes on: handlers that were called off with it are taken up again."""
    if run.mail is None:
        return
    for message in run.mail.messages.values():
        if message.status != OPEN:
            continue
        step = run.steps[message.handler]
        if step.status is StepStatus.CANCELLED:
            step.status = StepStatus.FAILING if step.attempt else StepStatus.READY
            _put(run, step.path, AGAIN if step.attempt else ENTER)
        elif step.path not in run.agenda:
            _put(run, step.path, CLOSE)


def _open(run: Run, mail: Mail, message: Message) -> None:
    message.status = OPEN
    step = StepState(message.handler, message.to, run.scopes[""], mail.node(run, message))
    step.beside, step.of = BESIDE, message.path
    step.inputs, step.replaced = message.body, True
    run.steps[step.path] = step
    _put(run, step.path, ENTER)


def _over(run: Run, mail: Mail, message: Message) -> None:
    left = mail.boxes[message.to] - 1
    if left:
        mail.boxes[message.to] = left
    else:
        del mail.boxes[message.to]
    lane = mail.lanes.get(message.lane)
    if lane is not None:
        was_first = lane[0] == message.number
        lane.remove(message.number)
        if not lane:
            del mail.lanes[message.lane]
        elif was_first:
            _open(run, mail, mail.messages[lane[0]])
    if not mail.boxes and "" in run.agenda:
        # The run's own end waited for this.
        run.todo.append("")


def _put(run: Run, path: str, why: str) -> None:
    run.agenda[path] = why
    run.todo.append(path)


# --- snapshots ----------------------------------------------------------------------------------


def to_plain(run: Run) -> list[list[Any]]:
    """Return the messages of a run as plain rows."""
    if run.mail is None:
        return []
    return [[getattr(message, name) for name in _FIELDS] for message in run.mail.messages.values()]


def from_plain(run: Run, rows: list[list[Any]]) -> None:
    """Give a run the messages of a snapshot, before it is given its steps."""
    if not rows:
        return
    mail = run.mail = Mail()
    for row in rows:
        message = Message.__new__(Message)
        for name, value in zip(_FIELDS, row, strict=True):
            setattr(message, name, value)
        message.asker = None
        mail.add(message)

"""What becomes of messages whose sender's attempt was given up."""

from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.mail import OPEN, WAITING, Message, of
from kos_runtime.core.workflow.state import StepState


def give_up_messages(desk: Desk, step: StepState, reason: str) -> None:
    """Withdraw what an attempt said and nobody has got yet; mark what was delivered. What has a key of its own stays."""
    mail = of(desk.run)
    for number in list(mail.of_path.get(step.path, ())):
        message = mail.messages[number]
        if message.attempt == step.attempt and not message.key:
            give_up(desk, message, reason)


def give_up(desk: Desk, message: Message, reason: str) -> None:
    step = desk.run.steps.get(message.handler)
    if message.status == WAITING or (message.status == OPEN and step is not None and step.attempt == 0):
        desk.emit(ev.MessageWithdrawn(message.number, reason[:500]))
    elif message.status in {OPEN, "completed", "skipped", "failed"} and not message.superseded:
        desk.emit(ev.MessageSuperseded(message.number, reason[:500]))

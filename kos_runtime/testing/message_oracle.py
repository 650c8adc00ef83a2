"""What must hold of the messages of every history."""

from collections import Counter
from typing import Any, Final

from kos_runtime.core.workflow import events as ev

#: So many messages to one agent wait for it or are being handled (``core.workflow.messaging.MAX_MAILBOX``, said anew).
MAILBOX: Final = 1_000


def check_messages(run: str, events: list[Any]) -> list[str]:
    """Return every violation: a message is recorded before it is delivered, handled at most once, in its order.

    What an attempt said that was given up is delivered no more, unless it has a key; a mailbox holds no more than it may.
    """
    if not any(type(event) is ev.MessageSent for event in events):
        return []
    found: list[str] = []
    delivered: set[int] = set()
    #: Number → the attempt whose end should have withdrawn it.
    given_up: dict[int, str] = {}
    by_attempt: dict[tuple[str, int], list[int]] = {}
    boxes: Counter[str] = Counter()
    sent: dict[int, ev.MessageSent] = {}
    ids: set[str] = set()
    over: dict[int, str] = {}
    for event in events:
        match event:
            case ev.MessageSent(number=number, id=id):
                if id in ids:
                    found.append(f"I19: run {run} recorded message {id} twice")
                if number != len(sent) + 1:
                    found.append(f"I19: run {run} numbered message {id} {number} after {len(sent)}")
                ids.add(id)
                sent[number] = event
                if not event.key:
                    by_attempt.setdefault((event.path, event.attempt), []).append(number)
                boxes[event.to] += 1
                if boxes[event.to] > MAILBOX:
                    found.append(f"I19: run {run} has {boxes[event.to]} messages in the mailbox of {event.to}")
            case ev.StepScheduled(path=path) if "@" in path:
                number = int(path.rpartition("@")[2])
                if number not in sent:
                    found.append(f"I19: run {run} delivered message {number} before it was sent")
                elif number in over:
                    found.append(f"I19: run {run} delivered message {number}, which was {over[number]}")
                else:
                    found += _early(run, sent, over, number)
                    if number not in delivered and number in given_up:
                        found.append(
                            f"I19: run {run} delivered message {number} of {given_up[number]}, which had failed"
                        )
                    delivered.add(number)
            case ev.StepFailed(path=path, attempt=attempt):
                for number in by_attempt.get((path, attempt), ()):
                    given_up.setdefault(number, f"attempt {attempt} of {path}")
            case ev.MessageHandled(number=number, status=status):
                if number in over:
                    found.append(f"I19: run {run} handled message {number}, which was {over[number]}")
                over[number] = status
                boxes[sent[number].to] -= 1
            case ev.MessageWithdrawn(number=number):
                if number in over:
                    found.append(f"I19: run {run} withdrew message {number}, which was {over[number]}")
                if number in delivered:
                    found.append(f"I19: run {run} withdrew message {number}, which was delivered")
                over[number] = "withdrawn"
                boxes[sent[number].to] -= 1
            case ev.RestoreBegun():
                for known in (sent, ids, over, delivered, given_up, by_attempt, boxes):
                    known.clear()
            case ev.RunCompleted() if len(over) < len(sent):
                found.append(f"I19: run {run} completed while {len(sent) - len(over)} messages were left")
            case _:
                pass
    return found


def _early(run: str, sent: dict[int, ev.MessageSent], over: dict[int, str], number: int) -> list[str]:
    """Say whether a message overtook another of its conversation, sender and recipient that did not cause it."""
    this = sent[number]
    lane = (this.conversation, this.sender, this.to)
    ahead = [n for n, o in sent.items() if n < number and n not in over and (o.conversation, o.sender, o.to) == lane]
    if not ahead or any(sent[n].id in _causes(sent, this) for n in ahead):
        return []
    return [f"I19: run {run} delivered message {number} before {ahead[0]}"]


def _causes(sent: dict[int, ev.MessageSent], message: ev.MessageSent) -> set[str]:
    by_id = {other.id: other for other in sent.values()}
    found: set[str] = set()
    at = message.cause
    while at:
        found.add(at)
        at = by_id[at].cause
    return found

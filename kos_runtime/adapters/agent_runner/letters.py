"""The message that an invocation handles, and its conversation, as an agent sees them."""

from typing import Any

from kos_runtime.adapters.codec import MsgpackCodec
from kos_runtime.ports.agent import Envelope, Turn

_CODEC = MsgpackCodec()


def read_mail(packed: bytes) -> tuple[Envelope | None, list[Turn]]:
    """Return the envelope of the message that is handled, and what was said before, oldest first."""
    if not packed:
        return None, []
    envelope, before = _CODEC.unpack_trusted(packed)
    return _envelope(envelope), [_turn(*row) for row in reversed(before)]


def _envelope(row: list[Any]) -> Envelope:
    id, number, sender, to, path, attempt, conversation, cause, superseded = row
    return Envelope(
        id=id,
        number=number,
        sender=sender,
        recipient=to,
        step=path,
        attempt=attempt,
        correlation_id=conversation,
        causation_id=cause,
        superseded=superseded,
    )


def _turn(envelope: list[Any], body: bytes, reply: bytes) -> Turn:
    answered = _CODEC.unpack_trusted(reply).get("reply") if reply else None
    return Turn(envelope=_envelope(envelope), body=_CODEC.unpack_trusted(body), reply=answered)

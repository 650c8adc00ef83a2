"""What a run's agents said to each other, as plain data."""

from collections.abc import Iterable
from typing import Any

from kos_runtime.client.reading import EventLine, Reading
from kos_runtime.core.projection.messages import MessageView, messages


def messages_of(reading: Reading, run: str) -> list[dict[str, Any]]:
    """Return a run's messages, in the order in which they were sent."""
    return [as_data(reading, view) for view in views_of(reading.lines(run))]


def views_of(lines: Iterable[EventLine]) -> list[MessageView]:
    return messages((line.event, line.time, line.seq) for line in lines)


def as_data(reading: Reading, view: MessageView) -> dict[str, Any]:
    """Return one message as data; what it says, and the answer, unpacked."""
    answer = None
    if view.reply or view.blobs:
        names: dict[str, Any] = reading.codec.unpack(view.reply) if view.reply else {}
        for name, digest, *_ in view.blobs:
            names[name] = reading.codec.unpack(reading.blobs.get(digest))
        answer = names.get("reply", names)
    return {
        "number": view.number,
        "id": view.id,
        "seq": view.seq,
        "sender": view.sender,
        "recipient": view.recipient,
        "action": view.action,
        "step": view.step,
        "attempt": view.attempt,
        "correlation_id": view.correlation_id,
        "causation_id": view.causation_id,
        "key": view.key,
        "asks": view.asks,
        "body": reading.codec.unpack(view.body),
        "status": view.status,
        "superseded": view.superseded,
        "reason": view.reason,
        "reply": answer,
        "error": view.error,
        "process": view.process,
        "deliveries": view.deliveries,
        "sent_at": view.sent_at,
        "delivered_at": view.delivered_at,
        "ended_at": view.ended_at,
    }

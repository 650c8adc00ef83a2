"""A message with its address and its causes.

Messages are plain data under a stable name and version, as events are, since they stand in the log: in the record of
whoever sent them, and in that of whoever did something because of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, dataclass_transform

from kos_runtime.core.event import event

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True)
def message(name: str, version: int = 1) -> Callable[[type[_T]], type[_T]]:
    """Make a class the body of a message, stored as ``message.<name>``, in ``version`` (from 1)."""
    return event(f"message.{name}", version)


@dataclass(slots=True)
class Envelope:
    """One message under way. A network may lose it, double it, delay it and change its order; it changes nothing in it."""

    sender: str
    recipient: str
    #: What the sender counts its envelopes by, from 1 in each of its lives.
    number: int
    #: The life of the sender: 1, and one more each time that it came back from its records.
    incarnation: int
    body: Any
    #: The conversation: the stream of the coordination that this is part of.
    correlation_id: str
    #: What caused it: ``sender/incarnation/number`` of the envelope that was answered, else empty.
    causation_id: str = ""

    @property
    def id(self) -> str:
        return f"{self.sender}/{self.incarnation}/{self.number}"

"""What travels between a partition and an agent's process."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kos_runtime.core.failure import WorkflowError
from kos_runtime.core.record import BlobRef


@dataclass(slots=True)
class Piece:
    """One part of a value that the agent puts together: packed bytes, or a blob, then a path into it; or a secret's name."""

    packed: bytes | None = None
    blob: BlobRef | None = None
    path: tuple[str | int, ...] = ()
    secret: str = ""


@dataclass(slots=True)
class Gather:
    """A value that stands in the inputs at ``place`` and is assembled where the action runs.

    ``mode`` is ``one`` (the only piece is the value), ``list`` (the array of the pieces' values) or ``concat`` (the
    pieces are arrays, joined in order) or ``text`` (at the place stands an array of texts whose nulls are filled by the
    pieces, in order; the value is all of it as one text). ``cut`` is a slice of the result, for a part of a spread step.
    """

    place: tuple[str | int, ...]
    mode: str
    pieces: list[Piece]
    cut: tuple[int, int] | None = None


class Invocation(NamedTuple):
    """One attempt of one step, as it is handed to an agent's process. Its fields stand in the order of the wire.

    ``outputs`` maps exposed names to dotted keys of the result (``$result`` is the whole of it); None exposes the
    whole result as ``result`` and each of its top-level keys. ``inputs`` is a packed object; ``gathers`` fill places
    in it. ``timeout_ms`` runs from the agent's start of the body. ``fence`` grows by one for every dispatch to
    another process; ``epoch`` is the sender's.
    """

    run: str
    path: str
    attempt: int
    fence: int
    epoch: int
    agent: str
    action: str
    inputs: bytes
    timeout_ms: int
    key: str
    gathers: Sequence[Gather] = ()
    outputs: list[tuple[str, str]] | None = None
    #: Keep only those inputs that the action declares (a step without inputs of its own).
    lenient: bool = False
    #: Report the whole result only, without applying ``outputs``: a part of a spread step.
    part: bool = False
    #: When the inputs are above the inline limit they travel as a blob and ``inputs`` is empty.
    inputs_blob: BlobRef | None = None
    #: The body is given up when it gave no sign of life for so long; 0 for any time.
    heartbeat_ms: int = 0
    #: The message that it handles and what was said before in its conversation, packed; empty for a step.
    mail: bytes = b""
    #: What a peer is told of its vote, packed: this attempt is its place in a process, and the action is its agent's ballot.
    peer: bytes = b""


@dataclass(slots=True)
class Outcome:
    """How an attempt ended.

    ``exposed`` is the packed object of exposed names; a name whose value is above the inline limit is in ``blobs``
    instead, with its address, the kind of its value (``array``, ``object``, ``string``, …) and its length.
    """

    run: str
    path: str
    fence: int
    error: WorkflowError | None = None
    exposed: bytes = b""
    blobs: list[tuple[str, BlobRef, str, int]] = field(default_factory=list)
    #: Milliseconds that the body ran.
    duration_ms: float = 0.0
    #: What the action said beside its result, such as the rule that answered an escalation.
    notes: dict[str, object] = field(default_factory=dict)

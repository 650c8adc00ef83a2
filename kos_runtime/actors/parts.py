"""What the actors are made of, given by composition as importable references.

An actor may be made anywhere, so it is told *where* its parts are built (``"module:function"``) and with which plain
settings. It builds them itself when it is told to begin.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.core.record import BlobRef
from kos_runtime.engine.host import Host
from kos_runtime.ports.codec import Codec

#: (run, path, fence) of one dispatch.
Key = tuple[str, str, int]
#: What an attempt says of how far it is: a message, and a fraction if it gave one.
Said = tuple[Key, str, float | None]
#: Called with (run, path, fence, message, fraction).
Progress = Callable[[str, str, int, str, float | None], None]


class BatchResult(Protocol):
    """What a runner says of a batch: what has ended, and what still runs."""

    @property
    def outcomes(self) -> list[Outcome]: ...
    @property
    def running(self) -> list[Key]: ...


class Runner(Protocol):
    """What executes invocations inside an agent's process. Its methods may be called from any thread."""

    def submit(self, invocations: Sequence[Invocation]) -> object: ...
    def run_batch(self, invocations: Sequence[Invocation], wait_ms: float = 5.0) -> BatchResult: ...
    def cancel(self, run: str, path: str, fence: int) -> bool: ...
    def acknowledge(self, keys: Sequence[Key]) -> None: ...
    def inventory(self, epoch: int) -> tuple[list[Key], list[Outcome]]: ...
    def running(self) -> list[Key]: ...
    def overdue(self) -> int: ...
    def wedged(self, grace_s: float) -> list[Key]: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineParts:
    """A claimed partition and what stands around it. One thread uses it, the one that built it."""

    host: Host
    codec: Codec
    #: Log time in milliseconds.
    now: Callable[[], int]
    pack_work: Callable[[list[Invocation], list[Key]], bytes]
    unpack_outcomes: Callable[[bytes], tuple[list[Outcome], list[Key]]]
    #: What may be done between batches.
    idle: Callable[[], None]
    close: Callable[[], None]
    #: Takes what attempts say of how far they are.
    progress: Callable[[Sequence[Said]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerParts:
    """An agent ready to work. ``hands`` is how many actions it runs at once."""

    runner: Runner
    hands: int
    unpack_work: Callable[[bytes], tuple[list[Invocation], list[Key]]]
    pack_outcomes: Callable[[list[Outcome], list[Key]], bytes]
    codec: Codec
    put_blob: Callable[[bytes], BlobRef]


#: Opens the store, claims it and recovers: ``open_engine(settings) -> EngineParts``.
OpenEngine = Callable[[dict[str, Any]], EngineParts]
#: Makes an agent of a class: ``make_runner(settings, target, agent_settings, on_late, on_progress) -> RunnerParts``.
MakeRunner = Callable[[dict[str, Any], str, dict[str, Any], Callable[[list[Outcome]], None], Progress], RunnerParts]


def resolve(reference: str) -> Any:
    """Return what ``module:name`` names.

    Raises:
        ValueError: There is no such thing; the message says which.
    """
    module, _, name = reference.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{reference!r} cannot be imported: {error}") from error

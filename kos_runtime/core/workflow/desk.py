"""Where a run is decided about: its state, the time, and what deciding leaves to be done."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, Protocol

from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.core.plan.model import Limit
from kos_runtime.core.record import PAYLOAD_LIMIT, BlobRef
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.authority import with_delegation
from kos_runtime.core.workflow.evolve import HANDLERS, evolve
from kos_runtime.core.workflow.state import Run


class Pools(Protocol):
    """Who has hands free. The partition keeps it; deciding only asks."""

    def has_room(
        self, pool: str, run: str, path: str, *, alone: bool = False, avoid: Sequence[str] = (), priority: int = 0
    ) -> bool:
        """Say whether something of this pool can start now; if not, remember who asked.

        ``alone``: it needs a process that holds nothing else. ``avoid``: none of these, as long as there is another.
        """
        ...

    def admits(self, run: str, path: str, limit: Limit, running: int, priority: int) -> bool:
        """Say whether more of a run with a limit may start beside what runs of it; if not, remember who asked."""
        ...

    def held_back(self, name: str, running: int = -1) -> tuple[str, int] | None:
        """Say what the limit of a pool is, or of a run of which so much runs, that keeps more from starting, and until when.

        The instant is 0 where others must end first. None where no limit does.
        """
        ...

    def members(self, pool: str) -> list[tuple[str, int]]:
        """Return the processes of a pool that are there, each with how much it may hold."""
        ...

    def room_at(self, pool: str, process: str, run: str, path: str, *, alone: bool = False, priority: int = 0) -> bool:
        """Say whether something can start in one process now; if not, remember who asked."""
        ...

    def wants_more(self, pool: str, run: str, path: str) -> bool:
        """Say that whoever asks could use a further process, if the pool may have one."""
        ...

    def silent_ms(self, process: str) -> int:
        """Return how long ago a process was heard of; 0 while its host does not say."""
        ...

    def has_others(self, pool: str, avoid: Sequence[str]) -> bool:
        """Say whether a pool has, or may get, a process other than these."""
        ...

    def seat(
        self, pool: str, run: str, path: str, item: str, fence: int, apart: Container[str], priority: int = 0
    ) -> str:
        """Give a peer, which takes no hands, a place in a process apart from these, and return that.

        Where none has a place, remember who asked, and return nothing.
        """
        ...

    def unseat(self, process: str, run: str, path: str, fence: int) -> None:
        """Take back the place of a peer that does not begin."""
        ...

    def take(
        self, run: str, path: str, fence: int, timeout_ms: int, *, alone: bool = False, heartbeat_ms: int = 0
    ) -> str:
        """Give an attempt into the free hands that were just found, and return the process whose they are."""
        ...

    def asks(self, process: str, attempt: tuple[str, str, int], place: str) -> None:
        """An attempt that is a coroutine waits for an answer, and needs no hand until it has it."""
        ...

    def answered(self, process: str, attempt: tuple[str, str, int], place: str) -> None:
        """It has it."""
        ...


#: (process, path, fence)
Attempt = tuple[str, str, int]

_NO_BLOBS: Final[Mapping[str, bytes]] = MappingProxyType({})


@dataclass(slots=True)
class Stops:
    """Attempts that are to stop: those whose fence is closed, those that may still answer, and those whose processes
    are to be ended.
    """

    closed: list[Attempt] = field(default_factory=list)
    asked: list[Attempt] = field(default_factory=list)
    killed: list[Attempt] = field(default_factory=list)


class Desk:
    """Deciding folds as it goes: each decision sees those before it. ``now`` is log time in milliseconds.

    ``events`` is what was decided, in order, and becomes one record. ``dispatches`` are (process, invocation) that go
    out once it is stored. ``causes`` are the first inputs that led here. ``blobs`` must be in the blob store before the
    record is. ``starved`` are paths of which an evaluation waits for data, each with what it asks for: digest → size.
    ``owed`` are the children to be started and stopped. ``wakes`` are timers of machines, which are not stored.

    There is one for each run in each batch, so what most leave empty is made when something comes into it.
    """

    __slots__ = (
        "blobs",
        "causes",
        "dispatches",
        "epoch",
        "events",
        "now",
        "owed",
        "pools",
        "run",
        "starved",
        "stopping",
        "wakes",
    )

    def __init__(self, run: Run, now: int, epoch: int, pools: Pools) -> None:
        self.run = run
        self.now = now
        self.epoch = epoch
        self.pools = pools
        self.causes: list[str] = []
        self.events: list[Any] = []
        self.dispatches: list[tuple[str, Invocation]] = []
        self.blobs = _NO_BLOBS
        self.starved: list[tuple[str, dict[str, int]]] | None = None
        self.stopping: Stops | None = None
        self.owed: list[Any] | None = None
        self.wakes: list[tuple[int, str]] | None = None

    @property
    def stops(self) -> Stops:
        if self.stopping is None:
            self.stopping = Stops()
        return self.stopping

    def owe(self, what: Any) -> None:
        """A child is to be started or stopped."""
        if self.owed is None:
            self.owed = []
        self.owed.append(what)

    def wake_at(self, due: int, timer: str) -> None:
        """A timer that is not stored may be due then."""
        if self.wakes is None:
            self.wakes = []
        self.wakes.append((due, timer))

    def starve(self, path: str, wanted: dict[str, int]) -> None:
        """What was asked for at a path is not loaded: leave it undecided."""
        if self.starved is None:
            self.starved = []
        self.starved.append((path, wanted))

    def emit(self, event: Any) -> None:
        handler = HANDLERS.get(type(event))
        if handler is None:
            evolve(self.run, event)  # which says what is wrong
        else:
            handler(self.run, event)
        self.events.append(event)

    def complete(self, outcome: Outcome) -> None:
        """Record that an attempt succeeded."""
        blobs: list[list[Any]] = []
        exposed = outcome.exposed
        if outcome.blobs:
            blobs = [[name, ref.digest, ref.size, kind, length] for name, ref, kind, length in outcome.blobs]
        if self.run.authority is not None:
            exposed = with_delegation(self.run, outcome.path, exposed)
        self.emit(ev.StepCompleted(outcome.path, outcome.fence, exposed, blobs, outcome.duration_ms))

    def put_blob(self, data: bytes) -> BlobRef:
        """Have a value stored beside the record.

        Raises:
            ValueError: It is larger than any value may be.
        """
        if len(data) > PAYLOAD_LIMIT:
            raise ValueError(f"oversize: {len(data)} bytes, at most {PAYLOAD_LIMIT} are kept")
        digest = sha256(data).hexdigest()
        self.blobs = {**self.blobs, digest: data}
        return BlobRef(digest, len(data))

    def pack_large(self, value: Any, limit: int) -> tuple[bytes | None, BlobRef | None]:
        """Pack a value, into a blob when it is above the limit.

        Raises:
            ValueError: It is no plain data, or larger than any value may be.
        """
        packed = self.run.codec.pack(value)
        if len(packed) <= limit:
            return packed, None
        return None, self.put_blob(packed)


Handler = Callable[[Desk, str], None]

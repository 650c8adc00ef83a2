"""What goes into a partition and what comes out of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.core.plan.link import Link
from kos_runtime.core.plan.program import Program
from kos_runtime.core.record import Batch, RunRow, TimerRow
from kos_runtime.core.schedule.state import Schedule, evolve, from_plain
from kos_runtime.core.workflow.commands import Answer, Command
from kos_runtime.core.workflow.events import ChildEnded
from kos_runtime.core.workflow.spawning import StopChild

# --- in -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Request:
    """A command. ``token`` is the host's name for whoever waits for the answer."""

    token: int
    command_id: str
    command: Command


@dataclass(slots=True)
class Repeated:
    """A command that was carried out before, and what it was answered then."""

    token: int
    answer: Answer


@dataclass(slots=True)
class Outcomes:
    """Answers from one process, and which of its dispatches have begun and still run."""

    process: str
    outcomes: list[Outcome]
    running: list[tuple[str, str, int]] = field(default_factory=list)
    #: How many bodies of the process run on after their timeout, with hands that nobody else has; below 0 if not said.
    stuck: int = -1


@dataclass(slots=True)
class ProcessUp:
    """A process is there. ``hands`` is how many actions it runs at once."""

    process: str
    pool: str
    hands: int
    #: Dispatches that it still holds from before (after a takeover), running or unacknowledged.
    holds: list[tuple[str, str, int]] = field(default_factory=list)


@dataclass(slots=True)
class ProcessDown:
    """``ended``: we ended it ourselves because of one attempt, so whatever else it held is not to blame.

    ``unsent``: (run, path, fence) that it never got, so they neither ended it nor did anything.
    """

    process: str
    cause: str
    ended: bool = False
    unsent: Sequence[tuple[str, str, int]] = ()


@dataclass(slots=True)
class PoolFailed:
    """No process of a pool can be had: what is missing, in words."""

    pool: str
    reason: str


@dataclass(slots=True)
class Reconciled:
    """After a takeover: every process that is still there has reported. Whatever nobody holds is lost."""


@dataclass(slots=True)
class Loaded:
    """A run's history: its row (None: no such run), and its events by position behind a snapshot."""

    run: str
    row: RunRow | None
    salt: bytes = b""
    program: Program | None = None
    link: Link | None = None
    snapshot: dict[str, Any] | None = None
    snapshot_position: int = 0
    #: By digest, those to which the plan was changed within the history.
    plans: dict[str, Program] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)
    #: (position, events) in order.
    history: list[tuple[int, list[Any]]] = field(default_factory=list)
    #: Of its last record.
    last_hash: bytes = b""
    last_offset: int = 0
    #: Why it cannot be folded, empty when it can; ``lost`` when what it follows, its plan or its link, is gone.
    damage: str = ""
    lost: bool = False
    #: Of each record, where the whole history was wanted.
    hashes: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class HistoryLoaded:
    """Everything that a run has recorded; ``child`` is the row of the run that is to be made of it, if it is there."""

    number: int
    source: Loaded
    child: RunRow | None = None


@dataclass(slots=True)
class DataLoaded:
    """Contents of blobs that a run's evaluation asked for; None where there is no such blob."""

    run: str
    values: dict[str, Any]


@dataclass(slots=True)
class LibraryLoaded:
    """A compiled plan and a link, by digest; None where there is none."""

    plan: str
    link: str
    program: Program | None
    linked: Link | None


@dataclass(slots=True)
class TimersLoaded:
    timers: list[TimerRow]
    before: int
    #: It is what the store was asked for: whether there are more by then, and any at all of steps that wait.
    page: bool = False
    more: bool = False
    stored: bool = False


@dataclass(slots=True)
class PendingLoaded:
    """Runs that wait for a place, and their priorities, in the order in which they were created."""

    runs: list[tuple[str, int]]
    more: bool


@dataclass(slots=True)
class ScheduleLoaded:
    """A schedule's history, by position behind a snapshot, and the version of the calendar's time zones today."""

    schedule: str
    salt: bytes
    position: int
    last_hash: bytes
    last_offset: int
    snapshot: dict[str, Any] | None = None
    snapshot_position: int = 0
    history: list[Any] = field(default_factory=list)
    tzdata: str = ""

    def fold(self, schedule: Schedule) -> None:
        """Make a schedule what this says."""
        if self.snapshot is not None:
            from_plain(schedule, self.snapshot)
        for event in self.history:
            evolve(schedule, event)
        schedule.position = self.position


@dataclass(slots=True)
class InstantsLoaded:
    """What the calendar answered to ``LoadInstants``; ``problem``: why it could not."""

    schedule: str
    cron: str
    timezone: str
    until: int
    due: list[int]
    more: bool
    next: int
    tzdata: str
    problem: str = ""


@dataclass(slots=True)
class ToParent:
    """How a child ended, for the run that asked for it."""

    run: str
    end: ChildEnded


@dataclass(slots=True)
class ToChild:
    """A child is to be called off."""

    run: str
    stop: StopChild
    parent: str


@dataclass(slots=True)
class Report:
    """Its parent does not know how a run stands: nobody listened when it may have ended."""

    run: str
    path: str
    parent: str


@dataclass(slots=True)
class PeerRequest:
    """What peers of one process ask of their disk, in rows: ``["open", run, path, fence, stream, number]``, and with the place
    behind which it goes ``["append", run, path, fence, stream, number, position, [[names, payload], ...]]``.
    """

    token: int
    rows: list[list[Any]]


@dataclass(slots=True)
class PeerLoaded:
    """A peer's stream: its records as ``[names, payload]``, and its end."""

    stream: str
    salt: bytes
    records: list[list[Any]]
    last_hash: bytes = b""
    last_offset: int = 0


Input = (
    Request | Repeated | Outcomes | ProcessUp | ProcessDown | PoolFailed | Reconciled | Loaded | DataLoaded | LibraryLoaded
    | TimersLoaded | PendingLoaded | HistoryLoaded | InstantsLoaded | ToParent | ToChild | Report | PeerRequest | PeerLoaded
)  # fmt: skip

# --- asked of the host --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoadRun:
    """``failed``: also what a failed run had done, since it may be reopened; ``ended``: what any had."""

    run: str
    failed: bool = False
    ended: bool = False


@dataclass(frozen=True, slots=True)
class LoadHistory:
    """Everything that ``run`` has recorded, and the row of ``child``."""

    number: int
    run: str
    child: str


@dataclass(frozen=True, slots=True)
class LoadData:
    run: str
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LoadLibrary:
    plan: str
    link: str


@dataclass(frozen=True, slots=True)
class LoadTimers:
    before: int
    #: The last one of the page before this one.
    after: TimerRow | None = None


@dataclass(frozen=True, slots=True)
class LoadPending:
    after_offset: int


@dataclass(frozen=True, slots=True)
class LoadInstants:
    """Ask the calendar for the newest ``most`` instants behind ``after`` and up to ``until``, and the next."""

    schedule: str
    cron: str
    timezone: str
    after: int
    until: int
    most: int


@dataclass(frozen=True, slots=True)
class LoadPeer:
    """A peer's stream, all of it."""

    stream: str


Load = LoadRun | LoadHistory | LoadData | LoadLibrary | LoadTimers | LoadPending | LoadInstants | LoadPeer

# --- out ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Dispatch:
    """Give these to a process, in one call.

    ``alone``: it would be blamed for the end of its process, so it is given only to one that is known to live.
    """

    process: str
    invocations: list[Invocation]
    alone: bool = False


@dataclass(slots=True)
class Cancel:
    """Ask a process to stop these (run, path, fence); ``kill``: it has had its grace."""

    process: str
    attempts: list[tuple[str, str, int]]
    kill: bool = False


@dataclass(slots=True)
class Acknowledge:
    """These outcomes are stored: the process may forget them."""

    process: str
    attempts: list[tuple[str, str, int]]


@dataclass(slots=True)
class Reply:
    token: int
    answer: Answer


@dataclass(slots=True)
class StartProcess:
    """A pool wants one more process. The host answers with ``ProcessUp`` or ``PoolFailed``."""

    pool: str
    kind: str
    target: str
    settings: dict[str, Any]
    resources: dict[str, float]


@dataclass(slots=True)
class Notice:
    """Something that a person watching should see: an alarm, a run's end. ``kind`` is stable."""

    kind: str
    text: str
    run: str = ""


@dataclass(slots=True)
class PeerAnswer:
    """What the disk answers, a row for each that was asked: ``[run, path, fence, stream, number, code, position, book, records]``.

    ``code`` is ok, conflict (with what stands behind the place), closed, lost, oversize, or later.
    """

    token: int
    rows: list[list[Any]]


Effect = Dispatch | Cancel | Acknowledge | Reply | StartProcess | Notice | PeerAnswer


@dataclass(slots=True)
class Ready:
    """What must happen, in this order: blobs, then the batch, then (in ``advance``) the effects."""

    batch: Batch
    blobs: dict[str, bytes]
    effects: list[Effect]
    #: Whether anything leaves the partition, so that even an empty batch must pass the store's fence.
    leaves: bool = False

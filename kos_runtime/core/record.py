"""The unit of storage: what one batch of input made one run decide, under one header and one hash."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

#: The format of the log that this code writes, and the newest that it reads.
LOG_FORMAT: Final = 1
#: A payload above this many bytes goes to the blob store; the event then carries its address.
INLINE_LIMIT: Final = 32 * 1024
#: No single value may be larger than this many bytes, inline or as a blob.
PAYLOAD_LIMIT: Final = 64 * 1024 * 1024


class Record(NamedTuple):
    """One decision of one stream, as it is stored.

    ``offset`` is the place in the partition and ``position`` the place in the stream, both from 1 and without gaps.
    ``names`` lists the events inside, ``step_completed.1 step_scheduled.1``: name and version each, in order.
    ``payload`` is the codec's encoding of their fields. ``digest`` is SHA-256 of salt and payload, ``hash`` the chained
    record hash (see ``kos_runtime.core.chain``). ``time`` is log time in milliseconds. ``causation`` names the input
    that led here (``command:…``, ``outcome:path@fence``), ``correlation`` the conversation that it belongs to.
    """

    offset: int
    stream: str
    position: int
    epoch: int
    time: int
    names: str
    causation: str
    correlation: str
    payload: bytes
    digest: bytes
    hash: bytes


@dataclass(slots=True)
class RunRow:
    """The read model of a run: written when it is created, when its status changes and when it ends.

    ``offset`` and ``position`` are those of the record that changed it, so the row also remembers how long the
    stream was. ``waiting`` says in a few words for what a waiting run waits. Instants are milliseconds.
    ``created_offset`` is given by the store when the row is first written, and never changes; what a writer puts there
    is ignored.
    """

    run: str
    workflow: str
    version: str
    name: str
    status: str
    created_at: int
    updated_at: int
    offset: int
    position: int
    key: str = ""
    input_digest: str = ""
    plan_digest: str = ""
    waiting: str = ""
    error: str = ""
    created_offset: int = 0


@dataclass(slots=True)
class TimerRow:
    """A long timer at rest: due at an instant, for a step path, valid for one fence."""

    due: int
    run: str
    path: str
    fence: int


@dataclass(slots=True)
class CommandRow:
    """A command that was carried out, so that its repetition gets the same answer."""

    command_id: str
    offset: int
    answer: bytes


@dataclass(slots=True)
class ResultRow:
    """Where a result is kept: what a run recorded for a step ``path`` at its ``position``, at an instant of log time."""

    key: str
    run: str
    path: str
    position: int
    at: int


@dataclass(slots=True)
class LimitRow:
    """What was started under a limit, packed; nothing when all of it is to be forgotten."""

    name: str
    state: bytes


@dataclass(slots=True)
class AttributeRow:
    """A search attribute of a run, as text. Without a value it is taken away; without a name all of them are."""

    run: str
    name: str
    value: str | None


@dataclass(slots=True)
class SnapshotRow:
    """State folded to a position. ``fingerprint`` names the code that can read it, ``hash`` the record it stands on."""

    stream: str
    position: int
    offset: int
    fingerprint: str
    hash: bytes
    state: bytes


@dataclass(slots=True)
class StoredRun:
    """What a store holds of one run, as much of it as it takes to fold most runs.

    ``records`` are the first behind the snapshot; ``whole`` says whether no more follow. ``origin`` is the store and
    the partition in which it was written, None when it was here.
    """

    row: RunRow
    salt: bytes
    origin: tuple[str, int] | None
    snapshot: SnapshotRow | None
    records: list[Record]
    whole: bool


@dataclass(slots=True)
class BatchLink:
    """One commit's link of the partition's chain. ``root`` commits to the hashes of its records, in order."""

    first_offset: int
    count: int
    epoch: int
    root: bytes
    link: bytes


@dataclass(slots=True)
class Batch:
    """Everything that one transaction stores. Without records it is a check of the epoch and nothing else."""

    epoch: int
    records: list[Record] = field(default_factory=list)
    link: BatchLink | None = None
    #: (stream, salt) for each stream that begins here; 16 bytes a salt.
    streams: list[tuple[str, bytes]] = field(default_factory=list)
    runs: list[RunRow] = field(default_factory=list)
    timers_set: list[TimerRow] = field(default_factory=list)
    timers_cleared: list[TimerRow] = field(default_factory=list)
    commands: list[CommandRow] = field(default_factory=list)
    #: (digest as hex, stream): which stream mentions which blob.
    blob_refs: list[tuple[str, str]] = field(default_factory=list)
    snapshots: list[SnapshotRow] = field(default_factory=list)
    #: Results that other steps may take; one of the same key gives way.
    results: list[ResultRow] = field(default_factory=list)
    limits: list[LimitRow] = field(default_factory=list)
    #: Search attributes that are set or taken away, in order.
    attributes: list[AttributeRow] = field(default_factory=list)
    #: (stream, store, partition) for each stream that begins here and was written elsewhere.
    origins: list[tuple[str, str, int]] = field(default_factory=list)
    #: Streams whose payloads and salts are taken away, with their snapshots and their mentions of blobs.
    emptied: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a partition's log: 0 and 32 zero bytes when it is empty."""

    offset: int
    link: bytes
    #: The last recorded log time, 0 when empty.
    time: int


@dataclass(frozen=True, slots=True)
class Lease:
    """Who owns a partition. ``renewed_at`` is the store's own clock in milliseconds; politeness, not safety."""

    partition: int
    epoch: int
    owner: str
    renewed_at: int


@dataclass(frozen=True, slots=True)
class BlobRef:
    """The address of a value kept in the blob store: its SHA-256 as hex and its size in bytes."""

    digest: str
    size: int

"""The host's side of a partition, written once: what is read, what is stored, and in which order.

A host (Ray, or one process) puts input in and performs the effects that come out. Everything between is here: reading
what the partition asks for, writing blobs before the batch that mentions them, appending, and what follows when the
store refuses. It does its reading and writing through the ports it is given and knows no clock.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from kos_runtime.core.errors import StoreBusy, StoreError, StoreFull, StoreReadOnly
from kos_runtime.core.event import UnknownEvent, rebuild
from kos_runtime.core.failpoint import hit
from kos_runtime.core.identity import run_stream
from kos_runtime.core.plan.link import Link
from kos_runtime.core.plan.model import Plan
from kos_runtime.core.plan.plain import from_plain
from kos_runtime.core.plan.program import Program
from kos_runtime.core.record import (
    Batch,
    BlobRef,
    CommandRow,
    Head,
    Lease,
    LimitRow,
    Record,
    ResultRow,
    RunRow,
    SnapshotRow,
    StoredRun,
    TimerRow,
)
from kos_runtime.core.schedule import events as _schedule_events  # noqa: F401 - they register themselves
from kos_runtime.core.schedule.calendar import Instants
from kos_runtime.core.schedule.commands import Scheduling
from kos_runtime.core.schedule.state import FINGERPRINT as SCHEDULE_FINGERPRINT
from kos_runtime.core.schedule.state import PREFIX as SCHEDULES
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, Rejected, Steering
from kos_runtime.core.workflow.reusing import RESULT, Kept
from kos_runtime.core.workflow.snapshot import FINGERPRINT
from kos_runtime.core.workflow.state import DEADLINE_TIMER, Codec
from kos_runtime.core.workflow.status import RunStatus
from kos_runtime.core.workflow.waiting import priority_in
from kos_runtime.engine import messages as msg
from kos_runtime.engine.limits import Limits
from kos_runtime.engine.partition import MAX_KEPT, MISSING, Partition
from kos_runtime.engine.peer_streams import refused
from kos_runtime.engine.pools import Process

#: How long dispatching rests after the store refused a batch, in milliseconds.
RETRY_MS = 1_000
_PAGE = 1_000
#: So many records behind its snapshot are read together with a run: all of them, of most.
_TAIL = 16
#: Later than anything.
FAR_MS = 1 << 53
_OVER = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.QUARANTINED})


class Log(Protocol):
    """What a host needs of an event store (the port of that name has more)."""

    @property
    def store_id(self) -> str: ...
    @property
    def partition(self) -> int: ...
    def head(self) -> Head: ...
    def lease(self) -> Lease: ...
    def claim(self, expected_epoch: int, owner: str) -> Lease: ...
    def append(self, batch: Batch) -> None: ...
    def stream(self, stream: str, *, after: int = 0, limit: int = 1_000) -> list[Record]: ...
    def salt(self, stream: str) -> bytes | None: ...
    def origin(self, stream: str) -> tuple[str, int] | None: ...
    def snapshot(self, stream: str) -> SnapshotRow | None: ...
    def run(self, run: str) -> RunRow | None: ...
    def recall(self, runs: Sequence[str], *, tail: int) -> list[StoredRun]: ...
    def runs(
        self, *, status: Sequence[str] = (), newest_first: bool = True, after_offset: int = 0, limit: int = 1_000
    ) -> list[RunRow]: ...
    def streams(self, prefix: str) -> list[str]: ...
    def timers_due(self, before: int, *, after: TimerRow | None = None, limit: int = 1_000) -> list[TimerRow]: ...
    def command(self, command_id: str) -> CommandRow | None: ...
    def result(self, key: str) -> ResultRow | None: ...
    def limits(self) -> list[LimitRow]: ...


class Streams(Protocol):
    """What reading one stream needs of an event store."""

    def salt(self, stream: str) -> bytes | None: ...
    def snapshot(self, stream: str) -> SnapshotRow | None: ...
    def stream(self, stream: str, *, after: int = 0, limit: int = 1_000) -> list[Record]: ...


class Calendar(Protocol):
    """Whoever knows time zones (the port of that name)."""

    @property
    def version(self) -> str: ...
    def instants(self, cron: str, timezone: str, *, after: int, until: int, most: int) -> Instants: ...


class Blobs(Protocol):
    def put(self, data: bytes) -> BlobRef: ...
    def get(self, digest: str) -> bytes: ...


class Host:
    """A claimed partition with its store."""

    def __init__(
        self,
        log: Log,
        blobs: Blobs,
        codec: Codec,
        *,
        owner: str,
        limits: Limits | None = None,
        code_version: str = "",
        calendar: Calendar | None = None,
        wall: Callable[[], int | None] | None = None,
    ) -> None:
        """``wall`` is the clock that schedules follow, None while it cannot be followed; nothing fires without a calendar."""
        self.log = log
        self.blobs = blobs
        self.codec = codec
        self.limits = limits or Limits()
        self.code_version = code_version
        self._calendar = calendar
        self._wall = wall
        self._programs: dict[str, Program] = {}
        self._links: dict[str, Link] = {}
        self._written: set[str] = set()
        self._again: list[msg.Input] = []
        self._up: dict[str, msg.ProcessUp] = {}
        self._draining = False
        #: Until when the store is left alone after it refused, in log time; 0 when it works.
        self.stalled_until = 0
        self.stalled_by = ""
        hit("claim.before")
        lease = log.lease()
        self.epoch = log.claim(lease.epoch, owner).epoch
        hit("claim.after")
        self.partition = self._open()

    def _open(self) -> Partition:
        partition = Partition(
            store_id=self.log.store_id,
            number=self.log.partition,
            epoch=self.epoch,
            head=self.log.head(),
            codec=self.codec,
            limits=self.limits,
            code_version=self.code_version,
        )
        partition.pools.closed = self._draining
        for known in self.log.limits():
            partition.pools.restore(known.name, self.codec.unpack(known.state))
        for stream in self.log.streams(SCHEDULES):
            partition.schedules.restore(self._load_schedule(stream))
        after = 0
        while rows := self.log.runs(status=[RunStatus.RUNNING], newest_first=False, after_offset=after, limit=_PAGE):
            for row in rows:
                partition.recover(row.run)
            after = self._creation_offset(rows[-1])
            if len(rows) < _PAGE:
                break
        partition.more_pending = 1
        return partition

    def _creation_offset(self, row: RunRow) -> int:
        records = self.log.stream(run_stream(row.run), limit=1)
        return records[0].offset if records else row.offset

    def drain(self) -> None:
        """Give out nothing more; what agents hold may end, and is stored when it does."""
        self._draining = self.partition.pools.closed = True

    def is_drained(self) -> bool:
        """Say whether no agent holds anything any more, since ``drain``."""
        return self._draining and self.partition.pools.are_empty()

    def tells_progress(self, run: str) -> bool:
        """Say whether the workflow of a run that is at work has its progress told. May be asked from any thread."""
        found = self.partition.runs.get(run)
        program = None if found is None else found.program
        return program is not None and program.plan.monitoring.get("progress_tracking", True)

    # --- one turn

    def cycle(self, inputs: Sequence[msg.Input], now: int) -> list[msg.Effect]:
        """Take a batch of input and return what is to be done: everything before it is stored.

        Raises:
            Fenced: Somebody else owns the partition. Stop for good.
            AppendUnknown: Nobody knows whether the batch was stored. Stop for good; a successor finds out.
        """
        for item in inputs:
            if isinstance(item, msg.ProcessUp):
                self._up[item.process] = msg.ProcessUp(item.process, item.pool, item.hands)
            elif isinstance(item, msg.ProcessDown):
                self._up.pop(item.process, None)
        if now < self.stalled_until:
            return self._refuse(inputs)
        partition = self.partition
        if self._calendar is not None and not self._draining and partition.schedules.entries:
            partition.schedules.wall = None if self._wall is None else self._wall()
        if self._wall is not None:
            partition.clocks.wall = self._wall()
        again, self._again = self._again, []
        batch = [self._known(item) if isinstance(item, msg.Request) else item for item in (*again, *inputs)]
        partition.receive(batch, now)
        hit("receive.after")
        while loads := partition.loads():
            partition.receive(self._loaded(loads), now)
        ready = partition.ready()
        if not ready.leaves and not ready.batch.records and not ready.batch.runs:
            return partition.advance(ready)
        try:
            self._store(ready)
        except (StoreFull, StoreBusy, StoreReadOnly) as error:
            return self._stall(error, batch, now)
        self.stalled_by = ""
        return partition.advance(ready)

    def _known(self, item: msg.Request) -> msg.Input:
        """Look whether a command was carried out before: its repetition gets the same answer, and one event."""
        if not item.command_id or not isinstance(item.command, Steering | Scheduling):
            return item
        row = self.log.command(item.command_id)
        if row is None:
            return item
        plain = self.codec.unpack(row.answer)
        return msg.Repeated(item.token, Accepted(**plain))

    def _store(self, ready: msg.Ready) -> None:
        for digest, data in ready.blobs.items():
            if digest not in self._written:
                hit("blob.before")
                self.blobs.put(data)
                hit("blob.after")
                self._written.add(digest)
                if len(self._written) > 100_000:
                    self._written.clear()
        if ready.batch.snapshots:
            hit("snapshot.before")
        hit("append.before")
        self.log.append(ready.batch)
        hit("append.after")
        if ready.batch.snapshots:
            hit("snapshot.after")

    def _stall(self, error: StoreError, batch: list[msg.Input], now: int) -> list[msg.Effect]:
        """Nothing was stored: forget what was decided, keep what agents reported, and try again in a second."""
        self.stalled_until = now + RETRY_MS
        self.stalled_by = str(error)
        held = {p.name: [*p.holds, *p.peers] for p in self._processes()}
        effects = self._refuse(batch)
        effects.append(msg.Notice("storage", str(error)))
        made = self.partition.made
        self.partition = self._open()
        self.partition.made = made
        # The processes are still there and hold what they held: it is told again, as after a takeover.
        kept = [item for item in self._again if not isinstance(item, msg.ProcessUp | msg.Reconciled)]
        up = [msg.ProcessUp(p.process, p.pool, p.hands, held.get(p.process, [])) for p in self._up.values()]
        self._again = [*up, *kept, msg.Reconciled()]
        return effects

    def _processes(self) -> list[Process]:
        return list(self.partition.pools.processes.values())

    def _refuse(self, inputs: Sequence[msg.Input]) -> list[msg.Effect]:
        """Answer commands with what the store says; keep everything that agents reported."""
        effects: list[msg.Effect] = []
        for item in inputs:
            if isinstance(item, msg.PeerRequest):
                effects.append(msg.PeerAnswer(item.token, refused(item)))
            elif isinstance(item, msg.Request):
                code = "storage_full" if "storage_full" in self.stalled_by else "storage"
                effects.append(msg.Reply(item.token, Rejected(code=code, message=self.stalled_by)))
            elif not isinstance(item, msg.ProcessUp):
                self._again.append(item)
        return effects

    # --- reading

    def _loaded(self, loads: list[msg.Load]) -> list[msg.Input]:
        """Read what was asked for; of runs, many by one question."""
        runs = [load.run for load in loads if isinstance(load, msg.LoadRun)]
        stored = {item.row.run: item for item in self.log.recall(runs, tail=_TAIL)} if len(runs) > 1 else {}
        return [self._load(load, stored) for load in loads]

    def _load(self, load: msg.Load, stored: dict[str, StoredRun]) -> msg.Input:
        match load:
            case msg.LoadRun(run=run, failed=failed, ended=ended):
                return self.load_run(run, failed=failed, ended=ended, stored=stored.get(run))
            case msg.LoadHistory(number=number, run=run, child=child):
                row = None if child == run else self.log.run(child)
                return msg.HistoryLoaded(number, self.load_run(run, ended=True, whole=True), row)
            case msg.LoadData(run=run, digests=digests):
                return msg.DataLoaded(run, {digest: self._value(digest) for digest in digests})
            case msg.LoadLibrary(plan=plan, link=link):
                return msg.LibraryLoaded(plan, link, self.program(plan), self.link(link))
            case msg.LoadTimers(before=before, after=last):
                timers = self.log.timers_due(before, after=last, limit=_PAGE)
                more = len(timers) == _PAGE
                all_ = timers if more else self.log.timers_due(FAR_MS, limit=_PAGE)
                # A full page of how long runs may take: what stands behind it is not looked for, and the owner stays.
                stays = len(all_) == _PAGE or any(row.path != DEADLINE_TIMER for row in all_)
                return msg.TimersLoaded(timers, before, page=True, more=more, stored=stays)
            case msg.LoadPending(after_offset=after):
                rows = self.log.runs(
                    status=[RunStatus.PENDING], newest_first=False, after_offset=after - 1, limit=_PAGE
                )
                if len(rows) == _PAGE:
                    self.partition.more_pending = self._creation_offset(rows[-1]) + 1
                return msg.PendingLoaded([(row.run, priority_in(row.waiting)) for row in rows], len(rows) == _PAGE)
            case msg.LoadInstants():
                return self._instants(load)
            case msg.LoadPeer(stream=stream):
                return self._peer(stream)

    def _peer(self, stream: str) -> msg.PeerLoaded:
        loaded = msg.PeerLoaded(stream, self.log.salt(stream) or b"", [])
        while records := self.log.stream(stream, after=len(loaded.records), limit=_PAGE):
            loaded.records += [[record.names, record.payload] for record in records]
            loaded.last_hash, loaded.last_offset = records[-1].hash, records[-1].offset
        return loaded

    def _value(self, digest: str) -> Any:
        if digest.startswith(RESULT):
            return self._result(digest.removeprefix(RESULT))
        try:
            return self.codec.unpack(self.blobs.get(digest))
        except (KeyError, ValueError, StoreError):
            return MISSING

    def _result(self, key: str) -> Kept | None:
        """Return the result that is kept under a key, as long as what was recorded is there."""
        row = self.log.result(key)
        if row is None or not self.log.salt(run_stream(row.run)):
            return None
        for record in self.log.stream(run_stream(row.run), after=row.position - 1, limit=1):
            try:
                events = rebuild(record.names, self.codec.unpack(record.payload))
            except (UnknownEvent, ValueError):
                return None
            for event in events:
                if isinstance(event, ev.StepCompleted) and event.path == row.path:
                    return Kept(row.run, row.path, row.position, row.at, event.exposed, event.blobs)
        return None

    def program(self, digest: str) -> Program | None:
        """Return the compiled plan of that digest, if it is stored and fits this version."""
        if digest not in self._programs:
            value = self._value(digest)
            if value is MISSING:
                return None
            try:
                program = Program(from_plain(value, Plan), digest)
            except (ValueError, KeyError):
                return None
            if len(self._programs) >= MAX_KEPT:
                self._programs.clear()
            self._programs[digest] = program
        return self._programs[digest]

    def link(self, digest: str) -> Link | None:
        if digest not in self._links:
            value = self._value(digest)
            if value is MISSING:
                return None
            try:
                link = from_plain(value, Link)
            except ValueError:
                return None
            if len(self._links) >= MAX_KEPT:
                self._links.clear()
            self._links[digest] = link
        return self._links[digest]

    def _instants(self, load: msg.LoadInstants) -> msg.InstantsLoaded:
        calendar = self._calendar
        assert calendar is not None
        found = msg.InstantsLoaded(load.schedule, load.cron, load.timezone, load.until, [], False, 0, calendar.version)
        try:
            instants = calendar.instants(load.cron, load.timezone, after=load.after, until=load.until, most=load.most)
        except ValueError as error:
            found.problem = str(error)
            return found
        found.due, found.more, found.next = instants.due, instants.more, instants.next
        return found

    def _load_schedule(self, stream: str) -> msg.ScheduleLoaded:
        tzdata = "" if self._calendar is None else self._calendar.version
        return load_schedule(self.log, self.codec, stream, tzdata)

    def load_run(
        self,
        run: str,
        *,
        failed: bool = False,
        ended: bool = False,
        whole: bool = False,
        stored: StoredRun | None = None,
    ) -> msg.Loaded:
        """Read a run's row, and the snapshot and events of one that is not over, or over and wanted all the same.

        ``failed``: of one that failed, too. ``ended``: of any. ``whole``: all events, whatever snapshot there is.
        ``stored``: what was recalled of it already.
        """
        hit("load.before")
        if stored is None:
            stored = next(iter(self.log.recall([run], tail=_TAIL)), None)
        if stored is None:
            return msg.Loaded(run, None)
        row = stored.row
        loaded = msg.Loaded(run, row, salt=stored.salt)
        wanted = (
            (failed and row.status in {RunStatus.FAILED, RunStatus.QUARANTINED})
            or (ended and row.status != RunStatus.QUARANTINED)
            or whole
        )
        if row.status in _OVER and not wanted:
            return loaded
        if not loaded.salt:
            loaded.damage = f"what it had recorded is {row.waiting or 'gone'}"
            return loaded
        if stored.origin is not None and not whole:
            loaded.damage = (
                f"it was brought here from store {stored.origin[0]}, and is only read; go on by: kos fork {run}"
            )
            return loaded
        after = 0
        plan, link = row.plan_digest, ""
        wanted_plans: list[tuple[str, str]] = []
        snapshot = None if whole else stored.snapshot
        if snapshot is not None and snapshot.fingerprint == FINGERPRINT:
            try:
                loaded.snapshot = self.codec.unpack(snapshot.state)
                loaded.snapshot_position = after = snapshot.position
                loaded.last_hash, loaded.last_offset = snapshot.hash, snapshot.offset
                plan, link = loaded.snapshot["plan_now"], loaded.snapshot["link_now"]
                if loaded.snapshot["revision"]:
                    wanted_plans.append((row.plan_digest, loaded.snapshot["link_digest"]))
            except (ValueError, KeyError):
                loaded.snapshot = None
                after = 0
        try:
            for records in self._pages(stored, after):
                for record in records:
                    events = rebuild(record.names, self.codec.unpack(record.payload))
                    loaded.history.append((record.position, events))
                    if whole:
                        loaded.hashes.append(record.hash)
                    if record.position <= 2:
                        link = next((e.link for e in events if isinstance(e, ev.RunLinked)), link)
                    if "plan_revised" in record.names:
                        wanted_plans += [
                            (plan, link),
                            *((e.plan, e.link) for e in events if isinstance(e, ev.PlanRevised)),
                        ]
                loaded.last_hash, loaded.last_offset = records[-1].hash, records[-1].offset
        except (UnknownEvent, ValueError) as error:
            loaded.damage = str(error)
            return loaded
        hit("load.after")
        loaded.program, loaded.link = self.program(plan), self.link(link)
        if loaded.program is None:
            loaded.damage = f"its compiled plan {plan} is gone"
        elif loaded.link is None:
            loaded.damage = f"its link {link} is gone"
        loaded.lost = bool(loaded.damage)
        for plan, link in dict.fromkeys(wanted_plans):
            program, linked = self.program(plan), self.link(link)
            if program is None or linked is None:
                loaded.damage = f"the plan {plan} or the link {link} of a change is gone"
                loaded.lost = True
                break
            loaded.plans[plan], loaded.links[link] = program, linked
        return loaded

    def _pages(self, stored: StoredRun, after: int) -> Iterator[list[Record]]:
        """Return a run's records behind a position; those that were recalled are not read again."""
        if after == (0 if stored.snapshot is None else stored.snapshot.position):
            if stored.records:
                yield stored.records
            if stored.whole:
                return
            after += len(stored.records)
        while records := self.log.stream(run_stream(stored.row.run), after=after, limit=_PAGE):
            yield records
            after += len(records)


def load_schedule(log: Streams, codec: Codec, stream: str, tzdata: str = "") -> msg.ScheduleLoaded:
    """Read a schedule's history.

    Raises:
        UnknownEvent: A newer version wrote it.
    """
    loaded = msg.ScheduleLoaded(stream.removeprefix(SCHEDULES), log.salt(stream) or b"", 0, b"", 0, tzdata=tzdata)
    snapshot = log.snapshot(stream)
    if snapshot is not None and snapshot.fingerprint == SCHEDULE_FINGERPRINT:
        loaded.snapshot = codec.unpack(snapshot.state)
        loaded.snapshot_position = loaded.position = snapshot.position
        loaded.last_hash, loaded.last_offset = snapshot.hash, snapshot.offset
    while records := log.stream(stream, after=loaded.position, limit=_PAGE):
        for record in records:
            loaded.history += rebuild(record.names, codec.unpack(record.payload))
        last = records[-1]
        loaded.position, loaded.last_hash, loaded.last_offset = last.position, last.hash, last.offset
    return loaded

"""The schedules of a partition: each a stream of its own, looked at when the wall clock passes its next instant.

That an instant got its run is stored in the commit that creates the run, and the run's id follows from schedule and
instant: whoever comes after a crash finds both or neither. What is asked of a calendar comes back through the partition like
everything else that must be read.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from kos_runtime.core.chain import EMPTY
from kos_runtime.core.instant import utc_text
from kos_runtime.core.record import INLINE_LIMIT
from kos_runtime.core.schedule import decide
from kos_runtime.core.schedule import events as ev
from kos_runtime.core.schedule.commands import RemoveSchedule, Scheduling
from kos_runtime.core.schedule.state import Schedule, evolve, run_of
from kos_runtime.core.workflow.commands import Accepted, Answer, CancelRun, Command, CreateRun, Rejected
from kos_runtime.core.workflow.state import Codec
from kos_runtime.engine import messages as msg
from kos_runtime.engine.recorder import Meta

#: So many schedules have room in one store.
MAX_SCHEDULES: Final = 1_000
#: Requests that schedules make of the partition bear this instead of a token.
TOKEN: Final = -2
#: What ``overlap: cancel_running`` gives a run to stop, in milliseconds.
GRACE_MS: Final = 10_000
#: A wall clock that cannot be followed is asked again after so long, in milliseconds.
AGAIN_MS: Final = 1_000
#: As many causes as a run's record names.
MAX_CAUSES: Final = 4
NEVER: Final = 1 << 62


@dataclass(slots=True)
class _Entry:
    """A schedule with what its log says of it, and what is decided and not stored yet."""

    schedule: Schedule
    meta: Meta
    events: list[Any] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)
    #: The calendar was asked; it is to be asked again, although it has said what comes next.
    asked: bool = False
    stale: bool = False
    #: Instants whose runs were asked for → why.
    starting: dict[int, str] = field(default_factory=dict)


class Schedules:
    """See the module. ``request`` carries out a command in the partition; its answer comes to ``answered``."""

    def __init__(self, store_id: str, codec: Codec, request: Callable[[Command], None]) -> None:
        self._store_id = store_id
        self._codec = codec
        self._request = request
        self.entries: dict[str, _Entry] = {}
        #: Runs whose end a schedule waits for → its id.
        self.watched: dict[str, str] = {}
        #: Schedules that have something to record, in the order in which it came.
        self.pending: dict[str, None] = {}
        #: Those whose next run may be made.
        self._free: dict[str, None] = {}
        #: The wall clock in milliseconds; None while it cannot be followed, or when nobody follows it.
        self.wall: int | None = None
        self._due = NEVER
        self._loads: list[msg.Load] = []

    # --- from the log

    def restore(self, item: msg.ScheduleLoaded) -> None:
        """Take a schedule as its log tells it."""
        schedule = Schedule(item.schedule)
        entry = _Entry(schedule, Meta(item.salt, item.last_hash, item.position, 0, item.snapshot_position))
        entry.meta.offset = item.last_offset
        item.fold(schedule)
        # Another database may say another instant.
        entry.stale = bool(item.tzdata) and schedule.next != 0 and schedule.tzdata != item.tzdata
        self.entries[schedule.id] = entry
        for run in schedule.running:
            self.watched[run] = schedule.id
        self._look_again(entry)

    # --- commands

    def carry_out(self, command: Scheduling, cause: str, now: int) -> Answer:
        """Set or remove a schedule."""
        entry = self.entries.get(command.run)
        if isinstance(command, RemoveSchedule):
            if entry is None or entry.schedule.removed:
                return Rejected(code="not_found", message=f"no schedule {command.run!r} in this store")
            return self._emit(entry, cause, ev.ScheduleRemoved(command.by, command.reason))
        try:
            inputs = self._codec.pack(command.inputs)
        except ValueError as error:
            return Rejected(code="invalid", message=f"the inputs cannot be kept: {error}")
        if len(inputs) > INLINE_LIMIT:
            message = f"the inputs of a schedule have {len(inputs)} bytes; at most {INLINE_LIMIT} are kept"
            return Rejected(code="invalid", message=message)
        if entry is None:
            if len(self.entries) >= MAX_SCHEDULES:
                message = f"busy: {MAX_SCHEDULES} schedules are known to this store, which is the most"
                return Rejected(code="busy", message=message)
            entry = _Entry(Schedule(command.run), Meta(command.salt, EMPTY, 0, now, new=True))
            self.entries[command.run] = entry
        event = ev.ScheduleSet(
            command.workflow,
            command.version,
            command.cron,
            command.timezone,
            command.overlap,
            command.catch_up,
            command.plan,
            command.link,
            command.settings,
            command.drivers,
            inputs,
            now if self.wall is None else self.wall,
            command.by,
        )
        if not entry.schedule.removed and _says(entry.schedule) == _says(event):
            return Accepted(run=command.run, position=entry.meta.position, existing=True)
        return self._emit(entry, cause, event)

    def _emit(self, entry: _Entry, cause: str, *events: Any) -> Accepted:
        for event in events:
            evolve(entry.schedule, event)
            entry.events.append(event)
        if len(entry.causes) < MAX_CAUSES:
            entry.causes.append(cause)
        self.pending[entry.schedule.id] = None
        self._look_again(entry)
        return Accepted(run=entry.schedule.id, position=entry.meta.position + 1, event=type(events[0]).__name__)

    # --- time

    def tick(self) -> None:
        """Look whether something is due; the calendar is asked about what is."""
        if self._free:
            free, self._free = self._free, {}
            for id in free:
                self._start_next(self.entries[id])
        wall = self.wall
        if wall is None or wall < self._due:
            return
        self._due = NEVER
        for entry in self.entries.values():
            schedule = entry.schedule
            if not schedule.removed and not entry.asked and (entry.stale or 0 <= schedule.next <= wall):
                entry.asked = True
                self._loads.append(
                    msg.LoadInstants(
                        schedule.id, schedule.cron, schedule.timezone, schedule.looked, wall, decide.MAX_LOOKED
                    )
                )
            self._look_again(entry)

    def _look_again(self, entry: _Entry) -> None:
        if not entry.schedule.removed and (entry.stale or entry.schedule.next >= 0):
            self._due = min(self._due, 0 if entry.stale else entry.schedule.next)

    def loads(self) -> list[msg.Load]:
        loads, self._loads = self._loads, []
        return loads

    def due_in(self) -> int:
        """Return after how many milliseconds ``tick`` must be called, if nothing comes before."""
        if self._free:
            return 0
        if self._due == NEVER:
            return NEVER
        return AGAIN_MS if self.wall is None else max(self._due - self.wall, 0)

    def is_idle(self) -> bool:
        """Say whether nothing is about to be started."""
        return not self._free and not self.pending

    def told(self, item: msg.InstantsLoaded) -> None:
        """The calendar's answer: decide what is due, and note what comes next."""
        entry = self.entries[item.schedule]
        entry.asked = entry.stale = False
        schedule = entry.schedule
        if schedule.removed or (item.cron, item.timezone) != (schedule.cron, schedule.timezone):
            return
        cause = f"wall:{utc_text(item.until)}"
        if item.problem:
            self._emit(entry, f"{cause} {item.problem}", ev.SchedulePlanned(0, item.tzdata))
            return
        due = [nominal for nominal in item.due if nominal > schedule.looked]
        turn = decide.wanted(schedule, due, more=item.more, wall=item.until)
        if turn.events:
            self._emit(entry, cause, *turn.events)
        for nominal, why in turn.wanted:
            self._want(entry, nominal, why, cause)
        self._emit(entry, cause, ev.SchedulePlanned(item.next, item.tzdata))

    def _want(self, entry: _Entry, nominal: int, why: str, cause: str) -> None:
        """An instant is to have its run: now, or behind the one before."""
        schedule = entry.schedule
        before = [*schedule.running, *(run_of(self._store_id, schedule.id, other) for other in entry.starting)]
        if not before:
            self._start(entry, nominal, why)
            return
        self._emit(entry, cause, *decide.behind(schedule, nominal, before[0]))
        if schedule.overlap == "cancel_running":
            for run in before:
                reason = f"the run of {utc_text(nominal)} is due (overlap: cancel_running)"
                self._request(CancelRun(run=run, by=f"schedule:{schedule.id}", reason=reason, grace_ms=GRACE_MS))

    # --- runs

    def _start_next(self, entry: _Entry) -> None:
        if entry.schedule.queued and not entry.schedule.running and not entry.starting:
            self._start(entry, entry.schedule.queued[0], decide.QUEUED)

    def _start(self, entry: _Entry, nominal: int, why: str) -> None:
        schedule = entry.schedule
        run = run_of(self._store_id, schedule.id, nominal)
        entry.starting[nominal] = why
        # Nobody who knows only the log's ids can guess it, since the schedule's own salt is random.
        drawn = self._codec.pack([entry.meta.salt, run])
        self._request(
            CreateRun(
                run=run,
                plan=schedule.plan,
                link=schedule.link,
                settings=schedule.settings,
                drivers=schedule.drivers,
                inputs=self._codec.unpack(schedule.inputs),
                seed=int.from_bytes(_drawn(b"seed", drawn)[:7], "big"),
                salt=_drawn(b"salt", drawn)[:16],
                author=f"schedule:{schedule.id}",
                name=f"{schedule.id}@{utc_text(nominal)}",
                key=f"schedule:{schedule.id}@{nominal}",
            )
        )

    def answered(self, command: Command, answer: Answer) -> None:
        """The partition's answer to what a schedule asked of it."""
        if not isinstance(command, CreateRun):
            return
        id, _, nominal_text = command.key.removeprefix("schedule:").rpartition("@")
        entry, nominal = self.entries[id], int(nominal_text)
        why = entry.starting.pop(nominal, "")
        cause = f"instant:{utc_text(nominal)}"
        if isinstance(answer, Rejected):
            self._emit(entry, cause, ev.SchedulePassed(nominal, nominal, 1, False, answer.message[:500]))
            self._free_if_waiting(entry)
            return
        self._emit(entry, cause, ev.ScheduleFired(nominal, command.run, why))
        self.watched[command.run] = id

    def run_over(self, run: str, status: str) -> None:
        """A run that a schedule waits for has ended."""
        entry = self.entries[self.watched.pop(run)]
        self._emit(entry, f"run:{run}", ev.ScheduledRunEnded(run, status))
        self._free_if_waiting(entry)

    def _free_if_waiting(self, entry: _Entry) -> None:
        if entry.schedule.queued and not entry.schedule.running:
            self._free[entry.schedule.id] = None

    # --- what is to be stored

    def decided(self) -> Iterable[tuple[Schedule, Meta, list[Any], str]]:
        """Yield what was decided since the last time, as (schedule, meta, events, cause)."""
        pending, self.pending = self.pending, {}
        for id in pending:
            entry = self.entries[id]
            events, entry.events = entry.events, []
            causes, entry.causes = entry.causes, []
            yield entry.schedule, entry.meta, events, " ".join(dict.fromkeys(causes))


def _says(said: Any) -> tuple[Any, ...]:
    """Return what a schedule, or the event that sets it, says."""
    return (
        said.workflow, said.version, said.cron, said.timezone, said.overlap, said.catch_up, said.plan, said.link,
        said.settings, said.drivers, said.inputs,
    )  # fmt: skip


def _drawn(purpose: bytes, secret: bytes) -> bytes:
    return sha256(purpose + b"\x00" + secret).digest()

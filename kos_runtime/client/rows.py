"""Whether the rows that list the runs say what the log says.

A row can be made again from its run's events. Of a run that has ended the first and the last record tell everything;
of one that has not, all its events are folded, as the engine does it. One run is looked at at a time, so the memory
that it takes does not follow from how many there are. What the log does not hold is not compared: ``input_digest``, and
when a run began to wait for a place.
"""

from collections.abc import Iterator
from typing import Any, Final

from kos_runtime.client.reading import Reading
from kos_runtime.composition.machines import make_installed_known
from kos_runtime.core.errors import StoreError
from kos_runtime.core.event import TYPES, rebuild
from kos_runtime.core.identity import run_stream
from kos_runtime.core.plan.link import Link
from kos_runtime.core.plan.program import Program
from kos_runtime.core.record import Record, RunRow, TimerRow
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.evolve import evolve
from kos_runtime.core.workflow.state import DEADLINE_TIMER, Run
from kos_runtime.core.workflow.waiting import row_of
from kos_runtime.engine.recorder import stored_timers

#: A row that was read beside a writer may be older than the records: it is read again so often before it counts.
_LOOKS: Final = 5
#: So many compiled plans and links are kept while rows are compared.
_KEPT: Final = 64
_ENDS: Final = {
    ev.RunCompleted: "completed",
    ev.RunFailed: "failed",
    ev.RunQuarantined: "quarantined",
    ev.RunCancelled: "cancelled",
}
#: The same by the labels that a record's header has.
_ENDED_AS: Final = {TYPES[kind].label: status for kind, status in _ENDS.items()}
#: A run whose row says so is brought back by the timers that are stored.
_MOVABLE: Final = frozenset({"running", "waiting"})
#: What stands in the last record of a run that has ended.
_ENDED: Final = frozenset(_ENDS.values())


class Rows:
    """Compares rows of one store."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._evidence = reading.log.evidence()
        self._programs: dict[str, Program] = {}
        self._links: dict[str, Link] = {}
        #: The run that was folded last, if it is not over.
        self._live: Run | None = None

    def all_unlike(self) -> Iterator[str]:
        """Yield what is wrong with each row that is not what its run's events say."""
        for values in self._evidence.run_rows():
            problem = self.unlike(RunRow(*values))  # type: ignore[arg-type]
            if problem:
                yield problem
        rowless = self._evidence.rowless()
        if rowless:
            yield f"run {rowless.removeprefix('run/')} has events, and no row that lists it"
        runless = self._evidence.runless_timer()
        if runless:
            yield f"a timer is stored for run {runless}, which is not there"

    def unlike(self, row: RunRow) -> str:
        """Return the column in which a row is not what its run's events say, and both values; empty when it is."""
        problem = ""
        for _ in range(_LOOKS):
            try:
                problem = self._unlike(row)
            except (ValueError, KeyError, StoreError) as error:
                problem = f"run {row.run}: its row cannot be compared with its events: {error}"
            if not problem:
                return ""
            now = self._reading.log.run(row.run)
            if now is None or now == row:
                break
            row = now
        return problem

    def _unlike(self, row: RunRow) -> str:
        expected = self._expected(row)
        for column, value in expected.items():
            if getattr(row, column) != value:
                found = getattr(row, column)
                return f"run {row.run}: its row says {column} {found!r}, its events say {value!r}"
        return self._missing_timer(row)

    def _missing_timer(self, row: RunRow) -> str:
        """Return which timer of a run is not stored that would bring it back; empty when all are."""
        run, self._live = self._live, None
        if run is None or row.status not in _MOVABLE:
            return ""
        expected = [timer for _, timer in stored_timers(run)]
        if row.status == "waiting" and run.deadline:
            expected.append(TimerRow(run.deadline, run.id, DEADLINE_TIMER, 0))
        for timer in expected:
            moved = self._reading.log.stream(run_stream(run.id), after=run.position, limit=1)
            if not self._evidence.has_timer(timer) and not moved:
                what = "its end" if timer.path == DEADLINE_TIMER else f"step {timer.path}"
                return f"run {run.id}: no timer is stored for {what}, due at {timer.due} under fence {timer.fence}"
        return ""

    def _expected(self, row: RunRow) -> dict[str, Any]:
        """Return column → value, in the order in which differences are told."""
        records = self._reading.log.stream(run_stream(row.run), limit=1)
        if not records:
            raise ValueError("it has none")
        if self._reading.log.salt(run_stream(row.run)) == b"":
            return self._of_gone(row.run)
        created, *_ = self._events(records[0])
        if not isinstance(created, ev.RunCreated):
            raise ValueError("the first does not create it")  # noqa: TRY004 - what was stored is wrong, not who calls
        told = {
            "workflow": created.workflow, "version": created.version, "name": created.name, "key": created.key,
            "plan_digest": created.plan, "created_at": records[0].time, "created_offset": records[0].offset,
        }  # fmt: skip
        if not created.key:
            told["input_digest"] = ""
        return (self._of_ended(row) if row.status in _ENDED else self._of_live(row)) | told

    def _of_gone(self, run: str) -> dict[str, Any]:
        """Return what the headers of a run's records tell, whose payloads were purged or archived."""
        first: Record | None = None
        last: Record | None = None
        status = ""
        for record in self._reading.records(run):
            first, last = first or record, record
            status = next((_ENDED_AS[name] for name in record.names.split(" ") if name in _ENDED_AS), status)
        assert first is not None
        assert last is not None
        return {
            "status": status, "position": last.position, "offset": last.offset, "updated_at": last.time, "error": "",
            "created_at": first.time, "created_offset": first.offset,
        }  # fmt: skip

    def _of_ended(self, row: RunRow) -> dict[str, Any]:
        last, *more = self._reading.log.stream(run_stream(row.run), after=max(row.position - 1, 0), limit=2) or (None,)
        if last is None or more:
            # It does not point at the last record: what that says is found the long way.
            return self._of_live(row)
        for event in self._events(last):
            status = _ENDS.get(type(event))
            if status is not None:
                return _ended(event, status, last)
        return self._of_live(row)

    def _of_live(self, row: RunRow) -> dict[str, Any]:
        """Fold everything, and see when what the row says came to be so: at the end of a commit."""
        make_installed_known()
        run = Run(row.run, self._reading.log.store_id, self._reading.codec)
        told: tuple[str, str] = ("", "")
        at: Record | None = None
        ended: tuple[Any, Record] | None = None
        for record, ends_commit in self._records(row.run):
            for event in self._events(record):
                if isinstance(event, ev.RunCreated):
                    make_installed_known()
                    run.program = run.plans[event.plan] = self._program(event.plan)
                elif isinstance(event, ev.RunLinked):
                    run.link = run.links[event.link] = self._link(event.link)
                elif isinstance(event, ev.PlanRevised):
                    run.plans[event.plan], run.links[event.link] = self._program(event.plan), self._link(event.link)
                # Only a failed run has events after its end: it was reopened.
                ended = (event, record) if type(event) in _ENDS else None
                if not isinstance(event, ev.RunQuarantined):
                    evolve(run, event)
            run.todo.clear()
            run.position = record.position
            if ends_commit and row_of(run) != told:
                told, at = row_of(run), record
        if ended is not None:
            event, record = ended
            return _ended(event, _ENDS[type(event)], record)
        assert at is not None
        self._live = run
        status, waiting = told
        found: dict[str, Any] = {
            "status": str(status),
            "waiting": waiting,
            "position": at.position,
            "offset": at.offset,
        }
        if row.status == "pending" and status == "created":
            # It waits for a place; no event says so, nor since when.
            found["status"] = "pending"
        else:
            found["updated_at"] = at.time
        return found | {"error": ""}

    def _records(self, run: str) -> Iterator[tuple[Record, bool]]:
        """Return each record, and whether it is the run's last one of its commit."""
        held: Record | None = None
        end = 0
        for record in self._reading.records(run):
            if held is not None:
                yield held, record.offset > end
            if record.offset > end:
                end = self._end_of_commit(record.offset)
            held = record
        if held is not None:
            yield held, True

    def _end_of_commit(self, offset: int) -> int:
        commit, _ = self._evidence.commit_around(offset)
        match commit:
            case (int(first), int(count), *_):
                return first + count - 1
            case _:
                raise ValueError(f"offset {offset} lies in no commit")

    def _events(self, record: Record) -> list[Any]:
        return rebuild(record.names, self._reading.codec.unpack(record.payload))

    def _program(self, digest: str) -> Program:
        if digest not in self._programs:
            if len(self._programs) >= _KEPT:
                self._programs.clear()
            self._programs[digest] = Program(self._reading.plan(digest), digest)
        return self._programs[digest]

    def _link(self, digest: str) -> Link:
        if digest not in self._links:
            if len(self._links) >= _KEPT:
                self._links.clear()
            self._links[digest] = self._reading.link(digest)
        return self._links[digest]


def _ended(event: Any, status: str, record: Record) -> dict[str, Any]:
    match event:
        case ev.RunQuarantined():
            error = event.error
        case ev.RunCancelled():
            error = event.message
        case _:
            error = getattr(event, "error", {}).get("message", "")
    return {
        "status": status, "waiting": "", "position": record.position, "offset": record.offset,
        "updated_at": record.time, "error": str(error)[:500],
    }  # fmt: skip

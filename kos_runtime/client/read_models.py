"""Whether what is read beside the log says what the log says: search attributes, kept results, references, answers, snapshots.

The rows that list runs are compared by ``rows``, stored timers too. Two things are not derivable, and not compared: the
buckets of limits, which a time span empties, and whether a result that is not kept any more was pushed out by newer ones.
A reference that nothing needs only keeps a blob, so only one that is missing is told. What is written while this looks
lies behind where it began, and is left out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from kos_runtime.client.folding import compared, first_difference
from kos_runtime.client.reading import Reading
from kos_runtime.core.errors import InvalidDefinition, NotFound, StoreError
from kos_runtime.core.event import TYPES, UnknownEvent, rebuild
from kos_runtime.core.identity import run_stream
from kos_runtime.core.record import Record, ResultRow
from kos_runtime.core.schedule.state import FINGERPRINT as SCHEDULE_FINGERPRINT
from kos_runtime.core.schedule.state import PREFIX as SCHEDULES
from kos_runtime.core.schedule.state import Schedule, evolve
from kos_runtime.core.schedule.state import to_plain as schedule_plain
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.attributes import as_text
from kos_runtime.core.workflow.blobs import blobs_of

#: A command's answer names an event of one of so many records, from the position that it names on.
_NEAR: Final = 64
_PAGE: Final = 1_000
_RUNS: Final = run_stream("")


@dataclass(slots=True)
class _Facts:
    """What the log says, gathered from its records in their order."""

    attributes: dict[str, dict[str, str]] = field(default_factory=dict)
    #: run → path → the keys under which results of it were looked for.
    sought: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    #: key → (offset, row) of the newest result that is to be kept under it.
    results: dict[str, tuple[int, ResultRow]] = field(default_factory=dict)
    #: Streams of which only headers are left, and whether anything was recorded once more from another run.
    gone: set[str] = field(default_factory=set)
    repeated: bool = False
    last: int = 0


class ReadModels:
    """Compares what stands beside one store's log with it."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._evidence = reading.log.evidence()

    def unlike(self) -> Iterator[str]:
        """Yield what differs, a sentence for each row, in the whole store."""
        facts = _Facts()
        yield from self._gather(facts, self._all())
        attributed = list(self._evidence.attributed())
        yield from ("search attributes are stored for no run" for stream in attributed if not stream.startswith(_RUNS))
        yield from self._attributes(facts, [stream.removeprefix(_RUNS) for stream in attributed])
        yield from self._results(facts, self._evidence.result_rows())
        if not facts.gone and not facts.repeated:
            yield from self._unkept(facts)
        yield from self._commands(facts.last)
        for stream, fingerprint in self._evidence.snapshots():
            if stream in facts.gone:
                yield f"{stream} has a snapshot, and its payloads are gone"
            elif stream.startswith(SCHEDULES):
                yield from self._schedule(stream, fingerprint)
            elif stream.startswith(_RUNS):
                yield from self._snapshot(stream.removeprefix(_RUNS))

    def unlike_of(self, run: str) -> Iterator[str]:
        """Yield what differs of one run."""
        facts = _Facts()
        yield from self._gather(facts, self._reading.records(run))
        yield from self._attributes(facts, [run])
        yield from self._results(facts, self._evidence.result_rows(run))
        if run_stream(run) not in facts.gone:
            yield from self._snapshot(run)

    # --- gathering

    def _all(self) -> Iterator[Record]:
        return (Record(*values) for values in self._evidence.records())  # type: ignore[arg-type]

    def _gather(self, facts: _Facts, records: Iterable[Record]) -> Iterator[str]:
        for record in records:
            facts.last = max(facts.last, record.offset)
            if not record.payload:
                facts.gone.add(record.stream)
                continue
            if not record.stream.startswith((_RUNS, SCHEDULES)):
                # A peer's: its machine alone reads it, and nothing is read beside it.
                continue
            try:
                events = rebuild(record.names, self._reading.codec.unpack(record.payload))
            except (UnknownEvent, ValueError) as error:
                yield f"{record.stream} seq {record.position} cannot be read: {error}"
                continue
            yield from self._references(record, events)
            if record.stream.startswith(_RUNS):
                self._take(facts, record, events)

    def _references(self, record: Record, events: list[Any]) -> Iterator[str]:
        for event in events:
            mentioned = list(blobs_of(event))
            if isinstance(event, ev.PlanRevised):
                # The plan that a run was created with is kept by its row.
                mentioned += [event.plan, event.link]
            for digest in mentioned:
                if digest and not self._evidence.has_reference(digest, record.stream):
                    yield f"{record.stream} seq {record.position} mentions blob {digest[:16]}, and no reference keeps it"

    def _take(self, facts: _Facts, record: Record, events: list[Any]) -> None:
        run = record.stream.removeprefix(_RUNS)
        for event in events:
            match event:
                case ev.SearchAttributesSet():
                    held = facts.attributes.setdefault(run, {})
                    for name, value in event.attributes.items():
                        held.pop(name, None)
                        if value is not None:
                            held[name] = as_text(value)
                case ev.RestoreBegun():
                    facts.attributes.pop(run, None)
                    facts.repeated = True
                case ev.RunForked():
                    facts.repeated = True
                case ev.ResultSought():
                    facts.sought.setdefault(run, {}).setdefault(event.path, set()).add(event.key)
                case ev.StepCompleted() if run in facts.sought:
                    for key in facts.sought[run].get(event.path, ()):
                        row = ResultRow(key, run, event.path, record.position, record.time)
                        facts.results[key] = (record.offset, row)

    # --- comparing

    def _attributes(self, facts: _Facts, attributed: Iterable[str]) -> Iterator[str]:
        for run in dict.fromkeys([*attributed, *facts.attributes]):
            expected = {} if run_stream(run) in facts.gone else facts.attributes.get(run, {})
            found = self._reading.log.attributes(run)
            if found != expected and found != self._attributes_now(run):
                yield f"run {run}: its search attributes say {found!r}, its events say {expected!r}"

    def _attributes_now(self, run: str) -> dict[str, str]:
        """Return what a run's events say by now: one that is at work may have set some."""
        facts = _Facts()
        list(self._gather(facts, self._reading.records(run)))
        return {} if run_stream(run) in facts.gone else facts.attributes.get(run, {})

    def _results(self, facts: _Facts, rows: Iterable[ResultRow]) -> Iterator[str]:
        for row in rows:
            what = f"the result that is kept under {str(row.key)[:16]} for step {row.path} of run {row.run}"
            record = next(iter(self._reading.log.stream(run_stream(row.run), after=row.position - 1, limit=1)), None)
            if record is None or record.position != row.position:
                yield f"{what}: there is no seq {row.position}"
            elif record.offset > facts.last:
                continue
            elif not record.payload:
                yield f"{what}: the run's payloads are gone"
            elif row.key not in facts.sought.get(row.run, {}).get(row.path, ()):
                yield f"{what}: its events do not say that it is kept under that"
            elif record.time != row.at:
                yield f"{what}: its row says at {row.at!r}, its events say {record.time!r}"
            elif not self._completes(record, row.path):
                yield f"{what}: the step did not complete at seq {row.position}"

    def _completes(self, record: Record, path: str) -> bool:
        events = rebuild(record.names, self._reading.codec.unpack(record.payload))
        return any(isinstance(event, ev.StepCompleted) and event.path == path for event in events)

    def _unkept(self, facts: _Facts) -> Iterator[str]:
        """Yield newest results that are not kept, unless so many are that some had to go."""
        if self._evidence.results_are_full():
            return
        for key, (offset, row) in facts.results.items():
            held = self._reading.log.result(key)
            at = None if held is None else self._offset(held)
            if at is None or at < offset:
                yield f"run {row.run}: the result of step {row.path} at seq {row.position} is not kept under {key[:16]}"

    def _offset(self, row: ResultRow) -> int | None:
        records = self._reading.log.stream(run_stream(row.run), after=row.position - 1, limit=1)
        return records[0].offset if records else None

    def _commands(self, last: int) -> Iterator[str]:
        for command_id, offset, answer in self._evidence.command_rows():
            if isinstance(offset, int) and offset > last:
                continue
            problem = self._command(answer)
            if problem:
                yield f"the answer to command {command_id}: {problem}"

    def _command(self, answer: Any) -> str:
        try:
            plain = self._reading.codec.unpack(answer)
            run, position, event = plain["run"], int(plain["position"]), plain["event"]
        except (ValueError, KeyError, TypeError):
            return "it cannot be read"
        names: set[str] = set()
        for stream in (run_stream(run), SCHEDULES + run):
            for record in self._reading.log.stream(stream, after=position - 1, limit=_NEAR):
                names.update(record.names.split(" "))
        if not names:
            return f"it names seq {position} of {run}, which is not there"
        if not event:
            # It changed nothing, and is answered anew when it is asked again.
            return ""
        known = next((kind.name for cls, kind in TYPES.items() if cls.__name__ == event), None)
        if known is None or not any(label.rpartition(".")[0] == known for label in names):
            return f"it names {event} of {run} at seq {position}, where the log has none"
        return ""

    def _snapshot(self, run: str) -> Iterator[str]:
        try:
            problem = compared(self._reading, run)
        except (InvalidDefinition, NotFound, StoreError, KeyError, ValueError) as error:
            problem = f"it cannot be folded: {error}"
        if problem:
            yield f"run {run}: {problem}"

    def _schedule(self, stream: str, fingerprint: str) -> Iterator[str]:
        row = self._reading.log.snapshot(stream)
        if row is None or fingerprint != SCHEDULE_FINGERPRINT:
            return
        state = Schedule(stream.removeprefix(SCHEDULES))
        after = 0
        while after < row.position and (records := self._reading.log.stream(stream, after=after, limit=_PAGE)):
            for record in records:
                if record.position > row.position:
                    break
                for event in rebuild(record.names, self._reading.codec.unpack(record.payload)):
                    evolve(state, event)
                state.position = record.position
            after = records[-1].position
        found = first_difference(self._reading.codec.unpack(row.state), schedule_plain(state))
        if found:
            yield f"schedule {state.id}: its snapshot at seq {row.position} is not what the log says: {found}"

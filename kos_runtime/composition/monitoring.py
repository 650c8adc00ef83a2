"""Follows the log beside the engine, and writes what the configuration asks for: metrics and the audit trail.

A follower reads what is committed and remembers how far it has come. It holds the engine up in nothing, and leaves the
processors to it: while it is behind, its files are. A run whose workflow says ``performance_metrics: false`` or ``audit_trail: false`` is left out.
"""

import contextlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kos_runtime.adapters.codec import MsgpackCodec
from kos_runtime.adapters.event_store.reader import SqliteLogReader
from kos_runtime.composition.wiring import blob_store
from kos_runtime.core.errors import KosError
from kos_runtime.core.event import TYPES, UnknownEvent, rebuild
from kos_runtime.core.identity import run_stream
from kos_runtime.core.plan.model import Plan
from kos_runtime.core.plan.plain import from_plain as plan_from
from kos_runtime.core.projection.metrics import TIMED, Metrics, from_plain
from kos_runtime.core.record import Record

if TYPE_CHECKING:
    from kos_runtime.adapters.monitoring import AuditFile
    from kos_runtime.definition.settings import EngineSettings

#: The log is looked at so often, in seconds, and so many records are taken at a time.
EVERY_S: Final = 1.0
_PAGE: Final = 1_000
#: Of its thread, on Linux.
NICE: Final = 15
#: So many workflows' plans and runs' rows are kept in memory.
_MOST: Final = 4_096
#: More workflows than this are counted as one, ``other``: a name is anybody's to choose.
MAX_WORKFLOWS: Final = 1_000
_RUNS: Final = run_stream("")


class Monitor:
    """One pass after the other over what is new. Not for several threads at once."""

    def __init__(self, folder: Path, settings: "EngineSettings") -> None:
        self.folder = folder
        self.settings = settings
        self.metrics: Metrics | None = None
        self._offset = 0
        self._audit: AuditFile | None = None
        self._reader: SqliteLogReader | None = None
        self._codec = MsgpackCodec()
        self._rows: dict[str, tuple[str, int, str]] = {}
        self._flags: dict[str, dict[str, bool]] = {}
        self._counted: set[str] = set()

    @staticmethod
    def is_asked_for(settings: "EngineSettings") -> bool:
        """Say whether there is anything to do."""
        return settings.metrics_collection or _audits(settings)

    def poll(self) -> bool:
        """Take in a page of what is new; say whether there may be more at once."""
        reader = self._open()
        starts = [self._offset] if self.metrics is not None else []
        if self._audit is not None:
            starts.append(self._audit.offset)
        if not starts:
            return False
        records = reader.records(after=min(starts), limit=_PAGE)
        if not records:
            return False
        if self.metrics is not None and records[-1].offset > self._offset:
            for record in records:
                if record.offset > self._offset:
                    self._measure(self.metrics, record)
            self._offset = records[-1].offset
            self._write_metrics(self.metrics)
        if self._audit is not None:
            lines = [line for record in records if record.offset > self._audit.offset for line in self._lines(record)]
            if lines:
                self._audit.write(lines)
            self._audit.offset = max(self._audit.offset, records[-1].offset)
        return len(records) == _PAGE

    def close(self) -> None:
        for held in (self._audit, self._reader):
            if held is not None:
                held.close()
        self._audit = self._reader = None

    def _open(self) -> SqliteLogReader:
        if self._reader is None:
            # Who follows nothing need not know how it is written.
            from kos_runtime.adapters.monitoring import AUDIT, AuditFile

            self._reader = SqliteLogReader.open(self.folder)
            if self.settings.metrics_collection:
                self.metrics = self._known_metrics(self._reader)
            if _audits(self.settings):
                self._audit = AuditFile(self.folder / AUDIT)
        return self._reader

    # --- runs

    def _run(self, run: str) -> tuple[str, int, str]:
        """Return a run's workflow, when it was created, and its plan."""
        known = self._rows.get(run)
        if known is None:
            row = None if self._reader is None else self._reader.run(run)
            known = ("", 0, "") if row is None else (row.workflow, row.created_at, row.plan_digest)
            _keep(self._rows, run, known)
        return known

    def _wants(self, plan: str, flag: str) -> bool:
        """Say whether a workflow is to be in what a flag of its ``monitoring`` is about."""
        flags = self._flags.get(plan)
        if flags is None:
            try:
                flags = plan_from(self._codec.unpack(blob_store(str(self.folder)).get(plan)), Plan).monitoring
            except (KeyError, ValueError, KosError):
                flags = {}
            _keep(self._flags, plan, flags)
        return flags.get(flag, True)

    # --- metrics

    def _known_metrics(self, reader: SqliteLogReader) -> Metrics:
        """Return the metrics as they were written last; counted from the beginning where they do not fit."""
        from kos_runtime.adapters.monitoring import METRICS_STATE

        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            plain = json.loads((self.folder / METRICS_STATE).read_text(encoding="utf-8"))
            if plain["store"] == reader.store_id and plain["offset"] <= reader.head().offset:
                found = from_plain(plain)
                self._offset = int(plain["offset"])
                return found
        return Metrics()

    def _measure(self, metrics: Metrics, record: Record) -> None:
        if not record.stream.startswith(_RUNS):
            return
        workflow, created_at, plan = self._run(record.stream.removeprefix(_RUNS))
        if not self._wants(plan, "performance_metrics"):
            return
        if workflow not in self._counted:
            self._counted.update(each for _, _, each in metrics.counts)
            if len(self._counted) >= MAX_WORKFLOWS and workflow not in self._counted:
                workflow = "other"
            self._counted.add(workflow)
        metrics.count(record.names, workflow)
        timed = any(label.partition(".")[0] in TIMED for label in record.names.split())
        if self.settings.performance_tracking and timed:
            metrics.time(self._events(record), workflow, at=record.time, created_at=created_at)

    def _write_metrics(self, metrics: Metrics) -> None:
        from kos_runtime.adapters.monitoring import METRICS_STATE, METRICS_TEXT, metrics_text, replace_file

        assert self._reader is not None
        state = {"store": self._reader.store_id, "offset": self._offset, **metrics.to_plain()}
        replace_file(self.folder / METRICS_STATE, json.dumps(state))
        replace_file(self.folder / METRICS_TEXT, metrics_text(metrics))

    # --- audit

    def _lines(self, record: Record) -> list[dict[str, Any]]:
        """Return the events of a record as the audit trail has them."""
        run = record.stream.removeprefix(_RUNS) if record.stream.startswith(_RUNS) else ""
        if run and not self._wants(self._run(run)[2], "audit_trail"):
            return []
        about = {
            "offset": record.offset,
            "stream": record.stream,
            "seq": record.position,
            "at": record.time,
            "epoch": record.epoch,
            "cause": record.causation,
            "hash": record.hash.hex(),
        }
        events = self._events(record)
        names = record.names.split()
        data: list[Any] = [self._plain(event) for event in events] or [None] * len(names)
        return [
            {**about, "place": place, "of": len(names), "type": name, "data": each}
            for place, (name, each) in enumerate(zip(names, data, strict=True), 1)
        ]

    def _plain(self, event: Any) -> dict[str, Any]:
        return {name: self._value(getattr(event, name)) for name in TYPES[type(event)].fields}

    def _value(self, value: Any) -> Any:
        if isinstance(value, bytes):
            if not value:
                return None
            try:
                return self._codec.unpack(value)
            except ValueError:
                return value.hex()
        return value

    def _events(self, record: Record) -> list[Any]:
        """Return a record's events; none of one whose payload is gone, or that a newer version wrote."""
        if not record.payload:
            return []
        try:
            return list(rebuild(record.names, self._codec.unpack(record.payload)))
        except (UnknownEvent, ValueError):
            return []


def _audits(settings: "EngineSettings") -> bool:
    """Say whether there is a trail beside the log, which is one already."""
    return settings.audit_logging and settings.audit_backend == "json_lines"


def _keep(kept: dict[str, Any], key: str, value: Any) -> None:
    kept[key] = value
    if len(kept) > _MOST:
        del kept[next(iter(kept))]


class Following:
    """A monitor on a thread of its own. What goes wrong is said once, and it goes on."""

    def __init__(self, folder: Path, settings: "EngineSettings", say: Callable[..., None]) -> None:
        self._monitor = Monitor(folder, settings)
        self._say = say
        self._stop = threading.Event()
        self._told = ""
        self._thread = threading.Thread(target=self._run, name="kos-monitor", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            # Whoever works goes first: a step costs the follower about 40 us, half of what it costs the engine.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while not self._stop.is_set():
            if not self._look():
                self._stop.wait(EVERY_S)
        # What was committed until the end is in it too, as far as that takes a moment.
        for _ in range(100):
            if not self._look():
                break
        self._monitor.close()

    def _look(self) -> bool:
        try:
            return self._monitor.poll()
        except (KosError, OSError) as error:
            if str(error) != self._told:
                self._told = str(error)
                self._say("monitoring", problem=self._told)
            return False

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=10.0)

"""What can be read of a store by anybody, without an owner and without Ray."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kos_runtime.adapters.blob_store.filesystem import FilesystemBlobStore
from kos_runtime.adapters.codec import MsgpackCodec
from kos_runtime.adapters.event_store.reader import SqliteLogReader
from kos_runtime.adapters.ownership import owner_of
from kos_runtime.adapters.progress import ProgressFile
from kos_runtime.client.families import standing
from kos_runtime.client.granted import facts_of
from kos_runtime.composition.machines import load_installed
from kos_runtime.core.errors import NotFound
from kos_runtime.core.event import TYPES, UnknownEvent, rebuild
from kos_runtime.core.identity import run_stream
from kos_runtime.core.nearest import nearest
from kos_runtime.core.peer.records import prefix_of
from kos_runtime.core.plan.link import Link
from kos_runtime.core.plan.model import Plan
from kos_runtime.core.plan.plain import from_plain
from kos_runtime.core.projection.steps import RunView, fold
from kos_runtime.core.record import Record, RunRow
from kos_runtime.core.workflow.events import AuthorityRecorded
from kos_runtime.core.workflow.spawning import is_child
from kos_runtime.core.workflow.waiting import waits_for_time

_PAGE = 1_000
_LIVE = frozenset({"running", "pending"})


@dataclass(frozen=True, slots=True)
class EventLine:
    """One event as a person reads it. ``seq`` is the position of its record in the run, ``offset`` in the log."""

    seq: int
    offset: int
    time: int
    type: str
    cause: str
    epoch: int
    data: dict[str, Any]
    event: Any


def _offset(line: EventLine) -> int:
    return line.offset


class Reading:
    """A store, read."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.log = SqliteLogReader.open(self.folder)
        self.blobs = FilesystemBlobStore(self.folder / "blobs")
        self.codec = MsgpackCodec()
        self._progress = ProgressFile(self.folder)

    def close(self) -> None:
        self.log.close()

    # --- runs

    def find(self, text: str) -> RunRow:
        """Return the run that a person means: a full id, a unique prefix, a name, ``@latest`` or ``@failed``.

        Raises:
            NotFound: None, or more than one; the candidates are in the message.
        """
        if text in {"@latest", "@failed"}:
            row = self._newest(("failed",) if text == "@failed" else ())
            if row is None:
                raise NotFound("there is no failed run" if text == "@failed" else "there is no run yet")
            return row
        exact = self.log.run(text)
        if exact is not None:
            return exact
        named = self.log.runs(name=text, limit=2) if text else []
        matches = named or (self.log.runs(prefix=text, limit=8) if text else [])
        # Children begin with the id of their root, which is what is meant unless more is written.
        matches = [row for row in matches if not is_child(row.run)] or matches
        if len(matches) == 1:
            return matches[0]
        if matches:
            listed = ", ".join(row.run for row in matches)
            raise NotFound(f"{text!r} could be any of {listed}; write more of it")
        near = nearest(text, [row.run for row in self.log.runs(limit=200)])
        hint = f"did you mean {near}?" if near else "`kos ls` lists the runs"
        raise NotFound(f"no run {text!r} in {self.folder}; {hint}")

    def _newest(self, status: tuple[str, ...]) -> RunRow | None:
        """Return the newest run that was started for itself, else the newest of all."""
        newest: RunRow | None = None
        for limit in (1, 64, 4_096):
            rows = self.log.runs(status=status, limit=limit)
            newest = next((row for row in rows if not is_child(row.run)), None)
            if newest is not None or len(rows) < limit:
                return newest or (rows[0] if rows else None)
        return rows[0]

    def status(self, row: RunRow) -> str:
        """Return a run's status as a person should see it: a live one whose owner is gone is interrupted."""
        timed = row.status == "waiting" and waits_for_time(row.waiting)
        if (row.status in _LIVE or timed) and not self.owned():
            return "interrupted"
        if timed:
            # It goes on by itself, and nobody has to do anything.
            return "running"
        return row.status

    def standing(self, row: RunRow) -> str:
        """Return a run's status for whoever follows it: one that only waits for its children is where they are."""
        return standing(self, row)

    def owned(self) -> bool:
        """Say whether somebody owns the store right now."""
        return owner_of(self.folder / "owner.lock") is not None or owner_of(self.folder / "events.db.owner") is not None

    # --- events

    def records(self, run: str, *, after: int = 0) -> Iterator[Record]:
        return self._records(run_stream(run), after)

    def _records(self, stream: str, after: int) -> Iterator[Record]:
        while page := self.log.stream(stream, after=after, limit=_PAGE):
            yield from page
            after = page[-1].position

    def lines(self, run: str, *, after: int = 0) -> Iterator[EventLine]:
        """Return a run's events behind a position, in order."""
        return self.lines_of(run_stream(run), after=after)

    def lines_of_peers(self, run: str) -> list[EventLine]:
        """Return what the peers of a run's votes recorded in streams of their own, in the order in which it was stored.

        ``data`` has the peer as its ``path``, ``STEP/PEER``; ``seq`` is the position in its stream.
        """
        prefix = prefix_of(run)
        streams = self.log.streams(prefix)
        if streams:
            load_installed()
        found = []
        for stream in streams:
            peer = stream.removeprefix(prefix)
            found += [replace(line, data={"path": peer, **line.data}) for line in self.lines_of(stream)]
        return sorted(found, key=_offset)

    def lines_of(self, stream: str, *, after: int = 0) -> Iterator[EventLine]:
        """Return a stream's events behind a position, in order."""
        data: dict[str, Any]
        for record, event in self._events_of(stream, after):
            if isinstance(event, str):
                name, data, built = record.names, {"problem": event}, None
            else:
                fields = TYPES[type(event)].fields
                name, built = type(event).__name__, event
                data = {field: self._plain(field, getattr(event, field)) for field in fields}
                if isinstance(event, AuthorityRecorded):
                    data["facts"] = facts_of(event)
            yield EventLine(
                record.position, record.offset, record.time, name, record.causation, record.epoch, data, built
            )

    def _events(self, run: str, after: int) -> Iterator[tuple[Record, Any]]:
        return self._events_of(run_stream(run), after)

    def _events_of(self, stream: str, after: int) -> Iterator[tuple[Record, Any]]:
        """Return each event with its record; in place of the events of a record that cannot be read, why not."""
        for record in self._records(stream, after):
            if not record.payload:
                yield record, "its payload was purged or archived"
                continue
            try:
                events = rebuild(record.names, self.codec.unpack(record.payload))
            except (UnknownEvent, ValueError) as error:
                yield record, str(error)
                continue
            for event in events:
                yield record, event

    def _plain(self, name: str, value: Any) -> Any:
        """Show packed values as what they hold; digests as hex."""
        if isinstance(value, bytes):
            if name.endswith("digest") or "blob" in name:
                return value.hex()
            try:
                return self.codec.unpack(value) if value else None
            except ValueError:
                return value.hex()
        if isinstance(value, list):
            return [self._plain(name, item) for item in value]
        if isinstance(value, dict):
            return {key: self._plain(key, item) for key, item in value.items()}
        return value

    def view(self, run: str, *, until: int | None = None, into: RunView | None = None) -> RunView:
        """Return a run as its events tell it, up to a position; ``into`` continues an earlier view."""
        view = into or RunView(run)
        for record, event in self._events(run, view.seq):
            if until is not None and record.position > until:
                break
            if not isinstance(event, str):
                fold(view, event, record.time, record.position)
        if until is None:
            self.tell_progress(view)
        return view

    def tell_progress(self, view: RunView) -> None:
        """Put beside the steps that run what their attempts said last of how far they are."""
        reports = self._progress.reports()
        if reports and view.status == "running":
            for step in view.steps.values():
                if step.status == "running":
                    step.progress = reports.get((view.run, step.path, step.fence))

    def short_view(self, run: str, most: int) -> RunView | None:
        """Return a run as its events tell it, or None when it has more than ``most`` of them."""
        view = RunView(run)
        for count, (record, event) in enumerate(self._events(run, 0)):
            if count >= most:
                return None
            if not isinstance(event, str):
                fold(view, event, record.time, record.position)
        return view

    def outputs(self, view: RunView) -> dict[str, Any]:
        """Return a completed run's outputs."""
        found: dict[str, Any] = self.codec.unpack(view.outputs) if view.outputs else {}
        for name, digest, *_ in view.outputs_blobs:
            found[name] = self.codec.unpack(self.blobs.get(digest))
        return found

    def inputs(self, view: RunView) -> dict[str, Any]:
        packed = self.blobs.get(view.inputs_blob[0]) if view.inputs_blob else view.inputs
        found: dict[str, Any] = self.codec.unpack(packed) if packed else {}
        return found

    def value(self, packed: bytes, blob: list[Any] | None) -> Any:
        """Return a value that is kept in an event, or beside it as a blob."""
        packed = self.blobs.get(blob[0]) if blob else packed
        return self.codec.unpack(packed) if packed else None

    def plan(self, digest: str) -> Plan:
        return from_plain(self.codec.unpack(self.blobs.get(digest)), Plan)

    def link(self, digest: str) -> Link:
        return from_plain(self.codec.unpack(self.blobs.get(digest)), Link)

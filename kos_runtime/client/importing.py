"""Bringing an exported run into a store."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from kos_runtime.client.offline import kept
from kos_runtime.client.transfer import DamagedExport, Export, blob_data, check
from kos_runtime.composition.wiring import CODEC
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.event import rebuild
from kos_runtime.core.identity import run_stream
from kos_runtime.core.record import AttributeRow, Batch, RunRow
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.attributes import as_text
from kos_runtime.core.workflow.status import RunStatus

#: A record may be so much newer than this machine's clock says, in milliseconds: more would set the log's time ahead.
MAX_AHEAD_MS: Final = 300_000
_OVER: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.QUARANTINED})


@dataclass(frozen=True, slots=True)
class Imported:
    """``existing``: the run was here already, the same."""

    run: str
    store: str
    records: int
    existing: bool


def import_run(folder: Path, file: str) -> Imported:
    """Check an export and store it; a run that is here already, the same, is left as it is.

    Raises:
        DamagedExport: Something of the file is not what was exported. Nothing was stored.
        InvalidDefinition: It cannot be kept here: it had not ended, or another run has its id.
        Unreachable: Somebody owns the store.
    """
    export = check(file, CODEC)
    assert export.state is not None
    if export.state.status not in _OVER:
        raise InvalidDefinition(
            f"run {export.run} had not ended when it was exported ({export.state.status}): it would go on in two stores; "
            "export it again when it has ended"
        )
    stream = run_stream(export.run)
    with kept(folder, "kos import") as keeper:
        store = keeper.store
        if store.salt(stream) is not None:
            here = store.stream(stream, limit=len(export.records) + 2)
            if [r.hash for r in here[: len(export.records)]] == [r.hash for r in export.records]:
                return Imported(export.run, export.store, len(export.records), existing=True)
            raise InvalidDefinition(f"another run with the id {export.run} is in {folder}: nothing was stored")
        now = keeper.now()
        newest = max(record.time for record in export.records)
        if newest > now + MAX_AHEAD_MS:
            line = 2 + next(n for n, record in enumerate(export.records) if record.time == newest)
            raise DamagedExport(file, line, "is from the future, by this machine's clock")
        for data in blob_data(file, export):
            keeper.blobs.put(data)
        batch = Batch(keeper.recorder.epoch, streams=[(stream, export.salt)])
        batch.origins.append((stream, export.store, export.partition))
        keeper.bring_in(export.records, batch)
        batch.attributes += (AttributeRow(export.run, name, as_text(v)) for name, v in export.state.attributes.items())
        batch.blob_refs += [(digest, stream) for digest in export.mentioned]
        row = _row(export, batch)
        # The store takes a run's first row for its creation.
        batch.runs += [replace(row, offset=batch.records[0].offset), row]
        keeper.commit(batch)
    return Imported(export.run, export.store, len(export.records), existing=False)


def _row(export: Export, batch: Batch) -> RunRow:
    """Make the row by which a run is listed, from its events."""
    first, last = batch.records[0], batch.records[-1]
    (created, *_) = rebuild(first.names, CODEC.unpack(first.payload))
    if not isinstance(created, ev.RunCreated):
        raise InvalidDefinition(f"the first record of run {export.run} does not create it: nothing was stored")
    state = export.state
    assert state is not None
    error = ""
    for event in rebuild(last.names, CODEC.unpack(last.payload)):
        match event:
            case ev.RunFailed():
                error = str(event.error.get("message", ""))
            case ev.RunCancelled():
                error = event.message
            case ev.RunQuarantined():
                error = event.error
            case _:
                pass
    return RunRow(
        export.run, created.workflow, created.version, created.name, str(state.status), first.time, last.time, last.offset,
        last.position, created.key, "", created.plan, "", error[:500],
    )  # fmt: skip

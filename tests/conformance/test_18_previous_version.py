"""Row 18, a log that was written by the previous version: it folds under this one, and a run goes on from it on every host.

``previous/NAME.tar.gz`` is a store as that version left it, ``NAME.json`` what that version folded it to; a new version adds a
pair and changes none. It catches: an event whose fields were changed without a new version; a version without a way from the
one before; folding that makes something else of an event than it did. Each is done on purpose below.
"""

import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import kos_runtime
from kos_runtime.adapters.blob_store.memory import MemoryBlobStore
from kos_runtime.adapters.event_store.memory import MemoryEventStore
from kos_runtime.adapters.event_store.memory_log import MemoryLog
from kos_runtime.client import folding
from kos_runtime.client.proof import verify_all
from kos_runtime.client.reading import Reading
from kos_runtime.core.event import BY_NAME, TYPES
from kos_runtime.core.identity import run_stream
from kos_runtime.core.record import Batch
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow import evolve
from kos_runtime.core.workflow.state import Run
from kos_runtime.definition import EngineSettings
from tests.engine.world import World

HERE = Path(__file__).parent / "previous"
STORES = sorted(path.name.removesuffix(".tar.gz") for path in HERE.glob("*.tar.gz"))
ENDED = {"text": "hello by hand", "texts": ["hello x", "hello y", "hello z"]}


@pytest.fixture(params=STORES)
def previous(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A store of an earlier version; what it folded to lies beside it."""
    with tarfile.open(HERE / f"{request.param}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "expected.json").write_bytes((HERE / f"{request.param}.json").read_bytes())
    return tmp_path / ".kos"


def told(reading: Reading, run: Run) -> dict[str, Any]:
    unpack = reading.codec.unpack
    steps = {
        path: [str(s.status), s.attempt, s.fence, s.retries, unpack(s.exposed) if s.exposed else {}]
        for path, s in run.steps.items()
    }
    return {
        "status": str(run.status), "vars": run.vars, "open": run.open, "agenda": run.agenda, "manual": list(run.manual),
        "outputs": unpack(run.outputs) if run.outputs else {}, "steps": steps,
        "scopes": {path: [s.remaining, s.active, s.waits] for path, s in run.scopes.items()},
    }  # fmt: skip


def folds(store: Path) -> str:
    """Fold every run of a store; return the first difference to what the previous version made of it."""
    expected = json.loads((store.parent / "expected.json").read_text())
    reading = Reading(store)
    try:
        for row in reading.log.runs():
            before = expected[row.name]
            try:
                now = told(reading, folding.folded(reading, row.run))
            except Exception as error:
                return f"{row.name}: {error}"
            now = json.loads(json.dumps({**now, "row": row.status}))
            if now != before:
                return f"{row.name}: {folding.first_difference(now, before)}"
        return ""
    finally:
        reading.close()


def test_it_folds_to_what_it_was_and_verifies(previous: Path) -> None:
    assert folds(previous) == ""
    proof = verify_all(Reading(previous))
    assert proof.problem == ""
    assert proof.records == 26


def _fields_changed(patch: pytest.MonkeyPatch) -> None:
    kind = TYPES[ev.StepCompleted]
    patch.setattr(kind, "fields", (*kind.fields, "another"))


def _no_way_between_versions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BY_NAME["step_failed"], "version", 2)


def _folded_otherwise(patch: pytest.MonkeyPatch) -> None:
    def completed_without_a_trace(run: Run, event: Any) -> None:
        run.open.pop(event.path, None)

    patch.setitem(evolve.HANDLERS, ev.StepCompleted, completed_without_a_trace)


@pytest.mark.parametrize("broken", [_fields_changed, _no_way_between_versions, _folded_otherwise])
def test_each_break_is_caught(
    previous: Path, monkeypatch: pytest.MonkeyPatch, broken: Callable[[pytest.MonkeyPatch], None]
) -> None:
    broken(monkeypatch)
    assert folds(previous) != ""


# --- going on


class Virtual:
    """The engine in virtual time, over the previous store's records in memory."""

    def __init__(self, store: Path) -> None:
        reading = Reading(store)
        log = MemoryLog(reading.log.store_id)
        blobs = MemoryBlobStore()
        for path in (store / "blobs").rglob("*"):
            if path.is_file():
                blobs.put(path.read_bytes())
        begun: set[str] = set()
        for link in reading.log.batches(limit=10_000):
            records = reading.log.records(after=link.first_offset - 1, limit=link.count)
            streams = [record.stream for record in records if record.position == 1]
            salts = [
                (stream, reading.log.salt(stream) or b"") for stream in dict.fromkeys(streams) if stream not in begun
            ]
            begun.update(streams)
            log.store(Batch(link.epoch, records, link, salts))
        log.store(Batch(1, runs=reading.log.runs(newest_first=False)))
        log.epoch = reading.log.lease().epoch
        actions = {"greet": lambda invocation, name: {"text": f"hello {name}"}}
        self.world = World(actions, store=MemoryEventStore(log), blobs=blobs)

    def answer(self, run: str) -> None:
        self.world.answer("ask", {"text": "by hand"}, run=run)

    def result(self, run: str) -> dict[str, Any]:
        self.world.virtual.run_until_idle()
        assert self.world.status(run) == "completed"
        return self.world.outputs(run)

    def fork(self, run: str, at: int) -> str:
        from kos_runtime.core.workflow.commands import ForkRun

        command = ForkRun(run="forked", parent=run, at=at, changes=[], salt=b"f" * 16, by="user:row")
        self.world.virtual.request(command)
        return "forked"

    def close(self) -> None:
        self.world.virtual.close()


class Real:
    """The engine over the previous store itself, with real agents."""

    def __init__(self, store: Path, kind: Any) -> None:
        self.engine = kos_runtime.connect(store, host=kind, settings=EngineSettings(ray_dashboard=False))

    def answer(self, run: str) -> None:
        self.engine.answer(run, "ask", {"text": "by hand"})
        self.engine.resume(run)

    def result(self, run: str) -> dict[str, Any]:
        return self.engine.result(run, timeout=60)

    def fork(self, run: str, at: int) -> str:
        return self.engine.fork(run, at).id

    def close(self) -> None:
        from kos_runtime.client.owner import reach_owner

        channel = reach_owner(self.engine.folder)
        if channel is not None:
            channel.request({"op": "stop"})
            channel.close()
        self.engine.close()


@pytest.fixture(params=["virtual", "process", pytest.param("ray", marks=[pytest.mark.cluster, pytest.mark.slow])])
def going(request: pytest.FixtureRequest, previous: Path) -> Iterator[Any]:
    made: Any = Virtual(previous) if request.param == "virtual" else Real(previous, request.param)
    yield made
    made.close()


def test_a_run_goes_on_where_it_was_and_what_ended_is_forked(going: Any, previous: Path) -> None:
    reading = Reading(previous)
    waits, done = reading.find("waits").run, reading.find("done").run
    going.answer(waits)
    assert going.result(waits) == ENDED
    asked = next(line.seq for line in reading.lines(done) if line.type == "ManualTaskAnswered")
    assert going.result(going.fork(done, asked)) == ENDED
    assert reading.log.salt(run_stream(done)) is not None

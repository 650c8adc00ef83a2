"""What is written beside the log: that it is what the log says, whatever became of whoever wrote it."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from kos_runtime.adapters import monitoring as writing
from kos_runtime.adapters.event_store.reader import SqliteLogReader
from kos_runtime.client import WorkflowEngine
from kos_runtime.composition import monitoring
from kos_runtime.composition.monitoring import Monitor
from kos_runtime.definition import EngineSettings, WorkflowDocument, load

TEAM = 'agent: "tests.team:Team", action: greet, inputs: {name: you}'
#: Nothing follows while the runs are made; the tests do that by hand.
QUIET = EngineSettings(metrics_collection=False, audit_logging=False, retry_default=0)
BOTH = EngineSettings(audit_backend="json_lines")


def document(id: str = "w", more: str = "", *, step: str = f"{{id: s, {TEAM}}}") -> WorkflowDocument:
    made = load(f"workflow:\n  id: {id}\n{more}  steps: [{step}]\n", "w.yaml")
    assert isinstance(made, WorkflowDocument)
    return made


@pytest.fixture
def store(tmp_path: Path) -> Path:
    make(tmp_path, document(), document("failing", step="{id: f, fail: {kind: permanent, message: no}}"), document())
    return tmp_path


def make(folder: Path, *documents: WorkflowDocument) -> list[str]:
    with WorkflowEngine(folder, settings=QUIET, host="process") as kos:
        runs = [kos.start(each) for each in documents]
        for run in runs:
            while run.status() not in {"completed", "failed"}:
                pass
        return [run.id for run in runs]


def follow(folder: Path, settings: EngineSettings = BOTH) -> None:
    monitor = Monitor(folder, settings)
    while monitor.poll():
        pass
    monitor.close()


def metrics(folder: Path) -> dict[str, float]:
    lines = (folder / "metrics.prom").read_text().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def audited(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]


def in_the_log(folder: Path) -> list[tuple[int, str, str]]:
    reader = SqliteLogReader.open(folder)
    try:
        return [(r.offset, n, r.hash.hex()) for r in reader.records(limit=10_000) for n in r.names.split()]
    finally:
        reader.close()


def test_metrics_say_how_runs_and_attempts_ended_and_how_long_they_took(store: Path) -> None:
    follow(store)
    found = metrics(store)
    assert found['kos_runs_total{outcome="completed",workflow="w"}'] == 2
    assert found['kos_runs_total{outcome="failed",workflow="failing"}'] == 1
    assert found['kos_attempts_total{outcome="completed",workflow="w"}'] == 2
    assert found['kos_steps_total{outcome="failed",workflow="failing"}'] == 1
    assert (
        found['kos_attempt_seconds_count{workflow="w"}']
        == found['kos_attempt_seconds_bucket{le="+Inf",workflow="w"}']
        == 2
    )
    assert found['kos_run_seconds_count{workflow="w"}'] == 2


def test_who_comes_after_goes_on_where_the_last_one_stopped_and_counts_nothing_twice(store: Path) -> None:
    follow(store)
    make(store, document())
    follow(store)
    found, lines = metrics(store), audited(store)
    assert found['kos_runs_total{outcome="completed",workflow="w"}'] == 3
    for path in ("metrics.json", "metrics.prom", "audit.jsonl"):
        (store / path).unlink()
    follow(store)
    assert (metrics(store), audited(store)) == (found, lines)


@pytest.mark.parametrize(
    "damage", ["{", '{"store": "another", "offset": 1}', '{"store": "x"}', "[]", '{"offset": 99999999}']
)
def test_what_is_damaged_or_of_another_store_is_counted_anew(store: Path, damage: str) -> None:
    follow(store)
    found = metrics(store)
    (store / "metrics.json").write_text(damage)
    follow(store)
    assert metrics(store) == found


def test_the_audit_trail_has_every_event_of_the_log_once_and_in_its_order(store: Path) -> None:
    follow(store)
    lines = audited(store)
    assert [(line["offset"], line["type"], line["hash"]) for line in lines] == in_the_log(store)
    (done,) = [
        line for line in lines if line["type"].startswith("step_completed") and line["stream"] == lines[0]["stream"]
    ]
    assert "text" in done["data"]["exposed"]


@pytest.mark.parametrize(("cut", "tail"), [(1, 1 << 20), (30, 1), (200, 100), (200, 700)])
def test_what_was_cut_off_is_written_again_as_far_as_its_record_is_not_whole(
    store: Path, monkeypatch: pytest.MonkeyPatch, cut: int, tail: int
) -> None:
    monkeypatch.setattr(writing, "_TAIL", tail)
    follow(store)
    whole = audited(store)
    path = store / "audit.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    follow(store)
    assert audited(store) == whole


def test_a_workflow_leaves_its_runs_out(tmp_path: Path) -> None:
    off = "  monitoring: {performance_metrics: false, audit_trail: false}\n"
    (kept,) = make(tmp_path, document("kept"))
    make(tmp_path, document("secret", off))
    follow(tmp_path)
    assert "secret" not in (tmp_path / "metrics.prom").read_text()
    assert {line["stream"] for line in audited(tmp_path)} == {f"run/{kept}"}
    assert len(in_the_log(tmp_path)) == 2 * len(audited(tmp_path))
    # It has come to the end all the same, and does not look at them again.
    assert json.loads((tmp_path / "metrics.json").read_text())["offset"] == in_the_log(tmp_path)[-1][0]


def test_whoever_follows_gives_way_to_whoever_works_and_is_up_to_date_when_it_is_closed(store: Path) -> None:
    make(store, document())
    polite = threading.Event()

    class Seen(Monitor):
        def poll(self) -> bool:
            if os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == monitoring.NICE:
                polite.set()
            return super().poll()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(monitoring, "Monitor", Seen)
        monitoring.Following(store, BOTH, lambda *_, **__: None).close()
    assert polite.is_set()
    assert [line["offset"] for line in audited(store)][-1] == in_the_log(store)[-1][0]


def test_where_nothing_is_asked_for_nothing_is_written(store: Path) -> None:
    assert not Monitor.is_asked_for(QUIET)
    assert Monitor.is_asked_for(EngineSettings())
    follow(store, EngineSettings())
    assert not (store / "audit.jsonl").exists(), "the log is the trail"
    assert (store / "metrics.prom").stat().st_mode & 0o077 == 0


def test_more_workflows_than_may_be_told_apart_are_counted_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitoring, "MAX_WORKFLOWS", 2)
    make(tmp_path, *(document(f"w{n}", step="{id: s, set: {x: 1}}") for n in range(5)))
    follow(tmp_path)
    found = metrics(tmp_path)
    assert sum(v for k, v in found.items() if k.startswith("kos_runs_total") and "completed" in k) == 5
    assert found['kos_runs_total{outcome="completed",workflow="other"}'] == 3


def test_what_was_purged_is_counted_by_what_is_left_of_it(store: Path) -> None:
    from kos_runtime.client.retention import purge

    runs = [line["stream"].removeprefix("run/") for line in _first_lines(store)]
    purge(store, [runs[0]], by="user:jr")
    follow(store)
    assert metrics(store)['kos_runs_total{outcome="completed",workflow="w"}'] == 2
    assert [(line["offset"], line["type"], line["hash"]) for line in audited(store)] == in_the_log(store)


def _first_lines(folder: Path) -> list[dict[str, Any]]:
    follow(folder)
    found = {line["stream"]: line for line in reversed(audited(folder))}
    for path in ("metrics.json", "metrics.prom", "audit.jsonl"):
        (folder / path).unlink()
    return sorted(found.values(), key=lambda line: line["offset"])

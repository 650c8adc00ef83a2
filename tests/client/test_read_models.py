"""What is read beside the log is compared with it: each row that was changed, added or taken out is named."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import kos_runtime
from kos_runtime.adapters.codec import MsgpackCodec
from kos_runtime.cli import main
from kos_runtime.client.folding import folded
from kos_runtime.client.proof import Proof, verify_all, verify_run
from kos_runtime.client.read_models import ReadModels, _Facts
from kos_runtime.client.reading import Reading
from kos_runtime.core.schedule.state import FINGERPRINT as SCHEDULE_FINGERPRINT
from kos_runtime.core.schedule.state import Schedule
from kos_runtime.core.schedule.state import to_plain as schedule_plain
from kos_runtime.core.workflow.snapshot import FINGERPRINT
from kos_runtime.core.workflow.snapshot import to_plain as run_plain
from kos_runtime.definition import EngineSettings

KEPT = """
workflow:
  id: kept
  inputs: [{name: note, type: string}]
  steps:
    - {id: a, agent: "tests.team:Team", action: greet, inputs: {name: same}, cache: true}
    - {id: b, set: {x: 1}}
"""
TIMED = """
workflow:
  id: timed
  timeout: 36h
  steps: [{id: w, wait: {for: 2h}}]
"""
PLANNED = """
workflow:
  id: planned
  schedule: {cron: "0 6 1 1 *", timezone: UTC}
  steps: [{id: a, set: {x: 1}}]
"""
LARGE = "x" * 40_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which every read model has rows, and nobody who owns it."""
    folder = tmp_path_factory.mktemp("models")
    for name, text in (("kept", KEPT), ("timed", TIMED), ("planned", PLANNED)):
        (folder / f"{name}.yaml").write_text(text)
    with kos_runtime.connect(folder / ".kos", host="process", settings=EngineSettings()) as kos:
        first = kos.create_workflow(folder / "kept.yaml", {"note": LARGE}, name="first")
        kos.set_search_attributes(first, {"team": "red", "size": 3})
        kos.set_search_attributes(first, {"size": None})
        kos.execute_workflow(first)
        first.result(timeout=20)
        kos.start(folder / "kept.yaml", name="second", inputs={"note": "n"}).result(timeout=20)
        timed = kos.start(folder / "timed.yaml", name="timed")
        while kos.reading.find(timed.id).status != "waiting":
            time.sleep(0.01)
        kos.schedule_workflow(folder / "planned.yaml", name="yearly")
    return folder / ".kos"


@pytest.fixture
def copy(store: Path, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    (tmp_path / "blobs").symlink_to(store / "blobs")
    with closing(sqlite3.connect(tmp_path / "events.db")) as target:
        with closing(sqlite3.connect(store / "events.db")) as source:
            source.backup(target)
        yield target


def looked_at(folder: Path, look: Callable[[Reading], Proof] = verify_all) -> list[str]:
    with closing(Reading(folder)) as reading:
        proof = look(reading)
        return [each for each in (proof.problem, *proof.more) if each]


def run_named(copy: sqlite3.Connection, name: str) -> str:
    return str(copy.execute("SELECT run FROM runs WHERE name = ?", (name,)).fetchone()[0])


def test_what_the_engine_wrote_is_what_the_log_says(store: Path) -> None:
    assert looked_at(store) == []
    with closing(sqlite3.connect(store / "events.db")) as there:
        for table in ("attributes", "results", "timers", "commands", "blob_refs"):
            (count,) = there.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert count, f"a store without {table} shows nothing of them"
        for name in ("first", "second", "timed"):
            run = run_named(there, name)
            assert looked_at(store, partial(verify_run, run=run)) == []


#: What is planted, and words of what is said of it; with the run that is meant, and whether its own proof tells it too.
PLANTED = {
    "an attribute that was changed": (
        "UPDATE attributes SET value = 'blue' WHERE name = 'team'",
        "run {first}: its search attributes say {{'team': 'blue'}}, its events say {{'team': 'red'}}", "first"),
    "one that was taken away": ("DELETE FROM attributes", "say {{}}, its events say {{'team': 'red'}}", "first"),
    "one that was taken away before": (
        "INSERT INTO attributes SELECT number, 'size', '3' FROM attributes", "'size': '3'", "first"),
    "one of no run": ("INSERT INTO attributes VALUES (9999, 'a', 'b')", "search attributes are stored for no run", ""),
    "a result that another run is said to have given": (
        "UPDATE results SET run = '{timed}'", "for step a of run {timed}: there is no seq", ""),
    "a result of another record": ("UPDATE results SET position = 2", "its row says at", "first"),
    "a result of a record that is not there": ("UPDATE results SET position = 99", "there is no seq 99", "first"),
    "a result of another time": ("UPDATE results SET at = 5", "its row says at 5, its events say", "first"),
    "a result under another key": ("UPDATE results SET key = 'abc'", "under abc for step a of run {first}", "first"),
    "a result that is kept no more": ("DELETE FROM results", "run {first}: the result of step a at seq", ""),
    "a timer that is gone": (
        "DELETE FROM timers WHERE path = 'w'", "run {timed}: no timer is stored for step w, due at", "timed"),
    "a timer of another time": ("UPDATE timers SET due = due + 1 WHERE path = 'w'", "no timer is stored for step w", "timed"),
    "the end of a run that waits": (
        "DELETE FROM timers WHERE path = '!timeout'", "run {timed}: no timer is stored for its end", "timed"),
    "a timer of no run": ("INSERT INTO timers VALUES (5, 'nobody', 'w', 1)", "stored for run nobody, which is not there", ""),
    "a reference that is gone": (
        "DELETE FROM blob_refs WHERE stream = 'run/{first}'", "run/{first} seq 1 mentions blob", "first"),
    "an answer that names what did not happen": ("UPDATE commands SET answer = x'{lie}'", "it names RunPaused of {first}", ""),
    "an answer that is none": ("UPDATE commands SET answer = x'00'", "it cannot be read", ""),
    "a snapshot that says something else": (
        "{snapshot}",
        "run {timed}: the snapshot at seq", "timed"),
    "a plan's snapshot": ("{schedule}", "schedule yearly: its snapshot at seq 1 is not what the log says: workflow", ""),
}  # fmt: skip


@pytest.mark.parametrize("what", PLANTED)
def test_each_row_that_was_changed_is_named(copy: sqlite3.Connection, tmp_path: Path, what: str) -> None:
    statement, words, run = PLANTED[what]
    names = {name: run_named(copy, name) for name in ("first", "timed")}
    words, statement = words.format(**names), statement.format(**names, **_made(copy, names))
    copy.execute(statement)
    copy.commit()
    assert any(words in told for told in looked_at(tmp_path)), looked_at(tmp_path)
    if run:
        told = looked_at(tmp_path, partial(verify_run, run=names[run]))
        assert any(words in each for each in told), told


def _made(copy: sqlite3.Connection, names: dict[str, str]) -> dict[str, str]:
    lie = MsgpackCodec().pack({"run": names["first"], "position": 1, "event": "RunPaused"})
    schedule = {**schedule_plain(Schedule("yearly")), "position": 1}
    folder = Path(copy.execute("PRAGMA database_list").fetchone()[2]).parent
    return {
        "lie": lie.hex(),
        "snapshot": _snapshot(
            copy, f"run/{names['timed']}", 1, FINGERPRINT, _state(folder, names["timed"], "somebody")
        ),
        "schedule": _snapshot(copy, "schedule/yearly", 1, SCHEDULE_FINGERPRINT, schedule),
    }


def _state(folder: Path, run: str, author: str = "") -> dict[str, Any]:
    with closing(Reading(folder)) as reading:
        plain = run_plain(folded(reading, run, 1))
    return {**plain, "author": author or plain["author"]}


def _snapshot(copy: sqlite3.Connection, stream: str, position: int, fingerprint: str, state: dict[str, Any]) -> str:
    query = "SELECT offset, hash FROM events WHERE stream = ? AND position = ?"
    offset, record = copy.execute(query, (stream, position)).fetchone()
    packed = MsgpackCodec().pack(state)
    return f"INSERT INTO snapshots VALUES ('{stream}', {position}, {offset}, '{fingerprint}', x'{record.hex()}', x'{packed.hex()}')"


def test_a_snapshot_that_is_the_fold_is_right(copy: sqlite3.Connection, tmp_path: Path) -> None:
    run = run_named(copy, "timed")
    copy.execute(_snapshot(copy, f"run/{run}", 1, FINGERPRINT, _state(tmp_path, run)))
    copy.commit()
    assert looked_at(tmp_path) == []


def test_all_that_differs_is_told_at_once(
    copy: sqlite3.Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy.execute("UPDATE attributes SET value = 'blue'")
    copy.execute("UPDATE results SET at = 5")
    copy.execute("UPDATE runs SET workflow = 'x' WHERE name = 'first'")
    copy.commit()
    assert main(["verify", "--all", "--store", str(tmp_path)]) != 0
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 3
    assert all(line.startswith("✘ ") for line in told)


def test_streams_of_which_nothing_is_read_beside_the_log_are_left_to_their_chains(
    copy: sqlite3.Connection, tmp_path: Path
) -> None:
    del copy
    with closing(Reading(tmp_path)) as reading:
        record = next(reading.records(reading.log.runs()[0].run))
        models = ReadModels(reading)
        strange = record._replace(names="ballot_of_tomorrow.1")
        assert list(models._gather(_Facts(), [strange._replace(stream="coordination/r/verdict/panel-1")])) == []
        (told,) = models._gather(_Facts(), [strange])
        assert "cannot be read" in told

"""The rows that list runs are compared with the log: the run and the column that differ are named."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import kos_runtime
from kos_runtime.client import RunFailed, RunWaits
from kos_runtime.client.proof import verify_all, verify_run
from kos_runtime.client.reading import Reading
from kos_runtime.definition import EngineSettings
from tests.client.test_engine import FAIL, GREET

TWO = """
workflow:
  id: two
  steps:
    - {id: a, agent: "tests.team:Team", action: fail, parallel: true, outputs: {text: text}}
    - {id: b, agent: "tests.team:Team", action: fail, parallel: true, outputs: {text: text}}
  error_handling:
    - {step: [a, b], on_failure: manual}
"""
SLOW = """
workflow:
  id: slow
  steps: [{id: a, agent: "tests.team:Team", action: sleep, inputs: {seconds: 5}}]
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with runs in each status, and nobody who owns it."""
    folder = tmp_path_factory.mktemp("rows")
    for name, text in (("greet", GREET), ("fail", FAIL), ("two", TWO), ("slow", SLOW)):
        (folder / f"{name}.yaml").write_text(text)
    with kos_runtime.connect(folder / ".kos", host="process", settings=EngineSettings()) as kos:
        kos.create_workflow(folder / "greet.yaml", {"who": "you"}, name="created")
        kos.start(folder / "greet.yaml", name="completed", who="you", key="a-key").result(timeout=20)
        with pytest.raises(RunFailed):
            kos.start(folder / "fail.yaml", name="failed").result(timeout=20)
        waiting = kos.start(folder / "two.yaml", name="waiting")
        with pytest.raises(RunWaits):
            waiting.result(timeout=20)
        kos.answer(waiting, "a", {"text": "x"})
        running = kos.start(folder / "slow.yaml", name="running")
        while not any(event.type == "StepScheduled" for event in running.events()):
            time.sleep(0.01)
    return folder / ".kos"


@pytest.fixture
def copy(store: Path, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a copy, which a test changes; ``problem_of`` looks at it."""
    (tmp_path / "blobs").symlink_to(store / "blobs")
    with closing(sqlite3.connect(tmp_path / "events.db")) as target:
        with closing(sqlite3.connect(store / "events.db")) as source:
            source.backup(target)
        yield target


def problem_of(folder: Path) -> str:
    with closing(Reading(folder)) as reading:
        return verify_all(reading).problem


def test_rows_as_the_engine_wrote_them_are_what_the_log_says(store: Path) -> None:
    with closing(Reading(store)) as reading:
        rows = {row.name: row for row in reading.log.runs()}
        assert {name: row.status for name, row in rows.items()} == {name: name for name in rows}
        assert len(rows) == 5
        assert rows["waiting"].waiting == "manual: b", "who has been answered is not waited for any more"
        assert verify_all(reading).problem == ""
        assert [verify_run(reading, row.run).problem for row in rows.values()] == [""] * 5


TEXTS = ("workflow", "version", "name", "key", "plan_digest", "waiting", "error")
NUMBERS = ("created_at", "updated_at", "created_offset")


@pytest.mark.parametrize("run", ["created", "completed", "failed", "waiting", "running"])
def test_each_column_that_was_changed_is_named(copy: sqlite3.Connection, tmp_path: Path, run: str) -> None:
    (before,) = copy.execute("SELECT run FROM runs WHERE name = ?", (run,)).fetchone()
    changes: list[tuple[str, Any]] = [(column, "x") for column in TEXTS]
    changes += [(column, 1_234_567) for column in NUMBERS]
    changes += [
        ("status", status) for status in ("created", "running", "waiting", "completed", "failed") if status != run
    ]
    for column, value in changes:
        (held,) = copy.execute(f"SELECT {column} FROM runs WHERE run = ?", (before,)).fetchone()
        copy.execute(f"UPDATE runs SET {column} = ? WHERE run = ?", (value, before))
        copy.commit()
        expected = f"run {before}: its row says {column} {value!r}, its events say {held!r}"
        assert problem_of(tmp_path) == expected
        with closing(Reading(tmp_path)) as reading:
            assert verify_run(reading, before).problem == expected
        copy.execute(f"UPDATE runs SET {column} = ? WHERE run = ?", (held, before))
    copy.commit()
    assert problem_of(tmp_path) == ""


def test_a_row_that_points_at_an_earlier_record_of_its_run_is_found(copy: sqlite3.Connection, tmp_path: Path) -> None:
    """The record is there, so that nothing else finds it."""
    (run,) = copy.execute("SELECT run FROM runs WHERE name = 'completed'").fetchone()
    offset, at = copy.execute(
        "SELECT offset, time FROM events WHERE stream = ? AND position = 1", (f"run/{run}",)
    ).fetchone()
    copy.execute("UPDATE runs SET position = 1, offset = ?, updated_at = ? WHERE run = ?", (offset, at, run))
    copy.commit()
    assert problem_of(tmp_path).startswith(f"run {run}: its row says position 1, its events say ")


def test_a_run_that_is_listed_no_more_is_found(copy: sqlite3.Connection, tmp_path: Path) -> None:
    (run,) = copy.execute("SELECT run FROM runs WHERE name = 'failed'").fetchone()
    copy.execute("DELETE FROM runs WHERE run = ?", (run,))
    copy.commit()
    assert problem_of(tmp_path) == f"run {run} has events, and no row that lists it"


def test_a_run_whose_plan_is_gone_is_named_and_the_rest_of_the_log_is_good(
    copy: sqlite3.Connection, tmp_path: Path
) -> None:
    (tmp_path / "blobs").unlink()
    (tmp_path / "blobs").mkdir()
    (first,) = copy.execute("SELECT run FROM runs WHERE status = 'created'").fetchone()
    assert problem_of(tmp_path).startswith(f"run {first}: its row cannot be compared with its events: ")

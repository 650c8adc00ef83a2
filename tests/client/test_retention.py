"""Archives and purges: payloads go, the chain stays whole, and the log says who took them."""

import json
from pathlib import Path
from typing import Any

import apsw
import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.client import CheckpointManager, RunFailed, RunWaits, retention
from kos_runtime.client.checkpoint import CheckpointLost
from kos_runtime.client.proof import verify_all, verify_run
from kos_runtime.client.reading import Reading
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.definition import EngineSettings
from tests.client.test_engine import files
from tests.client.test_transfer import BIG

__all__ = ["files"]
Output = pytest.CaptureFixture[str]
SECRET = "a-word-that-must-not-stay"


@pytest.fixture
def store(files: Path) -> Path:
    (files / "big.yaml").write_text(BIG.replace("integer", "string"))
    with kos_runtime.connect(files / ".kos", host="process", settings=EngineSettings()) as kos:
        kos.start(files / "greet.yaml", who=SECRET, name="good").result(timeout=20)
        kos.start(files / "big.yaml", name="big").result(timeout=20)
        with pytest.raises(RunFailed):
            kos.start(files / "fail.yaml", name="bad").result(timeout=20)
        kos.create_workflow(files / "greet.yaml", {"who": "later"}, name="new")
    return files / ".kos"


def _run(store: Path, name: str) -> str:
    return Reading(store).find(name).run


def _blobs(store: Path) -> int:
    return sum(path.is_file() for path in (store / "blobs").rglob("*"))


def test_a_purged_run_has_no_payload_left_and_the_log_verifies(store: Path, capsys: Output) -> None:
    run = _run(store, "good")
    (kept,) = retention.purge(store, [run], by="user:test", reason="asked for")
    assert (kept.run, kept.what, kept.file) == (run, "purged", "")
    reading = Reading(store)
    proof = verify_run(reading, run)
    assert (proof.problem, proof.gone) == ("", (run,))
    whole = verify_all(reading)
    assert (whole.problem, whole.gone) == ("", (run,))
    assert main(["verify", "--all", "--store", str(store)]) == 0
    assert f"payloads purged or archived: {run}" in capsys.readouterr().out
    last = list(reading.lines(run))[-1]
    assert (last.cause, last.data) == (
        "purged by user:test: asked for",
        {"problem": "its payload was purged or archived"},
    )
    reading.close()
    connection = apsw.Connection(str(store / "events.db"))
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.close()
    assert SECRET.encode() not in (store / "events.db").read_bytes()


def test_values_kept_outside_go_with_the_last_run_that_mentions_them(store: Path) -> None:
    run = _run(store, "big")
    before = _blobs(store)
    (kept,) = retention.purge(store, [run], by="user:test")
    assert kept.freed > 1_000_000
    assert _blobs(store) == before - 1
    with kos_runtime.connect(store, host="process", settings=EngineSettings()) as kos:
        again = kos.start(store.parent / "big.yaml", name="again")
        again.result(timeout=20)
        fork = kos.fork(again, 2)
        fork.result(timeout=20)
    reading = Reading(store)
    (blob,) = [blob for blob, shared in reading.log.blobs_of(f"run/{again.id}")]
    retention.purge(store, [again.id], by="user:test")
    assert reading.blobs.has(blob)
    retention.purge(store, [fork.id], by="user:test")
    assert not reading.blobs.has(blob)


def test_reading_commands_and_changes_say_that_it_is_gone(store: Path, capsys: Output) -> None:
    bad, good = _run(store, "bad"), _run(store, "good")
    retention.purge(store, [bad, good], by="user:test")
    assert main(["ls", "-o", "json", "--store", str(store)]) == 0
    rows = {row["run"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows[bad]["status"], rows[bad]["waiting"], rows[bad]["error"]) == ("failed", "purged", "")
    for words in (["get", good], ["events", good], ["get", good, "-o", "json"]):
        assert main([*words, "--store", str(store)]) == 0, words
    assert main(["export", good, "--store", str(store)]) == 3
    assert main(["replay", good, "--store", str(store)]) == 3
    assert main(["fork", good, "--at", "1", "--store", str(store)]) == 3
    said = capsys.readouterr().err
    assert "no payloads any more" in said
    assert "Traceback" not in said
    with (
        kos_runtime.connect(store, host="process", settings=EngineSettings()) as kos,
        pytest.raises(InvalidDefinition, match="purged"),
    ):
        kos.retry_step(bad)


def test_an_archived_run_is_in_its_file_and_its_file_is_vouched_for(store: Path, tmp_path: Path) -> None:
    run = _run(store, "big")
    before = [line.data for line in Reading(store).lines(run)]
    (kept,) = retention.archive(store, [run], by="user:test")
    assert kept.file == f"archive/{run}.jsonl.gz"
    assert verify_run(Reading(store), run).problem == ""
    assert main(["import", str(store / kept.file), "--store", str(tmp_path / "other")]) == 0
    other = Reading(tmp_path / "other")
    assert [line.data for line in other.lines(run)] == before
    assert verify_all(other).problem == ""
    content = (store / kept.file).read_bytes()
    (store / kept.file).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "was changed since" in verify_run(Reading(store), run).problem
    (store / kept.file).unlink()
    assert "cannot be read" in verify_run(Reading(store), run).problem


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE events SET payload = x'' WHERE stream = ?1", "payload is not what"),
        ("UPDATE streams SET salt = x'' WHERE stream = ?1", "the salt of"),
    ],
)
def test_half_of_what_is_gone_is_a_fault(store: Path, statement: str, words: str) -> None:
    run = _run(store, "good")
    connection = apsw.Connection(str(store / "events.db"))
    connection.execute(statement, (f"run/{run}",))
    connection.close()
    for proof in (verify_run(Reading(store), run), verify_all(Reading(store))):
        assert words in proof.problem


def test_payloads_that_are_gone_without_a_word_are_a_fault(store: Path) -> None:
    run = _run(store, "good")
    connection = apsw.Connection(str(store / "events.db"))
    connection.execute("UPDATE events SET payload = x'' WHERE stream = ?", (f"run/{run}",))
    connection.execute("UPDATE streams SET salt = x'' WHERE stream = ?", (f"run/{run}",))
    connection.close()
    for proof in (verify_run(Reading(store), run), verify_all(Reading(store))):
        assert "nothing in its stream says that it was purged" in proof.problem


def test_a_purged_log_that_is_changed_is_found_out(store: Path) -> None:
    run = _run(store, "good")
    retention.purge(store, [run], by="user:test")
    connection = apsw.Connection(str(store / "events.db"))
    connection.execute("UPDATE events SET time = time + 1 WHERE stream = ? AND position = 1", (f"run/{run}",))
    connection.close()
    assert "its hash is not what" in verify_run(Reading(store), run).problem


def test_gc_picks_by_age_and_status_asks_for_nothing_that_lives_and_can_be_tried(store: Path, capsys: Output) -> None:
    assert main(["gc", "--store", str(store)]) == 0
    assert "no run that ended more than 30d ago" in capsys.readouterr().err
    head = Reading(store).log.head()
    assert main(["gc", "--older", "0s", "--status", "failed", "--dry-run", "-o", "json", "--store", str(store)]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["run"], row["what"]) == (_run(store, "bad"), "would archive")
    assert Reading(store).log.head() == head
    capsys.readouterr()
    assert main(["gc", "--older", "0s", "--purge", "--status", "failed", "--reason", "old", "--store", str(store)]) == 0
    assert " PayloadsPurged by user:" in capsys.readouterr().out
    assert main(["gc", "--older", "0s", "--store", str(store)]) == 0
    reading = Reading(store)
    assert {row.name: row.waiting.partition(" ")[0] for row in reading.log.runs()} == {
        "bad": "purged", "good": "archived", "big": "archived", "new": "",
    }  # fmt: skip
    assert verify_all(reading).problem == ""
    capsys.readouterr()
    assert main(["gc", "--older", "0s", "--store", str(store)]) == 0
    assert "no run" in capsys.readouterr().err


def test_what_lives_is_refused(store: Path) -> None:
    with pytest.raises(InvalidDefinition, match="is created: only what has ended"):
        retention.purge(store, [_run(store, "new")], by="user:test")


def test_the_store_goes_on_after_a_purge(store: Path) -> None:
    retention.purge(store, [_run(store, "good")], by="user:test")
    with kos_runtime.connect(store, host="process", settings=EngineSettings()) as kos:
        kos.execute_workflow(kos.reading.find("new").run)
        assert kos.result(kos.reading.find("new").run, timeout=20) == {"text": "hello later"}
    assert verify_all(Reading(store)).problem == ""


def test_a_plan_that_a_purged_run_was_given_stays_for_others(store: Path) -> None:
    file = store.parent / "asks.yaml"
    file.write_text(
        "workflow:\n  id: w\n  steps:\n"
        '    - {id: q, agent: "tests.team:Team", action: fail, outputs: {text: text}}\n'
        "  error_handling: [{step: q, on_failure: manual}]\n"
    )
    with kos_runtime.connect(store, host="process", settings=EngineSettings()) as kos:
        changed = kos.start(file)
        with pytest.raises(RunWaits):
            changed.result(timeout=20)
        kos.add_step(changed, {"id": "a", "agent": "tests.team:Team", "action": "greet", "inputs": {"name": "x"}})
        kos.answer(changed, "q", {"text": "by hand"})
        changed.result(timeout=20)
        plans = [line.event.plan for line in kos.events(changed) if line.type == "PlanRevised"]
    assert plans
    retention.purge(store, [changed.id], by="user:test")
    reading = Reading(store)
    assert all(reading.blobs.has(plan) for plan in plans)
    assert verify_all(reading).problem == ""


@pytest.mark.parametrize(("column", "value"), [("status", "failed"), ("created_at", 7), ("error", "made up")])
def test_the_row_of_a_purged_run_is_compared_with_what_its_headers_say(store: Path, column: str, value: object) -> None:
    run = _run(store, "good")
    retention.purge(store, [run], by="user:test")
    connection = apsw.Connection(str(store / "events.db"))
    connection.execute(f"UPDATE runs SET {column} = ? WHERE run = ?", (value, run))
    connection.close()
    for proof in (verify_run(Reading(store), run), verify_all(Reading(store))):
        assert f"its row says {column}" in proof.problem


def test_what_needs_the_payloads_of_a_purged_run_says_that_they_are_gone(store: Path, capsys: Output) -> None:
    retention.purge(store, [_run(store, "good")], by="user:test")
    for command in (
        ["replay", "good"],
        ["replay", "good", "--check"],
        ["diff", "good", "bad"],
        ["diff", "bad", "good"],
    ):
        assert main([*command, "--store", str(store)]) == 3
        assert "has no payloads any more: they were purged" in capsys.readouterr().err


@pytest.mark.parametrize("take_away", [retention.purge, retention.archive])
def test_checkpoints_go_with_the_payloads_and_nothing_goes_on_from_there(store: Path, take_away: Any) -> None:
    run = _run(store, "good")
    with kos_runtime.connect(store, host="process", settings=EngineSettings()) as kos:
        made = CheckpointManager(kos).create_checkpoint(run)
    files = [path for path in (store / "checkpoints").rglob("*") if path.is_file()]
    assert any(SECRET.encode() in path.read_bytes() for path in files)
    take_away(store, [run], by="user:test")
    assert not [path for path in (store / "checkpoints").rglob("*") if path.is_file()]
    with kos_runtime.connect(store, host="process", settings=EngineSettings()) as kos:
        manager = CheckpointManager(kos)
        for fork in (False, True):
            with (
                pytest.warns(CheckpointLost, match="is not there"),
                pytest.raises(InvalidDefinition, match="no payloads any more"),
            ):
                manager.restore_from_checkpoint(made.id, fork=fork)
        with pytest.raises(InvalidDefinition, match="no payloads any more"):
            manager.create_checkpoint(run)

"""Every lane of the proof, in small: so that it runs, and sees what it should see."""

from typing import Any

import apsw
import pytest

from kos_runtime.adapters.event_store import sqlite
from kos_runtime.core import failpoint
from kos_runtime.core.errors import StoreBusy
from tests.proof import io_errors, kills, power_loss, tamper
from tests.proof.__main__ import main
from tests.proof.lanes import LANES


def test_a_few_processes_are_killed_and_nothing_is_lost() -> None:
    found = kills.run(6, 11)
    assert found["kills"] == 6
    assert found["violations"] == []


def test_the_oracle_sees_an_engine_that_forgets_to_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that acknowledges and keeps nothing of every fifth batch: the oracle must say so."""
    genuine = sqlite.SqliteEventStore.append
    count = 0

    def forgetful(store: sqlite.SqliteEventStore, batch: Any) -> None:
        nonlocal count
        count += 1
        if count == 5 and batch.records:
            return
        genuine(store, batch)

    monkeypatch.setattr(sqlite.SqliteEventStore, "append", forgetful)
    monkeypatch.setattr(kills, "_LIFETIME_S", 4)
    found = kills.run(1, 3, names=("append.after",))
    assert found["violations"]


@pytest.mark.parametrize("kind", ["fsync", "io"])
def test_the_io_errors_show_a_store_that_takes_an_unknown_commit_for_a_refusal(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A store that says *nothing was stored* of a commit whose sync failed."""
    genuine = sqlite.SqliteEventStore._undo

    def careless(store: sqlite.SqliteEventStore, error: BaseException, known: BaseException | None) -> None:
        genuine(store, error, known or (StoreBusy(store._where) if isinstance(error, apsw.IOError) else None))

    monkeypatch.setattr(sqlite.SqliteEventStore, "_undo", careless)
    assert io_errors.run(0.0, 5, kinds=(kind,))["wrong"] > 0


def test_flips_and_edits_are_found_and_named() -> None:
    found = tamper.run(24, 60, 5, 0.3)
    assert found["flips"] > 2_000
    assert found["detected"] == found["exact_first_bad"] == found["flips"] + found["edits"], found["missed"]


def test_the_power_may_fail_at_any_call_and_only_full_syncing_keeps_what_was_acknowledged() -> None:
    assert power_loss.run(40, 3) == {"images": 40, "lost": 0, "corrupt": 0, "first": ""}
    assert power_loss.run(40, 3, synchronous="NORMAL")["lost"] > 0


def test_the_command_knows_its_lanes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "kils"]) == 2
    assert "kills" in capsys.readouterr().err
    assert len({lane.name for lane in LANES}) == len(LANES)
    assert len(failpoint.NAMES) >= 20

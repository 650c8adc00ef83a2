"""State folded again from the log, and two runs side by side."""

from pathlib import Path
from typing import Any

import apsw
import pytest

import kos_runtime
from kos_runtime.cli import main
from kos_runtime.client import folding
from kos_runtime.client.reading import Reading
from kos_runtime.core.errors import NotFound
from kos_runtime.core.workflow.snapshot import FINGERPRINT, to_plain
from kos_runtime.definition import EngineSettings
from tests.client.test_engine import files

__all__ = ["files"]
Output = pytest.CaptureFixture[str]
CHAIN = """
workflow:
  id: chain
  inputs: [{name: who, type: string, required: true}]
  outputs: [{name: text, type: string}]
  steps:
    - {id: a, agent: "tests.team:Team", action: greet, inputs: {name: $inputs.who}, outputs: {text: text}}
    - {id: b, agent: "tests.team:Team", action: greet, inputs: {name: $steps.a.text}, outputs: {text: text}}
    - {id: c, agent: "tests.team:Team", action: fail, inputs: {kind: $steps.b.text}, outputs: {text: text}}
  error_handling:
    - {step: c, on_failure: retry, max_retries: 0, fallback: by_hand}
"""


@pytest.fixture
def store(files: Path) -> Path:
    """A run that waits for a person and has a snapshot, and another that went another way."""
    (files / "chain.yaml").write_text(CHAIN)
    with kos_runtime.connect(files / ".kos", host="process", settings=EngineSettings()) as kos:
        for name, who in (("one", "you"), ("two", "me")):
            with pytest.raises(kos_runtime.client.RunWaits):
                kos.start(files / "chain.yaml", inputs={"who": who}, name=name).result(timeout=20)
    _snapshot(files / ".kos", "one", 2)
    return files / ".kos"


def _snapshot(store: Path, run: str, at: int) -> None:
    """Have a snapshot in the store, as the engine makes one of a longer run."""
    reading = Reading(store)
    run = reading.find(run).run
    (record,) = reading.log.stream(f"run/{run}", after=at - 1, limit=1)
    state = reading.codec.pack(to_plain(folding.folded(reading, run, at)))
    values = (record.stream, at, record.offset, FINGERPRINT, record.hash, state)
    _alter(store, "INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?)", *values)


def _alter(store: Path, statement: str, *values: Any) -> None:
    connection = apsw.Connection(str(store / "events.db"))
    connection.execute(statement, values)
    connection.close()


def test_the_fold_at_each_event_is_what_the_engine_had(store: Path) -> None:
    reading = Reading(store)
    run = reading.find("one").run
    last = folding.folded(reading, run).position
    seen = [folding.digest(reading, folding.folded(reading, run, at)) for at in range(1, last + 1)]
    assert len(set(seen)) == last
    assert seen[-1] == folding.digest(reading, folding.folded(reading, run))
    with pytest.raises(NotFound, match=f"its seqs are 1 to {last}"):
        folding.folded(reading, run, last + 1)


def test_a_good_snapshot_passes_the_check(store: Path, capsys: Output) -> None:
    reading = Reading(store)
    run = reading.find("one").run
    assert folding.snapshot_of(reading, run) is not None
    assert folding.compared(reading, run) == ""
    assert main(["replay", "one", "--check", "--store", str(store)]) == 0
    assert "is what the log says" in capsys.readouterr().out


def test_a_snapshot_that_was_changed_is_told_by_its_first_difference(store: Path, capsys: Output) -> None:
    reading = Reading(store)
    run = reading.find("one").run
    row = folding.snapshot_of(reading, run)
    assert row is not None
    plain = reading.codec.unpack(row.state)
    (step,) = [step for step in plain["steps"] if step["path"] == "a"]
    step["status"] = "failed"
    _alter(store, "UPDATE snapshots SET state = ? WHERE stream = ?", reading.codec.pack(plain), f"run/{run}")
    assert main(["replay", "one", "--check", "--store", str(store)]) == 1
    assert "steps[a].status: 'failed', the log says 'running'" in capsys.readouterr().out


@pytest.mark.parametrize("state", [b"", b"\xc1 nonsense", b"\x80"])
def test_a_snapshot_that_cannot_be_read_is_said(store: Path, state: bytes) -> None:
    reading = Reading(store)
    run = reading.find("one").run
    _alter(store, "UPDATE snapshots SET state = ? WHERE stream = ?", state, f"run/{run}")
    assert "cannot be read" in folding.compared(reading, run)


def test_a_snapshot_of_another_version_is_left_alone(store: Path) -> None:
    reading = Reading(store)
    run = reading.find("one").run
    _alter(store, "UPDATE snapshots SET fingerprint = ?, state = x''", FINGERPRINT + "x")
    assert folding.snapshot_of(reading, run) is None
    assert folding.compared(reading, run) == ""


def test_diff_names_what_differs_and_where_the_runs_part(store: Path, capsys: Output) -> None:
    assert main(["diff", "one", "two", "--store", str(store)]) == 0
    out = capsys.readouterr().out
    assert "input who: 'you'   'me'" in out
    assert "≠ b" in out
    assert "text differs" in out
    assert out.index("they part at") < out.index("RunCreated")


def test_a_run_does_not_differ_from_itself_and_ends_where_it_is_cut(store: Path, capsys: Output) -> None:
    assert main(["diff", "one", "one", "--store", str(store)]) == 0
    assert "no event differs" in capsys.readouterr().out
    assert main(["diff", "one@1", "one", "-o", "json", "--store", str(store)]) == 0
    out = capsys.readouterr().out
    assert '"same": false' in out
    assert '"left": null' in out


@pytest.mark.parametrize(("text", "code", "words"), [("one@x", 2, "write RUN@SEQ"), ("one@99", 4, "its seqs are 1 to")])
def test_a_side_that_is_not_there_is_said(store: Path, capsys: Output, text: str, code: int, words: str) -> None:
    assert main(["diff", text, "two", "--store", str(store)]) == code
    assert words in capsys.readouterr().err

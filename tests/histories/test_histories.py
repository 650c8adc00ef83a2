"""Histories as earlier versions wrote them: whatever changes, they fold to the same state.

Each file holds one run: its plan and link, and its records' names and payloads, as they were stored. A new version adds
a file (``python -m tests.histories.test_histories NAME``) and never changes one.
"""

import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from kos_runtime.adapters.codec import MsgpackCodec
from kos_runtime.core.event import BY_NAME, UnknownEvent, rebuild, upcaster
from kos_runtime.core.plan.link import Link
from kos_runtime.core.plan.model import Plan
from kos_runtime.core.plan.plain import from_plain, to_plain
from kos_runtime.core.plan.program import Program
from kos_runtime.core.projection.steps import RunView, fold
from kos_runtime.core.workflow.evolve import evolve
from kos_runtime.core.workflow.state import Run

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("*.json"))
CODEC = MsgpackCodec()


def folded(history: dict[str, Any]) -> tuple[Run, RunView]:
    run = Run("r", "store", CODEC)
    run.program = Program(from_plain(history["plan"], Plan), "digest")
    run.link = from_plain(history["link"], Link)
    view = RunView("r")
    for position, (names, payload) in enumerate(history["records"], 1):
        for event in rebuild(names, CODEC.unpack(bytes.fromhex(payload))):
            evolve(run, event)
            fold(view, event, position, position)
    return run, view


def summary(run: Run, view: RunView) -> dict[str, Any]:
    steps = {path: step.status for path, step in view.steps.items()}
    digest = sha256(json.dumps(steps, sort_keys=True).encode()).hexdigest()
    return {"status": str(run.status), "outputs": CODEC.unpack(run.outputs), "steps": len(steps), "digest": digest}


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_a_history_folds_to_the_state_it_had(file: Path) -> None:
    history = json.loads(file.read_text())
    assert summary(*folded(history)) == history["expected"]


def test_there_is_a_history_of_this_version() -> None:
    assert [file.stem for file in FILES] == ["0.1.0-every-form"]


def test_an_event_of_a_newer_version_is_refused_by_name() -> None:
    with pytest.raises(UnknownEvent, match=r"'run_started\.3' is newer"):
        rebuild("run_started.3", [[0]])
    with pytest.raises(UnknownEvent, match=r"unknown event 'run_danced\.1'"):
        rebuild("run_danced.1", [[]])


def test_older_versions_are_brought_up_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = BY_NAME["timer_fired"]
    monkeypatch.setattr(kind, "version", 3)
    monkeypatch.setattr("kos_runtime.core.event._UPCASTERS", {})
    upcaster("timer_fired", 1)(lambda values: [*values, 1])
    upcaster("timer_fired", 2)(lambda values: [values[0], values[1], values[2] * 10])
    (event,) = rebuild("timer_fired.1", [["a", 2]])
    assert (event.path, event.fence, event.due) == ("a", 2, 10)


def write(name: str) -> None:
    """Write a history of the engine's richest definition, as this version stores it."""
    from tests.engine.test_recovery import actions, rich_plan, whole_run
    from tests.engine.world import link_for, spread_over

    world = whole_run()
    records = [[r.names, r.payload.hex()] for r in world.store.records(limit=10_000)]
    link = link_for(actions(), gather=spread_over("plan", "data"))
    history = {"plan": to_plain(rich_plan()), "link": to_plain(link), "records": records}
    plain = json.loads(json.dumps(history))
    plain["expected"] = summary(*folded(plain))
    (HERE / f"{name}.json").write_text(json.dumps(plain, indent=1) + "\n")


if __name__ == "__main__":
    write(sys.argv[1])

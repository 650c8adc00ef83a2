"""Row 17: an oversize payload names its step and its field, and is not tried again, whatever the budget.

It catches: a bound that is not there; an oversize result that is retried; one that takes other runs with it.
"""

from pathlib import Path
from typing import Any

import pytest

from kos_runtime.adapters.agent_runner import data
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.record import PAYLOAD_LIMIT
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow import failing
from kos_runtime.ports.agent import ActionFailed
from tests.conformance.engines import Break, Engine, notices

LARGE = """
workflow:
  id: large
  inputs: [{name: megabytes, type: integer}]
  steps:
    - id: s
      agent: CREW
      action: large
      inputs: {megabytes: $inputs.megabytes}
      outputs: {body: text}
      retry: {max_retries: 5, backoff: {initial: 10ms}}
"""
MEGABYTES = PAYLOAD_LIMIT >> 20


def results(engine: Engine) -> None:
    small = engine.run(LARGE, {"megabytes": 1})
    assert len(small.outputs["body"]) == 1 << 20
    found = engine.run(LARGE, {"megabytes": MEGABYTES + 1})
    assert found.status == "failed"
    assert (found.error["type"], found.error["step"]) == ("validation", "s")
    assert "oversize: 'body' of step s has" in found.error["message"]
    assert found.error["recoverable"] is False
    assert [event.then for event in found.named(ev.StepFailed)] == ["fail"]
    assert len(found.named(ev.StepScheduled)) == 1
    assert engine.is_sound()


def inputs(engine: Engine) -> None:
    text = "workflow: {id: w, inputs: [{name: v, type: string}], steps: [{id: s, agent: CREW, action: echo, inputs: {v: 1}}]}"
    with pytest.raises(InvalidDefinition, match="cannot be kept"):
        engine.run(text, {"v": "x" * (PAYLOAD_LIMIT + 1)})
    assert engine.is_sound()


@pytest.mark.parametrize("row", [results, inputs], ids=lambda row: row.__name__)
def test_an_oversize_payload_is_not_recoverable(engine: Engine, row: Any) -> None:
    row(engine)


def _always_retried(step: Any, policy: Any, error: Any, rung: int) -> tuple[str, int]:
    del error
    return ("retry", rung) if step.retries < policy.max_retries else ("fail", rung)


def _wordless(name: str, step: str, size: str) -> Any:
    del name, step, size
    return ActionFailed("validation", "too large", recoverable=False)


BREAKS: list[Break] = [
    (data, "PAYLOAD_LIMIT", 1 << 40),
    (failing, "_next_rung", _always_retried),
    (data, "_oversize", _wordless),
]


@pytest.mark.parametrize("broken", BREAKS, ids=["no bound", "retried", "unnamed"])
def test_it_catches(broken: Break, tmp_path: Path) -> None:
    notices(results, tmp_path, broken)

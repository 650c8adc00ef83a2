"""Row 15: nothing is coerced, and what was skipped is skipped on.

It catches: inputs of a wrong type that are taken; values of two types that compare as equal; a result of a wrong type that
passes; a reader of a skipped step that runs.
"""

from pathlib import Path
from typing import Any

import pytest

from kos_runtime.adapters.agent_runner.signature import Signature
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.expression import compile as expressions
from kos_runtime.core.plan import types
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow import progress
from tests.conformance.engines import Break, Engine, notices

TYPED = """
workflow:
  id: typed
  inputs:
    - {name: whole, type: integer, required: true}
    - {name: text, type: string, default: x}
    - {name: flag, type: boolean, default: false}
  steps: [{id: s, agent: CREW, action: typed, inputs: {whole: $inputs.whole, text: $inputs.text, flag: $inputs.flag}}]
"""
COMPARED = """
workflow:
  id: compared
  inputs: [{name: v, type: any}]
  steps:
    - {id: same, decision: {condition: $inputs.v == 1, true_path: [equal], false_path: [differs]}}
    - {id: equal, agent: CREW, action: echo, inputs: {at: equal}}
    - {id: differs, agent: CREW, action: echo, inputs: {at: differs}}
    - {id: less, decision: {condition: $inputs.v < 2, true_path: [yes], false_path: [no], default_path: [unsure]}}
    - {id: yes, agent: CREW, action: echo, inputs: {at: yes}}
    - {id: no, agent: CREW, action: echo, inputs: {at: no}}
    - {id: unsure, agent: CREW, action: echo, inputs: {at: unsure}}
"""
GIVES = """
workflow:
  id: gives
  inputs: [{name: v, type: any}]
  steps: [{id: s, agent: CREW, action: gives, inputs: {value: $inputs.v}, retry: {max_retries: 1, backoff: {initial: 10ms}}}]
"""
SKIPPED = """
workflow:
  id: skipped
  steps:
    - {id: a, agent: CREW, action: echo, when: "false", inputs: {v: 1}}
    - {id: reads, agent: CREW, action: echo, inputs: {v: $steps.a.v}}
    - {id: reads_that, agent: CREW, action: echo, inputs: {v: $steps.reads.v}}
    - {id: guarded, agent: CREW, action: echo, inputs: {v: "${{ default($steps.a.v, 7) }}"}}
    - {id: asks, agent: CREW, action: echo, when: "not defined($steps.reads.v)", inputs: {v: 8}}
    - {id: after, agent: CREW, action: echo, depends_on: [a], inputs: {v: 9}}
"""


def inputs(engine: Engine) -> None:
    assert engine.run(TYPED, {"whole": 3}).outputs == {"whole": 3, "text": "x", "flag": False}
    for wrong in (
        {"whole": "3"},
        {"whole": 3.0},
        {"whole": True},
        {"whole": 3, "text": 4},
        {"whole": 3, "flag": 1},
        {},
    ):
        with pytest.raises(InvalidDefinition, match=f"input '{list(wrong)[-1] if wrong else 'whole'}'"):
            engine.run(TYPED, wrong)


def comparing(engine: Engine) -> None:
    def ways(v: Any) -> list[str]:
        return engine.run(COMPARED, {"v": v}).ran()

    assert ways(1) == ["equal", "yes"]
    assert ways(1.0) == ["equal", "yes"]
    assert ways("1") == ["differs", "unsure"]
    assert ways(True) == ["differs", "unsure"]
    assert ways(None) == ["differs", "unsure"]
    assert ways([1]) == ["differs", "unsure"]


def results(engine: Engine) -> None:
    assert engine.run(GIVES, {"v": 5}).outputs["n"] == 5
    for wrong in ("5", "five", None, [5], 5.5):
        found = engine.run(GIVES, {"v": wrong})
        assert found.status == "failed", wrong
        assert (found.error["type"], found.error["step"]) == ("validation", "s"), wrong
        # A wrong result may be right the next time, so it is asked for again.
        assert [event.then for event in found.named(ev.StepFailed)] == ["retry", "fail"]


def skipping(engine: Engine) -> None:
    found = engine.run(SKIPPED)
    assert found.status == "completed"
    assert found.ran() == ["guarded", "asks", "after"]
    assert [event.path for event in found.named(ev.StepSkipped)] == ["a", "reads", "reads_that"]
    assert found.outputs == {"v": 9}


ROWS = [inputs, comparing, results, skipping]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.__name__)
def test_nothing_is_coerced_and_what_was_skipped_is_skipped_on(engine: Engine, row: Any) -> None:
    row(engine)


def _loose(value: Any, *_: Any) -> None:
    del value


def _as_texts(a: Any, b: Any, *_: Any) -> bool:
    return str(a) == str(b)


BREAKS: list[tuple[Any, Break]] = [
    (inputs, (types, "misfit", _loose)),
    (results, (Signature, "plain_result", lambda _, value: (value, 1))),
    (comparing, (expressions, "equal", _as_texts)),
    (skipping, (progress, "_are_done_beside", lambda *_: True)),
]


@pytest.mark.parametrize(("row", "broken"), BREAKS, ids=["inputs", "results", "comparing", "skipping"])
def test_it_catches(row: Any, broken: Break, tmp_path: Path) -> None:
    notices(row, tmp_path, broken)

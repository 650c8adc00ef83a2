"""Row 5, decisions: true, false, default through an error and through null.

It catches: a null condition taken for false; the default path taken only for errors; a path that starts at once, before
what stands in front of its decision.
"""

from typing import Any

import pytest

from kos_runtime.core.workflow import events as ev
from tests.conformance.hosts import Host, workflow

STEPS = """
- {id: first, agent: crew, action: note, inputs: {value: $inputs.n}, outputs: {value: value}}
- id: fork
  decision: {condition: CONDITION, true_path: [yes1, yes2], false_path: [no], default_path: [other]}
- {id: yes1, agent: crew, action: note, inputs: {value: yes1}}
- {id: yes2, agent: crew, action: note, inputs: {value: yes2}}
- {id: no, agent: crew, action: note, inputs: {value: no}}
- {id: other, agent: crew, action: note, inputs: {value: other}}
- {id: last, agent: crew, action: note, inputs: {value: last}}
"""


@pytest.mark.parametrize(
    ("condition", "branch", "value", "ran"),
    [
        ("$steps.first.value > 1", "true_path", True, ["yes1", "yes2"]),
        ("$steps.first.value > 2", "false_path", False, ["no"]),
        ("$steps.first.value.deeper > 2", "default_path", None, ["other"]),
        ("$steps.first.value > '2'", "default_path", None, ["other"]),
        ("$inputs.nothing", "default_path", None, ["other"]),
        ("null", "default_path", None, ["other"]),
    ],
    ids=["true", "false", "a reference to nothing", "an error", "an input that is null", "null"],
)
def test_a_decision_takes_one_path(host: Host, condition: str, branch: str, value: Any, ran: list[str]) -> None:
    text = workflow(STEPS.replace("CONDITION", f'"{condition}"'))
    run = host.start(text, n=2, nothing=None)
    assert host.finish(run).status == "completed"
    (taken,) = [event for event in host.events(run) if isinstance(event, ev.DecisionTaken)]
    assert (taken.branch, taken.value, taken.steps) == (branch, value, ran)
    assert host.executed(run) == ["first", *ran, "last"]
    assert host.violations(run) == []


def test_without_a_default_path_it_fails_and_says_why(host: Host) -> None:
    steps = STEPS.replace("CONDITION", '"null"').replace(", default_path: [other]", "").replace("yes2]", "yes2, other]")
    run = host.start(workflow(steps), n=2)
    ended = host.finish(run)
    assert (ended.status, ended.error["type"]) == ("failed", "validation")
    assert "there is no default_path" in ended.error["message"]
    assert host.executed(run) == ["first"]


def test_a_path_that_was_taken_is_gone_on_with_after_a_crash(host: Host) -> None:
    text = workflow(STEPS.replace("CONDITION", '"true"').replace("action: note, inputs: {value: yes1}", "action: hold"))
    run = host.start(text, n=2)
    host.until(run, "yes1")
    host.crash(run)
    host.open_gate()
    assert host.finish(run).status == "completed"
    assert host.executed(run) == ["first", "yes1", "yes1", "yes2", "last"]
    assert len([e for e in host.events(run) if isinstance(e, ev.DecisionTaken)]) == 1
    assert host.violations(run) == []

"""Row 11, sub-workflows: a child whose parent is called off is cancelled or abandoned, as ``parent_close`` says.

It catches: a parent that ends before the children that it called off; a child that is cancelled although it was to be
abandoned; a parent out of memory that does not hear of its child's end.
"""

import pytest

from kos_runtime.core.workflow import events as ev
from tests.conformance.hosts import Host, workflow

CHILD = """
workflow:
  id: child_of_row_11
  version: "1.1"
  inputs: [{name: n, type: integer, required: true}]
  outputs: [{name: doubled, value: "${{ $steps.held.value + $inputs.n }}"}]
  agents: {crew: {agent: "tests.conformance.crew:Crew"}}
  steps:
    - {id: held, agent: crew, action: ACTION, inputs: {value: $inputs.n}, outputs: {value: value}}
"""
STEPS = """
- id: deeper
  workflow: {id: child_of_row_11, version: ">=1 <2", inputs: {n: 4}, parent_close: CLOSE}
- {id: last, agent: crew, action: note, inputs: {value: $steps.deeper.doubled}, outputs: {value: value}}
"""
RACE = """
- id: race
  parallel_group:
    sync: any
    steps:
      - {id: slow, workflow: {id: child_of_row_11, inputs: {n: 4}, parent_close: CLOSE}}
      - {id: quick, agent: crew, action: note, depends_on: [], inputs: {value: 1}}
"""
CLOSES = pytest.mark.parametrize("close", ["cancel", "abandon"])
KILLED = pytest.mark.parametrize("killed", [False, True], ids=["", "killed"])


def begin(host: Host, steps: str, *, action: str = "hold") -> tuple[str, str]:
    """Start a parent and return it with its child, which is held."""
    host.beside("child_of_row_11", CHILD.replace("ACTION", action))
    run = host.start(workflow(steps))
    child = host.child(run)
    host.until(child, "held")
    return run, child


def ends(host: Host, run: str) -> list[str]:
    return [event.status for event in host.events(run) if isinstance(event, ev.ChildEnded)]


@KILLED
def test_a_parent_waits_for_its_child_and_takes_what_it_gave(host: Host, killed: bool) -> None:
    run, child = begin(host, STEPS.replace("CLOSE", "cancel"))
    if killed:
        host.crash(run)
    host.open_gate()
    assert host.finish(run).outputs == {"value": 8}
    assert host.finish(child).outputs == {"doubled": 8}
    assert host.executed(child).count("held") == (2 if killed else 1)
    assert ends(host, run) == ["completed"]
    assert host.violations(run) + host.violations(child) == []


@CLOSES
@KILLED
def test_a_cancelled_parent_calls_its_child_off_or_leaves_it(host: Host, close: str, killed: bool) -> None:
    run, child = begin(host, STEPS.replace("CLOSE", close))
    if killed:
        host.crash(run)
    host.cancel(run)
    assert host.finish(run).status == "cancelled"
    assert "last" not in host.executed(run)
    if close == "cancel":
        assert host.finish(child).status == "cancelled"
        assert ends(host, run) == ["cancelled"], "it ended after its child"
        names = [type(event).__name__ for event in host.events(run)]
        assert names.index("ChildEnded") < names.index("RunCancelled")
    else:
        assert not [event for event in host.events(child) if isinstance(event, ev.CancelRequested)]
        host.open_gate()
        assert host.finish(child).outputs == {"doubled": 8}
        assert ends(host, run) == []
    assert host.violations(run) + host.violations(child) == []


@CLOSES
def test_a_group_that_is_settled_without_a_child_calls_it_off_or_leaves_it(host: Host, close: str) -> None:
    host.beside("child_of_row_11", CHILD.replace("ACTION", "hold"))
    run = host.start(workflow(RACE.replace("CLOSE", close)))
    assert host.finish(run).status == "completed"
    child = host.child(run)
    host.open_gate()
    assert host.finish(child).status == ("cancelled" if close == "cancel" else "completed")
    assert host.violations(run) + host.violations(child) == []


def test_a_child_that_fails_fails_its_step_with_its_kind(host: Host) -> None:
    host.beside("child_of_row_11", CHILD.replace("ACTION", "refuse"))
    run = host.start(workflow(STEPS.replace("CLOSE", "cancel")))
    ended = host.finish(run)
    assert (ended.status, ended.error["type"]) == ("failed", "permanent")
    assert ended.error["message"] == "child run failed: refused 4"
    assert host.violations(run) == []

"""Row 14, changes while it runs: who may change, told as a table; and the changed run, folded, is the live one.

It catches: a completed step that changes; an edge that is counted twice when a step is put before one that is ready; a run
that is taken over with the plan that it was created with.
"""

import pytest

from kos_runtime.core.errors import InvalidDefinition, NotFound
from kos_runtime.core.workflow import events as ev
from kos_runtime.definition import DefinitionError
from kos_runtime.definition.changing import Change
from tests.conformance.hosts import Host, added, modified, removed, workflow

STEPS = """
- {id: done, agent: crew, action: note, inputs: {value: done}}
- {id: left, agent: crew, action: note, when: "false", inputs: {value: left}}
- {id: open, agent: crew, action: hold, inputs: {value: open}, outputs: {value: value}}
- {id: next, agent: crew, action: note, inputs: {value: $steps.open.value}, outputs: {value: value}}
- {id: spare, on_demand: true, agent: crew, action: note, inputs: {value: spare}}
- id: again
  loop: {max_iterations: 2, body: [{id: turn, agent: crew, action: note, inputs: {value: $loop.index}}]}
"""
NEW = "{id: new, agent: crew, action: note, inputs: {value: new}}"
VALUE = {"inputs": {"value": "changed"}}


@pytest.mark.parametrize(
    ("change", "next_attempt", "refused"),
    [
        (added(NEW), False, ""),
        (added(NEW, after="open"), False, ""),
        (added(NEW, before="next"), False, ""),
        (added(NEW, into="again"), False, ""),
        (added(NEW, before="again/turn"), False, ""),
        (added(NEW, before="open"), False, r"step open has begun \(it is running\): what it waits for cannot change any more"),
        (added(NEW, after="done"), False, "step left was skipped: what it waits for cannot change any more"),
        (modified("next", VALUE), False, ""),
        (modified("again/turn", VALUE), False, ""),
        (modified("spare", VALUE), False, ""),
        (modified("open", VALUE), False, "step open has begun"),
        (modified("open", VALUE), True, ""),
        (modified("open", {"timeout": "9s", "retry": {"max_retries": 1}}), True, ""),
        (modified("open", {"when": "true"}), True, "step open has begun: of its next attempt when cannot change"),
        (modified("open", {"outputs": {"value": "$result"}}), True, "outputs cannot change"),
        (modified("open", {"depends_on": ["next"]}), True, "wait for each other"),
        (modified("done", VALUE), False, "step done cannot change: it has completed"),
        (modified("done", VALUE), True, "step done cannot change: it has completed"),
        (modified("left", VALUE), True, "step left cannot change: it was skipped"),
        (removed("spare"), False, ""),
        (removed("again"), False, ""),
        (removed("open"), False, "no step 'open' can be seen from here"),
        (removed("done"), False, "step done cannot be removed: it has completed"),
        (removed("left"), False, "step left cannot be removed: it was skipped"),
        (removed("nobody"), False, "no step 'nobody'"),
        (added(NEW.replace("new", "next", 1)), False, "two steps of this body are named 'next'"),
        (modified("next", {"inputs": {"value": "$steps.nobody.value"}}), False, "no step 'nobody'"),
    ],
)  # fmt: skip
def test_the_table_of_who_may_change(host: Host, change: Change, next_attempt: bool, refused: str) -> None:
    run = host.start(workflow(STEPS))
    host.until(run, "open")
    if refused:
        with pytest.raises((InvalidDefinition, NotFound, DefinitionError), match=refused):
            host.change(run, change, next_attempt=next_attempt)
    else:
        host.change(run, change, next_attempt=next_attempt)
    assert len([event for event in host.events(run) if isinstance(event, ev.PlanRevised)]) == (not refused)
    host.open_gate()
    assert host.finish(run).status == "completed"
    executed = host.executed(run)
    assert executed[:2] == ["done", "open"]
    assert "left" not in executed
    assert ("new" in {path.rpartition("/")[2] for path in executed}) is (change.change == "add_step" and not refused)
    assert ("again#0/turn" in executed) is (refused != "" or change != removed("again"))
    assert host.violations(run) == []


def test_a_step_is_put_before_one_that_is_ready(host: Host) -> None:
    run = host.start(workflow(STEPS))
    host.until(run, "open")
    host.pause(run)
    host.open_gate()
    host.until_completed(run, "open")
    host.change(run, added(NEW, before="next"))
    host.change(run, removed("again"))
    host.resume(run)
    assert host.finish(run).status == "completed"
    assert host.executed(run) == ["done", "open", "new", "next"]
    assert host.violations(run) == []


def test_a_run_that_is_over_is_not_changed(host: Host) -> None:
    run = host.start(workflow("- {id: a, agent: crew, action: note}"))
    host.finish(run)
    with pytest.raises(InvalidDefinition, match="completed"):
        host.change(run, added(NEW))


def test_a_changed_run_is_taken_over_with_its_changed_plan(host: Host) -> None:
    run = host.start(workflow(STEPS))
    host.until(run, "open")
    host.change(run, added(NEW, after="open"))
    host.change(run, removed("again"))
    host.change(run, modified("next", {"inputs": {"value": "changed"}}))
    host.crash(run)
    host.change(run, added(NEW.replace("new", "newer"), before="next"))
    host.open_gate()
    ended = host.finish(run)
    assert ended.status == "completed"
    assert host.executed(run) == ["done", "open", "open", "new", "newer", "next"]
    assert ended.outputs == {"value": "changed"}
    assert [event.revision for event in host.events(run) if isinstance(event, ev.PlanRevised)] == [1, 2, 3, 4]
    assert host.violations(run) == []


def test_a_changed_attempt_is_the_one_that_is_made_after_a_crash(host: Host) -> None:
    run = host.start(workflow(STEPS))
    host.until(run, "open")
    host.change(run, modified("open", {"action": "note", **VALUE}), next_attempt=True)
    host.crash(run)
    ended = host.finish(run)
    assert (ended.status, host.executed(run).count("open")) == ("completed", 2)
    result = [event for event in host.events(run) if isinstance(event, ev.StepCompleted) and event.path == "next"]
    assert b"changed" in result[0].exposed
    assert host.violations(run) == []


def test_a_step_on_demand_runs_by_hand_alone_and_the_run_waits_for_it(host: Host) -> None:
    run = host.start(
        workflow(STEPS.replace("action: note, inputs: {value: spare}", "action: hold, inputs: {value: spare}"))
    )
    host.until(run, "open")
    host.execute(run, "spare", {"value": "by hand"})
    host.until(run, "spare")
    host.open_gate()
    assert host.finish(run).status == "completed"
    assert "spare" in host.executed(run)
    with pytest.raises(InvalidDefinition):
        host.execute(run, "spare")
    other = host.start(workflow(STEPS))
    host.until(other, "open")
    with pytest.raises(InvalidDefinition, match="step next is not ready: it waits for open"):
        host.execute(other, "next")
    host.open_gate()
    host.finish(other)
    assert "spare" not in host.executed(other)
    assert host.violations(run) == []

"""Row 9, groups: all, any, a count, a quorum; those that come too late are called off.

It catches: a quorum that is rounded down; a member that comes late and is waited for; a member that failed and
is counted as done.
"""

import pytest

from kos_runtime.core.workflow import events as ev
from tests.conformance.hosts import Host, workflow

STEPS = """
- id: both
  parallel_group:
    sync: SYNC
    steps:
      - {id: one, agent: crew, action: note, inputs: {value: 1}}
      - {id: two, agent: crew, action: ACTION, inputs: {value: 2}, retry: {max_retries: 0}}
      - {id: three, agent: crew, action: note, depends_on: [two], inputs: {value: 3}}
      - {id: four, agent: crew, action: note, inputs: {value: 4}}
- {id: last, agent: crew, action: note, inputs: {value: last}, outputs: {value: value}}
"""


def text(sync: str, action: str) -> str:
    return workflow(STEPS.replace("SYNC", sync).replace("ACTION", action))


@pytest.mark.parametrize("sync", ["all", "{count: 4}", "{quorum: 1.0}", "{quorum: 0.8}"])
def test_a_group_that_needs_all_waits_for_all(host: Host, sync: str) -> None:
    run = host.start(text(sync, "hold"))
    host.until(run, "both/two")
    assert not [event for event in host.events(run) if isinstance(event, ev.GroupSettled)]
    host.open_gate()
    assert host.finish(run).outputs == {"value": "last"}
    (settled,) = [event for event in host.events(run) if isinstance(event, ev.GroupSettled)]
    assert (settled.done, settled.cancelled) == (4, [])
    assert sorted(host.executed(run)) == ["both/four", "both/one", "both/three", "both/two", "last"]
    assert host.violations(run) == []


@pytest.mark.parametrize(
    ("sync", "needed"),
    [("any", 1), ("{count: 2}", 2), ("{quorum: 0.5}", 2), ("{quorum: 0.3}", 2), ("{quorum: 0.25}", 1)],
)
def test_who_comes_too_late_is_called_off(host: Host, sync: str, needed: int) -> None:
    run = host.start(text(sync, "hold"))
    # Nobody opens the gate: the group is settled without the one that is held, which is asked to stop.
    assert host.finish(run).outputs == {"value": "last"}
    (settled,) = [event for event in host.events(run) if isinstance(event, ev.GroupSettled)]
    assert settled.done >= needed
    assert {"two", "three"} <= set(settled.cancelled)
    assert len(settled.cancelled) == 4 - settled.done
    called_off = {event.path for event in host.events(run) if isinstance(event, ev.StepCancelled)}
    assert "both/two" in called_off
    assert "both/three" not in host.executed(run)
    assert host.violations(run) == []


@pytest.mark.parametrize(
    ("sync", "status"), [("all", "failed"), ("{count: 3}", "failed"), ("{count: 2}", "completed"), ("any", "completed")]
)
def test_a_member_that_fails_ends_the_group_unless_enough_others_are_done(host: Host, sync: str, status: str) -> None:
    steps = text(sync, "refuse").replace("{id: two, agent", "{id: two, depends_on: [one, four], agent")
    run = host.start(steps)
    ended = host.finish(run)
    assert ended.status == status
    if status == "failed":
        assert ended.error["message"] == "refused 2"
        assert "last" not in host.executed(run)
    assert "both/three" not in host.executed(run)
    assert host.violations(run) == []


def test_a_group_goes_on_after_a_crash_with_those_that_were_at_work(host: Host) -> None:
    run = host.start(text("all", "hold"))
    host.until(run, "both/two")
    host.crash(run)
    host.open_gate()
    assert host.finish(run).outputs == {"value": "last"}
    executed = host.executed(run)
    assert executed.count("both/two") == 2
    assert executed.count("last") == executed.count("both/three") == 1
    assert host.violations(run) == []

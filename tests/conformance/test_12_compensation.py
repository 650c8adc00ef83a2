"""Row 12, compensation: its order, one that fails, after a cancel in mid-run; and it goes on after everything was killed.

It catches: undoing in the order of doing; one that is dropped when it fails; a run that is over before all is undone;
undoing under the forward step's key.
"""

import pytest

from kos_runtime.core.workflow import events as ev
from tests.conformance.hosts import Host, workflow
from tests.engine.world import CODEC

STEPS = """
- {id: a, agent: crew, action: note, inputs: {value: 1}, outputs: {value: value, key: key}, compensate: {agent: crew, action: note, inputs: {value: $self.result.value}}}
- {id: b, agent: crew, action: note, inputs: {value: 2}, outputs: {value: value, key: key}, compensate: {agent: crew, action: UNDO, inputs: {value: $self.result.value}}}
- {id: c, agent: crew, action: LAST, inputs: {value: 3}}
"""
ON = "error_handling: [{step: c, on_failure: fail}]\ncompensation: {order: reverse, on: [failed, cancelled]}"


def text(*, undo: str = "note", last: str = "refuse", more: str = ON) -> str:
    return workflow(STEPS.replace("UNDO", undo).replace("LAST", last), more)


def undone(host: Host, run: str) -> list[str]:
    return [path for path in host.executed(run) if path.endswith(":undo")]


def test_what_was_completed_is_undone_newest_first_before_the_run_ends(host: Host) -> None:
    run = host.start(text())
    ended = host.finish(run)
    assert (ended.status, ended.error["message"]) == ("failed", "refused 3")
    assert undone(host, run) == ["b:undo", "a:undo"]
    events = host.events(run)
    (started,) = [event for event in events if isinstance(event, ev.CompensationStarted)]
    assert (started.outcome, started.steps, started.step) == ("failed", ["b", "a"], "c")
    assert isinstance(events[-1], ev.RunFailed)
    keys = {e.path: CODEC.unpack(e.exposed)["key"] for e in events if isinstance(e, ev.StepCompleted)}
    assert (keys["a:undo"], keys["b:undo"]) == (f"{keys['a']}:undo", f"{keys['b']}:undo")
    assert host.violations(run) == []


@pytest.mark.parametrize("more", ["compensation: {on: [cancelled]}", "compensation: {on: failed}"])
def test_only_after_the_ends_that_are_named(host: Host, more: str) -> None:
    run = host.start(text(more=f"error_handling: [{{step: c, on_failure: fail}}]\n{more}"))
    assert host.finish(run).status == "failed"
    assert undone(host, run) == (["b:undo", "a:undo"] if "failed" in more else [])


def test_one_that_cannot_be_done_is_a_persons_task_and_never_dropped(host: Host) -> None:
    run = host.start(text(undo="refuse"))
    assert host.finish(run).status == "waiting"
    assert undone(host, run) == ["b:undo"]
    host.crash(run)
    host.answer(run, "b:undo", note="done by hand")
    assert host.finish(run).status == "failed"
    assert undone(host, run) == ["b:undo", "a:undo"]
    assert host.violations(run) == []


def test_after_a_cancel_in_mid_run_what_runs_is_stopped_and_then_the_rest_undone(host: Host) -> None:
    run = host.start(text(last="hold"))
    host.until(run, "c")
    host.cancel(run)
    assert host.finish(run).status == "cancelled"
    assert undone(host, run) == ["b:undo", "a:undo"]
    names = [type(event).__name__ for event in host.events(run)]
    assert names.index("CancelRequested") < names.index("CompensationStarted")
    assert names[-1] == "RunCancelled"
    assert host.violations(run) == []


def test_it_goes_on_where_everything_was_killed(host: Host) -> None:
    run = host.start(text(undo="hold"))
    host.until(run, "b:undo")
    host.crash(run)
    host.open_gate()
    assert host.finish(run).status == "failed"
    assert undone(host, run) == ["b:undo", "b:undo", "a:undo"], "at least once, in order"
    assert len([event for event in host.events(run) if isinstance(event, ev.CompensationStarted)]) == 1
    assert host.violations(run) == []

"""Row 4, a result without a key that an output names: a validation failure at that step, retried as its rule says.

It catches: a failure at the step that reads it; one that is taken for not recoverable; a budget that is not counted.
"""

from kos_runtime.core.workflow import events as ev
from tests.conformance.hosts import Host, workflow

STEPS = """
- {id: gather, agent: crew, action: note, inputs: {value: 1}, outputs: {notes: absent}}
- {id: write, agent: crew, action: note, inputs: {value: $steps.gather.notes}}
"""
MORE = "error_handling: [{step: gather, on_failure: retry, max_retries: 2, backoff: {strategy: fixed, initial: 10ms, jitter: false}}]"


def test_a_missing_output_key_fails_that_step_and_is_retried_within_the_budget(host: Host) -> None:
    run = host.start(workflow(STEPS, MORE))
    ended = host.finish(run)
    assert (ended.status, ended.error["type"]) == ("failed", "validation")
    assert "'absent'" in ended.error["message"]
    failed = [event for event in host.events(run) if isinstance(event, ev.StepFailed)]
    assert [(e.path, e.attempt, e.then) for e in failed] == [
        ("gather", 1, "retry"),
        ("gather", 2, "retry"),
        ("gather", 3, "fail"),
    ]
    assert {(e.error["recoverable"], e.error["suggested_action"], e.rule) for e in failed} == {
        (True, "retry", "error_handling[0]")
    }
    assert host.executed(run) == ["gather"] * 3
    assert host.violations(run) == []

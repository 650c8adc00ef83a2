"""Row 13, ladders: rungs in their order, each named in the log; one budget for retry and different_agent together.

It catches: a rung that is left out or taken twice; a budget for each rung; a different agent that is the same.
"""

import pytest

from kos_runtime.core.workflow import events as ev
from tests.conformance.hosts import Host, workflow

STEPS = """
- {id: a, agent: crew, action: HOW, inputs: {value: 1}, outputs: {value: value}}
- {id: b, agent: crew, action: HOW, inputs: {value: 2}, outputs: {value: value}}
"""
FAST = "backoff: {strategy: fixed, initial: 10ms, jitter: false}"


def handling(ladder: str, retries: int, more: str = "") -> str:
    return f"error_handling: [{{step: a, on_failure: {ladder}, max_retries: {retries}, {FAST}{more}}}]"


def climbed(host: Host, run: str) -> list[str]:
    return [event.then for event in host.events(run) if isinstance(event, ev.StepFailed) and event.path == "a"]


@pytest.mark.parametrize(
    ("ladder", "retries", "thens"),
    [
        ("[retry, different_agent, fail]", 2, ["retry", "retry", "fail"]),
        ("[different_agent, retry, fail]", 3, ["different_agent", "retry", "retry", "fail"]),
        ("[different_agent, fail]", 3, ["different_agent", "fail"]),
        ("[skip, fail]", 3, ["skip"]),
        ("fail", 3, ["fail"]),
        ("retry", 0, ["fail"]),
    ],
)
def test_rungs_are_tried_in_order_within_one_budget(host: Host, ladder: str, retries: int, thens: list[str]) -> None:
    run = host.start(workflow(STEPS.replace("HOW", "stumble", 1).replace("HOW", "note"), handling(ladder, retries)))
    ended = host.finish(run)
    assert ended.status == ("completed" if thens[-1] == "skip" else "failed")
    assert climbed(host, run) == thens
    assert host.executed(run).count("a") == len(thens)
    failed = [event for event in host.events(run) if isinstance(event, ev.StepFailed)]
    assert {event.rule for event in failed} == {"error_handling[0]"}
    assert host.violations(run) == []


def test_a_different_agent_is_another_one(host: Host) -> None:
    text = workflow(STEPS.replace("HOW", "stumble", 1).replace("HOW", "note"), handling("different_agent", 1))
    run = host.start(text)
    host.finish(run)
    first, second = [e.agent for e in host.events(run) if isinstance(e, ev.StepScheduled) and e.path == "a"]
    assert first != second


def test_what_cannot_be_mended_goes_to_the_step_that_stands_in_at_once(host: Host) -> None:
    steps = STEPS.replace("HOW", "refuse", 1).replace("HOW", "note")
    run = host.start(workflow(steps, handling("[retry, different_agent]", 5, ", fallback: b")))
    ended = host.finish(run)
    assert (ended.status, ended.outputs) == ("completed", {"value": 2})
    assert climbed(host, run) == ["fallback"]
    assert host.executed(run) == ["a", "a~b"]
    assert host.violations(run) == []

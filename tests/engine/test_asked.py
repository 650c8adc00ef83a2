"""What a failure says beside its kind: when to come again, and that nobody knows what was done."""

from typing import Any

import pytest

from kos_runtime.core.failure import ErrorType, failure
from kos_runtime.core.workflow import events as ev
from tests.engine.world import Fails, World, act, plan


def failing(times: int, **details: Any) -> Any:
    left = [times]

    def act_(_: Any) -> dict[str, Any]:
        left[0] -= 1
        if left[0] >= 0:
            raised = Fails(ErrorType.RESOURCE)
            raised.error = failure(ErrorType.RESOURCE, "scripted", **details)
            raise raised
        return {"n": 1}

    return act_


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        (90_000, 90_000, 90_000),
        (10**12, 3_600_000, 3_600_000),
        (-5, 0, 60_000),
        ("90000", 0, 60_000),
        (True, 0, 60_000),
    ],
)
def test_a_retry_comes_no_earlier_than_was_asked_within_an_hour(asked: Any, least: int, most: int) -> None:
    world = World({"do": failing(1, retry_after_ms=asked)}).run(plan(act("s", "do")))
    (retry,) = world.named(ev.RetryScheduled)
    assert least <= retry.delay_ms <= most
    assert world.status() == "completed"


def test_what_may_have_acted_is_not_repeated_where_a_step_is_delivered_at_most_once() -> None:
    world = World({"do": failing(1, outcome_unknown=True)}).run(plan(act("s", "do", delivery="at_most_once")))
    (failed,) = world.named(ev.StepFailed)
    assert "outcome_unknown" in failed.error["message"]
    assert "scripted" in failed.error["message"]
    assert world.status() == "failed"
    assert World({"do": failing(1, outcome_unknown=True)}).run(plan(act("s", "do"))).status() == "completed"
    assert World({"do": failing(1)}).run(plan(act("s", "do", delivery="at_most_once"))).status() == "completed"

"""Secrets in a run's inputs: the partition knows their names, the log neither value nor place of one."""

from typing import Any

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.plan.model import ForEach, Step
from kos_runtime.core.workflow import events as ev
from tests.engine.world import HANGS, Fails, World, act, plan, state_of


def test_a_secret_is_filled_in_where_the_action_runs_at_each_attempt() -> None:
    given: list[Any] = []

    def take(invocation: Any, **inputs: Any) -> Any:
        given.append(inputs)
        if invocation.attempt == 1:
            raise Fails(ErrorType.TRANSIENT)
        return {"n": 1}

    inputs = {
        "key": "$secrets.KEY",
        "deep": [{"at": "$secrets.KEY"}],
        "text": "${{ $vars.n }}: ${{ $secrets.KEY }}/${{ $secrets.B }}",
    }
    world = World({"take": take}).run(plan(act("s", "take", inputs=inputs), variables={"n": 7}))
    assert given == [{"key": "<KEY>", "deep": [{"at": "<KEY>"}], "text": "7: <KEY>/<B>"}] * 2
    assert world.outputs()["n"] == 1
    assert state_of(world.folded())["steps"]


def test_what_a_text_read_beside_a_secret_is_the_same_at_every_attempt() -> None:
    given: list[Any] = []

    def take(invocation: Any, **inputs: Any) -> Any:
        given.append(inputs["text"])
        return HANGS if len(given) == 1 else {"n": 1}

    step = act("s", "take", inputs={"text": "${{ $vars.n }} ${{ $secrets.KEY }}"})
    world = World({"take": take})
    world.create(plan(step, variables={"n": 7}))
    for _ in range(20):
        world.virtual.step()
    assert given == ["7 <KEY>"]
    again = world.crash()
    again.virtual.run_until_idle()
    assert given == ["7 <KEY>"] * 2
    assert again.status() == "completed"
    assert all(b"KEY" not in (scheduled.inputs or b"") for scheduled in again.named(ev.StepScheduled))


def test_items_have_secrets_too_and_a_spread_over_one_is_refused() -> None:
    seen: list[str] = []

    def take(_: Any, key: str) -> Any:
        seen.append(key)
        return {"n": 1}

    each = Step(
        id="each",
        form=ForEach(items=[1, 2], agent="k", action="take"),
        inputs={"key": "${{ $item }} ${{ $secrets.K }}"},
    )
    World({"take": take}).run(plan(each))
    assert sorted(seen) == ["1 <K>", "2 <K>"]

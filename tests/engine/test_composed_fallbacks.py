"""Templates and workflows that stand in for steps: folded, restored, called off, and for parts of a spread step."""

from dataclasses import replace
from typing import Any

import pytest

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.plan.model import Body, Child, Inlined, Policy, Step
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import CancelRun
from tests.engine.test_children import asks, linked, of
from tests.engine.world import Fails, World, act, plan, restored, spread_over, state_of

FALL = (Policy(rule="f", ladder=("fallback", "fail"), fallback="other"), Policy(rule="m", ladder=("manual",)))


def fails(_: Any, **__: Any) -> Any:
    raise Fails(ErrorType.PERMANENT)


def template(*steps: Step) -> Step:
    form = Inlined(template="other", body=Body(steps=steps), free_inputs=True, free_outputs=True)
    return Step(id="other", form=form, on_demand=True, policies=(1,))


CHILD = Step(id="other", form=Child(workflow="other"), on_demand=True, policies=(1,))


@pytest.mark.parametrize("kind", ["template", "workflow"])
def test_what_stands_in_survives_a_crash_and_a_snapshot(kind: str) -> None:
    ask = act("ask", "fails", inputs={"n": "$inputs.n"}, policies=(1,))
    stand_in = template(ask) if kind == "template" else CHILD
    parent = plan(act("a", "fails", inputs={"n": 3}), policies=FALL, fallbacks=Body(steps=(stand_in,)))
    world = World({"fails": fails})
    world.run(parent, link=linked(world, other=asks()))
    state = world.folded()
    assert state_of(restored(world, state)) == state_of(state)
    again = world.crash()
    again.virtual.run_until_idle()
    if kind == "template":
        assert [e.inputs for e in again.named(ev.TemplateOpened)]
        again.answer("a~other/ask", {"result": 5})
    else:
        again.answer("ask", {"result": 5}, run=of("a~other"))
    assert again.outputs() == {"result": 5}
    (taken,) = again.named(ev.FallbackStepEnded)
    assert (taken.path, taken.step) == ("a", "other")


def test_a_child_that_stands_in_is_called_off_with_its_run() -> None:
    parent = plan(act("a", "fails", inputs={"n": 3}), policies=FALL, fallbacks=Body(steps=(CHILD,)))
    world = World({"fails": fails})
    world.run(parent, link=linked(world, other=asks()))
    world.virtual.request(CancelRun(run="r", by="user:t", reason="enough", grace_ms=0), command_id="c")
    world.virtual.run_until_idle()
    assert (world.status(), world.status(of("a~other"))) == ("cancelled", "cancelled")


@pytest.mark.parametrize("kind", ["template", "workflow"])
def test_a_part_that_fails_is_made_up_for_alone(kind: str) -> None:
    def gather(invocation: Any, plan: list[int]) -> dict[str, Any]:
        if invocation.path == "a[1]":
            raise Fails(ErrorType.PERMANENT)
        return {"data": [10 * n for n in plan]}

    def by_hand(_: Any, plan: list[int]) -> dict[str, Any]:
        return {"data": [n + 1 for n in plan]}

    inside = act("b", "by_hand", inputs={"plan": "$inputs.plan"})
    stand_in = template(inside) if kind == "template" else CHILD
    parent = plan(
        act("a", "gather", inputs={"plan": "$inputs.plan"}, outputs=(("all", "data"),), spread=True),
        policies=FALL,
        fallbacks=Body(steps=(stand_in,)),
    )
    world = World({"gather": gather, "by_hand": by_hand})
    link = linked(world, other=plan(inside))
    agent = link.agents["k"]
    actions = {**agent.actions, "gather": spread_over("plan", "data")}
    link = replace(link, agents={**link.agents, "k": replace(agent, actions=actions)})
    world.run(parent, {"plan": [1, 2, 3]}, link=link)
    assert world.outputs() == {"all": [10, 3, 30]}


def test_without_a_link_a_workflow_does_not_stand_in() -> None:
    parent = plan(act("a", "fails", inputs={"n": 3}), policies=FALL, fallbacks=Body(steps=(CHILD,)))
    world = World({"fails": fails})
    world.run(parent)
    assert [e.task for e in world.named(ev.ManualTaskRequested)] == ["other"]

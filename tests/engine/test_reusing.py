"""Steps that take a result that is kept: whose, when, what they do not cost, and what is never taken."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.plan.link import Link
from kos_runtime.core.plan.model import Plan
from kos_runtime.core.projection.steps import RunView, fold
from kos_runtime.core.record import INLINE_LIMIT
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, ExecuteStep, RestoreRun
from kos_runtime.definition import WorkflowDocument, compile_workflow, load

from .test_waiting import settle
from .world import Fails, World, link_for, spread_over

HOUR = 3_600_000
ONE = "  steps: [{id: s, agent: k, action: work, inputs: {x: $inputs.x}, cache: true}]"


def plan_of(text: str) -> Plan:
    document = load("workflow:\n  id: w\n" + text, "w.yaml")
    assert isinstance(document, WorkflowDocument)
    return compile_workflow(document)[0]


def works(_: Any, **given: Any) -> dict[str, Any]:
    return {"y": given.get("x")}


def done(world: World, text: str, run: str, **inputs: Any) -> World:
    world.run(plan_of(text), inputs, run=run)
    settle(world)
    return world


def test_what_another_run_recorded_for_the_same_is_taken_and_costs_no_dispatch() -> None:
    world = done(World({"work": works}), ONE, "a", x=1)
    done(world, ONE, "b", x=1)
    done(world, ONE, "c", x=2)
    assert [path for path, *_ in world.executed] == ["s", "s"], "a and c"
    (sought,) = world.named(ev.ResultSought, "a")
    (reused,) = world.named(ev.ResultReused, "b")
    assert (reused.run, reused.step, reused.key) == ("a", "s", sought.key)
    record = world.store.stream("run/a", after=reused.seq - 1, limit=1)[0]
    assert "step_completed" in record.names, "it names the record that says so"
    assert not world.named(ev.StepScheduled, "b")
    assert world.outputs("b") == world.outputs("a")


def test_it_is_taken_after_a_crash_and_the_state_folded_from_the_log_is_the_live_one() -> None:
    world = done(World({"work": works}), ONE, "a", x=1).crash()
    text = "  steps: [{id: s, agent: k, action: work, inputs: {x: $inputs.x}, cache: true}, {id: w, wait: {for: 1h}}]"
    world.create(plan_of(text), {"x": 1}, run="b")
    settle(world)
    assert (len(world.named(ev.ResultReused, "b")), world.executed) == (1, [])


DIFFERENT: dict[str, str] = {
    "other inputs": ONE.replace("$inputs.x}", "7}"),
    "another action": ONE.replace("action: work", "action: other"),
    "another agent": ONE.replace("agent: k", "agent: boss")
    .replace("work", "on_escalation")
    .replace("x:", "escalation:"),
    "other outputs": ONE.replace("cache:", "outputs: {z: y}, cache:"),
    "it does not say so": ONE.replace(", cache: true", ""),
    "a key of its own": ONE.replace("cache: true", "cache: {key: $inputs.x}"),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_differs_is_done(what: str) -> None:
    world = done(World({"work": works, "other": works, "on_escalation": works}), ONE, "a", x=1)
    done(world, DIFFERENT[what], "b", x=1)
    assert not world.named(ev.ResultReused, "b")
    assert len(world.executed) == 2


def _of(change: Callable[[Any], Any]) -> Link:
    link = link_for({"work": works})
    return replace(link, agents={**link.agents, "k": change(link.agents["k"])})


@pytest.mark.parametrize(
    "link",
    [_of(lambda k: replace(k, version="2")), _of(lambda k: replace(k, settings={"corpus": "other"})),
     _of(lambda k: replace(k, target="tests:another"))],
    ids=["version", "settings", "class"],
)  # fmt: skip
def test_what_another_agent_gave_is_not_taken(link: Link) -> None:
    world = done(World({"work": works}), ONE, "a", x=1)
    world.run(plan_of(ONE), {"x": 1}, run="b", link=link)
    assert not world.named(ev.ResultReused, "b")


def test_a_key_stands_for_the_inputs() -> None:
    text = ONE.replace("cache: true", "cache: {key: $inputs.k}")
    world = done(World({"work": works}), text, "a", x=1, k="same")
    done(world, text, "b", x=2, k="same")
    done(world, text, "c", x=1, k="other")
    assert world.outputs("b")["y"] == 1
    assert not world.named(ev.ResultReused, "c")


def test_what_is_older_than_it_may_be_is_done_again_and_that_is_kept() -> None:
    text = ONE.replace("cache: true", "cache: {ttl: 1h}")
    world = done(World({"work": works}), text, "a", x=1)
    world.clock.advance_to(world.clock.now() + HOUR)
    done(world, text, "b", x=1)
    assert world.named(ev.ResultReused, "b")[0].age_ms == HOUR
    world.clock.advance_to(world.clock.now() + 1)
    done(world, text, "c", x=1)
    assert not world.named(ev.ResultReused, "c")
    done(world, text, "d", x=1)
    assert world.named(ev.ResultReused, "d")[0].run == "c"


def test_a_failed_attempt_leaves_nothing_and_what_was_tried_again_does() -> None:
    failing = [True]

    def fails_once(*_: Any, **given: Any) -> Any:
        if failing:
            failing.pop()
            raise Fails(ErrorType.TRANSIENT)
        return works(_, **given)

    world = World({"work": fails_once})
    world.create(plan_of(ONE), {"x": 1}, run="a")
    while not world.named(ev.StepFailed, "a"):
        world.virtual.step()
    done(world, ONE, "b", x=1)
    assert not world.named(ev.ResultReused, "b")
    world.virtual.run_until_idle()
    # While a waited for its next attempt, b has done it.
    assert world.named(ev.ResultReused, "a")[0].run == "b"
    assert [attempt for _, attempt, _ in world.executed] == [1, 1]


def test_items_and_large_values_are_taken_one_by_one() -> None:
    text = (
        "  steps: [{id: e, for_each: {in: $inputs.xs, as: x}, agent: k, action: large, inputs: {x: $x}, cache: true}]\n"
        "  outputs: [{name: ys, value: $steps.e.items}]\n"
    )  # fmt: skip
    world = World({"large": lambda _, x: {"y": str(x) * (INLINE_LIMIT + 1)}})
    done(world, text, "a", xs=[1, 2, 3])
    done(world, text, "b", xs=[3, 4, 1, 1])
    assert [event.path for event in world.named(ev.ResultReused, "b")] == ["e[0]", "e[2]", "e[3]"]
    assert [event.path for event in world.named(ev.StepCompleted, "b")] == ["e[1]"]
    assert [item["y"][0] for item in world.outputs("b")["ys"]] == ["3", "4", "1", "1"]
    (blob,) = world.named(ev.ResultReused, "b")[0].blobs[:1]
    assert (blob[1], "run/b") in world.store.log.blob_refs


def test_what_stands_in_for_another_step_neither_takes_nor_leaves_a_result() -> None:
    text = (
        "  steps:\n    - {id: a, agent: k, action: part, parallel: true, inputs: {xs: $inputs.xs}}\n"
        "    - {id: b, agent: k, action: work, inputs: {x: 1}, cache: true}\n"
        "  error_handling: [{step: a, on_failure: fallback, fallback: b}]\n"
    )
    actions = {"part": _fails, "work": lambda _, x: {"ys": [x]}}
    world = World(actions)
    world.run(plan_of(text), {"xs": [1, 2]}, link=link_for(actions, part=spread_over("xs", "ys")))
    settle(world)
    assert world.status() == "completed"
    assert [path for path, *_ in world.executed if "~" in path] == ["a[0]~b", "a[1]~b"]
    assert not world.named(ev.ResultSought)


def test_what_was_purged_is_not_there_any_more() -> None:
    world = done(World({"work": works}), ONE, "a", x=1)
    world.store.log._empty("run/a")
    done(world.crash(), ONE, "b", x=1)
    assert not world.named(ev.ResultReused, "b")


def test_what_a_person_wants_done_is_done() -> None:
    text = (
        "  steps: [{id: w, wait: {for: 1h}}, "
        "{id: s, on_demand: true, agent: k, action: work, inputs: {x: $inputs.x}, cache: true}]"
    )  # fmt: skip
    world = done(World({"work": works}), ONE, "a", x=1)
    world.create(plan_of(text), {"x": 1}, run="b")
    settle(world)
    asked = ExecuteStep(run="b", path="s", inputs=None, by="user:jr")
    assert isinstance(world.virtual.request(asked, command_id="x"), Accepted)
    settle(world)
    assert not world.named(ev.ResultReused, "b")
    assert len(world.executed) == 2


def test_a_run_that_was_taken_back_does_it_again() -> None:
    text = ONE.replace("}]", "}, {id: t, agent: k, action: fails, idempotent: true}]").replace(
        "cache: true", "idempotent: true, cache: true"
    )
    world = World({"work": works, "fails": _fails})
    done(world, text, "a", x=1)
    answer = world.virtual.request(RestoreRun(run="a", to=1, by="user:jr"), command_id="r")
    assert isinstance(answer, Accepted), answer
    settle(world)
    assert [path for path, *_ in world.executed].count("s") == 2


def _fails(*_: Any, **__: Any) -> Any:
    raise Fails(ErrorType.PERMANENT)


def test_whoever_looks_at_the_run_sees_whose_result_it_is() -> None:
    world = done(done(World({"work": works}), ONE, "a", x=1), ONE, "b", x=1)
    view = RunView("b")
    for seq, event in enumerate(world.events("b")):
        fold(view, event, 0, seq)
    assert view.steps["s"].status == "completed"
    assert view.steps["s"].detail.startswith("the result of s in a at seq ")

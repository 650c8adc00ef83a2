"""Every form that runs, alone and inside one another."""

from typing import Any

import pytest

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.plan.model import (
    Body,
    Break,
    Decision,
    Emit,
    Fail,
    ForEach,
    Group,
    Loop,
    OutputSpec,
    SetVariables,
    Step,
)  # fmt: skip
from kos_runtime.core.workflow import events as ev

from .world import Fails, World, act, link_for, plan, spread_over


def square(_: Any, v: int) -> dict[str, int]:
    return {"y": v * v}


def total(_: Any, ys: list[int]) -> dict[str, int]:
    return {"total": sum(ys)}


def numbers(_: Any, n: int) -> dict[str, list[int]]:
    return {"items": list(range(n))}


ACTIONS: dict[str, Any] = {"square": square, "total": total, "numbers": numbers}


def test_a_sequence_hands_results_on() -> None:
    world = World(ACTIONS).run(
        plan(
            act("a", "square", inputs={"v": "$inputs.v"}, outputs=(("x", "y"),)),
            act("b", "square", after=("a",), inputs={"v": "$steps.a.x"}),
        ),
        {"v": 3},
    )
    assert world.outputs() == {"y": 81}


def test_one_outcome_and_the_next_dispatch_share_a_record() -> None:
    world = World(ACTIONS).run(
        plan(
            act("a", "square", inputs={"v": 2}, outputs=(("x", "y"),)),
            act("b", "square", after=("a",), inputs={"v": "$steps.a.x"}),
        )
    )
    names = [record.names for record in world.store.records()]
    assert "step_completed.1 step_scheduled.1" in names
    assert names[-1] == "step_completed.1 run_completed.1"


@pytest.mark.parametrize("count", [0, 1, 2, 7, 300])
@pytest.mark.parametrize("window", [0, 1, 3])
def test_for_each_maps_every_item_in_order(count: int, window: int) -> None:
    world = World(ACTIONS).run(
        plan(
            act("n", "numbers", inputs={"n": "$inputs.n"}, outputs=(("items", "items"),)),
            Step(
                id="each",
                after=("n",),
                form=ForEach(items="$steps.n.items", name="x", max_concurrency=window, agent="k", action="square"),
                inputs={"v": "$x"},
                outputs=(("y", "y"),),
            ),
            act("sum", "total", after=("each",), inputs={"ys": "$steps.each.y"}),
        ),
        {"n": count},
    )
    assert world.outputs() == {"total": sum(i * i for i in range(count))}
    (joined,) = world.named(ev.ItemsJoined)
    assert (joined.succeeded, joined.failed) == (count, 0)


def test_for_each_with_steps_gives_each_item_a_body() -> None:
    world = World(ACTIONS).run(
        plan(
            Step(
                id="each",
                form=ForEach(
                    items=[1, 2, 3],
                    body=Body(
                        steps=(
                            act("a", "square", inputs={"v": "$item"}, outputs=(("y", "y"),)),
                            act("b", "square", after=("a",), inputs={"v": "$steps.a.y"}, outputs=(("z", "y"),)),
                        )
                    ),
                ),
                outputs=(("z", "b.z"),),
            ),
            act("sum", "total", after=("each",), inputs={"ys": "$steps.each.z"}),
        )
    )
    assert world.outputs() == {"total": 1 + 16 + 81}
    assert {path for path, *_ in world.executed} >= {"each[0]/a", "each[2]/b"}


def failing_on(*bad: int) -> Any:
    def action(_: Any, v: int) -> dict[str, int]:
        if v in bad:
            raise Fails(ErrorType.PERMANENT, f"no {v}")
        return {"y": v}

    return action


def each(policy: str, quorum: float = 1.0, items: int = 10) -> Any:
    return plan(
        Step(
            id="each",
            form=ForEach(
                items=list(range(items)),
                agent="k",
                action="go",
                on_item_failure=policy,
                quorum=quorum,
                max_concurrency=2,
            ),
            inputs={"v": "$item"},
            outputs=(("y", "y"),),
        ),
        Step(
            id="see",
            after=("each",),
            form=SetVariables(values={"ys": "$steps.each.y", "failed": "$steps.each.failed"}),
        ),
        outputs=(
            OutputSpec(name="ys", type="array", value="$vars.ys", has_value=True),
            OutputSpec(name="failed", type="array", value="$vars.failed", has_value=True),
        ),
        free_outputs=False,
    )


def test_collect_keeps_what_succeeded_and_lists_what_failed() -> None:
    world = World({"go": failing_on(3, 5)}).run(each("collect"))
    out = world.outputs()
    assert out["ys"] == [0, 1, 2, 4, 6, 7, 8, 9]
    assert [(f["index"], f["kind"]) for f in out["failed"]] == [(3, "permanent"), (5, "permanent")]


def test_fail_fast_starts_nothing_more_and_names_the_item() -> None:
    world = World({"go": failing_on(3)}).run(each("fail_fast"))
    assert world.status() == "failed"
    (end,) = world.named(ev.RunFailed)
    assert end.step == "each"
    assert "item 3 failed: no 3" in end.error["message"]
    assert max(int(path[5:-1]) for path, *_ in world.executed) <= 5


@pytest.mark.parametrize(("bad", "status"), [((1, 2), "completed"), ((1, 2, 3), "failed")])
def test_a_quorum_of_items_is_enough(bad: tuple[int, ...], status: str) -> None:
    assert World({"go": failing_on(*bad)}).run(each("quorum", 0.8)).status() == status


def test_an_array_that_is_none_is_said_to_be_none() -> None:
    world = World(ACTIONS).run(
        plan(Step(id="each", form=ForEach(items="$inputs.v", agent="k", action="square"), inputs={"v": "$item"})),
        {"v": 3},
    )
    assert world.status() == "failed"
    assert "no array" in world.named(ev.RunFailed)[0].error["message"]


def test_too_many_items_are_refused_with_the_bound() -> None:
    world = World(ACTIONS).run(
        plan(Step(id="each", form=ForEach(items=[0] * 10_001, agent="k", action="square"), inputs={"v": "$item"}))
    )
    assert "limit_exceeded: each runs over 10001 items, at most 10000" in world.named(ev.RunFailed)[0].error["message"]


def loop(most: int, condition: str = "", breaks: tuple[Break, ...] = (), exhausted: str = "continue") -> Any:
    body = Body(steps=(act("b", "square", inputs={"v": "$loop.index"}, outputs=(("y", "y"),)),))
    return plan(
        Step(
            id="lp",
            form=Loop(body=body, condition=condition, max_iterations=most, breaks=breaks, on_exhausted=exhausted),
        ),
        act("last", "square", after=("lp",), inputs={"v": "${{ default($steps.lp.last.b.y, -1) }}"}),
    )


@pytest.mark.parametrize(
    ("definition", "turns", "reason", "result"),
    [
        (loop(0), 0, "exhausted", 1),
        (loop(1), 1, "exhausted", 0),
        (loop(5), 5, "exhausted", 256),
        (loop(5, "$loop.index < 2"), 2, "condition", 1),
        (loop(9, "$loop.index == 0 or $loop.previous.b.y < 4"), 3, "condition", 16),
        (loop(9, "", (Break(condition="$steps.b.y == 9", reason="nine"),)), 4, "break: nine", 81),
    ],
)
def test_a_loop_ends_by_condition_break_or_exhaustion(definition: Any, turns: int, reason: str, result: int) -> None:
    world = World(ACTIONS).run(definition)
    (ended,) = world.named(ev.LoopEnded)
    assert (ended.turns, ended.reason) == (turns, reason)
    assert world.outputs() == {"y": result}


def test_an_exhausted_loop_may_fail() -> None:
    world = World(ACTIONS).run(loop(2, exhausted="fail"))
    assert world.status() == "failed"
    assert "exhausted after 2 turns" in world.named(ev.RunFailed)[0].error["message"]


@pytest.mark.parametrize(
    ("condition", "branch", "ran"),
    [
        ("$inputs.v > 1", "true_path", ["t", "t2"]),
        ("$inputs.v < 1", "false_path", ["f"]),
        ("$inputs.missing", "default_path", ["d"]),
        ("$steps.nothing.x > 1", "default_path", ["d"]),
        ('$inputs.v < "x"', "default_path", ["d"]),
    ],
)
def test_a_decision_takes_one_path_in_the_order_written(condition: str, branch: str, ran: list[str]) -> None:
    form = Decision(condition=condition, true_path=("t", "t2"), false_path=("f",), default_path=("d",))
    steps = [act(name, "square", on_demand=True, inputs={"v": 2}) for name in ("t2", "t", "f", "d")]
    world = World(ACTIONS).run(
        plan(Step(id="dec", form=form), *steps, act("end", "square", after=("dec",), inputs={"v": 1})), {"v": 5}
    )
    (taken,) = world.named(ev.DecisionTaken)
    assert taken.branch == branch
    assert [path for path, *_ in world.executed] == [*ran, "end"]


def test_a_decision_without_default_path_fails_when_its_condition_cannot_be_told() -> None:
    world = World(ACTIONS).run(plan(Step(id="dec", form=Decision(condition="$inputs.v < null"))), {"v": 1})
    assert world.status() == "failed"
    assert "there is no default_path" in world.named(ev.RunFailed)[0].error["message"]


def group(sync: str, when: str | None = None, **more: Any) -> Any:
    members = Body(steps=tuple(act(f"m{i}", "go", inputs={"v": i}, outputs=(("y", "y"),), when=when) for i in range(4)))
    return plan(
        Step(id="g", form=Group(body=members, sync=sync, **more)), act("end", "go", after=("g",), inputs={"v": 9})
    )


def test_a_group_waits_for_all_its_members() -> None:
    world = World({"go": failing_on()}).run(group("all"))
    assert {path for path, *_ in world.executed} == {"g/m0", "g/m1", "g/m2", "g/m3", "end"}


@pytest.mark.parametrize("when", [None, "1 < 2"])
def test_a_group_runs_no_more_members_at_once_than_it_may(when: str | None) -> None:
    most = 0
    world = World({"go": failing_on()})
    world.create(group("all", when, max_concurrency=2))
    for _ in range(40):
        run = world.host.partition.runs.get("r")
        if run is not None:
            most = max(most, sum(path.startswith("g/") for path in run.open))
        world.virtual.step()
    assert world.status() == "completed"
    assert most == 2


@pytest.mark.parametrize(("sync", "more"), [("any", {}), ("count", {"count": 2}), ("quorum", {"quorum": 0.5})])
def test_a_settled_group_calls_its_late_members_off(sync: str, more: dict[str, Any]) -> None:
    world = World({"go": failing_on()}).run(group(sync, max_concurrency=2, **more))
    (settled,) = world.named(ev.GroupSettled)
    assert settled.done == (1 if sync == "any" else 2)
    assert len(settled.cancelled) == 4 - settled.done
    assert {e.path for e in world.named(ev.StepCancelled)} <= {"g/m0", "g/m1", "g/m2", "g/m3"}
    assert world.status() == "completed"


def test_a_member_that_fails_for_good_fails_its_group() -> None:
    world = World({"go": failing_on(2)}).run(group("all"))
    assert world.status() == "failed"
    assert world.named(ev.RunFailed)[0].step == "g"
    assert world.named(ev.RunFailed)[0].error["message"] == "no 2"


def test_a_false_condition_skips_and_what_reads_it_is_skipped_too() -> None:
    world = World(ACTIONS).run(
        plan(
            act("a", "square", when="$inputs.v > 10", inputs={"v": 1}, outputs=(("y", "y"),)),
            act("b", "square", after=("a",), reads=("a",), inputs={"v": "$steps.a.y"}),
            act("c", "square", after=("b",), inputs={"v": "${{ default($steps.a.y, 7) }}"}),
        ),
        {"v": 3},
    )
    assert [e.path for e in world.named(ev.StepSkipped)] == ["a", "b"]
    assert world.outputs() == {"y": 49}


def test_set_and_emit_are_facts() -> None:
    world = World(ACTIONS).run(
        plan(
            Step(id="s", form=SetVariables(values={"t": "${{ $inputs.v * 2 }}"})),
            Step(id="e", after=("s",), form=Emit(event="ready", data={"t": "$vars.t"})),
            act("a", "square", after=("e",), inputs={"v": "$vars.t"}),
        ),
        {"v": 3},
    )
    assert world.named(ev.VariablesSet)[0].values == {"t": 6}
    assert world.named(ev.EventEmitted)[0].data == {"t": 6}
    assert world.outputs() == {"y": 36}


def test_fail_ends_the_run_with_its_kind_and_message() -> None:
    world = World(ACTIONS).run(
        plan(Step(id="f", form=Fail(error="dependency", message="no ${{ $inputs.v }}"))), {"v": "luck"}
    )
    (end,) = world.named(ev.RunFailed)
    assert (end.error["type"], end.error["message"], end.step) == ("dependency", "no luck", "f")


def test_a_spread_step_joins_its_parts_field_by_field() -> None:
    def gather(_: Any, plan: list[int], tag: str) -> dict[str, Any]:
        return {"data": [p * 10 for p in plan], "tag": tag + str(len(plan))}

    actions: dict[str, Any] = {"gather": gather, **ACTIONS}
    link = link_for(actions, gather=spread_over("plan", "data"))
    world = World(actions).run(
        plan(
            act(
                "g",
                "gather",
                spread=True,
                inputs={"plan": "$inputs.items", "tag": "t"},
                outputs=(("d", "data"), ("tags", "tag")),
            ),
            act("sum", "total", after=("g",), inputs={"ys": "$steps.g.d"}),
            outputs=(
                OutputSpec(name="total", type="integer"),
                OutputSpec(name="tags", type="array", value="$steps.g.tags", has_value=True),
            ),
            free_outputs=False,
        ),
        {"items": [1, 2, 3]},
        link=link,
    )
    assert world.outputs() == {"total": 60, "tags": ["t1", "t1", "t1"]}
    assert [path for path, *_ in world.executed] == ["g[0]", "g[1]", "g[2]", "sum"]


def test_a_spread_step_over_nothing_completes_with_empty_arrays() -> None:
    actions: dict[str, Any] = {"gather": lambda _, plan: {"data": plan}, **ACTIONS}
    world = World(actions).run(
        plan(
            act("g", "gather", spread=True, inputs={"plan": []}, outputs=(("d", "data"),)),
            act("sum", "total", after=("g",), inputs={"ys": "$steps.g.d"}),
        ),
        link=link_for(actions, gather=spread_over("plan", "data")),
    )
    assert world.outputs() == {"total": 0}


def test_large_values_travel_as_blobs_and_are_put_together_by_the_agent() -> None:
    def make(_: Any, n: int) -> dict[str, Any]:
        return {"items": [{"i": i, "text": "x" * 400} for i in range(n)]}

    def gather(_: Any, plan: list[Any]) -> dict[str, Any]:
        return {"data": [{"i": p["i"], "text": "y" * 20_000} for p in plan]}

    def count(_: Any, data: list[Any]) -> dict[str, Any]:
        return {"n": len(data), "sum": sum(d["i"] for d in data)}

    actions: dict[str, Any] = {"make": make, "gather": gather, "count": count}
    world = World(actions).run(
        plan(
            act("m", "make", inputs={"n": 300}, outputs=(("items", "items"),)),
            act("g", "gather", after=("m",), spread=True, inputs={"plan": "$steps.m.items"}, outputs=(("d", "data"),)),
            act("c", "count", after=("g",), inputs={"data": "$steps.g.d"}),
        ),
        link=link_for(actions, gather=spread_over("plan", "data")),
    )
    assert world.outputs() == {"n": 300, "sum": sum(range(300))}
    assert max(len(record.payload) for record in world.store.records(limit=10_000)) < 300_000


def test_a_condition_may_read_what_lies_in_a_blob() -> None:
    actions: dict[str, Any] = {"make": lambda _, n: {"items": ["x" * 100] * n}, **ACTIONS}
    world = World(actions).run(
        plan(
            act("m", "make", inputs={"n": 1000}, outputs=(("items", "items"),)),
            act("a", "square", after=("m",), when="len($steps.m.items) == 1000", inputs={"v": 5}),
        )
    )
    assert world.outputs() == {"y": 25}


def test_forms_nest_in_one_another() -> None:
    inner = Loop(
        body=Body(
            steps=(
                Step(
                    id="pick",
                    form=Decision(condition="$loop.index == 0", true_path=("one",), false_path=("two",)),
                ),
                act("one", "square", on_demand=True, inputs={"v": "$item"}, outputs=(("y", "y"),)),
                act("two", "square", on_demand=True, inputs={"v": 2}, outputs=(("y", "y"),)),
            )
        ),
        condition="",
        max_iterations=2,
    )
    members = Body(
        steps=(Step(id="lp", form=inner), act("side", "square", inputs={"v": "$index"}, outputs=(("y", "y"),)))
    )
    world = World(ACTIONS).run(
        plan(
            Step(
                id="each",
                form=ForEach(
                    items=[3, 4], max_concurrency=1, body=Body(steps=(Step(id="g", form=Group(body=members)),))
                ),
            )
        )
    )
    assert world.status() == "completed"
    paths = {path for path, *_ in world.executed}
    assert paths == {f"each[{i}]/g/{p}" for i in (0, 1) for p in ("lp#0/one", "lp#1/two", "side")}


def test_a_step_without_inputs_receives_what_its_action_declares() -> None:
    from kos_runtime.core.plan.link import ActionLink, ParameterLink

    actions: dict[str, Any] = {
        "first": lambda _, topic: {"plan": [topic]},
        "second": lambda _, **given: {"got": sorted(given)},
    }
    link = link_for(
        actions,
        first=ActionLink(parameters=(ParameterLink(name="topic"),)),
        second=ActionLink(parameters=(ParameterLink(name="plan"), ParameterLink(name="topic"))),
    )
    world = World(actions).run(
        plan(act("a", "first"), act("b", "second", after=("a",))), {"topic": "t", "x": 1}, link=link
    )
    assert world.outputs() == {"got": ["plan", "topic"]}


def test_an_output_that_does_not_fit_its_type_is_an_error_of_the_run() -> None:
    world = World(ACTIONS).run(
        plan(
            act("a", "square", inputs={"v": 2}),
            outputs=(OutputSpec(name="y", type="array"),),
            free_outputs=False,
        )
    )
    (end,) = world.named(ev.RunFailed)
    assert end.error["message"] == "output 'y': expected array, got integer, made by step a"


def test_a_step_may_name_its_own_idempotency_key() -> None:
    keys: list[str] = []

    def go(invocation: Any, v: int) -> Any:
        keys.append(invocation.key)
        if invocation.attempt < 3:
            raise Fails(ErrorType.TRANSIENT)
        return {"v": v}

    world = World({"go": go})
    named = act("a", "go", inputs={"v": 1}, idempotency_key="order/${{ $inputs.n }}/${{ $workflow.run_id }}")
    world.run(plan(named, act("b", "go", after=("a",), inputs={"v": 2})), {"n": 7})
    assert keys[:3] == ["order/7/r"] * 3
    assert set(keys[3:]) == {f"kos:{world.store.store_id}:r:b:0"}


def test_parts_of_a_step_that_is_spread_do_not_share_its_key() -> None:
    keys: list[str] = []

    def go(invocation: Any, plan: list[int]) -> Any:
        keys.append(invocation.key)
        return {"out": plan}

    world = World({"go": go})
    step = act("a", "go", inputs={"plan": [1, 2, 3]}, spread=True, idempotency_key="k")
    world.run(plan(step), link=link_for(world.actions, go=spread_over("plan", "out")))
    assert sorted(keys) == [f"k[{index}]" for index in range(len(keys))]
    assert len(keys) > 1


def test_items_have_keys_of_their_own() -> None:
    keys: list[str] = []

    def go(invocation: Any, v: int) -> Any:
        keys.append(invocation.key)
        return {"v": v}

    form = ForEach(items=[10, 20], name="v", agent="k", action="go")
    World({"go": go}).run(
        plan(Step(id="each", form=form, inputs={"v": "$v"}, idempotency_key="${{ $v }}-${{ $index }}"))
    )
    assert keys == ["10-0", "20-1"]


@pytest.mark.parametrize("key", [{"a": 1}, "", "x" * 513, 1.5, "${{ $inputs.n > 1 }}"])
def test_a_key_that_is_none_fails_the_step_before_it_begins(key: Any) -> None:
    world = World({"go": lambda _, v: {"v": v}})
    world.run(plan(act("a", "go", inputs={"v": 1}, idempotency_key=key)), {"n": 7})
    assert world.status() == "failed"
    (failed,) = world.named(ev.StepFailed)
    assert (failed.error["type"], "the idempotency_key is" in failed.error["message"]) == ("validation", True)
    assert world.executed == []

"""Sub-workflows: a child is a run of its own, and neither it nor its parent is ever without the other."""

from dataclasses import replace
from typing import Any

import pytest

from kos_runtime.adapters.event_store.memory import MemoryEventStore
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.plan.link import ChildLink, Link
from kos_runtime.core.plan.model import Body, Child, ForEach, Group, InputSpec, Plan, Policy, Step
from kos_runtime.core.plan.plain import to_plain
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, AnswerTask, CancelRun, ForkRun, RetryStep
from kos_runtime.core.workflow.spawning import child_id, is_child, root_of
from kos_runtime.core.workflow.waiting import waits_for
from kos_runtime.engine.limits import Limits
from tests.engine.world import CODEC, Fails, World, act, link_for, plan, restored, state_of

Script = dict[str, Any]


def calls(id: str = "deeper", workflow: str = "other", **more: Any) -> Step:
    form = {name: more.pop(name) for name in ("inputs", "parent_close", "mode") if name in more}
    return Step(id=id, form=Child(workflow=workflow, **form), **more)


def linked(world: World, **children: Plan) -> Link:
    """Link a parent with its children, which may call those that stand before them."""
    link = link_for(world.actions)
    known: dict[str, ChildLink] = {}
    for name, child in children.items():
        own = replace(link, children=dict(known))
        known[name] = ChildLink(
            workflow=name,
            version="1",
            plan=world.blobs.put(CODEC.pack(to_plain(child))).digest,
            link=world.blobs.put(CODEC.pack(to_plain(own))).digest,
        )
    return replace(link, children=known)


def start(world: World, parent: Plan, inputs: dict[str, Any] | None = None, **children: Plan) -> World:
    return world.run(parent, inputs, link=linked(world, **children))


def of(path: str, attempt: int = 1, parent: str = "r") -> str:
    return child_id("store", parent, path, attempt, "await")


def doubles(_: Any, n: int) -> dict[str, Any]:
    return {"twice": 2 * n}


def double() -> Plan:
    return plan(act("double", "double", inputs={"n": "$inputs.n"}))


def test_the_outputs_of_a_child_are_what_its_step_exposes() -> None:
    world = start(
        World({"double": doubles}),
        plan(
            calls(inputs={"n": "$inputs.n"}),
            act("again", "double", after=("deeper",), inputs={"n": "$steps.deeper.twice"}),
        ),
        {"n": 3},
        other=double(),
    )
    assert world.outputs() == {"twice": 12}
    assert world.outputs(of("deeper")) == {"twice": 6}
    assert [path for path, *_ in world.executed] == ["double", "again"]


def test_outputs_of_the_step_name_what_is_taken_of_the_childs() -> None:
    parent = plan(calls(inputs={"n": 2}, outputs=(("number", "twice"), ("all", "$result"))))
    world = start(World({"double": doubles}), parent, other=double())
    assert world.outputs() == {"number": 4, "all": {"twice": 4}}


def test_an_output_that_the_child_does_not_have_fails_the_step() -> None:
    parent = plan(
        calls(inputs={"n": 2}, outputs=(("number", "thrice"),)), policies=(Policy(rule="d", ladder=("fail",)),)
    )
    world = start(World({"double": doubles}), parent, other=double())
    (failed,) = world.named(ev.RunFailed)
    assert failed.error["type"] == "validation"
    assert "has no 'thrice', which its output 'number' needs" in failed.error["message"]


def test_a_large_output_is_handed_on_as_the_blob_that_it_is() -> None:
    text = "x" * 100_000
    child = plan(act("write", "write"))
    parent = plan(
        calls(outputs=(("text", "text"),)), act("read", "read", after=("deeper",), inputs={"t": "$steps.deeper.text"})
    )
    seen: list[int] = []

    def read(_: Any, t: str) -> dict[str, Any]:
        seen.append(len(t))
        return {"n": len(t)}

    actions: Script = {"write": lambda _: {"text": text}, "read": read}
    world = start(World(actions), parent, other=child)
    assert seen == [100_000]
    (joined,) = world.named(ev.ResultJoined)
    (ended,) = world.named(ev.ChildEnded)
    assert joined.blobs[0][1] == ended.blobs[0][1]


def test_what_looks_into_a_large_output_has_it_loaded() -> None:
    child = plan(act("write", "write"))
    parent = plan(calls(outputs=(("first", "document.title"), ("all", "$result"))))
    actions: Script = {"write": lambda _: {"document": {"title": "t", "text": "x" * 100_000}}}
    world = start(World(actions), parent, other=child)
    assert world.outputs()["first"] == "t"
    assert world.outputs()["all"]["document"]["title"] == "t"


def test_a_child_knows_its_parent_and_the_parent_its_child() -> None:
    world = start(World({"double": doubles}), plan(calls(inputs={"n": 1})), other=double())
    (asked,) = world.named(ev.ChildRequested)
    (spawned,) = world.named(ev.RunSpawned, asked.child)
    assert (spawned.parent, spawned.path, spawned.attempt, spawned.depth) == ("r", "deeper", 1, 1)
    assert is_child(asked.child)
    assert root_of(asked.child) == "r"


def test_a_request_and_its_child_are_stored_in_one_transaction_and_so_are_its_end_and_the_answer() -> None:
    world = start(World({"double": doubles}), plan(calls(inputs={"n": 1})), other=double())
    together = [[(r.stream, r.names) for r in batch.records] for batch in world.store.appended]  # type: ignore[attr-defined]
    child = f"run/{of('deeper')}"
    begin = next(b for b in together if any("child_requested" in names for _, names in b))
    end = next(b for b in together if any("child_ended" in names for _, names in b))
    assert any(s == child and "run_created" in names for s, names in begin)
    assert any(s == child and "run_completed" in names for s, names in end)


def test_the_failure_of_a_child_is_the_failure_of_its_step() -> None:
    def fails(_: Any) -> Any:
        raise Fails(ErrorType.PERMANENT, "no such thing")

    never = (Policy(rule="none", ladder=("fail",)),)
    world = start(World({"fails": fails}), plan(calls(), policies=never), other=plan(act("a", "fails"), policies=never))
    (failed,) = world.named(ev.RunFailed)
    assert failed.step == "deeper"
    assert failed.error["type"] == "permanent"
    assert failed.error["message"] == "child run failed: no such thing"


def test_each_attempt_of_a_step_has_one_child_of_its_own() -> None:
    tries = iter([Fails(ErrorType.TRANSIENT), {"ok": True}])

    def flaky(_: Any) -> Any:
        value = next(tries)
        if isinstance(value, Fails):
            raise value
        return value

    never = (Policy(rule="none", ladder=("fail",)),)
    world = start(World({"flaky": flaky}), plan(calls()), other=plan(act("a", "flaky"), policies=never))
    assert world.outputs() == {"ok": True}
    assert [e.child for e in world.named(ev.ChildRequested)] == [of("deeper", 1), of("deeper", 2)]
    assert world.status(of("deeper", 1)) == "failed"
    assert world.status(of("deeper", 2)) == "completed"


def test_inputs_that_the_child_does_not_take_fail_the_step_and_leave_no_run() -> None:
    child = plan(
        act("double", "double"), free_inputs=False, inputs=(InputSpec(name="n", type="integer", required=True),)
    )
    world = start(World({"double": doubles}), plan(calls(inputs={"n": "three"})), other=child)
    (failed,) = world.named(ev.RunFailed)
    assert failed.error["type"] == "validation"
    assert "expected integer" in failed.error["message"]
    assert world.store.run(of("deeper")) is None


def test_a_detached_child_goes_on_alone_and_its_id_is_the_result() -> None:
    world = start(World({"double": doubles}), plan(calls(inputs={"n": 1}, mode="detach")), other=double())
    child = child_id("store", "r", "deeper", 1, "detach")
    assert world.outputs() == {"run": child}
    assert not is_child(child)
    assert world.status(child) == "completed"
    (ended,) = world.named(ev.ChildEnded)
    assert ended.status == "detached"


def asks() -> Plan:
    """A workflow that waits for a person."""
    return plan(act("ask", "fails"), policies=(Policy(rule="manual", ladder=("manual",)),))


def fails(_: Any, **__: Any) -> Any:
    raise Fails(ErrorType.PERMANENT)


@pytest.mark.parametrize("parent_close", ["cancel", "abandon"])
def test_a_cancelled_parent_calls_its_child_off_or_leaves_it(parent_close: str) -> None:
    world = start(World({"fails": fails}), plan(calls(parent_close=parent_close)), other=asks())
    child = of("deeper")
    assert world.status() == "running"
    assert world.status(child) == "waiting"
    answer = world.virtual.request(CancelRun(run="r", by="user:t", reason="enough", grace_ms=0), command_id="c")
    world.virtual.run_until_idle()
    assert isinstance(answer, Accepted)
    assert world.status() == "cancelled"
    assert world.status(child) == ("cancelled" if parent_close == "cancel" else "waiting")
    if parent_close == "abandon":
        world.answer("ask", {"result": 1}, run=child)
        assert world.status(child) == "completed"
        assert not world.named(ev.ChildEnded)


def test_a_cancelled_parent_ends_after_the_children_that_it_called_off() -> None:
    world = start(World({"fails": fails}), plan(calls()), other=asks())
    world.virtual.request(CancelRun(run="r", by="user:t", reason="enough", grace_ms=60_000), command_id="c")
    world.virtual.run_until_idle()
    (ended,) = world.named(ev.ChildEnded)
    assert ended.status == "cancelled"
    assert world.status() == "cancelled"
    (why,) = world.named(ev.RunCancelled, of("deeper"))
    assert why.by == "run:r"


def test_a_cancelled_child_fails_its_step() -> None:
    world = start(World({"fails": fails}), plan(calls()), other=asks())
    world.virtual.request(CancelRun(run=of("deeper"), by="user:t", reason="not this", grace_ms=0), command_id="c")
    world.virtual.run_until_idle()
    (failed,) = world.named(ev.RunFailed)
    assert failed.error["message"] == "child run cancelled by user:t: not this"


def test_a_child_that_comes_too_late_for_its_group_is_called_off() -> None:
    group = Step(
        id="race", form=Group(body=Body(steps=(calls("slow"), act("quick", "double", inputs={"n": 1}))), sync="any")
    )
    world = start(World({"double": doubles, "fails": fails}), plan(group), other=asks())
    assert world.status() == "completed"
    assert world.status(of("race/slow")) == "cancelled"


def test_children_of_many_items_each_have_an_id_of_their_own() -> None:
    each = ForEach(items="$inputs.numbers", body=Body(steps=(calls(inputs={"n": "$item"}),)))
    world = start(
        World({"double": doubles}),
        plan(Step(id="all", form=each, outputs=(("twice", "deeper.twice"),))),
        {"numbers": list(range(150))},
        other=double(),
    )
    assert world.outputs() == {"twice": [2 * n for n in range(150)]}
    assert len({e.child for e in world.named(ev.ChildRequested)}) == 150


def test_parents_that_wait_leave_their_places_to_their_children() -> None:
    world = World({"double": doubles}, limits=Limits(max_active_runs=1))
    outer = plan(calls(workflow="middle", inputs={"n": "$inputs.n"}))
    middle = plan(calls(workflow="inner", inputs={"n": "$inputs.n"}))
    start(world, outer, {"n": 4}, inner=double(), middle=middle)
    assert world.outputs() == {"twice": 8}


def test_a_child_of_a_child_belongs_to_the_family_of_the_root() -> None:
    world = World({"double": doubles})
    middle = plan(calls(workflow="inner", inputs={"n": 1}))
    start(world, plan(calls(workflow="middle")), inner=double(), middle=middle)
    child = of("deeper")
    grandchild = of("deeper", parent=child)
    assert root_of(grandchild) == "r"
    (spawned,) = world.named(ev.RunSpawned, grandchild)
    assert (spawned.parent, spawned.depth) == (child, 2)


def test_a_workflow_that_was_not_linked_fails_the_step() -> None:
    world = start(World({"double": doubles}), plan(calls(workflow="missing")))
    (failed,) = world.named(ev.RunFailed)
    assert "the workflow missing was not linked" in failed.error["message"]


def test_a_failed_parent_that_is_retried_asks_for_another_child() -> None:
    tries = iter([Fails(ErrorType.PERMANENT), {"ok": True}])

    def flaky(_: Any) -> Any:
        value = next(tries)
        if isinstance(value, Fails):
            raise value
        return value

    never = (Policy(rule="none", ladder=("fail",)),)
    world = start(World({"flaky": flaky}), plan(calls(), policies=never), other=plan(act("a", "flaky"), policies=never))
    assert world.status() == "failed"
    world.virtual.request(RetryStep(run="r", path="", retries=1, by="user:t"), command_id="t")
    world.virtual.run_until_idle()
    assert world.status() == "completed"
    assert world.named(ev.ChildRequested)[-1].child == of("deeper", 2)


def test_a_parent_waits_for_its_child_and_its_state_survives_a_snapshot() -> None:
    world = start(World({"fails": fails}), plan(calls()), other=asks())
    state = world.folded()
    assert waits_for(state) == ["child deeper"]
    assert state_of(restored(world, state)) == state_of(state)
    again = world.crash()
    again.virtual.run_until_idle()
    again.virtual.request(AnswerTask(run=of("deeper"), path="ask", data={"result": 5}, by="user:t"), command_id="a")
    again.virtual.run_until_idle()
    assert again.status() == "completed"


class Stops(Exception):
    pass


class StopsAt(MemoryEventStore):
    """Ends its host at the n-th append, before or after that is stored."""

    def __init__(self, log: Any, at: int, *, after: bool) -> None:
        super().__init__(log)
        self.at, self.after, self.count = at, after, 0

    def append(self, batch: Any) -> None:
        self.count += 1
        if self.count == self.at and not self.after:
            raise Stops
        super().append(batch)
        if self.count == self.at:
            raise Stops


@pytest.mark.parametrize("after", [False, True])
def test_a_family_survives_the_end_of_its_host_at_every_append(after: bool) -> None:
    parent = plan(
        calls(workflow="middle", inputs={"n": 1}),
        act("last", "double", after=("deeper",), inputs={"n": "$steps.deeper.twice"}),
    )
    middle = plan(calls(workflow="inner", inputs={"n": "$inputs.n"}))
    for at in range(1, 100):
        world = World({"double": doubles})
        log = world.store.log
        link = linked(world, inner=double(), middle=middle)
        first = World(world.actions, store=StopsAt(log, at, after=after), blobs=world.blobs)
        try:
            first.run(parent, link=link)
            stopped = False
        except Stops:
            stopped = True
        again = World(world.actions, store=MemoryEventStore(log), blobs=world.blobs)
        if again.store.run("r") is None:
            again.run(parent, link=link)
        again.virtual.run_until_idle()
        assert again.outputs() == {"twice": 4}, at
        rows = again.store.runs(limit=100)
        assert sorted(row.run for row in rows) == sorted(["r", of("deeper"), of("deeper", parent=of("deeper"))])
        assert all(len(again.named(ev.ChildEnded, run)) == 1 for run in ("r", of("deeper")))
        if not stopped:
            return
    raise AssertionError("the run never came to its end in one life")


def test_a_fork_has_children_of_its_own_and_stands_in_for_no_step() -> None:
    world = start(World({"fails": fails}), plan(calls()), other=asks())
    for source, copy in (("r", "copy"), (of("deeper"), "alone")):
        at = world.store.run(source)
        assert at is not None
        answer = world.virtual.request(
            ForkRun(run=copy, parent=source, at=at.position, changes=[], salt=b"x" * 16, by="user:t"), command_id=copy
        )
        world.virtual.run_until_idle()
        assert isinstance(answer, Accepted), answer
    assert world.named(ev.ChildRequested, "copy")[-1].child == of("deeper", 2, parent="copy")
    assert world.folded("alone").parent is None
    world.answer("ask", {"result": 1}, run="alone")
    assert world.status("alone") == "completed"
    assert not world.named(ev.ChildEnded)

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
from kos_runtime.core.workflow.commands import (
    Accepted,
    AnswerTask,
    CancelRun,
    ForkRun,
    PauseRun,
    RequeueRun,
    RestoreRun,
    ResumeRun,
    RetryStep,
)
from kos_runtime.core.workflow.spawning import child_id, is_child, root_of
from kos_runtime.core.workflow.waiting import waits_for
from kos_runtime.engine import partition as partition_module
from kos_runtime.engine.families import Families
from kos_runtime.engine.limits import Limits
from tests.engine.world import CODEC, HANGS, Fails, World, act, link_for, plan, restored, state_of

Script = dict[str, Any]


def calls(id: str = "deeper", workflow: str = "other", **more: Any) -> Step:
    form = {name: more.pop(name) for name in ("inputs", "parent_close", "mode", "timeout_ms") if name in more}
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
    assert world.status() == "waiting"
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
    first, again = world.named(ev.ChildRequested)
    assert (first.child, again.attempt) == (of("deeper"), 2)
    assert world.status(again.child) == "completed"


def test_an_item_that_is_done_again_as_a_whole_asks_for_a_child_of_its_own() -> None:
    tries = iter([Fails(ErrorType.PERMANENT), {"ok": True}])

    def flaky(_: Any) -> Any:
        value = next(tries)
        if isinstance(value, Fails):
            raise value
        return value

    never = (Policy(rule="none", ladder=("fail",)),)
    each = Step(id="each", form=ForEach(items=[1], body=Body(steps=(calls(),))))
    world = start(World({"flaky": flaky}), plan(each, policies=never), other=plan(act("a", "flaky"), policies=never))
    assert world.status() == "failed"
    world.virtual.request(RetryStep(run="r", path="", retries=1, by="user:t"), command_id="t")
    world.virtual.run_until_idle()
    assert world.status() == "completed"
    first, again = world.named(ev.ChildRequested)
    assert (first.attempt, again.attempt) == (1, 1)
    assert first.child != again.child


def test_a_run_that_is_restored_asks_for_children_of_its_own() -> None:
    world = start(World({"double": doubles}), plan(calls(inputs={"n": 1}, idempotent=True)), other=double())
    (asked,) = world.named(ev.ChildRequested)
    answer = world.virtual.request(RestoreRun(run="r", to=1, by="user:t", reason="again"), command_id="b")
    world.virtual.run_until_idle()
    assert isinstance(answer, Accepted), answer
    assert world.status() == "completed"
    again = world.named(ev.ChildRequested)[-1]
    assert again.child != asked.child
    assert world.outputs(again.child) == {"twice": 2}


def test_a_parent_that_was_struck_out_after_it_had_asked_takes_the_child_that_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World({"double": doubles})
    link = linked(world, other=double())
    settled = Families._start

    def struck(families: Families, parent: str, item: Any) -> None:
        settled(families, parent, item)
        world.host.partition._set_aside(parent, "struck out", b"")

    with monkeypatch.context() as patch:
        patch.setattr(Families, "_start", struck)
        world.create(plan(calls(inputs={"n": 1})), link=link)
        world.virtual.run_until_idle()
    assert world.store.run("r") is None
    assert world.status(of("deeper")) == "completed"
    world.run(plan(calls(inputs={"n": 1})), link=link)
    assert world.outputs() == {"twice": 2}


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


def test_a_run_that_only_waits_for_its_child_says_so_and_holds_nothing() -> None:
    world = start(World({"fails": fails}), plan(calls()), other=asks())
    row = world.store.run("r")
    assert row is not None
    assert (row.status, row.waiting) == ("waiting", f"child: {of('deeper')}")
    partition = world.host.partition
    assert (partition.active, len(partition.runs)) == (0, 0)
    world.answer("ask", {"result": 1}, run=of("deeper"))
    assert world.outputs() == {"result": 1}


def test_a_child_at_work_leaves_its_parent_out_of_memory() -> None:
    world = World({"holds": lambda _: HANGS})
    world.create(plan(calls()), {}, run="r", link=linked(world, other=plan(act("a", "holds"))))
    for _ in range(20):
        world.virtual.step()
    assert set(world.host.partition.runs) == {of("deeper")}
    assert (world.status(), world.host.partition.active) == ("waiting", 1)


def test_a_large_run_stays_in_memory_while_its_children_are_at_work() -> None:
    each = ForEach(items="$inputs.numbers", body=Body(steps=(calls(),)), max_concurrency=100)
    child = plan(act("ask", "fails"), policies=(Policy(rule="manual", ladder=("manual",)),))
    world = World({"fails": lambda _: HANGS})
    parent = plan(Step(id="all", form=each))
    world.create(parent, {"numbers": list(range(40))}, run="r", link=linked(world, other=child))
    for _ in range(20):
        world.virtual.step()
    row = world.store.run("r")
    assert row is not None
    assert row.waiting.endswith(", 24 more")
    assert "r" in world.host.partition.runs


@pytest.mark.parametrize("killed", [False, True])
def test_a_parent_that_waits_too_long_fails_and_calls_its_child_off(killed: bool) -> None:
    world = start(World({"fails": fails}), plan(calls(), timeout_ms=60_000), other=asks())
    assert not world.host.partition.runs
    if killed:
        now = world.clock.now()
        world = world.crash()
        world.clock.advance_to(now)
    world.clock.advance_to(world.clock.now() + 60_000)
    world.virtual.run_until_idle()
    (failed,) = world.named(ev.RunFailed)
    assert failed.error["type"] == "timeout"
    assert world.status(of("deeper")) == "cancelled"


@pytest.mark.parametrize("killed", [False, True])
def test_an_attempt_that_takes_too_long_is_called_off_and_another_child_is_asked(killed: bool) -> None:
    never = (Policy(rule="d", max_retries=1),)
    world = start(World({"fails": fails}), plan(calls(timeout_ms=60_000), policies=never), other=asks())
    for attempt in (1, 2):
        child = world.named(ev.ChildRequested)[-1].child
        assert child == of("deeper", attempt)
        if killed:
            now = world.clock.now()
            world = world.crash()
            world.clock.advance_to(now)
        world.clock.advance_to(world.clock.now() + 59_000)
        world.virtual.run_until_idle()
        assert world.status(child) == "waiting"
        world.clock.advance_to(world.clock.now() + 1_000)
        world.virtual.run_until_idle()
        assert world.status(child) == "failed"
        (failed,) = world.named(ev.RunFailed, child)
        assert (failed.error["type"], failed.error["recoverable"]) == ("timeout", True)
    (failed,) = world.named(ev.RunFailed)
    assert failed.error["message"] == "child run failed: the run took longer than 1m"


def test_what_the_workflow_says_itself_bounds_it_too() -> None:
    child = replace(asks(), timeout_ms=30_000)
    world = start(World({"fails": fails}), plan(calls(timeout_ms=60_000)), other=child)
    world.clock.advance_to(world.clock.now() + 30_000)
    world.virtual.run_until_idle()
    (failed,) = world.named(ev.RunFailed, of("deeper"))
    assert (failed.error["type"], failed.error["recoverable"]) == ("timeout", False)


def test_a_paused_parent_hears_of_its_child_and_goes_on_when_it_is_resumed() -> None:
    world = start(World({"fails": fails}), plan(calls()), other=asks())
    world.virtual.request(PauseRun(run="r", by="user:t"), command_id="p")
    world.answer("ask", {"result": 1}, run=of("deeper"))
    assert world.status() == "paused"
    assert len(world.named(ev.ChildEnded)) == 1
    again = world.crash()
    again.virtual.request(ResumeRun(run="r", by="user:t"), command_id="g")
    again.virtual.run_until_idle()
    assert again.outputs() == {"result": 1}


def lost(world: World, *, at: str) -> World:
    """Take the stored plan or link of a child away, and have somebody else go on with the store."""
    row = world.store.run(of("deeper"))
    assert row is not None
    (link,) = [e.link for e in world.named(ev.RunLinked, row.run)]
    world.blobs.delete(row.plan_digest if at == "plan" else link, not_after_ms=1 << 60)
    again = world.crash()
    again.virtual.run_until_idle()
    return again


@pytest.mark.parametrize("at", ["plan", "link"])
@pytest.mark.parametrize("snapshot", [False, True])
def test_a_child_that_cannot_go_on_since_its_plan_is_lost_fails_the_step_of_its_parent(at: str, snapshot: bool) -> None:
    limits = Limits(snapshot_at_rest=1, snapshot_records=1) if snapshot else Limits()
    skip = (Policy(rule="s", ladder=("retry", "skip", "fail")),)
    parent = plan(calls(), act("after", "double", after=("deeper",), inputs={"n": 1}), policies=skip)
    world = start(World({"fails": fails, "double": doubles}, limits=limits), parent, other=asks())
    again = lost(world, at=at)
    assert again.status(of("deeper")) == "waiting"
    again.virtual.request(AnswerTask(run=of("deeper"), path="ask", data={"result": 5}, by="user:t"), command_id="a")
    again.virtual.run_until_idle()
    assert again.status(of("deeper")) == "quarantined"
    (failed,) = again.named(ev.StepFailed)
    assert (failed.error["type"], failed.error["recoverable"]) == ("unknown", False)
    assert f"its {'compiled plan' if at == 'plan' else 'link'}" in failed.error["message"]
    assert "child run quarantined" in failed.error["message"]
    assert again.outputs() == {"twice": 2}


def test_a_child_whose_deciding_raises_fails_the_step_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    world = start(World({"fails": fails}), plan(calls(), policies=(Policy(rule="s", ladder=("skip",)),)), other=asks())

    def broken(*_: object, **__: object) -> None:
        raise ValueError("a hole in deciding")

    monkeypatch.setattr("kos_runtime.core.workflow.decide.answer", broken)
    monkeypatch.setitem(partition_module._STEERING, AnswerTask, broken)
    world.virtual.request(AnswerTask(run=of("deeper"), path="ask", data={"result": 5}, by="user:t"), command_id="a")
    world.virtual.run_until_idle()
    assert world.status(of("deeper")) == "quarantined"
    (failed,) = world.named(ev.StepFailed)
    assert "it was set aside: ValueError: a hole in deciding" in failed.error["message"]
    assert world.status() == "completed"


@pytest.mark.parametrize("ends", ["completed", "quarantined", "waiting"])
def test_a_parent_that_was_set_aside_hears_of_its_child_when_it_goes_on(
    ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = start(World({"fails": fails}), plan(calls()), other=asks())

    def broken(*_: object, **__: object) -> None:
        raise ValueError("a hole in deciding")

    def breaks(kind: type, run: str) -> None:
        with monkeypatch.context() as patch:
            patch.setitem(partition_module._STEERING, kind, broken)
            world.virtual.request(kind(run=run, by="user:t"), command_id=f"b {run}")
            world.virtual.run_until_idle()

    breaks(PauseRun, "r")
    assert world.status() == "quarantined"
    if ends == "completed":
        world.answer("ask", {"result": 5}, run=of("deeper"))
    elif ends == "quarantined":
        breaks(PauseRun, of("deeper"))
    assert world.status(of("deeper")) == ends
    assert not world.named(ev.ChildEnded)
    world.virtual.request(RequeueRun(run="r", path="", by="user:t"), command_id="q")
    world.virtual.run_until_idle()
    assert world.status() == {"completed": "completed", "quarantined": "failed", "waiting": "waiting"}[ends]
    if ends == "waiting":
        world.answer("ask", {"result": 5}, run=of("deeper"))
        assert world.status() == "completed"


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

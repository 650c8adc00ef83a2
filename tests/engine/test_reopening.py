"""A failed run is reopened: what was completed stays, what failed is tried again, and no fence is used twice."""

from typing import Any

import pytest

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.invocation import Invocation
from kos_runtime.core.plan.model import Action, Body, ForEach, Group, Loop, Plan, Policy, Step, WaitFor
from kos_runtime.core.projection.steps import RunView, fold
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, Answer, Rejected, RetryStep, SendSignal

from .world import HANGS, Fails, World, act, plan, restored, state_of


class Flaky:
    """Fails as long as it is broken; counts what is executed."""

    def __init__(self) -> None:
        self.broken: set[Any] = set()
        self.calls: list[Any] = []

    def __call__(self, _: Invocation, v: Any) -> Any:
        self.calls.append(v)
        if v in self.broken:
            raise Fails(ErrorType.PERMANENT)
        return {"v": v}


@pytest.fixture
def flaky() -> Flaky:
    return Flaky()


def world_of(flaky: Flaky, whole: Plan, inputs: dict[str, Any] | None = None) -> World:
    world = World({"flaky": flaky})
    assert isinstance(world.create(whole, inputs), Accepted)
    world.virtual.run_until_idle()
    return world


def retry(world: World, path: str = "", retries: int = 1, *, id: str = "") -> Answer:
    return world.virtual.request(RetryStep(run="r", path=path, retries=retries, by="user:jr"), command_id=id)


def drive(world: World) -> World:
    """Go on to the end, comparing the live state with its fold and its snapshot at every commit."""
    for _ in range(500):
        more = world.virtual.step()
        run = world.host.partition.runs.get("r")
        if run is not None:
            assert state_of(world.folded()) == state_of(run)
            assert state_of(restored(world, run)) == state_of(run)
        if not more and not world.virtual._inbox:
            if world.host.partition.is_idle():
                break
            world.clock.advance_to(max(world.host.partition.next_due() or 0, world.clock.now() + 1))
    fences = [(event.path, event.fence) for event in world.named(ev.StepScheduled)]
    assert len(fences) == len(set(fences)), "no fence is used twice"
    return world


def chain(*values: Any) -> Plan:
    return plan(
        *(act(f"s{i}", "flaky", after=(f"s{i - 1}",) if i else (), inputs={"v": v}) for i, v in enumerate(values))
    )


def test_a_failed_step_is_tried_again_and_what_was_completed_is_not(flaky: Flaky) -> None:
    flaky.broken = {"b"}
    world = world_of(flaky, chain("a", "b", "c"))
    assert world.status() == "failed"
    flaky.broken = set()
    answer = retry(world)
    assert isinstance(answer, Accepted)
    assert (answer.event, answer.position) == ("RunReopened", len(world.store.stream("run/r")))
    drive(world)
    assert world.outputs() == {"v": "c"}
    assert flaky.calls == ["a", "b", "b", "c"]
    assert world.host.partition.runs == {}


def test_so_many_attempts_as_were_given_and_then_it_fails_again(flaky: Flaky) -> None:
    def transient(invocation: Invocation, v: Any) -> Any:
        flaky.calls.append(v)
        raise Fails(ErrorType.TRANSIENT)

    world = World({"flaky": transient})
    policy = Policy(rule="eh", ladder=("retry", "fail"), max_retries=1)
    world.create(plan(act("s", "flaky", inputs={"v": 1}, policies=(0,)), policies=(policy,)))
    world.virtual.run_until_idle()
    assert len(flaky.calls) == 2
    for further in (1, 3):
        flaky.calls.clear()
        assert isinstance(retry(world, retries=further), Accepted)
        drive(world)
        assert len(flaky.calls) == further
        assert world.status() == "failed"
    assert [event.life for event in world.named(ev.RunReopened)] == [1, 2]


def test_neighbours_that_were_called_off_go_on(flaky: Flaky) -> None:
    flaky.broken = {"bad"}
    group = Group(
        body=Body(
            steps=(
                act("bad", "flaky", inputs={"v": "bad"}),
                act("one", "flaky", inputs={"v": "one"}),
                act("two", "flaky", inputs={"v": "two"}, after=("one",)),
            )
        )
    )
    whole = plan(Step(id="g", form=group), act("last", "flaky", after=("g",), inputs={"v": "last"}))
    world = world_of(flaky, whole)
    assert world.status() == "failed"
    flaky.broken = set()
    assert isinstance(retry(world), Accepted)
    drive(world)
    assert world.status() == "completed"
    assert flaky.calls.count("one") >= 1
    completed = [event.path for event in world.named(ev.StepCompleted)]
    assert sorted(completed) == sorted({"g/bad", "g/one", "g/two", "last"})


def test_the_view_takes_up_what_goes_on_and_nothing_that_came_too_late(flaky: Flaky) -> None:
    flaky.broken = {"bad"}
    settled = Group(
        body=Body(steps=(act("now", "flaky", inputs={"v": 1}), act("late", "hang", inputs={"v": 2}))), sync="any"
    )
    both = Group(body=Body(steps=(act("bad", "flaky", inputs={"v": "bad"}), act("beside", "hang", inputs={"v": 3}))))
    world = World({"flaky": flaky, "hang": lambda *_, **__: HANGS})
    world.create(plan(Step(id="g", form=settled), Step(id="h", form=both, after=("g",))))
    world.virtual.run_until_idle()
    assert world.status() == "failed"
    flaky.broken = set()
    assert isinstance(retry(world), Accepted)
    for _ in range(4):
        world.virtual.step()
    view = RunView("r")
    for event in world.events():
        fold(view, event, 0, 0)
    assert {path: step.status for path, step in view.steps.items()} == {
        "g": "completed", "g/now": "completed", "g/late": "cancelled",
        "h": "running", "h/bad": "completed", "h/beside": "running",
    }  # fmt: skip


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_of_many_items_only_those_that_did_not_succeed_are_done_again(flaky: Flaky, limit: int) -> None:
    flaky.broken = {2}
    form = ForEach(items=list(range(6)), name="v", agent="k", action="flaky", max_concurrency=limit)
    world = world_of(flaky, plan(Step(id="each", form=form, inputs={"v": "$v"}, outputs=(("v", "v"),))))
    assert world.status() == "failed"
    done = {event.path for event in world.named(ev.StepCompleted)}
    flaky.broken = set()
    flaky.calls.clear()
    assert isinstance(retry(world), Accepted)
    drive(world)
    view = RunView("r")
    for event in world.events():
        fold(view, event, 0, 0)
    assert (view.status, view.steps["each"].status) == ("completed", "completed")
    assert (view.steps["each"].parts_done, view.steps["each"].parts_failed) == (6, 0)
    assert world.outputs()["v"] == list(range(6))
    assert not {f"each[{v}]" for v in flaky.calls} & done


def test_an_item_with_a_body_is_done_again_as_a_whole_and_its_neighbours_stay(flaky: Flaky) -> None:
    flaky.broken = {"1b"}
    body = Body(
        steps=(
            act("a", "flaky", inputs={"v": "${{ join([$n, 'a'], '') }}"}),
            act("b", "flaky", inputs={"v": "${{ join([$n, 'b'], '') }}"}, after=("a",)),
        )
    )
    form = ForEach(items=["0", "1", "2"], name="n", body=body, max_concurrency=1)
    world = world_of(flaky, plan(Step(id="each", form=form)))
    assert (world.status(), flaky.calls) == ("failed", ["0a", "0b", "1a", "1b"])
    flaky.broken = set()
    assert isinstance(retry(world), Accepted)
    drive(world)
    assert world.status() == "completed"
    assert flaky.calls[4:] == ["1a", "1b", "2a", "2b"]


def test_a_loop_goes_on_in_its_turn(flaky: Flaky) -> None:
    flaky.broken = {"t2"}
    body = Body(steps=(act("a", "flaky", inputs={"v": "${{ join(['t', json($loop.index)], '') }}"}),))
    world = world_of(
        flaky, plan(Step(id="l", form=Loop(body=body, condition="", max_iterations=3, on_exhausted="continue")))
    )
    assert (world.status(), flaky.calls) == ("failed", ["t0", "t1", "t2"])
    flaky.broken = set()
    assert isinstance(retry(world), Accepted)
    assert world.named(ev.RunReopened)[0].path == "l#2/a"
    drive(world)
    assert world.status() == "completed"
    assert flaky.calls == ["t0", "t1", "t2", "t2"]


def test_a_loop_that_is_named_goes_on_in_its_turn_too(flaky: Flaky) -> None:
    flaky.broken = {"t1"}
    body = Body(steps=(act("a", "flaky", inputs={"v": "${{ join(['t', json($loop.index)], '') }}"}),))
    world = world_of(
        flaky, plan(Step(id="l", form=Loop(body=body, condition="", max_iterations=2, on_exhausted="continue")))
    )
    flaky.broken = set()
    assert isinstance(retry(world, "l"), Accepted)
    drive(world)
    assert world.status() == "completed"
    assert flaky.calls == ["t0", "t1", "t1"]


@pytest.mark.parametrize("commits", [0, 1, 2])
def test_a_crash_after_it_was_reopened_changes_nothing(flaky: Flaky, commits: int) -> None:
    flaky.broken = {"b"}
    world = world_of(flaky, chain("a", "b", "c"))
    flaky.broken = set()
    assert isinstance(retry(world), Accepted)
    for _ in range(commits):
        world.virtual.step()
    later = world.crash()
    drive(later)
    assert later.outputs() == {"v": "c"}
    assert flaky.calls.count("a") == 1


def test_one_command_sent_twice_is_one_event(flaky: Flaky) -> None:
    flaky.broken = {"b"}
    world = world_of(flaky, chain("a", "b"))
    first, again = retry(world, id="c1"), retry(world, id="c1")
    assert isinstance(first, Accepted)
    assert isinstance(again, Accepted)
    assert first.position == again.position
    assert len(world.named(ev.RunReopened)) == 1


def test_what_did_not_fail_is_not_retried(flaky: Flaky) -> None:
    flaky.broken = {"b"}
    world = world_of(flaky, chain("a", "b"))
    for path, text in (("s0", "did not fail at step 's0'; did you mean 's1'?"), ("nothing", "failed: s1")):
        refused = retry(world, path)
        assert isinstance(refused, Rejected)
        assert (refused.code, text in refused.message) == ("not_found", True), refused.message
    assert world.host.partition.runs == {}, "looking at it keeps it in no memory"
    for further in (0, 101):
        refused = retry(world, retries=further)
        assert isinstance(refused, Rejected)
        assert refused.code == "invalid"
    good = world_of(Flaky(), chain("a"))
    refused = retry(good)
    assert isinstance(refused, Rejected)
    assert (refused.code, "is completed" in refused.message) == ("conflict", True)


def test_an_action_that_asks_for_help_may_ask_again() -> None:
    calls: list[str] = []

    def fail(_: Invocation) -> Any:
        calls.append("fail")
        if len(calls) < 4:
            raise Fails(ErrorType.PERMANENT)
        return {"v": 1}

    def boss(_: Invocation, escalation: Any) -> Any:
        calls.append("boss")
        return {"answer": "fail", "rule": "none", "reason": ""}

    world = World({"fail": fail, "on_escalation": boss})
    policy = Policy(rule="eh", ladder=("escalate", "fail"), escalation_agent="boss")
    world.create(plan(act("a", "fail", policies=(0,)), policies=(policy,)))
    world.virtual.run_until_idle()
    assert world.status() == "failed"
    assert isinstance(retry(world), Accepted)
    drive(world)
    assert calls == ["fail", "boss", "fail", "boss"]
    assert isinstance(retry(world), Accepted)
    drive(world)
    assert world.status() == "completed"


def test_a_single_action_of_a_plan_is_named_when_nothing_is(flaky: Flaky) -> None:
    flaky.broken = {"x"}
    world = world_of(flaky, plan(Step(id="only", form=Action(agent="k", action="flaky"), inputs={"v": "x"})))
    assert isinstance(retry(world, "only"), Accepted)
    drive(world)
    assert world.status() == "failed"
    assert len(world.named(ev.RunFailed)) == 2


def test_what_waited_in_an_item_that_is_done_again_is_not_taken_up_beside_it() -> None:
    """A group fails while the items of a member wait for a signal: reopened, the items begin anew."""
    fails = [True]

    def once(_: Any) -> dict[str, int]:
        if fails[0]:
            raise Fails(ErrorType.PERMANENT)
        return {"v": 1}

    waits = Step(id="wait", form=WaitFor(signal="go"))
    items = Step(id="items", form=ForEach(items=[1, 2], body=Body(steps=(waits,))))
    group = Step(id="group", form=Group(body=Body(steps=(items, act("once", "once")))))
    world = World({"once": once}).run(plan(group))
    assert world.status() == "failed"
    fails[0] = False
    assert isinstance(world.virtual.request(RetryStep(run="r", path="", retries=1, by="user:test")), Accepted)
    world.virtual.run_until_idle()
    assert world.status() == "waiting"
    for _ in range(2):
        world.virtual.request(SendSignal(run="r", signal="go", data=None, by="user:test"))
        world.virtual.run_until_idle()
    assert world.status() == "completed"


def test_a_retry_that_cannot_be_decided_leaves_the_run_as_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    from kos_runtime.core.workflow import reopening

    def raises(_: Any) -> Any:
        raise RuntimeError("no")

    world = World({"a": raises_permanent}).run(plan(act("a", "a")))
    before = world.events()
    monkeypatch.setattr(reopening, "count_anew", raises)
    answer = world.virtual.request(RetryStep(run="r", path="", retries=1, by="user:test"))
    assert isinstance(answer, Rejected)
    assert answer.code == "conflict"
    assert world.events() == before
    assert world.status() == "failed"
    assert world.host.partition.active == 0


def raises_permanent(_: Any) -> Any:
    raise Fails(ErrorType.PERMANENT)

"""Runs that go on from an earlier point: as runs of their own, or in place."""

from typing import Any

import pytest

from kos_runtime.core.event import rebuild
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.identity import run_stream
from kos_runtime.core.plan.link import ActionLink
from kos_runtime.core.plan.model import Action, Body, Decision, ForEach, Plan, Policy, Step
from kos_runtime.core.verify import verify_partition
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, ForkRun, PauseRun, Rejected, RestoreRun
from kos_runtime.core.workflow.status import RunStatus
from kos_runtime.engine.limits import Limits
from tests.engine.world import CODEC, HANGS, Fails, act, link_for, plan, restored, state_of
from tests.engine.world import World as Plain


class World(Plain):
    """The small world, which also remembers the keys that were carried."""

    def __init__(self, actions: dict[str, Any], **more: Any) -> None:
        self.keys: list[str] = []
        super().__init__(actions, **more)

    def execute(self, invocation: Any) -> Any:
        self.keys.append(invocation.key)
        return super().execute(invocation)


def fork(world: World, at: int, *, child: str = "f", parent: str = "r", **more: Any) -> Any:
    more.setdefault("changes", [])
    command = ForkRun(run=child, parent=parent, at=at, salt=b"f" * 16, by="user:test", **more)
    answer = world.virtual.request(command, command_id=f"fork-{child}")
    if isinstance(answer, Accepted):
        world.virtual.run_until_idle()
    return answer


def restore(world: World, to: int, run: str = "r") -> Any:
    answer = world.virtual.request(
        RestoreRun(run=run, to=to, by="user:test", reason="why"), command_id=f"restore-{to}-{world.store.head().offset}"
    )
    if isinstance(answer, Accepted):
        world.virtual.run_until_idle()
    return answer


def chain(*, idempotent: bool = False) -> Plan:
    return plan(
        act("a", "one", inputs={"x": "$inputs.x"}, outputs=(("n", "n"),)),
        act("b", "two", after=("a",), inputs={"x": "$steps.a.n"}, outputs=(("n", "n"),), idempotent=idempotent),
        act("c", "three", after=("b",), inputs={"x": "$steps.b.n"}, outputs=(("n", "n"),), idempotent=idempotent),
    )


def adding(invocation: Any, x: int) -> dict[str, int]:
    return {"n": x + 1}


def world_of_chain(*, idempotent: bool = False) -> World:
    world = World({"one": adding, "two": adding, "three": adding})
    return world.run(chain(idempotent=idempotent), {"x": 0})


def seq_of(world: World, kind: type, path: str = "", run: str = "r") -> int:
    for record in world.store.stream(run_stream(run)):
        for event in rebuild(record.names, CODEC.unpack(record.payload)):
            if type(event) is kind and path in {"", getattr(event, "path", "")}:
                return record.position
    raise AssertionError((kind, path))


def outputs(world: World, run: str) -> Any:
    return world.outputs(run=run)


def holds(world: World, run: str) -> None:
    """The log verifies, and the run folds to the same through a snapshot at its end."""
    verdict = verify_partition(world.store.evidence())
    assert verdict.first_bad is None
    state = world.folded(run)
    assert state_of(restored(world, state)) == state_of(state)


def test_a_fork_reuses_what_was_recorded_and_does_the_rest_under_its_own_keys() -> None:
    world = world_of_chain()
    before = list(world.executed)
    answer = fork(world, seq_of(world, ev.StepCompleted, "a"))
    assert answer == Accepted(run="f", position=1, event="RunForked")
    assert [path for path, _, _ in world.executed[len(before) :]] == ["b", "c"]
    assert world.keys[-1] == "kos:store:f:c:0"
    assert world.folded("f").status is RunStatus.COMPLETED
    assert outputs(world, "f") == outputs(world, "r")
    (forked,) = [event for event in world.events("f") if isinstance(event, ev.RunForked)]
    assert (forked.parent, forked.at, forked.again) == ("r", 3, ["b", "c"])
    (record,) = world.store.stream(run_stream("r"), after=2, limit=1)
    assert forked.hash == record.hash
    holds(world, "f")


def test_a_result_that_is_set_is_what_the_fork_goes_on_with() -> None:
    world = world_of_chain()
    answer = fork(world, seq_of(world, ev.StepCompleted, "a"), changes=[["a", "n", 100]])
    assert isinstance(answer, Accepted)
    assert outputs(world, "f")["n"] == 102
    assert outputs(world, "r")["n"] == 3
    holds(world, "f")


def test_a_condition_that_was_decided_with_the_result_is_decided_again() -> None:
    steps = plan(
        act("a", "one", inputs={"x": "$inputs.x"}, outputs=(("n", "n"),)),
        act("b", "two", after=("a",), reads=("a",), when="$steps.a.n > 50", inputs={"x": "$steps.a.n"}),
    )
    world = World({"one": adding, "two": adding}).run(steps, {"x": 0})
    assert [path for path, _, _ in world.executed] == ["a"]
    # It was skipped, and the run completed, in the very record that completed a.
    assert isinstance(fork(world, seq_of(world, ev.StepCompleted, "a")), Rejected)
    answer = fork(world, seq_of(world, ev.StepCompleted, "a"), changes=[["a", "n", 100]])
    assert isinstance(answer, Accepted), answer
    assert [path for path, _, _ in world.executed] == ["a", "b"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([["a", "n", 5]], "step 'b' has worked with it already"),
        ([["x", "n", 5]], "step 'x' has no result at seq 4 of r"),
        ([["b", "m", 5]], "step 'b' gives no 'm'; it gives n"),
        ([["c", "n", 5]], "step 'c' has no result"),
    ],
)
def test_what_cannot_be_set_is_refused_and_nothing_is_made(changes: list[list[Any]], words: str) -> None:
    world = world_of_chain()
    head = world.store.head()
    answer = fork(world, seq_of(world, ev.StepCompleted, "b"), changes=changes)
    assert isinstance(answer, Rejected)
    assert words in answer.message
    assert world.store.run("f") is None
    assert world.store.head() == head


@pytest.mark.parametrize(("at", "words"), [(0, "its seqs are 1 to 5"), (99, "its seqs are 1 to 5"), (5, "has ended")])
def test_a_point_that_does_not_exist_or_is_the_end_is_refused(at: int, words: str) -> None:
    world = world_of_chain()
    answer = fork(world, at)
    assert isinstance(answer, Rejected)
    assert words in answer.message
    assert fork(world, 1, parent="nobody").code == "not_found"


def test_asked_again_under_the_same_name_it_is_the_same_run() -> None:
    world = world_of_chain()
    assert fork(world, 3).existing is False
    head = world.store.head()
    again = fork(world, 3)
    assert (again.existing, world.store.head()) == (True, head)


def test_steps_that_were_at_work_at_the_point_act_again_items_too() -> None:
    hanging = {"on": True}

    def item(invocation: Any, x: int) -> Any:
        return HANGS if hanging["on"] and x == 1 else {"n": x}

    each = Step(
        id="each",
        form=ForEach(items="$inputs.xs", agent="k", action="item"),
        inputs={"x": "$item"},
        outputs=(("n", "n"),),
    )
    world = World({"item": item, "one": adding})
    world.create(plan(each), {"xs": [0, 1, 2]})
    for _ in range(8):
        world.virtual.step()
    at = len(world.store.stream(run_stream("r")))
    hanging["on"] = False
    answer = fork(world, at)
    assert isinstance(answer, Accepted), answer
    (forked,) = [event for event in world.events("f") if isinstance(event, ev.RunForked)]
    assert forked.again == ["each[1]"]
    assert world.folded("f").status is RunStatus.COMPLETED
    assert outputs(world, "f") == {"n": [0, 1, 2]}


def test_a_fork_of_a_failed_run_goes_on() -> None:
    failing = {"on": True}

    def failing_two(invocation: Any, x: int) -> dict[str, int]:
        if failing["on"]:
            raise Fails(ErrorType.PERMANENT)
        return {"n": x + 1}

    world = World({"one": adding, "two": failing_two, "three": adding})
    steps = chain()
    world.run(Plan(workflow="w", body=steps.body, free_inputs=True, free_outputs=True,
                   policies=(Policy(rule="default", ladder=("fail",)),)), {"x": 0})  # fmt: skip
    assert world.folded("r").status is RunStatus.FAILED
    failing["on"] = False
    assert isinstance(fork(world, 3), Accepted)
    assert world.folded("f").status is RunStatus.COMPLETED
    assert world.folded("r").status is RunStatus.FAILED


def test_a_fork_of_a_fork_names_its_own_parent() -> None:
    world = world_of_chain()
    fork(world, 3)
    at = seq_of(world, ev.StepCompleted, "b", run="f")
    answer = fork(world, at, child="g", parent="f")
    assert isinstance(answer, Accepted), answer
    parents = [event.parent for event in world.events("g") if isinstance(event, ev.RunForked)]
    assert parents[-1] == "f"
    assert outputs(world, "g") == outputs(world, "r")
    holds(world, "g")


def test_a_fork_goes_on_after_its_engine_died() -> None:
    world = World({"one": adding, "two": lambda invocation, x: HANGS, "three": adding})
    world.create(chain(), {"x": 0})
    for _ in range(8):
        world.virtual.step()
    command = ForkRun(run="f", parent="r", at=3, changes=[], salt=b"f" * 16, by="user:test")
    assert isinstance(world.virtual.request(command, command_id="fork"), Accepted)
    after = World({"one": adding, "two": adding, "three": adding}, store=world.store, blobs=world.blobs)
    after.virtual.run_until_idle()
    assert after.folded("f").status is RunStatus.COMPLETED
    assert after.folded("r").status is RunStatus.COMPLETED
    holds(after, "f")


# --- in place


def test_a_run_is_taken_back_in_place_while_what_it_did_since_may_be_repeated() -> None:
    world = world_of_chain(idempotent=True)
    before = len(world.executed)
    answer = restore(world, seq_of(world, ev.StepCompleted, "a"))
    assert isinstance(answer, Accepted), answer
    assert answer.event == "RunRestored"
    again = world.executed[before:]
    assert [path for path, _, _ in again] == ["b", "c"]
    assert all(fence > 1_000_000 for _, _, fence in again)
    assert world.keys[-1] == "kos:store:r:c:1"
    assert world.folded("r").status is RunStatus.COMPLETED
    holds(world, "r")


def test_what_cannot_be_taken_back_is_refused_and_named() -> None:
    world = world_of_chain()
    head = world.store.head()
    answer = restore(world, 3)
    assert isinstance(answer, Rejected)
    assert "step 'b' acted after seq 3" in answer.message
    assert "kos fork r --at 3" in answer.message
    assert world.store.head() == head


def test_an_action_that_its_class_calls_idempotent_may_be_repeated_too() -> None:
    world = World({"one": adding, "two": adding, "three": adding})
    marks = {name: ActionLink(takes_any=True, idempotent=True) for name in ("two", "three")}
    world.run(chain(), {"x": 0}, link=link_for(world.actions, **marks))
    assert isinstance(restore(world, 3), Accepted)


def test_restoring_twice_and_to_before_the_first_is_possible() -> None:
    world = world_of_chain(idempotent=True)
    for to in (3, 4, 3):
        answer = restore(world, to)
        assert isinstance(answer, Accepted), answer
        holds(world, "r")
    assert world.folded("r").status is RunStatus.COMPLETED


def test_a_paused_run_is_taken_back_and_goes_on() -> None:
    world = World({"one": adding, "two": lambda invocation, x: HANGS, "three": adding})
    world.create(chain(idempotent=True), {"x": 0})
    for _ in range(8):
        world.virtual.step()
    world.virtual.request(PauseRun(run="r", by="user:test"), command_id="p")
    world.actions["two"] = adding
    assert isinstance(restore(world, 3), Accepted)
    assert world.folded("r").status is RunStatus.COMPLETED
    holds(world, "r")


def test_a_decision_stays_decided() -> None:
    steps = Plan(
        workflow="w",
        free_inputs=True,
        free_outputs=True,
        body=Body(
            steps=(
                act("a", "one", inputs={"x": "$inputs.x"}, outputs=(("n", "n"),)),
                Step(
                    id="d",
                    form=Decision(condition="$steps.a.n > 50", true_path=("t",), false_path=("f",)),
                    after=("a",),
                ),
                Step(id="t", form=Action(agent="k", action="two"), inputs={"x": 1}, on_demand=True),
                Step(id="f", form=Action(agent="k", action="three"), inputs={"x": 2}, on_demand=True),
            )
        ),
    )
    world = World({"one": adding, "two": adding, "three": adding}).run(steps, {"x": 0})
    assert [path for path, _, _ in world.executed] == ["a", "f"]
    assert isinstance(fork(world, 3), Accepted)
    assert [path for path, _, _ in world.executed] == ["a", "f", "f"]
    assert isinstance(fork(world, 3, child="g", changes=[["a", "n", 99]]), Accepted)
    assert [path for path, _, _ in world.executed] == ["a", "f", "f", "t"]


def test_a_fork_goes_on_beside_others_when_places_are_few() -> None:
    world = World({"one": adding, "two": adding, "three": adding}, limits=Limits(max_active_runs=1))
    world.run(chain(), {"x": 0})
    assert isinstance(fork(world, 3), Accepted)
    assert world.folded("f").status is RunStatus.COMPLETED


def test_a_point_between_a_failure_and_what_was_decided_of_it_is_one_to_go_on_from() -> None:
    def fails(invocation: Any, **_: Any) -> Any:
        if invocation.run == "r":
            raise Fails(ErrorType.PERMANENT)
        return {}

    world = World({"fails": fails}, limits=Limits(max_record_events=1))
    each = Step(id="e", form=ForEach(items=[1, 2, 3], agent="k", action="fails", on_item_failure="collect"))
    world.run(plan(each))
    at = next(
        record.position for record in world.store.stream(run_stream("r")) if record.names.startswith("step_failed.")
    )
    assert isinstance(fork(world, at), Accepted)
    assert world.status("f") == "completed"
    assert [event.failed for event in world.named(ev.ItemsJoined, "f")] == [0]

"""What one run may do at a time and all in all, and what happens there."""

from typing import Any

import pytest

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.plan.model import Body, Decision, Emit, ForEach, Loop, OutputSpec, Policy, SetVariables, Step
from kos_runtime.core.record import INLINE_LIMIT
from kos_runtime.core.workflow import cache, desk, progress
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, AnswerTask, Rejected
from kos_runtime.engine import messages as msg
from kos_runtime.engine.limits import Limits

from .world import Fails, World, act, plan, state_of

SET = Step(id="s", form=SetVariables(values={"x": "$loop.index"}))


def spinning(turns: int) -> Any:
    inner = Step(id="m", form=Loop(body=Body(steps=(SET,)), condition="", max_iterations=turns))
    return plan(Step(id="l", form=Loop(body=Body(steps=(inner,)), condition="", max_iterations=turns)))


def test_a_run_that_only_decides_takes_turns_with_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MAX_DECISIONS", 16)
    world = World({"go": lambda _: {"y": 1}})
    world.create(spinning(40), run="r")
    world.create(plan(act("a", "go")), run="quick")
    rounds = 0
    while world.status("quick") != "completed":
        world.virtual.step()
        rounds += 1
        assert rounds < 20
    assert world.status("r") == "running"
    assert state_of(world.folded()) == state_of(world.host.partition.runs["r"])
    world.crash().virtual.run_until_idle()
    assert world.status("r") == "completed"
    assert len(world.named(ev.VariablesSet)) == 1_600


def test_turns_within_turns_end_at_the_bound_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MAX_PLACES", 100)
    world = World({}).run(spinning(1_000))
    (end,) = world.named(ev.RunFailed)
    assert end.error["message"] == "limit_exceeded: the run has 100 steps and turns, at most 100"
    assert end.error["recoverable"] is False


def test_items_with_steps_end_at_the_bound_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "MAX_PLACES", 100)
    body = Body(steps=(Step(id="s", form=SetVariables(values={"x": 1})),))
    world = World({}).run(plan(Step(id="f", form=ForEach(items="$inputs.xs", body=body))), {"xs": list(range(500))})
    (end,) = world.named(ev.RunFailed)
    assert end.error["message"] == "limit_exceeded: the run has 100 steps and turns, at most 100"


@pytest.mark.parametrize(("length", "status"), [(INLINE_LIMIT - 8, "completed"), (INLINE_LIMIT + 1, "failed")])
def test_what_is_emitted_has_a_bound(length: int, status: str) -> None:
    world = World({}).run(plan(Step(id="e", form=Emit(event="e", data="$inputs.text"))), {"text": "x" * length})
    assert world.status() == status
    if status == "failed":
        (end,) = world.named(ev.RunFailed)
        assert "oversize" in end.error["message"]
        assert end.step == "e"


def test_a_condition_that_gives_a_long_value_is_told_in_short() -> None:
    form = Decision(condition="$inputs.text", true_path=(), default_path=())
    world = World({}).run(plan(Step(id="d", form=form)), {"text": "x" * 1_000_000})
    (taken,) = world.named(ev.DecisionTaken)
    assert taken.branch == "default_path"
    assert len(taken.error) < 300


def test_inputs_that_are_a_blob_are_read_in_the_round_that_makes_it() -> None:
    each = Step(id="f", form=ForEach(items="$inputs.xs", agent="k", action="go"), inputs={"x": "$item"})
    world = World({"go": lambda _, x: {"n": len(x)}}).run(plan(each), {"xs": ["x" * 100] * 1_000})
    assert world.outputs()["n"] == [100] * 1_000


class TestPayloads:
    """What is too large for the log is refused or fails its own run, and the partition goes on."""

    @pytest.fixture(autouse=True)
    def _small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(desk, "PAYLOAD_LIMIT", 100_000)

    def world(self) -> World:
        return World({"go": lambda _, **given: {"text": "x" * 60_000}, "fail": _fails})

    def still_works(self, world: World) -> None:
        assert world.run(plan(act("a", "fail", inputs={"v": 1})), run="next").status("next") == "failed"

    def test_inputs_are_refused(self) -> None:
        world = self.world()
        answer = world.create(plan(act("a", "go")), {"text": "x" * 100_001})
        assert isinstance(answer, Rejected)
        assert "oversize" in answer.message
        self.still_works(world)

    def test_outputs_that_are_joined_fail_the_run(self) -> None:
        world = self.world()
        each = Step(id="f", form=ForEach(items=[1, 2, 3], agent="k", action="go"), outputs=(("text", "text"),))
        world.run(plan(each))
        (end,) = world.named(ev.RunFailed)
        assert end.error["message"].startswith("output 'text': oversize: 180")
        assert end.error["recoverable"] is False
        self.still_works(world)

    def test_inputs_of_a_step_fail_the_step(self) -> None:
        world = self.world()
        doubled = act("b", "go", after=("a",), inputs={"v": "${{ [$steps.a.text, $steps.a.text] }}"})
        world.run(plan(act("a", "go"), doubled))
        (end,) = world.named(ev.RunFailed)
        assert "oversize" in end.error["message"]
        assert end.step == "b"
        self.still_works(world)

    def test_an_answer_is_refused_and_another_one_taken(self) -> None:
        world = self.world()
        world.run(plan(act("a", "fail"), policies=(Policy(rule="eh", ladder=("manual", "fail")),)))
        refused = world.answer("a", {"result": "x" * 100_001})
        assert isinstance(refused, Rejected)
        assert "oversize" in refused.message
        assert world.status() == "waiting"
        taken = world.virtual.request(AnswerTask(run="r", path="a", data={"result": 1}, by="user:test"))
        assert isinstance(taken, Accepted)


def _fails(*_: Any, **__: Any) -> Any:
    raise Fails(ErrorType.PERMANENT)


def test_what_items_made_is_loaded_at_once_and_only_the_name_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({"go": lambda _, n: {"v": f"{n}" + "x" * 40_000, "w": f"{n}" + "y" * 40_000}})
    each = Step(id="f", form=ForEach(items="$inputs.xs", agent="k", action="go"), inputs={"n": "$item"})
    asked: list[int] = []
    loads = world.host.partition.loads
    monkeypatch.setattr(world.host.partition, "loads", lambda: _counted(loads(), asked))
    spec = OutputSpec(name="v", type="array")
    world.run(plan(each, free_outputs=False, outputs=(spec,)), {"xs": list(range(50))})
    assert [len(text) for text in world.outputs()["v"]] == [40_001] * 10 + [40_002] * 40
    assert asked == [50]


def test_what_items_made_together_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_GATHERED", 1_000_000)
    world = World({"go": lambda _, n: {"v": f"{n}" + "x" * 40_000}})
    each = Step(id="f", form=ForEach(items="$inputs.xs", agent="k", action="go"), inputs={"n": "$item"})
    world.run(plan(each), {"xs": list(range(50))})
    (end,) = world.named(ev.RunFailed)
    assert end.error["message"].startswith(
        "the outputs: oversize: 'result' of all items of f is more than 1000000 bytes"
    )


def _counted(loads: list[Any], asked: list[int]) -> list[Any]:
    asked.extend(len(load.digests) for load in loads if isinstance(load, msg.LoadData))
    return loads


def bodied(outputs: tuple[tuple[str, str], ...] | None = None) -> Step:
    body = Body(steps=(act("a", "go", inputs={"n": "$item"}), act("b", "go", inputs={"n": "$item"})))
    return Step(id="f", form=ForEach(items="$inputs.xs", body=body), outputs=outputs)


def taking(taken: list[Any], value: Any) -> dict[str, Any]:
    taken.append(value)
    return {}


def large(_: Any, n: int) -> Any:
    return {"v": f"{n}" + "x" * 40_000, "w": f"{n}" + "y" * 40_000}


@pytest.mark.parametrize(
    ("outputs", "read", "loads"), [(None, "$steps.f.result", 60), ((("v", "a.v"),), "$steps.f.v", 20)]
)
def test_what_items_with_steps_made_is_loaded_at_once_and_only_what_is_read(
    monkeypatch: pytest.MonkeyPatch, outputs: Any, read: str, loads: int
) -> None:
    world = World({"go": large})
    asked: list[int] = []
    partition_loads = world.host.partition.loads
    monkeypatch.setattr(world.host.partition, "loads", lambda: _counted(partition_loads(), asked))
    spec = OutputSpec(name="all", type="array", has_value=True, value=read)
    world.run(plan(bodied(outputs), free_outputs=False, outputs=(spec,)), {"xs": list(range(20))})
    assert world.status() == "completed"
    assert len(world.outputs()["all"]) == 20
    # Of the whole there are three: ``v``, ``w``, and ``result``, which repeats both; equal ones are one.
    assert asked == [loads]


def test_what_items_with_steps_made_together_has_a_bound_that_names_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_GATHERED", 1_000_000)
    world = World({"go": large, "take": lambda _, **given: {}})
    reading = act("reader", "take", after=("f",), inputs={"all": "$steps.f.result"})
    world.run(plan(bodied(), reading), {"xs": list(range(20))})
    (end,) = world.named(ev.RunFailed)
    assert end.step == "reader"
    assert end.error["recoverable"] is False
    assert "oversize: 'result' of all items of f is more than 1000000 bytes" in end.error["message"]
    world.run(
        plan(bodied((("v", "a.v"),)), act("reader", "take", after=("f",), inputs={"all": "$steps.f.v"})),
        {"xs": [1]},
        run="small",
    )
    assert world.status("small") == "completed"


@pytest.mark.parametrize("count", [5, 100])
def test_what_a_step_of_each_items_body_made_is_joined_by_the_agent_not_here(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr(cache, "MAX_GATHERED", 0)
    taken: list[Any] = []
    world = World({"go": large, "take": lambda _, **given: taking(taken, given["all"])})
    each = bodied((("v", "a.v"), ("n", "b.w")))
    reading = act("reader", "take", after=("f",), inputs={"all": ["$steps.f.v", "$steps.f.n"]})
    world.run(plan(each, reading, free_outputs=False), {"xs": list(range(count))})
    assert world.status() == "completed"
    assert taken == [[[f"{n}" + "x" * 40_000 for n in range(count)], [f"{n}" + "y" * 40_000 for n in range(count)]]]


def test_many_small_values_of_bodies_are_joined_by_the_agent_and_one_that_is_missing_is_told() -> None:
    taken: list[Any] = []
    world = World(
        {
            "go": lambda _, n: {"v": n, "w": {"deep": n}},
            "take": lambda invocation, **given: taking(taken, (len(invocation.gathers), given["all"])),
        }
    )
    for path, status in (("a.v", "completed"), ("b.w.deep", "completed"), ("a.gone", "failed"), ("b.w.no", "failed")):
        reading = act("reader", "take", after=("f",), inputs={"all": "$steps.f.v"})
        run = path.replace(".", "-")
        world.run(plan(bodied((("v", path),)), reading), {"xs": list(range(100))}, run=run)
        assert world.status(run) == status
        assert [end.error["type"] for end in world.named(ev.RunFailed, run)] == ["validation"] * (status == "failed")
    # A dotted path goes into a value, which only whoever has it can tell.
    assert taken == [(1, list(range(100))), (0, list(range(100)))]


def test_what_turns_of_a_loop_made_together_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_GATHERED", 1_000_000)
    loop = Step(
        id="l",
        form=Loop(body=Body(steps=(act("a", "go", inputs={"n": "$loop.index"}),)), condition="", max_iterations=20),
    )
    world = World({"go": large, "take": lambda _, **given: {}})
    world.run(plan(loop, act("r", "take", after=("l",), inputs={"last": "$steps.l.last.a.v"})), run="last")
    assert world.status("last") == "completed"
    world.run(plan(loop, act("r", "take", after=("l",), inputs={"all": "$steps.l.iterations"})))
    assert (
        "oversize: what the turns of l made is more than 1000000 bytes" in world.named(ev.RunFailed)[0].error["message"]
    )


def test_one_evaluation_may_not_read_more_than_the_bound_from_several_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_GATHERED", 100_000)
    steps = [act(id, "go", inputs={"n": n}) for n, id in enumerate("abc")]
    both = Decision(condition="len($steps.a.v) + len($steps.b.v) > 0", true_path=(), false_path=())
    all_ = Decision(condition="len($steps.a.v) + len($steps.b.v) + len($steps.c.v) > 0", true_path=(), false_path=())
    world = World({"go": large})
    world.run(plan(*steps, Step(id="d", form=both, after=("a", "b", "c"))), run="two")
    assert world.status("two") == "completed"
    world.run(plan(*steps, Step(id="d", form=all_, after=("a", "b", "c"))))
    assert "oversize: it reads stored values of more than 100000 bytes" in world.named(ev.RunFailed)[0].error["message"]


class TestCache:
    """Unpacked blobs are kept within bounds while runs are at work, and come again when they are asked for."""

    LIMIT = 200_000

    def world(self) -> World:
        return World({"go": large, "len": lambda _, n: {"n": n}}, limits=Limits(max_cached_bytes=self.LIMIT))

    def items(self) -> Any:
        """Each item reads a large value of its own."""
        inner = Body(
            steps=(
                act("a", "go", inputs={"n": "$item"}),
                act("b", "len", after=("a",), inputs={"n": "${{ len($steps.a.v) }}"}),
            )
        )
        return plan(Step(id="f", form=ForEach(items="$inputs.xs", body=inner), outputs=(("n", "b.n"),)))

    def test_it_shrinks_while_a_run_is_at_work(self) -> None:
        world = self.world()
        world.create(self.items(), {"xs": list(range(100, 150))})
        held = []
        while world.status() != "completed":
            world.virtual.step()
            held.append(world.host.partition.cache.bytes)
        assert max(held) > self.LIMIT // 2, "something was kept"
        assert max(held) <= self.LIMIT
        assert world.outputs()["n"] == [40_003] * 50

    def test_what_many_wait_for_is_not_loaded_all_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        world = self.world()
        asked: list[int] = []
        loads = world.host.partition.loads
        monkeypatch.setattr(world.host.partition, "loads", lambda: _counted(loads(), asked))
        several = [act(f"s{n}", "go", inputs={"n": n}) for n in range(20)]
        readers = [
            act(f"r{n}", "len", after=tuple(s.id for s in several), inputs={"n": f"${{{{ len($steps.s{n}.v) }}}}"})
            for n in range(20)
        ]
        world.run(plan(*several, *readers))
        assert world.status() == "completed"
        assert max(asked) * 40_000 <= self.LIMIT
        assert sum(asked) == 20, "each was loaded once"

    def test_one_value_that_is_larger_than_the_bound_is_not_loaded_over_and_over(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world = self.world()
        asked: list[int] = []
        loads = world.host.partition.loads
        monkeypatch.setattr(world.host.partition, "loads", lambda: _counted(loads(), asked))
        each = Step(id="f", form=ForEach(items="$inputs.xs", agent="k", action="len"), inputs={"n": "$item"})
        world.run(plan(each), {"xs": ["x" * 100 + str(n) for n in range(5_000)]})
        assert world.status() == "completed"
        assert len(asked) <= 2

    def test_an_evaluation_that_needs_more_than_the_bound_gets_it(self) -> None:
        world = self.world()
        several = [act(f"s{n}", "go", inputs={"n": n}) for n in range(10)]
        text = " + ".join(f"len($steps.s{n}.v)" for n in range(10))
        whole = act("r", "len", after=tuple(s.id for s in several), inputs={"n": f"${{{{ {text} }}}}"})
        world.run(plan(*several, whole))
        assert world.outputs()["n"] == 400_010
        assert world.host.partition.cache.bytes <= self.LIMIT

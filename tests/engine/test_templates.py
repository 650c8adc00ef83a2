"""A template's steps run inside the run that uses it, with inputs, variables and outputs of their own."""

from typing import Any

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.plan.model import Body, ForEach, Inlined, InputSpec, OutputSpec, Policy, SetVariables, Step
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import RetryStep
from tests.engine.world import Fails, World, act, plan, restored, state_of


def says(_: Any, **values: Any) -> dict[str, Any]:
    return {"said": values}


def template(*steps: Step, id: str = "t", given: dict[str, Any] | None = None, **more: Any) -> Step:
    outer = {name: more.pop(name) for name in ("after", "outputs") if name in more}
    more.setdefault("free_inputs", not more.get("inputs"))
    more.setdefault("free_outputs", not more.get("results"))
    results = more.pop("results", ())
    form = Inlined(template="chain", body=Body(steps=steps), given=given, outputs=results, **more)
    return Step(id=id, form=form, **outer)


def value(name: str, value: Any) -> OutputSpec:
    return OutputSpec(name=name, value=value, has_value=True)


def test_inputs_inside_are_those_that_the_step_gives() -> None:
    inside = act("a", "says", inputs={"who": "$inputs.who", "n": "$inputs.n"})
    specs = (InputSpec(name="who", type="string", required=True), InputSpec(name="n", default=3, has_default=True))
    world = World({"says": says}).run(
        plan(template(inside, inputs=specs, given={"who": "$inputs.name"})), {"name": "you", "who": "not you", "n": 9}
    )
    assert world.outputs() == {"said": {"who": "you", "n": 3}}
    assert [path for path, *_ in world.executed] == ["t/a"]


def test_without_values_a_template_is_given_what_it_declares_of_what_is_around() -> None:
    inside = act("a", "says", inputs={"all": "${{ keys($inputs) }}"})
    world = World({"says": says}).run(plan(template(inside, inputs=(InputSpec(name="b"),))), {"a": 1, "b": 2})
    assert world.outputs() == {"said": {"all": ["b"]}}


def test_what_a_template_gives_is_read_like_a_result() -> None:
    inside = act("a", "says", inputs={"x": 1})
    step = template(inside, results=(value("x", "$steps.a.said.x"), value("y", 2)))
    after = act("b", "says", after=("t",), inputs={"x": "$steps.t.x", "all": "$steps.t.result"})
    assert World({"says": says}).run(plan(step, after)).outputs() == {"said": {"x": 1, "all": {"x": 1, "y": 2}}}


def test_outputs_of_the_step_rename_what_the_template_gives() -> None:
    step = template(act("a", "says", inputs={"x": 1}), outputs=(("deep", "said.x"),))
    assert World({"says": says}).run(plan(step)).outputs() == {"deep": 1}


def test_variables_of_a_template_are_its_own() -> None:
    inside = (
        Step(id="raise", form=SetVariables(values={"n": "${{ $vars.n + 1 }}"})),
        act("a", "says", after=("raise",), inputs={"n": "$vars.n"}),
    )
    step = template(*inside, variables={"n": 10})
    after = act("b", "says", after=("t",), inputs={"mine": "$vars.n", "its": "$steps.t.said.n"})
    world = World({"says": says}).run(plan(step, after, variables={"n": 1}))
    assert world.outputs() == {"said": {"mine": 1, "its": 11}}


def test_each_item_has_a_template_of_its_own() -> None:
    inside = template(act("a", "says", inputs={"n": "$inputs.n"}), given={"n": "$item"})
    each = Step(
        id="all",
        form=ForEach(items="$inputs.xs", body=Body(steps=(inside,))),
        outputs=(("n", "t.said.n"),),
    )
    assert World({"says": says}).run(plan(each), {"xs": [3, 1, 2]}).outputs() == {"n": [3, 1, 2]}


def test_a_large_input_reaches_the_action_unread() -> None:
    text = "x" * 100_000
    inside = act("a", "size", inputs={"text": "$inputs.text"})
    world = World({"size": lambda _, text: {"n": len(text)}}).run(
        plan(template(inside, given={"text": "$inputs.text"})), {"text": text}
    )
    assert world.outputs() == {"n": 100_000}


def test_inputs_that_do_not_fit_fail_the_step() -> None:
    specs = (InputSpec(name="n", type="integer", required=True),)
    world = World({"says": says}).run(
        plan(template(act("a", "says"), inputs=specs, given={"n": "$inputs.n"}), policies=(Policy(rule="d"),)),
        {"n": "three"},
    )
    (failed,) = world.named(ev.RunFailed)
    assert "the template chain of t cannot begin: input 'n': expected integer" in failed.error["message"]


def test_a_step_that_fails_for_good_fails_the_template_and_is_retried_where_it_failed() -> None:
    tries = iter([Fails(ErrorType.PERMANENT), {"ok": 1}])

    def flaky(_: Any) -> Any:
        outcome = next(tries)
        if isinstance(outcome, Fails):
            raise outcome
        return outcome

    never = (Policy(rule="none", ladder=("fail",)),)
    world = World({"flaky": flaky}).run(plan(template(act("a", "flaky")), policies=never))
    (failed,) = world.named(ev.RunFailed)
    assert failed.step == "t"
    world.virtual.request(RetryStep(run="r", path="", retries=1, by="user:t"), command_id="t")
    world.virtual.run_until_idle()
    assert world.outputs() == {"ok": 1}


def test_the_folded_state_of_a_template_at_work_survives_a_snapshot() -> None:
    def fails(_: Any, **__: Any) -> Any:
        raise Fails(ErrorType.PERMANENT)

    manual = (Policy(rule="m", ladder=("manual",)),)
    inside = act("a", "fails", inputs={"n": "$inputs.n"})
    world = World({"fails": fails}).run(plan(template(inside, given={"n": 5}, variables={"v": 1}), policies=manual))
    state = world.folded()
    assert state_of(restored(world, state)) == state_of(state)
    again = world.crash()
    again.answer("t/a", {"result": "by hand"})
    assert again.status() == "completed"

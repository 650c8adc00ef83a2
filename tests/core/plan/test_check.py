"""Plans that do not hold together are told apart from sound ones."""

from dataclasses import replace
from pathlib import Path

import pytest

from kos_runtime.core.plan.check import Fault, faults, steps_of
from kos_runtime.core.plan.model import (
    Action,
    Body,
    Decision,
    Fail,
    ForEach,
    Form,
    Group,
    Join,
    Loop,
    Plan,
    Policy,
    SetVariables,
    Step,
)
from kos_runtime.definition import WorkflowDocument, compile_workflow, load

ACT = Action(agent="k", action="x")
EXAMPLES = Path(__file__).parents[3] / "examples"


def _plan(*steps: Step) -> Plan:
    return Plan(workflow="w", body=Body(steps=steps))


def _step(form: Form, name: str = "a") -> Step:
    return Step(id=name, form=form)


@pytest.mark.parametrize("name", ["extended.yaml", "research-and-summarize.yaml"])
def test_a_compiled_plan_is_sound(name: str) -> None:
    document = load((EXAMPLES / name).read_bytes(), name)
    assert isinstance(document, WorkflowDocument)
    assert faults(compile_workflow(document)[0]) == ()


UNSOUND = {
    "waits for 'b', which is no step of its body": _plan(Step(id="a", form=ACT, after=("b",))),
    "waits for 'b', which runs only when it is named": _plan(
        Step(id="a", form=ACT, after=("b",)), Step(id="b", form=ACT, on_demand=True)
    ),
    "another step of this body has the same id": _plan(_step(ACT), _step(ACT)),
    "waits for itself: a → b → a": _plan(Step(id="a", form=ACT, after=("b",)), Step(id="b", form=ACT, after=("a",))),
    "'a b' is no name": _plan(_step(ACT, "a b")),
    "names 'b', which is no step of its body that runs on demand": _plan(
        _step(Decision(condition="true", true_path=("b",))), _step(ACT, "b")
    ),
    "has no policy 3": _plan(Step(id="a", form=ACT, policies=(3,))),
    "has no policy for dependency, permanent, resource, security, timeout, unknown, validation": replace(
        _plan(_step(ACT)), policies=(Policy(rule="r", errors=("transient",)),)
    ),
    "waits for 2 of 0 members": _plan(_step(Group(body=Body(steps=()), sync="count", count=2))),
    "waits for 2 of 1": _plan(_step(Join(waits_for=("b",), sync="count", count=2))),
    "100001 turns are not 0..100000": _plan(_step(Loop(body=Body(steps=()), condition="", max_iterations=100_001))),
}


@pytest.mark.parametrize("message", UNSOUND)
def test_a_plan_that_does_not_hold_together_is_told_so(message: str) -> None:
    assert message in [fault.message for fault in faults(UNSOUND[message])]


BROKEN: list[Form] = [
    Decision(condition="1 +"),
    Loop(body=Body(steps=()), condition="(", max_iterations=1),
    ForEach(items="$nope.x", agent="k", action="x"),
    SetVariables(values={"x": "${{ }}"}),
    Fail(message="$nope.x"),
]


@pytest.mark.parametrize("form", BROKEN, ids=lambda form: type(form).__name__)
def test_a_text_that_cannot_be_parsed_is_a_fault_of_its_step(form: Form) -> None:
    assert [fault.where for fault in faults(_plan(_step(form)))] == ["a"]


def test_a_name_of_items_is_known_only_inside() -> None:
    inner = Step(id="i", form=ACT, inputs={"v": "$task"})
    each = ForEach(items=[1], name="task", body=Body(steps=(inner,)))
    assert faults(_plan(_step(each))) == ()
    (fault,) = faults(_plan(_step(Group(body=Body(steps=(inner,))))))
    assert fault.where == "a/i"


def test_bodies_are_not_followed_without_bound() -> None:
    form: Form = ACT
    for _ in range(60):
        form = Group(body=Body(steps=(_step(form),)))
    assert Fault("/".join(["a"] * 33), "its bodies are nested deeper than 32") in faults(_plan(_step(form)))


def test_every_step_is_gone_over_with_its_path() -> None:
    plan = _plan(_step(Group(body=Body(steps=(_step(ACT, "b"),)))), _step(ACT, "c"))
    assert [path for path, _ in steps_of(plan.body)] == ["a", "a/b", "c"]

"""The forms that wait: what is compiled of them, and what is refused in them."""

import pytest

from kos_runtime.core.instant import parse_instant
from kos_runtime.core.plan.model import Approval, Field, Wait, WaitFor
from kos_runtime.core.plan.plain import from_plain, to_plain
from kos_runtime.definition import DefinitionError, EngineSettings, WorkflowDocument, compile_workflow, load


def compiled(step: str, *, whole: str = "") -> object:
    document = load(f"workflow:\n  id: w\n{whole}  steps:\n    - {step}\n", "w.yaml")
    assert isinstance(document, WorkflowDocument)
    plan, _ = compile_workflow(document, settings=EngineSettings(max_workflow_duration_ms=7_000))
    assert plan.requires == ()
    assert plan.timeout_ms == (5_000 if whole else 7_000)
    assert from_plain(to_plain(plan), type(plan)) == plan
    return plan.body.steps[0].form


def test_each_form_is_compiled() -> None:
    assert compiled("{id: a, wait: {for: 5m}}", whole="  timeout: 5s\n") == Wait(for_ms=300_000)
    assert compiled("{id: a, wait: {until: null}}") == Wait(has_until=True)
    found = compiled("{id: a, wait_for: {signal: go, match: $signal.n > 1, timeout: 1s, on_timeout: continue}}")
    assert found == WaitFor(signal="go", match="$signal.n > 1", timeout_ms=1_000, on_timeout="continue")
    found = compiled('{id: a, approval: {prompt: ok?, approvers: ["user:jr"], form: {n: {type: integer, default: 1}}}}')
    field = Field(name="n", type="integer", required=False, default=1, has_default=True)
    assert found == Approval(prompt="ok?", approvers=("user:jr",), fields=(field,))


@pytest.mark.parametrize(
    ("step", "wrong"),
    [
        ("{id: a, wait: {until: tomorrow}}", "not an instant: 'tomorrow'"),
        ("{id: a, wait: {until: 5}}", "is no instant"),
        ("{id: a, approval: {prompt: x, approvers: [jr]}}", "no approver: 'jr'"),
        ('{id: a, approval: {prompt: x, approvers: ["user:jr"], quorum: 2}}', "can never be reached"),
        ("{id: a, approval: {prompt: x, form: {approved: {type: boolean}}}}", "says by itself"),
        ("{id: a, approval: {prompt: x, form: {n: {type: enum}}}}", "needs values"),
        ("{id: a, approval: {prompt: x, form: {n: {type: integer, default: x}}}}", "default of field 'n'"),
    ],
)
def test_what_can_never_be_is_refused_at_its_place(step: str, wrong: str) -> None:
    with pytest.raises(DefinitionError, match=wrong) as refused:
        compiled(step)
    assert [problem.line for problem in refused.value.problems] == [4]


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01Z", 1_000),
        ("2030-01-31T09:00:00+01:00", 1_896_076_800_000),
        ("2030-01-31 08:00", 1_896_076_800_000),
        ("2024-02-29T23:59:59.25Z", 1_709_251_199_250),
    ],
)
def test_instants_are_read(text: str, ms: int) -> None:
    assert parse_instant(text) == ms


@pytest.mark.parametrize(
    "text", ["", "soon", "2023-02-29", "2030-13-01", "2030-1-1", "2030-01-01T24:00", "2030-01-01T1", "1969-12-31", "2030-01-01T00:00+1", "9" * 99]
)  # fmt: skip
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an instant"):
        parse_instant(text)

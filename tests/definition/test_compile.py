"""What a definition becomes: edges, policies, requirements, and where interface spellings end up."""

import pytest

from kos_runtime.core.plan import model
from kos_runtime.core.plan.plain import from_plain, to_plain
from kos_runtime.core.plan.program import Program
from kos_runtime.definition import EngineSettings, TemplatesDocument, load
from kos_runtime.definition import compile_workflow as compiled
from tests.definition.files import EXAMPLES, HEAD, plan_of, step_of, steps


def _after(text: str) -> dict[str, tuple[str, ...]]:
    return {step.id: step.after for step in plan_of(text).body.steps}


ACT = "agent: k, action: x"


def test_steps_run_in_declaration_order() -> None:
    assert _after(steps(f"{{id: a, {ACT}}}\n{{id: b, {ACT}}}\n{{id: c, {ACT}}}")) == {"a": (), "b": ("a",), "c": ("b",)}


def test_neighbours_that_are_parallel_stand_side_by_side_and_the_next_waits_for_all() -> None:
    text = steps(f"""
        {{id: a, {ACT}}}
        {{id: b, {ACT}, parallel: true}}
        {{id: c, {ACT}, parallel: true}}
        {{id: d, {ACT}}}
    """)
    assert _after(text) == {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}


def test_data_between_parallel_neighbours_parts_them() -> None:
    text = steps(f"""
        {{id: b, {ACT}, parallel: true}}
        {{id: c, {ACT}, parallel: true, inputs: {{v: $steps.b.result}}}}
        {{id: d, {ACT}, parallel: true}}
        {{id: e, {ACT}}}
    """)
    assert _after(text) == {"b": (), "c": ("b",), "d": ("b",), "e": ("c", "d")}


def test_parallel_order_keeps_only_edges() -> None:
    text = steps(f"{{id: a, {ACT}}}\n{{id: b, {ACT}, inputs: {{v: $steps.a.result}}}}\n{{id: c, {ACT}}}")
    text += "  execution_order: parallel\n  dependencies: {c: [b]}\n"
    assert _after(text) == {"a": (), "b": ("a",), "c": ("b",)}


def test_a_step_that_a_path_names_stands_aside_until_it_is_named() -> None:
    text = steps(f"""
        {{id: a, {ACT}}}
        {{id: d, decision: {{condition: $steps.a.ok, true_path: [b], false_path: [c]}}}}
        {{id: b, {ACT}, inputs: {{v: $steps.a.result}}}}
        {{id: c, {ACT}}}
        {{id: e, {ACT}, inputs: {{v: "${{{{ default($steps.b.result, null) }}}}"}}}}
    """)
    plan = plan_of(text)
    assert [step.id for step in plan.body.steps if step.on_demand] == ["b", "c"]
    assert _after(text) == {"a": (), "d": ("a",), "b": ("a",), "c": (), "e": ("d",)}
    assert step_of(plan, "e").reads == ()
    assert step_of(plan, "d").reads == ()


def test_what_reads_without_a_guard_is_told_so() -> None:
    text = steps(f"""
        {{id: a, {ACT}}}
        {{id: b, {ACT}, when: $steps.a.ok, inputs: {{v: "${{{{ default($steps.a.v, 1) }}}}"}}}}
        {{id: c, {ACT}, inputs: {{v: "${{{{ default($steps.a.v, 1) }}}}"}}}}
    """)
    assert [step.reads for step in plan_of(text).body.steps] == [(), ("a",), ()]


def test_a_body_waits_outside_for_what_it_reads_and_only_the_reader_depends_on_it() -> None:
    text = (
        steps(f"""
        {{id: a, {ACT}}}
        {{id: l, loop: {{max_iterations: 2, body: [{{id: i, {ACT}, inputs: {{v: $steps.a.v}}}}, {{id: j, {ACT}, inputs: {{w: $steps.i.v}}}}]}}}}
    """)
        + "  execution_order: parallel\n"
    )
    plan = plan_of(text)
    loop = step_of(plan, "l")
    assert (loop.after, loop.reads) == (("a",), ())
    assert isinstance(loop.form, model.Loop)
    inner = {step.id: step for step in loop.form.body.steps}
    assert (inner["i"].after, inner["i"].reads) == ((), ("a",))
    assert (inner["j"].after, inner["j"].reads) == (("i",), ("i",))


def test_members_of_a_group_have_no_order_but_their_edges() -> None:
    text = steps(f"""
        {{id: g, parallel_group: {{steps: [{{id: a, {ACT}}}, {{id: b, {ACT}}}, {{id: c, {ACT}, depends_on: [a]}}]}}}}
        {{id: after, {ACT}, inputs: {{v: $steps.g.a.result}}}}
    """)
    group = step_of(plan_of(text), "g").form
    assert isinstance(group, model.Group)
    assert {step.id: step.after for step in group.body.steps} == {"a": (), "b": (), "c": ("a",)}
    assert step_of(plan_of(text), "after").reads == ("g",)


INTERFACES = steps(f"""
    {{id: review, {ACT}, outputs: {{score: s}}}}
    {{id: legal, {ACT}}}
    {{id: publish, {ACT}}}
    {{id: rework, {ACT}}}
    {{id: late, {ACT}, inputs: {{v: $steps.review.score}}}}
""") + (
    "  dependencies: {late: [checked]}\n"
    "  conditions: {late: $steps.review.score > 0.5}\n"
    "  parallel_groups: [{id: checks, steps: [review, legal], max_concurrency: 2, resource_requirements: {memory: 1GiB}}]\n"
    "  synchronization_points: [{id: checked, wait_for: [checks], sync: all}]\n"
    "  decision_points: [{id: fork, condition: $steps.review.score > 0.9, true_path: [publish], false_path: [rework]}]\n"
    "  loop_body: [{id: poll, agent: k, action: x}]\n"
    "  loop_condition: not default($loop.previous.poll.done, false)\n"
    "  max_iterations: 10\n"
    "  break_conditions: [{condition: $steps.poll.closed, reason: closed}]\n"
)  # fmt: skip


def test_interface_spellings_become_forms_where_they_belong() -> None:
    plan = plan_of(INTERFACES)
    assert [step.id for step in plan.body.steps] == ["checks", "checked", "fork", "publish", "rework", "late", "loop"]
    assert {step.id: step.after for step in plan.body.steps} == {
        "checks": (),
        "checked": ("checks",),
        "fork": ("checked", "checks"),
        "publish": (),
        "rework": (),
        "late": ("fork", "checked", "checks"),
        "loop": ("late",),
    }
    checks, late, loop = step_of(plan, "checks").form, step_of(plan, "late"), step_of(plan, "loop").form
    assert isinstance(checks, model.Group)
    assert (checks.transparent, checks.max_concurrency, checks.resources) == (True, 2, {"memory": 2.0**30})
    assert (late.when, late.reads) == ("$steps.review.score > 0.5", ("review",))
    assert isinstance(loop, model.Loop)
    assert loop.breaks == (model.Break(condition="$steps.poll.closed", reason="closed"),)
    assert step_of(plan, "checked").form == model.Join(waits_for=("checks",))


def test_a_member_that_waits_for_a_step_outside_makes_its_group_wait() -> None:
    text = steps(f"{{id: a, {ACT}}}\n{{id: b, {ACT}, depends_on: [a]}}\n{{id: c, {ACT}}}")
    text += "  execution_order: parallel\n  parallel_groups: [{id: g, steps: [b, c]}]\n"
    assert _after(text) == {"a": (), "g": ("a",)}


def test_an_edge_to_a_member_is_an_edge_to_its_group() -> None:
    text = steps(
        f"{{id: b, {ACT}}}\n{{id: c, {ACT}}}\n{{id: d, {ACT}, depends_on: [c], inputs: {{v: $steps.b.result}}}}"
    )
    text += "  execution_order: parallel\n  parallel_groups: [{id: g, steps: [b, c]}]\n"
    plan = plan_of(text)
    assert step_of(plan, "d").after == ("g",)
    assert step_of(plan, "d").reads == ("b",)


def test_the_default_policy_has_the_engines_numbers() -> None:
    settings = EngineSettings().with_overrides(
        {"engine.execution.retry_default": "5", "engine.execution.backoff_strategy": "linear"}
    )
    plan = plan_of(steps(f"{{id: a, {ACT}}}"), settings)
    assert plan.policies == (
        model.Policy(rule="default", ladder=("retry", "fail"), max_retries=5, backoff=model.Backoff(strategy="linear")),
    )


def _policies(plan: model.Plan, step: model.Step) -> list[tuple[str, tuple[str, ...], int]]:
    return [(plan.policies[i].rule, plan.policies[i].ladder, plan.policies[i].max_retries) for i in step.policies]


def test_the_first_entry_that_matches_wins_and_what_no_kind_reaches_is_left_away() -> None:
    text = steps(f"{{id: a, {ACT}}}\n{{id: b, {ACT}}}") + (
        "  error_handling:\n"
        "    - {step: a, errors: [timeout], on_failure: fail}\n"
        "    - {step: a, on_failure: retry, max_retries: 7, fallback: by_hand}\n"
        "    - {step: '*', errors: [timeout, transient], on_failure: [retry, skip]}\n"
    )
    plan = plan_of(text)
    assert _policies(plan, step_of(plan, "a")) == [
        ("error_handling[0]", ("fail",), 3),
        ("error_handling[1]", ("retry", "fallback", "fail"), 7),
    ]
    assert _policies(plan, step_of(plan, "b")) == [
        ("error_handling[2]", ("retry", "skip", "fail"), 3),
        ("default", ("retry", "fail"), 3),
    ]


def test_an_entry_without_a_step_is_for_all() -> None:
    steps = "  steps: [{id: a, agent: k, action: x}, {id: b, agent: k, action: x}]"
    plan = plan_of(
        f"workflow:\n  id: w\n{steps}\n  error_handling: [{{errors: timeout, on_failure: fail}}, {{on_failure: skip}}]\n"
    )
    assert [step.policies for step in plan.body.steps] == [(0, 1), (0, 1)]


def test_a_bare_id_selects_wherever_it_is_nested_and_a_path_only_there() -> None:
    text = steps(f"""
        {{id: l, loop: {{max_iterations: 1, body: [{{id: i, {ACT}}}]}}}}
        {{id: m, loop: {{max_iterations: 1, body: [{{id: i, {ACT}}}]}}}}
    """) + (
        "  error_handling:\n"
        "    - {step: m/i, on_failure: fail}\n"
        "    - {step: i, on_failure: retry}\n"
    )  # fmt: skip
    plan = plan_of(text)
    rules = []
    for name in ("l", "m"):
        form = step_of(plan, name).form
        assert isinstance(form, model.Loop)
        rules.append([plan.policies[i].rule for i in form.body.steps[0].policies])
    assert rules == [["error_handling[1]"], ["error_handling[0]"]]


def test_a_steps_own_retry_takes_the_place_of_budget_and_backoff() -> None:
    text = steps(
        f"{{id: a, {ACT}, retry: {{max_retries: 1, backoff: {{strategy: fixed, initial: 3s}}}}}}\n{{id: b, {ACT}}}"
    ) + ("  error_handling: [{step: [a, b], on_failure: escalate, escalation_agent: c}]\n")
    plan = plan_of(text)
    (index,) = step_of(plan, "a").policies
    own = plan.policies[index]
    assert (own.rule, own.ladder, own.max_retries) == ("error_handling[0]", ("escalate", "fail"), 1)
    assert (own.backoff.strategy, own.backoff.initial_ms, own.escalation_agent) == ("fixed", 3_000, "c")
    assert _policies(plan, step_of(plan, "b")) == [("error_handling[0]", ("escalate", "fail"), 3)]


def test_a_step_that_a_fallback_names_runs_only_then() -> None:
    text = steps(f"{{id: a, {ACT}}}\n{{id: b, {ACT}}}\n{{id: c, {ACT}}}") + (
        "  error_handling: [{step: a, on_failure: fallback, fallback: b}]\n"
    )
    plan = plan_of(text)
    assert step_of(plan, "b").on_demand
    assert step_of(plan, "c").after == ("a",)
    assert plan.policies[0].fallback_kind == "step"
    assert plan.requires == ()


def test_a_fallback_is_one_action_or_named_as_what_does_not_run_yet() -> None:
    text = steps(f"{{id: a, {ACT}}}\n{{id: b, loop: {{max_iterations: 1, body: [{{id: i, {ACT}}}]}}}}") + (
        "  error_handling: [{step: a, on_failure: different_agent, fallback: b}]\n"
    )
    plan = plan_of(text)
    assert plan.policies[0].ladder == ("different_agent", "fallback", "fail")
    assert plan.requires == (model.Requirement(feature="fallback to a loop", where="error_handling[0]"),)


def test_what_undoes_a_step_is_tried_again_and_then_a_persons() -> None:
    undo = "compensate: {agent: k, action: undo, inputs: {id: $self.result.id}}"
    plan = plan_of(steps(f"{{id: a, {ACT}, {undo}}}") + "  compensation: {order: reverse, on: [cancelled]}\n")
    said = step_of(plan, "a").compensate
    assert said is not None
    assert (said.agent, said.action, said.inputs) == ("k", "undo", {"id": "$self.result.id"})
    (index,) = said.policies
    assert (plan.policies[index].rule, plan.policies[index].ladder) == ("compensation", ("retry", "manual"))
    assert (plan.compensate_on, plan.requires) == (("cancelled",), ())


REQUIRED = {
    "coordination": "{id: b, coordination: {pattern: peer_to_peer, peers: k}, action: x}",
    "timeout of a template": "{id: b, template: {use: other}, timeout: 5m}",
    "template": "{id: b, template: {use: other}}",
    "on_exhausted: escalate": f"{{id: b, loop: {{max_iterations: 1, on_exhausted: escalate, body: [{{id: i, {ACT}}}]}}}}",
}


@pytest.mark.parametrize("feature", REQUIRED)
def test_what_an_engine_must_know_how_to_run_is_named(feature: str) -> None:
    plan = plan_of(steps(REQUIRED[feature]))
    assert feature in {requirement.feature for requirement in plan.requires}


WHOLE_REQUIRED = {
    "error_handling of a loop": "  error_handling: [{step: loop, on_failure: retry}]\n  loop_body: [{id: i, agent: k, action: x}]\n  max_iterations: 1\n",
    "synchronization point with sync: any": "  synchronization_points: [{id: p, wait_for: [a], sync: any}]\n",
}


@pytest.mark.parametrize("feature", WHOLE_REQUIRED)
def test_what_a_workflow_asks_of_an_engine_is_named(feature: str) -> None:
    plan = plan_of(HEAD + f"    - {{id: a, {ACT}}}\n" + WHOLE_REQUIRED[feature])
    assert [requirement.feature for requirement in plan.requires] == [feature]


def test_what_runs_asks_for_nothing() -> None:
    text = steps(f"""
        {{id: a, {ACT}, timeout: 5m, priority: 3, resources: {{num_cpus: 1}}, idempotent: true, parallel: true}}
        {{id: b, for_each: {{in: $inputs.xs, as: x, on_item_failure: {{quorum: 0.5}}}}, {ACT}, inputs: {{v: $x, n: $index}}}}
        {{id: c, set: {{v: $steps.b.items}}}}
        {{id: d, emit: {{event: done, data: $vars.v}}}}
        {{id: f, on_demand: true, fail: {{kind: permanent, message: "no ${{{{ $inputs.x }}}}"}}}}
    """)
    plan = plan_of(text)
    assert plan.requires == ()
    step = step_of(plan, "a")
    assert (step.timeout_ms, step.priority, step.resources, step.idempotent, step.spread) == (
        300_000, 3, {"num_cpus": 1.0}, True, True,
    )  # fmt: skip


def test_a_plan_of_every_form_is_plain_data_and_a_program() -> None:
    for name in ("extended.yaml", "research-and-summarize.yaml"):
        plan = plan_of((EXAMPLES / name).read_text())
        assert from_plain(to_plain(plan), model.Plan) == plan
        assert Program(plan, "digest").body.size > 0


def test_a_template_is_compiled_as_a_workflow_that_takes_any_inputs() -> None:
    document = load((EXAMPLES / "templates.yaml").read_bytes(), "templates.yaml")
    assert isinstance(document, TemplatesDocument)
    plan, problems = compiled(document.workflow("research_workflow"))
    assert (plan.workflow, plan.free_inputs, plan.free_outputs, problems) == ("research_workflow", True, True, [])
    assert [(step.id, step.after) for step in plan.body.steps] == [
        ("plan", ()), ("gather", ("plan",)), ("synthesize", ("gather",)),
    ]  # fmt: skip


def test_the_version_is_the_text_that_was_written() -> None:
    assert plan_of("workflow:\n  id: w\n  version: 1.10\n  steps: [{id: a, set: {x: 1}}]\n").version == "1.10"

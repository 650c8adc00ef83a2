"""Definitions as they are written, run: what the language says of order, data, skipping and the spellings beside steps."""

from typing import Any

import pytest

from kos_runtime.core.plan.check import faults
from kos_runtime.core.workflow import events as ev
from kos_runtime.definition import WorkflowDocument, compile_workflow, load
from tests.engine.world import World


def _echo(_: Any, **inputs: Any) -> dict[str, Any]:
    return dict(inputs)


def _score(_: Any, v: float) -> dict[str, Any]:
    return {"score": v}


ACTIONS: dict[str, Any] = {"echo": _echo, "score": _score}


def run(steps: str, inputs: dict[str, Any] | None = None, more: str = "") -> World:
    """Run a workflow given its steps, one a line, and what stands beside them."""
    text = "workflow:\n  id: w\n  steps:\n" + "".join(f"    - {line.strip()}\n" for line in steps.strip().splitlines())
    document = load(text + more, "w.yaml")
    assert isinstance(document, WorkflowDocument)
    plan, _ = compile_workflow(document)
    assert faults(plan) == ()
    return World(ACTIONS).run(plan, inputs or {})


def ran(world: World) -> list[str]:
    """Return the paths of the actions that were executed, in order."""
    return [path for path, *_ in world.executed]


def test_a_reader_of_a_skipped_step_is_skipped_and_a_guarded_one_is_not() -> None:
    world = run("""
        {id: a, agent: k, action: echo, when: 'false', inputs: {v: 1}}
        {id: b, agent: k, action: echo, inputs: {v: $steps.a.v}}
        {id: c, agent: k, action: echo, inputs: {v: "${{ default($steps.a.v, 7) }}"}}
    """)
    assert ran(world) == ["c"]
    assert world.outputs() == {"v": 7}


def test_inside_a_loop_only_the_reader_of_a_skipped_outer_step_is_skipped() -> None:
    world = run("""
        {id: a, agent: k, action: echo, when: 'false', inputs: {v: 1}}
        {id: l, loop: {max_iterations: 2, body: [{id: i, agent: k, action: echo, inputs: {v: $steps.a.v}}, {id: j, agent: k, action: echo, inputs: {n: $loop.index}}]}}
        {id: z, agent: k, action: echo, inputs: {n: $steps.l.last.j.n}}
    """)
    assert ran(world) == ["l#0/j", "l#1/j", "z"]
    assert world.outputs() == {"n": 1}


@pytest.mark.parametrize(("v", "taken"), [(2, "hot"), (0, "cold"), (None, "unsure")])
def test_a_decision_takes_one_of_its_paths(v: int | None, taken: str) -> None:
    world = run(
        """
        {id: d, decision: {condition: $inputs.v > 1, true_path: [hot], false_path: [cold], default_path: [unsure]}}
        {id: hot, agent: k, action: echo, inputs: {at: hot}}
        {id: cold, agent: k, action: echo, inputs: {at: cold}}
        {id: unsure, agent: k, action: echo, inputs: {at: unsure}}
        {id: z, agent: k, action: echo, inputs: {at: "${{ default($steps.hot.at, default($steps.cold.at, 'neither')) }}"}}
        """,
        {"v": v},
    )
    assert ran(world) == [taken, "z"]
    assert world.outputs() == {"at": taken if taken != "unsure" else "neither"}


def test_a_path_runs_in_the_order_in_which_it_is_written() -> None:
    world = run("""
        {id: d, decision: {condition: 'true', true_path: [second, first]}}
        {id: first, agent: k, action: echo, inputs: {v: "${{ $steps.second.v + 1 }}"}}
        {id: second, agent: k, action: echo, inputs: {v: 1}}
        {id: z, agent: k, action: echo, inputs: {v: $steps.first.v}}
    """)
    assert ran(world) == ["second", "first", "z"]
    assert world.outputs() == {"v": 2}


def test_spellings_beside_the_steps_run_as_the_forms_that_they_are() -> None:
    world = run(
        """
        {id: review, agent: k, action: score, inputs: {v: 0.95}, outputs: {score: score}}
        {id: legal, agent: k, action: echo, inputs: {ok: true}}
        {id: publish, agent: k, action: echo, inputs: {s: $steps.review.score}}
        {id: rework, agent: k, action: echo, inputs: {s: 0}}
        """,
        more=(
            "  parallel_groups: [{id: checks, steps: [review, legal], max_concurrency: 2}]\n"
            "  synchronization_points: [{id: checked, wait_for: [checks]}]\n"
            "  decision_points: [{id: fork, condition: $steps.review.score > 0.9, true_path: [publish], false_path: [rework]}]\n"
            "  dependencies: {loop: [checked]}\n"
            "  conditions: {loop: $steps.legal.ok}\n"
            "  loop_body: [{id: poll, agent: k, action: echo, inputs: {n: $loop.index}}]\n"
            "  loop_condition: $loop.index == 0 or $loop.previous.poll.n < 1\n"
            "  max_iterations: 10\n"
            "  outputs: [{name: s, value: $steps.publish.s}, {name: turns, value: '${{ len($steps.loop.iterations) }}'}]\n"
        ),
    )
    assert ran(world) == ["checks/review", "checks/legal", "publish", "loop#0/poll", "loop#1/poll"]
    assert world.outputs() == {"s": 0.95, "turns": 2}


def test_paths_of_steps_are_keys_of_what_they_are_nested_in() -> None:
    world = run(
        """
        {id: d, decision: {condition: 'true', true_path: [each]}}
        {id: each, for_each: {in: $inputs.xs, as: x, steps: [{id: l, loop: {max_iterations: 2, body: [{id: i, agent: k, action: echo, inputs: {v: $x, n: $loop.index}}]}}]}}
        """,
        {"xs": ["p", "q"]},
    )
    assert sorted(ran(world)) == ["each[0]/l#0/i", "each[0]/l#1/i", "each[1]/l#0/i", "each[1]/l#1/i"]


def test_members_of_a_group_see_one_another_and_are_seen_through_it() -> None:
    world = run("""
        {id: g, parallel_group: {steps: [{id: a, agent: k, action: echo, inputs: {v: 1}}, {id: b, agent: k, action: echo, inputs: {v: "${{ $steps.a.v + 1 }}"}}]}}
        {id: z, agent: k, action: echo, inputs: {a: $steps.g.a.v, b: $steps.g.b.v}}
    """)
    assert ran(world) == ["g/a", "g/b", "z"]
    assert world.outputs() == {"a": 1, "b": 2}


def test_variables_are_seen_from_the_next_step_on() -> None:
    world = run(
        """
        {id: s, set: {v: "${{ $vars.v + 1 }}"}}
        {id: z, agent: k, action: echo, inputs: {v: $vars.v, word: $vars.word}}
        """,
        more='  variables: {v: 1, word: "$$5"}\n',
    )
    assert world.outputs() == {"v": 2, "word": "$5"}


def test_a_step_that_ran_on_demand_in_no_path_is_never_run() -> None:
    world = run("""
        {id: a, agent: k, action: echo, on_demand: true, inputs: {v: 1}}
        {id: b, agent: k, action: echo, inputs: {v: "${{ default($steps.a.v, 2) }}"}}
    """)
    assert ran(world) == ["b"]


def test_parallel_order_runs_by_edges_alone() -> None:
    world = run(
        """
        {id: last, agent: k, action: echo, inputs: {v: $steps.first.v}}
        {id: first, agent: k, action: echo, inputs: {v: 1}}
        """,
        more="  execution_order: parallel\n",
    )
    assert ran(world) == ["first", "last"]


def test_a_skipped_step_hands_on_what_it_would_have_been_given() -> None:
    world = run("""
        {id: a, agent: k, action: echo, inputs: {v: 3}}
        {id: b, agent: k, action: echo, when: 'false'}
        {id: c, agent: k, action: score}
    """)
    assert ran(world) == ["a", "c"]
    assert world.outputs() == {"score": 3}


@pytest.mark.parametrize(
    "paths", ["true_path: [hot]", "true_path: [hot], false_path: []", "false_path: [], default_path: [hot]"]
)
def test_a_decision_whose_taken_path_is_empty_runs_nothing(paths: str) -> None:
    world = run(
        f"""
        {{id: d, decision: {{condition: "$inputs.v > 1", {paths}}}}}
        {{id: hot, agent: k, action: echo, inputs: {{n: 1}}}}
        {{id: end, agent: k, action: echo, inputs: {{n: 2}}}}
    """,
        {"v": 0},
    )
    assert ran(world) == ["end"]
    assert world.outputs() == {"n": 2}


def test_a_step_outside_reads_what_a_decision_inside_a_path_ran() -> None:
    world = run("""
        {id: outer, decision: {condition: 'true', true_path: [inner]}}
        {id: inner, decision: {condition: 'true', true_path: [deep], false_path: [other]}}
        {id: deep, agent: k, action: echo, inputs: {n: 5}}
        {id: other, agent: k, action: echo, inputs: {n: 6}}
        {id: end, agent: k, action: echo, inputs: {n: $steps.deep.n}}
    """)
    assert ran(world) == ["deep", "end"]
    assert world.outputs() == {"n": 5}


def test_a_decision_may_not_name_a_step_that_is_next_on_another_path() -> None:
    world = run("""
        {id: outer, decision: {condition: 'true', true_path: [inner, deep]}}
        {id: inner, decision: {condition: 'true', true_path: [deep]}}
        {id: deep, agent: k, action: echo, inputs: {n: 5}}
    """)
    assert world.status() == "failed"
    (end,) = world.named(ev.RunFailed)
    assert "true_path names deep, which has run already or is next on another path" in end.error["message"]


def test_a_loop_of_no_turns_is_an_end_like_others() -> None:
    world = run("""
        {id: l, loop: {max_iterations: 3, loop_condition: 'false', body: [{id: i, agent: k, action: echo, inputs: {n: 1}}]}}
    """)
    assert world.outputs() == {"iterations": []}


def test_a_decision_holds_no_place_of_a_group_while_its_path_runs() -> None:
    world = run("""
        {id: g, parallel_group: {max_concurrency: 1, steps: [{id: d, decision: {condition: 'true', true_path: [a]}}, {id: a, agent: k, action: echo, inputs: {n: 1}}, {id: b, agent: k, action: echo, inputs: {n: 2}}]}}
        {id: end, agent: k, action: echo, inputs: {n: $steps.g.a.n}}
    """)
    assert sorted(ran(world)) == ["end", "g/a", "g/b"]
    assert world.outputs() == {"n": 1}


def test_a_decision_waits_for_what_the_steps_of_its_paths_read() -> None:
    world = run(
        """
        {id: slow, agent: k, action: echo, inputs: {n: 5}}
        {id: outer, decision: {condition: 'true', true_path: [inner]}}
        {id: inner, decision: {condition: 'true', true_path: [deep]}}
        {id: deep, agent: k, action: echo, inputs: {n: $steps.slow.n}}
        """,
        more="  execution_order: parallel\n",
    )
    assert ran(world) == ["slow", "deep"]
    assert world.status() == "completed"

"""A master leases the tasks of a step to the processes of a pool: once each, in order, whatever dies."""

import time
from typing import Any

import pytest

from coordination.assignment import Assignment, GivenUp, Leased, LeaseLost
from coordination.invariants.assignment import INVARIANTS
from coordination.registered import ASSIGNMENT
from kos_runtime.core import machine
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.invocation import Outcome
from kos_runtime.core.machine import Began, Step, Trace, Transition, violations
from kos_runtime.core.plan.link import ActionLink, AgentLink, Link
from kos_runtime.core.plan.model import Plan
from kos_runtime.core.terms import fact_unwritten, unwritten
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.snapshot import to_plain
from kos_runtime.definition import WorkflowDocument, compile_workflow, load
from kos_runtime.engine import messages as msg

from .world import CODEC, HANGS, Fails, World, link_for, restored, spread_over, state_of


@pytest.fixture(autouse=True)
def _leases() -> None:
    machine.make_known("assignment", lambda: ASSIGNMENT)


def compiled(settings: str = "", *, replicas: int = 3, more: str = "", rest: str = "") -> Plan:
    text = f"""
workflow:
  id: w
  inputs: [{{name: items, type: array}}]
  outputs: [{{name: got, value: $steps.gather.y}}]
  agents: {{gatherers: {{agent: k, replicas: {replicas}}}}}
  steps:
    - id: gather
      coordination: {{pattern: master_slave, workers: gatherers, tasks: $inputs.items, as: task{settings}}}
      action: square
      inputs: {{v: $task}}
      outputs: {{y: y}}
      {more}
  {rest}
"""
    document = load(text, "w.yaml")
    assert isinstance(document, WorkflowDocument)
    made, _ = compile_workflow(document)
    assert made.requires == ()
    return made


def linked(actions: dict[str, Any], replicas: int = 3, **marks: ActionLink) -> Link:
    found = link_for(actions, **marks)
    gatherers = AgentLink(
        kind="k", target="tests:k", pool="gatherers", most=replicas, actions=found.agents["k"].actions
    )
    return Link(agents={**found.agents, "gatherers": gatherers})


def square(invocation: Any, v: int) -> dict[str, int]:
    del invocation
    return {"y": v * v}


SQUARE = {"square": square}
#: How much a worker may have at hand is a note, which the log does not hold.
STORED = {name: check for name, check in INVARIANTS.items() if name != "L6 at hand"}


def facts_of(world: World, run: str = "r") -> list[Any]:
    return [
        fact_unwritten(label, values)
        for event in world.named(ev.MachineDecided, run)
        for label, values in CODEC.unpack(event.facts)
    ]


def violated(world: World, run: str = "r") -> list[str]:
    """Ask the protocol's own invariants of what the log holds."""
    opened = world.named(ev.MachineOpened, run)
    setup = unwritten(opened[-1].setup)
    assert isinstance(setup, Assignment)
    steps = [
        Step(0, event.node, 1, Began(1), Transition([fact_unwritten(*fact) for fact in CODEC.unpack(event.facts)]))
        for event in world.named(ev.MachineDecided, run)
    ]
    return violations(Trace(setup, steps), STORED)


@pytest.mark.parametrize("count", [0, 1, 7, 300])
def test_every_task_is_done_once_and_they_come_back_in_order(count: int) -> None:
    world = World(SQUARE, hands=2).run(compiled(), {"items": list(range(count))}, link=linked(SQUARE))
    assert world.outputs() == {"got": [v * v for v in range(count)]}
    assert len(world.executed) == count
    if count:
        assert violated(world) == []
        assert {event.agent for event in world.named(ev.StepScheduled)} <= {"k-1", "k-2", "k-3"}


def test_as_completed_gives_them_as_they_came() -> None:
    def late(invocation: Any, v: int) -> Any:
        if v == 0 and invocation.attempt == 1:
            raise Fails(ErrorType.TRANSIENT)
        return {"y": v}

    actions = {"square": late}
    world = World(actions, hands=1).run(
        compiled(", aggregate: as_completed", replicas=1), {"items": [0, 1, 2]}, link=linked(actions, 1)
    )
    assert world.outputs() == {"got": [1, 2, 0]}


def test_a_task_that_fails_is_tried_again_as_its_policy_says_and_given_up_when_nothing_helps() -> None:
    tried: list[int] = []

    def flaky(invocation: Any, v: int) -> Any:
        tried.append(v)
        if v == 3 or (v == 1 and tried.count(1) < 3):
            raise Fails(ErrorType.TRANSIENT)
        return {"y": v}

    actions = {"square": flaky}
    world = World(actions).run(
        compiled(", on_item_failure: collect", more="retry: {max_retries: 2}"), {"items": [0, 1, 2, 3]},
        link=linked(actions),
    )  # fmt: skip
    assert world.outputs() == {"got": [0, 1, 2]}
    assert (tried.count(1), tried.count(3)) == (3, 3)
    facts = facts_of(world)
    assert [fact.task for fact in facts if isinstance(fact, GivenUp)] == [3]
    assert len([fact for fact in facts if isinstance(fact, Leased)]) == 8
    assert violated(world) == []
    assert len(world.named(ev.RetryScheduled)) == 4


def test_one_that_fails_for_good_fails_the_step_unless_told_otherwise() -> None:
    def bad(invocation: Any, v: int) -> Any:
        if v == 2:
            raise Fails(ErrorType.PERMANENT, "no", recoverable=False)
        return {"y": v}

    actions = {"square": bad}
    world = World(actions).run(compiled(), {"items": list(range(9))}, link=linked(actions))
    assert world.status() == "failed"
    assert "item 2 failed: no" in world.named(ev.StepGaveUp)[-1].error["message"]


def test_a_fallback_stands_in_for_one_task() -> None:
    def bad(invocation: Any, v: int) -> Any:
        if v == 2:
            raise Fails(ErrorType.PERMANENT, "no", recoverable=False)
        return {"y": v}

    actions = {"square": bad, "guess": lambda _, v: {"y": -v}}
    rest = "error_handling: [{step: gather, on_failure: fallback, fallback: guess}]"
    world = World(actions).run(compiled(rest=rest), {"items": [1, 2, 3]}, link=linked(actions))
    assert world.outputs() == {"got": [1, -2, 3]}
    assert violated(world) == []


def test_what_a_worker_had_that_died_is_with_others_and_is_done_once() -> None:
    def work(invocation: Any, v: int) -> Any:
        return HANGS if v < 2 and invocation.attempt == 1 and len(world.executed) <= 2 else {"y": v * v}

    actions = {"square": work}
    world = World(actions, hands=2)
    world.create(compiled(), {"items": list(range(40))}, link=linked(actions))
    for _ in range(1_000):
        world.virtual.step()
    assert len(world.named(ev.StepCompleted)) == 38
    world.virtual.put(msg.ProcessDown("k-1", "SIGKILL"))
    world.virtual.run_until_idle()
    assert world.outputs() == {"got": [v * v for v in range(40)]}
    lost = [fact for fact in facts_of(world) if isinstance(fact, LeaseLost)]
    assert [(fact.task, fact.why, fact.strike) for fact in lost] == [
        (0, "worker_lost", True),
        (1, "worker_lost", False),
    ]
    assert [event.cause for event in world.named(ev.StepRedispatched)] == ["SIGKILL", "SIGKILL"]
    assert violated(world) == []


@pytest.mark.parametrize("first_ends", [False, True])
def test_a_straggler_is_done_twice_and_the_first_result_counts(*, first_ends: bool) -> None:
    keys: list[str] = []

    def work(invocation: Any, v: int) -> Any:
        if v == 7:
            keys.append(invocation.key)
            if not invocation.path.endswith("+") or first_ends:
                return HANGS
        return {"y": v}

    actions = {"square": work}
    world = World(actions, hands=1)
    plan = compiled(", speculate: true", more="idempotent: true")
    world.create(plan, {"items": list(range(8))}, link=linked(actions))
    for _ in range(100):
        world.virtual.step()
        live = world.host.partition.runs.get("r")
        if live is not None and "gather[7]+" in live.open and first_ends:
            break
        world.clock.advance_to(world.clock.now() + 500)
        if world.status() == "completed":
            break
    if first_ends:
        live = world.host.partition.runs["r"]
        assert "gather[7]+" in live.open
        assert to_plain(world.folded()) == to_plain(live)
        assert state_of(restored(world, live)) == state_of(live)
        step = live.steps["gather[7]"]
        world.virtual.put(
            msg.Outcomes(
                step.agent, [Outcome("r", step.path, step.fence, exposed=CODEC.pack({"y": 70}), duration_ms=1.0)]
            )
        )
        world.virtual.run_until_idle()
    assert world.outputs() == {"got": [*range(7), 70 if first_ends else 7]}
    assert keys[0] == keys[1], "the same work has the same key"
    assert violated(world) == []
    assert len(world.named(ev.SpareWon)) == (not first_ends)
    assert [path for path, _ in world.cancelled] == ["gather[7]+" if first_ends else "gather[7]"]


def test_killed_while_a_straggler_is_done_twice_it_is_done() -> None:
    ended: list[bool] = []
    actions = {"square": lambda _, v: HANGS if v == 7 and not ended else {"y": v}}
    world = World(actions, hands=1)
    plan = compiled(", speculate: true", more="idempotent: true")
    world.create(plan, {"items": list(range(8))}, link=linked(actions))
    while not world.named(ev.SpareStarted):
        world.virtual.step()
        world.clock.advance_to(world.clock.now() + 500)
    ended.append(True)
    again = world.crash()
    again.virtual.run_until_idle()
    assert again.outputs() == {"got": list(range(8))}
    assert violated(again) == []


def test_a_worker_that_died_with_empty_hands_is_given_nothing() -> None:
    def work(invocation: Any, v: int) -> Any:
        return (
            HANGS
            if v == 3 and invocation.attempt == 1 and "k-4" not in str(world.host.partition.pools.processes)
            else {"y": v}
        )

    actions = {"square": work}
    world = World(actions, hands=1)
    world.create(compiled(more="retry: {max_retries: 1}"), {"items": [0, 1, 2, 3]}, link=linked(actions))
    for _ in range(200):
        world.virtual.step()
    assert len(world.named(ev.StepCompleted)) == 3
    busy = next(p.name for p in world.host.partition.pools.processes.values() if p.holds)
    idle = [name for name in world.host.partition.pools.processes if name != busy]
    for name in idle:
        world.virtual.put(msg.ProcessDown(name, "SIGKILL"))
    world.virtual.step()
    world.virtual.put(msg.ProcessDown(busy, "SIGKILL"))
    world.virtual.run_until_idle()
    assert world.outputs() == {"got": [0, 1, 2, 3]}
    assert violated(world) == []


def test_killed_after_every_commit_every_task_is_done_and_none_that_was_recorded_again() -> None:
    items = {"items": list(range(5))}
    whole = World(SQUARE, hands=1).run(compiled(replicas=2), items, link=linked(SQUARE, 2))
    commits = len(whole.store.appended)  # type: ignore[attr-defined]
    for cut in range(1, commits):
        world = World(SQUARE, hands=1)
        world.create(compiled(replicas=2), items, link=linked(SQUARE, 2))
        while len(world.store.appended) < cut:  # type: ignore[attr-defined]
            world.virtual.step()
        done = {event.path for event in world.named(ev.StepCompleted)}
        again = world.crash()
        again.virtual.run_until_idle()
        assert again.outputs() == {"got": [0, 1, 4, 9, 16]}, cut
        assert done.isdisjoint(path for path, *_ in again.executed), cut
        assert violated(again) == [], cut


def test_folded_or_through_a_snapshot_it_is_as_the_live_one() -> None:
    actions = {"square": lambda _, v: {"y": v} if v < 7 else HANGS}
    world = World(actions, hands=1)
    world.create(compiled(), {"items": list(range(20))}, link=linked(actions))
    while len(world.named(ev.StepCompleted)) < 7:
        world.virtual.step()
    live = world.host.partition.runs["r"]
    assert to_plain(world.folded()) == to_plain(live)
    copy = restored(world, live)
    assert state_of(copy) == state_of(live)


def test_an_action_that_is_spread_is_given_slices_of_one() -> None:
    def gather(invocation: Any, plan: list[int]) -> dict[str, list[int]]:
        assert len(plan) == 1
        return {"data": [value + 1 for value in plan]}

    actions = {"gather": gather}
    text = """
workflow:
  id: w
  inputs: [{name: items, type: array}]
  outputs: [{name: got, value: $steps.spread.d}]
  agents: {gatherers: {agent: k, replicas: 3}}
  steps:
    - {id: spread, coordination: {pattern: master_slave, workers: gatherers}, action: gather, inputs: {plan: $inputs.items}, outputs: {d: data}}
"""
    document = load(text, "w.yaml")
    assert isinstance(document, WorkflowDocument)
    made, _ = compile_workflow(document)
    link = linked(actions, gather=spread_over("plan", "data"))
    world = World(actions).run(made, {"items": list(range(6))}, link=link)
    assert world.outputs() == {"got": [1, 2, 3, 4, 5, 6]}
    assert violated(world) == []


def test_without_who_leases_the_step_fails_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_KNOWN", {})
    monkeypatch.setattr(machine, "_FINDERS", [])
    world = World(SQUARE).run(compiled(), {"items": [1]}, link=linked(SQUARE))
    assert "no machine 'assignment' is installed here" in world.named(ev.StepGaveUp)[0].error["message"]


def test_ten_thousand_tasks_cost_each_what_a_thousand_do() -> None:
    """Bounded memory and constant work: the master's state has only what is open, and no task is looked at twice."""

    def cost(count: int) -> float:
        begin = time.process_time()
        World(SQUARE, hands=8).run(compiled(), {"items": [1] * count}, link=linked(SQUARE))
        return (time.process_time() - begin) / count

    assert cost(4_000) < 2.5 * cost(1_000)

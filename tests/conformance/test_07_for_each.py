"""Row 7, ``for_each``: 0, 1 and 10,000 items, the three failure policies, a crash at half, results whatever the order.

It catches: results that stand in the order in which they came; items beside one that failed that go on under fail_fast;
a quorum that is rounded down.
"""

import random
from typing import Any

import pytest

from kos_runtime.adapters.event_store.memory import MemoryEventStore
from kos_runtime.adapters.event_store.memory_log import MemoryLog
from kos_runtime.composition.machines import make_installed_known
from kos_runtime.core.workflow import events as ev
from kos_runtime.definition import WorkflowDocument, compile_workflow, load
from kos_runtime.engine import messages as msg
from tests.conformance.hosts import Host, workflow
from tests.engine.world import HANGS, World, restored, state_of

STEPS = """
- id: each
  for_each: {in: $inputs.items, max_concurrency: 4, on_item_failure: POLICY}
  agent: crew
  action: pick
  inputs: {value: $item}
  outputs: {values: value}
  retry: {max_retries: 0}
- {id: last, agent: crew, action: note, inputs: {value: $steps.each.values}, outputs: {value: value}}
"""
HALF = """
- id: each
  for_each:
    in: $inputs.items
    max_concurrency: 10
    steps:
      - {id: first, agent: crew, action: note, inputs: {value: $item}}
      - {id: second, agent: crew, action: hold, when: $item >= 4, inputs: {value: $item}}
  outputs: {values: first.value}
- {id: last, agent: crew, action: note, inputs: {value: $steps.each.values}, outputs: {value: value}}
"""
MANY = """
workflow:
  id: many
  steps:
    - id: each
      for_each: {in: $inputs.items, max_concurrency: WINDOW}
      agent: k
      action: twice
      inputs: {n: $item}
      outputs: {ns: n}
"""


#: The same items as tasks of a master.
MASTERED = STEPS.replace(
    """  for_each: {in: $inputs.items, max_concurrency: 4, on_item_failure: POLICY}
  agent: crew
""",
    "  coordination: {pattern: master_slave, workers: crew, tasks: $inputs.items, as: item, on_item_failure: POLICY}\n",
)


def text(policy: str = "fail_fast", steps: str = STEPS) -> str:
    make_installed_known()
    return workflow(steps.replace("POLICY", policy))


def joined(host: Host, run: str) -> tuple[int, int]:
    (end,) = [event for event in host.events(run) if isinstance(event, ev.ItemsJoined)]
    return end.succeeded, end.failed


@pytest.mark.parametrize("steps", [STEPS, MASTERED], ids=["for_each", "master"])
@pytest.mark.parametrize("items", [[], [3], [3, 1, 2, 0, 5, 4]])
def test_the_results_are_those_of_the_items_in_their_order(host: Host, items: list[int], steps: str) -> None:
    run = host.start(text(steps=steps), items=items)
    assert host.finish(run).outputs == {"value": items}
    assert joined(host, run) == (len(items), 0)
    assert sorted(host.executed(run)) == sorted([*(f"each[{i}]" for i in range(len(items))), "last"])
    assert host.violations(run) == []


@pytest.mark.parametrize(
    ("policy", "items", "values"),
    [
        ("fail_fast", [1, -1, *range(2, 40)], None),
        ("collect", [1, -1, 2, -2, 3], [1, 2, 3]),
        ("collect", [-1, -2], []),
        ("{quorum: 0.5}", [1, -1, 2, -2, 3], [1, 2, 3]),
        ("{quorum: 0.5}", [1, -1, 2, -2, -3], None),
        ("{quorum: 1.0}", [1, -1], None),
    ],
)
def test_what_a_failed_item_does_to_the_others_is_what_the_policy_says(
    host: Host, policy: str, items: list[int], values: list[int] | None
) -> None:
    run = host.start(text(policy), items=items)
    ended = host.finish(run)
    if values is None:
        assert (ended.status, ended.error["type"]) == ("failed", "permanent")
        assert "picked -" in ended.error["message"]
        assert "last" not in host.executed(run)
    else:
        assert ended.outputs == {"value": values}
        assert joined(host, run) == (len(values), len(items) - len(values))
    if policy == "fail_fast":
        # It failed as the second; of those behind the window none was begun.
        assert len(host.executed(run)) < len(items) // 2
    assert host.violations(run) == []


@pytest.mark.parametrize(
    ("policy", "values"),
    [("fail_fast", None), ("collect", [1, 2, 3]), ("{quorum: 0.8}", None), ("{quorum: 0.6}", [1, 2, 3])],
)
def test_so_it_does_to_the_other_tasks_of_a_master(host: Host, policy: str, values: list[int] | None) -> None:
    run = host.start(text(policy, MASTERED), items=[1, -1, 2, -2, 3])
    ended = host.finish(run)
    if values is None:
        assert (ended.status, ended.error["type"]) == ("failed", "permanent")
        assert "picked -" in ended.error["message"]
    else:
        assert ended.outputs == {"value": values}
        assert joined(host, run) == (3, 2)
    assert host.violations(run) == []


def test_tasks_of_a_master_that_were_over_stay_so_after_a_crash_at_half(host: Host) -> None:
    steps = MASTERED.replace("pick", "hold").replace("POLICY", "fail_fast")
    run = host.start(workflow(steps), items=[0, 1])
    host.until(run, "each[0]")
    host.crash(run)
    host.open_gate()
    assert host.finish(run).outputs == {"value": [0, 1]}
    assert host.violations(run) == []


def test_items_that_were_over_stay_so_and_the_others_go_on_after_a_crash_at_half(host: Host) -> None:
    run = host.start(workflow(HALF), items=list(range(8)))
    for item in range(4, 8):
        host.until(run, f"each[{item}]/second")
    host.crash(run)
    host.open_gate()
    assert host.finish(run).outputs == {"value": list(range(8))}
    executed = host.executed(run)
    assert [executed.count(f"each[{item}]/first") for item in range(8)] == [1] * 8
    assert [executed.count(f"each[{item}]/second") for item in range(8)] == [0] * 4 + [2] * 4
    assert host.violations(run) == []


def many(actions: dict[str, Any], items: list[int], *, window: int) -> World:
    document = load(MANY.replace("WINDOW", str(window)), "many.yaml")
    assert isinstance(document, WorkflowDocument)
    world = World(actions, store=MemoryEventStore(MemoryLog("store")), hands=window)
    world.create(compile_workflow(document)[0], {"items": items})
    return world


def test_ten_thousand_items_and_a_crash_at_half() -> None:
    items = list(range(10_000))
    seen: list[int] = []

    def twice(_: Any, n: int) -> Any:
        seen.append(n)
        return {"n": 2 * n} if len(seen) <= 5_000 or stopped else HANGS

    stopped = False
    world = many({"twice": twice}, items, window=500)
    while world.virtual.step():
        pass
    assert len(world.named(ev.StepCompleted)) == 5_000
    stopped = True
    again = world.crash()
    again.virtual.run_until_idle()
    assert again.outputs() == {"ns": [2 * n for n in items]}
    over = set(seen[:5_000])
    assert not over & set(seen[5_500:]), "what was over was not done again"
    state = again.folded()
    assert state_of(restored(again, state)) == state_of(state)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_order_in_which_items_end_the_results_are_the_same(seed: int) -> None:
    items, held = list(range(60)), list[Any]()

    def twice(invocation: Any, n: int) -> Any:
        held.append((invocation, {"n": 2 * n}))
        return HANGS

    world = many({"twice": twice}, items, window=17)
    chance = random.Random(seed)
    while world.status() == "running":
        while world.virtual.step():
            pass
        chance.shuffle(held)
        for invocation, result in [held.pop() for _ in range(min(len(held), chance.randint(1, 17)))]:
            process = world.host.partition.runs["r"].steps[invocation.path].agent
            world.virtual.put(msg.Outcomes(process, [world._outcome(invocation, result)]))
    assert world.outputs() == {"ns": [2 * n for n in items]}

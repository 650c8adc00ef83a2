"""Who gets hands: turns, suspects that must run alone, and pools that cannot grow."""

from collections.abc import Sequence
from typing import Any

import pytest

from kos_runtime.core.invocation import Invocation
from kos_runtime.core.plan.link import ActionLink, AgentLink
from kos_runtime.core.plan.model import ForEach, Step
from kos_runtime.engine.limits import Limits
from kos_runtime.engine.pools import Pool, Pools

from .world import ScriptedRunner, World, link_for, plan


def pools(*processes: str, most: int = 4) -> tuple[Pools, Pool]:
    made = Pools(Limits())
    pool = made.know(AgentLink(kind="k", target="m:k", pool="k", most=most))
    for name in processes:
        made.up(name, "k", 2)
    return made, pool


def test_a_suspect_waits_for_a_process_that_holds_nothing_and_gets_the_one_kept_for_it() -> None:
    made, pool = pools("k-1")
    made.held(made.processes["k-1"], ("busy", "a", 1), 0)
    assert not made.has_room("k", "suspect", "s", alone=True)
    # A hand is free, but it is kept.
    assert not made.has_room("k", "other", "o")
    assert made.next_in_turn(pool) is None
    made.released(made.processes["k-1"], ("busy", "a", 1))
    assert made.next_in_turn(pool) == ("suspect", "s")
    made.granting = True
    assert made.has_room("k", "suspect", "s", alone=True)
    assert made.take("suspect", "s", 1, 0, alone=True) == "k-1"


def test_a_process_is_not_kept_for_who_no_longer_waits() -> None:
    made, pool = pools("k-1")
    made.held(made.processes["k-1"], ("busy", "a", 1), 0)
    assert not made.has_room("k", "suspect", "s", alone=True)
    assert pool.reserved == "k-1"
    made.released(made.processes["k-1"], ("busy", "a", 1))
    assert made.next_in_turn(pool) == ("suspect", "s")
    assert made.has_room("k", "other", "o")


def test_a_pool_that_could_not_grow_asks_again_only_after_a_process_is_gone() -> None:
    made, pool = pools("k-1", "k-2")
    pool.waiting.add(("r", "p"))
    assert made.wants_process(pool)
    pool.failed = "no room"
    assert not made.wants_process(pool)
    made.down("k-2")
    assert made.wants_process(pool)


def test_a_closed_pool_gives_nothing_out_and_is_empty_when_what_it_holds_has_ended() -> None:
    made, pool = pools("k-1")
    made.held(made.processes["k-1"], ("busy", "a", 1), 0)
    made.closed = True
    assert not made.has_room("k", "other", "o")
    assert made.next_in_turn(pool) is None
    assert not made.wants_process(pool)
    assert not made.are_empty()
    made.released(made.processes["k-1"], ("busy", "a", 1))
    assert made.are_empty()


def test_a_hand_whose_body_runs_on_after_its_timeout_takes_nothing() -> None:
    made, pool = pools("k-1")
    process = made.processes["k-1"]
    made.measured(process, [0.01])
    assert process.room > process.hands
    process.stuck = 1
    assert not made.has_room("k", "suspect", "s", alone=True)
    assert made.next_in_turn(pool) is None
    pool.waiting.clear()
    pool.queue.clear()
    assert made.has_room("k", "r", "a")
    made.take("r", "a", 1, 0)
    assert not made.has_room("k", "r", "b"), "the other of its two hands has something already"
    assert made.wants_process(pool)
    process.stuck = 0
    assert made.next_in_turn(pool) == ("r", "b")


def test_a_process_holds_short_work_by_the_hundred_and_long_work_by_the_hand() -> None:
    room = []
    for mean in (0.05, 0.5, 1.0, 10.0, 1_000.0):
        made, _ = pools("k-1")
        made.measured(made.processes["k-1"], [mean])
        room.append(made.processes["k-1"].room)
    assert room == [2_048, 800, 400, 4, 2]


def test_a_dispatch_is_overdue_once_after_its_timeout_and_the_grace() -> None:
    made, _ = pools("k-1")
    process = made.processes["k-1"]
    made.now = 1_000
    made.held(process, ("r", "slow", 1), 500)
    made.held(process, ("r", "endless", 1), 0)
    due = 1_500 + made.limits.grace_ms
    assert made.overdue_at == due
    made.now = due - 1
    assert made.overdue() == []
    made.now = due
    assert made.overdue() == [(process, ("r", "slow", 1))]
    assert made.overdue() == []
    assert process.holds.keys() == {("r", "slow", 1), ("r", "endless", 1)}


def test_an_isolated_action_has_a_process_for_itself_and_others_share_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    together: list[list[str]] = []
    run_batch = ScriptedRunner.run_batch

    def watched(self: ScriptedRunner, invocations: Sequence[Invocation], wait_ms: float = 5.0) -> Any:
        together.append([invocation.action for invocation in invocations])
        return run_batch(self, invocations, wait_ms)

    monkeypatch.setattr(ScriptedRunner, "run_batch", watched)
    world = World({"alone": lambda _, **given: {}, "shared": lambda _, **given: {}})
    link = link_for(world.actions, alone=ActionLink(takes_any=True, isolated=True))
    alone = Step(id="f", form=ForEach(items="$inputs.xs", agent="k", action="alone"))
    shared = Step(id="g", form=ForEach(items="$inputs.xs", agent="k", action="shared"))
    world.create(plan(alone, shared), {"xs": list(range(12))}, link=link, start=True)
    world.virtual.run_until_idle()
    assert world.status() == "completed"
    assert [batch for batch in together if "alone" in batch] == [["alone"]] * 12
    assert any(len(batch) > 1 for batch in together)


def test_an_isolated_action_gets_a_process_although_others_never_pause() -> None:
    made, pool = pools("k-1", "k-2", most=2)
    for name in ("k-1", "k-2"):
        made.held(made.processes[name], ("busy", name, 1), 0)
    assert not made.has_room("k", "r", "isolated", alone=True)
    kept = pool.reserved
    other = "k-2" if kept == "k-1" else "k-1"
    assert made.has_room("k", "busy", "more") is False, "who waits is first in turn"
    made.released(made.processes[kept], ("busy", kept, 1))
    assert made.next_in_turn(pool) == ("r", "isolated")
    made.granting = True
    assert made.has_room("k", "r", "isolated", alone=True)
    assert made.take("r", "isolated", 1, 0, alone=True) == kept
    assert made.next_in_turn(pool) == ("busy", "more")
    made.granting = True
    assert made.has_room("k", "busy", "more")
    assert made.take("busy", "more", 1, 0) == other

"""How much may start: in a pool, of a run, of a service; and which run goes first."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kos_runtime.composition.services import limit_of, settings_of
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.core.plan.link import AgentLink, Link
from kos_runtime.core.plan.model import Limit, Plan
from kos_runtime.core.plan.program import Program
from kos_runtime.core.projection.steps import RunView, fold
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import CancelRun, PauseRun, ResumeRun
from kos_runtime.engine import messages as msg
from kos_runtime.engine.gates import Gate
from kos_runtime.engine.limits import Limits

from .test_reusing import plan_of
from .test_waiting import pass_time, settle
from .world import HANGS, START, World, link_for

MINUTE = 60_000
FAN = "  steps: [{id: e, for_each: {in: $inputs.xs, as: x}, agent: p, action: work, inputs: {x: $x}}]\n"
LIMITED = "  agents: {p: {agent: k, %s}}\n"


def works(_: Any, **given: Any) -> dict[str, Any]:
    return {"y": given.get("x")}


def link_of(plan: Plan, **more: Any) -> Link:
    """Link the pool ``p`` as the linker would."""
    link = link_for({"work": works})
    said = plan.pools.get("p")
    limit = None
    if said is not None and (said.rate_starts or said.max_concurrency):
        limit = Limit(name="agents.p", most=said.max_concurrency, starts=said.rate_starts, per_ms=said.rate_per_ms)
    pool = replace(link.agents["k"], pool="p", limit=limit, **more)
    return replace(link, agents={**link.agents, "p": pool})


def begun(text: str, world: World, run: str = "r", **inputs: Any) -> World:
    plan = plan_of(text)
    world.create(plan, inputs, run=run, link=link_of(plan))
    settle(world)
    return world


def starts(world: World, run: str = "r") -> list[int]:
    """Return when each attempt was given out, in milliseconds since the beginning."""
    return [
        record.time - START
        for record in world.store.stream(f"run/{run}", limit=10_000)
        for name in record.names.split()
        if name.startswith("step_scheduled.")
    ]


def most_in(times: Sequence[int], span: int) -> int:
    return max((sum(1 for t in times if at <= t < at + span) for at in times), default=0)


# --- gates


@settings(max_examples=60)
@given(
    st.integers(1, 7), st.sampled_from([1_000, 60_000, 3_600_000]), st.lists(st.integers(0, 40_000), max_size=80), st.integers(0, 80)
)  # fmt: skip
def test_in_no_span_do_more_start_than_the_limit_says_and_a_restart_gives_none_back(
    most: int, per_ms: int, waits: list[int], restart: int
) -> None:
    gate = Gate("g", Limit(starts=most, per_ms=per_ms))
    now, taken = START, []
    for number, wait in enumerate(waits):
        now += wait
        if number == restart:
            gate = Gate("g", gate.limit, gate.to_plain()["taken"])
        if gate.shut(now, 0):
            at = gate.opens_at(now)
            assert now < at <= now + per_ms + per_ms // 60 + 1
        else:
            gate.take(now)
            taken.append(now)
    assert most_in(taken, per_ms) <= most


def test_a_bucket_remembers_few_instants_whatever_its_limit() -> None:
    gate = Gate("g", Limit(starts=1_000_000, per_ms=MINUTE))
    for now in range(0, MINUTE, 3):
        gate.take(now)
    assert len(gate.to_plain()["taken"]) <= 61


# --- pools


def test_a_pool_starts_so_many_in_a_time_and_a_run_that_waits_for_that_holds_nothing() -> None:
    world = begun(FAN + LIMITED % "rate_limit: 3/m", World({"work": works}), xs=list(range(7)))
    assert starts(world) == [0, 0, 0]
    pools = world.host.partition.pools
    assert all(not process.holds for process in pools.processes.values())
    assert len(pools.pools["p"].processes) == 1, "more hands would not help"
    pass_time(world, 4 * MINUTE)
    assert world.status() == "completed"
    assert len(starts(world)) == 7
    assert most_in(starts(world), MINUTE) == 3
    assert max(starts(world)) < 2 * MINUTE + 5_000


def test_runs_share_a_pool_that_is_limited_and_take_turns() -> None:
    world = World({"work": works})
    for run in ("a", "b"):
        begun(FAN + LIMITED % "rate_limit: 2/m", world, run, xs=[1, 2, 3])
    assert (len(starts(world, "a")), len(starts(world, "b"))) == (2, 0)
    pass_time(world, MINUTE + 2_000)
    assert (len(starts(world, "a")), len(starts(world, "b"))) == (3, 1)


def test_after_a_crash_no_more_start_than_the_limit_says() -> None:
    text = FAN + LIMITED % "rate_limit: 3/m"
    world = begun(text, World({"work": works}), xs=list(range(6)))
    pass_time(world, 20_000)
    again = world.crash()
    again.clock.advance_to(world.clock.now())
    settle(again)
    begun(text, again, "other", xs=[1])
    assert starts(again, "other") == []
    pass_time(again, 45_000)
    assert most_in(sorted(starts(again) + starts(again, "other")), MINUTE) == 3
    pass_time(again, 3 * MINUTE)
    assert (again.status(), again.status("other")) == ("completed", "completed")


def test_a_pool_runs_so_many_at_once_whatever_hands_it_has() -> None:
    world = begun(FAN + LIMITED % "max_concurrency: 2", World({"work": lambda *_, **__: HANGS}), xs=list(range(9)))
    assert len(world.executed) == 2
    assert world.named(ev.StepHeldBack)[0].limit == "agents.p: 2 at once"


def test_a_pool_that_is_limited_keeps_nobody_else_waiting() -> None:
    world = begun(FAN + LIMITED % "rate_limit: 1/h", World({"work": works}), "slow", xs=[1, 2])
    plan = plan_of(FAN.replace("agent: p", "agent: k"))
    world.create(plan, {"xs": [1, 2, 3]}, run="free")
    settle(world)
    assert world.status("free") == "completed"
    assert not world.named(ev.StepHeldBack, "free")


# --- runs


def test_a_run_starts_so_many_in_a_time_over_all_its_pools() -> None:
    text = (
        "  rate_limit: 2/m\n  execution_order: parallel\n  steps:\n"
        + "".join(f"    - {{id: s{n}, agent: {'kp'[n % 2]}, action: work, inputs: {{x: {n}}}}}\n" for n in range(5))
        + "  agents: {p: {agent: k}}\n"
    )  # fmt: skip
    world = begun(text, World({"work": works}))
    assert len(world.executed) == 2
    begun(FAN.replace("agent: p", "agent: k"), world, "other", xs=[1, 2, 3])
    assert world.status("other") == "completed"
    again = world.crash()
    again.clock.advance_to(world.clock.now() + 30_000)
    settle(again)
    assert again.executed == [], "a restart gives no tokens back"
    pass_time(again, 3 * MINUTE)
    assert again.status() == "completed"
    assert most_in(starts(again), MINUTE) == 2


def test_a_run_runs_so_many_at_once_and_the_next_starts_when_one_has_ended() -> None:
    text = "  max_concurrency: 2\n" + FAN.replace("agent: p", "agent: k")
    together: list[int] = []
    world = World({"work": works})
    run_of: Callable[[Invocation], Any] = world.execute

    def counted(invocation: Invocation) -> Any:
        together.append(len(world.host.partition.runs["r"].open))
        return run_of(invocation)

    world.execute = counted  # type: ignore[method-assign]
    begun(text, world, xs=list(range(7)))
    assert world.status() == "completed"
    assert (len(together), max(together)) == (7, 2)


def test_a_paused_run_that_waited_for_its_limit_goes_on_when_it_is_resumed() -> None:

    world = begun("  rate_limit: 1/m\n" + FAN.replace("agent: p", "agent: k"), World({"work": works}), xs=[1, 2])
    world.virtual.request(PauseRun(run="r", by="user:jr"), command_id="p")
    pass_time(world, 2 * MINUTE)
    assert len(starts(world)) == 1
    world.virtual.request(ResumeRun(run="r", by="user:jr"), command_id="q")
    settle(world)
    assert world.status() == "completed"


def test_what_is_known_of_a_run_that_is_over_is_forgotten_when_it_counts_no_more() -> None:
    world = begun("  rate_limit: 9/s\n" + FAN.replace("agent: p", "agent: k"), World({"work": works}), xs=[1])
    assert [row.name for row in world.store.limits()] == ["run/r"]
    pass_time(world, MINUTE)
    plan = plan_of("  steps: [{id: s, wait: {for: 1m}}, {id: t, agent: k, action: work, inputs: {x: 1}}]")
    world.create(plan, {}, run="later")
    pass_time(world, 2 * MINUTE)
    assert world.store.limits() == []
    assert world.host.partition.pools.gates == {}


# --- services


def test_a_service_with_a_limit_is_a_pool_with_that_limit() -> None:
    svc = {
        "url": "https://x",
        "capabilities": {"do": {"method": "GET", "path": "/"}},
        "rate_limit": "60/m",
        "max_concurrency": 3,
    }
    one = settings_of(["svc"], {"svc": svc})
    assert limit_of(["svc"], one) == Limit(name="services.svc", most=3, starts=60, per_ms=MINUTE)
    both = settings_of(["svc", "other"], {"svc": svc, "other": svc})
    assert limit_of(["svc", "other"], both) is None, "which of them it will be is known where they are asked"


def test_a_step_of_a_service_waits_for_its_token_and_is_seen_to() -> None:
    # The plan says nothing of a limit: it is the link's.
    plan = plan_of("  steps: [{id: a, agent: p, action: work, inputs: {x: $inputs.x}}]\n")
    limit = Limit(name="services.svc", starts=1, per_ms=MINUTE)
    world = World({"work": works})
    for run in ("a", "b"):
        world.create(plan, {"x": 1}, run=run, link=_limited(limit))
        settle(world)
    (held,) = world.named(ev.StepHeldBack, "b")
    assert (held.limit, held.due > world.clock.now()) == ("services.svc: 1 in 1m", True)
    pass_time(world, 2 * MINUTE)
    assert world.status("b") == "completed"


def _limited(limit: Limit) -> Link:
    link = link_for({"work": works})
    agent: AgentLink = replace(link.agents["k"], pool="svc", limit=limit)
    return replace(link, agents={**link.agents, "p": agent})


# --- what is seen


def test_whoever_looks_at_the_run_sees_what_it_waits_for() -> None:
    text = (
        "  steps: [{id: a, agent: p, action: work, inputs: {x: 1}}, {id: b, agent: p, action: work, inputs: {x: 2}}]\n"
    )
    world = begun(text + LIMITED % "rate_limit: 1/m", World({"work": works}))
    view = RunView("r")
    for seq, event in enumerate(world.events()):
        fold(view, event, 0, seq)
    assert (view.steps["b"].status, view.steps["b"].detail) == ("ready", "no more than agents.p: 1 in 1m")
    pass_time(world, 2 * MINUTE)
    assert len(world.named(ev.StepHeldBack)) == 1
    for seq, event in enumerate(world.events()):
        fold(view, event, 0, seq)
    assert (view.steps["b"].status, view.steps["b"].detail) == ("completed", "")


# --- priorities


def test_a_step_and_a_run_of_a_higher_priority_go_first() -> None:
    order: list[str] = []

    def noted(invocation: Invocation, **_: Any) -> Any:
        order.append(f"{invocation.run}.{invocation.path}")
        return HANGS

    # One hand, which is taken; everything else queues.
    world = World({"work": noted}, hands=1)
    for run, priority in (("busy", 0), ("low", -1), ("plain", 0), ("high", 3)):
        text = f"  priority: {priority}\n  execution_order: parallel\n  steps:\n" + "".join(
            f"    - {{id: {id}, agent: k, action: work, priority: {own}}}\n" for id, own in (("a", 0), ("b", 1))
        )
        world.create(plan_of(text), {}, run=run)
        settle(world)
    for _ in range(7):
        process = next(iter(world.host.partition.pools.processes.values()))
        (key,) = process.holds

        world.virtual.put(msg.Outcomes(process.name, [Outcome(*key, exposed=b"\x80", duration_ms=60_000.0)]))
        settle(world)
    assert order == ["busy.b", "high.b", "high.a", "plain.b", "busy.a", "low.b", "plain.a", "low.a"]


def test_runs_that_wait_for_a_place_are_admitted_by_priority_also_after_a_crash() -> None:
    world = World({"work": lambda *_, **__: HANGS}, limits=Limits(max_active_runs=1))
    text = "  priority: %d\n  steps: [{id: s, agent: k, action: work, inputs: {x: 1}}]"
    for run, priority in (("first", 0), ("low", -5), ("plain", 0), ("high", 5)):
        world.create(plan_of(text % priority), {}, run=run)
        settle(world)
    row = world.store.run("high")
    assert row is not None
    assert (row.status, row.waiting) == ("pending", "a place, priority 5")
    for end, crash in (("first", False), ("high", True), ("plain", False)):
        if crash:
            world = world.crash()
            world.clock.advance_to(START + MINUTE)
            settle(world)
        cancel = CancelRun(run=end, by="user:jr", reason="", grace_ms=0)
        world.virtual.request(cancel, command_id=f"c-{end}")
        pass_time(world, 1_000)
    assert {run: world.status(run) for run in ("first", "high", "plain", "low")} == {
        "first": "cancelled", "high": "cancelled", "plain": "cancelled", "low": "running",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", [FAN + LIMITED % "rate_limit: 5/s", "  priority: 1\n" + FAN, "  max_concurrency: 5\n" + FAN, FAN.replace("}}]", "}, priority: 2}]")]
)  # fmt: skip
def test_only_what_is_limited_or_has_a_priority_starts_with_ceremony(text: str) -> None:

    def ceremony(source: str) -> bool:
        return Program(plan_of(source), "").body.nodes["e"].names is None

    assert ceremony(text)
    assert not ceremony(FAN)
    assert not ceremony(FAN + "  agents: {p: {agent: k, replicas: 3}}\n")

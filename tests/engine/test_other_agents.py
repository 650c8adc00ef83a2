"""Who else may do a step that failed: another process, another kind, another step; and what an agent may answer."""

from dataclasses import replace
from typing import Any

import pytest

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.invocation import Invocation
from kos_runtime.core.plan.link import AgentLink, Link
from kos_runtime.core.plan.model import Backoff, ForEach, Plan, Policy, Pool, SetVariables, Step
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, RetryStep
from kos_runtime.engine.limits import Limits

from .world import Fails, World, act, link_for, plan, restored, state_of

FIXED = Backoff(strategy="fixed", initial_ms=1_000, jitter=False)
OTHER = Policy(rule="eh", ladder=("different_agent", "fail"), max_retries=3, backoff=FIXED)


def failing(times: int, kind: ErrorType = ErrorType.TRANSIENT) -> Any:
    def action(invocation: Invocation, **_: Any) -> dict[str, Any]:
        if invocation.attempt <= times:
            raise Fails(kind)
        return {"ok": invocation.attempt}

    return action


def linked(actions: dict[str, Any], *, most: int = 1, others: dict[str, dict[str, Any]] | None = None) -> Link:
    link = link_for(actions)
    agents = {**link.agents, "k": replace(link.agents["k"], most=most)}
    for name, also in (others or {}).items():
        known = {action: link.agents["k"].actions[action] for action in also}
        agents[name] = AgentLink(kind=name, target=f"tests:{name}", pool=name, actions=known)
    return Link(agents=agents)


def steps(world: World, count: int = 60) -> World:
    for _ in range(count):
        if not world.virtual.step() and not world.host.partition.is_idle():
            world.clock.advance_to(max(world.host.partition.next_due() or 0, world.clock.now() + 1))
        for run in world.host.partition.runs.values():
            if run.position:
                assert state_of(world.folded(run.id)) == state_of(run)
                assert state_of(restored(world, run)) == state_of(run)
    return world


def go(policy: Policy, actions: dict[str, Any], link: Link, *more: Step, pools: Any = None, **step: Any) -> World:
    world = World(actions)
    step.setdefault("inputs", {"v": 1})
    made = plan(
        act("a", "go", **step), *more, policies=(policy, Policy(rule="default", ladder=("fail",))), pools=pools or {}
    )
    assert isinstance(world.create(made, link=link), Accepted)
    return steps(world)


def sent_to(world: World, path: str = "a") -> list[str]:
    return [event.agent for event in world.named(ev.StepScheduled) if event.path == path]


# --- another process ----------------------------------------------------------------------------


def test_a_different_agent_is_never_the_one_that_failed_while_there_is_another() -> None:
    actions = {"go": failing(2)}
    world = go(OTHER, actions, linked(actions, most=3))
    assert world.outputs() == {"ok": 3}
    assert len(set(sent_to(world))) == 3
    assert [e.then for e in world.named(ev.StepFailed)] == ["different_agent"] * 2
    assert world.named(ev.StepReassigned) == []


def test_it_waits_for_the_other_one_although_the_first_has_hands_free() -> None:
    actions = {"go": failing(1), "busy": lambda *_, **__: {"ok": 0}}
    world = go(OTHER, actions, linked(actions, most=2), act("b", "busy", inputs={}), pools={})
    assert world.status() == "completed"
    first, second = sent_to(world)
    assert first != second


def test_it_shares_the_budget_of_retry() -> None:
    policy = replace(OTHER, ladder=("retry", "different_agent", "fail"), max_retries=2)
    actions = {"go": failing(9)}
    world = go(policy, actions, linked(actions, most=3))
    assert world.status() == "failed"
    assert len(sent_to(world)) == 3
    policy = replace(OTHER, ladder=("different_agent", "retry", "fail"), max_retries=3)
    world = go(policy, actions, linked(actions, most=2))
    assert [e.then for e in world.named(ev.StepFailed)] == ["different_agent", "retry", "retry", "fail"]
    assert len(sent_to(world)) == 4


def test_each_item_has_a_budget_of_its_own() -> None:
    actions = {"go": failing(1)}
    each = Step(id="a", form=ForEach(items=[1, 2, 3], agent="k", action="go"), inputs={"v": "$item"})
    world = World(actions)
    world.create(plan(each, policies=(replace(OTHER, max_retries=1),)), link=linked(actions, most=2))
    steps(world)
    assert world.status() == "completed"
    for path in ("a[0]", "a[1]", "a[2]"):
        first, second = sent_to(world, path)
        assert first != second


def test_a_failure_that_is_not_recoverable_passes_it_over() -> None:
    actions = {"go": failing(9, ErrorType.PERMANENT)}
    world = go(OTHER, actions, linked(actions, most=3))
    assert (world.status(), len(sent_to(world))) == ("failed", 1)


def test_it_is_not_given_back_after_everything_was_killed() -> None:
    actions = {"go": failing(1)}
    world = World(actions)
    world.create(plan(act("a", "go", inputs={"v": 1}), policies=(OTHER,)), link=linked(actions, most=2))
    for _ in range(5):
        world.virtual.step()
    world = world.crash()
    steps(world)
    assert world.status() == "completed"
    assert world.folded().steps["a"].avoid == ["k-1"]


# --- another kind -------------------------------------------------------------------------------


def test_where_there_is_one_only_another_kind_that_is_named_and_has_the_action_does_it() -> None:
    actions = {"go": failing(1)}
    link = linked(actions, others={"other": {"go": 1}, "lame": {}})
    world = go(OTHER, actions, link, pools={"lame": Pool(agent="lame"), "other": Pool(agent="other")})
    assert world.status() == "completed"
    (moved,) = world.named(ev.StepReassigned)
    assert (moved.path, moved.agent, moved.rule) == ("a", "other", "eh")
    assert [name.rpartition("-")[0] for name in sent_to(world)][:2] == ["k", "other"]


def test_where_there_is_nobody_else_it_is_passed_over() -> None:
    actions = {"go": failing(9)}
    world = go(OTHER, actions, linked(actions, others={"other": {"go": 1}}))
    assert (world.status(), len(sent_to(world))) == ("failed", 1)
    assert world.named(ev.StepFailed)[0].then == "fail"


# --- another step -------------------------------------------------------------------------------

FALL = Policy(rule="eh", ladder=("fallback", "fail"), fallback="b", fallback_kind="step")


def spare(action: str = "other", **more: Any) -> Step:
    return act("b", action, on_demand=True, policies=(1,), **more)


def test_a_step_stands_in_for_one_that_failed_and_what_it_gives_is_seen_there() -> None:
    actions = {"go": failing(9), "other": lambda _, v: {"ok": f"b{v}"}, "read": lambda _, v: {"got": v}}
    world = go(FALL, actions, linked(actions), spare(), act("c", "read", after=("a",), inputs={"v": "$steps.a.ok"}))
    assert world.outputs() == {"got": "b1"}
    (started,) = world.named(ev.FallbackStepStarted)
    assert (started.path, started.step, started.stand_in, started.rule) == ("a", "b", "a~b", "eh")
    assert [path for path, *_ in world.executed] == ["a", "a~b", "c"]


def test_its_own_inputs_and_its_own_budget_count() -> None:
    actions = {"go": failing(9), "other": failing(2)}
    own = Policy(rule="own", max_retries=2, backoff=FIXED)
    world = World(actions)
    made = plan(act("a", "go", inputs={"v": 1}), act("b", "other", on_demand=True, inputs={"w": 5}, policies=(1,)),
                policies=(FALL, own))  # fmt: skip
    world.create(made, link=linked(actions))
    steps(world)
    assert world.outputs() == {"ok": 3}
    assert [path for path, *_ in world.executed] == ["a", "a~b", "a~b", "a~b"]


@pytest.mark.parametrize("how", ["fails", "is skipped"])
def test_when_it_comes_to_nothing_the_ladder_goes_on(how: str) -> None:
    actions = {"go": failing(9), "other": failing(9)}
    policy = replace(FALL, ladder=("fallback", "skip"))
    world = go(policy, actions, linked(actions), spare(when=None if how == "fails" else "1 > 2"))
    assert world.status() == "completed"
    assert [e.then for e in world.named(ev.StepFailed) if e.path == "a"] == ["fallback", "skip"]
    assert len(world.named(ev.FallbackStepStarted)) == 1


def test_items_fall_back_each_for_itself() -> None:
    def go_(_: Invocation, v: int) -> Any:
        if v != 2:
            raise Fails(ErrorType.PERMANENT)
        return {"ok": v}

    actions = {"go": go_, "other": lambda _, v: {"ok": -v}}
    each = Step(
        id="a", form=ForEach(items=[1, 2, 3], agent="k", action="go"), inputs={"v": "$item"}, outputs=(("n", "ok"),)
    )
    world = World(actions)
    policies = (FALL, Policy(rule="default", ladder=("fail",)))
    world.create(plan(each, spare(outputs=(("n", "ok"),)), policies=policies), link=linked(actions))
    steps(world)
    assert world.outputs()["n"] == [-1, 2, -3]


@pytest.mark.parametrize("rounds", range(2, 14))
def test_it_goes_on_wherever_everything_was_killed(rounds: int) -> None:
    actions = {"go": failing(9, ErrorType.PERMANENT), "other": lambda _, v: {"ok": v}}
    world = World(actions)
    made = plan(act("a", "go", inputs={"v": 1}), spare(), policies=(FALL, Policy(rule="default", ladder=("fail",))))
    world.create(made, link=linked(actions))
    steps(world, rounds)
    world = steps(world.crash())
    assert world.outputs() == {"ok": 1}
    assert len(world.named(ev.FallbackStepStarted)) == 1


def test_after_a_retry_by_hand_it_may_stand_in_again() -> None:
    actions = {"go": failing(99), "other": failing(1, ErrorType.PERMANENT)}
    world = go(FALL, actions, linked(actions), spare())
    assert world.status() == "failed"
    actions["other"] = lambda _, v: {"ok": v}
    assert isinstance(world.virtual.request(RetryStep(run="r", path="a", retries=1, by="user:jr")), Accepted)
    steps(world)
    assert world.outputs() == {"ok": 1}


# --- the seven answers ----------------------------------------------------------------------------


def escalated(answers: list[Any], *, times: int = 1, link: Link | None = None, policy: dict[str, Any] | None = None,
              more: tuple[Step, ...] = (), actions: dict[str, Any] | None = None, step: Step | None = None) -> World:  # fmt: skip
    said = iter(answers)
    asked: list[dict[str, Any]] = []

    def on_escalation(_: Any, escalation: dict[str, Any]) -> Any:
        asked.append(escalation)
        return {"rule": "r7", "reason": "so", **next(said)}

    given: dict[str, Any] = {
        "go": failing(times, ErrorType.PERMANENT),
        "on_escalation": on_escalation,
        **(actions or {}),
    }
    made = Policy(rule="eh", ladder=("escalate", "fail"), escalation_agent="boss", **(policy or {}))
    world = World(given)
    world.asked = asked  # type: ignore[attr-defined]
    policies = (made, Policy(rule="default", ladder=("fail",)))
    pools = {"other": Pool(agent="other")}
    world.create(
        plan(step or act("a", "go", inputs={"v": 1}), *more, policies=policies, pools=pools), link=link or linked(given)
    )
    return steps(world)


def test_reassign_sends_it_to_the_agent_that_is_named() -> None:
    actions = {"go": failing(1, ErrorType.PERMANENT), "on_escalation": None}
    world = escalated([{"answer": "reassign", "agent": "other"}], link=linked(actions, others={"other": {"go": 1}}))
    assert world.outputs() == {"ok": 2}
    assert [name.rpartition("-")[0] for name in sent_to(world)] == ["k", "other"]
    (moved,) = world.named(ev.StepReassigned)
    assert (moved.agent, moved.rule) == ("other", f"{moved.by}: r7")


def test_reassign_without_a_name_sends_it_to_another_process() -> None:
    actions = {"go": failing(1, ErrorType.PERMANENT), "on_escalation": None}
    world = escalated([{"answer": "reassign"}], link=linked(actions, most=2))
    first, second = sent_to(world)
    assert first != second


def test_replace_inputs_is_recorded_and_given_to_all_further_attempts() -> None:
    seen: list[Any] = []

    def go_(invocation: Invocation, v: int) -> Any:
        seen.append(v)
        if invocation.attempt < 3:
            raise Fails(ErrorType.PERMANENT)
        return {"ok": v}

    answers = [{"answer": "replace_inputs", "inputs": {"v": 42}}, {"answer": "retry"}]
    world = escalated(answers, actions={"go": go_})
    assert (world.outputs(), seen) == ({"ok": 42}, [1, 42, 42])
    assert world.asked[1]["inputs"] == {"v": 42}  # type: ignore[attr-defined]


def test_replace_inputs_mends_inputs_that_could_not_be_computed() -> None:
    broken = act("a", "go", inputs={"v": "${{ 1 + $inputs.none }}"})
    world = escalated([{"answer": "replace_inputs", "inputs": {"v": 42}}], times=0, step=broken)
    assert world.outputs() == {"ok": 1}


@pytest.mark.parametrize("name", ["b", "plan_b", "by_hand"])
def test_fallback_takes_a_step_an_action_or_a_person(name: str) -> None:
    actions = {"plan_b": lambda _, v: {"ok": "action"}, "other": lambda _, v: {"ok": "step"}}
    world = escalated([{"answer": "fallback", "fallback": name}], times=9, more=(spare(),), actions=actions)
    if name == "by_hand":
        assert world.named(ev.ManualTaskRequested)[0].task == "by_hand"
        return
    assert world.outputs() == {"ok": "step" if name == "b" else "action"}


def test_fallback_without_a_name_is_that_of_the_rule() -> None:
    world = escalated([{"answer": "fallback"}], times=9, more=(spare(),), policy={"fallback": "b"},
                      actions={"other": lambda _, v: {"ok": "step"}})  # fmt: skip
    assert world.outputs() == {"ok": "step"}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"answer": "reassign", "agent": "othr"}, "did you mean 'other'?"),
        ({"answer": "reassign", "agent": "boss"}, "has no action 'go'"),
        ({"answer": "reassign"}, "there is no other agent"),
        ({"answer": "replace_inputs"}, "which is no object"),
        ({"answer": "fallback"}, "names none"),
        ({"answer": "dance"}, "it is one of retry, reassign"),
    ],
)
def test_an_answer_that_cannot_be_followed_goes_up_to_a_person_and_the_log_says_why(said: Any, why: str) -> None:
    actions = {"go": None, "on_escalation": None}
    link = linked(actions, others={"other": {"go": 1}}) if said.get("agent") else linked(actions)
    world = escalated([said], times=9, link=link)
    assert world.status() == "waiting"
    (answered,) = world.named(ev.EscalationAnswered)
    assert answered.answer == "manual"
    assert why in answered.reason


def test_the_agent_is_told_what_is_left_to_try() -> None:
    link = linked({"go": None, "on_escalation": None}, others={"other": {"go": 1}})
    world = escalated([{"answer": "fail"}], times=9, link=link, more=(spare(),), policy={"fallback": "b"},
                      actions={"other": lambda _, v: {}})  # fmt: skip
    (asked,) = world.asked  # type: ignore[attr-defined]
    assert asked["left"] == ["escalate", "different_agent", "fallback", "manual", "skip", "fail"]
    assert (asked["inputs"], asked["fallback"], asked["attempts"]) == ({"v": 1}, "b", 1)


def test_what_is_no_action_has_no_inputs_to_replace() -> None:
    step = Step(id="a", form=SetVariables(values={"x": "${{ $inputs.v + 1 }}"}))
    world = escalated([{"answer": "replace_inputs", "inputs": {"v": 1}}], step=step)
    assert world.status() == "waiting"


def test_two_hands_more_than_one_process_may_have_do_not_change_who_is_avoided() -> None:
    actions = {"go": failing(1)}
    world = World(actions, limits=Limits(), hands=8)
    steps_ = [act(f"s{i}", "go", inputs={"v": i}) for i in range(6)]
    made: Plan = plan(*steps_, policies=(OTHER,))
    world.create(made, link=linked(actions, most=2))
    steps(world)
    assert world.status() == "completed"
    for i in range(6):
        first, second = sent_to(world, f"s{i}")
        assert first != second

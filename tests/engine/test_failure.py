"""What follows a failed attempt: retries, fallbacks, escalations, people."""

from typing import Any

import pytest

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.plan.model import Backoff, Decision, ForEach, Policy, SetVariables, Step
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, AnswerTask, Rejected
from kos_runtime.engine import messages as msg

from .world import HANGS, Fails, World, act, plan, restored, state_of

FIXED = Backoff(strategy="fixed", initial_ms=1_000, jitter=False)


def failing(times: int, kind: ErrorType = ErrorType.TRANSIENT) -> Any:
    def action(invocation: Any, **_: Any) -> dict[str, Any]:
        if invocation.attempt <= times:
            raise Fails(kind)
        return {"ok": invocation.attempt}

    return action


def with_policy(*policies: Policy, action: str = "go", outputs: Any = None) -> Any:
    return plan(
        act("a", action, inputs={"v": 1}, outputs=outputs, policies=tuple(range(len(policies)))), policies=policies
    )


@pytest.mark.parametrize(("times", "status"), [(0, "completed"), (3, "completed"), (4, "failed")])
def test_three_retries_are_at_most_four_attempts(times: int, status: str) -> None:
    world = World({"go": failing(times)}).run(with_policy(Policy(rule="default", max_retries=3, backoff=FIXED)))
    assert world.status() == status
    assert len(world.executed) == min(times, 3) + 1


def test_delays_follow_the_backoff_and_are_facts() -> None:
    backoff = Backoff(strategy="exponential", initial_ms=1_000, factor=2.0, max_ms=3_000, jitter=False)
    world = World({"go": failing(4)}).run(with_policy(Policy(rule="default", max_retries=5, backoff=backoff)))
    retries = world.named(ev.RetryScheduled)
    assert [e.delay_ms for e in retries] == [1_000, 2_000, 3_000, 3_000]
    starts = [r.time for r in world.store.records() if "step_scheduled.1" in r.names]
    assert all(start >= retry.at for start, retry in zip(starts[1:], retries, strict=True))


def test_a_failure_that_is_not_recoverable_is_not_retried() -> None:
    world = World({"go": failing(1, ErrorType.PERMANENT)}).run(with_policy(Policy(rule="default")))
    assert world.status() == "failed"
    assert len(world.executed) == 1
    (failed,) = world.named(ev.StepFailed)
    assert (failed.rule, failed.then) == ("default", "fail")


def test_the_first_policy_for_the_kind_wins_and_is_named() -> None:
    world = World({"go": failing(9, ErrorType.TIMEOUT)}).run(
        with_policy(
            Policy(rule="eh[0]", ladder=("fail",), errors=("permanent",)),
            Policy(rule="eh[1]", ladder=("retry", "fail"), errors=("timeout",), max_retries=1, backoff=FIXED),
            Policy(rule="default"),
        )
    )
    assert {e.rule for e in world.named(ev.StepFailed)} == {"eh[1]"}
    assert len(world.executed) == 2


def test_a_fallback_is_an_action_of_the_same_agent_where_there_is_one() -> None:
    world = World({"go": failing(9), "plan_b": lambda _, v: {"ok": "b"}}).run(
        with_policy(
            Policy(rule="eh", ladder=("retry", "fallback", "fail"), max_retries=1, fallback="plan_b", backoff=FIXED)
        )
    )
    assert world.outputs() == {"ok": "b"}
    assert world.named(ev.FallbackStarted)[0].action == "plan_b"


def test_a_fallback_that_fails_is_not_tried_twice() -> None:
    world = World({"go": failing(9), "plan_b": failing(9)}).run(
        with_policy(Policy(rule="eh", ladder=("fallback", "fail"), fallback="plan_b", backoff=FIXED))
    )
    assert world.status() == "failed"
    assert len(world.executed) == 2


def manual_world() -> World:
    policy = Policy(rule="eh", ladder=("fallback", "fail"), fallback="by_hand")
    return World({"go": failing(9)}).run(with_policy(policy, outputs=(("raw", "data"), ("src", "sources.first"))))


def test_a_fallback_to_nothing_known_asks_a_person_and_leaves_memory() -> None:
    world = manual_world()
    row = world.store.run("r")
    assert row is not None
    assert (row.status, row.waiting) == ("waiting", "manual: a")
    assert world.host.partition.runs == {}
    (task,) = world.named(ev.ManualTaskRequested)
    assert task.task == "by_hand"
    assert [f[0] for f in task.fields] == ["data", "sources"]


@pytest.mark.parametrize(
    ("path", "data", "code", "words"),
    [
        ("b", {}, "not_found", "waits for no answer"),
        ("a", {"data": 1}, "invalid", "'sources' is missing"),
        ("a", {"data": 1, "sources": {}, "dat": 2}, "invalid", "did you mean 'data'?"),
        ("a", {"data": 1, "sources": {}}, "invalid", "no 'sources.first'"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_and_changes_nothing(
    path: str, data: Any, code: str, words: str
) -> None:
    world = manual_world()
    before = world.store.head()
    answer = world.answer(path, data)
    assert isinstance(answer, Rejected)
    assert answer.code == code
    assert words in answer.message
    assert world.store.head() == before


def test_a_persons_answer_stands_in_for_the_result_also_after_everything_died() -> None:
    world = manual_world().crash()
    answer = world.answer("a", {"data": [1], "sources": {"first": "s"}})
    assert isinstance(answer, Accepted)
    assert world.status() == "completed"
    assert world.outputs() == {"raw": [1], "src": "s"}
    assert world.executed == []


def test_an_answer_that_is_given_twice_is_one_event_and_gets_the_same_answer() -> None:
    world = manual_world()
    command = AnswerTask(run="r", path="a", data={"data": [1], "sources": {"first": "s"}}, by="user:test")
    first = world.virtual.request(command, command_id="once")
    world.virtual.run_until_idle()
    later = world.crash()
    assert later.virtual.request(command, command_id="once") == first
    assert len(later.named(ev.ManualTaskAnswered)) == 1


def escalating(answers: list[Any], *, times: int = 1) -> World:
    said = iter(answers)

    def on_escalation(_: Any, escalation: dict[str, Any]) -> Any:
        assert escalation["step"] == "a"
        answer = next(said)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, dict) else {"answer": answer, "rule": "r7", "reason": "so"}

    world = World({"go": failing(times, ErrorType.PERMANENT), "on_escalation": on_escalation})
    return world.run(with_policy(Policy(rule="eh", ladder=("escalate", "fail"), escalation_agent="boss")))


def test_an_escalation_answered_retry_runs_the_step_again() -> None:
    world = escalating(["retry"])
    assert world.outputs() == {"ok": 2}
    (answered,) = world.named(ev.EscalationAnswered)
    assert (answered.answer, answered.rule, answered.by) == ("retry", "r7", "boss-2")


@pytest.mark.parametrize(
    "step",
    [
        Step(id="a", form=SetVariables(values={"x": "${{ $inputs.v + 1 }}"})),
        Step(id="a", form=Decision(condition="$inputs.v < 1")),
        Step(id="a", form=ForEach(items="$inputs.v", agent="k", action="go")),
        act("a", "go", when="$inputs.v < 1"),
        act("a", "go", inputs={"v": "${{ 1 + $inputs.v }}"}),
    ],
    ids=["set", "decision", "for_each", "condition", "inputs"],
)
def test_what_failed_before_it_could_begin_is_computed_anew_when_the_answer_is_retry(step: Step) -> None:
    asked = []

    def on_escalation(_: Any, escalation: dict[str, Any]) -> Any:
        asked.append(escalation["failure"]["type"])
        return {"answer": "retry"}

    world = World({"go": lambda _: {}, "on_escalation": on_escalation})
    policy = Policy(rule="eh", ladder=("escalate", "fail"), escalation_agent="boss")
    world.run(plan(step, policies=(policy,)), {"v": "a text"})
    assert asked == ["validation"] * 3
    assert (world.status(), world.executed[-1][0]) == ("failed", "a!3")


def test_an_escalation_answered_skip_or_fail_does_so() -> None:
    assert escalating(["skip"], times=9).named(ev.StepSkipped)[0].path == "a"
    assert escalating(["fail"], times=9).status() == "failed"


@pytest.mark.parametrize("said", ["manual", "dance", {"nothing": 1}, Fails(ErrorType.UNKNOWN, "boss is ill")])
def test_a_wrong_answer_or_none_goes_up_to_a_person(said: Any) -> None:
    world = escalating([said], times=9)
    assert world.status() == "waiting"
    assert world.named(ev.ManualTaskRequested)[0].path == "a"


def test_a_step_is_escalated_at_most_three_times() -> None:
    world = escalating(["retry"] * 9, times=99)
    assert world.status() == "failed"
    assert [e.number for e in world.named(ev.Escalated)] == [1, 2, 3]


def test_a_lost_process_takes_no_attempt_and_its_step_goes_to_another() -> None:
    first = [HANGS]

    def go(_: Any, v: int) -> Any:
        return first.pop() if first else {"ok": v}

    world = World({"go": go})
    world.create(with_policy(Policy(rule="default", max_retries=0)))
    for _ in range(5):
        world.virtual.step()
    world.virtual.put(msg.ProcessDown("k-1", "SIGKILL"))
    world.virtual.run_until_idle()
    assert world.outputs() == {"ok": 1}
    assert [(attempt, fence) for _, attempt, fence in world.executed] == [(1, 1), (1, 2)]


def test_a_step_that_ends_process_after_process_is_poison() -> None:
    world = World({"go": lambda *_, **__: HANGS})
    world.create(with_policy(Policy(rule="default", max_retries=9)))
    for number in (1, 2, 3):
        for _ in range(6):
            world.virtual.step()
        world.virtual.put(msg.ProcessDown(f"k-{number}", "SIGKILL"))
    world.virtual.run_until_idle()
    assert world.status() == "failed"
    assert "poison" in world.named(ev.RunFailed)[0].error["message"]
    assert len(world.executed) == 2


def test_a_process_that_was_dead_before_it_got_the_step_is_not_held_against_it() -> None:
    world = World({"go": lambda *_, **__: HANGS})
    world.create(with_policy(Policy(rule="default", max_retries=9)))
    for number in range(1, 6):
        for _ in range(6):
            world.virtual.step()
        unsent = [("r", "a", number)] if number > 1 else []
        world.virtual.put(msg.ProcessDown(f"k-{number}", "its node is gone", unsent=unsent))
    for _ in range(6):
        world.virtual.step()
    assert world.status() == "running"
    causes = [event.cause for event in world.named(ev.StepRedispatched)]
    assert causes == ["suspect: its node is gone", *["its node is gone"] * 4]


def test_a_silent_agent_is_given_up_after_timeout_and_grace() -> None:
    calls = []

    def go(invocation: Any, v: int) -> Any:
        calls.append(invocation.attempt)
        return HANGS if len(calls) == 1 else {"ok": v}

    world = World({"go": go})
    world.create(
        plan(act("a", "go", inputs={"v": 1}, timeout_ms=5_000), policies=(Policy(rule="default", backoff=FIXED),))
    )
    world.virtual.run_until_idle()
    (failed,) = world.named(ev.StepFailed)
    assert failed.error["type"] == "timeout"
    assert world.outputs() == {"ok": 1}


def test_a_late_result_is_dropped_and_said_once() -> None:
    from kos_runtime.core.invocation import Outcome

    world = World({"go": failing(0), "slow": lambda *_, **__: HANGS})
    world.create(plan(act("a", "go", inputs={"v": 1}), act("b", "slow", after=("a",), inputs={"v": 1})))
    for _ in range(6):
        world.virtual.step()
    world.virtual.put(msg.Outcomes("k-1", [Outcome("r", "a", 1, exposed=b"\x80")]))
    world.virtual.step()
    (dropped,) = world.named(ev.ResultDiscarded)
    assert (dropped.path, dropped.fence) == ("a", 1)
    assert len(world.named(ev.StepCompleted)) == 1


def test_what_a_silenced_agent_repeats_is_told_once_a_fence_over_every_owner() -> None:
    from kos_runtime.core.invocation import Outcome

    def late(*fences: int) -> Any:
        return msg.Outcomes("k-9", [Outcome("r", "a", fence, exposed=b"\x80") for fence in fences])

    actions = {"go": failing(0), "slow": lambda *_, **__: HANGS}
    world = World(actions)
    world.create(plan(act("a", "go", inputs={"v": 1}), act("b", "slow", after=("a",), inputs={"v": 1})))
    for _ in range(6):
        world.virtual.step()
    for fences in [(1,), (1, 1), (1, 7), (7,)]:
        world.virtual.put(late(*fences))
        world.virtual.step()
    assert [(e.path, e.fence) for e in world.named(ev.ResultDiscarded)] == [("a", 1), ("a", 7)]
    folded = world.folded()
    assert state_of(folded)["discarded"] == {"a": [1, 7]}
    assert state_of(restored(world, folded)) == state_of(folded)
    after = world.crash()
    after.virtual.put(late(1, 7, 8))
    for _ in range(4):
        after.virtual.step()
    assert [e.fence for e in after.named(ev.ResultDiscarded)] == [1, 7, 8]


def test_an_agent_that_invents_fences_does_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    from kos_runtime.core.invocation import Outcome
    from kos_runtime.core.workflow import discarding

    monkeypatch.setattr(discarding, "MOST", 5)
    world = World({"slow": lambda *_, **__: HANGS})
    world.create(plan(act("b", "slow", inputs={"v": 1})))
    for _ in range(6):
        world.virtual.step()
    world.virtual.put(msg.Outcomes("k-9", [Outcome("r", "b", 100 + n) for n in range(50)]))
    world.virtual.step()
    assert len(world.named(ev.ResultDiscarded)) == 5


def test_a_pool_of_which_nothing_can_be_placed_is_a_resource_failure() -> None:
    world = World({"go": failing(0)})
    world.virtual._processes.make = _refuse
    world.create(with_policy(Policy(rule="default", max_retries=0)))
    world.virtual.run_until_idle()
    (failed,) = world.named(ev.StepFailed)
    assert failed.error["type"] == "resource"


def _refuse(*_: Any) -> Any:
    raise RuntimeError("no GPU here")


# --- delivered at most once ---------------------------------------------------------------------


def once(world_actions: dict[str, Any], **more: Any) -> World:
    world = World(world_actions)
    world.create(plan(act("a", "go", inputs={"v": 1}, delivery="at_most_once", **more)))
    for _ in range(4):
        world.virtual.step()
    return world


def test_an_attempt_that_broke_off_is_not_repeated_when_it_is_delivered_at_most_once() -> None:
    world = once({"go": lambda *_, **__: HANGS})
    world.virtual.put(msg.ProcessDown("k-1", "killed"))
    world.virtual.run_until_idle()
    assert world.status() == "failed"
    (failed,) = world.named(ev.StepFailed)
    assert (failed.error["type"], failed.error["recoverable"], failed.then) == ("unknown", False, "fail")
    assert failed.error["message"].startswith("outcome_unknown: attempt 1 of a broke off (killed)")
    assert world.named(ev.StepRedispatched) == []
    assert len(world.executed) == 1


def test_one_that_its_process_never_got_is_given_to_another_all_the_same() -> None:
    first = [HANGS]
    world = once({"go": lambda *_, v: first.pop() if first else {"ok": v}})
    world.virtual.put(msg.ProcessDown("k-1", "killed", unsent=[("r", "a", 1)]))
    world.virtual.run_until_idle()
    assert world.outputs() == {"ok": 1}
    assert len(world.named(ev.StepRedispatched)) == 1


def test_nor_is_one_of_which_nobody_knows_after_a_takeover() -> None:
    world = once({"go": lambda *_, **__: HANGS}).crash()
    world.virtual.run_until_idle()
    assert world.status() == "failed"
    assert world.executed == []
    assert world.named(ev.StepFailed)[0].error["message"].startswith("outcome_unknown")


def test_nor_one_that_timed_out() -> None:
    def late(_: Any, v: int) -> Any:
        del v
        raise Fails(ErrorType.TIMEOUT, "k.go timed out after 1s")

    world = once({"go": late})
    world.virtual.run_until_idle()
    assert world.status() == "failed"
    assert len(world.executed) == 1
    assert "timed out after 1s" in world.named(ev.StepFailed)[0].error["message"]


def test_one_that_said_itself_that_it_failed_is_tried_again() -> None:
    tries: list[int] = []

    def go(_: Any, v: int) -> Any:
        tries.append(v)
        if len(tries) < 3:
            raise Fails(ErrorType.TRANSIENT)
        return {"v": v}

    world = once({"go": go})
    world.virtual.run_until_idle()
    assert world.outputs() == {"v": 1}
    assert len(tries) == 3


def test_what_is_delivered_at_most_once_shares_no_process() -> None:
    world = World({"go": lambda *_, **__: HANGS})
    steps = [act(name, "go", inputs={"v": 1}, delivery="at_most_once") for name in ("a", "b")]
    world.create(plan(*steps, act("c", "go", inputs={"v": 1})))
    for _ in range(6):
        world.virtual.step()
    assert [path for path, *_ in world.executed] == ["a"]

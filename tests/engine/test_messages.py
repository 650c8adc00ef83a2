"""Agents talk to each other: recorded before it is delivered, each message processed once, whoever dies."""

import copy
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from kos_runtime.adapters.event_store.memory_log import MemoryLog
from kos_runtime.core.event import rebuild
from kos_runtime.core.failure import ErrorType, failure
from kos_runtime.core.invocation import Outcome
from kos_runtime.core.plan.link import ActionLink, Link
from kos_runtime.core.plan.model import Backoff, Policy
from kos_runtime.core.projection.messages import mermaid, messages
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow import messaging
from kos_runtime.core.workflow.commands import Accepted, CancelRun, ForkRun, PauseRun, RestoreRun, ResumeRun, RetryStep
from kos_runtime.engine import messages as msg
from kos_runtime.testing.message_oracle import check_messages

from .talkers import Refused, Say, Talk, ask
from .world import CODEC, HANGS, Fails, Recording, World, act, link_for, plan, restored, state_of

RETRIES = {"policies": (Policy(rule="default", max_retries=3, backoff=Backoff(strategy="fixed", initial_ms=10)),)}


def draft(_: Any, turns: int = 3) -> Any:
    heard = []
    yield Say("k", {"text": "begun"})
    for turn in range(turns):
        answer = yield ask("k", {"text": f"turn {turn}"}, conversation="review")
        heard.append(answer["text"])
    return {"heard": heard}


def world(**more: Any) -> Talk:
    actions = {
        "hear": lambda _, text: {"text": text},
        "answer": lambda _, text: {"text": f"re {text}"},
        "plain": lambda _: {},
    }
    return Talk({"draft": draft}, {**actions, **more.pop("actions", {})}, **more)


HEARD = {"heard": ["re turn 0", "re turn 1", "re turn 2"]}


def whole() -> Talk:
    made = world().run(plan(act("d", "draft", inputs={"turns": 3}), **RETRIES))
    assert made.status() == "completed", made.events()[-1]
    return made


def checked(made: World) -> World:
    assert check_messages("r", made.events()) == []
    run = made.folded()
    assert state_of(restored(made, run)) == state_of(run)
    return made


def test_what_is_said_is_recorded_before_it_is_delivered_and_answered() -> None:
    made = checked(whole())
    assert made.outputs() == HEARD
    kinds = [
        type(event).__name__
        for event in made.events()
        if "@" in getattr(event, "path", "") or "Message" in type(event).__name__
    ]
    assert Counter(kinds) == {"MessageSent": 4, "StepScheduled": 4, "StepCompleted": 4, "MessageHandled": 4}
    first = made.named(ev.MessageSent)[1]
    assert (first.id, first.sender, first.to, first.conversation, first.ask) == ("r/d/1/2", "k", "k", "review", True)


def test_a_run_cut_after_any_commit_ends_the_same_and_handles_each_message_once() -> None:
    original = whole()
    assert isinstance(original.store, Recording)
    batches = [batch for batch in original.store.appended if batch.records or batch.runs]
    for cut in range(1, len(batches)):
        store = Recording(MemoryLog(original.store.store_id))
        store.claim(0, "before")
        for batch in copy.deepcopy(batches[:cut]):
            store.append(batch)
        made = original.again(store)
        made.virtual.run_until_idle()
        assert made.status() == "completed", f"cut after commit {cut}"
        assert made.outputs() == HEARD
        assert len(made.named(ev.MessageSent)) == 4, f"cut after commit {cut}: something was said twice"
        checked(made)


def test_the_live_state_is_the_fold_of_its_events_at_every_commit() -> None:
    made = world()
    made.create(plan(act("d", "draft", inputs={"turns": 3})))
    compared = 0
    for _ in range(60):
        made.virtual.step()
        run = made.host.partition.runs.get("r")
        if run is not None and run.position:
            assert state_of(made.folded()) == state_of(run)
            assert state_of(restored(made, run)) == state_of(run)
            compared += 1
    assert compared > 5


@pytest.mark.parametrize("victim", ["d", "k@2"])
def test_a_process_that_dies_takes_no_message_with_it(victim: str) -> None:
    """The sender's or the receiver's process dies while the message is under way."""
    dying: list[int] = []

    def answer(invocation: Any, text: str) -> Any:
        if not dying:
            dying.append(invocation.fence)
            return HANGS
        return {"text": f"re {text}"}

    made = world(actions={"answer": answer})
    made.create(plan(act("d", "draft", inputs={"turns": 1}), **RETRIES))
    while not dying:
        made.virtual.step()
    made.virtual.step()
    held = made.host.partition.runs["r"].steps[victim].agent
    made.virtual._processes.runners.pop(held)
    made.virtual.put(msg.ProcessDown(held, "killed"))
    made.virtual.run_until_idle()
    assert made.status() == "completed"
    assert made.outputs() == {"heard": ["re turn 0"]}
    assert len(made.named(ev.MessageSent)) == 2
    checked(made)


def test_an_answer_goes_to_whoever_asks_now_when_its_sender_has_moved() -> None:
    """The handler lives on while its sender's process dies: the answer is for the sender's new dispatch."""
    made = world(actions={"answer": lambda _, text: HANGS}, hands=1)
    linked = link_for(made.actions)
    roomy = Link(agents={**linked.agents, "k": replace(linked.agents["k"], most=4)})
    made.create(plan(act("d", "draft", inputs={"turns": 1}), **RETRIES), link=roomy)
    for _ in range(20):
        made.virtual.step()
    run = made.host.partition.runs["r"]
    sender, receiver = run.steps["d"].agent, run.steps["k@2"].agent
    assert sender != receiver
    made.virtual._processes.runners.pop(sender)
    made.virtual.put(msg.ProcessDown(sender, "killed"))
    for _ in range(20):
        made.virtual.step()
    assert run.open.keys() == {"d", "k@2"}, "it asks again while it is answered"
    made.virtual.put(msg.Outcomes(receiver, [made._outcome(_invocation(run, "k@2"), {"text": "late"})]))
    made.virtual.run_until_idle()
    assert made.outputs() == {"heard": ["late"]}
    assert len(made.named(ev.MessageSent)) == 2
    checked(made)


def test_what_comes_twice_is_taken_down_once_and_told_again() -> None:
    made = world()
    made.create(plan(act("d", "draft", inputs={"turns": 2})))
    for _ in range(40):
        made.virtual.step()
        for outcome in made.left:
            made.virtual.put(msg.Outcomes("k-1", [replace(outcome)]))
        made.left.clear()
    made.virtual.run_until_idle()
    assert made.status() == "completed"
    assert len(made.named(ev.MessageSent)) == 3
    checked(made)


def test_a_new_attempt_withdraws_what_was_not_delivered_and_marks_what_was() -> None:
    def speak(invocation: Any) -> Any:
        yield Say("k", {"text": f"first {invocation.attempt}"})
        yield Say("k", {"text": f"second {invocation.attempt}"})
        yield Say("k", {"text": "once"}, key="only")
        if invocation.attempt == 1:
            raise Fails(ErrorType.TRANSIENT)
        return {}

    heard: list[str] = []

    def hear(_: Any, text: str) -> Any:
        heard.append(text)
        return HANGS if text == "first 1" else {}

    made = Talk({"speak": speak}, {"hear": hear}, hands=2)
    made.create(plan(act("s", "speak"), **RETRIES))
    for _ in range(40):
        made.virtual.step()
        made.clock.advance_to(made.clock.now() + 20)
    (open_,) = [path for path in made.host.partition.runs["r"].open if path.startswith("k@")]
    run = made.host.partition.runs["r"]
    made.virtual.put(msg.Outcomes(run.steps[open_].agent, [made._outcome(_invocation(run, open_), {})]))
    made.virtual.run_until_idle()
    assert made.status() == "completed"
    views = {view.id: view for view in messages((event, 0, 0) for event in made.events())}
    assert (views["r/s/1/1"].status, views["r/s/1/1"].superseded) == ("completed", True)
    assert views["r/s/1/2"].status == "withdrawn"
    assert views["r/s/2/1"].status == views["r/s/2/2"].status == views["r/s/!only"].status == "completed"
    assert heard == ["first 1", "once", "first 2", "second 2"]
    assert [message.superseded for message in made.folded().mail.messages.values()] == [
        True,
        False,
        False,
        False,
        False,
    ]
    checked(made)


def _invocation(run: Any, path: str) -> Any:
    from kos_runtime.core.invocation import Invocation

    return Invocation("r", path, 1, run.open[path], 1, "k", "hear", b"", 0, "", (), [("reply", "$result")])


def test_messages_of_one_conversation_are_handled_in_the_order_in_which_they_were_sent() -> None:
    def speak(_: Any) -> Any:
        for number in range(20):
            yield Say("k", {"text": str(number)}, conversation="one")
        return {}

    heard: list[str] = []

    def hear(_: Any, text: str) -> dict[str, Any]:
        heard.append(text)
        return {}

    made = Talk({"speak": speak}, {"hear": hear})
    made.run(plan(act("s", "speak")))
    assert heard == [str(number) for number in range(20)]
    assert made.status() == "completed"
    checked(made)


def test_a_handler_that_asks_back_does_not_wait_for_itself() -> None:
    def first(_: Any, depth: int = 0) -> Any:
        if depth == 3:
            return {"depth": depth}
        answer = yield ask("k", {"depth": depth + 1}, "first", conversation="deep")
        return answer

    made = Talk({"first": first}, {}).run(plan(act("s", "first", inputs={"depth": 0})))
    assert made.status() == "completed"
    assert made.outputs() == {"depth": 3}
    causes = [(event.id, event.cause) for event in made.named(ev.MessageSent)]
    assert causes == [("r/s/1/1", ""), ("r/k@1/1/1", "r/s/1/1"), ("r/k@2/1/1", "r/k@1/1/1")]
    checked(made)


REFUSALS = {
    "nobody": (Say("kk", {"text": ""}), "no agent 'kk' in this run; did you mean 'k'?"),
    "no_handler": (Say("k", {}, action="haer"), "k has no action 'haer' to handle a message; did you mean 'hear'?"),
    "oversize": (Say("k", {"text": "x" * 70_000}), "at most 65536 are taken"),
    "mailbox_full": (Say("k", {"text": ""}), "the mailbox of k is full"),
    "limit_exceeded": (Say("k", {"text": ""}), "an attempt sends at most"),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_what_cannot_be_taken_is_refused_in_words_that_help(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if code == "mailbox_full":
        monkeypatch.setattr(messaging, "MAX_MAILBOX", 1)
    if code == "limit_exceeded":
        monkeypatch.setattr(messaging, "MAX_OF_ATTEMPT", 1)
    said, words = REFUSALS[code]
    caught: list[tuple[Any, ...]] = []

    def speak(_: Any) -> Any:
        yield Say("k", {"text": "before"})
        try:
            yield said
        except Refused as refused:
            caught.append(refused.args)
        return {}

    # The one before stays in the mailbox until it is looked at.
    made = Talk({"speak": speak}, {"hear": lambda _, text: HANGS if code == "mailbox_full" else {}})
    made.create(plan(act("s", "speak")))
    for _ in range(20):
        made.virtual.step()
    ((found, _, message),) = caught
    assert found == code
    assert words in message
    assert len(made.named(ev.MessageSent)) == 1


def test_two_agents_that_answer_each_other_for_ever_are_stopped() -> None:
    def ping(_: Any) -> Any:
        yield ask("k", {}, "ping")
        return {}

    made = Talk({"ping": ping}, {}, hands=64).run(plan(act("s", "ping"), policies=(Policy(rule="default"),)))
    assert made.status() == "failed"
    assert len(made.named(ev.MessageSent)) == messaging.MAX_DEPTH
    assert "too_deep" in str(made.named(ev.StepGaveUp)[0].error)


def test_a_handler_that_fails_is_tried_again_and_then_whoever_asked_is_told() -> None:
    def speak(_: Any) -> Any:
        try:
            yield ask("k", {"text": "x"}, "break")
        except Refused as failed:
            return {"told": str(failed)}

    def breaks(_: Any, text: str) -> Any:
        raise Fails(ErrorType.TRANSIENT, f"no {text}")

    made = Talk({"speak": speak}, {"break": breaks}).run(plan(act("s", "speak"), **RETRIES))
    assert made.outputs() == {"told": "k.break failed: no x"}
    assert [attempt for path, attempt, _ in made.executed if path == "k@1"] == [1, 2, 3, 4]
    assert made.named(ev.MessageHandled)[0].status == "failed"
    checked(made)


def test_a_run_ends_when_what_was_said_is_handled_and_not_before() -> None:
    def speak(_: Any) -> Any:
        yield Say("k", {"text": "late"})
        return {}

    made = Talk({"speak": speak}, {"hear": lambda _, text: HANGS})
    made.create(plan(act("s", "speak")))
    for _ in range(20):
        made.virtual.step()
    assert made.status() == "running"
    run = made.host.partition.runs["r"]
    made.virtual.put(msg.Outcomes(run.steps["k@1"].agent, [made._outcome(_invocation(run, "k@1"), {})]))
    made.virtual.run_until_idle()
    assert made.status() == "completed"
    checked(made)


def test_a_failed_run_that_is_reopened_handles_what_was_left() -> None:
    broken = [True]

    def speak(_: Any) -> Any:
        yield Say("k", {"text": "kept"}, key="kept")
        if broken:
            raise Fails(ErrorType.PERMANENT)
        return {"done": True}

    heard: list[str] = []

    def hear(_: Any, text: str) -> Any:
        heard.append(text)
        return HANGS if broken else {}

    made = Talk({"speak": speak}, {"hear": hear})
    made.create(plan(act("s", "speak"), policies=(Policy(rule="default"),)))
    made.virtual.run_until_idle()
    assert made.status() == "failed"
    broken.clear()
    answer = made.virtual.request(
        RetryStep(run="r", path="s", retries=1, by="user:test", reason=""), command_id="again"
    )
    assert isinstance(answer, Accepted), answer
    made.virtual.run_until_idle()
    assert made.status() == "completed"
    assert heard == ["kept", "kept"]
    assert len(made.named(ev.MessageHandled)) == 1


def test_a_run_that_fails_withdraws_what_waits_for_hands_with_whoever_said_it() -> None:
    def speak(_: Any) -> Any:
        yield Say("k", {"text": "first"})
        yield Say("k", {"text": "second"}, conversation="other")
        yield ask("k", {"text": "third"})

    actions = {"hear": lambda _, text: HANGS, "answer": lambda _, text: {}, "wait": lambda _: HANGS}
    made = Talk({"speak": speak}, actions, hands=2)
    made.create(plan(act("s", "speak"), act("f", "wait"), policies=(Policy(rule="default"),)))
    for _ in range(40):
        made.virtual.step()
    run = made.host.partition.runs["r"]
    waiting = [path for path, step in run.steps.items() if path.startswith("k@") and not step.attempt]
    assert waiting
    error = failure(ErrorType.PERMANENT, "it fails", step="f")
    outcome = Outcome("r", "f", run.open["f"], error=error)
    made.virtual.put(msg.Outcomes(run.steps["f"].agent, [outcome]))
    made.virtual.run_until_idle()
    assert made.status() == "failed"
    assert "withdrawn" in {view.status for view in messages((event, 0, 0) for event in made.events())}
    checked(made)


def test_pausing_holds_messages_back_and_cancelling_ends_them() -> None:
    made = world()
    made.create(plan(act("d", "draft", inputs={"turns": 2})))
    while not made.named(ev.MessageSent):
        made.virtual.step()
    made.virtual.request(PauseRun(run="r", by="user:test", reason=""), command_id="p")
    for _ in range(10):
        made.virtual.step()
    before = len(made.named(ev.StepScheduled))
    made.virtual.request(ResumeRun(run="r", by="user:test", reason=""), command_id="q")
    for _ in range(3):
        made.virtual.step()
    assert len(made.named(ev.StepScheduled)) > before
    made.virtual.run_until_idle()
    assert made.status() == "completed"
    other = world()
    other.create(plan(act("d", "draft", inputs={"turns": 2})))
    while not other.named(ev.MessageSent):
        other.virtual.step()
    other.virtual.request(CancelRun(run="r", by="user:test", reason="", grace_ms=10), command_id="c")
    other.virtual.run_until_idle()
    assert other.status() == "cancelled"


def test_a_long_conversation_is_stored_as_its_new_parts() -> None:
    """W6: two hundred turns whose parts are as long as each other take a log that grows by as much with each."""

    def bytes_of(turns: int) -> int:
        made = world(actions={"answer": lambda _, text: {"text": "y" * 500}})
        made.talkers["draft"] = lambda _, turns: talk(turns)
        made.run(plan(act("d", "draft", inputs={"turns": turns})))
        assert made.status() == "completed"
        assert isinstance(made.store, Recording)
        return sum(len(record.payload) for batch in made.store.appended for record in batch.records)

    def talk(turns: int) -> Any:
        for _ in range(turns):
            yield ask("k", {"text": "x" * 500}, conversation="one")
        return {}

    short, long = bytes_of(50), bytes_of(200)
    assert long < 4.05 * short
    assert long < 1.5 * 200 * 1_000


def test_a_fork_and_a_run_that_was_taken_back_ask_nothing_again_that_was_answered() -> None:
    made = world()
    repeatable = ActionLink(takes_any=True, idempotent=True)
    made.run(
        plan(act("d", "draft", inputs={"turns": 3}, idempotent=True)),
        link=link_for(made.actions, answer=repeatable, hear=repeatable),
    )
    at = next(p for p, e in _placed(made) if isinstance(e, ev.MessageHandled) and e.number == 3)
    fork = ForkRun(run="f", parent="r", at=at, salt=b"f" * 16, by="user:test", changes=[])
    assert isinstance(made.virtual.request(fork, command_id="fork"), Accepted)
    back = RestoreRun(run="r", to=at, by="user:test", reason="")
    assert isinstance(made.virtual.request(back, command_id="back"), Accepted)
    made.virtual.run_until_idle()
    for run in ("f", "r"):
        assert made.status(run) == "completed"
        assert CODEC.unpack(made.named(ev.RunCompleted, run)[-1].outputs) == HEARD
        assert check_messages(run, made.events(run)) == []
    new = [event.id for event in made.named(ev.MessageSent, "f") if event.id.startswith("f/")]
    assert new == ["f/d/1/4"]


def _placed(made: World) -> list[tuple[int, Any]]:
    records = made.store.stream("run/r", limit=1_000)
    return [(r.position, e) for r in records for e in rebuild(r.names, CODEC.unpack(r.payload))]


def test_the_diagram_shows_who_said_what_and_no_text_can_break_it() -> None:
    made = whole()
    views = messages((event, 0, 0) for event in made.events())
    lines = list(mermaid(views, [f"a;b#{view.number}\nc" for view in views], ["" for _ in views]))
    assert lines[:2] == ["sequenceDiagram", "    participant p_k as k"]
    assert "    p_k-)p_k: 1 hear a#59;b#35;1 c" in lines
    assert CODEC.unpack(views[0].body) == {"text": "begun"}


def test_a_run_without_messages_has_none_of_it() -> None:
    made = world().run(plan(act("p", "plain")))
    run = made.folded()
    assert run.mail is None
    assert messages((event, 0, 0) for event in made.events()) == []

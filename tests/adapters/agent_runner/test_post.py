"""What attempts say while they run: it leaves at once, is kept until it is told of, and comes before their result."""

import pickle
import threading
from typing import Any

import pytest

from agents import ActionFailed, Agent, Context, MessageRefused, action
from kos_runtime.adapters.agent_runner.context import AttemptContext
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.invocation import Gather, Invocation, Piece

from .bench import CODEC, PATIENCE, Bench, bench


class Speaker(Agent):
    @action
    async def talk(self, context: Context) -> dict[str, Any]:
        return {"heard": await context.ask("other", {"n": 1}, conversation="c")}

    @action
    def talk_plainly(self, context: Context) -> dict[str, Any]:
        return {"heard": context.ask("other", {"n": 1}).result(PATIENCE)}

    @action
    def announce(self, context: Context) -> str:
        context.send("other", {"n": 1}, key="k")
        return "done"

    @action
    def careful(self, context: Context) -> str:
        try:
            context.send("other", {"n": 1}).result()
        except MessageRefused as refused:
            return refused.code
        return "taken"

    @action
    def impatient(self, context: Context) -> str:
        try:
            context.ask("other", {"n": 1}).result(0.01)
        except TimeoutError:
            return "late"
        return "early"

    @action
    def wrong(self, context: Context, body: Any) -> None:
        context.send("other", body)

    @action
    def large(self, context: Context) -> None:
        context.send("other", {"text": "x" * 70_000})

    @action
    def verbose(self, context: Context) -> None:
        context.send("other", {}, key="k" * 257)

    @action
    def keep(self, context: Context) -> None:
        self.kept = context

    @action
    def use_what_was_kept(self) -> None:
        self.kept.send("other", {})

    @action
    def told(self, context: Context) -> dict[str, Any]:
        assert context.message is not None
        return {"sender": context.message.sender, "before": [(t.body, t.reply) for t in context.conversation]}


def tell(table: Bench, invocation: Invocation, place: int, values: dict[str, Any], **more: Any) -> None:
    path = f"{invocation.path}<{place}"
    told = invocation._replace(path=path, action="", inputs=CODEC.pack(values), **more)
    table.runner.submit([told])


@pytest.mark.parametrize("name", ["talk", "talk_plainly"])
def test_an_answer_reaches_the_body_that_waits_for_it(name: str) -> None:
    with bench(Speaker()) as table:
        invocation = table.invocation(name)
        table.runner.submit([invocation])
        said = table.wait_late(1)[0]
        assert (said.run, said.path, said.fence) == ("run1", "step>1", invocation.fence)
        to, what, body, key, conversation, asks, frees = CODEC.unpack(said.exposed)
        assert frees is (name == "talk"), "a coroutine needs no hand while it waits"
        assert (to, what, CODEC.unpack(body), key, asks) == ("other", "on_message", {"n": 1}, "", True)
        assert conversation == ("c" if name == "talk" else "")
        blob = table.blobs.put(CODEC.pack("all of it"))
        tell(table, invocation, 1, {"reply": None}, gathers=[Gather(("reply",), "one", [Piece(blob=blob)])])
        outcomes = {outcome.path: outcome for outcome in table.wait_late(3)}
        assert outcomes["step<1"].error is None
        assert table.opened(outcomes["step"])["heard"] == "all of it"


def test_a_result_waits_until_what_was_sent_is_recorded() -> None:
    with bench(Speaker()) as table:
        invocation = table.invocation("announce")
        table.runner.submit([invocation])
        assert [outcome.path for outcome in table.wait_late(1)] == ["step>1"]
        assert table.runner.running() == [("run1", "step", invocation.fence)]
        tell(table, invocation, 1, {"sent": "id"})
        assert [outcome.path for outcome in table.wait_late(3)][-1] == "step"


def test_a_refusal_that_nobody_looked_at_fails_the_attempt_and_one_that_was_does_not() -> None:
    refused = {"refused": ["mailbox_full", "resource", "the mailbox of other is full"]}
    with bench(Speaker()) as table:
        for name in ("announce", "careful"):
            invocation = table.invocation(name, path=name)
            table.runner.submit([invocation])
            while not any(outcome.path == f"{name}>1" for outcome in table.late):
                threading.Event().wait(0.001)
            tell(table, invocation, 1, refused)
        outcomes = {outcome.path: outcome for outcome in table.wait_late(6)}
        error = outcomes["announce"].error
        assert error is not None
        assert (error.type, error.details["code"]) == (ErrorType.RESOURCE, "mailbox_full")
        assert table.opened(outcomes["careful"])["result"] == "mailbox_full"


def test_whoever_takes_over_hears_what_nobody_was_told_of() -> None:
    with bench(Speaker()) as table:
        invocation = table.invocation("talk")
        table.runner.submit([invocation])
        table.wait_late(1)
        table.runner.acknowledge([("run1", "step>1", invocation.fence)])
        keys, outcomes = table.runner.inventory(2)
        assert keys == [("run1", "step", invocation.fence)]
        assert [outcome.path for outcome in outcomes] == ["step>1"]
        tell(table, invocation, 1, {"reply": 1})
        table.wait_late(3)
        assert [outcome.path for outcome in table.runner.inventory(3)[1]] == ["step"]


def test_a_stopped_attempt_waits_no_longer() -> None:
    with bench(Speaker()) as table:
        invocation = table.invocation("talk_plainly")
        table.runner.submit([invocation])
        table.wait_late(1)
        table.runner.cancel("run1", "step", invocation.fence)
        error = table.wait_late(2)[-1].error
        assert error is not None
        assert "stopped while it waited" in error.message
        assert table.value("impatient", path="other")["result"] == "late"


@pytest.mark.parametrize(
    ("name", "inputs", "words"),
    [
        ("wrong", {"body": "text"}, "invalid: a message is an object, the inputs of other.on_message; this is str"),
        ("large", {}, "oversize: a message of"),
        ("verbose", {}, "invalid: a message's key has at most 256 characters, not 257"),
    ],
)
def test_what_is_no_message_is_refused_before_it_leaves(name: str, inputs: dict[str, Any], words: str) -> None:
    with bench(Speaker()) as table:
        assert words in table.failure(name, inputs).message
        assert table.late == []


def test_a_context_that_outlived_its_attempt_speaks_for_nobody() -> None:
    with bench(Speaker()) as table:
        table.value("keep", path="before")
        error = table.failure("use_what_was_kept", {})
        assert (error.type, error.message) == (ErrorType.TRANSIENT, "ending: this attempt of before is over")
        assert table.late == []


@pytest.mark.parametrize("for_good", [True, False])
def test_a_failure_that_cannot_be_mended_is_not_mended_by_asking_again(for_good: bool) -> None:
    with bench(Speaker()) as table:
        invocation = table.invocation("talk")
        table.runner.submit([invocation])
        table.wait_late(1)
        tell(table, invocation, 1, {"failed": "other.on_message failed: no", "for_good": for_good})
        error = next(outcome.error for outcome in table.wait_late(3) if outcome.path == "step")
        assert error is not None
        assert (error.type, error.recoverable) == (ErrorType.DEPENDENCY, not for_good)


def test_a_handler_sees_who_speaks_and_what_was_said_before() -> None:
    envelope = ["id", 2, "writer", "other", "step", 1, "c", "", False]
    before = [
        [["i2", 2, *envelope[2:]], CODEC.pack({"n": 2}), b""],
        [["i1", 1, *envelope[2:]], CODEC.pack({"n": 1}), CODEC.pack({"reply": "yes"})],
    ]
    with bench(Speaker()) as table:
        found = table.value("told", mail=CODEC.pack([envelope, before]))
    assert found["sender"] == "writer"
    assert found["before"] == [[{"n": 1}, "yes"], [{"n": 2}, None]]


def test_outside_of_a_run_nobody_takes_messages() -> None:
    made = Bench(Speaker())
    try:
        alone = AttemptContext(made.invocation("talk"), "cache", None, None, threading.Event(), lambda: 0)
        assert alone.message is None
        with pytest.raises(RuntimeError, match="nobody takes messages here"):
            alone.send("other", {})
    finally:
        made.runner.close()
    assert issubclass(MessageRefused, ActionFailed)


def test_a_refusal_can_be_carried_to_another_process() -> None:
    refused = MessageRefused("nobody", ErrorType.PERMANENT, "no agent 'x': in this run")
    again = pickle.loads(pickle.dumps(refused))
    assert (again.code, again.kind, str(again)) == ("nobody", ErrorType.PERMANENT, "nobody: no agent 'x': in this run")

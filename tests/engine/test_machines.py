"""A step holds a machine: its facts are the run's, and whatever dies in between changes nothing but time."""

from typing import Any

import pytest

from kos_runtime.core import machine
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.machine import Refused, Registered
from kos_runtime.core.plan.model import Coordination, Plan, Step
from kos_runtime.core.terms import unwritten, written
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, CommandMachine, Rejected
from kos_runtime.core.workflow.snapshot import to_plain
from kos_runtime.core.workflow.waiting import waits_for
from kos_runtime.engine import messages as msg

from .auction import Auction, Auctions, Withdraw
from .world import HANGS, Fails, World, plan, restored, state_of


@pytest.fixture(autouse=True)
def _known() -> None:
    machine.make_known("auctions", lambda: Registered(Auctions(), {}))


def auction(*bidders: str, closes_ms: int = 60_000, **more: Any) -> Plan:
    form = Coordination(
        machine="auctions",
        nodes=("house", *bidders),
        setup=written(Auction("vase", bidders, closes_ms)),
        agents={name: ["k", ""] for name in bidders},
    )
    return plan(Step(id="sale", form=form, **more))


def value_of(amounts: dict[str, Any]) -> dict[str, Any]:
    def on_question(invocation: Any, question: str) -> Any:
        assert question == "vase"
        amount = amounts[invocation.path.partition("!")[2].partition("/")[0]]
        if isinstance(amount, Fails):
            raise amount
        return amount

    return {"on_question": on_question}


def tell(world: World, command: Any, node: str = "house") -> Accepted | Rejected:
    said = CommandMachine(run="r", path="sale", node=node, command=written(command), by="user:test")
    answer = world.virtual.request(said, command_id=f"c-{node}-{command}")
    assert isinstance(answer, Accepted | Rejected)
    return answer


def test_nodes_talk_agents_are_asked_and_the_outcome_is_the_steps() -> None:
    world = World(value_of({"ann": 3, "bob": 5})).run(auction("ann", "bob"))
    assert world.outputs() == {"winner": "bob", "price": 5}
    labels = [label for e in world.named(ev.MachineDecided) for label, _ in world.virtual.host.codec.unpack(e.facts)]
    assert labels == [
        "auction_opened.1", "auction_estimated.1", "auction_bid.1", "auction_estimated.1", "auction_bid.1",
        "coordination_concluded.1",
    ]  # fmt: skip
    assert [e.status for e in world.named(ev.QuestionAnswered)] == ["completed", "completed"]


def test_a_question_that_nobody_answers_is_told_to_the_machine() -> None:
    world = World(value_of({"ann": 3, "bob": Fails(ErrorType.PERMANENT, recoverable=False)})).run(auction("ann", "bob"))
    assert world.outputs() == {"winner": "ann", "price": 3}


def test_a_timer_ends_it_when_somebody_is_silent_and_an_outcome_with_an_error_fails_the_step() -> None:
    world = World(value_of({"ann": 3, "bob": HANGS})).run(auction("ann", "bob"))
    assert world.outputs() == {"winner": "ann", "price": 3}
    assert [path for path, _ in world.cancelled] == ["sale!bob/what of vase"]
    world = World(value_of({"ann": HANGS})).run(auction("ann"))
    assert world.status() == "failed"
    assert "nobody has bid" in world.named(ev.StepGaveUp)[0].error["message"]


def test_a_command_is_answered_when_it_is_stored_and_once_for_its_id() -> None:
    world = World(value_of({"ann": HANGS, "bob": HANGS}))
    world.create(auction("ann", "bob"))
    world.virtual.step()
    first = tell(world, Withdraw("ann"))
    assert isinstance(first, Accepted)
    assert unwritten(first.reply) == ("withdrawn", "ann")
    again = tell(world, Withdraw("ann"))
    assert isinstance(again, Accepted)
    assert unwritten(again.reply) == ("withdrawn", "ann")
    refused = tell(world, Withdraw("cyd"))
    assert isinstance(refused, Accepted)
    assert unwritten(refused.reply) == Refused("not_found", "cyd does not bid")
    assert len(world.named(ev.MachineDecided)) == 2
    assert [event.timed for event in world.named(ev.MachineTimed)] == [True]
    asked = tell(world, "bids")
    assert isinstance(asked, Accepted)
    assert (asked.reply, asked.existing) == ({"ann": 0}, True)
    nobody = tell(world, "bids", node="hause")
    assert isinstance(nobody, Rejected)
    assert "did you mean 'house'?" in nobody.message


def test_a_machine_that_raises_fails_its_step_and_nothing_else() -> None:
    world = World(value_of({"ann": HANGS}))
    world.create(auction("ann"))
    world.virtual.step()
    answer = tell(world, "break")
    assert isinstance(answer, Rejected)
    assert "machine 'auctions' of sale raised RuntimeError: the hammer is gone" in answer.message
    assert world.status() == "failed"
    world.create(plan(), run="other")
    world.virtual.run_until_idle()
    assert world.status("other") == "completed"


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (Coordination(machine="none", nodes=("a",)), "no machine 'none' is installed here"),
        (Coordination(machine="auctions", nodes=("a",), setup=written(Auction("x", ()))), "an auction needs a bidder"),
        (Coordination(machine="auctions", nodes=("a",), setup={"~": "nothing", "of": []}), "unknown event 'nothing'"),
        (Coordination(machine="auctions", nodes=("a",), setup=7), "raised AttributeError"),
    ],
)
def test_one_that_cannot_be_set_up_says_why(form: Coordination, says: str) -> None:
    world = World({}).run(plan(Step(id="sale", form=form)))
    assert world.status() == "failed"
    assert says in world.named(ev.StepGaveUp)[0].error["message"]


def test_killed_after_every_commit_it_comes_to_the_same_and_asks_nobody_twice_who_has_answered() -> None:
    amounts = {"ann": 3, "bob": 5, "cyd": 4}
    whole = World(value_of(amounts), hands=1).run(auction(*amounts))
    commits = len(whole.store.appended)  # type: ignore[attr-defined]
    for cut in range(1, commits):
        world = World(value_of(amounts), hands=1)
        world.create(auction(*amounts))
        while len(world.store.appended) < cut:  # type: ignore[attr-defined]
            world.virtual.step()
        answered = {e.ask for e in world.named(ev.QuestionAnswered)}
        again = world.crash()
        again.virtual.run_until_idle()
        assert again.outputs() == {"winner": "bob", "price": 5}, cut
        assert answered.isdisjoint(path for path, *_ in again.executed), cut
        if again.named(ev.MachineRecovered):
            assert [e.life for e in again.named(ev.MachineRecovered)] == [2]


def test_folded_or_through_a_snapshot_it_is_as_the_live_one() -> None:
    world = World(value_of({"ann": 3, "bob": HANGS}))
    world.create(auction("ann", "bob"))
    while not world.named(ev.QuestionAnswered):
        world.virtual.step()
    live = world.host.partition.runs["r"]
    assert to_plain(world.folded()) == to_plain(live)
    copy = restored(world, live)
    assert state_of(copy) == state_of(live)
    assert copy.machines["sale"].nodes["house"].state == live.machines["sale"].nodes["house"].state
    assert "machine sale" in waits_for(live)


def test_one_that_waits_for_commands_alone_leaves_memory_and_comes_back() -> None:
    form = Coordination(machine="auctions", nodes=("ann",), setup=written(Auction("vase", ("ann",))))
    world = World({})
    world.create(plan(Step(id="sale", form=form)))
    world.virtual.run_until_idle()
    row = world.store.run("r")
    assert row is not None
    assert (row.status, row.waiting) == ("waiting", "machine: sale")
    assert world.host.partition.runs == {}
    assert isinstance(tell(world, "hello", node="ann"), Accepted)
    assert [e.life for e in world.named(ev.MachineRecovered)] == [2]


def test_a_cancelled_run_takes_its_machine_with_it() -> None:
    from kos_runtime.core.workflow.commands import CancelRun

    world = World(value_of({"ann": HANGS}))
    world.create(auction("ann"))
    world.virtual.step()
    world.virtual.request(CancelRun(run="r", by="user:test", reason="", grace_ms=0), command_id="x")
    assert world.status() == "cancelled"
    answer = tell(world, "bids")
    assert isinstance(answer, Rejected)
    assert answer.code == "conflict"


__all__ = ["msg"]

"""Peers that agree among themselves: each in a process of its own, with a stream of its own for a disk."""

from collections import Counter
from typing import Any

import pytest

from coordination import registered
from kos_runtime.core import machine
from kos_runtime.core.event import rebuild
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.plan.link import AgentLink, Link
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, Rejected
from kos_runtime.core.workflow.snapshot import to_plain
from kos_runtime.engine import messages as msg
from kos_runtime.testing.peers import contradictions, traces

from .test_voting import vote_on
from .world import CODEC, HANGS, Fails, World, link_for, restored

FIVE = {f"panel-{i}": "yes" if i % 2 else "no" for i in range(1, 6)}


@pytest.fixture(autouse=True)
def _known() -> None:
    machine.make_known("ballots", lambda: registered.BALLOTS)
    machine.make_known("consensus", lambda: registered.CONSENSUS)


def linked(actions: dict[str, Any], most: int) -> Link:
    found = link_for(actions)
    panel = AgentLink(kind="k", target="tests:k", pool="panel", actions=found.agents["k"].actions, most=most)
    return Link(agents={**found.agents, "panel": panel})


class Panel:
    """Peers whose agents give these ballots: texts, failures, HANGS, or a function of the round and what was before."""

    def __init__(self, votes: dict[str, Any], consensus: str = "{rule: majority}", more: str = "") -> None:
        self.votes, self.asked = votes, Counter[str]()
        self.plan = vote_on(consensus, replicas=len(votes), more=more)
        self.actions = {"vote": self._vote}
        self.world = World(self.actions)
        self.link = linked(self.actions, len(votes))

    def _vote(self, _: Any, who: str, subject: str, **more: Any) -> Any:
        self.asked[who] += 1
        given = self.votes[who]
        if isinstance(given, Fails):
            raise given
        return given(**more) if callable(given) else given

    def start(self) -> World:
        self.world.create(self.plan, link=self.link)
        return self.world

    def run(self) -> World:
        return self.world.run(self.plan, link=self.link)


def facts_of(world: World, elector: str) -> list[str]:
    found = []
    for record in world.store.stream(f"coordination/r/verdict/{elector}"):
        found += [type(event).__name__ for event in rebuild(record.names, CODEC.unpack(record.payload))]
    return [name for name in found if name != "PeerActed"]


def holds(world: World) -> None:
    """The peers' own records contradict nothing."""
    assert traces(world.store, CODEC, "r")["coordination/r/verdict"].steps
    assert contradictions(world.store, CODEC, "r") == []


def step(world: World) -> None:
    world.virtual.step()
    world.clock.advance_to(world.clock.now() + 1)


def kill(world: World, process: str) -> None:
    world.virtual._processes.runners.pop(process)
    world.virtual.put(msg.ProcessDown(process, "killed"))


def test_each_peer_has_a_process_and_a_stream_of_its_own_and_all_decide() -> None:
    panel = Panel({"panel-1": "yes", "panel-2": "no", "panel-3": {"vote": "yes", "reason": "sound"}})
    world = panel.run()
    assert world.outputs() == {"said": "yes", "by": 3}
    scheduled = world.named(ev.StepScheduled)
    assert len({event.agent for event in scheduled}) == 3
    assert facts_of(world, "panel-1") == ["Opened", "BallotCast", "Proposing", "Accepted", "Decided", "Concluded"]
    assert facts_of(world, "panel-3") == ["Opened", "BallotCast", "Accepted", "Decided", "Concluded"]
    assert [event.path for event in world.named(ev.PeerJoined)] == ["verdict[0]", "verdict[1]", "verdict[2]"]
    assert panel.asked == {"panel-1": 1, "panel-2": 1, "panel-3": 1}
    holds(world)


@pytest.mark.parametrize(
    ("consensus", "more", "votes", "outcome"),
    [
        ("{rule: weighted}", "weights: {panel-1: 3},", ["yes", "no", "no"], "yes"),
        ("{rule: supermajority, threshold: 3/4}", "", ["yes", "no", "yes"], "no_majority"),
        ("{rule: schulze, options: [a, b, c]}", "", [["b", "a"], ["b"], ["c"]], "b"),
        ("{rule: majority, participation: 1}", "", ["yes", None, "maybe"], "yes"),
        ("{rule: unanimous, on_deadlock: no}", "", ["yes", "no", "yes"], "no"),
    ],
)  # fmt: skip
def test_each_rule_decides(consensus: str, more: str, votes: list[Any], outcome: str) -> None:
    panel = Panel({f"panel-{i}": {"vote": given} for i, given in enumerate(votes, 1)}, consensus, more)
    world = panel.run()
    assert world.outputs()["said"] == outcome
    holds(world)


def test_who_cannot_vote_abstains_and_says_why() -> None:
    panel = Panel({"panel-1": "yes", "panel-2": "perhaps", "panel-3": Fails(ErrorType.PERMANENT, "no idea")})
    world = panel.run()
    (reached,) = world.named(ev.ConsensusReached)
    assert reached.votes == [["panel-1", ["yes"]], ["panel-2", []], ["panel-3", []]]
    reasons = [line["reason"] for line in CODEC.unpack(reached.exposed)["votes"]]
    assert reasons == ["", "not counted: 'perhaps' is no option; one of yes, no", "its agent failed: no idea"]


def test_in_a_further_round_all_are_shown_the_ballots_before() -> None:
    def follows(before: Any = (), **_: Any) -> str:
        return before[0][1][0] if before else "no"

    votes = {"panel-1": {"vote": "yes", "reason": "it is sound"}, "panel-2": follows}
    panel = Panel(votes, "{rule: majority, rounds: 3}")
    world = panel.run()
    assert world.outputs()["said"] == "yes"
    (reached,) = world.named(ev.ConsensusReached)
    assert CODEC.unpack(reached.exposed)["rounds"] == 2
    assert panel.asked == {"panel-1": 2, "panel-2": 2}
    holds(world)


def test_whoever_does_not_vote_in_time_is_not_waited_for() -> None:
    panel = Panel({"panel-1": "yes", "panel-2": "no", "panel-3": HANGS}, "{rule: majority, deadline: 30s}")
    world = panel.run()
    assert world.outputs() == {"said": "tie", "by": 2}
    holds(world)


@pytest.mark.parametrize("after", range(0, 24, 2))
def test_everything_dies_in_the_middle_and_nobody_who_has_voted_is_asked_again(after: int) -> None:
    panel = Panel(FIVE)
    world = panel.start()
    for _ in range(after):
        step(world)
    voted = [name for name in panel.votes if "BallotCast" in facts_of(world, name)]
    before = Counter(panel.asked)
    again = world.crash()
    again.virtual.run_until_idle()
    assert again.outputs() == {"said": "yes", "by": 5}
    assert all(panel.asked[name] == before[name] for name in voted)
    holds(again)


@pytest.mark.parametrize("after", range(8, 22, 2))
def test_two_of_five_die_and_come_back_with_what_they_promised(after: int) -> None:
    panel = Panel(FIVE)
    world = panel.start()
    for _ in range(after):
        step(world)
    if world.status() == "running":
        kill(world, "k-1")
        kill(world, "k-4")
    world.virtual.run_until_idle()
    assert world.outputs()["said"] == "yes"
    holds(world)


@pytest.mark.parametrize(("most", "status"), [(2, "failed"), (3, "completed")])
def test_without_processes_for_a_majority_the_step_fails_and_says_so(most: int, status: str) -> None:
    panel = Panel(FIVE, "{rule: majority, deadline: 10s}")
    made = panel.world.virtual._processes.make

    def make(effect: msg.StartProcess, on_late: Any) -> Any:
        if len(panel.world.virtual._processes.runners) >= most:
            raise RuntimeError("the cluster is full")
        return made(effect, on_late)

    panel.world.virtual._processes.make = make
    world = panel.run()
    assert world.status() == status
    if status == "failed":
        (gave_up,) = world.named(ev.StepGaveUp)
        assert gave_up.error["type"] == "resource"
        assert gave_up.error["message"].startswith(
            "2 of 5 peers can have a process, and that is no majority: k cannot be made"
        )
    else:
        assert world.outputs()["by"] == 3
        holds(world)


def test_two_lives_of_one_peer_cannot_both_record() -> None:
    panel = Panel(FIVE | {"panel-5": HANGS}, "{rule: unanimous}")
    world = panel.start()
    while "BallotCast" not in facts_of(world, "panel-4"):
        step(world)
    old = world.virtual.peers.processes["k-4"]
    # It is taken for dead, and is not.
    world.virtual.put(msg.ProcessDown("k-4", "silent"))
    while sum(event.path == "verdict[3]" for event in world.named(ev.StepScheduled)) < 2 or (
        "Recovered" not in facts_of(world, "panel-4")
    ):
        step(world)
    seat = old._seats["coordination/r/verdict/panel-4"]
    length = len(facts_of(world, "panel-4"))
    seat.timers = {"round": 1}
    out = old.flush(world.clock.now())
    world.virtual.put(msg.PeerRequest(-5, out.disk))
    answers = [e for e in world.host.cycle(world.virtual._inbox, world.clock.now()) if isinstance(e, msg.PeerAnswer)]
    (row,) = next(answer.rows for answer in answers if answer.token == -5)
    assert row[5] == "closed"
    old.told([row], world.clock.now())
    assert "coordination/r/verdict/panel-4" not in old._seats
    assert len(facts_of(world, "panel-4")) == length


def test_a_peer_whose_records_are_gone_is_a_stranger_and_without_a_majority_a_person_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    panel = Panel({"panel-1": "yes", "panel-2": HANGS, "panel-3": HANGS}, "{rule: majority}")
    world = panel.start()
    while len(world.named(ev.PeerJoined)) < 3:
        step(world)
    again = world.crash()
    read = again.store.stream
    lost = {f"coordination/r/verdict/{name}" for name in ("panel-1", "panel-2")}
    monkeypatch.setattr(again.store, "stream", lambda name, **more: [] if name in lost else read(name, **more))
    again.virtual.run_until_idle()
    (asked,) = again.named(ev.ManualTaskRequested)
    assert "undecidable: 2 of 3 peers are gone" in asked.prompt
    refused = again.answer("verdict", {"outcome": "perhaps"})
    assert isinstance(refused, Rejected)
    assert refused.message == "the answer to 'verdict' does not fit: 'perhaps' is no option; one of yes, no"
    assert isinstance(again.answer("verdict", {"outcome": "no", "reason": "who knows"}), Accepted)
    assert again.outputs() == {"said": "no", "by": 0}


@pytest.mark.parametrize("agreement", ["paxos", "log"])
def test_a_dead_lock_may_be_for_a_person_to_settle(agreement: str) -> None:
    votes = {"panel-1": {"vote": "yes", "reason": "sound"}, "panel-2": "no"}
    world = Panel(votes, f"{{rule: majority, on_deadlock: escalate, agreement: {agreement}}}").run()
    (asked,) = world.named(ev.ManualTaskRequested)
    assert asked.prompt == "verdict: the peers came to no outcome (tie); one of yes, no"
    assert isinstance(world.answer("verdict", {"outcome": "yes"}), Accepted)
    assert world.outputs() == {"said": "yes", "by": 2}
    assert to_plain(world.folded())["status"] == "completed"


def test_a_run_folded_from_its_log_or_from_a_snapshot_is_as_the_live_one() -> None:
    panel = Panel(FIVE | {"panel-2": HANGS}, "{rule: unanimous}")
    world = panel.start()
    while len(world.named(ev.PeerJoined)) < 5:
        step(world)
    live = world.host.partition.runs["r"]
    assert to_plain(world.folded()) == to_plain(live)
    assert to_plain(restored(world, live)) == to_plain(live)


def test_without_a_machine_the_step_fails_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_KNOWN", {})
    world = Panel({"panel-1": "yes", "panel-2": "yes", "panel-3": "yes"}).run()
    assert world.status() == "failed"
    assert "no machine 'consensus' is installed here" in world.named(ev.StepGaveUp)[-1].error["message"]

"""Peers vote on a step: each is asked once, what they gave is counted, and the log is the agreement."""

from typing import Any

import pytest

from coordination.registered import BALLOTS
from kos_runtime.core import machine
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.plan.link import AgentLink, Link
from kos_runtime.core.plan.model import Plan
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.snapshot import to_plain
from kos_runtime.definition import WorkflowDocument, compile_workflow, load

from .world import HANGS, Fails, World, link_for


@pytest.fixture(autouse=True)
def _counts() -> None:
    machine.make_known("ballots", lambda: BALLOTS)


def vote_on(consensus: str = "{rule: majority, agreement: log}", *, replicas: int = 3, more: str = "") -> Plan:
    text = f"""
workflow:
  id: w
  outputs: [{{name: said, value: $steps.verdict.outcome}}, {{name: by, value: "${{{{ len($steps.verdict.votes) }}}}"}}]
  agents: {{panel: {{agent: k, replicas: {replicas}}}}}
  steps:
    - id: verdict
      coordination: {{pattern: peer_to_peer, peers: panel, {more} consensus: {consensus}}}
      action: vote
      inputs: {{who: $peer, subject: release}}
"""
    document = load(text, "w.yaml")
    assert isinstance(document, WorkflowDocument)
    plan, _ = compile_workflow(document)
    assert plan.requires == ()
    return plan


def linked(actions: dict[str, Any]) -> Link:
    found = link_for(actions)
    panel = AgentLink(kind="k", target="tests:k", pool="k", actions=found.agents["k"].actions)
    return Link(agents={**found.agents, "panel": panel})


def run(votes: dict[str, Any], plan: Plan) -> World:
    def vote(_: Any, who: str, subject: str) -> Any:
        assert subject == "release"
        given = votes[who]
        if isinstance(given, Fails):
            raise given
        return given

    actions = {"vote": vote}
    return World(actions).run(plan, link=linked(actions))


def said(choice: str, reason: str = "") -> dict[str, str]:
    return {"choice": choice, "reason": reason}


def test_the_log_has_the_proposal_the_ballots_and_the_decision() -> None:
    votes = {"panel-1": said("yes", "it is sound"), "panel-2": said("no", "too early"), "panel-3": "yes"}
    world = run(votes, vote_on("{rule: unanimous, agreement: log}"))
    (proposed,) = world.named(ev.ConsensusProposed)
    assert proposed.question["electors"] == {"panel-1": 1, "panel-2": 1, "panel-3": 1}
    assert [event.path for event in world.named(ev.StepCompleted)] == ["verdict[0]", "verdict[1]", "verdict[2]"]
    (reached,) = world.named(ev.ConsensusReached)
    assert (reached.outcome, reached.accepted) == ("no_majority", False)
    assert reached.votes == [["panel-1", ["yes"]], ["panel-2", ["no"]], ["panel-3", ["yes"]]]
    assert world.outputs() == {"said": "no_majority", "by": 3}


@pytest.mark.parametrize(
    ("consensus", "more", "votes", "outcome"),
    [
        ("{rule: majority, agreement: log}", "", ["yes", "no", "yes"], "yes"),
        ("{rule: majority, agreement: log}", "", [True, False, False], "no"),
        ("{rule: weighted, agreement: log}", "weights: {panel-1: 3},", ["yes", "no", "no"], "yes"),
        ("{rule: supermajority, threshold: 3/4, agreement: log}", "", ["yes", "no", "yes"], "no_majority"),
        ("{rule: schulze, options: [a, b, c], agreement: log}", "", [["b", "a"], ["b"], ["c"]], "b"),
        ("{rule: majority, participation: 1, agreement: log}", "", ["yes", None, "maybe"], "no_quorum"),
        ("{rule: unanimous, on_deadlock: no, agreement: log}", "", ["yes", "no", "yes"], "no"),
    ],
)  # fmt: skip
def test_each_rule_decides(consensus: str, more: str, votes: list[Any], outcome: str) -> None:
    world = run({f"panel-{i}": {"vote": given} for i, given in enumerate(votes, 1)}, vote_on(consensus, more=more))
    assert world.outputs()["said"] == outcome


def test_a_ballot_that_does_not_fit_and_a_peer_that_fails_are_not_counted_and_said() -> None:
    votes = {
        "panel-1": "yes",
        "panel-2": "perhaps",
        "panel-3": Fails(ErrorType.PERMANENT, "no idea", recoverable=False),
    }
    world = run(votes, vote_on("{rule: unanimous, agreement: log}"))
    (reached,) = world.named(ev.ConsensusReached)
    assert reached.votes == [["panel-1", ["yes"]]]
    assert sorted(reached.not_counted) == [
        "panel-2: 'perhaps' is no option; one of yes, no", "panel-3: no idea",
    ]  # fmt: skip


def test_whoever_is_still_thinking_when_nothing_can_change_is_told_to_stop() -> None:
    world = run({"panel-1": "yes", "panel-2": "yes", "panel-3": HANGS}, vote_on())
    assert world.status() == "completed"
    (cancelled,) = world.named(ev.StepCancelled)
    assert (cancelled.path, cancelled.reason) == ("verdict[2]", "the vote is settled")
    assert [path for path, _ in world.cancelled] == ["verdict[2]"]


def test_on_deadlock_fail_fails_the_step() -> None:
    world = run(
        {"panel-1": "yes", "panel-2": "no"}, vote_on("{rule: majority, on_deadlock: fail, agreement: log}", replicas=2)
    )
    assert world.status() == "failed"
    (gave_up,) = world.named(ev.StepGaveUp)
    assert "came to no outcome (tie)" in gave_up.error["message"]


@pytest.mark.parametrize("before", range(3))
def test_killed_in_the_middle_of_the_vote_nobody_who_has_answered_is_asked_again(before: int) -> None:
    asked: list[str] = []
    stuck = True

    def vote(_: Any, who: str, subject: str) -> Any:
        asked.append(who)
        return HANGS if stuck and int(who[-1]) > before else said("yes", who)

    actions = {"vote": vote}
    plan = vote_on("{rule: unanimous, agreement: log}")
    world = World(actions)
    world.create(plan, link=linked(actions))
    while len(world.executed) < 3 or len(world.named(ev.StepCompleted)) < before:
        world.virtual.step()
    answered = {f"panel-{i}" for i in range(1, before + 1)}
    assert len(world.named(ev.StepCompleted)) == before
    stuck = False
    asked.clear()
    again = world.crash()
    again.virtual.run_until_idle()
    assert again.status() == "completed"
    assert again.outputs() == {"said": "yes", "by": 3}
    assert answered.isdisjoint(asked)


def test_a_run_folded_from_its_log_is_as_the_live_one() -> None:
    actions = {"vote": lambda _, who, subject: "yes" if who == "panel-1" else HANGS}
    world = World(actions)
    world.create(vote_on("{rule: unanimous, agreement: log}"), link=linked(actions))
    while not world.named(ev.StepCompleted):
        world.virtual.step()
    live = world.host.partition.runs["r"]
    assert to_plain(world.folded()) == to_plain(live)


def test_without_who_counts_the_step_fails_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_KNOWN", {})
    world = run({"panel-1": "yes", "panel-2": "yes", "panel-3": "yes"}, vote_on())
    assert world.status() == "failed"
    (gave_up,) = world.named(ev.StepGaveUp)
    assert gave_up.error["message"] == "no machine 'ballots' is installed here, which this step needs"

"""The three classes of the mission, over machines in one process."""

from asyncio import run
from collections.abc import Callable
from typing import Any

import pytest

from coordination import (
    Grant,
    HierarchicalCoordination,
    Limits,
    MasterSlaveCoordination,
    NotAllowed,
    PeerToPeerCoordination,
    Proposal,
    Use,
    Version,
    hierarchy,
)
from coordination.assignment import assignment
from coordination.authority_commands import Answer
from coordination.consensus import BallotCast, Cast
from coordination.load import fairness, two_choices
from coordination.worker import Finish
from kos_runtime.core.machine import Concluded, Consult
from kos_runtime.simulator.coordinator import Disk, LocalCoordinator

PANEL = ("ann", "bob", "cyd")


def answering(choose: Callable[[str, Consult], Any], disk: Disk | None = None) -> LocalCoordinator:
    async def answer(stream: str, node: str, consult: Consult) -> Any:
        return choose(node, consult)

    return LocalCoordinator(answer, disk)


def voting(votes: dict[str, str]) -> Callable[[str, Consult], Any]:
    return lambda node, consult: Cast(consult.question["round"], (votes[node],), f"{node}'s reason")


def test_peers_reach_consensus_with_their_reasons() -> None:
    peers = PeerToPeerCoordination(answering(voting({"ann": "yes", "bob": "no", "cyd": "yes"})), PANEL)
    found = run(peers.reach_consensus(Proposal(subject="ship it?")))
    assert (found.outcome, found.accepted, found.rounds) == ("yes", True, 1)
    assert found.votes[1] == {"elector": "bob", "choices": ["no"], "reason": "bob's reason"}


def test_weights_decide_where_they_count() -> None:
    engine = answering(voting({"ann": "yes", "bob": "no", "cyd": "no"}))
    peers = PeerToPeerCoordination(engine, PANEL, weights={"ann": 3})
    assert run(peers.reach_consensus(Proposal(subject="?", rule="weighted"))).outcome == "yes"


def test_after_a_round_without_an_outcome_everybody_has_seen_the_ballots() -> None:
    shown: list[Any] = []

    def choose(node: str, consult: Consult) -> Any:
        number = consult.question["round"]
        if number == 2:
            shown.append(consult.question["before"])
        choice = node if number == 1 else "ann"
        return Cast(number, (choice,), "")

    peers = PeerToPeerCoordination(answering(choose), PANEL)
    found = run(peers.reach_consensus(Proposal(subject="who?", options=PANEL, rounds=2)))
    assert (found.outcome, found.rounds) == ("ann", 2)
    assert len(shown) >= 2  # two settle it
    assert all(len(before) == 3 for before in shown)


def test_peers_that_cannot_agree_come_to_that_outcome() -> None:
    peers = PeerToPeerCoordination(answering(voting({"ann": "yes", "bob": "no"})), ("ann", "bob"))
    assert run(peers.reach_consensus(Proposal(subject="?", rounds=2)))[:4:3] == ("tie", 2)


def test_one_peer_agrees_with_itself() -> None:
    peers = PeerToPeerCoordination(answering(voting({"ann": "yes"})), ("ann",))
    assert run(peers.reach_consensus(Proposal(subject="?"))).outcome == "yes"


@pytest.mark.parametrize("stop_after", range(0, 36, 3))
def test_peers_killed_in_the_middle_ask_nobody_twice_who_has_answered(stop_after: int) -> None:
    """All peers die with their process after so many questions and messages, and come back from their records."""
    disk: Disk = {}
    asked: list[str] = []

    def choose(node: str, consult: Consult) -> Any:
        asked.append(node)
        return Cast(consult.question["round"], ("yes",), "")

    class Killed(Exception):
        pass

    class Mortal(LocalCoordinator):
        left = stop_after

        async def _go_on(self) -> bool:
            self.left -= 1
            if self.left < 0:
                raise Killed
            return await super()._go_on()

    async def answer(stream: str, node: str, consult: Consult) -> Any:
        return choose(node, consult)

    proposal = Proposal(subject="ship it?", rule="unanimous")
    try:
        run(PeerToPeerCoordination(Mortal(answer, disk), PANEL).reach_consensus(proposal))
    except Killed:
        cast = [node for (_, node), (_, facts) in disk.items() if any(type(fact) is BallotCast for fact in facts)]
        assert sorted(asked) == sorted(cast)
    found = run(PeerToPeerCoordination(answering(choose, disk), PANEL).reach_consensus(proposal))
    assert found.outcome == "yes"
    assert sorted(asked) == sorted(PANEL)


@pytest.mark.parametrize(
    ("peers", "proposal", "says"),
    [
        (("ann", "ann"), Proposal(subject="?"), "'ann' stands twice in the electorate"),
        ((), Proposal(subject="?"), "at least one elector"),
        (PANEL, Proposal(subject="?", options=()), "at least one option"),
        (PANEL, Proposal(subject="?", rounds=0), "1 to 100 rounds"),
    ],
)
def test_a_proposal_that_is_not_in_order_is_refused(peers: Any, proposal: Proposal, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        run(PeerToPeerCoordination(answering(voting({})), peers).reach_consensus(proposal))


def test_a_weight_of_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="'dan' is no peer"):
        PeerToPeerCoordination(answering(voting({})), PANEL, weights={"dan": 2})


def test_load_is_spread_evenly_and_completely() -> None:
    tasks = [f"t{i}" for i in range(300)]
    found = run(PeerToPeerCoordination(answering(voting({})), PANEL).balance_load(tasks))
    assert sorted(task for given in found.assignments.values() for task in given) == sorted(tasks)
    assert found.fairness > 0.99


def test_two_choices_keep_queues_shorter_than_one() -> None:
    """The point of it: the longest of 100 queues for 10,000 tasks."""
    from random import Random

    def longest(*, both: bool) -> int:
        chance, queues = Random(7), dict.fromkeys(map(str, range(100)), 0)
        names = tuple(queues)
        for _ in range(10_000):
            one = chance.random()
            name = two_choices(names, queues.__getitem__, one, chance.random()) if both else names[int(one * 100)]
            queues[name] += 1
        return max(queues.values()) - 100

    assert 4 * longest(both=True) < longest(both=False)
    assert fairness({"a": 0, "b": 0}) == 1.0


def test_a_conflict_is_settled_by_rank_by_merge_and_by_a_vote() -> None:
    def choose(node: str, consult: Consult) -> Any:
        return Cast(1, (consult.question["options"][0],), "")

    peers = PeerToPeerCoordination(answering(choose), PANEL, ranks={"bob": 2})
    versions = [
        Version("ann", {"ann": 1}, {"t": "A", "n": 1, "v": 1}),
        Version("bob", {"bob": 1}, {"t": "B", "n": 2, "v": 2}),
    ]
    found = run(peers.resolve_conflict(versions, {"t": "priority", "n": "max", "v": "vote"}))
    assert {name: (field.strategy, field.kept) for name, field in found.fields.items()} == {
        "t": ("priority", "B"), "n": ("max", 2), "v": ("vote", 1),
    }  # fmt: skip
    assert not found.open


def test_tasks_come_back_in_order_whatever_becomes_of_the_workers() -> None:
    def work(node: str, consult: Consult) -> Any:
        epoch, name, _ = consult.question
        if node == "w1":
            return Finish(epoch, error="it broke")
        return Finish(epoch, name.upper())

    team = MasterSlaveCoordination(answering(work), "boss", ("w1", "w2"), at_hand=2)

    async def all_of_it() -> Any:
        return await team.aggregate_results(await team.distribute_task([f"part{i}" for i in range(20)]))

    found = run(all_of_it())
    assert [value for _, value in found.results] == [f"PART{i}" for i in range(20)]
    assert not found.failed


def test_what_no_worker_can_do_is_given_up_and_said() -> None:
    team = MasterSlaveCoordination(answering(lambda _, consult: Finish(consult.question[0], error="no")), "m", ("w",))

    async def all_of_it() -> Any:
        return await team.aggregate_results(await team.distribute_task(["only"]))

    assert run(all_of_it()).failed == (("only", "no"),)


def test_what_a_failed_worker_had_is_with_others_at_once() -> None:
    team = MasterSlaveCoordination(answering(lambda *_: None), "m", ("w1", "w2"), at_hand=4)

    async def all_of_it() -> Any:
        given = await team.distribute_task(["a", "b"])
        with pytest.raises(ValueError, match="'w3' is no worker"):
            await team.handle_slave_failure(given, "w3", "?")
        return await team.handle_slave_failure(given, "w1", "seen to fail"), await team.handle_slave_failure(
            given, "w2", "too"
        )

    first, second = run(all_of_it())
    moved = [name for action in (first, second) for name, to in action.reassigned]
    assert sorted({*moved}) == ["a", "b"]
    assert not first.excluded


@pytest.mark.parametrize(
    ("tasks", "workers", "says"),
    [
        (("a", "a"), ("w",), "task 'a' is named twice"),
        (("a",), (), "no worker"),
        (("a",), ("master",), "cannot be a worker too"),
        (tuple(map(str, range(10_001))), ("w",), "at most 10000 tasks"),
    ],
)
def test_an_assignment_that_is_not_in_order_is_refused(tasks: Any, workers: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        assignment(tasks, workers)


# --- hierarchy ----------------------------------------------------------------------------------

TREE = hierarchy({"chief": "", "lead": "chief", "a": "lead", "b": "lead"})
ROOT = Grant("root", "", "user:operator", "chief", ("deploy", "read"), "prod", Limits(cost=10), 0, 100_000, 3)


def test_a_task_goes_down_with_a_grant_for_just_that() -> None:
    async def story() -> None:
        tree = HierarchicalCoordination(answering(lambda *_: None), TREE)
        await tree.grant(ROOT)
        found = await tree.delegate_down("ship", 2, by="chief", use=Use("a", "deploy", "prod/web", 4), expires_ms=5_000)
        assert (found.taken_by, found.level, found.grant) == ("a", 2, "ship/a")
        assert await tree.check_authority("a", "deploy", "prod/web", 4)
        assert not await tree.check_authority("a", "deploy", "prod/db", 4)
        assert not await tree.check_authority("a", "read", "prod/web")
        assert not await tree.check_authority("b", "deploy", "prod/web")
        assert await tree.act("a", "deploy", "prod/web", 4) == "ship/a"
        with pytest.raises(NotAllowed, match="0 of its cost left, and 1 is asked"):
            await tree.act("a", "deploy", "prod/web", 1)
        await tree.revoke("root", "user:operator")
        with pytest.raises(NotAllowed, match="'root' was revoked by user:operator"):
            await tree.act("a", "deploy", "prod/web", 0)
        assert (await tree.delegate_up("ask", 0, by="a")).taken_by == "chief"
        assert "nobody below" in (await tree.delegate_down("x", 9, by="chief")).refused
        assert "down from level 2" in (await tree.delegate_down("x", 1, by="a")).refused

    run(story())


def test_a_grant_that_is_wider_is_refused_and_says_in_what() -> None:
    async def story() -> None:
        tree = HierarchicalCoordination(answering(lambda *_: None), TREE)
        await tree.grant(ROOT)
        fine = Grant("sub", "root", "chief", "lead", ("read",), "prod/web", Limits(cost=5), 0, 50_000, 1)
        for change, says in (
            ({"actions": ("erase",)}, "action 'erase' is not granted above"),
            ({"scope": "production"}, "scope 'production' does not lie in 'prod'"),
            ({"limits": Limits(cost=11)}, "its cost is above"),
            ({"limits": Limits()}, "its cost is above"),
            ({"expires_at": 100_001}, "it ends after"),
            ({"depth": 3}, "handed on further"),
            ({"issuer": "lead"}, "is chief's and not lead's"),
            ({"parent": "gone"}, "there is no grant 'gone'"),
            ({"parent": "", "issuer": "lead"}, "only user:operator gives"),
            ({"expires_at": 0}, "ends after it begins"),
        ):
            from dataclasses import replace

            with pytest.raises(NotAllowed, match=says):
                await tree.grant(replace(fine, **change))
        assert await tree.grant(fine) == "sub"

    run(story())


def test_an_escalation_climbs_past_silence_to_who_has_the_authority() -> None:
    asked: list[str] = []

    def choose(node: str, consult: Consult) -> Any:
        asked.append(consult.who)
        return None if consult.who == "lead" else Answer(consult.question["request"], consult.who, "grant", "go on")

    async def story() -> Any:
        tree = HierarchicalCoordination(answering(choose), TREE, answer_ms=1_000)
        await tree.grant(ROOT)
        found = await tree.escalate_authority(Use("a", "deploy", "prod/web", 2), "there is need")
        assert await tree.check_authority("a", "deploy", "prod/web", 2)
        return found

    found = run(story())
    assert (found.granted, found.by, found.comment) == (True, "chief", "go on")
    assert asked == ["lead", "chief"]


def test_an_escalation_ends_at_a_person() -> None:
    def choose(node: str, consult: Consult) -> Any:
        verdict: Any = "deny" if consult.who == "user:operator" else "grant"
        return Answer(consult.question["request"], consult.who, verdict)

    tree = HierarchicalCoordination(answering(choose), TREE)
    found = run(tree.escalate_authority(Use("a", "deploy")))
    assert (found.granted, found.by) == (False, "user:operator")


def test_an_answer_that_comes_when_it_has_gone_on_is_refused() -> None:
    engine = answering(lambda _, consult: Answer(consult.question["request"], "b", "grant"))
    tree = HierarchicalCoordination(engine, TREE)

    async def story() -> None:
        with pytest.raises(TimeoutError, match="has come to rest"):
            await tree.escalate_authority(Use("a", "deploy"))
        with pytest.raises(NotAllowed, match="stands with user:operator now"):
            await tree.answer("a/deploy/1", "lead", "grant")
        await tree.answer("a/deploy/1", "user:operator", "grant")
        with pytest.raises(NotAllowed, match="has been answered"):
            await tree.answer("a/deploy/1", "user:operator", "deny")

    run(story())


@pytest.mark.parametrize(
    ("superiors", "says"),
    [
        ({"a": "b", "b": "c", "c": "a"}, "a circle in the hierarchy"),
        ({"a": "a"}, "a circle"),
        ({"a": "gone"}, "'gone', the superior of 'a', is not in the hierarchy"),
        ({"user:operator": ""}, "stands at the top"),
        ({f"l{i}": f"l{i - 1}" if i else "" for i in range(16)}, "at most 15 levels"),
    ],
)
def test_a_hierarchy_that_is_not_in_order_is_refused(superiors: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        hierarchy(superiors)


def test_ten_thousand_tasks_take_about_as_long_each_as_ten() -> None:
    engine = answering(lambda _, consult: Finish(consult.question[0], 1))
    team = MasterSlaveCoordination(engine, "m", [f"w{i}" for i in range(8)], at_hand=4)

    async def all_of_it() -> Any:
        return await team.aggregate_results(await team.distribute_task([str(i) for i in range(2_000)]))

    assert len(run(all_of_it()).results) == 2_000
    facts = engine.disk["coordination/tasks/tasks-1", "m"][1]
    assert len(facts) == 4_001
    assert type(facts[-1]) is Concluded


@pytest.mark.parametrize(
    ("setting", "least"), [("lease_ms", 1), ("max_attempts", 1), ("at_hand", 1), ("timeout_ms", 0)]
)
def test_a_setting_of_an_assignment_that_makes_no_sense_is_refused(setting: str, least: int) -> None:
    with pytest.raises(ValueError, match=f"{setting} is at least {least}, not {least - 1}"):
        assignment(("a",), ("w",), **{setting: least - 1})

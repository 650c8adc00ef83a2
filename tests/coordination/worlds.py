"""What one seed makes of each protocol: a setup, a crew, faults, and the trace of it all."""

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from coordination.assignment import Fail, assignment
from coordination.authority import Authority
from coordination.authority_commands import Act, Answer, Check, Delegate, Escalate, Issue, Perform, Revoke, Withdraw
from coordination.certificate import certify
from coordination.consensus import Cast, Vote
from coordination.grant import Grant, Limits, Use
from coordination.levels import hierarchy
from coordination.load import Balanced, Finish, Lose, Steal, Submit
from coordination.paxos import Accept, Number
from coordination.registered import ASSIGNMENT, AUTHORITY, CONSENSUS, LOAD
from coordination.voting import question
from coordination.worker import Finish as Finished
from kos_runtime.core.envelope import Envelope
from kos_runtime.core.machine import Consult, Invariant, Trace, violations
from kos_runtime.simulator.schedule import Faults, Schedule


def consensus(seed: int) -> Schedule:
    rng = Random(f"{seed}/consensus")
    names = [f"p{i}" for i in range(rng.choice((3, 3, 4, 5, 5, 7)))]
    rule = rng.choice(("majority", "weighted", "unanimous", "approval", "schulze"))
    options = ("yes", "no", "later")[: rng.randint(2, 3)]
    electors = {name: rng.randint(1, 3) for name in names}
    asked = question("ship it?", options, electors, rule=rule, participation="1/2", breaks_ties=rng.random() < 0.5)
    vote = Vote(asked, "coordination/s", deadline_ms=5_000, rounds=1 + (rng.random() < 0.2), seed=seed)
    schedule = Schedule(CONSENSUS.machine, vote, names, _voted, seed)
    if rng.random() < 0.3:
        # Somebody votes in a peer's place, at some time.
        schedule.command(rng.choice(names), Cast(1, (rng.choice(options),), "from outside"), rng.randint(0, 400))
    if rng.random() < 0.15:
        # Somebody proposes, in a peer's name, an outcome that no ballots bear out.
        sender, at = rng.choice(names), rng.randint(0, 400)
        number = Number(rng.randint(1, 4), sender, 1)
        value = certify(asked, ()).value.replace(b'"no_quorum"', b'"decided"')
        for name in names:
            if name != sender and rng.random() < 0.7:
                schedule.forge(Envelope(sender, name, 1_000, 1, Accept(1, number, value), ""), at)
    return schedule


def _voted(node: str, consult: Consult, rng: Random) -> Any:
    number, chance = consult.question["round"], rng.random()
    if chance < 0.05:
        return None
    if chance < 0.1:
        return Cast(number, (), "I cannot say")
    return Cast(number, (rng.choice(consult.question["options"]),), f"{node} thinks so")


def tasks(seed: int) -> Schedule:
    rng = Random(f"{seed}/tasks")
    workers = tuple(f"w{i}" for i in range(rng.randint(1, 5)))
    setup = assignment(
        tuple(f"t{i}" for i in range(rng.randint(0, 10))), workers, lease_ms=rng.choice((1_000, 3_000, 10_000)),
        timeout_ms=20_000, idempotent=rng.random() < 0.5, at_hand=rng.randint(1, 3), seed=seed,
    )  # fmt: skip
    schedule = Schedule(
        ASSIGNMENT.machine, setup, ("master", *workers), _worked, seed, keeps=("master",), until=("master",)
    )
    if rng.random() < 0.3:
        schedule.command("master", Fail(rng.choice(workers), "seen to fail"), rng.randint(0, 2_000))
    return schedule


def _worked(node: str, consult: Consult, rng: Random) -> Any:
    epoch, name, attempt = consult.question
    chance = rng.random()
    if chance < 0.1:
        return None
    return Finished(epoch, error="it broke") if chance < 0.25 else Finished(epoch, [name, node, attempt])


CALM: Final = Faults(crash=0.02, heal_ms=50_000)
TREE: Final = hierarchy({"chief": "", "left": "chief", "right": "chief", "a": "left", "b": "left", "c": "right"})


def authority(seed: int) -> Schedule:
    """Random grants, uses, revocations, delegations and escalations of a small tree, some of them wrong."""
    rng = Random(f"{seed}/authority")
    schedule = Schedule(
        AUTHORITY.machine, Authority(TREE, 500), ("authority",), _said, seed, CALM, keeps=("authority",)
    )
    grants: list[Grant] = []
    at = 0
    for i in range(rng.randint(5, 60)):
        at += rng.randint(0, 100)
        schedule.command("authority", _wanted(rng, i, grants), at)
    return schedule


_AGENTS: Final = ("chief", "left", "right", "a", "b", "c")
_ACTIONS: Final = ("read", "write", "deploy")
_SCOPES: Final = ("", "docs", "docs/a", "docsets", "src")


def _limit(rng: Random) -> int | None:
    return None if rng.random() < 0.4 else rng.randint(0, 4)


def _wanted(rng: Random, i: int, grants: list[Grant]) -> Any:
    agent, action, scope = rng.choice(_AGENTS), rng.choice(_ACTIONS), rng.choice(_SCOPES)
    use = Use(agent, action, rng.choice(_SCOPES), rng.randint(0, 2))
    chance = rng.random()
    if chance < 0.4 or not grants:
        begins = rng.choice((0, 0, 0, 500))
        ends, depth = begins + rng.choice((400, 2_000, 9_000)), rng.randint(0, 4)
        limits = Limits(_limit(rng), _limit(rng), _limit(rng))
        if rng.random() < 0.2 or not grants:
            made = Grant(f"g{i}", "", "user:operator", agent, _ACTIONS, "", limits, begins, ends, depth + 1)
        else:
            parent = rng.choice(grants)
            issuer = agent if rng.random() < 0.1 else parent.subject
            actions = tuple(rng.sample(_ACTIONS, rng.randint(1, 3)))
            made = Grant(f"g{i}", parent.id, issuer, agent, actions, scope, limits, begins, ends, depth)
        grants.append(made)
        return Issue(made)
    known = rng.choice(grants)
    if chance < 0.6 and i % 3 == 0:
        # The same piece of work comes several times, some of it after what allowed it was revoked or used up.
        both = Use(known.subject, known.actions[0], known.scope, 1), Use(known.subject, known.actions[-1], known.scope)
        return Perform(both, f"work{i % 12}")
    if 0.6 <= chance < 0.62:
        return Withdraw(f"r{i - 1}", "not needed")
    if chance < 0.6:
        return Act(Use(known.subject, rng.choice(known.actions), use.target, use.cost), known.id)
    if chance < 0.7:
        return Act(use)
    if chance < 0.8:
        return Revoke(known.id, rng.choice(("user:operator", known.issuer, agent)))
    if chance < 0.82:
        return Check(use)
    if chance < 0.92:
        return Delegate(
            f"task{i}", agent, rng.choice(("up", "down")), rng.randint(0, 3), rng.choice((None, use)), 1_000
        )
    return Escalate(f"r{i}", use, "there is need", 1_000)


def _said(node: str, consult: Consult, rng: Random) -> Any:
    if rng.random() < 0.4:
        return None
    name, _, who = consult.key.rpartition("/")
    return Answer(name, who, rng.choice(("grant", "grant", "deny", "pass")))


def load(seed: int) -> Schedule:
    rng = Random(f"{seed}/load")
    peers = tuple(f"p{i}" for i in range(rng.randint(1, 5)))
    schedule = Schedule(LOAD.machine, Balanced(peers, seed), ("load",), _silent, seed, CALM, keeps=("load",))
    names = [f"t{i}" for i in range(rng.randint(1, 20))]
    for _ in range(rng.randint(2, 40)):
        chance, peer = rng.random(), rng.choice(peers)
        command: Any = Finish(rng.choice(names), peer, rng.randint(1, 30))
        if chance < 0.2:
            command = Submit(tuple(rng.sample(names, rng.randint(1, len(names)))))
        elif chance < 0.4:
            command = Steal(peer)
        elif chance < 0.45:
            command = Lose(peer)
        schedule.command("load", command, rng.randint(1, 3_000))
    return schedule


def _silent(node: str, consult: Consult, rng: Random) -> Any:
    return None


WORLDS: Final[Mapping[str, tuple[Callable[[int], Schedule], Mapping[str, Invariant]]]] = {
    "consensus": (consensus, CONSENSUS.invariants),
    "tasks": (tasks, ASSIGNMENT.invariants),
    "authority": (authority, AUTHORITY.invariants),
    "load": (load, LOAD.invariants),
}


def ran(world: str, seed: int) -> tuple[Trace, list[str], Mapping[str, int]]:
    """Run one seed of a world: its trace, what it contradicts, and what came how often."""
    make, invariants = WORLDS[world]
    schedule = make(seed)
    trace = schedule.run()
    return trace, violations(trace, invariants), schedule.seen

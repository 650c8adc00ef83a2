"""One-line breaks of the shipped protocols, planted into the functions where they stand."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, NamedTuple

from coordination import assignment, authority, certificate, consensus, grant, load, paxos, quorum
from kos_runtime.simulator import schedule


class Mutant(NamedTuple):
    world: str
    module: ModuleType
    #: The function, as ``Class.function`` or ``function``.
    where: str
    line: str
    instead: str
    #: A seed that shows it; when a world has changed, a neighbour will.
    seed: int = 0


MUTANTS: Final[dict[str, Mutant]] = {
    "a promise is not stored": Mutant(
        "consensus", consensus, "ConsensusPeer._on_message",
        "return Transition(() if promised is None else (promised,), sends=",
        "return Transition((), notes=() if promised is None else (promised,), sends=",
    ),
    "an acceptance is not stored": Mutant(
        "consensus", consensus, "ConsensusPeer._on_accept",
        "return Transition(() if accepted is None else (accepted,), sends=",
        "return Transition((), notes=() if accepted is None else (accepted,), sends=",
    ),
    "a proposer proposes its own value": Mutant(
        "consensus", paxos, "free_value", "return latest.value if latest.accepted > NONE else own", "return own",
        seed=9,
    ),
    "an acceptor accepts any number": Mutant(
        "consensus", paxos, "on_accept", "if asked.number < acceptor.promised:", "if asked.number < NONE:",
        seed=11,
    ),
    "half is a majority": Mutant("consensus", quorum, "majority", "return members // 2 + 1", "return (members + 1) // 2", seed=24),
    "an elector votes twice": Mutant(
        "consensus", consensus, "ConsensusPeer._on_command", "if state.me in place.ballots:", "if state.me in ():",
        seed=4,
    ),
    "a ballot is told and not stored": Mutant(
        "consensus", consensus, "ConsensusPeer._on_command",
        "made = Transition([cast], sends=", "made = Transition([], notes=(cast,), sends=",
    ),
    "answers to earlier proposals count": Mutant(
        "consensus", consensus, "ConsensusPeer._on_answer", "if body.number != proposer.number:", "if body.number == ():",
        seed=140,
    ),
    "a proposal that came to nothing is not tried again": Mutant(
        "consensus", consensus, "ConsensusPeer._propose",
        'made.timers = (SetTimer("round", now + _wait(state, number, place.waits + 1)),)', "made.timers = ()",
        seed=5,
    ),
    "a value is taken under a number without being recorded": Mutant(
        "consensus", consensus, "ConsensusPeer._on_answer",
        "facts: list[Any] = [paxos.Proposing(body.round, body.number, value)]", "facts: list[Any] = []",
    ),
    "heartbeats renew nothing": Mutant(
        "tasks", assignment, "fold", "held[epoch].renewed_at = fact.at", "held[epoch].renewed_at += 0",
    ),
    "one attempt too many": Mutant(
        "tasks", assignment, "_give_out", "if attempts >= setup.max_attempts:", "if attempts > setup.max_attempts:",
        seed=31,
    ),
    "a second attempt beside one that may not be done twice": Mutant(
        "tasks", assignment, "_give_out", "if setup.idempotent and free:", "if free:",
    ),
    "what was beaten stays open": Mutant(
        "tasks", assignment, "_take", "for epoch in state.open_of[lease.task]:", "for epoch in ():",
        seed=103,
    ),
    "leases are not looked at again": Mutant(
        "tasks", assignment, "decide",
        'timer = SetTimer("leases", now + max(1, state.setup.lease_ms // 4))', 'timer = SetTimer("leases", 0)',
    ),
    "results come out as they came in": Mutant(
        "tasks", assignment, "aggregate", '"results": [[names[i], done[i]] for i in sorted(done)],',
        '"results": [[names[i], done[i]] for i in done],',
    ),
    "work leaves under an earlier epoch": Mutant(
        "tasks", assignment, "_lease", "Work(task, draft.state.setup.tasks[task], draft.epoch, attempt)",
        "Work(task, draft.state.setup.tasks[task], draft.epoch - 1, attempt)",
    ),
    "a grant never ends": Mutant(
        "authority", grant, "objection", "if not grant.not_before <= now < grant.expires_at:", "if not grant.not_before <= now:",
        seed=12,
    ),
    "only the last grant of a chain is looked at": Mutant(
        "authority", grant, "objection", "for grant in walked:", "for grant in walked[:1]:",
        seed=632,
    ),
    "a revoked grant is handed on": Mutant(
        "authority", authority, "_is_void", "if grant.id in state.revoked:", "if grant.id in ():",
        seed=183,
    ),
    "a grant is longer than the one above": Mutant(
        "authority", grant, "wider", "if child.expires_at > parent.expires_at:", "if child.expires_at < 0:",
        seed=23,
    ),
    "a scope is a prefix of letters": Mutant(
        "authority", grant, "lies_within", 'scope.startswith(f"{outer}/")', "scope.startswith(outer)",
        seed=31,
    ),
    "what was used does not count": Mutant(
        "authority", grant, "objection", "if grant.limits.cost is not None and cost + use.cost > grant.limits.cost:",
        "if grant.limits.cost is not None and use.cost > grant.limits.cost:",
        seed=13,
    ),
    "work that was done may be done again": Mutant(
        "authority", authority, "_perform", "if before and not objection(state.grants, state.revoked, {}, before, use, now):",
        "if before:",
    ),
    "what is done together is counted one by one": Mutant(
        "authority", authority, "_perform", "_count(state, used, facts[-1])", "used.clear()",
    ),
    "work counts as done before it was done": Mutant(
        "authority", authority, "_perform", "facts.append(_acted(state, use, found, now, command.of))",
        "facts.append(_acted(state, use, found, now, command.of, again=True))",
    ),
    "an escalation goes round its level": Mutant(
        "authority", authority, "_climb", "higher = state.setup.hierarchy.superiors[request.to]", "higher = request.to",
    ),
    "a level has time without end": Mutant(
        "authority", authority, "_stand_with", "due = 0 if is_last else now + state.setup.answer_ms", "due = 0",
    ),
    "who is gone keeps its tasks": Mutant(
        "load", load, "Balancer._lose", "self._place(state, tuple(state.queues[peer]), left)", "self._place(state, (), left)",
    ),
    "an earlier owner finishes": Mutant(
        "load", load, "Balancer._finish",
        "if state.owner.get(said.task) != (said.peer, said.epoch) or said.task in state.finished:",
        "if said.task not in state.owner or said.task in state.finished:",
    ),
    "a certificate is not worked out again": Mutant(
        "consensus", certificate, "read", "if found.value != value:", "if not found.value:",
    ),
    "repeated answers count again": Mutant(
        "consensus", consensus, "ConsensusPeer._fold_answer", "proposer.accepts[fact.acceptor] = True",
        'proposer.accepts[f"{fact.acceptor}/{len(proposer.accepts)}"] = True',
    ),
    "the electorate is who has voted so far": Mutant(
        "consensus", consensus, "ConsensusPeer._on_answer", "electors = len(state.others) + 1", "electors = len(place.ballots)",
    ),
    "who lost its disk comes back under its name": Mutant(
        "consensus", schedule, "Schedule._die", 'stranger = f"{node.name}+"', "stranger = node.name",
    ),
    "what was sent is not on the disk yet": Mutant(
        "consensus", schedule, "Schedule._take", "node.facts.extend(made.facts)", "node.facts.extend(() if dies else made.facts)",
    ),
    "who accepts has promised nothing": Mutant(
        "consensus", paxos, "fold_acceptor", "acceptor.promised = fact.number",
        "acceptor.promised = acceptor.promised if isinstance(fact, Accepted) else fact.number",
    ),
    "a grant begins before the one above": Mutant(
        "authority", grant, "wider", "if child.not_before < parent.not_before:", "if child.not_before < 0:",
    ),
    "a grant is used once more than it may": Mutant(
        "authority", grant, "objection", "count + 1 > grant.limits.count:", "count > grant.limits.count:",
    ),
    "an action is checked as of another moment": Mutant(
        "authority", authority, "_act", "problem = objection(state.grants, state.revoked, state.used, id, use, now)",
        "problem = objection(state.grants, state.revoked, state.used, id, use, 0)",
    ),
    "whoever is given a task may have one more": Mutant(
        "tasks", assignment, "Draft.has_room", "return self.load(worker) <", "return self.load(worker) <=",
    ),
    "a straggler's task is with three": Mutant(
        "tasks", assignment, "_speculate", ">= SIDE_BY_SIDE", "> SIDE_BY_SIDE",
    ),
    "a thief takes tasks under one epoch": Mutant(
        "load", load, "Balancer._steal", "Claimed(task, thief, count + i)", "Claimed(task, thief, count + 1)",
        seed=6974,
    ),
}  # fmt: skip


def _code(within: CodeType, qualname: str) -> CodeType | None:
    for constant in within.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_qualname == qualname:
                return constant
            found = _code(constant, qualname)
            if found is not None:
                return found
    return None


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Break the shipped function in place, for whoever has imported it by whatever name, and mend it again."""
    source = inspect.getsource(mutant.module)
    flat = source
    assert flat.count(mutant.line) >= 1, f"{mutant.module.__name__} has no line {mutant.line!r}"
    code = _code(compile(flat.replace(mutant.line, mutant.instead), "planted", "exec"), mutant.where)
    assert code is not None, f"{mutant.module.__name__} has no {mutant.where}"
    function: Any = mutant.module
    for part in mutant.where.split("."):
        function = getattr(function, part)
    kept = getattr(function, "cache_clear", lambda: None)
    function = getattr(function, "__wrapped__", function)
    assert isinstance(function, FunctionType)
    assert code.co_code != function.__code__.co_code or code.co_consts != function.__code__.co_consts
    before, function.__code__ = function.__code__, code
    kept()
    try:
        yield
    finally:
        function.__code__ = before
        kept()

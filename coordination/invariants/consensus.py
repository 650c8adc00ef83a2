"""What consensus between peers must never do, as functions of a trace; the names are C1 to C10."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from coordination import paxos
from coordination.certificate import read
from coordination.consensus import BallotCast, BallotSent, Decided
from kos_runtime.core.machine import Concluded, Invariant, Step, Trace


def _facts(trace: Trace, *kinds: type) -> Iterator[tuple[Step, Any]]:
    for step in trace.steps:
        for fact in step.transition.facts:
            if type(fact) in kinds:
                yield step, fact


def agreement(trace: Trace) -> list[str]:
    """C1: all that decide a round decide the same."""
    found: dict[int, tuple[str, bytes]] = {}
    wrong = []
    for step, fact in _facts(trace, Decided):
        node, value = found.setdefault(fact.round, (step.node, fact.value))
        if value != fact.value:
            wrong.append(f"round {fact.round}: {node} and {step.node} decided differently")
    return wrong


def validity(trace: Trace) -> list[str]:
    """C2: a decision is what the rule makes of its ballots, and each was cast by that elector."""
    cast = {(fact.round, step.node, fact.choices, fact.reason) for step, fact in _facts(trace, BallotCast)}
    wrong = []
    for step, fact in _facts(trace, Decided):
        try:
            found = read(trace.setup.question, fact.value)
        except ValueError as error:
            wrong.append(f"round {fact.round} at {step.node}: {error}")
            continue
        if (fact.outcome, fact.option) != (found.outcome.kind, found.outcome.option):
            wrong.append(
                f"round {fact.round} at {step.node}: it says {fact.option!r}, its ballots {found.outcome.option!r}"
            )
        wrong += [
            f"round {fact.round} at {step.node}: {ballot.elector} never cast {ballot.choices}"
            for ballot in found.ballots
            if (fact.round, ballot.elector, ballot.choices, ballot.reason) not in cast
        ]
    return wrong


def integrity(trace: Trace) -> list[str]:
    """C3: one ballot of each elector and one decision of each peer, a round."""
    seen: set[tuple[str, str, int]] = set()
    wrong = []
    for step, fact in _facts(trace, BallotCast, Decided):
        key = type(fact).__name__, step.node, fact.round
        if key in seen:
            wrong.append(f"round {fact.round}: {step.node} has {key[0]} twice")
        seen.add(key)
    return wrong


def quorum(trace: Trace) -> list[str]:
    """C4: what is decided was accepted, durably and under one number, by a majority of the electorate."""
    accepted: dict[tuple[int, paxos.Number, bytes], set[str]] = defaultdict(set)
    chosen: set[tuple[int, bytes]] = set()
    electors = len(trace.setup.question.electors)
    wrong = []
    for step, fact in _facts(trace, paxos.Accepted, Decided):
        if type(fact) is Decided:
            if (fact.round, fact.value) not in chosen:
                wrong.append(f"round {fact.round}: {step.node} decided what no majority had accepted")
            continue
        key = fact.round, fact.number, fact.value
        accepted[key].add(step.node)
        if 2 * len(accepted[key]) > electors:
            chosen.add((fact.round, fact.value))
    return wrong


def promises(trace: Trace) -> list[str]:
    """C5: who has told anybody of a promise keeps it, in all later lives."""
    told: dict[tuple[str, int], paxos.Number] = {}
    wrong = []
    for step in trace.steps:
        for send in step.transition.sends:
            body = send.body
            if isinstance(body, (paxos.Promise, paxos.AcceptedBy)):
                key = step.node, body.round
                if body.number < told.get(key, paxos.NONE):
                    wrong.append(f"round {body.round}: {step.node} answered {body.number} after {told[key]}")
                told[key] = max(body.number, told.get(key, paxos.NONE))
    return wrong


def one_value(trace: Trace) -> list[str]:
    """C6: under one number one value is ever proposed or accepted."""
    values: dict[tuple[int, paxos.Number], bytes] = {}
    wrong = []
    for step in trace.steps:
        said: list[Any] = [send.body for send in step.transition.sends if isinstance(send.body, paxos.Accept)]
        said += [fact for fact in step.transition.facts if isinstance(fact, paxos.Accepted)]
        wrong += [
            f"round {body.round}: two values under {body.number}, the second at {step.node}"
            for body in said
            if values.setdefault((body.round, body.number), body.value) != body.value
        ]
    return wrong


def chosen_is_kept(trace: Trace) -> list[str]:
    """C7: once a value is chosen, nothing else is accepted under a higher number."""
    accepted: dict[tuple[int, paxos.Number], set[str]] = defaultdict(set)
    chosen: dict[int, tuple[paxos.Number, bytes]] = {}
    electors = len(trace.setup.question.electors)
    wrong = []
    for step, fact in _facts(trace, paxos.Accepted):
        held = chosen.get(fact.round)
        if held is not None and fact.number > held[0] and fact.value != held[1]:
            wrong.append(f"round {fact.round}: {step.node} accepted another value under {fact.number}")
        accepted[fact.round, fact.number].add(step.node)
        if held is None and len(accepted[fact.round, fact.number]) * 2 > electors:
            chosen[fact.round] = fact.number, fact.value
    return wrong


def stability(trace: Trace) -> list[str]:
    """C8: a peer that has decided says nothing else of that round in any message, in any later life."""
    held: dict[tuple[str, int], bytes] = {}
    wrong = []
    for step in trace.steps:
        for fact in step.transition.facts:
            if isinstance(fact, Decided):
                held.setdefault((step.node, fact.round), fact.value)
        for send in step.transition.sends:
            body = send.body
            decided = held.get((step.node, getattr(body, "round", 0)))
            if decided is not None and getattr(body, "value", decided) not in {decided, None}:
                wrong.append(f"round {body.round}: {step.node} says another value than it has decided")
    return wrong


def progress(trace: Trace) -> list[str]:
    """C9: when all has healed, with a majority up, every elector that is up comes to the end."""
    electors = [name for name, _ in trace.setup.question.electors]
    up = [name for name in trace.healed if name in electors]
    if 2 * len(up) <= len(electors):
        return []
    done = {step.node for step, _ in _facts(trace, Concluded)}
    return [f"{name} has not decided" for name in up if name not in done]


def recorded(trace: Trace) -> list[str]:
    """C10: what a peer tells others stands in its own records, in this transition or before."""
    known: dict[str, set[Any]] = defaultdict(set)
    wrong = []
    for step in trace.steps:
        mine = known[step.node]
        for fact in step.transition.facts:
            if isinstance(fact, (paxos.Promised, paxos.Accepted)):
                mine.add((type(fact), fact.round, fact.number))
                mine.add((paxos.Promised, fact.round, fact.number))  # who accepts promises as well
            elif isinstance(fact, paxos.Proposing) and fact.value is not None:
                mine.add((paxos.Proposing, fact.round, fact.number, fact.value))
            elif isinstance(fact, BallotCast):
                mine.add((BallotCast, fact.round, fact.choices, fact.reason))
        for send in step.transition.sends:
            said = _needs(send.body)
            if said is not None and said not in mine:
                wrong.append(f"{step.node} told {send.to} what it has not recorded: {type(send.body).__name__}")
    return wrong


def _needs(body: Any) -> Any:
    match body:
        case paxos.Promise():
            return paxos.Promised, body.round, body.number
        case paxos.AcceptedBy():
            return paxos.Accepted, body.round, body.number
        case paxos.Accept():
            return paxos.Proposing, body.round, body.number, body.value
        case BallotSent():
            return BallotCast, body.round, body.choices, body.reason
        case _:
            return None


INVARIANTS: Final[Mapping[str, Invariant]] = {
    "C1 agreement": agreement,
    "C2 validity": validity,
    "C3 integrity": integrity,
    "C4 quorum": quorum,
    "C5 promises": promises,
    "C6 one value": one_value,
    "C7 chosen is kept": chosen_is_kept,
    "C8 stability": stability,
    "C9 progress": progress,
    "C10 recorded": recorded,
}

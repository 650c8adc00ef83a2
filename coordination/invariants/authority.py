"""What a hierarchy must never do, as functions of a trace; the names are A1 to A7.

The checks are written anew and naively here, from the facts alone: for every use all grants above are looked up again. A7 alone asks the shipped
rules, which have to come to the same verdict whenever the log is folded.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from coordination.authority import Authorities, as_authority, verdict
from coordination.authority_facts import Acted, Escalated, EscalationEnded, Granted, Revoked
from kos_runtime.core.machine import Invariant, Trace


def _facts(trace: Trace) -> Iterator[tuple[int, Any]]:
    for step in trace.steps:
        for fact in step.transition.facts:
            yield step.at, fact


def _line(grants: Mapping[str, Granted], id: str) -> list[Granted]:
    """Return a grant and all above it; what is missing or runs in a circle ends the line before its root."""
    found: list[Granted] = []
    while id and id in grants and grants[id] not in found:
        found.append(grants[id])
        id = grants[id].parent
    return found


def _inside(target: str, scope: str) -> bool:
    outer = [part for part in scope.split("/") if part]
    parts = [part for part in target.split("/") if part]
    return parts[: len(outer)] == outer and (parts == outer or not outer or not {".", ".."} & {*parts})


def valid_chains(trace: Trace) -> list[str]:
    """A1 and A3: what was done was granted, by a chain of which nothing was revoked or over when it was done."""
    grants: dict[str, Granted] = {}
    revoked: set[str] = set()
    wrong = []
    for at, fact in _facts(trace):
        if isinstance(fact, Granted):
            grants[fact.id] = fact
        elif isinstance(fact, Revoked):
            revoked.add(fact.grant)
        elif isinstance(fact, Acted):
            line = _line(grants, fact.grant)
            if not line or line[-1].parent:
                wrong.append(f"{fact.agent} did {fact.action} under {fact.grant!r}, which comes from nobody")
                continue
            if line[0].subject != fact.agent:
                wrong.append(f"{fact.agent} did {fact.action} under a grant of {line[0].subject}")
            if fact.chain and fact.chain != [grant.id for grant in line]:
                wrong.append(
                    f"{fact.agent} did {fact.action} under {fact.grant!r}, and its chain is told as {fact.chain}"
                )
            for grant in line:
                if grant.id in revoked:
                    wrong.append(f"{fact.agent} did {fact.action} under {grant.id!r}, which was revoked")
                if not grant.not_before <= at < grant.expires_at:
                    wrong.append(f"{fact.agent} did {fact.action} under {grant.id!r}, outside of its time")
                if fact.action not in grant.actions or not _inside(fact.target, grant.scope):
                    wrong.append(f"{fact.agent} did {fact.action} at {fact.target!r}, which {grant.id!r} is not for")
    return wrong


def attenuation(trace: Trace) -> list[str]:
    """A2 and A4: nobody hands on what was not theirs, or more than that."""
    grants: dict[str, Granted] = {}
    wrong = []
    for at, fact in _facts(trace):
        if not isinstance(fact, Granted):
            continue
        above = grants.get(fact.parent)
        grants[fact.id] = fact
        if above is None:
            if fact.parent or fact.issuer != as_authority(trace.setup).hierarchy.person:
                wrong.append(f"{fact.id!r} is cut from nothing, by {fact.issuer}")
            continue
        if above.subject != fact.issuer or not at < above.expires_at:
            wrong.append(f"{fact.id!r} was not {fact.issuer}'s to give")
        wider = (
            set(fact.actions) - set(above.actions)
            or not _inside(fact.scope, above.scope)
            or fact.not_before < above.not_before
            or fact.expires_at > above.expires_at
            or fact.depth >= above.depth
            or any(b is not None and (a is None or a > b) for a, b in zip(fact.limits, above.limits, strict=True))
        )
        if wider:
            wrong.append(f"{fact.id!r} is wider than {above.id!r}")
    return wrong


def revoked_stays(trace: Trace) -> list[str]:
    """A3: from what was revoked nothing more is cut."""
    grants: dict[str, Granted] = {}
    revoked: set[str] = set()
    wrong = []
    for _, fact in _facts(trace):
        if isinstance(fact, Revoked):
            revoked.add(fact.grant)
        elif isinstance(fact, Granted):
            grants[fact.id] = fact
            if any(grant.id in revoked for grant in _line(grants, fact.parent)):
                wrong.append(f"{fact.id!r} was cut from something revoked")
    return wrong


def no_circles(trace: Trace) -> list[str]:
    """A5: grants form a forest: what a grant is cut from was there before it, and ids are given once."""
    seen: set[str] = set()
    wrong = []
    for _, fact in _facts(trace):
        if isinstance(fact, Granted):
            if fact.id in seen or (fact.parent and fact.parent not in seen):
                wrong.append(f"{fact.id!r} is no new leaf")
            seen.add(fact.id)
    return wrong


def escalations_end(trace: Trace) -> list[str]:
    """A6: a request stands with each above at most once, always higher, and is answered once, by who it stands with."""
    stood: dict[str, list[str]] = defaultdict(list)
    ended: set[str] = set()
    tree = as_authority(trace.setup).hierarchy
    wrong = []
    for _, fact in _facts(trace):
        if isinstance(fact, Escalated):
            stood[fact.request].append(fact.to)
            expected = list(tree.above(fact.use[0]))[: len(stood[fact.request])]
            if stood[fact.request] != expected or fact.request in ended:
                wrong.append(f"request {fact.request!r} went to {fact.to}, out of turn")
            if (fact.due == 0) != (fact.to == tree.person):
                wrong.append(f"request {fact.request!r} would never leave {fact.to}")
        elif isinstance(fact, EscalationEnded):
            if fact.verdict == "withdrawn":
                ended.add(fact.request)
            elif fact.request in ended or stood[fact.request][-1:] != [fact.by]:
                wrong.append(f"request {fact.request!r} was answered by {fact.by}, out of turn")
            ended.add(fact.request)
    return wrong


def limits_hold(trace: Trace) -> list[str]:
    """A4: a grant and all below it together use no more than its limits, each piece of work counted once."""
    grants: dict[str, Granted] = {}
    cost: dict[str, int] = defaultdict(int)
    count: dict[str, int] = defaultdict(int)
    wrong = []
    for _, fact in _facts(trace):
        if isinstance(fact, Granted):
            grants[fact.id] = fact
        elif isinstance(fact, Acted) and not fact.again:
            for grant in _line(grants, fact.grant):
                cost[grant.id] += fact.cost
                count[grant.id] += 1
                most_cost, most_count, _ = grant.limits
                if (most_cost is not None and cost[grant.id] > most_cost) or (
                    most_count is not None and count[grant.id] > most_count
                ):
                    wrong.append(f"{fact.agent} did {fact.action} beyond the limits of {grant.id!r}")
    return wrong


def once(trace: Trace) -> list[str]:
    """A4: what is not counted was counted before: the same piece of work, under the same grant."""
    counted: set[tuple[str, str, str, str, str]] = set()
    wrong = []
    for _, fact in _facts(trace):
        if isinstance(fact, Acted):
            key = fact.of, fact.agent, fact.action, fact.target, fact.grant
            if fact.again and key not in counted:
                wrong.append(f"{fact.agent} did {fact.action} for {fact.of!r} uncounted, and not once more")
            counted.add(key)
    return wrong


def same_verdict(trace: Trace) -> list[str]:
    """A7: what was decided is decided again, by the shipped rules, at the instant that was recorded with it."""
    machine = Authorities()
    state = machine.initial("again", trace.setup)
    wrong = []
    for _, fact in _facts(trace):
        problem = verdict(state, fact)
        if problem:
            wrong.append(f"{type(fact).__name__} was recorded, and folding the log again says: {problem}")
        machine.evolve(state, fact)
    return wrong


INVARIANTS: Final[Mapping[str, Invariant]] = {
    "A1 valid chains": valid_chains,
    "A2 attenuation": attenuation,
    "A3 revoked stays": revoked_stays,
    "A4 limits hold": limits_hold,
    "A5 no circles": no_circles,
    "A4 counted once": once,
    "A6 escalations end": escalations_end,
    "A7 same verdict": same_verdict,
}

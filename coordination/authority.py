"""The machine of a hierarchy: grants, what is done under them, delegation and escalation.

All of it is decided in one place, the partition's, against the state at one position: an action is checked in the same
transition that records it, so that a revocation which was recorded first wins, and what is checked is what is stored. The
time of a check is the time that is recorded with it, so that folding the log again comes to the same verdict.

An escalation climbs from level to level, each with a deadline; silence passes it on. It can only go up, so it ends, at the
person. What is answered when it has gone on is refused.
"""

from collections import ChainMap
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from coordination.authority_commands import (
    Act,
    Answer,
    Check,
    Delegate,
    DelegationResult,
    Escalate,
    Issue,
    Perform,
    Revoke,
    Show,
    Withdraw,
    command_of,
)
from coordination.authority_facts import Acted, Delegated, Escalated, EscalationEnded, Granted, Passed, Revoked
from coordination.authority_tree import shown
from coordination.grant import Grant, Limits, Use, chain, malformed, objection, wider
from coordination.levels import Hierarchy, hierarchy
from kos_runtime.core.machine import (
    Answered,
    Began,
    Commanded,
    Consult,
    Fired,
    Refused,
    SetTimer,
    Stimulus,
    Transition,
)
from kos_runtime.core.nearest import nearest
from kos_runtime.core.terms import term

#: An instance holds at most so many grants, and so many open escalations.
MAX_GRANTS: Final = 100_000
MAX_ESCALATIONS: Final = 1_000


@term("authority.setup")
@dataclass(frozen=True, slots=True)
class Authority:
    """What the machine is set up with."""

    hierarchy: Hierarchy
    #: How long each level has to answer an escalation.
    answer_ms: int = 60_000


def as_authority(setup: "Authority | Mapping[str, Any]") -> Authority:
    """Return a setup that may be plain data: ``{person, superiors: {agent: superior}, answer_ms}``.

    Raises:
        ValueError: The hierarchy has a circle, or somebody stands above themselves.
    """
    if isinstance(setup, Authority):
        return setup
    return Authority(hierarchy(setup["superiors"], setup["person"]), setup["answer_ms"])


# --- state --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Request:
    use: Use
    reason: str
    to: str
    due: int
    expires_ms: int
    depth: int = 0


@dataclass(slots=True)
class Held:
    """The state."""

    setup: Authority
    grants: dict[str, Grant] = field(default_factory=dict)
    revoked: dict[str, str] = field(default_factory=dict)
    used: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: Under which grant a piece of work was done: (of, agent, action, target) → grant.
    done: dict[tuple[str, str, str, str], str] = field(default_factory=dict)
    children: dict[str, int] = field(default_factory=dict)
    of_agent: dict[str, list[str]] = field(default_factory=dict)
    delegated: dict[str, Delegated] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    ended: dict[str, EscalationEnded] = field(default_factory=dict)
    load: dict[str, int] = field(default_factory=dict)


class Authorities:
    """The machine. Its setup is an ``Authority``, or that as plain data."""

    name = "authority"
    version = 2

    def initial(self, me: str, setup: Authority | Mapping[str, Any]) -> Held:  # noqa: ARG002
        """Return the state in which nobody holds anything.

        Raises:
            ValueError: The hierarchy is none.
        """
        return Held(as_authority(setup))

    def answered(self, said: Answered) -> Answer:
        """Return the answer to an escalation: a verdict, or an object with ``verdict`` and ``comment``."""
        given = said.value.get("answer", said.value) if isinstance(said.value, dict) else said.value
        verdict = given.get("verdict") if isinstance(given, dict) else given
        comment = given.get("comment", "") if isinstance(given, dict) else ""
        if said.error or verdict not in {"grant", "deny", "pass"}:
            # Nothing that it could have meant gives authority.
            return Answer(said.question["request"], said.who, "pass", said.error or f"no verdict: {given!r:.200}")
        return Answer(said.question["request"], said.who, verdict, str(comment))

    def evolve(self, state: Held, fact: Any) -> None:
        match fact:
            case Granted():
                grant = to_grant(fact)
                state.grants[grant.id] = grant
                state.children[grant.parent] = state.children.get(grant.parent, 0) + 1
                state.of_agent.setdefault(grant.subject, []).append(grant.id)
            case Revoked():
                state.revoked[fact.grant] = fact.by
            case Acted():
                _count(state, state.used, fact)
                if fact.of:
                    state.done[fact.of, fact.agent, fact.action, fact.target] = fact.grant
            case Delegated():
                state.delegated[fact.task] = fact
                state.load[fact.to] = state.load.get(fact.to, 0) + 1
            case Escalated():
                use = Use(*fact.use)
                state.requests[fact.request] = Request(use, fact.reason, fact.to, fact.due, fact.expires_ms, fact.depth)
            case EscalationEnded():
                state.requests.pop(fact.request, None)
                state.ended[fact.request] = fact

    def decide(self, state: Held, stimulus: Stimulus, now: int) -> Transition:
        match stimulus:
            case Began():
                open_requests = list(state.requests.items())
                return Transition(
                    timers=[SetTimer(name, request.due) for name, request in open_requests if request.due],
                    consults=[_ask(name, request) for name, request in open_requests],
                )
            case Fired(name):
                request = state.requests.get(name)
                if request is None or now < request.due or not request.due:
                    return Transition(ignored="it has been answered")
                return _climb(state, name, request, request.to, "silent", now)
            case Commanded(command):
                return _command(state, command, now)
            case _:
                return Transition(ignored="authority is asked by commands")


def to_grant(fact: Granted) -> Grant:
    limits = Limits(*fact.limits)
    return Grant(
        fact.id, fact.parent, fact.issuer, fact.subject, tuple(fact.actions), fact.scope, limits, fact.not_before, fact.expires_at, fact.depth
    )  # fmt: skip


def _count(state: Held, used: MutableMapping[str, tuple[int, int]], fact: Acted) -> None:
    """Add what was done to what a grant and all above it have used."""
    if not fact.again:
        for grant in chain(state.grants, fact.grant):
            cost, count = used.get(grant.id, (0, 0))
            used[grant.id] = cost + fact.cost, count + 1


def _command(state: Held, command: Any, now: int) -> Transition:
    match command:
        case Mapping():
            return _in_plain_words(state, command, now)
        case Issue(grant):
            problem = _may_issue(state, grant, now)
            return Transition(reply=problem) if problem else Transition([_granted(grant, now)], reply=grant.id)
        case Revoke(id, by):
            return _revoke(state, id, by)
        case Check(use):
            return Transition(reply=find(state, use, now))
        case Act(use, id):
            return _act(state, use, id, now)
        case Perform():
            return _perform(state, command, now)
        case Delegate():
            return _delegate(state, command, now)
        case Escalate():
            return _escalate(state, command, now)
        case Answer():
            return _answer(state, command, now)
        case Withdraw():
            return _withdraw(state, command)
        case Show():
            return Transition(reply=shown(state, now))
        case _:
            return Transition(reply=Refused("invalid", "a hierarchy does not know this command"))


def _in_plain_words(state: Held, command: Mapping[str, Any], now: int) -> Transition:
    """Carry out a command that is plain data, and say so in plain data: for a host that knows nothing of authority."""
    try:
        wanted = command_of(command)
    except ValueError as error:
        return Transition(reply=Refused("invalid", str(error)))
    made = _command(state, wanted, now)
    if isinstance(made.reply, DelegationResult):
        made.reply = made.reply._asdict()
    return made


# --- grants -------------------------------------------------------------------------------------


def _granted(grant: Grant, now: int) -> Granted:
    limits = grant.limits
    return Granted(
        grant.id, grant.parent, grant.issuer, grant.subject, list(grant.actions), grant.scope,
        [limits.cost, limits.count, limits.fan_out], grant.not_before, grant.expires_at, grant.depth, now,
    )  # fmt: skip


def _may_issue(state: Held, grant: Grant, now: int) -> Refused | None:
    if problem := malformed(grant):
        return Refused("invalid", problem)
    if now >= grant.expires_at:
        return Refused("invalid", f"grant {grant.id!r} is over before it is given")
    if grant.id in state.grants:
        return Refused("conflict", f"there is a grant {grant.id!r} already")
    if len(state.grants) >= MAX_GRANTS:
        return Refused("busy", f"at most {MAX_GRANTS} grants are held")
    person = state.setup.hierarchy.person
    if not grant.parent:
        return None if grant.issuer == person else Refused("denied", f"only {person} gives what is cut from nothing")
    parent = state.grants.get(grant.parent)
    if parent is None:
        return Refused("not_found", f"there is no grant {grant.parent!r}")
    if parent.subject != grant.issuer:
        return Refused("denied", f"grant {parent.id!r} is {parent.subject}'s and not {grant.issuer}'s to hand on")
    if problem := _is_void(state, parent.id, now):
        return Refused("denied", problem)
    if problem := wider(grant, parent):
        return Refused("denied", f"grant {grant.id!r} is wider than {parent.id!r}: {problem}")
    fan_out = parent.limits.fan_out
    if fan_out is not None and state.children.get(parent.id, 0) >= fan_out:
        return Refused("denied", f"grant {parent.id!r} was handed on {fan_out} times, and may not be once more")
    return None


def _is_void(state: Held, id: str, now: int) -> str:
    """Return why nothing may be cut from a grant now, or nothing: its limits are checked when something is done."""
    for grant in chain(state.grants, id):
        if grant.id in state.revoked:
            return f"grant {grant.id!r} was revoked by {state.revoked[grant.id]}"
        if now >= grant.expires_at:
            return f"grant {grant.id!r} is not valid any more"
    return ""


def _revoke(state: Held, id: str, by: str) -> Transition:
    if id not in state.grants:
        near = nearest(id, tuple(state.grants))
        return Transition(
            reply=Refused("not_found", f"there is no grant {id!r}" + (f"; did you mean {near!r}?" if near else ""))
        )
    if by != state.setup.hierarchy.person and all(grant.issuer != by for grant in chain(state.grants, id)):
        return Transition(reply=Refused("denied", f"{by} gave neither {id!r} nor anything that it is cut from"))
    return Transition() if id in state.revoked else Transition([Revoked(id, by)])


def find(state: Held, use: Use, now: int, used: Mapping[str, tuple[int, int]] | None = None) -> str | Refused:
    """Return the first of an agent's grants under which something may be done, or why none is."""
    objections: list[str] = []
    for id in state.of_agent.get(use.agent, ()):
        problem = objection(state.grants, state.revoked, state.used if used is None else used, id, use, now)
        if not problem:
            return id
        if use.action in state.grants[id].actions or not objections:
            objections.append(problem)
    return Refused("denied", objections[-1] if objections else f"{use.agent} holds no grant")


def _act(state: Held, use: Use, id: str, now: int) -> Transition:
    if id:
        problem = objection(state.grants, state.revoked, state.used, id, use, now)
        found: str | Refused = Refused("denied", problem) if problem else id
    else:
        found = find(state, use, now)
    if isinstance(found, Refused):
        return Transition(reply=found)
    return Transition([_acted(state, use, found, now)], reply=found)


def _acted(state: Held, use: Use, grant: str, now: int, of: str = "", *, again: bool = False) -> Acted:
    line = [above.id for above in chain(state.grants, grant)]
    return Acted(use.agent, use.action, use.target, use.cost, grant, now, line, of, again)


def _perform(state: Held, command: Perform, now: int) -> Transition:
    used: ChainMap[str, tuple[int, int]] = ChainMap({}, state.used)
    facts: list[Any] = []
    for use in command.uses:
        before = state.done.get((command.of, use.agent, use.action, use.target), "")
        # What was counted when it was done first is not counted against it.
        if before and not objection(state.grants, state.revoked, {}, before, use, now):
            facts.append(_acted(state, use, before, now, command.of, again=True))
            continue
        first = command.grant
        found: str | Refused = first
        if not first or objection(state.grants, state.revoked, used, first, use, now):
            found = find(state, use, now, used)
        if isinstance(found, Refused):
            return Transition(reply=Refused("denied", f"{use.agent} may not {use.action!r}: {found.message}"))
        facts.append(_acted(state, use, found, now, command.of))
        _count(state, used, facts[-1])
    return Transition(facts, reply=[fact.grant for fact in facts])


# --- delegation ---------------------------------------------------------------------------------


def _delegate(state: Held, command: Delegate, now: int) -> Transition:
    task, tree = command.task, state.setup.hierarchy
    if task in state.delegated:
        known = state.delegated[task]
        return Transition(reply=DelegationResult(task, known.to, known.level, known.grant))
    if command.by not in tree.levels:
        return Transition(reply=DelegationResult(task, refused=f"{command.by!r} is not in the hierarchy"))
    here = tree.levels[command.by]
    if command.to:
        if command.to not in tree.levels:
            return Transition(reply=DelegationResult(task, refused=f"{command.to!r} is not in the hierarchy"))
        command = replace(command, level=tree.levels[command.to])
        lower, upper = (command.to, command.by) if command.direction == "down" else (command.by, command.to)
        if upper not in tree.above(lower):
            return Transition(reply=DelegationResult(task, refused=f"{upper} does not stand above {lower}"))
    if command.direction == "down":
        return _delegate_down(state, command, here, now)
    if not 0 <= command.level < here:
        return Transition(reply=DelegationResult(task, refused=f"up from level {here} is a level from 0 to {here - 1}"))
    to = next(name for name in tree.above(command.by) if tree.levels[name] == command.level)
    grant = ""
    if command.use is not None:
        found = find(state, _as(command.use, to), now)
        if isinstance(found, Refused):
            return Transition(reply=DelegationResult(task, refused=found.message))
        grant = found
    fact = Delegated(task, command.by, to, command.level, grant)
    return Transition([fact], reply=DelegationResult(task, to, command.level, grant))


def _delegate_down(state: Held, command: Delegate, here: int, now: int) -> Transition:
    task, tree = command.task, state.setup.hierarchy
    if command.level <= here:
        return Transition(reply=DelegationResult(task, refused=f"down from level {here} is a level from {here + 1} on"))
    below = tree.below(command.by, command.level)
    if not below:
        return Transition(
            reply=DelegationResult(task, refused=f"nobody below {command.by} is at level {command.level}")
        )
    to = command.to or min(below, key=lambda name: (state.load.get(name, 0), name))
    facts: list[Any] = []
    grant = ""
    if command.use is not None:
        found = find(state, _as(command.use, command.by), now)
        if isinstance(found, Refused):
            return Transition(reply=DelegationResult(task, refused=found.message))
        if state.grants[found].depth < 1:
            return Transition(reply=DelegationResult(task, refused=f"grant {found!r} may not be handed on"))
        cut = _cut(state.grants[found], f"{task}/{to}", to, command.use, now, command.expires_ms, command.count)
        if problem := _may_issue(state, cut, now):
            return Transition(reply=DelegationResult(task, refused=problem.message))
        facts.append(_granted(cut, now))
        grant = cut.id
    facts.append(Delegated(task, command.by, to, command.level, grant))
    return Transition(facts, reply=DelegationResult(task, to, command.level, grant))


def _as(use: Use, agent: str) -> Use:
    return Use(agent, use.action, use.target, use.cost)


def _cut(parent: Grant, id: str, subject: str, use: Use, now: int, expires_ms: int, count: int | None = None) -> Grant:
    """Cut from a grant what one task needs, and no more: that action, that target, that cost."""
    cost = use.cost if parent.limits.cost is not None or use.cost else None
    above = parent.limits.count
    count = above if count is None or (above is not None and above < count) else count
    limits = Limits(cost, count, parent.limits.fan_out)
    ends = min(parent.expires_at, now + expires_ms)
    begins = max(parent.not_before, now)
    depth = parent.depth - 1
    return Grant(
        id, parent.id, parent.subject, subject, (use.action,), use.target or parent.scope, limits, begins, ends, depth
    )


# --- escalation ---------------------------------------------------------------------------------


def _ask(name: str, request: Request) -> Consult:
    use = request.use
    question = {
        "request": name,
        "agent": use.agent,
        "action": use.action,
        "target": use.target,
        "cost": use.cost,
        "reason": request.reason,
    }
    return Consult(request.to, f"{name}/{request.to}", question)


def _escalate(state: Held, command: Escalate, now: int) -> Transition:
    if command.request in state.ended or command.request in state.requests:
        return Transition(reply=command.request)
    tree, agent = state.setup.hierarchy, command.use.agent
    if agent not in tree.levels:
        return Transition(reply=Refused("not_found", f"{agent!r} is not in the hierarchy"))
    if len(state.requests) >= MAX_ESCALATIONS:
        return Transition(reply=Refused("busy", f"{MAX_ESCALATIONS} escalations are open"))
    request = Request(command.use, command.reason, tree.superiors[agent], 0, command.expires_ms, command.depth)
    return _stand_with(state, command.request, request, now, [], command.request)


def _stand_with(state: Held, name: str, request: Request, now: int, facts: list[Any], reply: Any = None) -> Transition:
    is_last = request.to == state.setup.hierarchy.person
    due = 0 if is_last else now + state.setup.answer_ms
    use = [request.use.agent, request.use.action, request.use.target, request.use.cost]
    facts.append(Escalated(name, use, request.reason, request.to, due, request.expires_ms, request.depth))
    return Transition(facts, timers=(SetTimer(name, due),), consults=(_ask(name, request),), reply=reply)


def _climb(state: Held, name: str, request: Request, by: str, why: Any, now: int) -> Transition:
    higher = state.setup.hierarchy.superiors[request.to]
    following = replace(request, to=higher, due=0)
    return _stand_with(state, name, following, now, [Passed(name, by, why)])


def _answer(state: Held, command: Answer, now: int) -> Transition:
    request = state.requests.get(command.request)
    if request is None:
        known = command.request in state.ended
        message = f"request {command.request!r} " + ("has been answered" if known else "is not there")
        return Transition(reply=Refused("conflict" if known else "not_found", message))
    if request.to != command.by or (request.due and now >= request.due):
        return Transition(reply=Refused("conflict", f"request {command.request!r} stands with {request.to} now"))
    person, silent = state.setup.hierarchy.person, (SetTimer(command.request, 0),)
    asked = (f"{command.request}/{request.to}",)
    if command.verdict == "deny" or (command.by == person and command.verdict == "pass"):
        denied = EscalationEnded(command.request, command.by, "deny", "", command.comment)
        return Transition([denied], timers=silent, withdraws=asked)
    if command.verdict == "pass":
        return _climb(state, command.request, request, command.by, "passed", now)
    use, id = request.use, f"{command.request}/{request.use.agent}"
    if command.by == person:
        limits = Limits(use.cost, 1, 1 if request.depth else 0)
        ends = now + request.expires_ms
        cut = Grant(id, "", person, use.agent, (use.action,), use.target, limits, now, ends, request.depth)
    else:
        found = find(state, _as(use, command.by), now)
        if isinstance(found, Refused):
            # It says yes to what is not its own to give: whoever is above may.
            return _climb(state, command.request, request, command.by, "no_authority", now)
        cut = _cut(state.grants[found], id, use.agent, use, now, request.expires_ms, 1)
        if cut.depth < request.depth:
            return _climb(state, command.request, request, command.by, "no_authority", now)
        if _may_issue(state, cut, now) is not None:
            return _climb(state, command.request, request, command.by, "no_authority", now)
    if problem := _may_issue(state, cut, now):
        return Transition(reply=problem)
    ended = EscalationEnded(command.request, command.by, "grant", cut.id, command.comment)
    return Transition([_granted(cut, now), ended], timers=silent, withdraws=asked, reply=cut.id)


def _withdraw(state: Held, command: Withdraw) -> Transition:
    request = state.requests.get(command.request)
    if request is None:
        return Transition()
    ended = EscalationEnded(command.request, request.to, "withdrawn", "", command.why)
    return Transition([ended], timers=(SetTimer(command.request, 0),))


def verdict(state: Held, fact: Any) -> str:
    """Return what stands against a fact that is recorded next, at the instant that it names, or nothing."""
    match fact:
        case Granted():
            problem = _may_issue(state, to_grant(fact), fact.at)
            return problem.message if problem else ""
        case Acted():
            use = Use(fact.agent, fact.action, fact.target, fact.cost)
            used = {} if fact.again else state.used
            return objection(state.grants, state.revoked, used, fact.grant, use, fact.at)
        case _:
            return ""


def uses(state: Held) -> Mapping[str, tuple[int, int]]:
    """Return of each grant the cost and the count that were used under it."""
    return state.used

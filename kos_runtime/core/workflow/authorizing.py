"""What people decide of authority while a run is at work: they give it, take it back, and have somebody ask for it."""

from typing import Any, Final

from kos_runtime.core.machine import Refused, UnknownMachine
from kos_runtime.core.nearest import nearest
from kos_runtime.core.workflow.authority import ANYBODY, of
from kos_runtime.core.workflow.commands import (
    Accepted,
    AskAuthority,
    GrantAuthority,
    Rejected,
    RevokeAuthority,
)
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.granting import NEVER, command, request
from kos_runtime.core.workflow.people import right_of
from kos_runtime.core.workflow.progress import advance
from kos_runtime.core.workflow.status import RunStatus

#: The machine's words for what it refuses, in those of commands.
_CODES: Final = {"denied": "invalid"}


def grant(desk: Desk, asked: GrantAuthority) -> Accepted | Rejected:
    """Give a grant, if it is that person's to give."""
    no = _unready(desk) or _not_theirs(desk, asked, "give authority")
    if no is not None:
        return no
    held, given = of(desk.run), dict(asked.grant)
    no = _stranger(desk, str(given.get("subject", "")))
    if no is not None:
        return no
    given["issuer"] = held.person
    parent = given.get("parent") or ""
    if parent:
        known = {label[1][0]: label[1][3] for label in held.facts if label[0].startswith("authority_granted.")}
        given["issuer"] = known.get(parent, held.person)
    given["not_before"] = desk.now
    given["expires_at"] = desk.now + asked.expires_ms if asked.expires_ms else _end_of(desk, parent)
    return _say(desk, {"do": "issue", "grant": given}, asked)


def _end_of(desk: Desk, parent: str) -> int:
    """Return until when a grant without an end of its own is good: as long as what it is cut from."""
    facts = [values for label, values in of(desk.run).facts if label.startswith("authority_granted.")]
    return next((int(values[8]) for values in facts if values[0] == parent), NEVER)


def revoke(desk: Desk, asked: RevokeAuthority) -> Accepted | Rejected:
    """Take a grant back; an attempt that has started goes on, and none starts under it any more."""
    no = _unready(desk) or _not_theirs(desk, asked, "take authority back")
    if no is not None:
        return no
    return _say(desk, {"do": "revoke", "grant": asked.grant, "by": of(desk.run).person}, asked)


def ask(desk: Desk, asked: AskAuthority) -> Accepted | Rejected:
    """Have an agent ask those above; ``Accepted.reply`` is the name of the request."""
    no = _unready(desk) or _stranger(desk, str(asked.use[0]))
    if no is not None:
        return no
    name = request(desk, "", asked.use, asked.reason, 0, asked.expires_ms)
    if not name:
        message = f"{asked.use[0]} cannot ask: it is not in the hierarchy, or too many requests are open"
        return Rejected(code="invalid", message=message)
    advance(desk)
    return Accepted(run=desk.run.id, event="AuthorityAsked", reply=name)


def _say(desk: Desk, said: dict[str, Any], asked: GrantAuthority | RevokeAuthority) -> Accepted | Rejected:
    try:
        made = command(desk, "", said, asked.by, right_of(_givers(desk), asked))
    except UnknownMachine as error:
        return Rejected(code="invalid", message=str(error))
    if isinstance(made.reply, Refused):
        return Rejected(code=_CODES.get(made.reply.code, made.reply.code), message=made.reply.message)
    return Accepted(run=desk.run.id, event="AuthorityRecorded" if made.facts else "", existing=not made.facts)


def _unready(desk: Desk) -> Rejected | None:
    run = desk.run
    if run.status is not RunStatus.RUNNING:
        return Rejected(code="conflict", message=f"run {run.id} is {run.status}: nothing can be done in it any more")
    if run.cancelling is not None:
        return Rejected(code="conflict", message=f"run {run.id} is being cancelled")
    if run.authority is None:
        why = "its workflow has neither authority: nor authority_required"
        return Rejected(code="conflict", message=f"run {run.id} asks for no authority: {why}")
    return None


def _not_theirs(desk: Desk, asked: GrantAuthority | RevokeAuthority, what: str) -> Rejected | None:
    givers = _givers(desk)
    if right_of(givers, asked):
        return None
    return Rejected(code="invalid", message=f"{asked.by} may not {what} in run {desk.run.id}: that is for {givers[0]}")


def _givers(desk: Desk) -> list[str]:
    person = of(desk.run).person
    return [] if person == ANYBODY else [person]


def _stranger(desk: Desk, agent: str) -> Rejected | None:
    """Refuse an agent that the run does not know."""
    link = desk.run.link
    names = () if link is None else tuple(link.agents)
    if agent in names:
        return None
    near = nearest(agent, names)
    hint = f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(names))}"
    return Rejected(code="not_found", message=f"no agent {agent!r:.80} in run {desk.run.id}; {hint}")

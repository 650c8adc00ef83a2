"""A hierarchy as it stands, in plain data: for people who look at it."""

from typing import TYPE_CHECKING, Any

from coordination.grant import chain

if TYPE_CHECKING:
    from coordination.authority import Held


def shown(state: "Held", now: int) -> dict[str, Any]:
    """Return who stands above whom, every grant with what was used of it, and every request.

    A grant's ``void`` says why it is worth nothing now, and is empty while it is worth something.
    """
    tree = state.setup.hierarchy
    return {
        "person": tree.person,
        "superiors": dict(tree.superiors),
        "levels": dict(tree.levels),
        "grants": [_grant(state, id, now) for id in state.grants],
        "delegated": [
            {"task": task, "by": fact.by, "to": fact.to, "level": fact.level, "grant": fact.grant}
            for task, fact in state.delegated.items()
        ],
        "requests": [
            {"request": name, **_use(request.use), "reason": request.reason, "with": request.to, "until": request.due}
            for name, request in state.requests.items()
        ],
        "answered": [
            {"request": name, "by": fact.by, "verdict": fact.verdict, "grant": fact.grant, "comment": fact.comment}
            for name, fact in state.ended.items()
        ],
    }


def _use(use: Any) -> dict[str, Any]:
    return {"agent": use.agent, "action": use.action, "target": use.target, "cost": use.cost}


def _grant(state: "Held", id: str, now: int) -> dict[str, Any]:
    grant = state.grants[id]
    cost, count = state.used.get(id, (0, 0))
    return {
        "id": id,
        "parent": grant.parent,
        "issuer": grant.issuer,
        "subject": grant.subject,
        "actions": list(grant.actions),
        "scope": grant.scope,
        "limits": {"cost": grant.limits.cost, "count": grant.limits.count, "fan_out": grant.limits.fan_out},
        "used": {"cost": cost, "count": count, "fan_out": state.children.get(id, 0)},
        "depth": grant.depth,
        "not_before": grant.not_before,
        "expires_at": grant.expires_at,
        "void": _void(state, id, now),
    }


def _void(state: "Held", id: str, now: int) -> str:
    for grant in chain(state.grants, id):
        if grant.id in state.revoked:
            whose = "" if grant.id == id else f"{grant.id} was "
            return f"{whose}revoked by {state.revoked[grant.id]}"
        if now < grant.not_before:
            return "not valid yet"
        if now >= grant.expires_at:
            return "expired" if grant.id == id else f"{grant.id} expired"
        cost, count = state.used.get(grant.id, (0, 0))
        if grant.limits.count is not None and count >= grant.limits.count:
            return "used up" if grant.id == id else f"{grant.id} is used up"
        if grant.limits.cost is not None and grant.limits.cost and cost >= grant.limits.cost:
            return "spent" if grant.id == id else f"{grant.id} is spent"
    return ""

"""Authority as grants: who may do what, where, how much, until when, and may hand on how far.

A grant is never wider than the one above it, in any dimension; it ends when that ends, and is worth nothing once anything
above it is revoked. So a chain of grants can be checked by walking up, and no one can hand on what was not theirs. After
Miller, "Robust Composition" (2006), for attenuation, and Birgisson and others, "Macaroons" (NDSS 2014), for caveats. The
log is what is trusted here, so that no signatures are needed.

What is not granted is refused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from kos_runtime.core.terms import term

#: A chain has at most so many grants.
MAX_DEPTH: Final = 16


@term("authority.limits")
@dataclass(frozen=True, slots=True)
class Limits:
    """How much; None: as much as there is above."""

    cost: int | None = None
    count: int | None = None
    fan_out: int | None = None


@term("authority.grant")
@dataclass(frozen=True, slots=True)
class Grant:
    id: str
    #: The grant that this is cut from; empty for a root.
    parent: str
    issuer: str
    subject: str
    actions: tuple[str, ...]
    #: What it is about: this, and everything below it, by segments between slashes; empty: everything.
    scope: str = ""
    limits: Limits = Limits()
    not_before: int = 0
    #: From this instant on it is worth nothing.
    expires_at: int = 0
    #: So often it may be handed on.
    depth: int = 0


def lies_within(scope: str, outer: str) -> bool:
    """Say whether one scope lies in another; ``docs/a`` lies in ``docs``, and ``docsets`` does not.

    >>> lies_within("docs/a", "docs"), lies_within("docsets", "docs"), lies_within("docs", "docs/a")
    (True, False, False)
    >>> lies_within("docs/../etc", "docs")
    False
    """
    if not outer or scope == outer:
        return True
    # A part that leads out again, for whoever reads a scope as a path, is inside by its letters alone.
    return scope.startswith(f"{outer}/") and not {".", ".."} & set(scope.split("/"))


def _is_within(limit: int | None, outer: int | None) -> bool:
    return outer is None or (limit is not None and limit <= outer)


def wider(child: Grant, parent: Grant) -> str:
    """Return in what a grant is wider than the one it is cut from, or nothing."""
    extra = [action for action in child.actions if action not in parent.actions]
    if extra:
        return f"action {extra[0]!r} is not granted above"
    if not lies_within(child.scope, parent.scope):
        return f"scope {child.scope!r} does not lie in {parent.scope!r}"
    for name in ("cost", "count", "fan_out"):
        if not _is_within(getattr(child.limits, name), getattr(parent.limits, name)):
            return f"its {name} is above that of the grant it is cut from"
    if child.not_before < parent.not_before:
        return "it begins before the grant it is cut from"
    if child.expires_at > parent.expires_at:
        return "it ends after the grant it is cut from"
    if child.depth >= parent.depth:
        return "it may be handed on further than the grant it is cut from"
    return ""


def malformed(grant: Grant) -> str:
    """Return what is wrong with a grant by itself, or nothing."""
    if not grant.id or not grant.subject or not grant.actions:
        return "a grant has an id, a subject and at least one action"
    if grant.expires_at <= grant.not_before:
        return "a grant ends after it begins"
    if not 0 <= grant.depth < MAX_DEPTH:
        return f"a grant may be handed on from 0 to {MAX_DEPTH - 1} times"
    if any(limit is not None and limit < 0 for limit in (grant.limits.cost, grant.limits.count, grant.limits.fan_out)):
        return "a limit is not negative"
    return ""


def chain(grants: Mapping[str, Grant], id: str) -> Iterator[Grant]:
    """Walk from a grant to its root; nothing for one that is not there."""
    steps = 0
    while id and steps <= MAX_DEPTH:
        grant = grants.get(id)
        if grant is None:
            return
        yield grant
        id, steps = grant.parent, steps + 1


@term("authority.use")
@dataclass(frozen=True, slots=True)
class Use:
    """What somebody wants to do."""

    agent: str
    action: str
    target: str = ""
    cost: int = 0


def objection(
    grants: Mapping[str, Grant],
    revoked: Mapping[str, str],
    used: Mapping[str, tuple[int, int]],
    id: str,
    use: Use,
    now: int,
) -> str:
    """Return what stands against doing something under a grant at an instant, or nothing.

    Args:
        grants: All that were ever given.
        revoked: The grants that were taken back, by whom.
        used: Of each grant the cost and the count that it and all below it have used.
        id: The grant.
        use: What is to be done.
        now: The instant that is recorded with it.
    """
    walked = list(chain(grants, id))
    if not walked:
        return f"there is no grant {id!r}"
    first = walked[0]
    if first.subject != use.agent:
        return f"grant {id!r} is {first.subject}'s"
    if use.action not in first.actions:
        return f"grant {id!r} is not for {use.action!r}"
    if not lies_within(use.target, first.scope):
        return f"grant {id!r} is for {first.scope!r}, and {use.target!r} is not in it"
    if use.cost < 0:
        return "a cost is not negative"
    for grant in walked:
        if grant.id in revoked:
            return f"grant {grant.id!r} was revoked by {revoked[grant.id]}"
        if not grant.not_before <= now < grant.expires_at:
            return f"grant {grant.id!r} is not valid {'yet' if now < grant.not_before else 'any more'}"
        cost, count = used.get(grant.id, (0, 0))
        if grant.limits.cost is not None and cost + use.cost > grant.limits.cost:
            return f"grant {grant.id!r} has {grant.limits.cost - cost} of its cost left, and {use.cost} is asked"
        if grant.limits.count is not None and count + 1 > grant.limits.count:
            return f"grant {grant.id!r} is used up: {grant.limits.count} times"
    return ""

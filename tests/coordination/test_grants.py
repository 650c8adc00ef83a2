"""Grants against what they mean, written down naively: every small forest of them, and random larger ones."""

from itertools import product
from random import Random
from typing import Any

import pytest

from coordination.authority import Authorities, Authority
from coordination.authority_commands import Act, Issue, Perform, Revoke, command_of
from coordination.grant import Grant, Limits, Use, objection, wider
from coordination.levels import hierarchy
from kos_runtime.core.machine import Commanded, Refused, Run

AGENTS = ("a", "b", "c", "d")
ACTIONS = ("read", "write", "ship")
NOW = 100


def test_every_chain_of_three_allows_what_all_of_it_allows() -> None:
    """Four agents, three actions, depth three; anything of it revoked, over or not begun: 147,456 questions."""
    asked = 0
    for held in product(range(4), repeat=3):
        # Action i is granted by the first ``held[i]`` of the chain.
        lines = [tuple(name for name, depth in zip(ACTIONS, held, strict=True) if depth > level) for level in range(3)]
        for revoked in product((False, True), repeat=3):
            for late in product((False, True), repeat=3):
                grants = {
                    f"g{level}": Grant(
                        f"g{level}", f"g{level - 1}" if level else "", "x", AGENTS[level], lines[level] or ("none",), "", Limits(), 0,
                        NOW if late[level] else NOW + 1, 3 - level,
                    )
                    for level in range(3)
                }  # fmt: skip
                taken = {f"g{level}": "x" for level in range(3) if revoked[level]}
                for level, agent, action in product(range(3), AGENTS, ACTIONS):
                    problem = objection(grants, taken, {}, f"g{level}", Use(agent, action), NOW)
                    means = (
                        AGENTS[level] == agent
                        and action in lines[level]
                        and not any(revoked[: level + 1])
                        and not any(late[: level + 1])
                    )
                    assert (problem == "") == means, (held, revoked, late, level, agent, action, problem)
                    asked += 1
    assert asked == 64 * 8 * 8 * 36


def test_what_leads_out_of_a_scope_by_its_name_lies_in_none() -> None:
    grants = {"g": Grant("g", "", "x", "a", ("deploy",), "prod", Limits(), 0, NOW + 1, 3)}
    for target in ("prod/../etc", "prod/.", "prod/a/../../etc", "../prod"):
        assert "is not in it" in objection(grants, {}, {}, "g", Use("a", "deploy", target), NOW)
    assert objection(grants, {}, {}, "g", Use("a", "deploy", "prod/a.b"), NOW) == ""


def naive(grant: Grant, parent: Grant) -> bool:
    """Say whether a grant is nowhere wider than what it is cut from."""
    inside = [part for part in parent.scope.split("/") if part]
    return (
        set(grant.actions) <= set(parent.actions)
        and [part for part in grant.scope.split("/") if part][: len(inside)] == inside
        and all(
            outer is None or (own is not None and own <= outer)
            for own, outer in (
                (grant.limits.cost, parent.limits.cost),
                (grant.limits.count, parent.limits.count),
                (grant.limits.fan_out, parent.limits.fan_out),
            )
        )
        and grant.not_before >= parent.not_before
        and grant.expires_at <= parent.expires_at
        and grant.depth < parent.depth
    )


def drawn(rng: Random, id: str, parent: str = "", issuer: str = "user:operator", like: Grant | None = None) -> Grant:
    def limit(outer: int | None) -> int | None:
        return rng.choice((None, outer, rng.randint(0, 5)))

    top = like or Grant("", "", "", "", ACTIONS, "", Limits(), 0, 1_000, 5)
    scope = rng.choice((top.scope, f"{top.scope}/a".strip("/"), "docs", "docs/a", "docsets", ""))
    limits = Limits(limit(top.limits.cost), limit(top.limits.count), limit(top.limits.fan_out))
    actions = tuple(rng.sample(ACTIONS, rng.randint(1, 3)))
    ends = rng.choice((top.expires_at, rng.randint(50, 1_200)))
    return Grant(
        id, parent, issuer, rng.choice(AGENTS), actions, scope, limits, rng.choice((0, 0, 60)), ends, rng.randint(0, 5)
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_cut_grant_is_wider_exactly_where_it_is(seed: int) -> None:
    rng = Random(f"{seed}/wider")
    seen = {True: 0, False: 0}
    for _ in range(2_500):
        parent = drawn(rng, "p")
        child = drawn(rng, "c", "p", parent.subject, parent)
        fits = naive(child, parent)
        assert (wider(child, parent) == "") == fits, (child, parent)
        seen[fits] += 1
    assert min(seen.values()) > 20


@pytest.mark.parametrize("seed", range(3))
def test_random_forests_allow_what_they_mean(seed: int) -> None:
    """The machine and a model that looks everything up again answer the same, grant by grant and use by use."""
    rng = Random(f"{seed}/forest")
    for _ in range(60):
        run = Run(Authorities(), "authority", Authority(hierarchy(dict.fromkeys(AGENTS, ""))))
        grants: dict[str, Grant] = {}
        children: dict[str, int] = {}
        revoked: set[str] = set()
        used: list[tuple[str, int]] = []

        def line(id: str) -> list[Grant]:
            return [] if not id else [grants[id], *line(grants[id].parent)]  # noqa: B023 - of this forest

        def may(id: str, use: Use, now: int) -> bool:
            own = grants[id]  # noqa: B023
            return (
                own.subject == use.agent
                and use.action in own.actions
                and (not own.scope or f"{use.target}/".startswith(f"{own.scope}/"))
                and all(
                    g.id not in revoked  # noqa: B023
                    and g.not_before <= now < g.expires_at
                    and (
                        g.limits.cost is None
                        or sum(cost for under, cost in used if g in line(under)) + use.cost <= g.limits.cost  # noqa: B023
                    )
                    and (g.limits.count is None or sum(g in line(under) for under, _ in used) < g.limits.count)  # noqa: B023
                    for g in line(id)
                )
            )

        for step in range(40):
            now = 40 + 3 * step
            chance = rng.random()
            if chance < 0.45 or not grants:
                parent = rng.choice([*grants, ""])
                made = drawn(
                    rng, f"g{step}", parent, grants[parent].subject if parent else "user:operator", grants.get(parent)
                )
                fits = made.expires_at > max(made.not_before, now)
                if parent:
                    top = grants[parent]
                    fits = (
                        fits
                        and naive(made, top)
                        and all(g.id not in revoked and now < g.expires_at for g in line(parent))
                        and (top.limits.fan_out is None or children.get(parent, 0) < top.limits.fan_out)
                    )
                reply = run.take(Commanded(Issue(made)), now).reply
                assert isinstance(reply, Refused) != fits, (made, reply)
                if fits:
                    grants[made.id] = made
                    children[parent] = children.get(parent, 0) + 1
            elif chance < 0.55:
                id = rng.choice(list(grants))
                run.take(Commanded(Revoke(id, "user:operator")), now)
                revoked.add(id)
            else:
                use = Use(
                    rng.choice(AGENTS),
                    rng.choice(ACTIONS),
                    rng.choice(("", "docs", "docs/a", "docsets")),
                    rng.randint(0, 2),
                )
                id = rng.choice(list(grants))
                allowed = may(id, use, now)
                reply = run.take(Commanded(Act(use, id)), now).reply
                assert (reply == id) == allowed, (id, use, now, reply)
                if allowed:
                    used.append((id, use.cost))


def test_commands_are_read_from_plain_data_and_mistakes_are_told() -> None:
    read: Any = command_of({"do": "perform", "uses": [["a", "read", "docs", 1]], "of": "s+0"})
    assert read == Perform((Use("a", "read", "docs", 1),), "s+0")
    grant = {"id": "g", "parent": "", "issuer": "p", "subject": "a", "actions": ["read"], "cost": 3, "expires_at": 9}
    assert command_of({"do": "issue", "grant": grant}).grant.limits == Limits(3)
    for wrong, said in (
        ({"do": "isue"}, "does not know the command 'isue'"),
        ({"do": "check"}, "that is no check"),
        ({"do": "issue", "grant": {**grant, "colour": 1}}, "a grant has no 'colour'"),
    ):
        with pytest.raises(ValueError, match=said):
            command_of(wrong)

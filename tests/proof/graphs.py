"""Authority against a model of it that is slow and plain: random graphs of grants, and all small ones.

The model keeps what was said and works everything out again for every question; it shares nothing with ``coordination``
but the shape of a grant. For every grant, revocation and use both must come to the same verdict.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from multiprocessing import get_context
from random import Random
from typing import Any, Final

from coordination.authority import Authority
from coordination.authority_commands import Act, Check, Issue, Revoke
from coordination.grant import MAX_DEPTH, Grant, Limits, Use
from coordination.levels import hierarchy
from coordination.registered import AUTHORITY
from kos_runtime.core.machine import Commanded, Refused, Run

WORKERS: Final = 2
PERSON: Final = "user:operator"
AGENTS: Final = ("chief", "left", "right", "a")
ACTIONS: Final = ("read", "write", "deploy")
SCOPES: Final = ("", "docs", "docs/a", "docsets", "src")
TREE: Final = Authority(hierarchy({"chief": "", "left": "chief", "right": "chief", "a": "left"}))


@dataclass(slots=True)
class Plain:
    """What was said, in order."""

    grants: dict[str, Grant] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    uses: list[tuple[str, int]] = field(default_factory=list)

    def line(self, id: str) -> list[Grant] | None:
        """Return a grant and all above it, up to one that the person gave; None when it comes from nobody."""
        if id not in self.grants:
            return None
        grant = self.grants[id]
        if grant.parent == "":
            return [grant]
        above = self.line(grant.parent)
        return None if above is None else [grant, *above]

    def allows(self, id: str, use: Use, now: int) -> bool:
        line = self.line(id)
        if line is None or line[0].subject != use.agent or use.cost < 0:
            return False
        return all(self._allows(grant, use, now) for grant in line)

    def _allows(self, grant: Grant, use: Use, now: int) -> bool:
        spent = [cost for its, cost in self.uses if any(other.id == grant.id for other in self.line(its) or ())]
        most, times = grant.limits.cost, grant.limits.count
        return (
            grant.id not in self.revoked
            and grant.not_before <= now
            and now < grant.expires_at
            and use.action in grant.actions
            and _inside(use.target, grant.scope)
            and (most is None or sum(spent) + use.cost <= most)
            and (times is None or len(spent) < times)
        )

    def may_give(self, grant: Grant, now: int) -> bool:
        limits = (grant.limits.cost, grant.limits.count, grant.limits.fan_out)
        fine = grant.id and grant.subject and grant.actions and grant.not_before < grant.expires_at
        if not fine or grant.id in self.grants or not 0 <= grant.depth < MAX_DEPTH:
            return False
        if any(limit is not None and limit < 0 for limit in limits) or now >= grant.expires_at:
            return False
        if grant.parent == "":
            return grant.issuer == PERSON
        line = self.line(grant.parent)
        if line is None or line[0].subject != grant.issuer:
            return False
        if any(above.id in self.revoked or now >= above.expires_at for above in line):
            return False
        handed_on = sum(other.parent == line[0].id for other in self.grants.values())
        if line[0].limits.fan_out is not None and handed_on >= line[0].limits.fan_out:
            return False
        return all(_is_part(grant, above) for above in line)

    def may_revoke(self, id: str, by: str) -> bool:
        line = self.line(id)
        return line is not None and (by == PERSON or by in {grant.issuer for grant in line})


def _inside(target: str, scope: str) -> bool:
    parts, outer = target.split("/"), scope.split("/")
    return scope == "" or parts[: len(outer)] == outer


def _is_part(grant: Grant, above: Grant) -> bool:
    pairs = zip(
        (grant.limits.cost, grant.limits.count, grant.limits.fan_out),
        (above.limits.cost, above.limits.count, above.limits.fan_out),
        strict=True,
    )
    return (
        set(grant.actions) <= set(above.actions)
        and _inside(grant.scope, above.scope)
        and above.not_before <= grant.not_before
        and grant.expires_at <= above.expires_at
        and grant.depth < above.depth
        and all(most is None or (mine is not None and mine <= most) for mine, most in pairs)
    )


class Both:
    """The shipped machine and the model, told the same."""

    def __init__(self) -> None:
        self.machine: Run[Any] = Run(AUTHORITY.machine, "authority", TREE)
        self.plain = Plain()
        self.facts: list[Any] = []
        self.now = 0

    def tell(self, command: Any) -> str:
        """Give a command to both; return on what they differ."""
        made = self.machine.take(Commanded(command), self.now)
        self.facts += made.facts
        said = made.reply
        yes = not isinstance(said, Refused)
        plain = self.plain
        match command:
            case Issue(grant):
                expected = plain.may_give(grant, self.now)
                if expected:
                    plain.grants[grant.id] = grant
            case Revoke(id, by):
                expected = plain.may_revoke(id, by)
                if expected:
                    plain.revoked.add(id)
            case Act(use, id):
                expected = plain.allows(id, use, self.now)
                if expected:
                    plain.uses.append((id, use.cost))
            case Check(use):
                fitting = [id for id in plain.grants if plain.allows(id, use, self.now)]
                expected = bool(fitting)
                if yes and said not in fitting:
                    return f"{command} is allowed under {said!r}, which does not allow it"
        return "" if yes == expected else f"at {self.now}: {command} is {'allowed' if yes else f'refused ({said})'}"

    def again(self) -> str:
        """Fold what was recorded: it must come to the same state (A7)."""
        folded: Run[Any] = Run(AUTHORITY.machine, "authority", TREE, self.facts)
        return "" if folded.state == self.machine.state else "A7: folded again it is another state"


def _limit(draw: Random) -> int | None:
    return None if draw.random() < 0.5 else draw.randint(0, 3)


def one(seed: int) -> str:
    """Build one random graph, and use it; return what is wrong."""
    draw = Random(f"{seed}/graph")
    chance, pick = draw.random, draw.choice
    both = Both()
    made: list[Grant] = []
    for number in range(draw.randint(4, 16)):
        both.now += int(chance() * 300)
        what = chance()
        if what < 0.5 or not made:
            above = pick(made) if made and chance() < 0.75 else None
            issuer = (PERSON if chance() < 0.9 else pick(AGENTS)) if above is None else above.subject
            issuer = pick(AGENTS) if chance() < 0.05 else issuer
            begins = int(chance() * 4) * 200 if chance() < 0.3 else (above.not_before if above else 0)
            ends = begins + pick((0, 500, 2_000, 9_000)) if above is None or chance() < 0.5 else above.expires_at
            actions = tuple(draw.sample(ACTIONS, draw.randint(0 if chance() < 0.05 else 1, 3)))
            if above is not None and chance() < 0.7:
                actions = above.actions[: draw.randint(1, 3)]
            scope = pick(SCOPES) if above is None or chance() < 0.4 else above.scope
            limits = (
                Limits(_limit(draw), _limit(draw), _limit(draw)) if above is None or chance() < 0.4 else above.limits
            )
            depth = draw.randint(0, 4) if above is None or chance() < 0.3 else above.depth - 1
            grant = Grant(
                f"g{number}",
                above.id if above else "",
                issuer,
                pick(AGENTS),
                actions,
                scope,
                limits,
                begins,
                ends,
                depth,
            )
            made.append(grant)
            command: Any = Issue(grant)
        elif what < 0.6:
            command = Revoke(pick(made).id, pick((PERSON, *AGENTS)))
        else:
            known = pick(made)
            action = pick(known.actions) if known.actions and chance() < 0.8 else pick(ACTIONS)
            target = known.scope if chance() < 0.5 else pick(SCOPES)
            who = known.subject if chance() < 0.9 else pick(AGENTS)
            use = Use(who, action, target, draw.randint(-1 if chance() < 0.05 else 0, 2))
            command = Act(use, known.id) if what < 0.85 else Check(use)
        if said := both.tell(command):
            return f"seed {seed}: {said}"
    return f"seed {seed}: {said}" if (said := both.again()) else ""


def _some(first: int, count: int) -> list[str]:
    return [said for seed in range(first, first + count) if (said := one(seed))]


# --- all small ones -----------------------------------------------------------------------------

_PARTS: Final = tuple(
    tuple(action for action, taken in zip(ACTIONS, kept, strict=True) if taken) for kept in product((0, 1), repeat=3)
)[1:]


#: Who may hold the second and the third of three grants, whose first is the chief's: all cases but for names.
_HOLDERS: Final = (("chief", "chief"), ("chief", "left"), ("left", "chief"), ("left", "left"), ("left", "right"))


def chains() -> Iterator[tuple[Grant, ...]]:
    """Return every line of three grants with three actions, but for the agents' names."""
    for (second, third), one_, two, three in product(_HOLDERS, _PARTS, _PARTS, _PARTS):
        yield (
            Grant("g1", "", PERSON, "chief", one_, "", Limits(), 0, 300, 2),
            Grant("g2", "g1", "chief", second, two, "", Limits(), 0, 200, 1),
            Grant("g3", "g2", second, third, three, "", Limits(), 100, 200, 0),
        )


def every_chain(part: int, parts: int) -> tuple[int, list[str]]:
    """Ask everybody's every action of every line, before, during and behind its time, and with each grant revoked.

    Returns:
        How many questions were asked, and what was wrong.
    """
    asked, wrong = 0, []
    for number, line in enumerate(chains()):
        if number % parts != part:
            continue
        for revoked in ("", "g1", "g2", "g3"):
            both = Both()
            told = [said for grant in line if (said := both.tell(Issue(grant)))]
            if revoked in both.plain.grants:
                told.append(both.tell(Revoke(revoked, PERSON)))
            elif revoked:
                continue
            for both.now in (0, 100, 200, 300):
                for agent, action in product(AGENTS, ACTIONS):
                    told.append(both.tell(Check(Use(agent, action))))
                    asked += 1
            wrong += [f"line {number}: {said}" for said in told if said]
    return asked, wrong


def run(count: int, seed: int, share: float = 1.0) -> dict[str, Any]:
    """Compare so many random graphs, and all small lines of grants."""
    del share
    first = (seed % 1_000_000) * 1_000_000
    each = -(-count // WORKERS)
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        small = [pool.submit(every_chain, part, WORKERS) for part in range(WORKERS)]
        random = [pool.submit(_some, first + part * each, each) for part in range(WORKERS)]
        violations = [said for job in random for said in job.result()]
        questions = 0
        for job in small:
            asked, wrong = job.result()
            questions += asked
            violations += wrong
    return {"graphs": each * WORKERS, "questions": questions, "violations": violations}


def words(found: dict[str, Any]) -> str:
    return (
        f"{found['graphs']} random graphs of grants, and {found['questions']} questions to all lines of 3 grants between 4 agents "
        f"with 3 actions; {len(found['violations'])} verdicts differ"
    )

"""``kos authority``, ``grant`` and ``revoke``: who may do what in a run."""

from typing import Annotated, Any, Final

from cyclopts import Parameter

from kos_runtime.cli.common import Common, Named
from kos_runtime.cli.ls import duration
from kos_runtime.cli.outcome import OK
from kos_runtime.cli.people import tell
from kos_runtime.cli.visible import visible
from kos_runtime.core.instant import utc_text
from kos_runtime.core.workflow.granting import NEVER

_COLUMNS: Final = {
    "id": "GRANT",
    "subject": "HOLDER",
    "actions": "FOR",
    "scope": "WHERE",
    "used": "USED",
    "until": "UNTIL",
    "state": "STATE",
}
_WIDE: Final = {**_COLUMNS, "parent": "CUT FROM", "issuer": "FROM", "depth": "DEPTH"}


def authority(run: Annotated[str, Named] = "@latest", /, *, common: Common | None = None) -> int:
    """Show who may do what in a run: the tree of its grants, what was used of each, and who is asked for more.

    Args:
        run: A run id, unique prefix, name, @latest or @failed; - reads it from standard input.
    """
    from kos_runtime.client.authority import authority_of

    common = common or Common()
    reading = common.reading()
    row = common.rows(reading, [run])[0]
    found = authority_of(reading, row.run)
    if common.is_data:
        common.emit([_told(common, found)], {}, one=True)
        return OK
    tree = _tree(found["grants"])
    if not tree:
        common.say(f"nothing is granted in run {row.run}; a person can: kos grant {row.run} NAME --to AGENT")
    wide = common.form == "wide"
    common.emit([_line(grant, 0 if wide else level) for level, grant in tree], _WIDE if wide else _COLUMNS)
    print(visible(f"\nat the top: {found['person']}; levels: {_levels(found)}"))
    for use in found["uses"][-10:]:
        chain = " under ".join(use["chain"])
        print(visible(f"used: seq {use['seq']} {use['agent']} {use['action']}{_where(use)} at {use['step']}, {chain}"))
    for request in found["requests"]:
        asked = f"{request['agent']} asks for {request['action']}{_where(request)}: {request['reason']}"
        print(visible(f"open: {request['request']} stands with {request['with']}: {asked}"))
    return OK


def grant(
    run: Annotated[str, Named],
    name: str,
    /,
    *,
    to: str,
    actions: Annotated[tuple[str, ...], Parameter(name="--for", negative="")] = (),
    scope: str = "",
    cost: int | None = None,
    count: int | None = None,
    fan_out: int | None = None,
    expires: str = "",
    depth: int = 0,
    parent: Annotated[str, Parameter(name="--from")] = "",
    as_: Annotated[str, Parameter(name="--as")] = "",
    common: Common | None = None,
) -> int:
    """Give an agent of a run authority, as the person at its top. It works also while nobody owns the store.

    Args:
        run: A run id, unique prefix, name or @latest; - reads it from standard input.
        name: What the grant is called.
        to: The agent, by its name in the definition.
        actions: What it is for, as authority_required names it; its own name unless given.
        scope: Where, a path: this and everything below it; everywhere unless given.
        cost: How much, all in all.
        count: How often.
        fan_out: How often its holder may hand it on.
        expires: For how long, such as 30m; until what it is cut from ends, or the run, unless given.
        depth: How far down it may be handed on.
        parent: The grant that it is cut from, in the name of that one's holder.
        as_: Who decides; the operating system's user unless given. Where tokens are configured, KOS_TOKEN must hold that person's.
    """
    common = common or Common()
    seconds = duration("--expires", expires) / 1_000 if expires else 0.0
    engine = common.engine()
    try:
        row = common.rows(engine.reading, [run])[0]
        said = engine.grant(
            row.run, name, to, actions=actions, scope=scope, cost=cost, count=count, fan_out=fan_out, expires=seconds,
            depth=depth, parent=parent, as_=as_,
        )  # fmt: skip
        tell(common, engine, row.run, said, as_)
    finally:
        engine.close()
    return OK


def revoke(
    run: Annotated[str, Named],
    grant: str,
    /,
    *,
    as_: Annotated[str, Parameter(name="--as")] = "",
    common: Common | None = None,
) -> int:
    """Take a grant back, and with it all that was cut from it. It works also while nobody owns the store.

    Args:
        run: A run id, unique prefix, name or @latest; - reads it from standard input.
        grant: The grant, as kos authority lists it.
        as_: Who decides; the operating system's user unless given. Where tokens are configured, KOS_TOKEN must hold that person's.
    """
    common = common or Common()
    engine = common.engine()
    try:
        row = common.rows(engine.reading, [run])[0]
        tell(common, engine, row.run, engine.revoke(row.run, grant, as_=as_), as_)
    finally:
        engine.close()
    return OK


def _tree(grants: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """Return the grants with their depth, each right below the one that it is cut from."""
    below: dict[str, list[dict[str, Any]]] = {}
    for one in grants:
        below.setdefault(one["parent"], []).append(one)
    found: list[tuple[int, dict[str, Any]]] = []
    waiting = [(0, one) for one in reversed(below.get("", []))]
    while waiting:
        level, one = waiting.pop()
        found.append((level, one))
        waiting += [(level + 1, child) for child in reversed(below.get(one["id"], []))]
    return found


def _line(one: dict[str, Any], level: int) -> dict[str, Any]:
    limits, used = one["limits"], one["used"]
    parts = [
        f"{used[name]}{'' if limits[name] is None else f'/{limits[name]}'} {word}"
        for name, word in _USED
        if used[name] or limits[name] is not None
    ]
    return {
        **one,
        "id": ("└ " if level else "").rjust(2 * level) + one["id"],
        "actions": ", ".join(one["actions"]),
        "scope": one["scope"] or "everywhere",
        "used": ", ".join(parts) or "-",
        "until": "the run's end" if one["expires_at"] >= NEVER else utc_text(one["expires_at"]),
        "state": one["void"] or "valid",
    }


_USED: Final = (("count", "times"), ("cost", "cost"), ("fan_out", "handed on"))


def _told(common: Common, found: dict[str, Any]) -> dict[str, Any]:
    """Return all of it with its times as texts."""
    grants = [
        {
            **one,
            "not_before": common.instant(one["not_before"]),
            "expires_at": None if one["expires_at"] >= NEVER else common.instant(one["expires_at"]),
        }
        for one in found["grants"]
    ]
    uses = [{**use, "at": common.instant(use["at"])} for use in found["uses"]]
    requests = [{**one, "until": common.instant(one["until"]) if one["until"] else None} for one in found["requests"]]
    return {**found, "grants": grants, "uses": uses, "requests": requests}


def _levels(found: dict[str, Any]) -> str:
    by_level: dict[int, list[str]] = {}
    for agent, level in found["levels"].items():
        by_level.setdefault(level, []).append(agent)
    return " over ".join(", ".join(sorted(by_level[level])) for level in sorted(by_level)) or "nobody"


def _where(use: dict[str, Any]) -> str:
    where = f" in {use['target']}" if use["target"] else ""
    return where + (f" at a cost of {use['cost']}" if use["cost"] else "")

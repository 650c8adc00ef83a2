"""``kos events``: what happened in a run, and why. It needs neither an owner nor Ray."""

import json
import re
import time
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final

from cyclopts import Parameter

from kos_runtime.cli.common import Common, Named, OfRun, flag, iso
from kos_runtime.cli.describe import describe
from kos_runtime.cli.follow import detached
from kos_runtime.cli.outcome import DETACHED, OK, USAGE, Exit
from kos_runtime.cli.reading import declared_step
from kos_runtime.cli.visible import visible
from kos_runtime.core.errors import NotFound

_LOOK_S: Final = 0.1
_OVER: Final = frozenset({"completed", "failed", "cancelled", "quarantined"})


def events(
    run: Annotated[str, Named] = "@latest",
    /,
    *,
    follow: Annotated[bool, flag("--follow", "-f")] = False,
    type_: Annotated[list[str] | None, Parameter(name="--type", consume_multiple=False, negative="")] = None,
    step: Annotated[str, OfRun] = "",
    agent: str = "",
    after: int = 0,
    tail: int | None = None,
    common: Common | None = None,
) -> int:
    """Print a run's events, the audit trail itself.

    Args:
        run: A run id, unique prefix, name, @latest or @failed; - reads it from standard input.
        follow: Go on printing until the run ends.
        type_: Only events whose type matches, such as 'Step*'; may be given several times.
        step: Only events of this step and of what is inside it.
        agent: Only events of this agent, by kind or by process.
        after: Only events behind this seq.
        tail: Only the last so many.
    """
    from kos_runtime.client.gone import is_gone, went

    common = common or Common()
    if after < 0 or (tail is not None and tail < 0):
        raise Exit(USAGE, "error: --after and --tail count from 0")
    _check_types(type_ or [])
    reading = common.reading()
    row = common.rows(reading, [run])[0]
    if step:
        declared_step(reading, row.run, step)
    if agent:
        _check_agent(reading, row.run, agent)
    wanted = _filter(reading, row.run, type_ or [], step, agent, after)
    try:
        seen, found = after, []
        for line in reading.lines(row.run, after=after):
            seen = line.seq
            if wanted(line):
                found.append(line)
        if not after:
            # What peers recorded in streams of their own stands where it was stored.
            peers = [line for line in reading.lines_of_peers(row.run) if wanted(line)]
            found = sorted([*found, *peers], key=_offset) if peers else found
        _print(common, found[-tail:] if tail else found if tail is None else [], whole=not follow)
        if is_gone(row):
            common.say(went(row))
        if follow:
            _follow(common, reading, row.run, seen, wanted)
    except KeyboardInterrupt:
        return detached([row.run]) if follow else DETACHED
    return OK


def _offset(line: Any) -> int:
    return int(line.offset)


def _follow(common: Common, reading: Any, run: str, seen: int, wanted: Callable[[Any], bool]) -> None:
    said = False
    while True:
        # The status is read first: whatever led to it is among the events that are read then.
        row = reading.log.run(run)
        for line in reading.lines(run, after=seen):
            seen = line.seq
            if wanted(line):
                _print(common, [line], whole=False)
        if row.status in _OVER:
            return
        if not said and (status := reading.standing(row)) in {"interrupted", "waiting"}:
            said = True
            common.say(f"run {run} is {status}: kos get {run} says how it goes on; Ctrl-C leaves")
        time.sleep(_LOOK_S)


def _filter(reading: Any, run: str, types: list[str], step: str, agent: str, after: int) -> Callable[[Any], bool]:
    """Return whether an event is wanted. It is asked of each event in order: an outcome is its step's agent's."""
    held: dict[str, str] = {}
    for line in reading.lines(run) if agent and after else ():
        if line.seq > after:
            break
        if line.type == "StepScheduled":
            held[str(line.data["path"])] = str(line.data["agent"])
    kinds = _processes(reading, run, agent) if agent else set()

    def wanted(line: Any) -> bool:
        path = str(line.data.get("path", ""))
        if line.type == "StepScheduled":
            held[path] = str(line.data["agent"])
        if types and not any(fnmatchcase(line.type, pattern) for pattern in types):
            return False
        if step and not (path == step or (path.startswith(step) and path[len(step)] in "/[#!")):
            return False
        if agent:
            by = str(line.data.get("agent") or held.get(path, ""))
            return by == agent or by.rpartition("-")[0] in kinds or by in kinds
        return True

    return wanted


def _processes(reading: Any, run: str, agent: str) -> set[str]:
    """Return the names under which an agent of a definition, or of a kind, appears in the log."""
    view = reading.view(run)
    found = {agent}
    if view.link:
        for name, link in reading.link(view.link).agents.items():
            if agent in {name, link.kind}:
                found |= {name, link.kind, link.pool}
    return found


def _check_types(types: Iterable[str]) -> None:
    from kos_runtime.composition.machines import load_installed
    from kos_runtime.core.event import TYPES
    from kos_runtime.core.nearest import nearest
    from kos_runtime.core.workflow import events as _  # noqa: F401 - registers them

    if types:
        load_installed()
    known = sorted(kind.__name__ for kind in TYPES)
    for pattern in types:
        if not any(fnmatchcase(name, pattern) for name in known):
            begins = {found[0] for name in known if (found := re.match("[A-Z][a-z]+", name))}
            near = nearest(pattern.strip("*"), known) or nearest(pattern.strip("*"), begins)
            hint = (
                f"did you mean {near if near in known else f'{near}*'!r}?" if near else f"there are {', '.join(known)}"
            )
            raise Exit(USAGE, f"error: --type {pattern}: no event has such a type; {hint}")


def _check_agent(reading: Any, run: str, agent: str) -> None:
    from kos_runtime.core.nearest import nearest

    view = reading.view(run)
    known = {step.agent for step in view.steps.values() if step.agent}
    if view.link:
        for name, link in reading.link(view.link).agents.items():
            known |= {name, link.kind, link.pool}
    if agent not in known:
        near = nearest(agent, known)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(sorted(known)) or 'none'}"
        raise NotFound(f"no agent {agent!r} in run {run}; {hint}")


def _print(common: Common, found: list[Any], *, whole: bool) -> None:
    rows = [
        {
            "seq": line.seq, "offset": line.offset, "time": common.instant(line.time), "type": line.type,
            "cause": line.cause, "epoch": line.epoch, "data": line.data,
        }
        for line in found
    ]  # fmt: skip
    match common.form:
        case "json" | "yaml" if whole:
            common.emit(rows, {})
        case "json" | "jsonl" | "yaml":
            for row in rows:
                print(json.dumps(row, ensure_ascii=False, default=str), flush=True)
        case "name":
            for line in found:
                print(line.type, flush=True)
        case form:
            for line in found:
                print(f"{line.seq:>5}  {_when(common, line.time)}  {visible(describe(line))}", flush=True)
                if form == "wide":
                    data = json.dumps(line.data, ensure_ascii=False, default=str)
                    print(f"       cause {visible(line.cause)}  {visible(data)}", flush=True)


def _when(common: Common, instant: int) -> str:
    """Write an event's time. An audit trail is read long afterwards, so it says the instant unless told otherwise."""
    return common.when(instant) if common.time == "raw" else iso(instant)

"""The mission's interfaces at workflow level, put into the forms of steps where they belong."""

from dataclasses import dataclass, field
from typing import Any

from kos_runtime.core.expression import ExpressionError, parse_expression
from kos_runtime.definition.problems import Path
from kos_runtime.definition.shapes import Check


@dataclass(slots=True)
class Entry:
    """A step and where it stands in the file."""

    step: dict[str, Any]
    path: Path
    #: Where what it waits for stands, when that is not below its own ``depends_on``.
    places: dict[str, Path] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return str(self.step.get("id", "?"))

    def names(self) -> list[str]:
        """Return its id, and those of members that keep their names outside."""
        return [self.id, *(member.id for member in self.step.get("members") or ())]


def assemble(content: dict[str, Any], at: Path, check: Check) -> list[Entry]:
    """Return the steps of a workflow's own body, interface spellings included, in their order."""
    entries = [Entry(dict(step), (*at, "steps", index)) for index, step in enumerate(content.get("steps") or [])]
    _groups(content, at, check, entries)
    if "loop_body" in content:
        loop = {
            key: content[key]
            for key in ("loop_body", "loop_condition", "max_iterations", "break_conditions")
            if key in content
        }
        entries.append(Entry({"id": "loop", "loop": loop}, at))
    _points(content, at, entries)
    _joins(content, at, entries)
    _spread_keys(content, at, check, entries)
    return entries


def _groups(content: dict[str, Any], at: Path, check: Check, entries: list[Entry]) -> None:
    """Put steps that groups name by id into them; a group stands where the first of its steps stood."""
    taken: dict[str, Entry] = {}
    first: dict[str, Entry] = {}
    known = {entry.id: entry for entry in entries}
    for index, group in enumerate(content.get("parallel_groups") or []):
        path = (*at, "parallel_groups", index)
        members, form = group.get("steps") or [], {k: v for k, v in group.items() if k not in {"id", "steps"}}
        if not any(isinstance(member, str) for member in members):
            entries.append(Entry({"id": group.get("id", "?"), "parallel_group": {**form, "steps": members}}, path))
            continue
        held: list[Entry] = []
        made = Entry(
            {"id": group.get("id", "?"), "parallel_group": {**form, "transparent": True}, "members": held}, path
        )
        for place, member in enumerate(members):
            here = (*path, "steps", place)
            if not isinstance(member, str):
                held.append(Entry(dict(member), here))
            elif member in taken:
                check.fail(here, "KOS111", f"step {member!r} is in group {taken[member].id!r} already")
            elif member in known:
                taken[member] = made
                held.append(known[member])
            else:
                check.fail(here, "KOS201", f"no step {member!r} to group", check.hint(member, known))
    stood = [(taken.get(entry.id), entry) for entry in entries]
    entries.clear()
    for group_entry, entry in stood:
        if group_entry is None:
            entries.append(entry)
        elif first.setdefault(group_entry.id, entry) is entry:
            entries.append(group_entry)


def _joins(content: dict[str, Any], at: Path, entries: list[Entry]) -> None:
    """Put synchronization points right after the last that they wait for."""
    for index, point in enumerate(content.get("synchronization_points") or []):
        awaited = set(point.get("wait_for") or ())
        where = [place for place, entry in enumerate(entries) if not awaited.isdisjoint(entry.names())]
        step = {"id": point.get("id", "?"), "depends_on": list(point.get("wait_for") or ()), "join": point}
        path = (*at, "synchronization_points", index)
        places: dict[str, Path] = {name: (*path, "wait_for", i) for i, name in enumerate(point.get("wait_for") or ())}
        entries.insert(where[-1] + 1 if where else len(entries), Entry(step, path, places))


def _points(content: dict[str, Any], at: Path, entries: list[Entry]) -> None:
    for index, point in enumerate(content.get("decision_points") or []):
        step = {"id": point.get("id", "?"), "decision": {key: value for key, value in point.items() if key != "id"}}
        last = -1
        try:
            reads = {
                str(r.path[0])
                for r in parse_expression(point.get("condition", "null")).references
                if r.root == "steps" and r.path
            }
        except ExpressionError:
            reads = set()
        for place, entry in enumerate(entries):
            if not reads.isdisjoint(entry.names()):
                last = place
        entries.insert(last + 1, Entry(step, (*at, "decision_points", index)))


def _spread_keys(content: dict[str, Any], at: Path, check: Check, entries: list[Entry]) -> None:
    """Put ``dependencies`` and ``conditions`` onto the steps that they name."""
    known: dict[str, Entry] = {}
    for entry in entries:
        known[entry.id] = entry
        known.update({member.id: member for member in entry.step.get("members", ())})
    for key, into in (("dependencies", "depends_on"), ("conditions", "when")):
        for name, value in (content.get(key) or {}).items():
            here = (*at, key, name)
            target = known.get(name)
            if target is None:
                check.fail(here, "KOS201", f"no step {name!r}", check.hint(name, known), key=True)
            elif into == "depends_on":
                target.step[into] = [*target.step.get(into, ()), *value]
                target.places.update({name: (*here, index) for index, name in enumerate(value)})
            elif into in target.step:
                check.fail(here, "KOS109", f"step {name!r} has a condition of its own already", key=True)
            else:
                target.step[into] = value

"""The mission's interfaces at workflow level, put into the forms of steps where they belong."""

from dataclasses import dataclass
from typing import Any

from kos_runtime.core.expression import ExpressionError, parse_expression
from kos_runtime.core.nearest import nearest
from kos_runtime.definition.problems import Path
from kos_runtime.definition.shapes import Check


@dataclass(slots=True)
class Entry:
    """A step and where it stands in the file."""

    step: dict[str, Any]
    path: Path

    @property
    def id(self) -> str:
        return str(self.step.get("id", "?"))


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
    for index, point in enumerate(content.get("synchronization_points") or []):
        where = [i for i, entry in enumerate(entries) if entry.id in point["wait_for"]]
        step = {"id": point["id"], "depends_on": list(point["wait_for"]), "join": point}
        entries.insert(max(where) + 1 if where else len(entries), Entry(step, (*at, "synchronization_points", index)))
    _spread_keys(content, at, check, entries)
    return entries


def _groups(content: dict[str, Any], at: Path, check: Check, entries: list[Entry]) -> None:
    for index, group in enumerate(content.get("parallel_groups") or []):
        path = (*at, "parallel_groups", index)
        members = group["steps"]
        named = [member for member in members if isinstance(member, str)]
        form = {key: value for key, value in group.items() if key not in {"id", "steps"}}
        if not named:
            entries.append(Entry({"id": group["id"], "parallel_group": {**form, "steps": members}, "at": path}, path))
            continue
        taken: list[Entry] = []
        position = len(entries)
        for place, member in enumerate(members):
            if not isinstance(member, str):
                taken.append(Entry(member, (*path, "steps", place)))
                continue
            found = next((i for i, entry in enumerate(entries) if entry.id == member), None)
            if found is None:
                near = nearest(member, tuple(entry.id for entry in entries))
                hint = f"did you mean {near!r}?" if near else ""
                check.fail((*path, "steps", place), "KOS201", f"no step {member!r} to group", hint)
                continue
            position = min(position, found)
            taken.append(entries.pop(found))
        form["transparent"] = True
        group_step = {"id": group["id"], "parallel_group": form, "members": taken}
        entries.insert(position, Entry(group_step, path))


def _points(content: dict[str, Any], at: Path, entries: list[Entry]) -> None:
    for index, point in enumerate(content.get("decision_points") or []):
        step = {"id": point["id"], "decision": {key: value for key, value in point.items() if key != "id"}}
        last = -1
        try:
            reads = {str(r.path[0]) for r in parse_expression(point["condition"]).references if r.root == "steps" and r.path}
        except ExpressionError:
            reads = set()
        for place, entry in enumerate(entries):
            members = {member.id for member in entry.step.get("members", ())}
            if entry.id in reads or members & reads:
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
                near = nearest(name, tuple(known))
                check.fail(here, "KOS201", f"no step {name!r}", f"did you mean {near!r}?" if near else "", key=True)
            elif into == "depends_on":
                target.step[into] = [*target.step.get(into, ()), *value]
            elif into in target.step:
                check.fail(here, "KOS109", f"step {name!r} has a condition of its own already", key=True)
            else:
                target.step[into] = value

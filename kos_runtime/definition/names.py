"""Which steps a body has, what they expose, and which run only when they are named."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from kos_runtime.core.nearest import nearest

_PATHS: Final = ("true_path", "false_path", "default_path")
#: Forms whose key is not ``agent`` and ``action`` alone.
_KINDS: Final = (
    "decision", "loop", "for_each", "parallel_group", "set", "emit", "fail", "join", "wait", "wait_for", "approval",
    "coordination", "workflow", "template",
)  # fmt: skip
#: Who took the task of a hierarchical step is seen under this, beside what its action gave.
DELEGATION: Final = "delegation"
#: Forms that end without a result that others could read.
SILENT: Final = frozenset({"decision", "set", "emit", "fail", "join", "wait"})


def kind_of(step: Mapping[str, Any]) -> str:
    """Return the key of a step's form, ``action`` for an agent's action."""
    return next((kind for kind in _KINDS if kind in step), "action")


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of one step. ``outputs`` None: its result's own keys, which only the agent knows."""

    kind: str
    outputs: tuple[str, ...] | None
    inside: "Names | None"


class Names:
    """The steps of one body by id. ``on_demand`` are those that run only when they are named."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._groups: dict[str, str] = {}
        self.on_demand: set[str] = set()
        #: On-demand step → the decisions whose paths name it.
        self.deciders: dict[str, list[str]] = {}

    @classmethod
    def of(cls, steps: Iterable[Mapping[str, Any]]) -> Self:
        """Return the names of a body, given its steps as they are written."""
        names = cls()
        for step in steps:
            names.add(step)
        return names

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        """Go over every name that can be referred to: steps, and members that keep their names outside."""
        yield from self._known
        yield from self._groups

    def add(self, step: Mapping[str, Any]) -> bool:
        """Take in a step; say whether its id was free."""
        id = str(step.get("id", "?"))
        free = id not in self._known and id not in self._groups
        outputs, kind = step.get("outputs"), kind_of(step)
        if outputs is not None and kind == "coordination" and step["coordination"].get("pattern") == "hierarchical":
            outputs = (*outputs, DELEGATION)
        if kind == "coordination" and "tasks" in step["coordination"]:
            # Its tasks are items.
            kind = "for_each"
        self._known[id] = _Known(kind, None if outputs is None else tuple(outputs), _inside(step, kind))
        if step.get("on_demand") is True:
            self.on_demand.add(id)
        for member in step.get("members") or ():
            free = free and member.id not in self._known and member.id not in self._groups
            self._groups[member.id] = id
        if kind == "decision":
            for target in paths_of(step["decision"]):
                self.on_demand.add(target)
                deciders = self.deciders.setdefault(target, [])
                if id not in deciders:
                    deciders.append(id)
        return free

    def group_of(self, id: str) -> str | None:
        """Return the group that a member belongs to, when it keeps its own name outside."""
        return self._groups.get(id)

    def holder(self, id: str) -> str | None:
        """Return the step of this body that a name is, or is a member of; None when there is none of that name."""
        return id if id in self._known else self._groups.get(id)

    def exposes(self, name: str) -> bool | None:
        """Say whether a finished step of this body may expose a name; None when only the agents know."""
        unknown = False
        for known in self._known.values():
            if known.kind in SILENT or known.kind == "loop":
                continue
            if known.kind == "parallel_group":
                inner = None if known.inside is None or not self._is_transparent(known) else known.inside.exposes(name)
                if inner:
                    return True
                unknown = unknown or (inner is None and self._is_transparent(known))
            elif known.outputs is None:
                unknown = True
            elif name in known.outputs:
                return True
        return None if unknown else False

    def _is_transparent(self, known: _Known) -> bool:
        return known.inside is not None and any(member in self._groups for member in known.inside)

    def misnamed(self, id: str, path: tuple[str | int, ...]) -> tuple[str, str] | None:
        """Return what is wrong with a path below ``$steps.<id>``, and a hint, or None."""
        group = self._groups.get(id)
        if group is not None and id not in self._known:
            inside = self._known[group].inside
            return None if inside is None else inside.misnamed(id, path)
        known = self._known[id]
        if known.kind in SILENT:
            return f"step {id!r} is a {known.kind} and exposes nothing", ""
        if not path or not isinstance(path[0], str):
            return None
        name = path[0]
        match known.kind:
            case "loop":
                if name not in {"last", "iterations"}:
                    return _unknown(id, name, ("last", "iterations"), "a loop's steps are read through")
                start = 1 if name == "last" else 2
                return _below(known.inside, path[start:], f"{id}.{name}")
            case "parallel_group":
                return _below(known.inside, path, id)
            case "for_each":
                choices = None if known.outputs is None else (*known.outputs, "items", "failed")
            case _:
                choices = known.outputs
        return None if choices is None or name in choices else _unknown(id, name, choices)


def paths_of(decision: Mapping[str, Any]) -> list[str]:
    """Return the ids that a decision names, each once, in order."""
    return list(dict.fromkeys(target for key in _PATHS for target in decision.get(key) or ()))


def _inside(step: Mapping[str, Any], kind: str) -> Names | None:
    match kind:
        case "loop":
            form = step["loop"]
            return Names.of(form.get("body") or form.get("loop_body") or ())
        case "parallel_group":
            members = step.get("members")
            if members is not None:
                return Names.of(member.step for member in members)
            return Names.of(m for m in step["parallel_group"].get("steps") or () if isinstance(m, dict))
        case _:
            return None


def _below(inside: Names | None, path: tuple[str | int, ...], what: str) -> tuple[str, str] | None:
    if inside is None or not path or not isinstance(path[0], str):
        return None
    if path[0] not in inside:
        return _unknown(what, path[0], tuple(inside))
    return inside.misnamed(path[0], path[1:])


def _unknown(id: str, name: str, choices: tuple[str, ...], lead: str = "it exposes") -> tuple[str, str]:
    near = nearest(name, choices)
    listed = ", ".join(choices[:24]) or "nothing"
    return f"step {id!r} exposes no {name!r}", f"did you mean {near!r}?" if near else f"{lead} {listed}"

"""Which steps a body has, what they expose, and which run only when they are named."""

from collections.abc import Iterator
from typing import Any

from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan import model

_PATHS = ("true_path", "false_path", "default_path")


class Names:
    """The steps of one body by id. ``on_demand`` are those that a decision of this body names."""

    def __init__(self) -> None:
        self._exposed: dict[str, tuple[str, ...] | None] = {}
        self._kinds: dict[str, str] = {}
        self._groups: dict[str, str] = {}
        self._members: dict[str, tuple[str, ...]] = {}
        self._named: list[tuple[str, str]] = []
        self.on_demand: set[str] = set()
        #: On-demand step → the decisions whose paths name it.
        self.deciders: dict[str, list[str]] = {}

    def __contains__(self, id: object) -> bool:
        return id in self._exposed

    def __iter__(self) -> Iterator[str]:
        return iter(self._exposed)

    def add(self, step: dict[str, Any], id: str) -> bool:  # noqa: A002
        """Take in a step; say whether its id was free."""
        free = id not in self._exposed and id not in self._groups
        outputs = step.get("outputs")
        self._exposed[id] = tuple(outputs) if outputs is not None else None
        self._kinds[id] = next(
            (k for k in ("decision", "loop", "for_each", "parallel_group", "set", "emit", "fail", "join") if k in step), "action"
        )
        if self._kinds[id] == "parallel_group":
            members = [m.id for m in step["members"]] if "members" in step else [
                m.get("id", "?") for m in step["parallel_group"].get("steps") or () if isinstance(m, dict)
            ]
            self._members[id] = tuple(members)
            if step["parallel_group"].get("transparent"):
                for member in step.get("members", ()):
                    self._groups[member.id] = id
                    member_outputs = member.step.get("outputs")
                    self._exposed.setdefault(f"{id}/{member.id}", tuple(member_outputs) if member_outputs else None)
                    self._exposed.pop(f"{id}/{member.id}", None)
        for key in _PATHS:
            for target in (step.get("decision") or {}).get(key) or ():
                self._named.append((id, target))
                self.on_demand.add(target)
                deciders = self.deciders.setdefault(target, [])
                if id not in deciders:
                    deciders.append(id)
        self._named += [(id, target) for target in step.get("depends_on") or ()]
        return free

    def named(self) -> list[tuple[str, str]]:
        """Return (step, target) for every step that another one names, members of transparent groups left out."""
        return [(step, target) for step, target in self._named if target not in self._groups]

    def group_of(self, id: str) -> str | None:  # noqa: A002
        """Return the group that a member belongs to, when it keeps its own name outside."""
        return self._groups.get(id)

    def exposed(self) -> list[tuple[str, ...]]:
        return [names for names in self._exposed.values() if names is not None]

    def exposed_or_unknown(self) -> list[tuple[str, ...] | None]:
        return [self._exposed[id] for id in self._exposed if self._kinds[id] in {"action", "for_each"}]

    def misnamed(self, id: str, path: tuple[str | int, ...]) -> tuple[str, str] | None:  # noqa: A002
        """Return what is wrong with a path below ``$steps.<id>``, and a hint, or None."""
        if not path or not isinstance(path[0], str) or id in self._groups:
            return None
        name = path[0]
        known: tuple[str, ...] | None = self._exposed[id]
        kind = self._kinds[id]
        if kind == "loop":
            known = ("last", "iterations")
        elif kind == "parallel_group":
            known = self._members[id]
        elif kind == "for_each" and known is not None:
            known = (*known, "items", "failed")
        elif kind in {"decision", "set", "emit", "fail", "join"}:
            return f"step {id!r} is a {kind} and exposes nothing", ""
        if known is None or name in known:
            return None
        near = nearest(name, known)
        hint = f"did you mean {near!r}?" if near else f"it exposes {', '.join(known) or 'nothing'}"
        return f"step {id!r} exposes no {name!r}", hint


def describe(body: model.Body) -> Names:
    """Return the names of a compiled body."""
    names = Names()
    for step in body.steps:
        raw: dict[str, Any] = {}
        if step.outputs is not None:
            raw["outputs"] = dict(step.outputs)
        match step.form:
            case model.Loop():
                raw["loop"] = {}
            case model.ForEach():
                raw["for_each"] = {}
            case model.Group() as group:
                raw["parallel_group"] = {"steps": [{"id": member.id} for member in group.body.steps]}
            case model.Decision():
                raw["decision"] = {}
            case model.SetVariables():
                raw["set"] = {}
            case model.Emit():
                raw["emit"] = {}
            case model.Fail():
                raw["fail"] = {}
            case model.Join():
                raw["join"] = {}
            case _:
                pass
        names.add(raw, step.id)
        if isinstance(step.form, model.Group) and step.form.transparent:
            for member in step.form.body.steps:
                names._groups[member.id] = step.id
                if member.outputs is not None:
                    names._exposed[step.id] = (*(names._exposed[step.id] or ()), *(name for name, _ in member.outputs))
    return names

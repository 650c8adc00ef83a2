"""Who may do what: what is compiled of ``authority``, of ``authority_required`` and of a hierarchical step.

Whether one grant is wider than another is decided by the rules that a run follows, when it is linked; here stands what can be
told from the text alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from kos_runtime.core.instant import parse_duration
from kos_runtime.core.plan import model
from kos_runtime.definition.problems import Path
from kos_runtime.definition.references import Scope, Use

if TYPE_CHECKING:
    from kos_runtime.definition.compile import Compiler

#: What is handed down for one task lasts so long unless it says otherwise.
EXPIRES_MS: Final = 3_600_000


def is_hierarchical(raw: Any) -> bool:
    """Say whether a coordination is a hierarchy that says who is in it."""
    return isinstance(raw, dict) and raw.get("pattern") == "hierarchical" and bool(raw.get("levels"))


@dataclass(slots=True)
class Authorities:
    """What the steps of one compilation need of authority, gathered until all of them are known."""

    compiler: "Compiler"
    #: Agents that act with authority, and where they are named first.
    agents: dict[str, Path] = field(default_factory=dict)
    levels: list[tuple[tuple[str, ...], Path]] = field(default_factory=list)
    #: Names of what must have been granted.
    needed: dict[str, Path] = field(default_factory=dict)

    def adopt(self, inner: "Authorities", path: Path) -> None:
        """Take over what the steps of a template need, which is used at ``path``."""
        self.agents = {**dict.fromkeys(inner.agents, path), **self.agents}
        self.levels += [(levels, path) for levels, _ in inner.levels]
        self.needed = {**dict.fromkeys(inner.needed, path), **self.needed}

    # --- steps

    def needs(self, raw: Mapping[str, Any], path: Path, scope: Scope) -> tuple[tuple[model.Need, ...], list[Use]]:
        """Return what a step's agent must have been granted, and what is read to know where and how much."""
        said = raw.get("authority_required") or []
        at: list[tuple[Any, Path]] = [(need, (*path, "authority_required", index)) for index, need in enumerate(said)]
        form: Any = raw.get("coordination")
        if is_hierarchical(form) and isinstance(form.get("authority"), dict):
            at.insert(0, (form["authority"], (*path, "coordination", "authority")))
        elif said and not raw.get("action"):
            what = f"step {raw.get('id')!r} has no action of its own and no use for authority_required"
            hint = "put it on the steps in it that have one"
            self.compiler.check.warn((*path, "authority_required"), "KOS214", what, hint, key=True)
            return (), []
        needs, uses = [], []
        for need, place in at:
            named = {"grant": need} if isinstance(need, str) else need
            grant = named.get("grant", "?")
            self.needed.setdefault(grant, place)
            for key in ("scope", "cost"):
                if key in named:
                    uses += self.compiler.texts.template(named[key], (*place, key), scope)
            needs.append(model.Need(grant=grant, scope=named.get("scope", ""), cost=named.get("cost", 0)))
        acts = raw.get("agent") or (form.get("workers") or form.get("peers") if isinstance(form, dict) else "")
        if needs and acts:
            self.agents.setdefault(self.compiler.agent(acts), path)
        return tuple(needs), uses

    def hierarchical(self, raw: dict[str, Any], path: Path, scope: Scope) -> tuple[model.Form, list[Use]]:
        """Return the form of a step whose task goes down or up a hierarchy."""
        del scope
        content, at = raw["coordination"], (*path, "coordination")
        levels = tuple(self.compiler.agent(name) for name in content["levels"])
        for index, name in enumerate(levels):
            if name in levels[:index]:
                self.compiler.check.fail((*at, "levels", index), "KOS111", f"{name!r} stands at two levels")
            self.agents.setdefault(name, (*at, "levels", index))
        self.levels.append((levels, (*at, "levels")))
        said = content.get("authority") or {}
        delegate = content.get("delegate", "down")
        expires = parse_duration(said["expires"]) if "expires" in said else EXPIRES_MS
        if expires <= 0:
            self.compiler.check.fail((*at, "authority", "expires"), "KOS106", "expires: must be above 0")
        if "lease" in content or "workers" in content:
            self.compiler.check.warn(
                at, "KOS214", f"step {raw.get('id')!r} is hierarchical and has no use for workers or lease"
            )
        form = model.Hierarchical(
            agent=levels[-1] if delegate == "down" else levels[-2],
            action=raw.get("action", ""),
            levels=levels,
            delegate=delegate,
            grant=said.get("grant", ""),
            scope=said.get("scope", ""),
            cost=said.get("cost", 0),
            expires_ms=expires,
            on_refused=said.get("on_refused", "fail"),
        )
        return form, []

    # --- the whole

    def compile(self) -> model.Authority | None:
        """Return the authority of a workflow; None when nothing in it asks for any."""
        content = self.compiler.content.get("authority")
        if content is None and not self.needed and not self.levels:
            return None
        said: dict[str, Any] = content or {}
        at = (*self.compiler.at, "authority")
        person = said.get("person", "")
        if person and not person.startswith(("user:", "role:")):
            hint = f"write user:{person} or role:{person}"
            self.compiler.check.fail(
                (*at, "person"), "KOS103", f"person: expected user:NAME or role:NAME, got {person!r:.60}", hint
            )
        grants = said.get("grants") or {}
        superiors = self._superiors(said.get("hierarchy") or {}, grants, at)
        answer = parse_duration(said["answer_within"]) if "answer_within" in said else model.Authority().answer_ms
        if answer <= 0:
            self.compiler.check.fail((*at, "answer_within"), "KOS106", "answer_within: must be above 0")
        roots = self._roots(grants, (*at, "grants"))
        self._check_needed(grants)
        return model.Authority(person=person, superiors=superiors, answer_ms=answer, roots=roots)

    def _superiors(self, hierarchy: Mapping[str, str], grants: Mapping[str, Any], at: Path) -> dict[str, str]:
        """Return who is above each agent, the person's own with nobody; the levels of steps say so too."""
        found: dict[str, str] = {}
        where: dict[str, Path] = {}
        for agent, superior in hierarchy.items():
            found[self.compiler.agent(agent)] = self.compiler.agent(superior)
            where[self.compiler.agent(agent)] = (*at, "hierarchy", agent)
        for levels, path in self.levels:
            for superior, agent in pairwise(levels):
                if agent != superior and found.setdefault(agent, superior) != superior:
                    message = f"{agent!r} stands under {superior!r} here, and under {found[agent]!r} elsewhere"
                    self.compiler.check.fail(path, "KOS209", message, "everybody has one superior in a workflow")
                where.setdefault(agent, path)
        others = [*found.values(), *self.agents, *(grant.get("to", "?") for grant in grants.values())]
        for agent in others:
            found.setdefault(agent, "")
        self._no_circle(found, where)
        return found

    def _no_circle(self, superiors: Mapping[str, str], where: Mapping[str, Path]) -> None:
        told: set[str] = set()
        for agent in superiors:
            walked = [agent]
            while (above := superiors.get(walked[-1], "")) and above not in walked:
                walked.append(above)
            if above and agent == above and not told & set(walked):
                told |= set(walked)
                circle = " under ".join([*walked, above])
                self.compiler.check.fail(where[agent], "KOS206", f"a circle in the hierarchy: {circle}", key=True)

    def _roots(self, grants: Mapping[str, Any], at: Path) -> tuple[model.Root, ...]:
        """Return the grants that a run begins with, each behind the one that it is cut from."""
        made: dict[str, model.Root] = {}
        for name, said in grants.items():
            parent = said.get("from", "")
            if parent and parent not in grants:
                hint = self.compiler.check.hint(parent, grants)
                self.compiler.check.fail((*at, name, "from"), "KOS201", f"no grant {parent!r}", hint)
            expires = parse_duration(said["expires"]) if "expires" in said else 0
            if "expires" in said and not expires:
                self.compiler.check.fail((*at, name, "expires"), "KOS106", f"grant {name!r} is over before it is given")
            limits = said.get("limits") or {}
            made[name] = model.Root(
                id=name,
                subject=self.compiler.agent(said.get("to", "?")),
                actions=tuple(said.get("actions") or (name,)),
                parent=parent,
                scope=said.get("scope", "").strip("/"),
                cost=limits.get("cost"),
                count=limits.get("count"),
                fan_out=limits.get("fan_out"),
                depth=said.get("depth", 0),
                expires_ms=expires,
            )
        ordered: dict[str, model.Root] = {}
        circles: set[str] = set()
        for name in made:
            line = [name]
            while (parent := made[line[-1]].parent) in made and parent not in ordered and parent not in line:
                line.append(parent)
            if parent in line:
                if not circles & set(line):
                    told = " from ".join([*line, parent])
                    self.compiler.check.fail((*at, name, "from"), "KOS206", f"grants are cut from one another: {told}")
                circles |= set(line)
                continue
            for id in reversed(line):
                ordered.setdefault(id, made[id])
        return tuple(ordered.values())

    def _check_needed(self, grants: Mapping[str, Any]) -> None:
        granted = {action for name, said in grants.items() for action in said.get("actions") or (name,)}
        for name, path in self.needed.items():
            if name in granted:
                continue
            hint = self.compiler.check.hint(name, granted)
            if hint or not self._is_asked_for():
                otherwise = "a person can grant it: kos grant, or on_failure: escalate"
                self.compiler.check.warn(path, "KOS216", f"no grant of the workflow is for {name!r}", hint or otherwise)

    def _is_asked_for(self) -> bool:
        """Say whether anything takes a failure up, so that what was not granted is asked for."""
        handlers = self.compiler.content.get("error_handling") or []
        return any("escalate" in (handler.get("on_failure") or ()) for handler in handlers if isinstance(handler, dict))

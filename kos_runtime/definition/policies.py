"""Which entry of ``error_handling`` is for which step, decided once."""

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from kos_runtime.core.instant import parse_duration
from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan import model
from kos_runtime.definition.assemble import Entry
from kos_runtime.definition.problems import Path
from kos_runtime.definition.settings import EngineSettings
from kos_runtime.definition.shapes import Check

#: Rungs that load and do not run yet.
_NOT_YET = ("different_agent", "compensate")


class Policies:
    """The table of a plan's policies while it grows."""

    def __init__(
        self,
        content: dict[str, Any],
        at: Path,
        settings: EngineSettings,
        check: Check,
        requires: list[model.Requirement],
        templates: Mapping[str, Any],
        entries: list[Entry],
    ) -> None:
        self.at = (*at, "error_handling")
        self.settings = settings
        self.check = check
        self.requires = requires
        self.handlers = list(content.get("error_handling") or [])
        self.steps = {entry.id for entry in entries}
        self.templates = templates
        self._matched = [False] * len(self.handlers)
        self._table = [self._policy(index, handler) for index, handler in enumerate(self.handlers)]
        self._table.append(model.Policy(rule="default", max_retries=settings.retry_default, backoff=settings.backoff))

    def table(self) -> tuple[model.Policy, ...]:
        return tuple(self._table)

    def _policy(self, index: int, handler: dict[str, Any]) -> model.Policy:
        where = f"error_handling[{index}]"
        ladder = list(handler["on_failure"]) if "on_failure" in handler else ["fail"]
        fallback = handler.get("fallback")
        if fallback is not None and "fallback" not in ladder:
            place = ladder.index("retry") + 1 if "retry" in ladder else 0
            ladder.insert(place, "fallback")
        if ladder[-1] != "fail":
            ladder.append("fail")
        for rung in _NOT_YET:
            if rung in ladder:
                self.requires.append(model.Requirement(feature=f"on_failure: {rung}", where=where))
        kind = ""
        if fallback in self.steps:
            kind = "step"
        elif fallback in self.templates:
            kind = "template"
        if kind:
            self.requires.append(model.Requirement(feature=f"fallback to a {kind}", where=where))
        elif fallback is not None:
            message = f"fallback {fallback!r} names no step, workflow or template of this file"
            hint = "an action of the same agent, if it has one of that name, else a manual task"
            self.check.warn((*self.at, index, "fallback"), "KOS213", message, hint)
        return model.Policy(
            rule=where,
            ladder=tuple(ladder),
            errors=tuple(handler.get("errors") or ()),
            max_retries=handler.get("max_retries", self.settings.retry_default),
            backoff=backoff_of(handler.get("backoff"), self.settings.backoff),
            fallback=fallback,
            fallback_kind=kind,
            escalation_agent=handler.get("escalation_agent"),
        )

    def of(self, entry: Entry, where: str, form: model.Form) -> tuple[int, ...]:
        """Return the policies of a step, in the order in which they are asked; the last is for everything."""
        found = []
        acts = isinstance(form, model.Action) or (isinstance(form, model.ForEach) and form.body is None)
        for index, handler in enumerate(self.handlers):
            selectors = handler.get("step")
            if selectors is None or any(selects(s, entry.id, where) for s in selectors):
                self._matched[index] = True
                found.append(index)
                explicit = selectors is not None and any(s in {entry.id, where} for s in selectors)
                nested = isinstance(form, model.Loop | model.Group | model.Decision | model.ForEach)
                if explicit and nested and not acts:
                    feature = f"error_handling of a {type(form).__name__.lower()}"
                    self.requires.append(model.Requirement(feature=feature, where=where))
        found.append(len(self.handlers))
        own = entry.step.get("retry")
        if not own:
            return tuple(found)
        mine = []
        for index in found:
            policy = self._table[index]
            changed = replace(
                policy,
                max_retries=own.get("max_retries", policy.max_retries),
                backoff=backoff_of(own.get("backoff"), policy.backoff),
            )
            self._table.append(changed)
            mine.append(len(self._table) - 1)
        return tuple(mine)

    def finish(self) -> None:
        """Say which entries select nothing, with the nearest step."""
        for index, (handler, matched) in enumerate(zip(self.handlers, self._matched, strict=True)):
            if matched or not handler.get("step"):
                continue
            name = handler["step"][0]
            near = nearest(name, tuple(self.steps))
            hint = f"did you mean {near!r}?" if near else ""
            self.check.fail((*self.at, index, "step"), "KOS201", f"error_handling selects no step: {name!r}", hint)


def selects(selector: str, id: str, where: str) -> bool:  # noqa: A002
    """Say whether a selector (an id, a path, a glob) is for a step; a bare id is, wherever the step is nested."""
    return selector in {id, where} or fnmatchcase(where, selector) or ("/" not in selector and fnmatchcase(id, selector))


def backoff_of(raw: dict[str, Any] | None, base: model.Backoff) -> model.Backoff:
    if raw is None:
        return base
    changes: dict[str, Any] = {key: raw[key] for key in ("strategy", "factor", "jitter") if key in raw}
    for key, name in (("initial", "initial_ms"), ("max", "max_ms")):
        if key in raw:
            changes[name] = parse_duration(raw[key])
    made = replace(base, **changes)
    return made if made.max_ms >= made.initial_ms else replace(made, max_ms=made.initial_ms)

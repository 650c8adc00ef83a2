"""Which entry of ``error_handling`` is for which step, decided once.

The first entry that is for a failure's kind wins, so of the entries that select a step only those are kept that some
kind still reaches: at most one for each kind, and one for all.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import translate
from typing import TYPE_CHECKING, Any, Final

from kos_runtime.core.instant import parse_duration
from kos_runtime.core.plan import model
from kos_runtime.definition.assemble import Entry
from kos_runtime.definition.language import KINDS
from kos_runtime.definition.names import kind_of
from kos_runtime.definition.problems import Path
from kos_runtime.definition.templates import template_of

if TYPE_CHECKING:
    from kos_runtime.definition.compile import Compiler

#: Patterns among the selectors of one workflow; each is tried on each step.
MAX_GLOBS: Final = 100
_GLOB: Final = frozenset("*?[")
#: Rungs that try the step itself again; a fallback that is no rung comes after them.
_TRIES: Final = ("retry", "different_agent")


class Policies:
    """The table of a plan's policies while it grows."""

    def __init__(self, compiler: "Compiler", entries: Sequence[Entry], templates: Mapping[str, Any]) -> None:
        self.compiler = compiler
        self.at: Path = (*compiler.at, "error_handling")
        self.settings = compiler.settings
        self.handlers: list[dict[str, Any]] = list(compiler.content.get("error_handling") or [])
        self.steps = {entry.id for entry in entries} | {m.id for e in entries for m in e.step.get("members") or ()}
        self.forms = {entry.id: kind_of(entry.step) for entry in entries}
        self.templates = templates
        #: Steps that a fallback names: they run only then. And other names, each with where it stands.
        self.fallback_steps: set[str] = set()
        self.other_fallbacks: dict[str, Path] = {}
        self._seen: set[str] = set()
        self._selectors = _Selectors(self.handlers)
        if self._selectors.is_overfull:
            compiler.check.fail(self.at, "KOS106", f"error_handling has more than {MAX_GLOBS} patterns", key=True)
        inside = compiler.inside
        #: Those of what is around a template, which are asked when its own have nothing to say.
        self._outer = None if inside is None else inside.compiler.policies
        self._prefix = "" if inside is None else inside.prefix
        self._name = "" if inside is None else f"{inside.names[-1]}."
        self._own = [self._policy(index, handler) for index, handler in enumerate(self.handlers)]
        self._table: list[model.Policy] = [] if self._outer is None else self._outer._table
        self._first = len(self._table)
        self._table += self._own
        if self._outer is None:
            self._table.append(
                model.Policy(rule="default", max_retries=self.settings.retry_default, backoff=self.settings.backoff)
            )

    def table(self) -> tuple[model.Policy, ...]:
        return tuple(self._table)

    def _policy(self, index: int, handler: dict[str, Any]) -> model.Policy:
        where, path = f"{self._name}error_handling[{index}]", (*self.at, index)
        ladder: list[str] = list(handler.get("on_failure") or ["fail"])
        fallback = handler.get("fallback")
        if fallback is not None and "fallback" not in ladder:
            place = max((n for n, rung in enumerate(ladder, 1) if rung in _TRIES), default=0)
            ladder.insert(place, "fallback")
        if ladder[-1] != "fail":
            ladder.append("fail")
        return model.Policy(
            rule=where,
            ladder=tuple(ladder),
            errors=tuple(handler.get("errors") or ()),
            max_retries=handler.get("max_retries", self.settings.retry_default),
            backoff=backoff_of(handler.get("backoff"), self.settings.backoff),
            fallback=fallback,
            fallback_kind=self._fallback_kind(fallback, where, (*path, "fallback")),
            escalation_agent=self.compiler.agent(handler["escalation_agent"])
            if "escalation_agent" in handler
            else None,
        )

    def _fallback_kind(self, fallback: str | None, where: str, path: Path) -> str:
        if fallback is None:
            return ""
        if fallback in self.steps:
            self.fallback_steps.add(fallback)
            kind = self.forms.get(fallback, "group")
            if kind not in {"action", "template", "workflow"}:
                self.compiler.need(f"fallback to a {kind.removeprefix('parallel_')}", where, path)
            return "step"
        self.other_fallbacks.setdefault(fallback, path)
        if template_of(self.compiler, fallback) is not None:
            return "template"
        if self.compiler.is_workflow(fallback):
            return "workflow"
        near = self.compiler.check.nearest(fallback, {*self.steps, *self.templates})
        hint = "an action of the same agent, if it has one of that name, else a manual task"
        message = f"fallback {fallback!r} names no step, workflow or template that is here"
        self.compiler.check.warn(path, "KOS213", message, hint + (f"; did you mean {near!r}?" if near else ""))
        return ""

    def of_compensation(self) -> tuple[int, ...]:
        """Return the policy of what undoes a step: tried again, then a person's; it is never given up."""
        for index, policy in enumerate(self._table):
            if policy.rule == "compensation":
                return (index,)
        retries, backoff = self.settings.retry_default, self.settings.backoff
        self._table.append(
            model.Policy(rule="compensation", ladder=("retry", "manual"), max_retries=retries, backoff=backoff)
        )
        return (len(self._table) - 1,)

    def of(self, entry: Entry, where: str, form: model.Form) -> tuple[int, ...]:
        """Return the policies of a step, in the order in which they are asked; the last is for every kind."""
        found = self._selecting(entry.id, where, form, set(KINDS))
        own = entry.step.get("retry")
        return tuple(self._with_retry(index, own) for index in found) if own else tuple(found)

    def _selecting(self, id: str, where: str, form: model.Form, left: set[str]) -> list[int]:
        """Return the policies that are for some of the kinds that are ``left``, those of a template first."""
        here = where.removeprefix(self._prefix)
        self._seen |= {id, here}
        found: list[int] = []
        for index in self._selectors.matching(id, here):
            errors = self._own[index].errors
            if left.isdisjoint(errors or KINDS):
                continue
            left -= set(errors or KINDS)
            found.append(self._first + index)
            if self._is_explicit(index, id, here) and _contains_steps(form):
                feature = f"error_handling of a {_word(form)}"
                self.compiler.need(feature, where, (*self.at, index))
        if self._outer is not None:
            return [*found, *self._outer._selecting(id, where, form, left)]
        if left:
            found.append(len(self.handlers))
        return found

    def _is_explicit(self, index: int, id: str, where: str) -> bool:
        return any(selector in {id, where} for selector in self.handlers[index].get("step") or ())

    def _with_retry(self, index: int, own: dict[str, Any]) -> int:
        """Return a policy with a step's own budget and backoff in the place of its own."""
        policy = self._table[index]
        backoff = backoff_of(own.get("backoff"), policy.backoff)
        self._table.append(replace(policy, max_retries=own.get("max_retries", policy.max_retries), backoff=backoff))
        return len(self._table) - 1

    def finish(self) -> None:
        """Say which selectors select nothing, with the nearest step."""
        for index, handler in enumerate(self.handlers):
            selectors = handler.get("step") or ()
            if not selectors:
                continue
            # A template that a run was compiled from stands in no file any more.
            listed = len(selectors) > 1 or (*self.at, index, "step", 0) in self.compiler.document.source.values
            for place, selector in enumerate(selectors):
                if self._selects_any(selector):
                    continue
                hint = self.compiler.check.hint(selector, self._seen)
                path = (*self.at, index, "step", place) if listed else (*self.at, index, "step")
                self.compiler.check.fail(path, "KOS201", f"error_handling selects no step: {selector!r}", hint)

    def _selects_any(self, selector: str) -> bool:
        if _GLOB.isdisjoint(selector):
            return selector in self._seen
        pattern = re.compile(translate(selector))
        return any(pattern.match(name) for name in self._seen)


class _Selectors:
    """Finds the entries that select a step: exact names at once, only globs one by one."""

    def __init__(self, handlers: Iterable[Mapping[str, Any]]) -> None:
        self._exact: dict[str, list[int]] = {}
        self._globs: list[tuple[int, str, re.Pattern[str]]] = []
        self._all: list[int] = []
        self.is_overfull = False
        for index, handler in enumerate(handlers):
            if handler.get("step") is None:
                self._all.append(index)
            for selector in handler.get("step") or ():
                if _GLOB.isdisjoint(selector):
                    self._exact.setdefault(selector, []).append(index)
                elif selector == "*":
                    self._all.append(index)
                elif len(self._globs) >= MAX_GLOBS:
                    self.is_overfull = True
                else:
                    self._globs.append((index, selector, re.compile(translate(selector))))

    def matching(self, id: str, where: str) -> list[int]:
        """Return the entries for a step in their order; a bare id is for it wherever it is nested."""
        found = {*self._all, *self._exact.get(id, ()), *self._exact.get(where, ())}
        for index, glob, pattern in self._globs:
            if index not in found and (pattern.match(where) or ("/" not in glob and pattern.match(id))):
                found.add(index)
        return sorted(found)


def _contains_steps(form: model.Form) -> bool:
    match form:
        case model.Loop() | model.Group() | model.Decision() | model.Inlined():
            return True
        case model.ForEach(body=body):
            return body is not None
        case _:
            return False


def _word(form: model.Form) -> str:
    match form:
        case model.Loop():
            return "loop"
        case model.Group():
            return "group"
        case model.Decision():
            return "decision"
        case model.Inlined():
            return "template"
        case _:
            return "for_each with steps"


def backoff_of(raw: Mapping[str, Any] | None, base: model.Backoff) -> model.Backoff:
    """Return a backoff with what an entry says of it in the place of what applies otherwise."""
    if raw is None:
        return base
    changes: dict[str, Any] = {key: raw[key] for key in ("strategy", "jitter") if key in raw}
    if "factor" in raw:
        changes["factor"] = float(raw["factor"])
    for key, name in (("initial", "initial_ms"), ("max", "max_ms")):
        if key in raw:
            changes[name] = parse_duration(raw[key])
    made = replace(base, **changes)
    return made if made.max_ms >= made.initial_ms else replace(made, max_ms=made.initial_ms)

"""The form of each step: what is compiled of it, and what it reads."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from kos_runtime.core.expression import DEFAULT_ROOTS
from kos_runtime.core.instant import parse_duration
from kos_runtime.core.plan import model
from kos_runtime.definition.assemble import Entry
from kos_runtime.definition.authority import is_hierarchical
from kos_runtime.definition.consensus import compile_consensus, is_of_peers, is_vote, seen_by_peers
from kos_runtime.definition.mastering import compile_master, is_mastered
from kos_runtime.definition.names import kind_of
from kos_runtime.definition.problems import Path
from kos_runtime.definition.quantities import amounts_of, sync_of
from kos_runtime.definition.references import Scope, Use
from kos_runtime.definition.templates import inline
from kos_runtime.definition.waits import Waits

if TYPE_CHECKING:
    from kos_runtime.definition.compile import Compiler

#: Values inside forms that are carried along, by form.
_VALUES_IN: Final[Mapping[str, tuple[str, ...]]] = {
    "coordination": (),
}
Compiled = tuple[model.Form, Scope, list[Use]]


class Forms:
    """Compiles forms on behalf of a compiler."""

    def __init__(self, compiler: "Compiler") -> None:
        self.compiler = compiler
        self.texts = compiler.texts
        self.waits = Waits(compiler.check, compiler.texts)

    def compile(self, entry: Entry, scope: Scope, where: str) -> Compiled:
        """Return the form, what a step's own inputs can see, and what the form reads."""
        raw, path = entry.step, entry.path
        match kind_of(raw):
            case "join":
                return self._join(raw["join"], path, where), scope, []
            case "decision":
                form, uses = self._decision(raw["decision"], path, scope)
                return form, scope, uses
            case "loop":
                form, uses = self._loop(raw["loop"], path, scope, where)
                return form, scope, uses
            case "for_each":
                return self._for_each(entry, scope, where)
            case "parallel_group":
                form, uses = self._group(entry, scope, where)
                return form, scope, uses
            case "set" | "emit" | "fail" as kind:
                form, uses = self._said(raw, kind, path, scope)
                return form, scope, uses
            case "wait" | "wait_for" | "approval" as kind:
                form, uses = self.waits.compile(raw[kind], kind, (*path, kind), scope)
                return form, scope, uses
            case "template":
                form, uses = inline(self.compiler, raw, path, scope, where)
                return form, scope, uses
            case "workflow":
                form, uses = self._child(raw, path, scope)
                return form, scope, uses
            case "action":
                return (
                    model.Action(agent=self.compiler.agent(raw.get("agent", "")), action=raw.get("action", "")),
                    scope,
                    [],
                )
            case "coordination" if is_vote(raw["coordination"]):
                return compile_consensus(self.compiler, raw, path, scope, where)
            case "coordination" if is_mastered(raw["coordination"]):
                return compile_master(self.compiler, raw, path, scope)
            case "coordination" if is_hierarchical(raw["coordination"]):
                form, uses = self.compiler.authorities.hierarchical(raw, path, scope)
                return form, scope, uses
            case other:
                self.compiler.need(other, where, (*path, other))
                form, uses = self._carried(raw, other, path, scope)
                return form, seen_by_peers(scope) if is_of_peers(raw.get(other)) else scope, uses

    def _join(self, raw: dict[str, Any], path: Path, where: str) -> model.Form:
        sync, count, quorum = sync_of(raw.get("sync", "all"))
        if sync != "all":
            self.compiler.need(f"synchronization point with sync: {sync}", where, (*path, "sync"))
        if sync == "count" and count > len(raw["wait_for"]):
            message = f"{raw.get('id')!r} waits for {count} of {len(raw['wait_for'])}"
            self.compiler.check.fail((*path, "sync"), "KOS106", message)
        return model.Join(waits_for=tuple(raw["wait_for"]), sync=sync, count=count, quorum=quorum)

    def _decision(self, raw: dict[str, Any], path: Path, scope: Scope) -> tuple[model.Form, list[Use]]:
        at = self._inner(path, "decision")
        uses = self.texts.condition(raw.get("condition", "null"), (*at, "condition"), scope)
        form = model.Decision(
            condition=raw.get("condition", "null"),
            true_path=tuple(raw.get("true_path") or ()),
            false_path=tuple(raw.get("false_path") or ()),
            default_path=tuple(raw["default_path"]) if "default_path" in raw else None,
        )
        # What it reads need not be there: that is what the default path is for.
        return form, [Use(use.target, guarded=True) for use in uses]

    def _inner(self, path: Path, key: str) -> Path:
        """Return where a form's content stands: below its key, or at the entry of a workflow's own list of them."""
        return (*path, key) if (*path, key) in self.compiler.document.source.values else path

    def _loop(self, raw: dict[str, Any], path: Path, scope: Scope, where: str) -> tuple[model.Form, list[Use]]:
        at = self._inner(path, "loop")
        key = "body" if "body" in raw else "loop_body"
        entries = [Entry(dict(step), (*at, key, index)) for index, step in enumerate(raw.get(key) or ())]
        body, uses, inner = self.compiler.nested(entries, scope, where, turns=True)
        if "loop_condition" in raw:
            # Asked before a turn, outside its body: the turn before is read through $loop.previous.
            outside = Scope(
                names=scope.names, roots=scope.roots, prefix=scope.prefix, outer=scope.outer, items=scope.items,
                turns=inner.names,
            )  # fmt: skip
            uses += self.texts.condition(raw["loop_condition"], (*at, "loop_condition"), outside)
        breaks = []
        for index, item in enumerate(raw.get("break_conditions") or ()):
            here: Path = (*at, "break_conditions", index)
            condition = item.get("condition", "false") if isinstance(item, dict) else item
            reason = str(item.get("reason", condition)) if isinstance(item, dict) else str(condition)
            found = self.texts.condition(condition, (*here, "condition") if isinstance(item, dict) else here, inner)
            uses += [use for use in found if inner.names.holder(use.target) is None]
            breaks.append(model.Break(condition=condition, reason=reason))
        if raw.get("on_exhausted") == "escalate":
            self.compiler.need("on_exhausted: escalate", where, (*at, "on_exhausted"))
        form = model.Loop(
            body=body,
            condition=raw.get("loop_condition", ""),
            max_iterations=raw.get("max_iterations", 0),
            breaks=tuple(breaks),
            on_exhausted=raw.get("on_exhausted", "continue"),
        )
        return form, uses

    def _for_each(self, entry: Entry, scope: Scope, where: str) -> Compiled:
        step, path = entry.step, (*entry.path, "for_each")
        raw = step["for_each"]
        uses = self.texts.template(raw.get("in"), (*path, "in"), scope)
        if not isinstance(raw.get("in"), str | list):
            self.compiler.check.fail((*path, "in"), "KOS103", "in: expected an array or a reference to one")
        name = raw.get("as", "item")
        if name in DEFAULT_ROOTS - {"item"}:
            self.compiler.check.fail((*path, "as"), "KOS111", f"{name!r} is a name of the language")
        elif "-" in name:
            self.compiler.check.fail(
                (*path, "as"), "KOS104", f"{name!r} cannot be written behind a dollar", "leave out the hyphen"
            )
        body = None
        if "steps" in raw:
            entries = [Entry(dict(s), (*path, "steps", index)) for index, s in enumerate(raw["steps"])]
            body, outwards, inside = self.compiler.nested(entries, scope, where, item=name)
            uses += outwards
        else:
            inside = Scope(
                names=scope.names, roots=scope.roots | {name}, prefix=scope.prefix, outer=scope.outer, items=True,
                turns=scope.turns,
            )  # fmt: skip
        policy = raw.get("on_item_failure", "fail_fast")
        form = model.ForEach(
            items=raw.get("in"),
            name=name,
            max_concurrency=raw.get("max_concurrency", 0),
            on_item_failure="quorum" if isinstance(policy, dict) else policy,
            quorum=float(policy.get("quorum", 1.0)) if isinstance(policy, dict) else 1.0,
            agent=self.compiler.agent(step.get("agent", "")),
            action=step.get("action", ""),
            body=body,
        )
        return form, inside, uses

    def _group(self, entry: Entry, scope: Scope, where: str) -> tuple[model.Form, list[Use]]:
        step = entry.step
        raw = step["parallel_group"]
        at = self._inner(entry.path, "parallel_group")
        members: list[Entry] = step.get("members") or [
            Entry(dict(s), (*at, "steps", index)) for index, s in enumerate(raw.get("steps") or ())
        ]
        body, uses, _ = self.compiler.nested(members, scope, where, chained=False)
        sync, count, quorum = sync_of(raw.get("sync", "all"))
        if sync == "count" and count > len(members):
            message = f"group {entry.id!r} waits for {count} of {len(members)} members"
            self.compiler.check.fail((*at, "sync"), "KOS106", message)
        form = model.Group(
            body=body,
            max_concurrency=raw.get("max_concurrency", 0),
            resources=amounts_of(raw.get("resource_requirements")),
            sync=sync,
            count=count,
            quorum=quorum,
            transparent=raw.get("transparent", False),
        )
        return form, uses

    def _said(self, raw: dict[str, Any], kind: str, path: Path, scope: Scope) -> tuple[model.Form, list[Use]]:
        content = raw[kind]
        match kind:
            case "set":
                uses = [
                    use
                    for name, value in content.items()
                    for use in self.texts.template(value, (*path, "set", name), scope)
                ]
                return model.SetVariables(values=content), uses
            case "emit":
                uses = self.texts.template(content.get("data"), (*path, "emit", "data"), scope)
                return model.Emit(event=content.get("event", "?"), data=content.get("data")), uses
            case _:
                message = content.get("message", f"step {raw.get('id')} failed")
                uses = self.texts.template(message, (*path, "fail", "message"), scope)
                return model.Fail(error=content.get("kind", "permanent"), message=message), uses

    def _child(self, raw: dict[str, Any], path: Path, scope: Scope) -> tuple[model.Form, list[Use]]:
        content, at = raw["workflow"], (*path, "workflow")
        inputs = content.get("inputs") or {}
        if "timeout" in raw and content.get("mode") == "detach":
            message = f"step {raw.get('id')!r} does not wait for its workflow and has no use for timeout"
            self.compiler.check.warn((*path, "timeout"), "KOS214", message, key=True)
        form = model.Child(
            workflow=content.get("id", "?"),
            version=content.get("version", ""),
            inputs=inputs,
            parent_close=content.get("parent_close", "cancel"),
            mode=content.get("mode", "await"),
            timeout_ms=parse_duration(raw["timeout"]) if "timeout" in raw and content.get("mode") != "detach" else 0,
        )
        return form, self.texts.template(inputs, (*at, "inputs"), scope)

    def _carried(self, raw: dict[str, Any], name: str, path: Path, scope: Scope) -> tuple[model.Form, list[Use]]:
        """Keep a form that is part of the language for those who run it; its texts are checked like all others."""
        content = raw[name]
        uses: list[Use] = []
        for key in _VALUES_IN[name]:
            if key in content:
                uses += self.texts.template(content[key], (*path, name, key), scope)
        settings = {name: content, **({"action": raw["action"]} if "action" in raw else {})}
        return model.OtherForm(name=name, settings=settings), uses

"""A checked definition becomes a plan: edges, policies and defaults made explicit, meaning checked on the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kos_runtime.core.expression import DEFAULT_ROOTS, ExpressionError, Reference, looks_cut, parse_expression, parse_template
from kos_runtime.core.instant import parse_duration
from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan import model
from kos_runtime.definition.assemble import Entry, assemble
from kos_runtime.definition.document import WorkflowDocument
from kos_runtime.definition.edges import Use, add_edges
from kos_runtime.definition.names import Names, describe
from kos_runtime.definition.policies import Policies
from kos_runtime.definition.problems import DefinitionError, Path, Problem
from kos_runtime.definition.settings import EngineSettings
from kos_runtime.definition.shapes import Check, amount_of

#: Keys of a step that are carried along and do not run yet, by the word that a refusal uses.
_NOT_YET: Final = ("compensate", "cache", "authority_required", "idempotency_key")
_FORMS_NOT_YET: Final = ("coordination", "workflow", "template", "wait", "wait_for", "approval")


@dataclass(slots=True)
class _Scope:
    """What is known while a body is compiled: its names, those around it, and where it stands."""

    names: Names
    roots: frozenset[str]
    prefix: str
    outer: "_Scope | None" = None
    uses: list[Use] = field(default_factory=list)


def compile_workflow(
    document: WorkflowDocument, *, settings: EngineSettings | None = None, templates: Mapping[str, Any] | None = None
) -> tuple[model.Plan, list[Problem]]:
    """Return the plan and the warnings.

    Raises:
        DefinitionError: The definition means nothing; every error is in it.
    """
    compiler = _Compiler(document, settings or EngineSettings(), {**document.templates, **(templates or {})})
    plan = compiler.plan()
    errors = [problem for problem in compiler.check.problems if problem.severity == "error"]
    if errors:
        raise DefinitionError(sorted(errors, key=lambda p: (p.line, p.column)))
    return plan, [*document.warnings, *compiler.check.problems]


class _Compiler:
    def __init__(self, document: WorkflowDocument, settings: EngineSettings, templates: Mapping[str, Any]) -> None:
        self.document = document
        self.content = document.content
        self.at = document.at
        self.settings = settings
        self.templates = templates
        self.check = Check(document.source)
        self.requires: list[model.Requirement] = []

    # --- the whole

    def plan(self) -> model.Plan:
        content = self.content
        entries = assemble(content, self.at, self.check)
        self.policies = Policies(content, self.at, self.settings, self.check, self.requires, self.templates, entries)
        body, _ = self.body(entries, DEFAULT_ROOTS, "", None, chained=content.get("execution_order") != "parallel")
        self.policies.finish()
        inputs = tuple(self._input(i, spec) for i, spec in enumerate(content.get("inputs") or []))
        outputs = tuple(self._output(i, spec, body) for i, spec in enumerate(content.get("outputs") or []))
        for key in ("schedule", "compensation", "timeout"):
            if key in content:
                self.requires.append(model.Requirement(feature=key, where=f"workflow.{key}"))
        return model.Plan(
            workflow=self.document.id,
            version=content.get("version", ""),
            description=content.get("description", ""),
            inputs=inputs,
            free_inputs="inputs" not in content,
            outputs=outputs,
            free_outputs="outputs" not in content,
            variables=content.get("variables") or {},
            pools={name: self._pool(name, pool) for name, pool in (content.get("agents") or {}).items()},
            body=body,
            policies=self.policies.table(),
            timeout_ms=parse_duration(content["timeout"]) if "timeout" in content else 0,
            timeout_default_ms=self.settings.timeout_default_ms,
            requires=tuple(dict.fromkeys(self.requires)),
            monitoring=content.get("monitoring") or {},
            extras={key: content[key] for key in ("schedule", "compensation") if key in content},
        )

    def _input(self, index: int, spec: dict[str, Any]) -> model.InputSpec:
        path = (*self.at, "inputs", index)
        kind = spec.get("type", "any")
        values = tuple(spec.get("values") or ())
        if kind == "enum" and not values:
            self.check.fail(path, "KOS101", f"input {spec['name']!r} is an enum and needs values")
        made = model.InputSpec(
            name=spec["name"],
            type=kind,
            required=spec.get("required", False) and "default" not in spec,
            default=spec.get("default"),
            has_default="default" in spec,
            values=values,
            schema=spec.get("schema"),
        )
        if made.has_default:
            from kos_runtime.core.plan.types import misfit

            problem = misfit(made.default, kind, values)
            if problem and made.default is not None:
                self.check.fail((*path, "default"), "KOS103", f"default of input {made.name!r}: {problem}")
        if any(other["name"] == made.name for other in (self.content.get("inputs") or [])[:index]):
            self.check.fail((*path, "name"), "KOS111", f"two inputs are named {made.name!r}")
        return made

    def _output(self, index: int, spec: dict[str, Any], body: model.Body) -> model.OutputSpec:
        path = (*self.at, "outputs", index)
        if "value" in spec:
            scope = _Scope(describe(body), DEFAULT_ROOTS, "")
            self._template(spec["value"], (*path, "value"), scope, [])
        elif not any(spec["name"] in names for names in describe(body).exposed()):
            if all(names is not None for names in describe(body).exposed_or_unknown()):
                self.check.warn(path, "KOS210", f"no step exposes the output {spec['name']!r}")
        return model.OutputSpec(
            name=spec["name"],
            type=spec.get("type", "any"),
            value=spec.get("value"),
            has_value="value" in spec,
            schema=spec.get("schema"),
        )

    def _pool(self, name: str, pool: dict[str, Any]) -> model.Pool:
        replicas = pool.get("replicas", 0)
        least, most = (replicas.get("min", 0), replicas.get("max", 0)) if isinstance(replicas, dict) else (0, replicas)
        if most and least > most:
            self.check.fail((*self.at, "agents", name, "replicas"), "KOS106", f"replicas: min {least} is above max {most}")
        if "rate_limit" in pool:
            self.requires.append(model.Requirement(feature="rate_limit", where=f"agents.{name}"))
        starts, per = _rate(pool.get("rate_limit", ""))
        if starts < 0:
            hint = "write for example 60/m, 5/s or 1000/h"
            self.check.fail((*self.at, "agents", name, "rate_limit"), "KOS107", f"no rate: {pool['rate_limit']!r}", hint)
        return model.Pool(
            agent=pool["agent"],
            least=least,
            most=most,
            resources=_amounts(pool.get("resources")),
            rate_starts=max(starts, 0),
            rate_per_ms=per,
            authority=pool.get("authority", 0),
        )

    # --- bodies

    def body(
        self, entries: list[Entry], roots: frozenset[str], prefix: str, outer: _Scope | None, *, chained: bool = True
    ) -> tuple[model.Body, list[Use]]:
        """Compile a body; the second are the references that lead outwards."""
        names = Names()
        for entry in entries:
            if not names.add(entry.step, entry.id):
                self.check.fail((*entry.path, "id"), "KOS111", f"two steps of this body are named {entry.id!r}")
        for step, target in names.named():
            if target not in names and not (outer is not None and self._visible(outer, target)):
                entry = next(e for e in entries if e.id == step)
                near = nearest(target, tuple(names))
                hint = f"did you mean {near!r}?" if near else ""
                self.check.fail(_path_of(entry, target), "KOS201", f"step {step!r} names no step of its body: {target!r}", hint)
        scope = _Scope(names, roots, prefix, outer)
        steps: list[model.Step] = []
        uses: dict[str, list[Use]] = {}
        outwards: list[Use] = []
        for entry in entries:
            step, found = self._step(entry, scope)
            uses[entry.id] = [use for use in found if use.target in names or names.group_of(use.target)]
            outwards += [use for use in found if not (use.target in names or names.group_of(use.target))]
            steps.append(step)
        made = add_edges(steps, entries, uses, names, self.check, chained=chained)
        return model.Body(steps=made), outwards

    def _visible(self, scope: _Scope, id: str) -> bool:  # noqa: A002
        at: _Scope | None = scope
        while at is not None:
            if id in at.names or at.names.group_of(id):
                return True
            at = at.outer
        return False

    def _step(self, entry: Entry, scope: _Scope) -> tuple[model.Step, list[Use]]:
        raw, path = entry.step, entry.path
        where = f"{scope.prefix}{entry.id}"
        uses: list[Use] = []
        if "when" in raw:
            self._condition(raw["when"], (*path, "when"), scope, uses)
        form, inside = self._form(entry, scope, where, uses)
        inputs = raw.get("inputs")
        for name, value in (inputs or {}).items():
            self._template(value, (*path, "inputs", name), _Scope(scope.names, inside, scope.prefix, scope.outer), uses)
        for key in _NOT_YET:
            if key in raw:
                self.requires.append(model.Requirement(feature=key, where=where))
        if raw.get("delivery") == "at_most_once":
            self.requires.append(model.Requirement(feature="delivery: at_most_once", where=where))
        step = model.Step(
            id=entry.id,
            form=form,
            when=raw.get("when"),
            on_demand=raw.get("on_demand", False) or entry.id in scope.names.on_demand,
            inputs=inputs,
            outputs=tuple(raw["outputs"].items()) if "outputs" in raw else None,
            spread=raw.get("parallel", False),
            timeout_ms=parse_duration(raw["timeout"]) if "timeout" in raw else self.settings.timeout_default_ms,
            policies=self.policies.of(entry, where, form),
            priority=raw.get("priority", 0),
            resources=_amounts(raw.get("resources")),
            delivery=raw.get("delivery", "at_least_once"),
            idempotent=raw.get("idempotent", False),
            idempotency_key=raw.get("idempotency_key"),
            extras={key: raw[key] for key in ("compensate", "cache", "authority_required", "description") if key in raw},
        )
        return step, uses

    # --- forms

    def _form(self, entry: Entry, scope: _Scope, where: str, uses: list[Use]) -> tuple[model.Form, frozenset[str]]:
        raw, path, roots = entry.step, entry.path, scope.roots
        if "join" in raw:
            sync, count, quorum = _sync(raw["join"].get("sync", "all"))
            if sync != "all":
                self.requires.append(model.Requirement(feature=f"synchronization point with sync: {sync}", where=where))
            return model.Join(waits_for=tuple(raw["join"]["wait_for"]), sync=sync, count=count, quorum=quorum), roots
        if "decision" in raw:
            return self._decision(raw["decision"], path, scope, uses), roots
        if "loop" in raw:
            return self._loop(raw["loop"], path, scope, where, uses), roots
        if "for_each" in raw:
            return self._for_each(raw, path, scope, where, uses)
        if "parallel_group" in raw:
            return self._group(raw, path, scope, where, uses), roots
        if "set" in raw:
            for name, value in raw["set"].items():
                self._template(value, (*path, "set", name), scope, uses)
            return model.SetVariables(values=raw["set"]), roots
        if "emit" in raw:
            self._template(raw["emit"].get("data"), (*path, "emit", "data"), scope, uses)
            return model.Emit(event=raw["emit"]["event"], data=raw["emit"].get("data")), roots
        if "fail" in raw:
            message = raw["fail"].get("message", f"step {entry.id} failed")
            self._template(message, (*path, "fail", "message"), scope, uses)
            return model.Fail(error=raw["fail"].get("kind", "permanent"), message=message), roots
        for name in _FORMS_NOT_YET:
            if name in raw:
                self.requires.append(model.Requirement(feature=name, where=where))
                return self._other(raw, name, path, scope, uses), roots
        return model.Action(agent=raw.get("agent", ""), action=raw.get("action", "")), roots

    def _other(self, raw: dict[str, Any], name: str, path: Path, scope: _Scope, uses: list[Use]) -> model.Form:
        settings = raw[name]
        for key in ("inputs", "with", "show", "until"):
            if isinstance(settings, dict) and key in settings:
                self._template(settings[key], (*path, name, key), scope, uses)
        if name == "wait_for" and "match" in settings:
            self._condition(settings["match"], (*path, name, "match"), scope, uses)
        if name == "template" and settings.get("use") not in self.templates:
            near = nearest(str(settings.get("use")), tuple(self.templates))
            hint = f"did you mean {near!r}?" if near else "it is looked for when the run is linked"
            self.check.warn((*path, name, "use"), "KOS211", f"no template {settings.get('use')!r} is here", hint)
        return model.OtherForm(name=name, settings={**({"action": raw["action"]} if "action" in raw else {}), name: settings})

    def _decision(self, raw: dict[str, Any], path: Path, scope: _Scope, uses: list[Use]) -> model.Form:
        at = (*path, "decision", "condition") if "decision" in self._raw_at(path) else (*path, "condition")
        found: list[Use] = []
        self._condition(raw["condition"], at, scope, found)
        # What it reads need not be there: that is what the default path is for.
        uses += [Use(use.target, guarded=True) for use in found]
        return model.Decision(
            condition=raw["condition"],
            true_path=tuple(raw.get("true_path") or ()),
            false_path=tuple(raw.get("false_path") or ()),
            default_path=tuple(raw["default_path"]) if "default_path" in raw else None,
        )

    def _raw_at(self, path: Path) -> Any:
        at: Any = self.document.source.data
        for part in path:
            at = at[part] if isinstance(at, dict | list) else {}
        return at if isinstance(at, dict) else {}

    def _loop(self, raw: dict[str, Any], path: Path, scope: _Scope, where: str, uses: list[Use]) -> model.Form:
        at = (*path, "loop") if "loop" in self._raw_at(path) else path
        key = "body" if "body" in raw else "loop_body"
        entries = [Entry(dict(step), (*at, key, index)) for index, step in enumerate(raw.get(key) or [])]
        body, outwards = self.body(entries, scope.roots, f"{where}/", scope)
        uses += outwards
        inner = _Scope(describe(body), scope.roots, f"{where}/", scope)
        found: list[Use] = []
        if "loop_condition" in raw:
            # Asked before a turn, outside its body: the turn before is read through $loop.previous.
            self._condition(raw["loop_condition"], (*at, "loop_condition"), scope, found)
        breaks = []
        for index, item in enumerate(raw.get("break_conditions") or []):
            condition = item["condition"] if isinstance(item, dict) else item
            here = (*at, "break_conditions", index)
            self._condition(condition, (*here, "condition") if isinstance(item, dict) else here, inner, found)
            breaks.append(
                model.Break(condition=condition, reason=item.get("reason", condition) if isinstance(item, dict) else condition)
            )
        uses += [use for use in found if use.target not in inner.names]
        if raw.get("on_exhausted") == "escalate":
            self.requires.append(model.Requirement(feature="on_exhausted: escalate", where=where))
        return model.Loop(
            body=body,
            condition=raw.get("loop_condition", ""),
            max_iterations=raw.get("max_iterations", 0),
            breaks=tuple(breaks),
            on_exhausted=raw.get("on_exhausted", "continue"),
        )

    def _for_each(
        self, step: dict[str, Any], path: Path, scope: _Scope, where: str, uses: list[Use]
    ) -> tuple[model.Form, frozenset[str]]:
        raw = step["for_each"]
        self._template(raw.get("in"), (*path, "for_each", "in"), scope, uses)
        name = raw.get("as", "item")
        inside = scope.roots | {name}
        if name in DEFAULT_ROOTS - {"item"}:
            self.check.fail((*path, "for_each", "as"), "KOS111", f"{name!r} is a name of the language")
        body = None
        if "steps" in raw:
            entries = [Entry(dict(s), (*path, "for_each", "steps", i)) for i, s in enumerate(raw["steps"])]
            body, outwards = self.body(entries, inside, f"{where}/", scope)
            uses += outwards
        policy = raw.get("on_item_failure", "fail_fast")
        quorum = policy["quorum"] if isinstance(policy, dict) else 1.0
        form = model.ForEach(
            items=raw.get("in"),
            name=name,
            max_concurrency=raw.get("max_concurrency", 0),
            on_item_failure="quorum" if isinstance(policy, dict) else policy,
            quorum=quorum,
            agent=step.get("agent", ""),
            action=step.get("action", ""),
            body=body,
        )
        return form, inside

    def _group(self, step: dict[str, Any], path: Path, scope: _Scope, where: str, uses: list[Use]) -> model.Form:
        raw = step["parallel_group"]
        members: list[Entry] = step.get("members") or [
            Entry(dict(s), (*(step.get("at") or (*path, "parallel_group")), "steps", i)) for i, s in enumerate(raw["steps"])
        ]
        body, outwards = self.body(members, scope.roots, f"{where}/", scope, chained=False)
        uses += outwards
        sync, count, quorum = _sync(raw.get("sync", "all"))
        if sync == "count" and count > len(members):
            self.check.fail(path, "KOS106", f"group {step['id']!r} waits for {count} of {len(members)} members")
        return model.Group(
            body=body,
            max_concurrency=raw.get("max_concurrency", 0),
            resources=_amounts(raw.get("resource_requirements")),
            sync=sync,
            count=count,
            quorum=quorum,
            transparent=raw.get("transparent", False),
        )

    # --- texts

    def _condition(self, text: str, path: Path, scope: _Scope, uses: list[Use]) -> None:
        try:
            expression = parse_expression(text, roots=scope.roots)
        except ExpressionError as error:
            hint = "it was cut by YAML: put the whole expression in quotes" if looks_cut(text) else ""
            self.check.fail(path, "KOS202", error.message, hint, offset=self._offset(path, error.position))
            return
        self._uses(expression.references, path, scope, uses)

    def _template(self, value: Any, path: Path, scope: _Scope, uses: list[Use]) -> None:
        try:
            template = parse_template(value, roots=scope.roots)
        except ExpressionError as error:
            here = (*path, *getattr(error, "where", ()))
            source = error.source if isinstance(getattr(error, "source", None), str) else ""
            hint = "it was cut by YAML: put the whole expression in quotes" if source and looks_cut(source) else ""
            self.check.fail(here, "KOS202", error.message, hint, offset=self._offset(here, error.position))
            return
        for warning in template.warnings:
            self.check.warn((*path, *warning.where), "KOS212", warning.message)
        self._uses(template.references, path, scope, uses)

    def _offset(self, path: Path, position: int | None) -> int:
        mark = self.document.source.values.get(path)
        if mark is None or not position:
            return 0
        line = self.document.source.lines[mark.line]
        quoted = mark.column < len(line) and line[mark.column] in "'\""
        return position + (1 if quoted else 0)

    def _uses(self, references: tuple[Reference, ...], path: Path, scope: _Scope, uses: list[Use]) -> None:
        for reference in references:
            if reference.root == "secrets":
                self.requires.append(model.Requirement(feature="$secrets", where=scope.prefix.rstrip("/") or "workflow"))
            if reference.root == "inputs" and reference.path and "inputs" in self.content:
                self._input_known(reference, path)
            if reference.root != "steps":
                continue
            if not reference.path or not isinstance(reference.path[0], str):
                self.check.fail(path, "KOS203", "$steps is followed by a step's id", offset=self._offset(path, reference.position))
                continue
            target = reference.path[0]
            found = self._find(scope, target)
            if found is None:
                near = nearest(target, tuple(self._all(scope)))
                hint = f"did you mean {near!r}?" if near else ""
                message = f"no step {target!r} can be seen from here"
                self.check.fail(path, "KOS201", message, hint, offset=self._offset(path, reference.position))
                continue
            problem = found.misnamed(target, reference.path[1:])
            if problem is not None:
                self.check.fail(path, "KOS204", *problem, offset=self._offset(path, reference.position))
            uses.append(Use(target, guarded=reference.guarded))

    def _input_known(self, reference: Reference, path: Path) -> None:
        known = tuple(spec["name"] for spec in self.content["inputs"] if isinstance(spec, dict) and "name" in spec)
        name = reference.path[0]
        if isinstance(name, str) and name not in known:
            near = nearest(name, known)
            hint = f"did you mean {near!r}?" if near else f"declared are {', '.join(known) or 'none'}"
            self.check.fail(path, "KOS205", f"no input {name!r} is declared", hint, offset=self._offset(path, reference.position))

    def _find(self, scope: _Scope, id: str) -> Names | None:  # noqa: A002
        at: _Scope | None = scope
        while at is not None:
            if id in at.names or at.names.group_of(id):
                return at.names
            at = at.outer
        return None

    def _all(self, scope: _Scope) -> list[str]:
        at: _Scope | None = scope
        found: list[str] = []
        while at is not None:
            found.extend(at.names)
            at = at.outer
        return found


def _path_of(entry: Entry, target: str) -> Path:
    """Return where a step names another: in a path of its decision, or in ``depends_on``."""
    decision = entry.step.get("decision") or {}
    for key in ("true_path", "false_path", "default_path"):
        for index, name in enumerate(decision.get(key) or ()):
            if name == target:
                return (*entry.path, "decision", key, index)
    for index, name in enumerate(entry.step.get("depends_on") or ()):
        if name == target:
            return (*entry.path, "depends_on", index)
    return entry.path


def _sync(value: Any) -> tuple[str, int, float]:
    if isinstance(value, dict):
        if "count" in value:
            return "count", value["count"], 0.0
        return "quorum", 0, float(value.get("quorum", 0.0))
    return value, 0, 0.0


def _amounts(raw: dict[str, Any] | None) -> dict[str, float]:
    return {name: amount_of(value) or 0.0 for name, value in (raw or {}).items()}


def _rate(text: str) -> tuple[int, int]:
    """Return starts and milliseconds of ``60/m``; (-1, 0) when it is no rate, (0, 0) for none."""
    if not text:
        return 0, 0
    number, _, unit = text.partition("/")
    per = {"s": 1_000, "m": 60_000, "h": 3_600_000}.get(unit.strip(), 0)
    return (int(number), per) if number.strip().isdecimal() and per else (-1, 0)

"""A checked definition becomes a plan: edges, policies and defaults made explicit, meaning checked on the way."""

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from kos_runtime.core.identity import is_name
from kos_runtime.core.instant import format_duration, parse_duration
from kos_runtime.core.plan import model
from kos_runtime.core.plan.types import misfit
from kos_runtime.definition.assemble import Entry, assemble
from kos_runtime.definition.authority import Authorities, is_hierarchical
from kos_runtime.definition.documents import WorkflowDocument
from kos_runtime.definition.edges import add_edges
from kos_runtime.definition.forms import Forms
from kos_runtime.definition.language import MAX_STEPS
from kos_runtime.definition.mastering import mastery_of
from kos_runtime.definition.names import SILENT, Names, kind_of
from kos_runtime.definition.policies import Policies
from kos_runtime.definition.problems import DefinitionError, Path, Problem, in_order
from kos_runtime.definition.quantities import amounts_of, rate_of
from kos_runtime.definition.references import Scope, Texts, Use
from kos_runtime.definition.schedules import check_schedule
from kos_runtime.definition.settings import EngineSettings
from kos_runtime.definition.shapes import Check
from kos_runtime.definition.templates import Inside, inline, template_of

#: Keys of a step that are carried along.
_EXTRAS: Final = ("description",)
#: An attempt that is asked for signs of life gives them at most so often.
MIN_HEARTBEAT_MS: Final = 100
#: Forms that an agent's inputs or a result's outputs mean nothing to.
_WITHOUT_INPUTS: Final = SILENT | {"loop", "parallel_group"}


def _has_no_attempts(raw: Mapping[str, Any], kind: str) -> bool:
    """Say whether nothing of a step itself is attempted, so that a timeout of attempts bounds nothing."""
    return kind in _WITHOUT_INPUTS or (kind in {"for_each", "wait_for", "approval"} and "agent" not in raw)


def compile_workflow(
    document: WorkflowDocument, *, settings: EngineSettings | None = None, templates: Mapping[str, Any] | None = None
) -> tuple[model.Plan, list[Problem]]:
    """Return the plan and the warnings.

    Raises:
        DefinitionError: The definition means nothing; every error is in it.
    """
    compiler = Compiler(document, settings or EngineSettings(), templates_for(document, templates))
    for source in getattr(templates, "maps", (templates,)):
        compiler.is_workflow = getattr(source, "has_workflow", compiler.is_workflow)
    plan = compiler.plan()
    problems = compiler.check.problems
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise DefinitionError(in_order(errors))
    return plan, in_order([*document.warnings, *problems])


def templates_for(document: WorkflowDocument, templates: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the templates that a workflow may use: those of its file first; the others are read when one is missing."""
    return ChainMap(document.templates, templates) if templates is not None else document.templates  # type: ignore[arg-type]


class Compiler:
    """One compilation. ``check`` gathers problems, ``requires`` what an engine must know how to run, and where.

    ``inside``: of a template, for the compiler of what uses it.
    """

    def __init__(
        self,
        document: WorkflowDocument,
        settings: EngineSettings,
        templates: Mapping[str, Any],
        *,
        inside: Inside | None = None,
    ) -> None:
        self.inside = inside
        #: The template that is compiled as a workflow of its own, if it is one.
        self.own_template = document.id if document.at[:1] == ("templates",) else ""
        self.document = document
        self.content = document.content
        self.at = document.at
        self.settings = settings
        self.check = Check(document.source)
        inputs = [spec.get("name") for spec in self.content["inputs"]] if "inputs" in self.content else None
        self.texts = Texts(self.check, inputs, variables_of(self.content))
        self.requires = self.texts.requires
        self.forms = Forms(self)
        self.authorities = Authorities(self)
        self.templates = templates
        #: Pools, under the names by which steps call them.
        self.pools: dict[str, model.Pool] = {}
        #: Whether there is a workflow of an id, as far as whoever brings the templates knows.
        self.is_workflow: Callable[[str], bool] = (lambda _: False) if inside is None else inside.compiler.is_workflow
        #: What fallbacks name beside steps, each with where that stands.
        self.fallbacks: dict[str, Path] = {}
        self._count = 0 if inside is None else inside.compiler.count

    @property
    def count(self) -> int:
        """How many steps were compiled so far, those around a template with it."""
        return self._count

    def agent(self, name: str) -> str:
        """Return the name by which a plan calls an agent: the pools of a template are its own."""
        if self.inside is None or name not in (self.content.get("agents") or {}):
            return name
        return f"{self.inside.names[-1]}.{name}"

    def adopt(self, inner: "Compiler", path: Path) -> None:
        """Take over what came of compiling a template that is used at ``path``."""
        self.check.problems += inner.check.problems
        self.requires += [(requirement, path) for requirement, _ in inner.requires]
        self.pools.update(inner.pools)
        self.authorities.adopt(inner.authorities, path)
        self.fallbacks = {**dict.fromkeys(inner.fallbacks, path), **self.fallbacks}
        self._count = inner.count

    def need(self, feature: str, where: str, path: Path) -> None:
        """Note down something that an engine must know how to run."""
        self.requires.append((model.Requirement(feature=feature, where=where), path))

    # --- the whole

    def plan(self) -> model.Plan:
        content = self.content
        entries = assemble(content, self.at, self.check)
        self.policies = Policies(self, entries, self.document.templates)
        self.pools.update(
            (self.agent(name), self._pool(name, pool)) for name, pool in (content.get("agents") or {}).items()
        )
        scope = Scope(names=self._names(entries), prefix="" if self.inside is None else self.inside.prefix)
        scope.names.on_demand.update(self.policies.fallback_steps)
        body, _ = self.body(entries, scope, chained=content.get("execution_order") != "parallel")
        self.fallbacks.update(self.policies.other_fallbacks)
        fallbacks = self._fallbacks(scope) if self.inside is None else model.Body(steps=())
        self.policies.finish()
        inputs = tuple(self._input(i, spec) for i, spec in enumerate(content.get("inputs") or []))
        outputs = tuple(self._output(i, spec, scope) for i, spec in enumerate(content.get("outputs") or []))
        if isinstance(content.get("schedule"), dict):
            self._schedule(content["schedule"], inputs)
        authority = self.authorities.compile() if self.inside is None else None
        return model.Plan(
            workflow=self.document.id,
            version=content.get("version", ""),
            description=content.get("description", ""),
            inputs=inputs,
            free_inputs="inputs" not in content,
            outputs=outputs,
            free_outputs="outputs" not in content,
            variables={name: self._variable(name, value) for name, value in (content.get("variables") or {}).items()},
            pools=dict(self.pools),
            body=body,
            policies=self.policies.table(),
            fallbacks=fallbacks,
            compensate_on=_compensate_on(content.get("compensation") or {}),
            timeout_ms=parse_duration(content["timeout"])
            if "timeout" in content
            else self.settings.max_workflow_duration_ms,
            timeout_default_ms=self.settings.timeout_default_ms,
            requires=tuple(dict.fromkeys(requirement for requirement, _ in self.requires)),
            monitoring=content.get("monitoring") or {},
            priority=content.get("priority", 0),
            limit=self._limit(),
            authority=authority,
            extras={key: content[key] for key in ("schedule",) if key in content},
        )

    def _fallbacks(self, scope: Scope) -> model.Body:
        """Compile the templates that fallbacks name, and those that these name; other names may be those of workflows."""
        made: dict[str, model.Step] = {}
        while left := [name for name in self.fallbacks if name not in made]:
            name, path = left[0], self.fallbacks[left[0]]
            form: model.Form = model.Child(workflow=name)
            if template_of(self, name) is not None:
                form, _ = inline(self, {"id": name, "template": {"use": name}}, path, scope, name)
            made[name] = model.Step(
                id=name,
                form=form,
                on_demand=True,
                timeout_ms=self.settings.timeout_default_ms,
                policies=self.policies.of(Entry({"id": name}, path), name, form),
            )
        return model.Body(steps=tuple(step for step in made.values() if is_name(step.id)))

    def _schedule(self, schedule: dict[str, Any], inputs: Sequence[model.InputSpec]) -> None:
        path = (*self.at, "schedule")
        check_schedule(schedule, path, self.check)
        given = schedule.get("inputs") or {}
        for name, value in given.items():
            at = (*path, "inputs", name)
            literal = self.texts.literal(value, at)
            spec = next((spec for spec in inputs if spec.name == name), None)
            if literal is None and value is not None:
                self.check.fail(at, "KOS215", f"input {name!r} of a schedule is plain data, not a reference")
            elif spec is None and "inputs" in self.content:
                self.check.fail(at, "KOS205", f"no input {name!r}", self.check.hint(name, (s.name for s in inputs)))
            elif spec is not None and (problem := misfit(literal, spec.type, spec.values)):
                self.check.fail(at, "KOS103", f"input {name!r} of the schedule: {problem}")

    def _input(self, index: int, spec: dict[str, Any]) -> model.InputSpec:
        path = (*self.at, "inputs", index)
        kind, values = spec.get("type", "any"), tuple(spec.get("values") or ())
        if kind == "enum" and not values:
            self.check.fail(path, "KOS101", f"input {spec.get('name')!r} is an enum and needs values")
        made = model.InputSpec(
            name=spec.get("name", "?"),
            type=kind,
            required=spec.get("required", False) and "default" not in spec,
            default=spec.get("default"),
            has_default="default" in spec,
            values=values,
            schema=spec.get("schema"),
        )
        problem = misfit(made.default, kind, values) if made.default is not None else None
        if problem:
            self.check.fail((*path, "default"), "KOS103", f"default of input {made.name!r}: {problem}")
        if any(other.get("name") == made.name for other in self.content["inputs"][:index]):
            self.check.fail((*path, "name"), "KOS111", f"two inputs are named {made.name!r}")
        return made

    def _output(self, index: int, spec: dict[str, Any], scope: Scope) -> model.OutputSpec:
        path = (*self.at, "outputs", index)
        name = spec.get("name", "?")
        if "value" in spec:
            self.texts.template(spec["value"], (*path, "value"), scope)
        elif scope.names.exposes(name) is False:
            self.check.warn(path, "KOS210", f"no step exposes the output {name!r}")
        if any(other.get("name") == name for other in self.content["outputs"][:index]):
            self.check.fail((*path, "name"), "KOS111", f"two outputs are named {name!r}")
        return model.OutputSpec(
            name=name,
            type=spec.get("type", "any"),
            value=spec.get("value"),
            has_value="value" in spec,
            schema=spec.get("schema"),
        )

    def _variable(self, name: str, value: Any) -> Any:
        """Return what a variable begins with: plain data, since nothing has run that it could be computed from."""
        path = (*self.at, "variables", name)
        literal = self.texts.literal(value, path)
        if literal is None and value is not None:
            hint = f"set it in a step: set: {{{name}: ...}}"
            self.check.fail(path, "KOS215", f"variable {name!r} begins with plain data, not with a reference", hint)
        return literal

    def _pool(self, name: str, pool: dict[str, Any]) -> model.Pool:
        path = (*self.at, "agents", name)
        replicas = pool.get("replicas", 0)
        least, most = (replicas.get("min", 0), replicas.get("max", 0)) if isinstance(replicas, dict) else (0, replicas)
        if most and least > most:
            self.check.fail((*path, "replicas"), "KOS106", f"replicas: min {least} is above max {most}")
        starts, per_ms = self._rate(pool, path)
        return model.Pool(
            agent=pool.get("agent", ""),
            least=least,
            most=most,
            resources=amounts_of(pool.get("resources")),
            rate_starts=starts,
            rate_per_ms=per_ms,
            authority=pool.get("authority", 0),
            max_concurrency=pool.get("max_concurrency", 0),
        )

    def _limit(self) -> model.Limit | None:
        """Return how much of a run may start, if the workflow says so."""
        starts, per_ms = self._rate(self.content, self.at)
        most = self.content.get("max_concurrency", 0)
        return model.Limit(name="the run", most=most, starts=starts, per_ms=per_ms) if starts or most else None

    def _rate(self, said: Mapping[str, Any], path: Path) -> tuple[int, int]:
        """Return a rate_limit as starts in so many milliseconds, 0 and 0 where there is none."""
        if "rate_limit" not in said:
            return 0, 0
        starts, per_ms = rate_of(said["rate_limit"])
        if not starts:
            hint = "write for example 60/m, 5/s or 1000/h"
            self.check.fail((*path, "rate_limit"), "KOS107", f"no rate: {said['rate_limit']!r:.60}", hint)
        return starts, per_ms

    # --- bodies

    def _names(self, entries: Sequence[Entry]) -> Names:
        names = Names()
        for entry in entries:
            if not names.add(entry.step):
                self.check.fail((*entry.path, "id"), "KOS111", f"two steps of this body are named {entry.id!r}")
        return names

    def nested(
        self,
        entries: Sequence[Entry],
        outer: Scope,
        where: str,
        *,
        item: str = "",
        turns: bool = False,
        chained: bool = True,
    ) -> tuple[model.Body, list[Use], Scope]:
        """Compile the body of a step: of a ``for_each`` over ``item``, of a loop (``turns``), of a group.

        The second are the references that lead outwards: the containing step waits for what they read, but only the
        steps that read it are skipped when it was.
        """
        names = self._names(entries)
        scope = Scope(
            names=names,
            roots=outer.roots | {item} if item else outer.roots,
            prefix=f"{where}/",
            outer=outer,
            items=outer.items or bool(item),
            turns=names if turns else outer.turns,
        )
        body, outwards = self.body(entries, scope, chained=chained)
        return body, outwards, scope

    def body(self, entries: Sequence[Entry], scope: Scope, *, chained: bool) -> tuple[model.Body, list[Use]]:
        names = scope.names
        self._count += len(entries)
        if self._count > MAX_STEPS:
            self.check.fail(entries[0].path, "KOS106", f"the workflow has more than {MAX_STEPS} steps")
            return model.Body(steps=()), []
        steps: list[model.Step] = []
        uses: dict[str, list[Use]] = {}
        outwards: list[Use] = []
        for entry in entries:
            self._named(entry, scope)
            step, found = self._step(entry, scope)
            leading_out = [name for name in entry.step.get("depends_on") or () if names.holder(name) is None]
            uses[entry.id] = [use for use in found if names.holder(use.target) is not None]
            outwards += [Use(use.target, guarded=True) for use in found if names.holder(use.target) is None]
            outwards += [Use(name, guarded=True) for name in leading_out]
            steps.append(step)
        return model.Body(steps=add_edges(steps, entries, uses, names, self.check, chained=chained)), outwards

    def _named(self, entry: Entry, scope: Scope) -> None:
        """Check the ids that a step names: in ``depends_on`` (also of bodies around), in the paths of its decision."""
        for index, target in enumerate(entry.step.get("depends_on") or ()):
            if all(at.names.holder(target) is None for at in scope.around()):
                here = entry.places.get(target, (*entry.path, "depends_on", index))
                self._unknown(entry, target, here, (n for at in scope.around() for n in at.names))
            elif target == entry.id:
                self.check.fail((*entry.path, "depends_on", index), "KOS206", f"step {target!r} waits for itself")
        decision = entry.step.get("decision")
        if not isinstance(decision, dict):
            return
        for key in ("true_path", "false_path", "default_path"):
            path = decision.get(key) or ()
            at = ("decision", key) if self.document.source.values.get((*entry.path, "decision")) else (key,)
            for index, target in enumerate(path):
                here = (*entry.path, *at, index)
                if target == entry.id:
                    self.check.fail(here, "KOS206", f"decision {target!r} names itself")
                elif target in path[:index]:
                    self.check.fail(here, "KOS111", f"{key} names {target!r} twice")
                elif target not in scope.names:
                    group = scope.names.group_of(target)
                    if group is not None:
                        hint = f"name the group, {group!r}"
                        self.check.fail(
                            here, "KOS201", f"{target!r} runs with its group and cannot be named alone", hint
                        )
                    else:
                        self._unknown(entry, target, here, scope.names)

    def _unknown(self, entry: Entry, target: str, path: Path, known: Iterable[str]) -> None:
        hint = self.check.hint(target, known)
        message = f"step {entry.id!r} names no step of its body: {target!r}"
        self.check.fail(path, "KOS201", message, hint)

    # --- steps

    def _step(self, entry: Entry, scope: Scope) -> tuple[model.Step, list[Use]]:
        raw, path = entry.step, entry.path
        where = f"{scope.prefix}{entry.id}"
        uses: list[Use] = []
        if "when" in raw:
            at = (
                (*path, "when")
                if (*path, "when") in self.document.source.values
                else (*self.at, "conditions", entry.id)
            )
            uses += self.texts.condition(raw["when"], at, scope)
        form, inside, found = self.forms.compile(entry, scope, where)
        uses += found
        uses += self._values(raw, path, inside)
        needs, found = self.authorities.needs(raw, path, inside)
        uses += found
        kind = kind_of(raw)
        for key in ("inputs", "outputs", "timeout"):
            useless = _has_no_attempts(raw, kind) if key == "timeout" else kind in _WITHOUT_INPUTS
            if key in raw and useless:
                self.check.warn(
                    (*path, key), "KOS214", f"step {entry.id!r} is a {kind} and has no use for {key}", key=True
                )
        reads = dict.fromkeys(use.target for use in uses if not use.guarded and use.target != entry.id)
        master = mastery_of(self, raw, path)
        step = model.Step(
            id=entry.id,
            form=form,
            when=raw.get("when"),
            reads=tuple(reads),
            on_demand=entry.id in scope.names.on_demand,
            inputs=raw.get("inputs"),
            outputs=tuple(raw["outputs"].items()) if "outputs" in raw else None,
            spread=raw.get("parallel", False) or (master is not None and isinstance(form, model.Action)),
            master=master,
            timeout_ms=parse_duration(raw["timeout"]) if "timeout" in raw else self.settings.timeout_default_ms,
            heartbeat_ms=self._heartbeat(raw, path, kind),
            policies=self.policies.of(entry, where, form),
            priority=raw.get("priority", 0),
            resources=amounts_of(raw.get("resources")),
            delivery=raw.get("delivery", "at_least_once"),
            idempotent=raw.get("idempotent", False),
            idempotency_key=raw.get("idempotency_key"),
            compensate=self._compensation(entry, kind, where),
            cache=self._cache(raw, path, kind),
            authority=needs,
            extras={key: raw[key] for key in _EXTRAS if key in raw},
        )
        return step, uses

    def _heartbeat(self, raw: dict[str, Any], path: Path, kind: str) -> int:
        """Return after how long a silent attempt is given up, 0 for never."""
        if "heartbeat_timeout" not in raw:
            return 0
        at = (*path, "heartbeat_timeout")
        silence = parse_duration(raw["heartbeat_timeout"])
        limit = parse_duration(raw["timeout"]) if "timeout" in raw else self.settings.timeout_default_ms
        if silence < MIN_HEARTBEAT_MS:
            self.check.fail(at, "KOS106", f"heartbeat_timeout: must be at least {format_duration(MIN_HEARTBEAT_MS)}")
        elif silence >= limit:
            told = (
                f"heartbeat_timeout of {format_duration(silence)} is not below the timeout of {format_duration(limit)}"
            )
            self.check.fail(at, "KOS106", told)
        elif "agent" not in raw:
            message = f"step {raw.get('id')!r} is a {kind} and has no use for heartbeat_timeout"
            self.check.warn(at, "KOS214", message, key=True)
        return silence

    def _cache(self, raw: dict[str, Any], path: Path, kind: str) -> model.Cache | None:
        """Return under what a step's results are kept, if it says that they are."""
        said = raw.get("cache", False)
        if said is False:
            return None
        at = (*path, "cache")
        if not raw.get("action") or kind not in {"action", "for_each"}:
            message = f"step {raw.get('id')!r} is a {kind.removeprefix('parallel_')} and has no use for cache"
            self.check.warn(at, "KOS214", message, key=True)
            return None
        if raw.get("authority_required"):
            message = f"step {raw.get('id')!r} needs authority and has no use for cache"
            self.check.warn(at, "KOS214", message, "what was granted to its agent is what it does itself", key=True)
            return None
        if raw.get("delivery") == "at_most_once":
            self.check.fail(
                at, "KOS109", "cache does not go with delivery: at_most_once", "what acts once is not looked up"
            )
        if "compensate" in raw:
            self.check.fail(at, "KOS109", "cache does not go with compensate", "what was not done cannot be undone")
        said = said if isinstance(said, dict) else {}
        ttl_ms = parse_duration(said["ttl"]) if "ttl" in said else 0
        if "ttl" in said and not ttl_ms:
            self.check.fail((*at, "ttl"), "KOS106", "ttl: must be above 0", "without it a result may be of any age")
        return model.Cache(key=said.get("key"), has_key="key" in said, ttl_ms=ttl_ms)

    def _compensation(self, entry: Entry, kind: str, where: str) -> model.Compensation | None:
        said = entry.step.get("compensate")
        if not isinstance(said, dict):
            return None
        acts = kind in {"action", "for_each"} or is_hierarchical(entry.step.get("coordination"))
        if not acts or not entry.step.get("action"):
            self.need(f"compensate of a {kind.removeprefix('parallel_')}", where, (*entry.path, "compensate"))
            return None
        return model.Compensation(
            agent=self.agent(said.get("agent", "")),
            action=said.get("action", ""),
            inputs=said.get("inputs"),
            timeout_ms=self.settings.timeout_default_ms,
            policies=self.policies.of_compensation(),
        )

    def _values(self, raw: dict[str, Any], path: Path, scope: Scope) -> list[Use]:
        """Check a step's own values; what its compensation reads is there by the time that it runs."""
        uses = []
        for name, value in (raw.get("inputs") or {}).items():
            uses += self.texts.template(value, (*path, "inputs", name), scope, secrets=True)
        if "idempotency_key" in raw:
            at = (*path, "idempotency_key")
            uses += self.texts.template(raw["idempotency_key"], at, scope)
            if self.texts.reads(raw["idempotency_key"], "vars", scope):
                self.check.fail(at, "KOS208", "idempotency_key reads $vars, which may change between two attempts")
        cache = raw.get("cache")
        if isinstance(cache, dict) and "key" in cache:
            uses += self.texts.template(cache["key"], (*path, "cache", "key"), scope)
        for name, value in ((raw.get("compensate") or {}).get("inputs") or {}).items():
            self.texts.template(value, (*path, "compensate", "inputs", name), scope, secrets=True)
        return uses


def variables_of(content: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the variables that a workflow declares or sets; None when a template in it may set others."""
    found = set(content.get("variables") or {})
    waiting: list[Any] = [content.get("steps"), content.get("parallel_groups"), content.get("loop_body")]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting += item
        elif isinstance(item, dict):
            if "template" in item:
                return None
            if isinstance(item.get("set"), dict):
                found |= set(item["set"])
            waiting += [item.get(key) for key in ("loop", "for_each", "parallel_group", "steps", "body", "loop_body")]
    return frozenset(found)


def _compensate_on(said: dict[str, Any]) -> tuple[str, ...]:
    """Return after which ends what was completed is undone: both, unless it is said; none, when that is an empty list."""
    ends = said.get("on")
    return ("failed", "cancelled") if ends is None else tuple(ends)

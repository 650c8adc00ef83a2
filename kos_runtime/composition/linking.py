"""Links a plan: who its agents are here, and whether they can do what it asks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kos_runtime.composition.discovery import Registry, load_class
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan.link import ActionLink, AgentLink, FieldLink, Link, ParameterLink
from kos_runtime.core.plan.model import Action, Body, Decision, ForEach, Group, Loop, OtherForm, Plan, Pool, Step
from kos_runtime.core.workflow.asking import ASK_ACTION
from kos_runtime.definition.settings import EngineSettings
from kos_runtime.ports.agent import Agent

#: What this version stores in, by kind of store.
DRIVERS: Final = {"state": ("sqlite", "memory"), "checkpoint": ("sqlite", "memory"), "audit": ("sqlite", "memory")}
_WORDS: Final = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}


@dataclass(slots=True)
class Linked:
    """A link, and what goes into ``RunLinked`` beside it."""

    link: Link
    settings: dict[str, Any]
    drivers: dict[str, str]


def link(plan: Plan, registry: Registry, settings: EngineSettings, cache_dir: str) -> Linked:
    """Link a plan.

    Raises:
        InvalidDefinition: Everything that stands against running it here.
    """
    linker = _Linker(plan, registry, settings, cache_dir)
    linker.run()
    if linker.problems:
        many = f"{len(linker.problems)} reasons" if len(linker.problems) > 1 else "one reason"
        listed = "\n".join(f"  - {problem}" for problem in dict.fromkeys(linker.problems))
        raise InvalidDefinition(f"workflow {plan.workflow!r} cannot be linked here, for {many}:\n{listed}")
    return Linked(Link(agents=linker.agents, drivers=settings.drivers()), linker.settings_used, settings.drivers())


def problems(plan: Plan, registry: Registry, settings: EngineSettings) -> tuple[list[str], list[str]]:
    """Return what linking would refuse: errors (an unknown action of a known agent) and what is only not here."""
    linker = _Linker(plan, registry, settings, "")
    linker.dry = True
    linker.run()
    return linker.errors, [problem for problem in linker.problems if problem not in linker.errors]


class _Linker:
    def __init__(self, plan: Plan, registry: Registry, settings: EngineSettings, cache_dir: str) -> None:
        self.plan = plan
        self.registry = registry
        self.settings = settings
        self.cache_dir = cache_dir
        self.dry = False
        self.problems: list[str] = []
        self.errors: list[str] = []
        self.agents: dict[str, AgentLink] = {}
        self.settings_used: dict[str, Any] = {}
        self._classes: dict[str, type[Agent]] = {}

    def run(self) -> None:
        for requirement in self.plan.requires:
            self.problems.append(f"{requirement.feature} (at {requirement.where}) does not run in this version")
        for kind, driver in self.settings.drivers().items():
            if driver not in DRIVERS[kind]:
                self.problems.append(
                    f"{kind}_backend: {driver} is not installed here; set engine.storage.{kind}_backend to "
                    f"{DRIVERS[kind][0]}, the embedded one"
                )
        for where, step in _steps(self.plan.body, ""):
            form = step.form
            if isinstance(form, Action) or (isinstance(form, ForEach) and form.body is None):
                self._step(where, step, form.agent, form.action)
        for policy in self.plan.policies:
            if policy.escalation_agent is not None and "escalate" in policy.ladder:
                agent = self._agent(policy.escalation_agent, policy.rule)
                if agent is not None and ASK_ACTION not in agent.actions:
                    self._error(
                        f"{policy.rule}: {policy.escalation_agent} has no action {ASK_ACTION}, so it cannot be asked"
                    )

    def _error(self, message: str) -> None:
        self.errors.append(message)
        self.problems.append(message)

    def _step(self, where: str, step: Step, name: str, action_name: str) -> None:
        agent = self._agent(name, f"step {where}")
        if agent is None:
            return
        action = agent.actions.get(action_name)
        if action is None:
            near = nearest(action_name, tuple(agent.actions))
            hint = f"did you mean {near!r}?" if near else f"it has {', '.join(sorted(agent.actions))}"
            self._error(f"step {where}: {name} has no action {action_name!r}; {hint}")
            return
        if step.spread and action.over and action.fields is None and action.gather is None:
            self._error(f"step {where}: {name}.{action_name} is spread but declares no result type; it must say gather")
        self._inputs(where, step, action, f"{name}.{action_name}")
        if step.resources:
            self.agents[name] = self._with_resources(name, agent, step)

    def _with_resources(self, name: str, agent: AgentLink, step: Step) -> AgentLink:
        del name
        demand = {**agent.resources, **step.resources}
        return replace(agent, resources=demand, pool=_pool_name(agent.kind, demand))

    def _inputs(self, where: str, step: Step, action: ActionLink, what: str) -> None:
        known = {parameter.name for parameter in action.parameters}
        if step.inputs is None:
            return
        if not action.takes_any:
            for name in step.inputs:
                if name not in known:
                    near = nearest(name, tuple(known))
                    hint = f"did you mean {near!r}?" if near else f"it takes {', '.join(sorted(known)) or 'nothing'}"
                    self._error(f"step {where}: {what} has no input {name!r}; {hint}")
        for parameter in action.parameters:
            if parameter.required and parameter.name not in step.inputs:
                self._error(f"step {where}: {what} needs the input {parameter.name!r}")

    def _agent(self, name: str, where: str) -> AgentLink | None:
        if name in self.agents:
            return self.agents[name]
        pool = self.plan.pools.get(name)
        kind = pool.agent if pool is not None else name
        try:
            target = self.registry.target(kind)
            cls = load_class(target)
        except InvalidDefinition as error:
            self.problems.append(f"{where}: {error}")
            return None
        self._classes[target] = cls
        made = self._link_agent(cls, target, pool, where)
        if made is not None:
            self.agents[name] = made
        return made

    def _link_agent(self, cls: type[Agent], target: str, pool: Pool | None, where: str) -> AgentLink | None:
        kind = cls.kind or cls.__name__
        settings = self._settings(cls, kind, where)
        if settings is None:
            return None
        resources = dict(pool.resources) if pool is not None else {}
        try:
            actions = {name: describe_action(cls, attribute) for name, (attribute, _) in cls.actions().items()}
        except ValueError as error:
            self._error(f"{where}: {error}")
            return None
        return AgentLink(
            kind=kind,
            target=target,
            pool=_pool_name(kind, resources),
            least=pool.least if pool is not None else 0,
            most=pool.most if pool is not None and pool.most else self.settings.processes_per_agent,
            resources=resources,
            actions=actions,
            settings=settings,
        )

    def _settings(self, cls: type[Agent], kind: str, where: str) -> dict[str, Any] | None:
        if kind in self.settings_used:
            return dict(self.settings_used[kind])
        given = dict(self.settings.agents.get(kind, {}))
        shared = getattr(cls, "shares_settings_of", "")
        if shared:
            given = {**self.settings.agents.get(shared, {}), **given}
        if self.dry:
            return given
        try:
            recorded = cls.link_settings(given, self.cache_dir)
        except ValueError as error:
            self._error(f"{where}: the settings of {kind} do not fit: {error}")
            return None
        self.settings_used[kind] = recorded
        return dict(recorded)


def _pool_name(kind: str, resources: Mapping[str, float]) -> str:
    if not resources:
        return kind
    return f"{kind}[{','.join(f'{name}={amount:g}' for name, amount in sorted(resources.items()))}]"


def _steps(body: Body, prefix: str) -> list[tuple[str, Step]]:
    found = []
    for step in body.steps:
        where = f"{prefix}{step.id}"
        found.append((where, step))
        match step.form:
            case Loop(body=inner) | Group(body=inner):
                found += _steps(inner, f"{where}/")
            case ForEach(body=inner) | OtherForm(body=inner) if inner is not None:
                found += _steps(inner, f"{where}/")
            case Decision() | _:
                pass
    return found


# --- what an action takes and gives ---------------------------------------------------------------


def describe_action(cls: type[Agent], attribute: str) -> ActionLink:
    """Return what linking records of an action, from its annotations."""
    import inspect
    from typing import get_type_hints

    from kos_runtime.ports.agent import MARK, Context

    method = getattr(cls, attribute)
    mark = getattr(method, MARK)
    try:
        hints = get_type_hints(method)
    except (NameError, TypeError, AttributeError) as error:
        raise ValueError(f"the annotations of {cls.__name__}.{attribute} cannot be read: {error}") from error
    parameters = []
    takes_any = False
    for name, parameter in list(inspect.signature(method).parameters.items())[1:]:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            takes_any = True
        elif hints.get(name) is not Context:
            required = parameter.default is inspect.Parameter.empty
            parameters.append(ParameterLink(name=name, required=required, type=word_of(hints.get(name, Any))))
    return ActionLink(
        parameters=tuple(parameters),
        takes_any=takes_any,
        over=mark.over,
        gather=mark.gather,
        fields=_fields(hints.get("return", Any)),
        idempotent=mark.idempotent,
        isolated=mark.isolated,
    )


def word_of(annotation: Any) -> str:
    """Return the language's word for an annotation; ``any`` when it cannot be told."""
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type):
        for kind, word in _WORDS.items():
            if issubclass(origin, kind) and not (origin is bool and kind is int):
                return "boolean" if origin is bool else word
        if issubclass(origin, BaseModel) or hasattr(origin, "__annotations__"):
            return "object"
    arguments = {word_of(argument) for argument in get_args(annotation) if argument is not type(None)}
    return arguments.pop() if len(arguments) == 1 and str(origin) != "typing.Literal" else "any"


def _fields(annotation: Any) -> tuple[FieldLink, ...] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields: Mapping[str, FieldInfo] = annotation.model_fields
        return tuple(FieldLink(name=n, type=word_of(f.annotation), required=f.is_required()) for n, f in fields.items())
    known = getattr(annotation, "__annotations__", None)
    if isinstance(annotation, type) and known and annotation.__module__ != "builtins":
        from typing import get_type_hints

        required = getattr(annotation, "__required_keys__", set(known))
        return tuple(
            FieldLink(name=name, type=word_of(kind), required=name in required)
            for name, kind in get_type_hints(annotation).items()
        )
    return None

"""Links a plan: who its agents are here, and whether they can do what it asks."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

from kos_runtime.adapters.codec import check_plain
from kos_runtime.composition.describing import describe_action
from kos_runtime.composition.discovery import Registry
from kos_runtime.composition.families import Family, check_inputs
from kos_runtime.composition.handing import check_implied, inputs_of, literal_misfit
from kos_runtime.composition.machines import problem_of, problem_of_master, problems_of_authority
from kos_runtime.composition.services import KIND as SERVICE_KIND
from kos_runtime.composition.services import TARGET as SERVICE
from kos_runtime.composition.services import (
    actions_of,
    how_to_configure,
    limit_of,
    most_processes,
    providers_of,
    settings_of,
)
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan.link import ActionLink, AgentLink, ChildLink, Link
from kos_runtime.core.plan.model import (
    Action,
    Body,
    Child,
    Compensation,
    Decision,
    ForEach,
    Group,
    Hierarchical,
    Inlined,
    Limit,
    Loop,
    OtherForm,
    Plan,
    Pool,
    Step,
)
from kos_runtime.core.workflow.asking import ASK_ACTION
from kos_runtime.core.workflow.compensating import FORWARD
from kos_runtime.definition.settings import EngineSettings
from kos_runtime.ports.agent import Agent

#: What this version stores in, by kind of store.
DRIVERS: Final = {"state": ("sqlite",), "checkpoint": ("sqlite",), "audit": ("sqlite", "json_lines")}
#: What a plan carries in the place of a template that was not there.
ABSENT: Final = "template"
#: A setting of such a name would stand in the log for ever.
_SECRET: Final = re.compile(r"(password|passwd|passphrase|secret|api[_-]?key|private[_-]?key|_token)$", re.IGNORECASE)

__all__ = ["DRIVERS", "Linked", "describe_action", "link", "problems"]


@dataclass(slots=True)
class Linked:
    """A link, and what goes into ``RunLinked`` beside it."""

    link: Link
    settings: dict[str, Any]
    drivers: dict[str, str]


def link(
    plan: Plan,
    registry: Registry,
    settings: EngineSettings,
    cache_dir: str,
    *,
    runs: frozenset[str] = frozenset(),
    family: Family | None = None,
) -> Linked:
    """Link a plan. ``runs`` are those of the features it requires that the engine at hand knows how to run.

    ``family`` links its sub-workflows; a plan that has some needs it.

    Raises:
        InvalidDefinition: Everything that stands against running it here.
    """
    linker = _Linker(plan, registry, settings, cache_dir, family)
    linker.dry = family is not None and family.put is None
    linker.run(runs)
    linker.refuse()
    made = Link(agents=linker.agents, children=linker.children, drivers=settings.drivers())
    return Linked(made, linker.settings_used, settings.drivers())


def link_again(
    plan: Plan,
    registry: Registry,
    settings: EngineSettings,
    cache_dir: str,
    *,
    before: Linked,
    runs: frozenset[str] = frozenset(),
    family: Family | None = None,
) -> Linked:
    """Link a plan that a run is to follow from here on: agents and workflows that it was linked to stay what they are.

    Raises:
        InvalidDefinition: Everything that stands against running it here.
    """
    linker = _Linker(plan, registry, settings, cache_dir, family)
    linker.agents = dict(before.link.agents)
    linker.children = dict(before.link.children)
    linker.settings_used = dict(before.settings)
    linker.drivers = before.drivers
    linker.run(runs)
    linker.refuse()
    return Linked(
        Link(agents=linker.agents, children=linker.children, drivers=before.link.drivers),
        linker.settings_used,
        before.drivers,
    )


def problems(
    plan: Plan,
    registry: Registry,
    settings: EngineSettings,
    *,
    runs: frozenset[str] = frozenset(),
    family: Family | None = None,
) -> tuple[list[str], list[str]]:
    """Return what linking would refuse: errors (an unknown action of a known agent) and what is only not here."""
    linker = _Linker(plan, registry, settings, "", family)
    linker.dry = True
    linker.run(runs)
    return linker.errors, [problem for problem in linker.problems if problem not in linker.errors]


class _Linker:
    def __init__(
        self, plan: Plan, registry: Registry, settings: EngineSettings, cache_dir: str, family: Family | None
    ) -> None:
        self.family = family
        self.children: dict[str, ChildLink] = {}
        self.plan = plan
        self.registry = registry
        self.settings = settings
        self.cache_dir = cache_dir
        self.dry = False
        self.problems: list[str] = []
        self.errors: list[str] = []
        self.agents: dict[str, AgentLink] = {}
        self.settings_used: dict[str, Any] = {}
        self.drivers = settings.drivers()
        self._absent: set[str] = set()
        self._linked: dict[tuple[Any, str, str], dict[str, Any]] = {}

    def refuse(self) -> None:
        """Raise what was found, if anything was."""
        if self.problems:
            many = f"{len(self.problems)} reasons" if len(self.problems) > 1 else "one reason"
            listed = "\n".join(f"  - {problem}" for problem in dict.fromkeys(self.problems))
            raise InvalidDefinition(f"workflow {self.plan.workflow!r} cannot be linked here, for {many}:\n{listed}")

    def run(self, runs: frozenset[str]) -> None:
        for requirement in self.plan.requires:
            if requirement.feature in runs or requirement.feature == ABSENT:
                continue
            self.problems.append(f"{requirement.feature} (at {requirement.where}) does not run in this version")
        for kind, driver in self.drivers.items():
            if driver not in DRIVERS[kind]:
                self.problems.append(
                    f"{kind}_backend: {driver} is not installed here; set engine.storage.{kind}_backend to "
                    f"{DRIVERS[kind][0]}, the embedded one"
                )
        known = inputs_of(self.plan)
        steps = [*_steps(self.plan.body, "", known), *_steps(self.plan.fallbacks, "", None)]
        maybe = {step.id for step in self.plan.fallbacks.steps if isinstance(step.form, Child)}
        for where, step, *_ in steps:
            form = step.form
            if step.master is not None and (wrong := problem_of_master()):
                self._error(f"step {where}: {wrong}")
            if isinstance(form, Hierarchical):
                for name in (form.levels[-1],) if form.delegate == "down" else form.levels[:-1]:
                    self._step(where, step, name, form.action)
            elif isinstance(form, Action) or (isinstance(form, ForEach) and form.body is None):
                self._step(where, step, form.agent, form.action)
                if isinstance(form, ForEach) and form.consensus and (wrong := problem_of(form.consensus, where)):
                    self._error(f"step {where}: {wrong}")
            elif isinstance(form, Child) and (where not in maybe or self._is_workflow(form.workflow)):
                self._child(where, form, as_fallback=where in maybe)
            elif isinstance(form, OtherForm) and form.name == ABSENT:
                self._template(where, str(form.settings[ABSENT].get("use", "")))
        for where, step, body, known in steps:
            for problem in check_implied(known, body, step, self.agents):
                self._error(f"step {where}: {problem}")
        for where, step, *_ in steps:
            if step.compensate is not None:
                self._compensation(where, step.compensate)
        for name in self.plan.pools:
            # Any of them may be asked to stand in, or be sent a message.
            self._agent(name, f"agents.{name}")
        if self.plan.authority is not None:
            for name in self.plan.authority.superiors:
                self._agent(name, "authority")
            for wrong in problems_of_authority(self.plan.authority):
                self._error(f"authority: {wrong}")
        for policy in self.plan.policies:
            if policy.escalation_agent is not None and "escalate" in policy.ladder:
                agent = self._agent(policy.escalation_agent, policy.rule)
                if agent is not None and ASK_ACTION not in agent.actions:
                    self._error(
                        f"{policy.rule}: {policy.escalation_agent} has no action {ASK_ACTION}, so it cannot be asked"
                    )

    def _template(self, where: str, name: str) -> None:
        """A template that was not there when the plan was compiled."""
        missing = f"no template {name!r} is here" if self.family is None else self.family.catalogue.missing(name)
        self.problems.append(f"step {where}: {missing}")

    def _is_workflow(self, id: str) -> bool:
        return self.family is not None and self.family.catalogue.has_workflow(id)

    def _child(self, where: str, form: Child, *, as_fallback: bool = False) -> None:
        if form.key in self.children:
            return
        if self.family is None:
            self.problems.append(f"step {where}: there is no catalogue to look for the workflow {form.workflow!r} in")
            return
        try:
            plan, self.children[form.key] = self.family.child(form, self.plan.workflow, link)
        except InvalidDefinition as error:
            self.problems.append(f"step {where}: {error}")
            return
        # What stands in for a step is given what that was given.
        for problem in () if as_fallback else check_inputs(plan, form):
            self._error(f"step {where}: {problem}")

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
        if step.master is not None:
            self._mastered(where, step, action, f"{name}.{action_name}")
        if step.spread and action.over and action.fields is None and action.gather is None:
            self._error(f"step {where}: {name}.{action_name} is spread but declares no result type; it must say gather")
        self._inputs(where, step, action, f"{name}.{action_name}")
        if step.resources:
            self.agents[name] = self._with_resources(agent, step)

    def _mastered(self, where: str, step: Step, action: ActionLink, what: str) -> None:
        """A master has tasks to give, and work that may be done twice is said to be so."""
        assert step.master is not None
        if isinstance(step.form, Action) and not action.over:
            self._error(
                f"step {where}: {what} does not say over what it is spread; name the tasks (tasks: $inputs.tasks), or "
                "declare the action with over"
            )
        if step.master.speculate and not (step.idempotent or action.idempotent):
            self._error(
                f"step {where}: speculate has work done twice, and neither the step (idempotent: true) nor {what} says "
                "that it may be"
            )

    def _compensation(self, where: str, said: Compensation) -> None:
        """Check what undoes a step; it is given ``forward`` beside its inputs, if it takes that."""
        agent = self._agent(said.agent, f"what undoes step {where}")
        if agent is None:
            return
        action = agent.actions.get(said.action)
        if action is None:
            near = nearest(said.action, tuple(agent.actions))
            hint = f"did you mean {near!r}?" if near else f"it has {', '.join(sorted(agent.actions))}"
            self._error(f"what undoes step {where}: {said.agent} has no action {said.action!r}; {hint}")
        elif said.inputs is not None:
            form = Action(agent=said.agent, action=said.action)
            step = Step(id="undo", form=form, inputs={FORWARD: None, **said.inputs})
            takes = action.takes_any or any(parameter.name == FORWARD for parameter in action.parameters)
            step = step if takes else replace(step, inputs=said.inputs)
            self._inputs(f"{where} (what undoes it)", step, action, f"{said.agent}.{said.action}")

    def _with_resources(self, agent: AgentLink, step: Step) -> AgentLink:
        """One name has one pool, so its processes have what its most demanding step asks for."""
        demand = dict(agent.resources)
        for resource, amount in step.resources.items():
            demand[resource] = max(amount, demand.get(resource, 0))
        name = _pool_name(agent.kind, agent.target, agent.settings, demand, agent.limit)
        return replace(agent, resources=demand, pool=name)

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
            if parameter.name not in step.inputs:
                if parameter.required:
                    self._error(f"step {where}: {what} needs the input {parameter.name!r}")
            elif problem := literal_misfit(step.inputs[parameter.name], parameter.type):
                self._error(f"step {where}: the input {parameter.name!r} of {what}: {problem}")

    def _agent(self, name: str, where: str) -> AgentLink | None:
        if name in self.agents:
            return self.agents[name]
        if name in self._absent:
            return None
        pool = self.plan.pools.get(name)
        kind = pool.agent if pool is not None else name
        services = providers_of(kind, self.settings.services)
        try:
            if services:
                return self._service(name, kind, services, pool, where)
            cls = self.registry.load(kind)
            made = self._link_agent(cls, self.registry.target(kind), pool, where)
        except InvalidDefinition as error:
            known = f"; services: {', '.join(self.settings.services)}" if self.settings.services else ""
            near = nearest(name, tuple(self.plan.pools)) if pool is None else None
            error = InvalidDefinition(f"no agent {name!r} here; did you mean {near!r}?") if near else error
            self.problems.append(f"{where}: {how_to_configure(kind, self.settings.services) or f'{error}{known}'}")
            made = None
        if made is None:
            # Said once: the other steps that name it have the same trouble.
            self._absent.add(name)
        else:
            self.agents[name] = made
        return made

    def _service(self, name: str, kind: str, names: list[str], pool: Pool | None, where: str) -> AgentLink | None:
        """Link a name to the services that answer to it."""
        if kind in self.registry.names() or kind in self.registry.aliases():
            self._error(
                f"{where}: {kind} is an agent that is registered and a service ({', '.join(names)}); rename the service"
            )
            self._absent.add(name)
            return None
        try:
            settings = settings_of(names, self.settings.services)
        except ValueError as error:
            self._error(f"{where}: {error}")
            self._absent.add(name)
            return None
        if not self.dry:
            self.settings_used[kind] = settings
        resources = dict(pool.resources) if pool is not None else {}
        limit = _limit_of(name, pool) or limit_of(names, settings)
        made = self.agents[name] = AgentLink(
            kind=SERVICE_KIND,
            target=SERVICE,
            pool=_pool_name(SERVICE_KIND, SERVICE, settings, resources, limit),
            least=pool.least if pool is not None else 0,
            most=most_processes(
                settings, pool.most if pool is not None and pool.most else self.settings.processes_per_agent
            ),
            resources=resources,
            actions=actions_of(settings),
            settings=settings,
            limit=limit,
        )
        return made

    def _link_agent(self, cls: type[Agent], target: str, pool: Pool | None, where: str) -> AgentLink | None:
        kind = cls.kind or cls.__name__
        settings = self._settings(cls, kind, where)
        if settings is None:
            return None
        resources = dict(pool.resources) if pool is not None else {}
        limit = _limit_of(self._alias(pool), pool)
        try:
            actions = {name: describe_action(cls, attribute) for name, (attribute, _) in cls.actions().items()}
        except ValueError as error:
            self._error(f"{where}: {error}")
            return None
        return AgentLink(
            kind=kind,
            target=target,
            pool=_pool_name(kind, target, settings, resources, limit),
            least=pool.least if pool is not None else 0,
            most=pool.most if pool is not None and pool.most else self.settings.processes_per_agent,
            resources=resources,
            actions=actions,
            settings=settings,
            version=str(cls.version),
            limit=limit,
        )

    def _alias(self, pool: Pool | None) -> str:
        """Return by which name the definition has a pool."""
        return next((name for name, each in self.plan.pools.items() if each is pool), "")

    def _settings(self, cls: type[Agent], kind: str, where: str) -> dict[str, Any] | None:
        """Return an agent's settings as they are recorded: its own, over those of the agent that it shares them with."""
        if kind in self.settings_used:
            return dict(self.settings_used[kind])
        given = {**self.settings.agents.get(cls.shares_settings_of, {}), **self.settings.agents.get(kind, {})}
        for name in given:
            if _SECRET.search(name):
                self._error(
                    f"{where}: the setting agents.{kind}.{name} would be recorded in the log; "
                    "let the agent read it from its environment"
                )
                return None
        if self.dry:
            return given
        try:
            recorded = self._recorded(cls, kind, given)
        except ValueError as error:
            self._error(f"{where}: the settings of {kind} do not fit: {error}")
            return None
        except Exception as error:
            self._error(f"{where}: the settings of {kind} cannot be linked: {type(error).__name__}: {error}")
            return None
        self.settings_used[kind] = recorded
        return dict(recorded)

    def _recorded(self, cls: type[Agent], kind: str, given: dict[str, Any]) -> dict[str, Any]:
        """Ask an agent for what is recorded; those that share their settings, and how they are linked, are asked once."""
        check_plain(given, f"agents.{kind}")
        linking = getattr(cls.link_settings, "__func__", None)
        key = (linking, cls.shares_settings_of, json.dumps(given, sort_keys=True))
        if not cls.shares_settings_of or key not in self._linked:
            self._linked[key] = cls.link_settings(given, self.cache_dir)
            check_plain(self._linked[key], f"agents.{kind}")
        return dict(self._linked[key])


def _limit_of(name: str, pool: Pool | None) -> Limit | None:
    """Return how much of a pool may start, if the definition says so."""
    if pool is None or not (pool.rate_starts or pool.max_concurrency):
        return None
    return Limit(name=f"agents.{name}", most=pool.max_concurrency, starts=pool.rate_starts, per_ms=pool.rate_per_ms)


def _pool_name(
    kind: str,
    target: str,
    settings: Mapping[str, Any],
    resources: Mapping[str, float],
    limit: Limit | None,
) -> str:
    """Return the name of a pool: the same for whoever wants the same class, set up the same, with the same demand and limit.

    Runs that differ in that, such as in their corpus, may not share processes.
    """
    demand = f"[{','.join(f'{name}={amount:g}' for name, amount in sorted(resources.items()))}]" if resources else ""
    if limit is not None:
        demand += f"({limit.name},{limit.most},{limit.starts}/{limit.per_ms})"
    if not settings and target.endswith(f":{kind}"):
        return f"{kind}{demand}"
    what = json.dumps([target, settings], sort_keys=True)
    return f"{kind}{demand}#{sha256(what.encode()).hexdigest()[:8]}"


def _steps(
    body: Body, prefix: str, known: frozenset[str] | None
) -> list[tuple[str, Step, Body, frozenset[str] | None]]:
    """Return every step with its path, the body that it stands in, and the inputs that it sees there."""
    found = []
    for step in body.steps:
        where = f"{prefix}{step.id}"
        found.append((where, step, body, known))
        match step.form:
            case Inlined(body=inner):
                found += _steps(inner, f"{where}/", inputs_of(step.form))
            case Loop(body=inner) | Group(body=inner):
                found += _steps(inner, f"{where}/", known)
            case ForEach(body=inner) | OtherForm(body=inner) if inner is not None:
                found += _steps(inner, f"{where}/", known)
            case Decision() | _:
                pass
    return found

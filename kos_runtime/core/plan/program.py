"""A plan made ready to run: its texts parsed, its edges turned round.

A program is made from a plan once a process and shared by all its runs; nothing in it changes.
"""

from dataclasses import dataclass
from typing import Any

from kos_runtime.core.expression import (
    DEFAULT_ROOTS,
    Expression,
    ReferenceValue,
    Template,
    parse_expression,
    parse_template,
)
from kos_runtime.core.plan import model


@dataclass(slots=True)
class Node:
    """One step with its parsed texts. ``dependents`` are the steps of the same body that wait for it."""

    step: model.Step
    id: str
    form: model.Form
    dependents: tuple[str, ...]
    when: Expression | None = None
    inputs: dict[str, Template] | None = None
    outputs: list[tuple[str, str]] | None = None
    #: What takes the place of the step's own idempotency key.
    key: Template | None = None
    #: What stands for its inputs where results are kept.
    cache_key: Template | None = None
    #: What its agent must have been granted: name, where, how much.
    authority: tuple[tuple[str, Template, Template], ...] = ()
    #: Whether the inputs follow from the log as they stand: literals and references that never change.
    inputs_are_stable: bool = True
    condition: Expression | None = None
    breaks: tuple[tuple[Expression, str], ...] = ()
    #: What a ``for_each`` runs over, what ``set`` and ``emit`` and ``fail`` say.
    value: Template | None = None
    values: dict[str, Template] | None = None
    #: A template's outputs: each with its parsed value, None when it is looked up.
    results: tuple[tuple[model.OutputSpec, Template | None], ...] = ()
    body: "BodyProgram | None" = None
    #: What undoes the step.
    undo: "Node | None" = None
    #: One action, under no condition, in no crowd: it is dispatched as soon as what it waits for is over.
    is_plain: bool = False
    #: The inputs of a step or an item of which each is one name of a neighbour or of the run's inputs, or the item: as
    #: (input, step or nothing, name or nothing); None for all others, and where an attempt is more than one dispatch.
    names: tuple[tuple[str, str, str], ...] | None = None
    #: Its items are peers, which have places in processes and take no hands.
    seats: bool = False


@dataclass(slots=True)
class BodyProgram:
    """Steps by id, and how many others each waits for. ``size`` counts those that run without being named."""

    nodes: dict[str, Node]
    waits: dict[str, int]
    first: tuple[str, ...]
    size: int
    #: Members of groups that keep their own names outside: member → group.
    members: dict[str, str]


class Program:
    """The whole plan. ``outputs`` pairs each declared output with its parsed value, None when it is looked up."""

    __slots__ = ("body", "digest", "fallbacks", "outputs", "plan")

    def __init__(self, plan: model.Plan, digest: str) -> None:
        self.plan = plan
        self.digest = digest
        self.body = _body(plan.body, DEFAULT_ROOTS)
        self.fallbacks = _body(plan.fallbacks, DEFAULT_ROOTS)
        self.outputs = _outputs(plan.outputs)
        limited = frozenset(name for name, pool in plan.pools.items() if pool.rate_starts or pool.max_concurrency)
        if limited or plan.priority or plan.limit is not None:
            for body in (self.body, self.fallbacks):
                _in_turn(body, None if plan.priority or plan.limit is not None else limited)


def _outputs(specs: tuple[model.OutputSpec, ...]) -> tuple[tuple[model.OutputSpec, Template | None], ...]:
    return tuple((spec, parse_template(spec.value) if spec.has_value else None) for spec in specs)


def _body(body: model.Body, roots: frozenset[str], *, in_group: bool = False) -> BodyProgram:
    dependents: dict[str, list[str]] = {step.id: [] for step in body.steps}
    for step in body.steps:
        for other in step.after:
            dependents[other].append(step.id)
    nodes = {step.id: _node(step, tuple(dependents[step.id]), roots, in_group=in_group) for step in body.steps}
    waits = {step.id: len(step.after) for step in body.steps}
    members = {
        member.id: step.id
        for step in body.steps
        if isinstance(step.form, model.Group) and step.form.transparent
        for member in step.form.body.steps
    }
    return BodyProgram(
        nodes=nodes,
        waits=waits,
        first=tuple(step.id for step in body.steps if not step.on_demand and not step.after),
        size=sum(not step.on_demand for step in body.steps),
        members=members,
    )


def _node(step: model.Step, dependents: tuple[str, ...], roots: frozenset[str], *, in_group: bool) -> Node:
    node = Node(step=step, id=step.id, form=step.form, dependents=dependents)
    votes = isinstance(step.form, model.ForEach) and step.form.consensus is not None
    node.seats = votes and step.form.consensus.agreement == "paxos"  # type: ignore[union-attr]
    # Of a vote they are of what came of it, and not of each ballot.
    node.outputs = None if step.outputs is None or votes else list(step.outputs)
    if step.when is not None:
        node.when = parse_expression(step.when, roots=roots)
    inside = roots
    match step.form:
        case model.Decision(condition=condition):
            node.condition = parse_expression(condition, roots=roots)
        case model.Loop() as loop:
            node.condition = parse_expression(loop.condition, roots=roots) if loop.condition else None
            node.breaks = tuple((parse_expression(b.condition, roots=roots), b.reason) for b in loop.breaks)
            node.body = _body(loop.body, roots)
        case model.ForEach() as each:
            node.value = parse_template(each.items, roots=roots)
            inside = roots | {each.name}
            if each.body is not None:
                node.body = _body(each.body, inside)
        case model.Group(body=body):
            node.body = _body(body, roots, in_group=True)
        case model.Inlined() as inlined:
            if inlined.given is not None:
                node.values = {name: parse_template(value, roots=roots) for name, value in inlined.given.items()}
            node.results = _outputs(inlined.outputs)
            node.body = _body(inlined.body, DEFAULT_ROOTS)
            _with_own_inputs(node.body)
        case model.Child(inputs=values):
            node.values = {name: parse_template(value, roots=roots) for name, value in values.items()}
        case model.Coordination(setup=setup):
            node.value = parse_template(setup, roots=roots)
        case model.SetVariables(values=values):
            node.values = {name: parse_template(value, roots=roots) for name, value in values.items()}
        case model.Emit(data=data):
            node.value = parse_template(data, roots=roots)
        case model.Fail(message=message):
            node.value = parse_template(message, roots=roots)
        case model.Wait(until=until, has_until=True):
            node.value = parse_template(until, roots=roots)
        case model.WaitFor(match=match) if match:
            node.condition = parse_expression(match, roots=roots)
        case model.Approval(prompt=prompt, show=show):
            node.values = {"prompt": parse_template(prompt, roots=roots), "show": parse_template(show, roots=roots)}
        case _:
            pass
    if step.inputs is not None:
        node.inputs = {name: _template(value, inside) for name, value in step.inputs.items()}
        node.inputs_are_stable = all(_is_stable(template) for template in node.inputs.values())
    if step.idempotency_key is not None:
        node.key = _template(step.idempotency_key, inside)
    if step.cache is not None and step.cache.has_key:
        node.cache_key = _template(step.cache.key, inside)
    node.authority = tuple(
        (need.grant, _template(need.scope, inside), _template(need.cost, inside)) for need in step.authority
    )
    node.undo = _undo(step, inside)
    node.is_plain = type(step.form) is model.Action and step.when is None and not step.spread and not in_group
    item = step.form.name if isinstance(step.form, model.ForEach) and step.form.body is None else ""
    special = (
        step.idempotency_key is not None
        or step.delivery == "at_most_once"
        or step.heartbeat_ms > 0
        or step.cache is not None
        or step.priority != 0
        or bool(step.authority)
    )
    if (node.is_plain or item) and node.inputs is not None and not special and not node.seats:
        node.names = _names(node.inputs, item)
    return node


def _in_turn(body: BodyProgram, agents: frozenset[str] | None) -> None:
    """What is of a priority or under a limit starts with more ceremony: the steps of some agents, None for all."""
    for node in body.nodes.values():
        if node.names is not None and (agents is None or getattr(node.form, "agent", "") in agents):
            node.names = None
        if node.body is not None:
            _in_turn(node.body, agents)


def _with_own_inputs(body: BodyProgram) -> None:
    """Inside a template ``$inputs`` are not the run's, so what reads them is not looked up there."""
    for node in body.nodes.values():
        if node.names is not None and any(key and not id for _, id, key in node.names):
            node.names = None
        if node.body is not None:
            _with_own_inputs(node.body)


def _names(inputs: dict[str, Template], item: str) -> tuple[tuple[str, str, str], ...] | None:
    found: list[tuple[str, str, str]] = []
    for name, template in inputs.items():
        if type(template.node) is not ReferenceValue:
            return None
        match template.node.reference.root, template.node.reference.path:
            case "steps", (str(step), str(key)):
                found.append((name, step, key))
            case "inputs", (str(key),):
                found.append((name, "", key))
            case root, () if item and root == item:
                found.append((name, "", ""))
            case _:
                return None
    return tuple(found)


def _undo(step: model.Step, roots: frozenset[str]) -> Node | None:
    said = step.compensate
    if said is None:
        return None
    made = model.Step(
        id=step.id,
        form=model.Action(agent=said.agent, action=said.action),
        inputs=said.inputs,
        timeout_ms=said.timeout_ms,
        policies=said.policies,
    )
    inputs = None if said.inputs is None else {name: _template(value, roots) for name, value in said.inputs.items()}
    return Node(step=made, id=step.id, form=made.form, dependents=(), inputs=inputs, inputs_are_stable=False)


def _template(value: Any, roots: frozenset[str]) -> Template:
    return parse_template(value, roots=roots)


def _is_stable(template: Template) -> bool:
    """Whether a value can be read again later and be the same: variables and the loop's state move on."""
    return template.is_pure and all(reference.root not in {"vars", "loop"} for reference in template.references)

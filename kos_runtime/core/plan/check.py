"""Whether a plan holds together: what everyone who runs one relies on.

A plan that was compiled from a file does. One that was built by hand, changed while it runs, or read from a store that
somebody else wrote is looked at before it is followed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from kos_runtime.core.expression import DEFAULT_ROOTS, ExpressionError, parse_expression, parse_template
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.identity import is_name
from kos_runtime.core.plan.model import (
    Body,
    Child,
    Decision,
    Emit,
    Fail,
    ForEach,
    Group,
    Inlined,
    Join,
    Loop,
    OtherForm,
    Plan,
    SetVariables,
    Step,
)
from kos_runtime.core.plan.order import find_cycle

#: Bodies lie in one another at most so deep; a definition's own depth is bounded by less.
MAX_DEPTH: Final = 32
#: Steps of a plan, nested ones with them.
MAX_STEPS: Final = 5_000
MAX_ITERATIONS: Final = 100_000
_KINDS: Final = frozenset(kind.value for kind in ErrorType)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that does not hold: where (a step's path, empty for the plan itself), and what."""

    where: str
    message: str


def faults(plan: Plan) -> tuple[Fault, ...]:
    """Return what does not hold in a plan, in the order of its steps; nothing for a sound one."""
    found = [] if is_name(plan.workflow) else [Fault("", f"{plan.workflow!r:.80} is no name")]
    found += _body(plan, plan.body, "", DEFAULT_ROOTS, 0)
    found += _body(plan, plan.fallbacks, "~", DEFAULT_ROOTS, 0)
    count = sum(1 for body in (plan.body, plan.fallbacks) for _ in steps_of(body))
    if count > MAX_STEPS:
        found.append(Fault("", f"it has {count} steps, at most {MAX_STEPS} are allowed"))
    for spec in plan.outputs:
        if spec.has_value:
            found += _value("", f"output {spec.name!r}", spec.value, DEFAULT_ROOTS)
    return tuple(found)


def steps_of(body: Body, prefix: str = "") -> Iterator[tuple[str, Step]]:
    """Go over the steps of a body and of all bodies in it, each with its path."""
    for step in body.steps:
        yield f"{prefix}{step.id}", step
        match step.form:
            case Loop(body=inner) | Group(body=inner) | Inlined(body=inner):
                yield from steps_of(inner, f"{prefix}{step.id}/")
            case ForEach(body=Body() as inner) | OtherForm(body=Body() as inner):
                yield from steps_of(inner, f"{prefix}{step.id}/")
            case _:
                pass


def _body(plan: Plan, body: Body, prefix: str, roots: frozenset[str], depth: int) -> list[Fault]:
    if depth > MAX_DEPTH:
        return [Fault(prefix.rstrip("/"), f"its bodies are nested deeper than {MAX_DEPTH}")]
    known: dict[str, Step] = {}
    found: list[Fault] = []
    for step in body.steps:
        if step.id in known:
            found.append(Fault(f"{prefix}{step.id}", "another step of this body has the same id"))
        known[step.id] = step
    edges = {name: list(step.after) for name, step in known.items()}
    for step in body.steps:
        where = f"{prefix}{step.id}"
        found += [Fault(where, message) for message in _edges(step, known)]
        found += [Fault(where, message) for message in _policies(plan, step)]
        found += _texts(step, where, roots)
        match step.form:
            case Decision() as decision:
                edges[step.id] += [name for name in _named(decision) if name in known]
            case Loop(body=inner, max_iterations=turns):
                if not 0 <= turns <= MAX_ITERATIONS:
                    found.append(Fault(where, f"{turns} turns are not 0..{MAX_ITERATIONS}"))
                found += _body(plan, inner, f"{where}/", roots, depth + 1)
            case Group(body=inner):
                found += _body(plan, inner, f"{where}/", roots, depth + 1)
            case Inlined(body=inner):
                found += _body(plan, inner, f"{where}/", DEFAULT_ROOTS, depth + 1)
            case ForEach(body=Body() as inner, name=name):
                found += _body(plan, inner, f"{where}/", roots | {name}, depth + 1)
            case _:
                pass
    cycle = find_cycle(edges)
    if cycle:
        found.append(Fault(f"{prefix}{cycle[0]}", f"waits for itself: {' → '.join([*cycle, cycle[0]])}"))
    return found


def _named(decision: Decision) -> tuple[str, ...]:
    return (*decision.true_path, *decision.false_path, *(decision.default_path or ()))


def _edges(step: Step, known: dict[str, Step]) -> Iterator[str]:
    if not is_name(step.id):
        yield f"{step.id!r:.80} is no name"
    for other in (*step.after, *step.predecessors):
        if other not in known:
            yield f"waits for {other!r:.80}, which is no step of its body"
        elif known[other].on_demand and other in step.after:
            yield f"waits for {other!r}, which runs only when it is named"
    match step.form:
        case Decision() as decision:
            for name in _named(decision):
                if name not in known or not known[name].on_demand:
                    yield f"names {name!r:.80}, which is no step of its body that runs on demand"
        case Join(waits_for=awaited, count=count):
            if count > len(awaited):
                yield f"waits for {count} of {len(awaited)}"
        case Group(body=body, count=count):
            if count > len(body.steps):
                yield f"waits for {count} of {len(body.steps)} members"
        case _:
            pass


def _policies(plan: Plan, step: Step) -> Iterator[str]:
    left = set(_KINDS)
    for index in step.policies:
        if not 0 <= index < len(plan.policies):
            yield f"has no policy {index}"
            return
        left -= set(plan.policies[index].errors or _KINDS)
    if left:
        yield f"has no policy for {', '.join(sorted(left))}"
    if step.compensate is not None:
        for index in step.compensate.policies:
            if not 0 <= index < len(plan.policies):
                yield f"has no policy {index} for what undoes it"


def _texts(step: Step, where: str, roots: frozenset[str]) -> list[Fault]:
    """Return what cannot be parsed of a step's conditions and values."""
    inside = roots
    conditions = [("when", step.when)]
    values: list[tuple[str, Any]] = []
    match step.form:
        case Decision(condition=condition):
            conditions.append(("condition", condition))
        case Loop() as loop:
            conditions.append(("condition", loop.condition or None))
            conditions += [("break", each.condition) for each in loop.breaks]
        case ForEach(items=items, name=name):
            values.append(("items", items))
            inside = roots | {name}
        case OtherForm(name="coordination"):
            inside = roots | {"peer"}
        case Inlined(given=given) | Child(inputs=given):
            values += [(f"input {name!r}", value) for name, value in (given or {}).items()]
        case SetVariables(values=given):
            values += [(f"set {name!r}", value) for name, value in given.items()]
        case Emit(data=data):
            values.append(("data", data))
        case Fail(message=message):
            values.append(("message", message))
        case _:
            pass
    found: list[Fault] = []
    for what, text in conditions:
        if text is not None:
            found += _condition(where, what, text, roots)
    for what, value in values:
        found += _value(where, what, value, roots)
    for name, value in (step.inputs or {}).items():
        found += _value(where, f"input {name!r}", value, inside)
    if step.compensate is not None:
        for name, value in (step.compensate.inputs or {}).items():
            found += _value(where, f"input {name!r} of its compensation", value, inside)
    return found


def _condition(where: str, what: str, text: str, roots: frozenset[str]) -> list[Fault]:
    try:
        parse_expression(text, roots=roots)
    except ExpressionError as error:
        return [Fault(where, f"{what}: {error}")]
    return []


def _value(where: str, what: str, value: Any, roots: frozenset[str]) -> list[Fault]:
    try:
        parse_template(value, roots=roots)
    except ExpressionError as error:
        return [Fault(where, f"{what}: {error}")]
    return []

"""What a step is handed, as far as that can be known before anything runs."""

from collections.abc import Iterator, Mapping
from typing import Any

from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan.link import AgentLink
from kos_runtime.core.plan.model import Action, Body, Inlined, Plan, Step
from kos_runtime.core.plan.types import misfit

#: Words of the language that an annotation comes down to.
_CHECKED = frozenset({"string", "integer", "number", "boolean", "array", "object"})


def literal_misfit(value: Any, word: str) -> str | None:
    """Return what is wrong with a literal for a parameter of a type, or None: it fits, or is only known when it runs."""
    if value is None or word not in _CHECKED or (isinstance(value, str) and "$" in value):
        return None
    return misfit(value, word)


def inputs_of(around: Plan | Inlined) -> frozenset[str] | None:
    """Return the names of the inputs that steps of a workflow or a template see, None where any may be given."""
    if not around.free_inputs:
        return frozenset(spec.name for spec in around.inputs)
    return frozenset(around.given) if isinstance(around, Inlined) and around.given is not None else None


def check_implied(
    known: frozenset[str] | None, body: Body, step: Step, agents: Mapping[str, AgentLink]
) -> Iterator[str]:
    """Yield what is certain to be missing from a step without inputs.

    Such a step receives the inputs of what it stands in, which are ``known``, and what its direct predecessors expose.
    Where either is not known (any input may be given, a result's keys are not declared, a predecessor may be skipped)
    nothing is said.
    """
    form = step.form
    if step.inputs is not None or not isinstance(form, Action) or known is None or form.agent not in agents:
        return
    action = agents[form.agent].actions.get(form.action)
    names = _handed(known, body, step, agents)
    if action is None or names is None:
        return
    for parameter in action.parameters:
        if parameter.required and parameter.name not in names:
            near = nearest(parameter.name, sorted(names))
            hint = f"; did you mean {near!r}?" if near else f"; it is handed {', '.join(sorted(names)) or 'nothing'}"
            yield f"{form.agent}.{form.action} needs the input {parameter.name!r}, which nothing before it gives{hint}"


def _handed(known: frozenset[str], body: Body, step: Step, agents: Mapping[str, AgentLink]) -> set[str] | None:
    names = set(known)
    members = {member.id: member for member in body.steps}
    for id_ in step.predecessors:
        exposed = _exposed(members[id_], agents) if id_ in members else None
        if exposed is None:
            return None
        names |= exposed
    return names


def _exposed(step: Step, agents: Mapping[str, AgentLink]) -> set[str] | None:
    form = step.form
    if not isinstance(form, Action) or step.when is not None or step.on_demand or step.reads:
        return None
    if step.outputs is not None:
        return {name for name, _ in step.outputs}
    action = agents[form.agent].actions.get(form.action) if form.agent in agents else None
    if action is None or action.fields is None:
        return None
    return {"result", *(field.name for field in action.fields)}

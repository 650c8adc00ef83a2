"""What an agent may answer when a failure was escalated to it, and what each answer makes of the step."""

from collections.abc import Mapping
from typing import Any, Final

from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan.link import ActionLink
from kos_runtime.core.plan.model import Action, ForEach
from kos_runtime.core.plan.types import misfit
from kos_runtime.core.record import INLINE_LIMIT
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.failing import (
    another_kind,
    fall_back,
    has_other_process,
    may_change_agent,
    may_fall_back,
    request_manual,
)
from kos_runtime.core.workflow.state import StepState

ANSWERS: Final = ("retry", "reassign", "replace_inputs", "fallback", "skip", "fail", "manual")
#: Words of the language that a parameter's type comes down to.
_CHECKED: Final = frozenset({"string", "integer", "number", "boolean", "array", "object"})


def wrong(desk: Desk, about: StepState, said: Mapping[str, Any], default: str) -> str:
    """Return what is wrong with an answer, empty when it can be followed. ``default`` is the fallback of the rule."""
    answer = said.get("answer")
    if answer not in ANSWERS:
        return f"the answer was {answer!r:.100}; it is one of {', '.join(ANSWERS)}"
    match answer:
        case "reassign":
            return _wrong_agent(desk, about, said.get("agent"))
        case "replace_inputs":
            return _wrong_inputs(desk, about, said.get("inputs"))
        case "fallback":
            name = said.get("fallback") or default
            if not name or not isinstance(name, str):
                return "the answer was 'fallback', and names none"
            if not may_fall_back(desk, about, name):
                return f"the answer was 'fallback', and {name!r:.100} was tried already"
        case _:
            pass
    return ""


def _wrong_agent(desk: Desk, about: StepState, name: Any) -> str:
    form = about.node.form
    if not isinstance(form, Action | ForEach) or not form.action:
        return f"the answer was 'reassign', and {about.path} is done by no agent"
    if not name:
        return "" if may_change_agent(desk, about) else "the answer was 'reassign', and there is no other agent"
    link = desk.run.link
    agents = {} if link is None else link.agents
    action = about.action or form.action
    if name not in agents:
        near = nearest(str(name), tuple(agents))
        return f"the answer was 'reassign' to {name!r:.100}, which this run does not know" + (
            f"; did you mean {near!r}?" if near else ""
        )
    if action not in agents[name].actions:
        return f"the answer was 'reassign' to {name!r}, which has no action {action!r}"
    return ""


def _wrong_inputs(desk: Desk, about: StepState, inputs: Any) -> str:
    if not isinstance(about.node.form, Action | ForEach) or about.fan is not None:
        return f"the answer was 'replace_inputs', and {about.path} is no action"
    if not isinstance(inputs, dict):
        return f"the answer was 'replace_inputs' with {inputs!r:.100}, which is no object"
    problem = _misfits(inputs, _action(desk, about))
    return f"the answer was 'replace_inputs', and {problem}" if problem else ""


def _misfits(inputs: dict[str, Any], action: ActionLink | None) -> str:
    if action is None:
        return ""
    types = {parameter.name: parameter.type for parameter in action.parameters}
    for parameter in action.parameters:
        if parameter.required and parameter.name not in inputs:
            return f"{parameter.name!r} is missing"
    for name, value in inputs.items():
        if name not in types:
            if not action.takes_any:
                return f"the action takes no {name!r:.100}"
        elif types[name] in _CHECKED and value is not None and (problem := misfit(value, types[name])):
            return f"{name!r}: {problem}"
    return ""


def _action(desk: Desk, about: StepState) -> ActionLink | None:
    form: Any = about.node.form
    agent = None if desk.run.link is None else desk.run.link.agents.get(about.instead or getattr(form, "agent", ""))
    return None if agent is None else agent.actions.get(about.action or form.action)


def follow(desk: Desk, about: StepState, said: Mapping[str, Any], rule: str, by: str, default: str) -> None:
    """Do what was answered; ``retry`` follows from the answer itself."""
    why = f"{by}: {rule}" if by else rule
    match said.get("answer"):
        case "skip":
            desk.emit(ev.StepSkipped(about.path, why))
        case "fail":
            desk.emit(ev.StepGaveUp(about.path, about.error or {}, why))
        case "manual":
            request_manual(desk, about, about.id, why)
        case "fallback":
            fall_back(desk, about, said.get("fallback") or default, why)
        case "reassign":
            name = said.get("agent") or ("" if has_other_process(desk, about) else another_kind(desk, about)) or ""
            desk.emit(ev.StepReassigned(about.path, name, why, by))
        case "replace_inputs":
            _replace(desk, about, said["inputs"], why, by)
        case _:
            pass


def _replace(desk: Desk, about: StepState, inputs: dict[str, Any], why: str, by: str) -> None:
    try:
        packed, blob = desk.pack_large(inputs, INLINE_LIMIT)
    except ValueError as error:
        request_manual(desk, about, about.id, f"{why}: the inputs cannot be kept: {error}"[:2_000])
        return
    stored = [blob.digest, blob.size] if blob is not None else None
    desk.emit(ev.InputsReplaced(about.path, packed, stored, why, by))

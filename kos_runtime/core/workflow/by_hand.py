"""A person says how a failed step goes on: the rungs of a ladder, by hand.

The run was reopened at the step; what it does there is what a rule of the definition would have it do, and the rule that the
events name is ``by hand``.
"""

from typing import Any, Final

from kos_runtime.core.failure import ErrorType, WorkflowError, failure
from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan.model import Action
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Rejected, RetryStep
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.failing import (
    another_kind,
    fall_back,
    has_other_process,
    may_change_agent,
    policy_for,
    request_manual,
    stands_in,
)
from kos_runtime.core.workflow.state import StepState

WAYS: Final = ("retry", "different_agent", "fallback", "manual", "compensate")
RULE: Final = "by hand"


def refusal(desk: Desk, step: StepState, command: RetryStep) -> Rejected | None:
    """Refuse a way that is not open to the step at which the run failed."""
    way = command.way
    if way not in WAYS:
        return Rejected(code="invalid", message=f"no way {way!r:.100} for a failed step; there are {', '.join(WAYS)}")
    if way != "retry" and (step.fan is not None or not isinstance(step.node.form, Action)):
        what = f"step {step.path!r} is more than one action of an agent: it can only be retried"
        return Rejected(code="conflict", message=what)
    if way == "different_agent" and not may_change_agent(desk, step):
        what = f"there is no other agent for step {step.path!r}: its pool has no other process, and agents: names no other kind"
        return Rejected(code="conflict", message=f"{what} that has its action")
    return _no_fallback(desk, step, command.fallback) if way == "fallback" else None


def take(desk: Desk, step: StepState, command: RetryStep) -> None:
    """Have a step go on in the way that was said. ``retry`` follows from the reopening itself."""
    match command.way:
        case "different_agent":
            name = "" if has_other_process(desk, step) else another_kind(desk, step) or ""
            desk.emit(ev.StepReassigned(step.path, name, RULE, command.by))
        case "fallback":
            fall_back(desk, step, command.fallback or _own_fallback(desk, step), RULE)
        case "manual":
            request_manual(desk, step, step.id, RULE)
        case _:
            pass


def _own_fallback(desk: Desk, step: StepState) -> str:
    error = WorkflowError.from_plain(step.error) if step.error else failure(ErrorType.UNKNOWN, "", step=step.path)
    return policy_for(desk, step, error).fallback or ""


def _no_fallback(desk: Desk, step: StepState, named: str) -> Rejected | None:
    name = named or _own_fallback(desk, step)
    form: Any = step.node.form
    agent = None if desk.run.link is None else desk.run.link.agents.get(form.agent)
    actions = [] if agent is None else list(agent.actions)
    if stands_in(desk, step, name) or name in actions or (name and not named):
        return None
    if not name:
        return Rejected(code="not_found", message=f"no rule of step {step.path!r} has a fallback; name one")
    program = desk.run.program
    steps = [] if program is None else [id for id in program.body.nodes if stands_in(desk, step, id)]
    near = nearest(name, [*steps, *actions])
    hint = f"; did you mean {near!r}?" if near else f"; there are {', '.join([*steps, *actions][:12]) or 'none'}"
    what = f"step {step.path!r} has no fallback {name!r:.100}: it is a step on demand, a template or workflow that its rule names, or an action of its agent"
    return Rejected(code="not_found", message=what + hint)

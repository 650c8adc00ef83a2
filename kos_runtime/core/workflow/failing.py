"""What comes after a failure: the ladder of the policy that applies, one rung after the other.

A budget belongs to one step key: every item, part and turn has its own. Each decision names the rule that made it.
"""

from typing import Any, Final

from kos_runtime.core.chance import draw
from kos_runtime.core.failure import ErrorType, WorkflowError, failure
from kos_runtime.core.plan.model import Approval, ForEach, Policy
from kos_runtime.core.policy.retry import delay_before
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.evolve import step_at
from kos_runtime.core.workflow.state import StepState

#: A step is escalated at most so often.
MAX_ESCALATIONS: Final = 3
#: A service that asks for a later attempt is heard up to so many milliseconds.
MAX_ASKED_MS: Final = 3_600_000
#: A step whose attempts ended so many processes is not sent to another.
MAX_KILLS: Final = 2


def policy_for(desk: Desk, step: StepState, error: WorkflowError) -> Policy:
    """Return the first policy of the step that is for this kind of failure."""
    assert desk.run.program is not None
    policies = desk.run.program.plan.policies
    for index in step.node.step.policies:
        policy = policies[index]
        if not policy.errors or error.type.value in policy.errors:
            return policy
    return policies[step.node.step.policies[-1]]


def fail_before_start(desk: Desk, path: str, error: WorkflowError) -> None:
    """A step failed before an attempt could begin: its inputs or its condition cannot be computed."""
    step = desk.run.steps.get(path) or step_at(desk.run, path)
    attempt_failed(desk, step, error, 0.0)


def is_once(step: StepState) -> bool:
    """Say whether an attempt of a step that broke off must not be repeated."""
    return step.node.step.delivery == "at_most_once" and not step.ask_of


def broke_off(desk: Desk, step: StepState, why: str, duration_ms: float) -> None:
    """An attempt of a step that is delivered at most once broke off: nobody knows what it has done."""
    attempt_failed(desk, step, _unknown_outcome(step, why), duration_ms)


def _unknown_outcome(step: StepState, why: str) -> WorkflowError:
    return failure(
        ErrorType.UNKNOWN,
        f"outcome_unknown: attempt {step.attempt} of {step.path} broke off ({why}); it is not repeated",
        step=step.path,
        recoverable=False,
    )


def attempt_failed(desk: Desk, step: StepState, error: WorkflowError, duration_ms: float) -> None:
    """Decide what follows a failed attempt, and say so."""
    if error.details.get("outcome_unknown") is True and is_once(step):
        error = _unknown_outcome(step, error.message)
    policy = policy_for(desk, step, error)
    rung = step.rung if step.rule == policy.rule else 0
    then, rung = _next_rung(step, policy, error, rung)
    desk.emit(
        ev.StepFailed(step.path, step.fence, step.attempt, error.to_plain(), policy.rule, then, rung, duration_ms)
    )
    match then:
        case "retry":
            retry = step.retries + 1
            chance = draw(desk.run.seed, step.path, step.fence, "retry")
            delay = max(delay_before(max(retry, 1), policy.backoff, chance), _asked_for(error))
            desk.emit(ev.RetryScheduled(step.path, step.fence, desk.now + delay, delay))
        case "fallback":
            _fall_back(desk, step, policy)
        case "escalate":
            _escalate(desk, step, policy)
        case "manual":
            request_manual(desk, step, policy.fallback or step.id, policy.rule)
        case "skip":
            desk.emit(ev.StepSkipped(step.path, f"{policy.rule}: skip"))
        case _:
            desk.emit(ev.StepGaveUp(step.path, error.to_plain(), policy.rule))


def _asked_for(error: WorkflowError) -> int:
    """Return how long whoever refused asks us to wait, in milliseconds: at most an hour, 0 when it does not say."""
    asked = error.details.get("retry_after_ms")
    return min(max(asked, 0), MAX_ASKED_MS) if type(asked) is int else 0


def _next_rung(step: StepState, policy: Policy, error: WorkflowError, rung: int) -> tuple[str, int]:
    """Climb from a rung to the first that can be taken; below the last one there is only failing."""
    ladder = policy.ladder
    while rung < len(ladder):
        match ladder[rung]:
            case "retry" if error.recoverable and step.retries < policy.max_retries:
                return "retry", rung
            case "fallback" if policy.fallback is not None and step.then != "fallback" and not step.action:
                return "fallback", rung + 1
            case "escalate" if policy.escalation_agent is not None and step.escalations < MAX_ESCALATIONS:
                return "escalate", rung
            case "manual":
                return "manual", rung + 1
            case "skip":
                return "skip", rung
            case "fail":
                return "fail", rung
            case _:
                rung += 1
    return "fail", rung


def _fall_back(desk: Desk, step: StepState, policy: Policy) -> None:
    """A fallback is an action of the same agent, else a manual task of that name."""
    name = policy.fallback or ""
    form: Any = step.node.form
    agent = None if desk.run.link is None else desk.run.link.agents.get(getattr(form, "agent", ""))
    if agent is not None and name in agent.actions:
        desk.emit(ev.FallbackStarted(step.path, name, policy.rule))
    else:
        request_manual(desk, step, name, policy.rule)


def _escalate(desk: Desk, step: StepState, policy: Policy) -> None:
    number = step.escalations + 1
    desk.emit(ev.Escalated(step.path, number, policy.escalation_agent or "", f"{step.path}!{number}"))


def request_manual(desk: Desk, step: StepState, task: str, rule: str) -> None:
    """Ask a person to stand in for the step."""
    error = step.error or {}
    prompt = f"{task}: {step.path} failed ({error.get('type', 'unknown')}: {error.get('message', '')})"
    desk.emit(ev.ManualTaskRequested(step.path, task, prompt[:2_000], answer_fields(desk, step), rule))


def answer_fields(desk: Desk, step: StepState) -> list[list[Any]]:
    """Return ``[name, type, required]`` of what stands in for the action's result."""
    form: Any = step.node.form
    if isinstance(form, Approval):
        return [["approved", "boolean", True], *([f.name, f.type, f.required] for f in form.fields)]
    agent = None if desk.run.link is None else desk.run.link.agents.get(getattr(form, "agent", ""))
    action = None if agent is None else agent.actions.get(getattr(form, "action", ""))
    types = {} if action is None or action.fields is None else {f.name: f.type for f in action.fields}
    outputs = step.node.step.outputs
    if outputs is not None and not isinstance(form, ForEach):
        names = dict.fromkeys(key.partition(".")[0] for _, key in outputs if key != "$result")
        if names:
            return [[name, types.get(name, "any"), True] for name in names]
    if types and action is not None and action.fields is not None:
        return [[f.name, f.type, f.required] for f in action.fields]
    return [["result", "any", True]]


def poisoned(step: StepState) -> WorkflowError:
    """Return the failure of a step that ended one process after the other."""
    return failure(
        ErrorType.PERMANENT,
        f"poison: {step.path} ended {step.kills} processes of {step.agent.rpartition('-')[0] or 'its agent'}",
        step=step.path,
        kills=step.kills,
    )

"""What comes after a failure: the ladder of the policy that applies, one rung after the other.

A budget belongs to one step key: every item, part and turn has its own. Each decision names the rule that made it.
"""

from typing import Any, Final

from kos_runtime.core.chance import draw
from kos_runtime.core.failure import ErrorType, WorkflowError, failure
from kos_runtime.core.plan.model import Action, Approval, Child, ForEach, Policy
from kos_runtime.core.policy.retry import delay_before
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.beside import fallback_node, stand_in_path
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.evolve import step_at
from kos_runtime.core.workflow.granting import MISSING, request
from kos_runtime.core.workflow.sparing import BESIDE as SPARE
from kos_runtime.core.workflow.state import StepState
from kos_runtime.core.workflow.status import StepStatus
from kos_runtime.core.workflow.withdrawing import give_up_messages

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
    if step.beside == SPARE:
        # The first attempt goes on; what becomes of the task is its affair.
        desk.emit(ev.StepCancelled(step.path, step.fence, f"it failed: {error.message}"[:500]))
        return
    if error.details.get("outcome_unknown") is True and is_once(step):
        error = _unknown_outcome(step, error.message)
    if desk.run.mail is not None:
        give_up_messages(desk, step, f"attempt {step.attempt} of {step.path} failed")
    policy = policy_for(desk, step, error)
    rung = step.rung if step.rule == policy.rule else 0
    then, rung = _next_rung(desk, step, policy, error, rung)
    desk.emit(
        ev.StepFailed(step.path, step.fence, step.attempt, error.to_plain(), policy.rule, then, rung, duration_ms)
    )
    match then:
        case "retry" | "different_agent":
            if then == "different_agent":
                _change_agent(desk, step, policy)
            retry = step.retries + 1
            chance = draw(desk.run.seed, step.path, step.fence, "retry")
            delay = max(delay_before(max(retry, 1), policy.backoff, chance), _asked_for(error))
            desk.emit(ev.RetryScheduled(step.path, step.fence, desk.now + delay, delay))
        case "fallback":
            fall_back(desk, step, policy.fallback or "", policy.rule)
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


def _next_rung(desk: Desk, step: StepState, policy: Policy, error: WorkflowError, rung: int) -> tuple[str, int]:
    """Climb from a rung to the first that can be taken; below the last one there is only failing."""
    ladder = policy.ladder
    while rung < len(ladder):
        match ladder[rung]:
            case "retry" if error.recoverable and step.retries < policy.max_retries:
                return "retry", rung
            case "different_agent" if (
                error.recoverable and step.retries < policy.max_retries and may_change_agent(desk, step)
            ):
                return "different_agent", rung
            case "fallback" if policy.fallback is not None and may_fall_back(desk, step, policy.fallback):
                return "fallback", rung + 1
            case "compensate" if not step.beside:
                return "compensate", rung
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


def may_fall_back(desk: Desk, step: StepState, name: str) -> bool:
    """Say whether a fallback is still to be tried: each is, once."""
    if stands_in(desk, step, name):
        # Nor does one stand in for a step of its own.
        return step.id != name and f"~{name}/" not in step.path and stand_in_path(step.path, name) not in desk.run.steps
    return step.then != "fallback" and not step.action


def stands_in(desk: Desk, step: StepState, name: str) -> bool:
    """Say whether a name is that of a step that stands aside until it is named, of a template, or of a workflow."""
    node = fallback_node(desk.run, step.scope, name)
    if node is None or not isinstance(node.form, Child):
        return node is not None
    return desk.run.link is not None and node.form.key in desk.run.link.children


def fall_back(desk: Desk, step: StepState, name: str, rule: str) -> None:
    """A fallback is a step, a template or a workflow, else an action of the same agent, else a manual task of that name."""
    form: Any = step.node.form
    agent = None if desk.run.link is None else desk.run.link.agents.get(step.instead or getattr(form, "agent", ""))
    if stands_in(desk, step, name):
        desk.emit(ev.FallbackStepStarted(step.path, name, stand_in_path(step.path, name), rule))
    elif agent is not None and name in agent.actions:
        desk.emit(ev.FallbackStarted(step.path, name, rule))
    else:
        request_manual(desk, step, name, rule)


def stood_in(desk: Desk, step: StepState) -> None:
    """The step that stands in for another is over: its result is taken, or the ladder is climbed on."""
    other = next(s for s in reversed(desk.run.steps.values()) if s.beside == "stand_in" and s.of == step.path)
    if other.status is StepStatus.COMPLETED:
        desk.emit(ev.FallbackStepEnded(step.path, other.id, other.exposed, other.blobs))
        return
    if other.error is not None:
        error = WorkflowError.from_plain(other.error)
    else:
        message = f"its fallback {other.id} was skipped"
        error = failure(ErrorType.PERMANENT, message, step=step.path)
    attempt_failed(desk, step, error, 0.0)


def may_change_agent(desk: Desk, step: StepState) -> bool:
    """Say whether there is another agent than those in which a step has failed."""
    return has_other_process(desk, step) or another_kind(desk, step) is not None


def has_other_process(desk: Desk, step: StepState) -> bool:
    form: Any = step.node.form
    link = desk.run.link
    agent = None if link is None else link.agents.get(step.instead or getattr(form, "agent", ""))
    return agent is not None and desk.pools.has_others(agent.pool, [*step.avoid, step.agent])


def another_kind(desk: Desk, step: StepState) -> str | None:
    """Return the next agent of another kind that ``agents:`` names and that has the step's action."""
    run, form = desk.run, step.node.form
    if run.link is None or run.program is None or not isinstance(form, Action | ForEach):
        return None
    names = list(run.program.plan.pools)
    names = names[names.index(step.instead) + 1 :] if step.instead in names else names
    own = run.link.agents[form.agent].kind
    action = step.action or form.action
    for name in names:
        agent = run.link.agents.get(name)
        if agent is not None and agent.kind != own and action in agent.actions:
            return name
    return None


def _change_agent(desk: Desk, step: StepState, policy: Policy) -> None:
    if not has_other_process(desk, step):
        desk.emit(ev.StepReassigned(step.path, another_kind(desk, step) or "", policy.rule, ""))


def _escalate(desk: Desk, step: StepState, policy: Policy) -> None:
    details = (step.error or {}).get("details", {})
    missing = details.get(MISSING)
    if (
        missing
        and desk.run.authority is not None
        and request(desk, step.path, missing, f"{step.path}: {details['why']}")
    ):
        return
    number = step.escalations + 1
    desk.emit(ev.Escalated(step.path, number, policy.escalation_agent or "", f"{step.path}!{number}"))


def request_manual(desk: Desk, step: StepState, task: str, rule: str) -> None:
    """Ask a person to stand in for the step."""
    error = step.error or {}
    prompt = f"{task}: {step.path} failed ({error.get('type', 'unknown')}: {error.get('message', '')})"
    desk.emit(ev.ManualTaskRequested(step.path, task, prompt[:2_000], answer_fields(desk, step), rule))


def answer_fields(desk: Desk, step: StepState) -> list[list[Any]]:
    """Return ``[name, type, required]`` of what stands in for the action's result."""
    if step.beside == "undo":
        return [["note", "string", False]]
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

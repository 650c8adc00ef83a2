"""A failure goes up to an agent, which says what is to be done about it."""

from typing import Any, Final

from kos_runtime.core.failure import WorkflowError
from kos_runtime.core.invocation import Invocation
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.answers import follow, wrong
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.dispatching import inputs_now
from kos_runtime.core.workflow.failing import MAX_ESCALATIONS, may_change_agent, may_fall_back, policy_for
from kos_runtime.core.workflow.state import StepState

#: The action by which an agent is asked.
ASK_ACTION: Final = "on_escalation"
#: A stand-in for the agent's own rule when it gave none.
SILENT: Final = "no valid answer"


def ask(desk: Desk, step: StepState) -> None:
    """Put the question, if the agent's pool has hands free."""
    run = desk.run
    about = run.steps[step.ask_of]
    assert run.link is not None
    assert run.program is not None
    policy = policy_for(desk, about, WorkflowError.from_plain(about.error or _NO_ERROR))
    name = policy.escalation_agent or ""
    agent = run.link.agents.get(name)
    if agent is None or ASK_ACTION not in agent.actions:
        _answer(desk, step, about, {}, f"{name} cannot be asked")
        return
    if not desk.pools.has_room(agent.pool, run.id, step.path):
        return
    attempt, fence = step.attempt + (step.then != "redispatch"), max(step.fence, run.fences) + 1
    timeout = run.program.plan.timeout_default_ms
    process = desk.pools.take(run.id, step.path, fence, timeout)
    fallback = policy.fallback or ""
    question = _question(desk, about, policy.max_retries, fallback, inputs_now(desk, about))
    packed = run.codec.pack({"escalation": question})
    desk.emit(ev.StepScheduled(step.path, attempt, fence, process, timeout, b"", None, None))
    desk.dispatches.append(
        (
            process,
            Invocation(
                run=run.id,
                path=step.path,
                attempt=attempt,
                fence=fence,
                epoch=desk.epoch,
                agent=name,
                action=ASK_ACTION,
                inputs=packed,
                timeout_ms=timeout,
                key=f"kos:{run.store_id}:{run.id}:{step.path}:0",
            ),
        )
    )


_NO_ERROR: Final = {"type": "unknown", "message": ""}


def _question(desk: Desk, about: StepState, max_retries: int, fallback: str, inputs: Any) -> dict[str, Any]:
    form: Any = about.node.form
    left = ["escalate"] if about.escalations < MAX_ESCALATIONS else []
    if may_change_agent(desk, about):
        left.append("different_agent")
    if fallback and may_fall_back(desk, about, fallback):
        left.append("fallback")
    left.extend(("manual", "skip", "fail"))
    return {
        "run": desk.run.id,
        "step": about.path,
        "agent": getattr(form, "agent", ""),
        "action": about.action or getattr(form, "action", ""),
        "inputs": inputs,
        "authority_required": [need.grant for need in about.node.step.authority],
        "fallback": fallback,
        "failure": about.error,
        "attempts": about.attempt,
        "escalations": about.escalations,
        "max_retries": max_retries,
        "retries": about.retries,
        "cost": about.spent_ms,
        "left": left,
    }


def answered(desk: Desk, step: StepState, names: dict[str, Any], problem: str) -> None:
    """Take what the agent said. Silence, a failure or a wrong answer goes one level up: to a person."""
    _answer(desk, step, desk.run.steps[step.ask_of], names, problem)


def _answer(desk: Desk, step: StepState, about: StepState, names: dict[str, Any], problem: str) -> None:
    policy = policy_for(desk, about, WorkflowError.from_plain(about.error or _NO_ERROR))
    rule, reason = str(names.get("rule", ""))[:200], str(names.get("reason", ""))[:2_000]
    default = policy.fallback or ""
    problem = problem or wrong(desk, about, names, default)
    if problem:
        names, rule, reason = {"answer": "manual"}, SILENT, problem[:2_000]
    if step.path in desk.run.agenda:
        desk.emit(ev.StepCancelled(step.path, 0, reason))
    by = desk.run.steps[step.path].agent
    desk.emit(ev.EscalationAnswered(about.path, about.escalations, str(names["answer"]), rule, reason, by))
    follow(desk, about, names, rule, by, default)

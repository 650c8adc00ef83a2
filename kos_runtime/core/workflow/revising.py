"""A person changes a running workflow: whether that is still possible, step by step.

What has not started may change. What runs may change from its next attempt on, if that is asked for. What is over never
changes: its result is what it is, and others may have read it. The plan comes compiled; here it is only compared.
"""

from collections.abc import Sequence
from typing import Final

from kos_runtime.core.plan.change import Change, differences, whole_differences
from kos_runtime.core.plan.check import faults, steps_of
from kos_runtime.core.plan.link import Link
from kos_runtime.core.plan.model import Action, ForEach, Group, Loop, Plan, Step
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, Rejected, RevisePlan
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.revised import body_prefix, is_going
from kos_runtime.core.workflow.state import CLOSE, Run, Scope, StepState
from kos_runtime.core.workflow.status import OVER, RunStatus, StepStatus

#: What may change of a step between two of its attempts; of edges only such to what is over.
_OF_ATTEMPT: Final = frozenset(
    {"agent", "action", "inputs", "timeout_ms", "heartbeat_ms", "policies", "priority", "cache"}
)
_EDGES: Final = frozenset({"after", "predecessors", "reads"})
#: The words that people use for fields of the model.
WORDS: Final = {
    "timeout_ms": "timeout", "heartbeat_ms": "heartbeat_timeout", "policies": "its handling of failures", "after": "what it waits for",
    "predecessors": "what comes before it", "reads": "what it reads", "spread": "parallel", "extras": "its other keys", "authority": "authority_required",
}  # fmt: skip


def revise(desk: Desk, command: RevisePlan) -> Accepted | Rejected:
    """Have the run follow another plan, which was given to it by its digest."""
    run = desk.run
    if run.status not in {RunStatus.CREATED, RunStatus.RUNNING}:
        how = "; fork it from before it failed, and change the fork" if run.status is RunStatus.FAILED else ""
        return _refused(f"run {run.id} is {run.status}: only one that is not over can be changed{how}")
    if run.cancelling is not None:
        return _refused(f"run {run.id} is being cancelled")
    if run.undoing is not None:
        return _refused(f"run {run.id} is over; what it completed is being undone")
    if command.expected != run.revision:
        return Rejected(
            code="revision",
            message=f"run {run.id} is at revision {run.revision}, not {command.expected}: somebody changed it first",
        )
    program, link = run.plans.get(command.plan), run.links.get(command.link)
    if program is None or link is None or run.program is None or run.link is None:
        return Rejected(code="invalid", message=f"the changed plan of {run.id} is not stored")
    old, new = run.program.plan, program.plan
    broken = [f"step {fault.where}: {fault.message}" if fault.where else fault.message for fault in faults(new)]
    broken += _unlinked(new, link) or _relinked(run.link, link)
    if other := whole_differences(old, new):
        broken.append(f"{', '.join(other)} would change too; only steps change while a workflow runs")
    if broken:
        return Rejected(code="invalid", message="; ".join(broken[:8]))
    changes = differences(old, new)
    if not changes:
        return Accepted(run=run.id, existing=True)
    problem = _failing(run) or _illegal(
        run, sorted(changes, key=lambda change: change.path != command.step), new, next_attempt=command.next_attempt
    )
    if problem:
        return _refused(problem)
    desk.emit(
        ev.PlanRevised(
            command.by,
            command.reason,
            run.revision + 1,
            command.plan,
            command.link,
            command.settings,
            command.change,
            command.step,
            list(command.fields),
            command.next_attempt,
        )
    )
    return Accepted(run=run.id, event="PlanRevised")


def _refused(message: str) -> Rejected:
    return Rejected(code="conflict", message=message)


def _unlinked(plan: Plan, link: Link) -> list[str]:
    """Say which agents or actions a plan names that its link does not know."""
    found = []
    for where, step in steps_of(plan.body):
        form = step.form
        if isinstance(form, Action) or (isinstance(form, ForEach) and form.body is None):
            agent = link.agents.get(form.agent)
            if agent is None or form.action not in agent.actions:
                found.append(f"step {where}: {form.agent}.{form.action} is not linked")
    found += [
        f"{policy.rule}: {policy.escalation_agent} is not linked"
        for policy in plan.policies
        if policy.escalation_agent is not None and policy.escalation_agent not in link.agents
    ]
    return found


def _relinked(old: Link, new: Link) -> list[str]:
    """Say which agents would be others than before: a run follows its link, whatever is deployed later."""
    found = []
    for name, agent in old.agents.items():
        now = new.agents.get(name)
        if now is None or (now.kind, now.target, now.actions, now.settings) != (
            agent.kind, agent.target, agent.actions, agent.settings,
        ):  # fmt: skip
            found.append(f"agent {name} would be another one than the run was linked to")
    return found


def _failing(run: Run) -> str:
    """Say of which step the failure is not dealt with yet, because the run is paused."""
    for scope in run.scopes.values():
        if scope.gave_up is not None:
            closing = scope.path if scope.item >= 0 else "" if scope.owner is None else scope.owner.path
            if run.agenda.get(closing) == CLOSE:
                return f"step {scope.gave_up} has failed, and what follows of that is not decided yet"
    return ""


def _illegal(run: Run, changes: Sequence[Change], new: Plan, *, next_attempt: bool) -> str:
    """Return why the first of some changes comes too late, or nothing when none does."""
    wanted = dict(steps_of(new.body))
    instances = _instances(run, {change.path for change in changes} | {change.body for change in changes})
    for change in changes:
        problem = ""
        if change.what != "changed":
            problem = _body_is_fixed(run, change, instances.get(change.body, []))
        for step in instances.get(change.path, []):
            problem = problem or _too_late(run, change, step, wanted.get(change.path), next_attempt=next_attempt)
        if problem:
            return problem
    return ""


def _instances(run: Run, paths: set[str]) -> dict[str, list[StepState]]:
    """Return what has come of some steps of the definition: in every turn and item."""
    found: dict[str, list[StepState]] = {}
    prefixes: dict[str, str] = {}
    for step in run.steps.values():
        if step.index >= 0 or step.ask_of:
            continue
        scope = step.scope
        prefix = prefixes.get(scope.path)
        if prefix is None:
            prefix = prefixes[scope.path] = body_prefix(scope)
        path = prefix + step.id
        if path in paths:
            found.setdefault(path, []).append(step)
    return found


def _body_is_fixed(run: Run, change: Change, owners: list[StepState]) -> str:
    """Say why a step cannot be added to, or taken out of, a body."""
    verb = "added to" if change.what == "added" else "removed from"
    for owner in owners:
        what = f"step {change.path} cannot be {verb} {owner.path}"
        if owner.status in OVER:
            return f"{what}, which is {owner.status}"
        if owner.status is not StepStatus.ACTIVE:
            continue
        match owner.node.form:
            case ForEach():
                over = next((s for s in _items(run, owner) if s.remaining == 0 or s.gave_up is not None), None)
                if over is not None:
                    return f"{what}: item {over.item} of it is over, and all items are treated alike"
            case Group(sync=sync) if sync != "all":
                return f"{what}: it waits for some of its members, and they are counted already"
            case _:
                pass
    return ""


def _items(run: Run, owner: StepState) -> list[Scope]:
    assert owner.fan is not None
    found = (run.scopes.get(f"{owner.path}[{index}]") for index in range(owner.fan.next))
    return [scope for scope in found if scope is not None]


def _too_late(run: Run, change: Change, step: StepState, wanted: Step | None, *, next_attempt: bool) -> str:
    """Say why a step, which was entered once, cannot become what is wanted any more."""
    if step.status is StepStatus.READY and is_going(step.scope):
        return ""
    named = f"step {step.path}"
    if wanted is None:
        return f"{named} cannot be removed: it {_state(step)}"
    if change.fields and _EDGES.issuperset(change.fields) and not next_attempt:
        return f"{named} {_state(step)}: what it waits for cannot change any more"
    if step.status in OVER or step.status is StepStatus.READY:
        # What is over in one turn of a loop may be changed for the turns to come.
        if not (next_attempt and _in_loop(step.scope)):
            return f"{named} cannot change: it {_state(step)}"
    elif not next_attempt:
        return f"{named} has begun: it can change only from its next attempt on (apply: next_attempt)"
    if not isinstance(step.node.form, Action) or step.fan is not None:
        return f"{named} has begun: what can change from its next attempt on is one action, not a step with parts"
    fixed = [field for field in change.fields if field not in _OF_ATTEMPT | _EDGES]
    if fixed == ["outputs"] and not run.open.get(step.path) and step.status not in OVER:
        fixed = []
    if fixed:
        return f"{named} has begun: of its next attempt {', '.join(WORDS.get(f, f) for f in fixed)} cannot change"
    if _EDGES & set(change.fields) and step.status not in OVER:
        return _waits(run, step, wanted)
    return ""


def _waits(run: Run, step: StepState, wanted: Step) -> str:
    """Say for what a step that has begun would have to wait under its new plan."""
    for other in wanted.after:
        before = run.steps.get(step.scope.step_path(other))
        if before is None or before.status not in {StepStatus.COMPLETED, StepStatus.SKIPPED}:
            return f"step {step.path} has begun, and would wait for {other}, which is not over"
    return ""


def _in_loop(scope: Scope) -> bool:
    """Say whether a body lies in a loop that is still at work."""
    at: Scope | None = scope
    while at is not None and at.owner is not None:
        if isinstance(at.owner.node.form, Loop) and at.owner.status is StepStatus.ACTIVE and is_going(at.owner.scope):
            return True
        at = at.owner.scope
    return False


def _state(step: StepState) -> str:
    match step.status:
        case StepStatus.COMPLETED:
            return "has completed"
        case StepStatus.SKIPPED:
            return "was skipped"
        case StepStatus.CANCELLED | StepStatus.READY:
            return "was called off"
        case StepStatus.FAILED:
            return "has failed"
        case _:
            return f"has begun (it is {step.status})"

"""How a fact changes the state of its run: in place, deterministically, without asking anything.

Folding does constant work for each event. What is to be decided next is left in ``run.agenda`` and ``run.todo``; an
event that decides something takes it out again.
"""

from collections.abc import Callable
from typing import Any, Final

from kos_runtime.core.errors import InvariantViolation
from kos_runtime.core.plan.model import ForEach, Group, Inlined
from kos_runtime.core.plan.program import BodyProgram
from kos_runtime.core.record import BlobRef
from kos_runtime.core.workflow import authority, beside, held, mail, sparing
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.discarding import discarded
from kos_runtime.core.workflow.reopened import reopen
from kos_runtime.core.workflow.revised import request_step, revise
from kos_runtime.core.workflow.state import AGAIN, CANCEL_TIMER, CLOSE, ENTER, ITEMS, Fan, Run, Scope, StepState
from kos_runtime.core.workflow.status import RUN_TRANSITIONS, RunStatus, StepStatus
from kos_runtime.core.workflow.taken_over import begin_again, replace_result, restored, take_over
from kos_runtime.core.workflow.values import vars_at

#: After these a task is still its master's.
_BY_MASTER: Final = frozenset({"retry", "different_agent"})
#: How many items with a body of their own are at work together unless the definition says so.
DEFAULT_BODY_WINDOW: Final = 64
#: Answers to an escalation after which the step is tried again.
_TRIED_AGAIN: Final = frozenset({"retry", "reassign", "replace_inputs"})


def evolve(run: Run, event: Any) -> None:
    """Apply one event.

    Raises:
        InvariantViolation: The event cannot follow this state; the state may be half changed and is to be dropped.
    """
    handler = HANDLERS.get(type(event))
    if handler is None:
        raise InvariantViolation(f"no way to apply {type(event).__name__}")
    handler(run, event)


def put(run: Run, path: str, why: str) -> None:
    """Leave something to be decided about a path."""
    run.agenda[path] = why
    if not run.todo or run.todo[-1] != path:
        run.todo.append(path)


def step_at(run: Run, path: str) -> StepState:
    """Return the step key's state, making that of an item or a part when it begins."""
    step = run.steps.get(path)
    if step is not None:
        return step
    if path.endswith("]"):
        base, _, index = path[:-1].rpartition("[")
        owner = run.steps.get(base)
        if owner is not None and owner.fan is not None:
            step = StepState(path, owner.id, owner.scope, owner.node)
            step.index = int(index)
            run.steps[path] = step
            owner.fan.begin(step.index)
            if not owner.fan.has_room() and owner.node.step.master is None:
                run.agenda.pop(base, None)
            return step
    raise InvariantViolation(f"no step {path!r} in run {run.id}")


def _status(run: Run, event: Any) -> None:
    status = RUN_TRANSITIONS.get((run.status, type(event)))
    if status is None:
        raise InvariantViolation(f"{type(event).__name__} does not follow {run.status} in run {run.id}")
    run.status = status


def _blob(stored: list[Any] | None) -> BlobRef | None:
    return None if stored is None else BlobRef(stored[0], stored[1])


# --- the run ------------------------------------------------------------------------------------


def _run_created(run: Run, e: ev.RunCreated) -> None:
    _status(run, e)
    run.workflow, run.version, run.name, run.key = e.workflow, e.version, e.name, e.key
    run.plan_digest, run.plan_now, run.seed, run.author = e.plan, e.plan, e.seed, e.author
    run.inputs_packed, run.inputs_blob = e.inputs, _blob(e.inputs_blob)


def _run_linked(run: Run, e: ev.RunLinked) -> None:
    _status(run, e)
    run.link_digest, run.link_now, run.link_settings = e.link, e.link, e.settings


def _run_spawned(run: Run, e: ev.RunSpawned) -> None:
    run.parent = [e.parent, e.path, e.attempt, e.depth, e.mode, e.timeout_ms]


def _run_started(run: Run, e: ev.RunStarted) -> None:
    _status(run, e)
    if run.program is None:
        raise InvariantViolation(f"run {run.id} was given no plan")
    run.vars = dict(run.program.plan.variables)
    run.deadline = e.deadline
    _open_scope(run, "", run.program.body, None, None)


def _run_completed(run: Run, e: ev.RunCompleted) -> None:
    _status(run, e)
    run.outputs, run.outputs_blobs = e.outputs, e.blobs
    _leave_all(run)


def _run_failed(run: Run, e: ev.RunFailed) -> None:
    _status(run, e)
    run.error = e.error
    _leave_all(run)


def _deadline_set(run: Run, e: ev.DeadlineSet) -> None:
    _status(run, e)
    run.deadline, run.left_ms = e.at, e.left_ms


def _run_paused(run: Run, e: ev.RunPaused) -> None:
    _status(run, e)
    run.paused = [e.by, e.reason]


def _run_resumed(run: Run, e: ev.RunResumed) -> None:
    _status(run, e)
    run.paused = None


def _run_reopened(run: Run, e: ev.RunReopened) -> None:
    _status(run, e)
    reopen(run, e)


def _compensation_started(run: Run, e: ev.CompensationStarted) -> None:
    _status(run, e)
    run.error = None
    beside.compensate(run, e)


def _run_taken_back(run: Run, e: ev.RunTakenBack) -> None:
    _status(run, e)
    run.error = run.paused = None
    beside.take_back(run, e)


def _run_forked(run: Run, e: ev.RunForked) -> None:
    _status(run, e)
    take_over(run)


def _restore_begun(run: Run, e: ev.RestoreBegun) -> None:
    _status(run, e)
    begin_again(run)


def _run_restored(run: Run, e: ev.RunRestored) -> None:
    _status(run, e)
    restored(run, e)


def _plan_revised(run: Run, e: ev.PlanRevised) -> None:
    _status(run, e)
    revise(run, e)


def _search_attributes_set(run: Run, e: ev.SearchAttributesSet) -> None:
    run.attributes = {name: value for name, value in {**run.attributes, **e.attributes}.items() if value is not None}


def _checkpoints_set(run: Run, e: ev.CheckpointsSet) -> None:
    run.checkpoint_ms = e.interval_ms


def _moved_away(run: Run, e: Any) -> None:
    """Kept for whoever reads the history; a run without its payloads is not folded."""


def _cancel_requested(run: Run, e: ev.CancelRequested) -> None:
    _status(run, e)
    run.cancelling = [e.by, e.reason, e.number]
    run.timers[CANCEL_TIMER] = (e.until, e.number)


def _run_cancelled(run: Run, e: ev.RunCancelled) -> None:
    _status(run, e)
    run.error = {"type": "cancelled", "message": e.message}
    _leave_all(run)


def _run_quarantined(run: Run, e: ev.RunQuarantined) -> None:
    _status(run, e)
    run.error = {"type": "unknown", "message": e.error}
    # What it was at stays, in case that somebody has it go on.
    run.todo.clear()


def _run_requeued(run: Run, e: ev.RunRequeued) -> None:
    _status(run, e)
    run.error = None
    if not run.scopes:
        run.status = RunStatus.CREATED


def _leave_all(run: Run) -> None:
    run.agenda.clear()
    run.todo.clear()
    run.timers.clear()
    run.manual.clear()
    run.waits.clear()
    run.open.clear()
    run.children.clear()
    held.drop_all(run)


# --- scopes -------------------------------------------------------------------------------------


def _open_scope(run: Run, path: str, body: BodyProgram, owner: StepState | None, outer: Scope | None) -> Scope:
    scope = Scope(path, body, owner, outer)
    run.scopes[path] = scope
    for id in body.first:
        _enter(run, scope, id)
    if scope.remaining == 0:
        _close(run, scope)
    return scope


def _enter(run: Run, scope: Scope, id: str) -> None:
    path = f"{scope.path}/{id}" if scope.path else id
    run.steps[path] = StepState(path, id, scope, scope.body.nodes[id])
    run.agenda[path] = ENTER
    run.todo.append(path)


def _close(run: Run, scope: Scope) -> None:
    """The body is over, or cannot go on: whoever owns it decides."""
    owner = scope.owner
    if owner is None:
        put(run, "", CLOSE)
    elif scope.item >= 0:
        put(run, scope.path, CLOSE)
    else:
        put(run, owner.path, CLOSE)


def _over(run: Run, step: StepState) -> None:
    """A step of a body is over: count down whoever waits for it."""
    scope, id, node = step.scope, step.id, step.node
    _rest(step)
    if scope.parked:
        run.todo.append(scope.parked.popleft())
    if not node.step.on_demand or step.by_hand:
        scope.remaining -= 1
    waits = scope.waits
    for dependent in node.dependents:
        left = waits[dependent] = waits[dependent] - 1
        if left == 0 and not scope.body.nodes[dependent].step.on_demand:
            _enter(run, scope, dependent)
    followed = scope.follow.pop(id, None) if scope.follow else None
    if followed is not None:
        after, decision = followed
        if after is None:
            put(run, scope.step_path(decision), CLOSE)
        else:
            _enter(run, scope, after)
    if scope.remaining == 0 or scope.watched:
        _close(run, scope)


def _end(run: Run, step: StepState, status: StepStatus) -> None:
    """A step key is over: a step of a body, an item, a part, or a question to an agent."""
    step.status = status
    path = step.path
    if path in run.agenda:
        del run.agenda[path]
    run.open.pop(path, None)
    if run.timers:
        run.timers.pop(path, None)
    if run.manual:
        run.manual.pop(path, None)
    if run.waits:
        run.waits.pop(path, None)
    if run.machines:
        held.drop(run, path)
    if step.beside:
        beside.ended(run, step)
        return
    if step.index < 0:
        _over(run, step)
        return
    owner = run.steps[step.path[: step.path.rindex("[")]]
    fan = owner.fan
    assert fan is not None
    if status is StepStatus.COMPLETED:
        fan.results[step.index] = (step.exposed, step.blobs)
    elif status is StepStatus.SKIPPED:
        fan.skipped.append(step.index)
    elif step.error is not None:
        fan.failures.append([step.index, step.error["type"], step.error["message"]])
    del run.steps[step.path]
    _item_over(run, owner, fan)


def _item_over(run: Run, owner: StepState, fan: Fan) -> None:
    fan.open -= 1
    if owner.status is StepStatus.ACTIVE:
        _look_at_fan(run, owner, fan)


def _look_at_fan(run: Run, owner: StepState, fan: Fan) -> None:
    """A fan is on the agenda as long as it can start an item, has failures to judge or ballots to count, or is done;
    that of a master always.
    """
    if fan.has_room() or fan.failures or fan.is_over() or _votes(owner):
        put(run, owner.path, ITEMS)
    else:
        run.agenda.pop(owner.path, None)


def _votes(owner: StepState) -> bool:
    form = owner.node.form
    return owner.node.step.master is not None or (isinstance(form, ForEach) and form.consensus is not None)


# --- attempts -----------------------------------------------------------------------------------


def _condition_met(run: Run, e: ev.ConditionMet) -> None:
    run.steps[e.path].condition_met = True


def _begin(step: StepState) -> None:
    if step.status is StepStatus.READY and step.index < 0 and not step.beside:
        step.scope.active += 1
        if step.node.step.resources:
            for name, amount in step.node.step.resources.items():
                step.scope.held[name] = step.scope.held.get(name, 0.0) + amount


def _rest(step: StepState) -> None:
    step.scope.active -= 1
    if step.node.step.resources:
        for name, amount in step.node.step.resources.items():
            step.scope.held[name] -= amount


def _step_scheduled(run: Run, e: ev.StepScheduled) -> None:
    path = e.path
    step = run.steps.get(path) or step_at(run, path)
    run.agenda.pop(path, None)
    if step.status is StepStatus.READY:
        _begin(step)
    step.status = StepStatus.OPEN
    step.attempt, step.fence, step.agent = e.attempt, e.fence, e.agent
    step.then = ""
    if e.inputs is not None:
        step.inputs = e.inputs
    elif e.inputs_blob is not None:
        step.inputs_blob = _blob(e.inputs_blob)
    run.open[path] = e.fence


def _step_redispatched(run: Run, e: ev.StepRedispatched) -> None:
    step = run.steps[e.path]
    run.open.pop(e.path, None)
    step.status = StepStatus.FAILING
    step.then = "redispatch"
    if e.cause.startswith("suspect"):
        step.kills += 1
    put(run, e.path, AGAIN)


def _step_completed(run: Run, e: ev.StepCompleted) -> None:
    step = run.steps[e.path]
    step.exposed, step.blobs = e.exposed, e.blobs
    step.error = None
    step.spent_ms += e.duration_ms
    if step.node.undo is not None and not step.ask_of and step.beside != sparing.BESIDE:
        # A question about a step has that step's place in the plan, and nothing of it is to be undone.
        run.undo.pop(e.path, None)
        run.undo[e.path] = None
    _end(run, step, StepStatus.COMPLETED)


def _result_sought(run: Run, e: ev.ResultSought) -> None:
    run.sought[e.path] = e.key


def _result_reused(run: Run, e: ev.ResultReused) -> None:
    step = run.steps.get(e.path) or step_at(run, e.path)
    if step.status is StepStatus.READY:
        _begin(step)
    step.exposed, step.blobs = e.exposed, e.blobs
    step.error = None
    _end(run, step, StepStatus.COMPLETED)


def _step_held_back(run: Run, e: ev.StepHeldBack) -> None:
    run.held[e.path] = e.fence


def _step_failed(run: Run, e: ev.StepFailed) -> None:
    step = run.steps.get(e.path) or step_at(run, e.path)
    run.open.pop(e.path, None)
    run.agenda.pop(e.path, None)
    if run.waits and run.waits.pop(e.path, None) is not None:
        run.timers.pop(e.path, None)
    if run.machines:
        held.drop(run, e.path)
    _begin(step)
    step.status = StepStatus.FAILING
    step.error, step.rule, step.then, step.rung = e.error, e.rule, e.then, e.rung
    if e.then == "different_agent":
        beside.avoid(step)
    elif e.then == "compensate":
        run.undo_asked = True
    if step.index >= 0 and e.then not in _BY_MASTER and run.machines:
        step.left = True
    step.spent_ms += e.duration_ms


def _retry_scheduled(run: Run, e: ev.RetryScheduled) -> None:
    step = run.steps[e.path]
    step.status = StepStatus.BACKOFF
    step.retries += 1
    run.timers[e.path] = (e.at, e.fence)


def _timer_fired(run: Run, e: ev.TimerFired) -> None:
    run.timers.pop(e.path, None)
    put(run, e.path, AGAIN)


def _step_gave_up(run: Run, e: ev.StepGaveUp) -> None:
    step = run.steps.get(e.path) or step_at(run, e.path)
    _begin(step)
    step.error, step.rule = e.error, e.rule
    if step.index >= 0 or step.beside:
        _end(run, step, StepStatus.FAILED)
        return
    # What waits for it is not entered: the body as a whole has failed, and its owner decides.
    step.status = StepStatus.FAILED
    run.agenda.pop(e.path, None)
    if run.machines:
        held.drop(run, e.path)
    _rest(step)
    if step.scope.gave_up is None:
        step.scope.gave_up = e.path
    _close(run, step.scope)


def _step_skipped(run: Run, e: ev.StepSkipped) -> None:
    step = run.steps.get(e.path) or step_at(run, e.path)
    _begin(step)
    _end(run, step, StepStatus.SKIPPED)


def _step_cancelled(run: Run, e: ev.StepCancelled) -> None:
    """Called off with everything around it: nobody is counted down."""
    run.agenda.pop(e.path, None)
    run.open.pop(e.path, None)
    run.timers.pop(e.path, None)
    run.manual.pop(e.path, None)
    run.waits.pop(e.path, None)
    run.children.pop(e.path, None)
    if run.machines:
        held.drop(run, e.path)
    step = run.steps.get(e.path)
    if step is None:
        return
    step.status = StepStatus.CANCELLED
    if step.beside == held.BESIDE:
        held.withdrawn(run, step)
    elif step.beside == sparing.BESIDE:
        sparing.dropped(run, e.path)
    elif step.index >= 0:
        owner = run.steps.get(step.path[: step.path.rindex("[")])
        if owner is not None and owner.fan is not None:
            owner.fan.open -= 1
        del run.steps[e.path]


def _result_discarded(run: Run, e: ev.ResultDiscarded) -> None:
    discarded(run, e.path, e.fence)


# --- forms --------------------------------------------------------------------------------------


def _decision_taken(run: Run, e: ev.DecisionTaken) -> None:
    step = run.steps[e.path]
    run.agenda.pop(e.path, None)
    # It only waits for the steps of its path, which count for themselves: a group of one place would else never go on.
    if step.status is not StepStatus.READY:
        _rest(step)
    step.status = StepStatus.ACTIVE
    # It has been taken: that is all the turn that it has.
    step.turn = 0
    scope = step.scope
    for this, after in zip(e.steps, [*e.steps[1:], None], strict=False):
        scope.follow[this] = (after, step.id)
    if e.steps:
        _enter(run, scope, e.steps[0])
    else:
        put(run, e.path, CLOSE)


def _decision_ended(run: Run, e: ev.DecisionEnded) -> None:
    step = run.steps[e.path]
    step.status = StepStatus.READY
    _begin(step)
    _end(run, step, StepStatus.COMPLETED)


def _turn_started(run: Run, e: ev.TurnStarted) -> None:
    step = run.steps[e.path]
    run.agenda.pop(e.path, None)
    _begin(step)
    step.status = StepStatus.ACTIVE
    step.turn = e.turn
    assert step.node.body is not None
    scope = _open_scope(run, f"{e.path}#{e.turn}", step.node.body, step, step.scope)
    scope.turn = e.turn


def _loop_ended(run: Run, e: ev.LoopEnded) -> None:
    step = run.steps[e.path]
    _begin(step)
    _end(run, step, StepStatus.COMPLETED)


def _items_frozen(run: Run, e: ev.ItemsFrozen) -> None:
    step = run.steps[e.path]
    form = step.node.form
    assert isinstance(form, ForEach)
    limit = form.max_concurrency
    if form.body is not None and limit == 0:
        limit = DEFAULT_BODY_WINDOW
    fan = Fan(e.count, limit)
    fan.items, fan.items_blob = e.items, _blob(e.items_blob)
    _open_fan(run, step, fan)


def _parts_split(run: Run, e: ev.PartsSplit) -> None:
    step = run.steps[e.path]
    fan = Fan(max(len(e.bounds) - 1, 0), 0)
    fan.parts, fan.over, fan.bounds = True, e.over, e.bounds
    step.inputs, step.inputs_blob = e.inputs, _blob(e.inputs_blob)
    _open_fan(run, step, fan)


def _open_fan(run: Run, step: StepState, fan: Fan) -> None:
    run.agenda.pop(step.path, None)
    _begin(step)
    step.status = StepStatus.ACTIVE
    step.fan = fan
    put(run, step.path, ITEMS)


def _item_started(run: Run, e: ev.ItemStarted) -> None:
    step = run.steps[e.path]
    fan = step.fan
    assert fan is not None
    assert step.node.body is not None
    fan.begin(e.index)
    _look_at_fan(run, step, fan)
    path = f"{e.path}[{e.index}]"
    scope = Scope(path, step.node.body, step, step.scope)
    scope.item = e.index
    run.scopes[path] = scope
    for id in step.node.body.first:
        _enter(run, scope, id)
    if scope.remaining == 0:
        _close(run, scope)


def _item_ended(run: Run, e: ev.ItemEnded) -> None:
    owner = run.steps[e.path]
    fan = owner.fan
    assert fan is not None
    run.agenda.pop(f"{e.path}[{e.index}]", None)
    if e.error is not None:
        fan.failures.append([e.index, e.error["type"], e.error["message"]])
    _item_over(run, owner, fan)


def _items_joined(run: Run, e: ev.ItemsJoined) -> None:
    step = run.steps[e.path]
    _end(run, step, StepStatus.COMPLETED)


def _consensus_proposed(run: Run, e: ev.ConsensusProposed) -> None:
    step = run.steps[e.path]
    step.life, step.joined = run.fences, False


def _peer_joined(run: Run, e: ev.PeerJoined) -> None:
    run.steps[e.path].joined = run.steps[e.path[: e.path.rindex("[")]].joined = True


def _consensus_reached(run: Run, e: ev.ConsensusReached) -> None:
    step = run.steps[e.path]
    step.exposed, step.blobs, step.cache = e.exposed, e.blobs, None
    _end(run, step, StepStatus.COMPLETED)
    # What it exposes is its own from now on, as an action's is.
    step.fan = None


def _machine_opened(run: Run, e: ev.MachineOpened) -> None:
    step = run.steps[e.path]
    if step.fan is None:
        run.agenda.pop(e.path, None)
    _begin(step)
    step.status = StepStatus.ACTIVE
    held.opened(run, e)


def _consensus_escalated(run: Run, e: ev.ConsensusEscalated) -> None:
    step = run.steps[e.path]
    step.exposed, step.blobs, step.cache = e.exposed, e.blobs, None
    # What it exposes is its own from now on, as an action's is.
    step.fan = None


def _spare_won(run: Run, e: ev.SpareWon) -> None:
    _end(run, sparing.take(run, e), StepStatus.COMPLETED)


def _group_opened(run: Run, e: ev.GroupOpened) -> None:
    step = run.steps[e.path]
    run.agenda.pop(e.path, None)
    _begin(step)
    step.status = StepStatus.ACTIVE
    assert step.node.body is not None
    form = step.node.form
    assert isinstance(form, Group)
    scope = _open_scope(run, e.path, step.node.body, step, step.scope)
    scope.watched = form.sync != "all"


def _group_settled(run: Run, e: ev.GroupSettled) -> None:
    _end(run, run.steps[e.path], StepStatus.COMPLETED)


def _join_reached(run: Run, e: ev.JoinReached) -> None:
    step = run.steps[e.path]
    _begin(step)
    _end(run, step, StepStatus.COMPLETED)


def _variables_set(run: Run, e: ev.VariablesSet) -> None:
    step = run.steps[e.path]
    vars_at(run, step.scope).update(e.values)
    _begin(step)
    _end(run, step, StepStatus.COMPLETED)


def _event_emitted(run: Run, e: ev.EventEmitted) -> None:
    step = run.steps[e.path]
    _begin(step)
    _end(run, step, StepStatus.COMPLETED)


# --- composition --------------------------------------------------------------------------------


def _template_opened(run: Run, e: ev.TemplateOpened) -> None:
    step = run.steps[e.path]
    form = step.node.form
    assert isinstance(form, Inlined)
    assert step.node.body is not None
    run.agenda.pop(e.path, None)
    _begin(step)
    step.status = StepStatus.ACTIVE
    step.inputs, step.inputs_blob, step.template_inputs = e.inputs, _blob(e.inputs_blob), None
    scope = _open_scope(run, e.path, step.node.body, step, step.scope)
    scope.vars = dict(form.variables)


def _child_requested(run: Run, e: ev.ChildRequested) -> None:
    step = run.steps[e.path]
    run.agenda.pop(e.path, None)
    _begin(step)
    step.status = StepStatus.ACTIVE
    step.attempt, step.then, step.child_end = e.attempt, "", None
    run.children[e.path] = [e.child, e.parent_close]


def _child_ended(run: Run, e: ev.ChildEnded) -> None:
    step = run.steps[e.path]
    run.children.pop(e.path, None)
    step.child_end = [e.status, e.outputs, e.blobs, e.error]
    put(run, e.path, CLOSE)


def _result_joined(run: Run, e: ev.ResultJoined) -> None:
    step = run.steps[e.path]
    step.exposed, step.blobs, step.error, step.child_end = e.exposed, e.blobs, None, None
    _end(run, step, StepStatus.COMPLETED)


# --- failure ------------------------------------------------------------------------------------


def _escalated(run: Run, e: ev.Escalated) -> None:
    step = run.steps[e.path]
    step.status = StepStatus.ESCALATED
    step.escalations = e.number
    ask = StepState(e.ask, step.id, step.scope, step.node)
    ask.ask_of, ask.beside = e.path, "ask"
    run.steps[e.ask] = ask
    put(run, e.ask, ENTER)


def _escalation_answered(run: Run, e: ev.EscalationAnswered) -> None:
    step = run.steps[e.path]
    step.status = StepStatus.FAILING
    if e.answer in _TRIED_AGAIN:
        put(run, e.path, AGAIN)


def _inputs_replaced(run: Run, e: ev.InputsReplaced) -> None:
    step = run.steps[e.path]
    step.inputs, step.inputs_blob, step.replaced = e.inputs, _blob(e.inputs_blob), True


def _fallback_step_ended(run: Run, e: ev.FallbackStepEnded) -> None:
    step = run.steps[e.path]
    step.exposed, step.blobs, step.error = e.exposed, e.blobs, None
    _end(run, step, StepStatus.COMPLETED)


def _fallback_started(run: Run, e: ev.FallbackStarted) -> None:
    run.steps[e.path].action = e.action
    put(run, e.path, AGAIN)


def _manual_task_requested(run: Run, e: ev.ManualTaskRequested) -> None:
    step = run.steps[e.path]
    run.agenda.pop(e.path, None)
    step.status = StepStatus.MANUAL
    run.manual[e.path] = [e.task, e.prompt, e.fields]


def _manual_task_answered(run: Run, e: ev.ManualTaskAnswered) -> None:
    step = run.steps[e.path]
    step.exposed, step.blobs = e.exposed, e.blobs
    _end(run, step, StepStatus.COMPLETED)


# --- waiting ------------------------------------------------------------------------------------


def _wait(run: Run, path: str, fence: int, due: int, what: dict[str, Any]) -> None:
    step = run.steps[path]
    run.agenda.pop(path, None)
    _begin(step)
    step.status, step.fence = StepStatus.WAITING, fence
    run.waits[path] = what
    if due:
        run.timers[path] = (due, fence)


def _wait_started(run: Run, e: ev.WaitStarted) -> None:
    _wait(run, e.path, e.fence, e.due, {"kind": "time", "wall": e.wall})


def _wait_ended(run: Run, e: ev.WaitEnded) -> None:
    step = run.steps[e.path]
    _begin(step)
    _end(run, step, StepStatus.COMPLETED)


def _signal_awaited(run: Run, e: ev.SignalAwaited) -> None:
    _wait(run, e.path, e.fence, e.due, {"kind": "signal", "signal": e.signal})


def _signal_received(run: Run, e: ev.SignalReceived) -> None:
    run.signalled = e.number
    run.signals.append([e.number, e.signal, e.data, e.by])
    for path, what in run.waits.items():
        if what["kind"] == "signal" and what["signal"] == e.signal:
            put(run, path, ENTER)


def _signal_taken(run: Run, e: ev.SignalTaken) -> None:
    run.signals[:] = [signal for signal in run.signals if signal[0] != e.number]
    _complete_wait(run, e.path, e.exposed)


def _signal_passed(run: Run, e: ev.SignalPassed) -> None:
    run.agenda.pop(e.path, None)


def _approval_requested(run: Run, e: ev.ApprovalRequested) -> None:
    what = {
        "kind": "approval", "prompt": e.prompt, "digest": e.digest, "approvers": e.approvers, "quorum": e.quorum,
        "fields": e.fields, "votes": [],
    }  # fmt: skip
    _wait(run, e.path, e.fence, e.due, what)


def _approval_given(run: Run, e: ev.ApprovalGiven) -> None:
    run.waits[e.path]["votes"].append([e.by, e.approved, e.data, e.comment])


def _approval_decided(run: Run, e: ev.ApprovalDecided) -> None:
    _complete_wait(run, e.path, e.exposed)


def _waiting_timed_out(run: Run, e: ev.WaitingTimedOut) -> None:
    if e.then in {"continue", "approve", "reject"}:
        _complete_wait(run, e.path, e.exposed)
    else:
        run.timers.pop(e.path, None)
        run.waits.pop(e.path, None)
        run.agenda.pop(e.path, None)
        run.steps[e.path].status = StepStatus.FAILING


def _complete_wait(run: Run, path: str, exposed: bytes) -> None:
    step = run.steps[path]
    step.exposed, step.blobs, step.cache, step.error = exposed, [], None, None
    _end(run, step, StepStatus.COMPLETED)


#: What applies which event.
HANDLERS: Final[dict[type, Callable[[Run, Any], None]]] = {
    ev.RunCreated: _run_created,
    ev.RunLinked: _run_linked,
    ev.RunStarted: _run_started,
    ev.RunCompleted: _run_completed,
    ev.RunFailed: _run_failed,
    ev.RunPaused: _run_paused,
    ev.RunResumed: _run_resumed,
    ev.RunReopened: _run_reopened,
    ev.RunForked: _run_forked,
    ev.ResultReplaced: replace_result,
    ev.CheckpointsSet: _checkpoints_set,
    ev.SearchAttributesSet: _search_attributes_set,
    ev.PayloadsPurged: _moved_away,
    ev.RunArchived: _moved_away,
    ev.RestoreBegun: _restore_begun,
    ev.RunRestored: _run_restored,
    ev.PlanRevised: _plan_revised,
    ev.CancelRequested: _cancel_requested,
    ev.RunCancelled: _run_cancelled,
    ev.RunQuarantined: _run_quarantined,
    ev.DeadlineSet: _deadline_set,
    ev.WaitStarted: _wait_started,
    ev.WaitEnded: _wait_ended,
    ev.SignalAwaited: _signal_awaited,
    ev.SignalReceived: _signal_received,
    ev.SignalTaken: _signal_taken,
    ev.SignalPassed: _signal_passed,
    ev.ApprovalRequested: _approval_requested,
    ev.ApprovalGiven: _approval_given,
    ev.ApprovalDecided: _approval_decided,
    ev.WaitingTimedOut: _waiting_timed_out,
    ev.RunRequeued: _run_requeued,
    ev.ConditionMet: _condition_met,
    ev.StepRequested: request_step,
    ev.StepScheduled: _step_scheduled,
    ev.StepRedispatched: _step_redispatched,
    ev.StepCompleted: _step_completed,
    ev.ResultSought: _result_sought,
    ev.ResultReused: _result_reused,
    ev.StepHeldBack: _step_held_back,
    ev.StepFailed: _step_failed,
    ev.RetryScheduled: _retry_scheduled,
    ev.TimerFired: _timer_fired,
    ev.StepGaveUp: _step_gave_up,
    ev.StepSkipped: _step_skipped,
    ev.StepCancelled: _step_cancelled,
    ev.ResultDiscarded: _result_discarded,
    ev.DecisionTaken: _decision_taken,
    ev.DecisionEnded: _decision_ended,
    ev.TurnStarted: _turn_started,
    ev.LoopEnded: _loop_ended,
    ev.ItemsFrozen: _items_frozen,
    ev.PartsSplit: _parts_split,
    ev.ItemStarted: _item_started,
    ev.ItemEnded: _item_ended,
    ev.ItemsJoined: _items_joined,
    ev.ConsensusProposed: _consensus_proposed,
    ev.PeerJoined: _peer_joined,
    ev.ConsensusReached: _consensus_reached,
    ev.MachineOpened: _machine_opened,
    ev.MachineDecided: held.decided,
    ev.MachineRecovered: held.recovered,
    ev.MachineTimed: held.timed,
    ev.SpareStarted: sparing.started,
    ev.SpareWon: _spare_won,
    ev.QuestionAsked: held.asked,
    ev.QuestionAnswered: held.answered,
    ev.ConsensusEscalated: _consensus_escalated,
    ev.GroupOpened: _group_opened,
    ev.GroupSettled: _group_settled,
    ev.JoinReached: _join_reached,
    ev.VariablesSet: _variables_set,
    ev.EventEmitted: _event_emitted,
    ev.RunSpawned: _run_spawned,
    ev.TemplateOpened: _template_opened,
    ev.ChildRequested: _child_requested,
    ev.ChildEnded: _child_ended,
    ev.ResultJoined: _result_joined,
    ev.Escalated: _escalated,
    ev.EscalationAnswered: _escalation_answered,
    ev.FallbackStarted: _fallback_started,
    ev.StepReassigned: beside.reassigned,
    ev.InputsReplaced: _inputs_replaced,
    ev.FallbackStepStarted: beside.stand_in,
    ev.FallbackStepEnded: _fallback_step_ended,
    ev.CompensationStarted: _compensation_started,
    ev.RunTakenBack: _run_taken_back,
    ev.ManualTaskRequested: _manual_task_requested,
    ev.ManualTaskAnswered: _manual_task_answered,
    ev.MessageSent: mail.sent,
    ev.MessageHandled: mail.handled,
    ev.MessageWithdrawn: mail.withdrawn,
    ev.MessageSuperseded: mail.superseded,
    ev.AuthorityOpened: authority.opened,
    ev.AuthorityRecorded: authority.recorded,
    ev.AuthorityAsked: authority.asked,
    ev.AuthorityAnswered: authority.answered,
    ev.TaskTaken: authority.taken,
}

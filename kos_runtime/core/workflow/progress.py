"""What happens next in a run: everything on its agenda, decided one thing after the other.

Each entry of the agenda is decided at most once: the event that decides it takes it out. What has to wait, for free
hands or for data to be loaded, stays in the agenda and is looked at again when that came.
"""

from collections.abc import Iterable
from math import ceil
from typing import Any, assert_never

from kos_runtime.core.expression import Expression, ExpressionError, NeedsData, evaluate_template
from kos_runtime.core.failure import ErrorType, WorkflowError, failure
from kos_runtime.core.machine import UnknownMachine
from kos_runtime.core.plan import model
from kos_runtime.core.record import INLINE_LIMIT
from kos_runtime.core.workflow import authority
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.asking import ask
from kos_runtime.core.workflow.calling_off import cancel_inside
from kos_runtime.core.workflow.compensating import end_undone, undo
from kos_runtime.core.workflow.delegating import ask as ask_for_authority
from kos_runtime.core.workflow.delegating import close_question, denied, hand_over
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.dispatching import dispatch, dispatch_first, linked, split
from kos_runtime.core.workflow.ending import end_run
from kos_runtime.core.workflow.failing import fail_before_start, stood_in
from kos_runtime.core.workflow.held import BESIDE as QUESTION
from kos_runtime.core.workflow.inlining import close_template, open_template
from kos_runtime.core.workflow.inputs import results_expose
from kos_runtime.core.workflow.machining import close_asked, open_machine, wake
from kos_runtime.core.workflow.mail import BESIDE
from kos_runtime.core.workflow.mastering import conduct, is_leased
from kos_runtime.core.workflow.messaging import close_handler, handle
from kos_runtime.core.workflow.peers import PAXOS, cannot_agree
from kos_runtime.core.workflow.spawning import close_child, request_child
from kos_runtime.core.workflow.state import AGAIN, CLOSE, ENTER, ITEMS, Fan, Run, Scope, StepState
from kos_runtime.core.workflow.status import OVER, RunStatus, StepStatus
from kos_runtime.core.workflow.values import View, is_available
from kos_runtime.core.workflow.voting import conclude, counted, give_to_person, propose
from kos_runtime.core.workflow.waits import begin_waiting

#: A ``for_each`` runs over at most so many items.
MAX_ITEMS = 10_000
#: So much is decided of one run at a time; the rest is left in ``todo``, so that no run holds up the others.
MAX_DECISIONS = 2_048
#: So many attempts of one run start together: agents are at work on these while the next are decided.
MAX_STARTS = 256
#: A run has at most so many steps and bodies, those of past turns and items included. Each takes about a kilobyte.
MAX_PLACES = 500_000


def advance(desk: Desk) -> None:
    """Decide what can be decided now, up to ``MAX_DECISIONS``, and until ``MAX_STARTS`` have started."""
    run = desk.run
    todo = run.todo
    if run.paused is not None or run.cancelling is not None:
        # What there is to decide stays in the agenda.
        todo.clear()
        return
    left = MAX_DECISIONS
    cache = run.cache
    while todo and left and len(desk.dispatches) < MAX_STARTS:
        left -= 1
        path = todo.popleft()
        why = run.agenda.get(path)
        if why is None:
            continue
        if cache.counted:
            cache.begin()
        try:
            if why == ENTER:
                _enter(desk, run.steps[path])
            elif why == AGAIN:
                _again(desk, run.steps[path])
            elif why == ITEMS:
                _items(desk, run.steps[path])
            elif why == CLOSE:
                _close(desk, path)
        except NeedsData:
            desk.starve(path, run.wanted)
            run.wanted = {}


def length_of(run: Run) -> int:
    """Return how long a run may take, in milliseconds: as its workflow says, and the step whose child it is; 0 is for ever."""
    said = [0 if run.program is None else run.program.plan.timeout_ms, run.parent[5] if run.parent is not None else 0]
    return min((length for length in said if length), default=0)


def count_anew(desk: Desk) -> None:
    """Give a run that goes on after its end, or from another's, as long as one that begins."""
    run = desk.run
    length = length_of(run)
    if run.status is RunStatus.RUNNING and (length or run.deadline or run.left_ms):
        desk.emit(ev.DeadlineSet(desk.now + length if length else 0, 0))


def _again(desk: Desk, step: StepState) -> None:
    run = desk.run
    if step.ask_of:
        ask(desk, step)
    elif step.beside == "undo":
        undo(desk, step)
    elif step.beside == BESIDE:
        handle(desk, step)
    elif step.beside == authority.BESIDE:
        ask_for_authority(desk, step)
    elif is_leased(run, step):
        # Its master says who tries it again, and may have said so already.
        run.todo.append(step.path[: step.path.rindex("[")])
    elif step.path in run.machines:
        wake(desk, run.machines[step.path])
    elif step.beside == QUESTION:
        dispatch(desk, step)
    elif step.attempt == 0 and step.index < 0:
        # It failed before it could begin, of its condition or its values: they are computed anew.
        _enter(desk, step)
    elif isinstance(step.node.form, model.Child):
        request_child(desk, step, step.node.form)
    else:
        dispatch(desk, step)


# --- entering -----------------------------------------------------------------------------------


def _enter(desk: Desk, step: StepState) -> None:
    if step.ask_of:
        ask(desk, step)
        return
    if step.beside == "undo":
        undo(desk, step)
        return
    if step.beside == BESIDE:
        handle(desk, step)
        return
    if step.beside == authority.BESIDE:
        ask_for_authority(desk, step)
        return
    if step.beside == QUESTION:
        dispatch(desk, step)
        return
    run, scope, node = desk.run, step.scope, step.node
    if node.is_plain and _are_done_beside(run, scope, node.step.reads):
        dispatch_first(desk, step)
        return
    if step.status is StepStatus.WAITING:
        begin_waiting(desk, step)
        return
    if not step.beside and _is_crowded(scope, step):
        # Also of one that waited for a process since its condition was met: others may have begun meanwhile.
        scope.park(step.path)
        return
    if not step.condition_met:
        for id in node.step.reads:
            if not is_available(run, scope, id):
                desk.emit(ev.StepSkipped(step.path, f"it reads {id}, which has no result"))
                return
        if node.when is not None:
            held = _condition(desk, step, node.when, View(run, scope, step))
            if held is None:
                return
            if not held:
                desk.emit(ev.StepSkipped(step.path, "its condition was false"))
                return
            desk.emit(ev.ConditionMet(step.path))
    form = node.form
    match form:
        case model.Hierarchical():
            hand_over(desk, step, form)
        case model.Action():
            if node.step.spread and step.fan is None:
                _, action = linked(desk, form.agent, form.action)
                if action is not None and action.over:
                    split(desk, step, action)
                    return
            dispatch(desk, step)
        case model.Decision():
            _decide(desk, step, form)
        case model.Loop():
            _turn(desk, step, form, 0)
        case model.ForEach():
            _freeze(desk, step)
        case model.Group():
            desk.emit(ev.GroupOpened(step.path))
        case model.Inlined():
            if full := _is_full(desk):
                _give_up(desk, step, _invalid(step, full), "limit")
            else:
                open_template(desk, step, form)
        case model.Child():
            request_child(desk, step, form)
        case model.SetVariables() | model.Emit() | model.Fail():
            _say(desk, step, form)
        case model.Join():
            desk.emit(ev.JoinReached(step.path))
        case model.Wait() | model.WaitFor() | model.Approval():
            begin_waiting(desk, step)
        case model.Coordination():
            open_machine(desk, step, form)
        case model.OtherForm():
            _give_up(desk, step, failure(ErrorType.PERMANENT, f"{form.name} does not run in this version"), "form")
        case _:
            assert_never(form)


def _are_done_beside(run: Run, scope: Scope, ids: Iterable[str]) -> bool:
    """Say whether steps of the same body have completed: the quick half of ``is_available``."""
    prefix = f"{scope.path}/" if scope.path else ""
    for id in ids:
        step = run.steps.get(prefix + id)
        if step is None or step.status is not StepStatus.COMPLETED:
            return False
    return True


def _is_crowded(scope: Scope, step: StepState) -> bool:
    """Whether a group has as many members at work as it may, by number or by what they hold."""
    owner = scope.owner
    if owner is None or not isinstance(owner.node.form, model.Group) or step.status is not StepStatus.READY:
        return False
    group = owner.node.form
    if group.max_concurrency and scope.active >= group.max_concurrency:
        return True
    if group.resources and scope.active:
        return any(
            scope.held.get(name, 0.0) + step.node.step.resources.get(name, 0.0) > most
            for name, most in group.resources.items()
        )
    return False


def _condition(desk: Desk, step: StepState, expression: Expression, view: View) -> bool | None:
    """Return what a condition says; None when it cannot be told, and the step has failed of it."""
    try:
        value = expression.evaluate(view)
    except ExpressionError as error:
        fail_before_start(desk, step.path, _invalid(step, str(error)))
        return None
    if not isinstance(value, bool):
        fail_before_start(
            desk, step.path, _invalid(step, f"{expression.source!r} is no condition: it gave {value!r:.200}")
        )
        return None
    return value


def _invalid(step: StepState, message: str) -> WorkflowError:
    return failure(ErrorType.VALIDATION, message, step=step.path, recoverable=False)


def _give_up(desk: Desk, step: StepState, error: WorkflowError, rule: str) -> None:
    desk.emit(ev.StepGaveUp(step.path, error.to_plain(), rule))


def _say(desk: Desk, step: StepState, form: model.SetVariables | model.Emit | model.Fail) -> None:
    """Run a step that is over as soon as its values are known."""
    view = View(desk.run, step.scope, step)
    node = step.node
    try:
        match form:
            case model.SetVariables():
                values = {name: evaluate_template(value, view) for name, value in (node.values or {}).items()}
                size = len(desk.run.codec.pack(values))
                if size > INLINE_LIMIT:
                    message = f"the variables that {step.path} sets are oversize: {size} bytes, at most {INLINE_LIMIT}"
                    fail_before_start(desk, step.path, _invalid(step, message))
                    return
                desk.emit(ev.VariablesSet(step.path, values))
            case model.Emit():
                data = None if node.value is None else evaluate_template(node.value, view)
                size = len(desk.run.codec.pack(data))
                if size > INLINE_LIMIT:
                    message = f"the data that {step.path} emits are oversize: {size} bytes, at most {INLINE_LIMIT}"
                    fail_before_start(desk, step.path, _invalid(step, message))
                    return
                desk.emit(ev.EventEmitted(step.path, form.event, data))
            case model.Fail():
                message = "" if node.value is None else str(evaluate_template(node.value, view))
                error = failure(ErrorType(form.error), message, step=step.path, recoverable=False)
                _give_up(desk, step, error, "fail")
            case _:
                assert_never(form)
    except (ExpressionError, ValueError) as error:
        fail_before_start(desk, step.path, _invalid(step, str(error)))


def _decide(desk: Desk, step: StepState, form: model.Decision) -> None:
    value: Any = None
    reason = ""
    assert step.node.condition is not None
    try:
        value = step.node.condition.evaluate(View(desk.run, step.scope, step))
        if value is not None and not isinstance(value, bool):
            reason, value = f"the condition gave {value!r:.200}", None
    except ExpressionError as error:
        reason = str(error)
    if value is None:
        if form.default_path is None:
            why = reason or "the condition is null"
            fail_before_start(desk, step.path, _invalid(step, f"{why}, and there is no default_path"))
            return
        branch, path = "default_path", form.default_path
    elif value:
        branch, path = "true_path", form.true_path
    else:
        branch, path = "false_path", form.false_path
    again = [id for id in path if step.scope.step_path(id) in desk.run.steps or id in step.scope.follow]
    if again:
        message = f"{branch} names {', '.join(again)}, which has run already or is next on another path"
        fail_before_start(desk, step.path, _invalid(step, message))
        return
    desk.emit(ev.DecisionTaken(step.path, value, branch, list(path), reason))


def _turn(desk: Desk, step: StepState, form: model.Loop, turn: int) -> None:
    """Begin a loop's next turn, or end it."""
    if step.node.condition is not None:
        view = View(desk.run, step.scope, step, turn=turn)
        held = _condition(desk, step, step.node.condition, view)
        if held is None:
            return
        if not held:
            desk.emit(ev.LoopEnded(step.path, turn, "condition"))
            return
    if turn < form.max_iterations and (full := _is_full(desk)):
        _give_up(desk, step, _invalid(step, full), "limit")
    elif turn < form.max_iterations:
        desk.emit(ev.TurnStarted(step.path, turn))
    elif form.on_exhausted == "continue":
        desk.emit(ev.LoopEnded(step.path, turn, "exhausted"))
    else:
        message = f"{step.path} is exhausted after {turn} turns"
        _give_up(desk, step, failure(ErrorType.PERMANENT, message, step=step.path), "on_exhausted")


def _is_full(desk: Desk) -> str:
    """Say that the run may begin no further body, or nothing when it may."""
    count = len(desk.run.steps) + len(desk.run.scopes)
    return "" if count < MAX_PLACES else f"limit_exceeded: the run has {count} steps and turns, at most {MAX_PLACES}"


# --- fans ---------------------------------------------------------------------------------------


def _freeze(desk: Desk, step: StepState) -> None:
    assert step.node.value is not None
    problem = ""
    try:
        items: Any = evaluate_template(step.node.value, View(desk.run, step.scope, step))
        if not isinstance(items, list):
            problem = f"{step.path} runs over {items!r:.100}, which is no array"
        elif len(items) > MAX_ITEMS:
            problem = f"limit_exceeded: {step.path} runs over {len(items)} items, at most {MAX_ITEMS}"
        packed, blob = desk.pack_large(items, INLINE_LIMIT)
    except (ExpressionError, ValueError) as error:
        problem = str(error)
    if problem:
        fail_before_start(desk, step.path, _invalid(step, problem))
        return
    if isinstance(step.node.form, model.ForEach) and step.node.form.consensus is not None:
        propose(desk, step, step.node.form.consensus)
    desk.emit(ev.ItemsFrozen(step.path, len(items), packed or b"", [blob.digest, blob.size] if blob else None))
    assert step.fan is not None
    if blob is None:
        step.fan.values = items
    else:
        desk.run.cache.put(blob.digest, blob.size, items)


def _items(desk: Desk, step: StepState) -> None:
    """Judge failures, start what there is room for, join when all are over."""
    fan = step.fan
    assert fan is not None
    if fan.failures and _is_lost(step, fan):
        cancel_inside(desk, step.path, "a neighbour failed")
        index, kind, message = fan.failures[0]
        what = "part" if fan.parts else "item"
        error = failure(ErrorType(kind), f"{what} {index} failed: {message}", step=step.path, failed=len(fan.failures))
        _give_up(desk, step, error, "on_item_failure")
        return
    if step.node.step.master is not None:
        before = len(fan.failures)
        if fan.is_through():
            _join(desk, step, fan)
        elif conduct(desk, step, step.node.step.master) and (fan.is_through() or len(fan.failures) > before):
            desk.run.todo.append(step.path)
        return
    body = step.node.body if isinstance(step.node.form, model.ForEach) else None
    while fan.has_room():
        if len(desk.dispatches) >= MAX_STARTS:
            desk.run.todo.append(step.path)
            return
        if body is not None:
            full = _is_full(desk)
            if full:
                cancel_inside(desk, step.path, "limit_exceeded")
                _give_up(desk, step, _invalid(step, full), "limit")
                return
            desk.emit(ev.ItemStarted(step.path, fan.upcoming))
        elif not dispatch_first(desk, step, fan.upcoming):
            if step.node.seats:
                # The peers that have their places may come to a decision without the others.
                break
            return
        if fan.failures:
            # An item failed before it could start: judged at the next look.
            return
    if isinstance(step.node.form, model.ForEach) and step.node.form.consensus is not None:
        _count(desk, step, fan, step.node.form.consensus)
    elif fan.is_over():
        _join(desk, step, fan)


def _count(desk: Desk, step: StepState, fan: Fan, form: model.Consensus) -> None:
    """Count what there is of ballots; once nothing that is still to come can change the outcome, ask nobody any more."""
    try:
        found = counted(desk, step, fan, form)
    except UnknownMachine as error:
        cancel_inside(desk, step.path, "nobody can count")
        _give_up(desk, step, failure(ErrorType.RESOURCE, str(error), step=step.path), "machine")
        return
    if found is not None:
        cancel_inside(desk, step.path, "the vote is settled")
        conclude(desk, step, form, *found)
    elif form.agreement == PAXOS and cannot_agree(fan, form):
        cancel_inside(desk, step.path, "no majority is left")
        give_to_person(desk, step, form, fan)


def _is_lost(step: StepState, fan: Fan) -> bool:
    form = step.node.form
    if not isinstance(form, model.ForEach) or form.on_item_failure == "fail_fast":
        return True
    if form.on_item_failure == "quorum":
        return len(fan.failures) > fan.count - ceil(form.quorum * fan.count - 1e-9)
    return False


def _join(desk: Desk, step: StepState, fan: Fan) -> None:
    if fan.parts and fan.results and step.node.step.outputs is not None:
        for name, key in step.node.step.outputs:
            field = key.partition(".")[0]
            if key != "$result" and not results_expose(desk.run, step, field):
                message = f"the result of {step.path} has no {field!r}, which its output {name!r} needs"
                _give_up(desk, step, failure(ErrorType.VALIDATION, message, step=step.path), "outputs")
                return
    failed = len(fan.failures)
    desk.emit(ev.ItemsJoined(step.path, fan.count - failed - len(fan.skipped), failed))


# --- closing ------------------------------------------------------------------------------------


def _close(desk: Desk, path: str) -> None:
    run = desk.run
    if path == "" and run.undoing is not None:
        end_undone(desk)
        return
    if path == "":
        scope = run.scopes[""]
        if scope.gave_up is not None:
            cancel_inside(desk, "", "the run failed")
        elif run.mail is not None and run.mail.is_busy:
            # What was said is processed before the run ends; the last handler brings this up again.
            return
        end_run(desk)
        return
    item = run.scopes.get(path)
    if item is not None and item.item >= 0:
        _close_item(desk, item)
        return
    step = run.steps[path]
    form = step.node.form
    if step.status is StepStatus.FALLBACK:
        stood_in(desk, step)
        return
    if step.beside == BESIDE:
        close_handler(desk, step)
        return
    if step.beside == authority.BESIDE:
        close_question(desk, step)
        return
    if run.authority is not None and step.status is StepStatus.FAILING:
        denied(desk, step)
        return
    if step.beside == QUESTION:
        close_asked(desk, step)
        return
    match form:
        case model.Decision():
            desk.emit(ev.DecisionEnded(path))
        case model.Loop():
            _close_turn(desk, step, form)
        case model.Group():
            _close_group(desk, step, form)
        case model.Inlined():
            _close_template(desk, step, form)
        case model.Child():
            close_child(desk, step)
        case _:
            raise AssertionError(f"nothing closes {path}")


def _error_of(desk: Desk, scope: Scope) -> dict[str, Any]:
    assert scope.gave_up is not None
    return desk.run.steps[scope.gave_up].error or {}


def _close_item(desk: Desk, scope: Scope) -> None:
    owner = scope.owner
    assert owner is not None
    error = None
    if scope.gave_up is not None:
        cancel_inside(desk, scope.path, f"{scope.gave_up} failed")
        error = _error_of(desk, scope)
    desk.emit(ev.ItemEnded(owner.path, scope.item, error))


def _close_turn(desk: Desk, step: StepState, form: model.Loop) -> None:
    scope = desk.run.scopes[f"{step.path}#{step.turn}"]
    if scope.gave_up is not None:
        cancel_inside(desk, scope.path, f"{scope.gave_up} failed")
        desk.emit(ev.StepGaveUp(step.path, _error_of(desk, scope), "body"))
        return
    for expression, reason in step.node.breaks:
        held = _condition(desk, step, expression, View(desk.run, scope, None))
        if held is None:
            return
        if held:
            desk.emit(ev.LoopEnded(step.path, step.turn + 1, f"break: {reason}"))
            return
    _turn(desk, step, form, step.turn + 1)


def _close_group(desk: Desk, step: StepState, form: model.Group) -> None:
    run = desk.run
    scope = run.scopes[step.path]
    members = list(scope.body.nodes)
    states = [run.steps.get(scope.step_path(id)) for id in members]
    done = sum(s is not None and s.status in {StepStatus.COMPLETED, StepStatus.SKIPPED} for s in states)
    match form.sync:
        case "any":
            needed = 1
        case "count":
            needed = form.count
        case "quorum":
            needed = ceil(form.quorum * len(members) - 1e-9)
        case _:
            needed = len(members)
    if done >= min(needed, len(members)):
        late = [id for id, s in zip(members, states, strict=True) if s is None or s.status not in OVER]
        cancel_inside(desk, step.path, "the group is settled")
        desk.emit(ev.GroupSettled(step.path, done, late))
    elif scope.gave_up is not None:
        cancel_inside(desk, step.path, f"{scope.gave_up} failed")
        desk.emit(ev.StepGaveUp(step.path, _error_of(desk, scope), "member"))
    elif scope.remaining == 0:
        message = f"{step.path}: {done} members are done, {needed} are needed"
        _give_up(desk, step, failure(ErrorType.PERMANENT, message, step=step.path), "sync")


def _close_template(desk: Desk, step: StepState, form: model.Inlined) -> None:
    scope = desk.run.scopes[step.path]
    if scope.gave_up is not None:
        cancel_inside(desk, step.path, f"{scope.gave_up} failed")
        desk.emit(ev.StepGaveUp(step.path, _error_of(desk, scope), "template"))
        return
    close_template(desk, step, form)

"""An attempt goes to an agent: its inputs, its number, its fence."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from kos_runtime.core.expression import ExpressionError, NeedsData, evaluate_template
from kos_runtime.core.failure import ErrorType, failure
from kos_runtime.core.identity import idempotency_key
from kos_runtime.core.invocation import Gather, Invocation
from kos_runtime.core.machine import UnknownMachine
from kos_runtime.core.plan.link import ActionLink, AgentLink
from kos_runtime.core.plan.model import Action, Child, ForEach, Inlined
from kos_runtime.core.record import INLINE_LIMIT
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow import stored
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.failing import fail_before_start
from kos_runtime.core.workflow.granting import refused
from kos_runtime.core.workflow.inputs import Inputs, compute, compute_names
from kos_runtime.core.workflow.peers import agreement_of, apart_from, told
from kos_runtime.core.workflow.reusing import may_take, result_key, take_kept
from kos_runtime.core.workflow.sparing import BESIDE as SPARE
from kos_runtime.core.workflow.state import Run, StepState
from kos_runtime.core.workflow.values import View, blob_value

#: Inputs are shown to whom a failure is escalated up to so many bytes.
MAX_SHOWN = 8_192
#: Characters of a key that a step gives itself.
MAX_KEY = 512
#: How many parts a spread step is cut into at most; more items share a part.
MAX_PARTS = 256


def names_of(step: StepState) -> tuple[str, str]:
    """Return the agent's name in the definition and the action that this step's next attempt calls."""
    form: Any = step.node.form
    return step.instead or form.agent, step.action or form.action


def linked(desk: Desk, agent: str, action: str) -> tuple[AgentLink, ActionLink | None]:
    assert desk.run.link is not None
    found = desk.run.link.agents[agent]
    return found, found.actions.get(action)


def dispatch_first(desk: Desk, step: StepState, index: int = -1, *, lease: int = 0) -> bool:
    """Do what ``dispatch`` does, without ceremony for the first attempt of most steps and items."""
    run, node = desk.run, step.node
    form: Any = node.form
    assert run.link is not None
    agent = run.link.agents[form.agent]
    action = agent.actions.get(form.action)
    path = step.path if index < 0 else f"{step.path}[{index}]"
    is_first = step.fence == 0 and step.inputs is None if index < 0 else path not in run.steps
    if (
        node.names is None
        or not is_first
        or step.given
        or step.beside
        or step.instead
        or step.then
        or (action is not None and action.isolated)
    ):
        return dispatch(desk, step, index, has_room=lease > 0, lease=lease)
    if not lease and not desk.pools.has_room(agent.pool, run.id, step.path):
        return _waits(desk, step, agent.pool)
    values = compute_names(run, step, node.names, index)
    packed = b"" if values is None else run.codec.pack(values)
    if values is None or len(packed) > INLINE_LIMIT:
        return dispatch(desk, step, index, has_room=True, lease=lease)
    timeout = node.step.timeout_ms
    fence = run.fences + (lease or 1)
    process = desk.pools.take(run.id, path, fence, timeout)
    record = None if node.inputs_are_stable else packed
    desk.emit(ev.StepScheduled(path, 1, fence, process, timeout, sha256(packed).digest()[:16], record, None))
    key = idempotency_key(run.store_id, run.id, path, run.generation)
    # By place: naming fifteen fields takes as long as all that is computed here.
    made = (run.id, path, 1, fence, desk.epoch, form.agent, form.action, packed, timeout, key)
    desk.dispatches.append((process, Invocation(*made, (), node.outputs)))
    return True


def dispatch(desk: Desk, step: StepState, index: int = -1, *, has_room: bool = False, lease: int = 0) -> bool:
    """Start the next attempt of a step, or of one item of it, if its pool has hands free.

    ``lease``: it is given out under this lease of a master, which numbers its fences.

    Returns:
        Whether there is nothing left to wait for: it was started, or failed before it could be.
    """
    run = desk.run
    path = step.path if index < 0 else f"{step.path}[{index}]"
    agent_name, action_name = names_of(step)
    agent, action = linked(desk, agent_name, action_name)
    sought = "" if step.node.step.cache is None or step.beside else _sought(desk, step, index, path)
    if sought is None or (sought and may_take(run, step) and take_kept(desk, step, path, sought)):
        return True
    # What must not be repeated shares no process either: it would break off with whatever ends that.
    if step.node.seats:
        return _seat(desk, step, index, path, agent, action)
    alone = step.kills > 0 or (action is not None and action.isolated) or step.node.step.delivery == "at_most_once"
    assert run.program is not None
    plan = run.program.plan
    priority = plan.priority + step.node.step.priority
    if plan.limit is not None and not desk.pools.admits(run.id, step.path, plan.limit, len(run.open), priority):
        return _waits(desk, step, run.id, len(run.open))
    if not has_room and not desk.pools.has_room(
        agent.pool, run.id, step.path, alone=alone, avoid=step.avoid, priority=priority
    ):
        return _waits(desk, step, agent.pool)
    own_index, at, owner = _place(run, step, index, path)
    try:
        found = _inputs(desk, owner, at, own_index, action)
        whole = run.codec.pack(found.values)
        packed, blob = (whole, None) if len(whole) <= INLINE_LIMIT else (None, desk.put_blob(whole))
        key = key_of(run, owner, step.of if step.beside == SPARE else path, own_index)
    except (ExpressionError, ValueError) as error:
        message = f"the inputs of {path}: {error}"
        fail_before_start(desk, path, failure(ErrorType.VALIDATION, message, step=path, recoverable=False))
        return True
    if step.node.authority and not _is_allowed(desk, step, owner, own_index, path):
        return True
    attempt = 1 if at is None else at.attempt + (at.then != "redispatch")
    fence = run.fences + lease if lease else max(0 if at is None else at.fence, run.fences) + 1
    model = step.node.step
    process = desk.pools.take(run.id, path, fence, model.timeout_ms, alone=alone, heartbeat_ms=model.heartbeat_ms)
    part = (owner.fan is not None and owner.fan.parts) or (step.beside == "stand_in" and is_part(run, step.of))
    record = not owner.node.inputs_are_stable and not part and (attempt == 1 or _has_none(at))
    if sought and run.sought.get(path) != sought:
        desk.emit(ev.ResultSought(path, sought))
    desk.emit(
        ev.StepScheduled(
            path,
            attempt,
            fence,
            process,
            step.node.step.timeout_ms,
            input_digest(packed, blob.digest if blob else "", found.gathers),
            packed if record else None,
            [blob.digest, blob.size] if record and blob is not None else None,
        )
    )
    desk.dispatches.append(
        (
            process,
            Invocation(
                run=run.id,
                path=path,
                attempt=attempt,
                fence=fence,
                epoch=desk.epoch,
                agent=agent_name,
                action=action_name,
                inputs=packed or b"",
                timeout_ms=step.node.step.timeout_ms,
                key=key,
                gathers=found.gathers,
                outputs=owner.node.outputs,
                lenient=owner.node.step.inputs is None,
                part=part,
                inputs_blob=blob,
                heartbeat_ms=model.heartbeat_ms,
            ),
        )
    )
    return True


def _is_allowed(desk: Desk, step: StepState, owner: StepState, index: int, path: str) -> bool:
    """Record under which grants an attempt starts; if there are none, it has failed."""
    grant = step.delegation[2] if step.delegation else ""
    try:
        problem = refused(desk, step if step.beside else owner, index, path, names_of(step)[0], grant)
    except (ExpressionError, ValueError) as error:
        problem = failure(ErrorType.VALIDATION, f"{path}: {error}", step=path, recoverable=False)
    except UnknownMachine as error:
        problem = failure(ErrorType.RESOURCE, str(error), step=path)
    if problem is not None:
        fail_before_start(desk, path, problem)
    return problem is None


def _seat(desk: Desk, step: StepState, index: int, path: str, agent: AgentLink, action: ActionLink | None) -> bool:
    """Give a peer a place in a process apart from the others'. Its agent is asked there."""
    run = desk.run
    own_index, at, owner = _place(run, step, index, path)
    vote = agreement_of(owner)
    assert vote is not None
    assert run.program is not None
    fence = max(0 if at is None else at.fence, run.fences) + 1
    apart = apart_from(run, owner.path, len(vote.electors))
    priority = run.program.plan.priority + step.node.step.priority
    try:
        found = _inputs(desk, owner, at, own_index, action)
        whole = run.codec.pack(found.values)
        packed, blob = (whole, None) if len(whole) <= INLINE_LIMIT else (None, desk.put_blob(whole))
        key = key_of(run, owner, step.of if step.beside == SPARE else path, own_index)
    except (ExpressionError, ValueError) as error:
        message = f"the inputs of {path}: {error}"
        fail_before_start(desk, path, failure(ErrorType.VALIDATION, message, step=path, recoverable=False))
        return True
    process = desk.pools.seat(agent.pool, run.id, owner.path if at is None else path, path, fence, apart, priority)
    if not process:
        return False
    if step.node.authority and not _is_allowed(desk, step, owner, own_index, path):
        desk.pools.unseat(process, run.id, path, fence)
        return True
    attempt = 1 if at is None else at.attempt + (at.then != "redispatch")
    record = not owner.node.inputs_are_stable and (attempt == 1 or _has_none(at))
    digest = input_digest(packed, blob.digest if blob else "", found.gathers)
    recorded = packed if record else None, [blob.digest, blob.size] if record and blob is not None else None
    desk.emit(ev.StepScheduled(path, attempt, fence, process, 0, digest, *recorded))
    agent_name, action_name = names_of(step)
    desk.dispatches.append(
        (
            process,
            Invocation(
                run=run.id,
                path=path,
                attempt=attempt,
                fence=fence,
                epoch=desk.epoch,
                agent=agent_name,
                action=action_name,
                inputs=packed or b"",
                timeout_ms=step.node.step.timeout_ms,
                key=key,
                gathers=found.gathers,
                lenient=owner.node.step.inputs is None,
                inputs_blob=blob,
                heartbeat_ms=step.node.step.heartbeat_ms,
                peer=told(run.codec, run, owner.path, own_index, vote, desk.now),
            ),
        )
    )
    return True


def _waits(desk: Desk, step: StepState, whose: str, running: int = -1) -> bool:
    """A step cannot start yet; if a limit is why, whoever looks at the run is told so. Returns False."""
    held = desk.pools.held_back(whose, running)
    if held is not None and desk.run.held.get(step.path) != step.fence:
        desk.emit(ev.StepHeldBack(step.path, step.fence, *held))
    return False


def _place(run: Run, step: StepState, index: int, path: str) -> tuple[int, StepState | None, StepState]:
    """Return which item an attempt is for, the state of that, and of the step that it belongs to."""
    own_index = index if index >= 0 else step.index
    if own_index < 0:
        return own_index, step, step
    owner = run.steps[step.path[: step.path.rindex("[")]] if step.index >= 0 else step
    return own_index, run.steps.get(path), owner


def _sought(desk: Desk, step: StepState, index: int, path: str) -> str | None:
    """Return under which key a step's result is kept; None when that cannot be told, and the step has failed of it."""
    run = desk.run
    agent_name, action_name = names_of(step)
    agent, action = linked(desk, agent_name, action_name)
    own_index, at, owner = _place(run, step, index, path)
    try:
        if owner.node.cache_key is not None:
            value = evaluate_template(owner.node.cache_key, View(run, owner.scope, owner, index=own_index))
            given = run.codec.pack(value)
        else:
            found = _inputs(desk, owner, at, own_index, action)
            given = input_digest(run.codec.pack(found.values), "", found.gathers)
    except (ExpressionError, ValueError) as error:
        message = f"what the result of {path} is kept under: {error}"
        fail_before_start(desk, path, failure(ErrorType.VALIDATION, message, step=path, recoverable=False))
        return None
    return result_key(run, owner, agent, action, action_name, given)


def _has_none(step: StepState | None) -> bool:
    """Say whether a further attempt has no recorded inputs: what it is given was changed since the first."""
    return step is not None and step.inputs is None and step.inputs_blob is None


def is_part(run: Run, path: str) -> bool:
    if run.steps[path].index < 0:
        return False
    fan = run.steps[path[: path.rindex("[")]].fan
    return fan is not None and fan.parts


def key_of(run: Run, owner: StepState, path: str, index: int) -> str:
    """Return the idempotency key that every attempt of a step carries, of an item or part when ``index`` is not negative.

    Raises:
        ExpressionError, ValueError: The step gives itself one that is none.
    """
    if owner.node.key is None:
        return idempotency_key(run.store_id, run.id, path, run.generation)
    key = _own_key(evaluate_template(owner.node.key, View(run, owner.scope, owner, index=index)))
    # Parts are different work, whatever their step calls itself.
    return f"{key}[{index}]" if owner.fan is not None and owner.fan.parts else key


def _own_key(value: Any) -> str:
    """Return the key that a step gives itself.

    Raises:
        ValueError: It is no text or number, or too long.
    """
    if type(value) not in {str, int} or not 0 < len(str(value)) <= MAX_KEY:
        raise ValueError(
            f"the idempotency_key is {value!r:.80}; it is a text of 1 to {MAX_KEY} characters, or an integer"
        )
    return str(value)


def input_digest(packed: bytes | None, blob: str, gathers: Sequence[Gather] = ()) -> bytes:
    if not gathers and packed is not None:
        return sha256(packed).digest()[:16]
    hashed = sha256(packed if packed is not None else blob.encode())
    for gather in gathers:
        hashed.update(repr((gather.place, gather.mode, gather.cut)).encode())
        for piece in gather.pieces:
            hashed.update(piece.secret.encode())
            hashed.update(
                piece.packed if piece.packed is not None else piece.blob.digest.encode() if piece.blob else b""
            )
    return hashed.digest()[:16]


def _inputs(desk: Desk, owner: StepState, at: StepState | None, index: int, action: ActionLink | None) -> Inputs:
    """Compute inputs; those that were recorded at the first attempt are taken as they were."""
    run = desk.run
    if at is not None and at.replaced:
        found = Inputs()
        found.values = recorded_inputs(desk, at)
        return found
    if owner.beside == "stand_in" and owner.node.inputs is None:
        # It is given what the step was given that it stands in for.
        failed = run.steps[owner.of]
        around = run.steps[owner.of[: owner.of.rindex("[")]] if failed.index >= 0 else failed
        return _inputs(desk, around, failed, failed.index, action)
    fan = owner.fan
    found = Inputs() if owner.given else compute(run, owner, action, index)
    recorded = owner if fan is not None and fan.parts else at
    if recorded is not None and (recorded.inputs is not None or recorded.inputs_blob is not None):
        found.values = recorded_inputs(desk, recorded)
    if fan is not None and fan.parts:
        _cut(found, fan.over, fan.bounds[index], fan.bounds[index + 1])
    return found


def given_to(desk: Desk, step: StepState) -> dict[str, Any]:
    """Return what the step was given that a template or a workflow stands in for, every value of it loaded.

    Raises:
        ExpressionError, ValueError: It cannot be told, or holds a secret.
        NeedsData: A value lies in a blob that is not loaded.
    """
    run = desk.run
    failed = run.steps[step.of]
    owner = run.steps[step.of[: step.of.rindex("[")]] if failed.index >= 0 else failed
    match owner.node.form:
        case Action() | ForEach():
            agent_name, action_name = names_of(failed)
            action = linked(desk, agent_name, action_name)[1]
            found = _inputs(desk, owner, failed, failed.index, action)
            for gather in found.gathers:
                _put_loaded(desk, found.values, gather)
            return found.values
        case Child():
            view = View(run, owner.scope, owner)
            return {name: evaluate_template(value, view) for name, value in (owner.node.values or {}).items()}
        case Inlined() if owner.inputs is not None or owner.inputs_blob is not None:
            return recorded_inputs(desk, owner)
        case _:
            return {}


def _put_loaded(desk: Desk, values: dict[str, Any], gather: Gather) -> None:
    name = ".".join(map(str, gather.place))
    if any(piece.secret for piece in gather.pieces):
        raise ValueError(f"{name} holds a secret, which is handed to an action only")
    value = _gathered_array(desk, gather)
    at: Any = values
    for key in gather.place[:-1]:
        at = at[key]
    at[gather.place[-1]] = value if gather.cut is None else value[gather.cut[0] : gather.cut[1]]


def inputs_now(desk: Desk, step: StepState) -> Any:
    """Return what a step's attempt is given, for someone to look at; null where it is large or cannot be known here."""
    form = step.node.form
    if not isinstance(form, Action | ForEach) or step.fan is not None:
        return None
    owner = desk.run.steps[step.path[: step.path.rindex("[")]] if step.index >= 0 else step
    agent_name, action_name = names_of(step)
    try:
        values = _inputs(desk, owner, step, step.index, linked(desk, agent_name, action_name)[1]).values
        return values if len(desk.run.codec.pack(values)) <= MAX_SHOWN else None
    except (ExpressionError, ValueError, NeedsData):
        desk.run.wanted = {}
        return None


def recorded_inputs(desk: Desk, step: StepState) -> dict[str, Any]:
    values: dict[str, Any]
    if step.inputs_blob is not None:
        values = blob_value(desk.run, step.inputs_blob)
    else:
        values = desk.run.codec.unpack(step.inputs or b"")
    return dict(values)


def _cut(found: Inputs, over: str, begin: int, end: int) -> None:
    """Leave of the array at ``over`` the slice of one part."""
    place = tuple(over.split("."))
    for gather in found.gathers:
        if gather.place == place:
            gather.cut = (begin, end)
            return
    at: Any = found.values
    for key in place[:-1]:
        at[key] = dict(at[key])
        at = at[key]
    at[place[-1]] = at[place[-1]][begin:end]


def split(desk: Desk, step: StepState, action: ActionLink) -> None:
    """Spread a step: decide into which parts its array is cut."""
    over = action.over or ""
    place = tuple(over.split("."))
    try:
        found = _inputs(desk, step, step, -1, action)
    except (ExpressionError, ValueError) as error:
        fail_before_start(desk, step.path, failure(ErrorType.VALIDATION, str(error), step=step.path, recoverable=False))
        return
    count = found.lengths.get(place)
    if count is None:
        at: Any = found.values
        for key in place:
            at = at.get(key) if isinstance(at, dict) else None
        if not isinstance(at, list):
            gathered = next((g for g in found.gathers if g.place == place), None)
            if gathered is not None:
                at = _gathered_array(desk, gathered)
        if not isinstance(at, list):
            message = f"{step.path} is spread over {over!r}, which is no array in its inputs"
            fail_before_start(
                desk, step.path, failure(ErrorType.VALIDATION, message, step=step.path, recoverable=False)
            )
            return
        count = len(at)
    parts = min(count, MAX_PARTS)
    bounds = [count * i // parts for i in range(parts + 1)] if parts else [0]
    record = step.given or not step.node.inputs_are_stable
    try:
        packed, blob = desk.pack_large(found.values, INLINE_LIMIT) if record else (None, None)
    except ValueError as error:
        message = f"the inputs of {step.path}: {error}"
        fail_before_start(desk, step.path, failure(ErrorType.VALIDATION, message, step=step.path, recoverable=False))
        return
    desk.emit(ev.PartsSplit(step.path, over, bounds, packed, [blob.digest, blob.size] if blob else None))


def _gathered_array(desk: Desk, gather: Gather) -> Any:
    """Load what a gather would bring."""
    if any(piece.secret for piece in gather.pieces):
        return None
    blobs = [(piece.blob.digest, piece.blob.size) for piece in gather.pieces if piece.blob is not None]
    stored.want(desk.run, f"what {'.'.join(map(str, gather.place))} is made of", blobs)
    joined: list[Any] = []
    for piece in gather.pieces:
        value = desk.run.codec.unpack(piece.packed) if piece.packed is not None else blob_value(desk.run, piece.blob)  # type: ignore[arg-type]
        for key in piece.path:
            value = value[key]
        if gather.mode == "one":
            return value
        joined.extend(value if gather.mode == "concat" else [value])
    return joined

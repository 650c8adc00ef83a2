"""Going on from an earlier point: as a run of its own, or in place.

Both take the recorded events up to that point once more, as events of their own, so that what follows stands on nothing
but the run's own log. What was open at that point is done again, by the run that takes over; what was completed by then
is not.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from kos_runtime.core.nearest import nearest
from kos_runtime.core.record import INLINE_LIMIT
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.authority import RESTORED as AS_BEFORE
from kos_runtime.core.workflow.beside import RESTORED
from kos_runtime.core.workflow.calling_off import cancel_inside
from kos_runtime.core.workflow.commands import Accepted, ForkRun, Rejected, RestoreRun
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.evolve import evolve
from kos_runtime.core.workflow.progress import advance, count_anew
from kos_runtime.core.workflow.spawning import StopChild
from kos_runtime.core.workflow.state import FENCES_A_LIFE, Run
from kos_runtime.core.workflow.status import RunStatus, StepStatus
from kos_runtime.core.workflow.taken_over import is_fresh
from kos_runtime.core.workflow.values import linked_action

#: (position, events) of a run's records, in order.
History = Sequence[tuple[int, list[Any]]]

#: Nothing can follow these, apart from what reopens a run.
_ENDS = (ev.RunCompleted, ev.RunFailed, ev.RunCancelled, ev.RunQuarantined)
_GIVEN = (ev.StepCompleted, ev.ResultReused, ev.ManualTaskAnswered)


def refusal(history: History, run: str, at: int) -> Rejected | None:
    """Refuse a point that a history does not have."""
    last = history[-1][0] if history else 0
    if not 1 <= at <= last:
        return Rejected(code="not_found", message=f"run {run} has no event {at}: its seqs are 1 to {last}")
    return None


def at_the_end(events: Sequence[Any], run: str, at: int) -> Rejected | None:
    """Refuse to go on from an end, or from where a run was about to be restored to a point of its own."""
    if any(isinstance(event, ev.RunTakenBack) for event in events):
        what = f"at seq {at} run {run} was being taken back; choose a seq before that, or behind its RunRestored"
        return Rejected(code="invalid", message=what)
    if not isinstance(events[-1], _ENDS):
        return None
    what = f"at seq {at} run {run} has ended ({type(events[-1]).__name__}): there is nothing to go on with"
    return Rejected(code="invalid", message=what + (f"; choose an earlier one, such as {at - 1}" if at > 1 else ""))


def taken(history: History, at: int, changed: Iterable[str] = ()) -> tuple[list[Any], list[Any]]:
    """Return the events up to a point, and those behind it.

    A decision that completed one of the ``changed`` steps is taken up to there: what it went on to decide, it decided by
    the result that is to be changed.
    """
    before = [event for position, events in history if position < at for event in events]
    here = history[at - 1][1]
    changed = set(changed)
    cut = max((n for n, event in enumerate(here, 1) if isinstance(event, _GIVEN) and event.path in changed), default=0)
    cut = cut or len(here)
    before += here[:cut]
    after = [*here[cut:], *(event for position, events in history if position > at for event in events)]
    return _since_restored(before), after


def _since_restored(events: list[Any]) -> list[Any]:
    """Leave out what a restore took back: it has taken again whatever it kept."""
    begun = max((n for n, event in enumerate(events) if isinstance(event, ev.RestoreBegun)), default=-1)
    if begun < 0:
        return events
    return [*(e for e in events[:begun] if isinstance(e, ev.RunCreated | ev.RunLinked)), *events[begun + 1 :]]


def acted_since(run: Run, after: Iterable[Any]) -> list[str]:
    """Return the steps that were at work at a point, and those that were given out behind it, each once."""
    return list(dict.fromkeys((*run.open, *run.children, *_given_out(after))))


def _given_out(events: Iterable[Any]) -> Iterator[str]:
    """Yield the steps that were given to agents, without what a restore only took again."""
    real = True
    for event in events:
        if isinstance(event, ev.RestoreBegun | ev.RunRestored):
            real = isinstance(event, ev.RunRestored)
        elif real and isinstance(event, ev.StepScheduled | ev.ChildRequested):
            yield event.path


# --- as a run of its own --------------------------------------------------------------------------


def fork(desk: Desk, command: ForkRun, history: History, its_hash: bytes) -> Accepted | Rejected:
    """Make a run of what another one had recorded up to a point, and let it go on under its own name and keys."""
    refused = refusal(history, command.parent, command.at)
    if refused is not None:
        return refused
    events, after = taken(history, command.at, [path for path, _, _ in command.changes])
    refused = at_the_end(events, command.parent, command.at)
    if refused is not None:
        return refused
    run = desk.run
    for event in events:
        if isinstance(event, ev.RunCreated):
            desk.emit(
                ev.RunCreated(
                    event.workflow, event.version, command.name, event.plan, "", event.inputs, event.inputs_blob,
                    event.seed, command.by,
                )
            )  # fmt: skip
        elif not isinstance(event, ev.RunSpawned):
            # It stands in for no step of another run.
            desk.emit(event)
    again = acted_since(run, after)
    changes: list[Any] = []
    for path, name, value in command.changes:
        problem = _change(desk, changes, path, name, value, command)
        if problem is not None:
            return problem
    desk.emit(ev.RunForked(command.parent, command.at, its_hash, command.by, command.reason, again))
    for change in changes:
        desk.emit(change)
    count_anew(desk)
    if run.status is RunStatus.RUNNING:
        run.todo.extend(run.agenda)
        advance(desk)
    return Accepted(run=run.id, event="RunForked")


def _change(desk: Desk, changes: list[Any], path: str, name: str, value: Any, command: ForkRun) -> Rejected | None:
    """Prepare another result of a step in place of what was recorded."""
    run = desk.run
    step = run.steps.get(path)
    whole = f"steps.{path}.{name}"
    if step is None or step.status is not StepStatus.COMPLETED:
        done = [p for p, s in run.steps.items() if s.status is StepStatus.COMPLETED]
        near = nearest(path, done)
        hint = f"; did you mean {near!r}?" if near else f"; completed: {', '.join(done[:8]) or 'none'}"
        message = f"{whole} cannot be set: step {path!r} has no result at seq {command.at} of {command.parent}{hint}"
        return Rejected(code="not_found", message=message)
    earlier = next((c for c in changes if c.path == path), None)
    packed = step.exposed if earlier is None else earlier.exposed
    blobs = step.blobs if earlier is None else earlier.blobs
    names: dict[str, Any] = run.codec.unpack(packed) if packed else {}
    known = [*names, *(blob[0] for blob in blobs)]
    if name not in known:
        near = nearest(name, known)
        hint = f"; did you mean {near!r}?" if near else f"; it gives {', '.join(known) or 'nothing of its own'}"
        return Rejected(code="not_found", message=f"{whole} cannot be set: step {path!r} gives no {name!r}{hint}")
    for id in step.node.dependents:
        reader = run.steps.get(step.scope.step_path(id))
        if reader is not None and reader.status is not StepStatus.READY and not is_fresh(run, reader):
            message = f"{whole} cannot be set at seq {command.at}: step {reader.path!r} has worked with it already"
            return Rejected(code="invalid", message=message)
    try:
        small, blob = desk.pack_large(value, INLINE_LIMIT)
    except ValueError as error:
        return Rejected(code="invalid", message=f"{whole} cannot be kept: {error}")
    blobs = [known_blob for known_blob in blobs if known_blob[0] != name]
    names.pop(name, None)
    if small is not None:
        names[name] = value
    elif blob is not None:
        kind = "array" if isinstance(value, list) else "object" if isinstance(value, dict) else "string"
        blobs = [*blobs, [name, blob.digest, blob.size, kind, len(value)]]
    result = names.get("result")
    if isinstance(result, dict) and name != "result" and name in result:
        names["result"] = {**result, name: value}
    change = ev.ResultReplaced(path, run.codec.pack(names), blobs, name, command.by)
    changes[:] = [*(c for c in changes if c.path != path), change]
    return None


# --- in place ---------------------------------------------------------------------------------------


def restore(desk: Desk, command: RestoreRun, history: History, its_hash: bytes) -> Accepted | Rejected:
    """Take a run back to a point, if nothing that was done since then is felt outside, or all of it can be undone.

    What acted since says that it may be repeated (``idempotent``), or it completed and says how it is undone: that is done
    first, and then the partition asks for the same once more (``undone``).
    """
    run = desk.run
    if command.undone and (run.undoing is None or run.undoing["outcome"] != RESTORED):
        return Accepted(run=run.id, existing=True)
    if run.undoing is not None and run.status is RunStatus.RUNNING and not command.undone:
        return Rejected(code="conflict", message=f"run {run.id} is over; what it completed is being undone")
    refused = refusal(history, run.id, command.to)
    if refused is not None:
        return refused
    if run.cancelling is not None:
        return Rejected(code="conflict", message=f"run {run.id} is being cancelled")
    events, after = taken(history, command.to)
    refused = at_the_end(events, run.id, command.to)
    if refused is not None:
        return refused
    then = Run(run.id, run.store_id, run.codec)
    then.program, then.link = run.plans.get(run.plan_digest, run.program), run.links.get(run.link_digest, run.link)
    then.plans, then.links = run.plans, run.links
    for event in events:
        evolve(then, event)
    to_undo, against = _to_undo(run, then, acted_since(then, [*after, *desk.events]))
    if against:
        what = f"step {against!r} acted after seq {command.to} and is not idempotent, nor can it be undone"
        if against in then.undo:
            what = f"what step {against!r} had done by seq {command.to} was undone or done again since"
        how = f"go on as a run of its own: kos fork {run.id} --at {command.to}"
        return Rejected(code="conflict", message=f"{what}: it cannot be taken back; {how}")
    if to_undo:
        if run.status is RunStatus.RUNNING:
            cancel_inside(desk, "", "the run is taken back")
        desk.emit(ev.RunTakenBack(command.to, to_undo, command.by, command.reason))
        advance(desk)
        return Accepted(run=run.id, event="RunTakenBack")
    for path, fence in run.open.items():
        desk.stops.closed.append((run.steps[path].agent, path, fence))
    for child, _ in run.children.values():
        desk.owe(StopChild(child, "its run was restored"))
    life = run.fences // FENCES_A_LIFE + 1
    generation = run.generation + 1
    held = run.authority
    desk.emit(ev.RestoreBegun(command.to, its_hash, command.by, command.reason))
    if held is not None:
        # What was granted, used and revoked since stays so: going back gives nobody back what was taken.
        desk.emit(ev.AuthorityOpened(held.setup))
        desk.emit(ev.AuthorityRecorded("", command.by, AS_BEFORE, held.facts))
    for event in events:
        if not isinstance(event, ev.RunCreated | ev.RunLinked | ev.AuthorityOpened | ev.AuthorityRecorded):
            desk.emit(event)
    desk.emit(ev.RunRestored(command.to, command.by, command.reason, life, generation))
    count_anew(desk)
    run.todo.extend(run.agenda)
    advance(desk)
    return Accepted(run=run.id, event="RunRestored")


def _to_undo(run: Run, then: Run, acted: Iterable[str]) -> tuple[list[str], str]:
    """Return which steps that acted since a point have to be undone, newest first, and one that stands against it."""
    undone = {step.of for step in run.steps.values() if step.beside == "undo" and step.status is StepStatus.COMPLETED}
    wanted: set[str] = set()
    for path in acted:
        forward = path.removesuffix(":undo")
        if forward != path:
            if forward in then.undo:
                return [], forward
        elif path in undone or _is_harmless(run, path):
            continue
        elif path not in run.undo or path in run.open or path in then.undo:
            return [], path
        else:
            wanted.add(path)
    return [path for path in reversed(run.undo) if path in wanted], ""


def _is_harmless(run: Run, path: str) -> bool:
    step = run.steps.get(path)
    if step is None and path.endswith("]"):
        step = run.steps.get(path[: path.rindex("[")])
    if step is None and run.mail is not None and "@" in path:
        message = run.mail.handled_by(path)
        assert run.link is not None
        return bool(run.link.agents[message.to].actions[message.action].idempotent)
    if step is None:
        return False
    if step.ask_of or step.node.step.idempotent:
        return True
    action = linked_action(run, step)
    return bool(action is not None and action.idempotent)

"""What every step of a run is doing and has done: folded from the run's events, with their times."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from kos_runtime.core.instant import utc_text
from kos_runtime.core.workflow import events as ev

#: What keeps a step from starting is told so.
HELD: Final = "no more than "
#: Statuses that do not change any more.
DONE: Final = frozenset({"completed", "skipped", "failed", "cancelled"})


@dataclass(slots=True)
class StepView:
    """One step key. Times are log time in milliseconds, 0 when it has not come to that."""

    path: str
    status: str = "pending"
    form: str = "action"
    agent: str = ""
    attempt: int = 0
    started_at: int = 0
    ended_at: int = 0
    #: When the next attempt starts, while it is retried.
    retry_at: int = 0
    retries: int = 0
    #: The number of its last dispatch, and what that attempt says of how far it is while it runs; the log does not tell.
    fence: int = 0
    progress: Any = None
    detail: str = ""
    error: dict[str, Any] | None = None
    parts: int = 0
    parts_done: int = 0
    parts_failed: int = 0
    manual: dict[str, Any] | None = None
    #: The signal that it waits for; until when it waits for whatever it is, in log time, or the wall clock's.
    signal: str = ""
    until: int = 0
    #: The run that it stands for.
    child: str = ""


@dataclass(slots=True)
class RunView:
    """A run as its events tell it. ``steps`` in the order in which they came up; ``outputs`` still packed."""

    run: str
    workflow: str = ""
    version: str = ""
    name: str = ""
    author: str = ""
    status: str = "created"
    created_at: int = 0
    started_at: int = 0
    ended_at: int = 0
    seq: int = 0
    plan: str = ""
    #: How often its plan was changed, and each change: by whom, when, why, which step.
    revision: int = 0
    changes: list[dict[str, Any]] = field(default_factory=list)
    #: The plan, the link and the settings that it was created with.
    created_with: tuple[str, str, dict[str, Any]] = field(default_factory=lambda: ("", "", {}))
    link: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    drivers: dict[str, str] = field(default_factory=dict)
    steps: dict[str, StepView] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    #: The run and the step whose child it is.
    parent: dict[str, Any] | None = None
    #: What (paused, cancelling), by whom, why, and since when; until when what runs may go on, if it is cancelling.
    halted: dict[str, Any] | None = None
    #: The run of which it is a fork, up to which of its seqs, by whom and why.
    forked_from: dict[str, Any] | None = None
    #: Words by which it is found.
    attributes: dict[str, Any] = field(default_factory=dict)
    inputs: bytes = b""
    inputs_blob: list[Any] | None = None
    outputs: bytes = b""
    outputs_blobs: list[list[Any]] = field(default_factory=list)
    retries: int = 0
    redispatches: int = 0

    def step(self, path: str) -> StepView:
        found = self.steps.get(path)
        if found is None:
            found = self.steps[path] = StepView(path)
        return found

    @property
    def waits_for_people(self) -> list[StepView]:
        return [step for step in self.steps.values() if step.manual is not None]


def fold(view: RunView, event: Any, time: int, seq: int) -> None:
    """Take one event into the view; events that it does not show change nothing but ``seq``."""
    view.seq = seq
    handler = _HANDLERS.get(type(event))
    if handler is not None:
        handler(view, event, time)


def _created(v: RunView, e: ev.RunCreated, time: int) -> None:
    v.workflow, v.version, v.name, v.author = e.workflow, e.version, e.name, e.author
    v.plan, v.created_at, v.inputs, v.inputs_blob = e.plan, time, e.inputs, e.inputs_blob


def _linked(v: RunView, e: ev.RunLinked, time: int) -> None:
    del time
    v.link, v.settings, v.drivers = e.link, e.settings, e.drivers
    v.created_with = v.plan, v.link, v.settings


def _started(v: RunView, e: ev.RunStarted, time: int) -> None:
    del e
    v.status, v.started_at = "running", time


def _completed(v: RunView, e: ev.RunCompleted, time: int) -> None:
    v.status, v.ended_at, v.outputs, v.outputs_blobs = "completed", time, e.outputs, e.blobs


def _failed(v: RunView, e: ev.RunFailed, time: int) -> None:
    v.status, v.ended_at, v.error, v.halted = "failed", time, e.error, None


def _paused(v: RunView, e: ev.RunPaused, time: int) -> None:
    v.halted = {"what": "paused", "by": e.by, "reason": e.reason, "at": time}


def _resumed(v: RunView, e: ev.RunResumed, time: int) -> None:
    del e, time
    v.halted = None


def _forked(v: RunView, e: ev.RunForked, time: int) -> None:
    del time
    v.forked_from = {"run": e.parent, "seq": e.at, "by": e.by, "reason": e.reason}
    _take_over(v)


def _restore_begun(v: RunView, e: ev.RestoreBegun, time: int) -> None:
    del e, time
    v.status, v.ended_at, v.error, v.halted = "created", 0, None, None
    v.outputs, v.outputs_blobs = b"", []
    v.steps.clear()
    v.plan, v.link, v.settings = v.created_with
    v.revision = 0
    v.changes.clear()
    v.attributes = {}


def _attributes_set(v: RunView, e: ev.SearchAttributesSet, time: int) -> None:
    del time
    v.attributes = {name: value for name, value in {**v.attributes, **e.attributes}.items() if value is not None}


def _restored(v: RunView, e: ev.RunRestored, time: int) -> None:
    del e, time
    _take_over(v)


def _take_over(v: RunView) -> None:
    """Nobody answers for what was at work; it is done again."""
    v.halted = None
    for step in v.steps.values():
        if step.status == "running" and step.agent:
            step.status, step.detail = "ready", "to be done again"


def _reopened(v: RunView, e: ev.RunReopened, time: int) -> None:
    del time
    v.status, v.ended_at, v.error = "running", 0, None
    step = v.step(e.path)
    step.status, step.ended_at, step.detail = "retrying", 0, f"reopened by {e.by}"
    for other in v.steps.values():
        around = e.path.startswith(other.path) and e.path[len(other.path) : len(other.path) + 1] in {"/", "[", "#"}
        if other.path.endswith("]") and other.status in {"cancelled", "failed"}:
            # An item is done again; whether it was counted as done depends on how it ended.
            owner = v.steps.get(other.path[: other.path.rindex("[")])
            if owner is not None and owner.status in {"cancelled", "failed", "retrying"}:
                owner.parts_done -= 1
                owner.parts_failed -= other.status == "failed"
                other.status, other.ended_at, other.detail = "ready", 0, ""
        elif (other.status == "cancelled" and _is_taken_up(v, other.path)) or (other.status == "failed" and around):
            other.status, other.ended_at, other.detail = "running", 0, ""
    if step.parts_failed:
        # Items with bodies of their own have no view of theirs.
        step.parts_done, step.parts_failed = step.parts_done - step.parts_failed, 0


def _is_taken_up(v: RunView, path: str) -> bool:
    """Say whether a step that was called off goes on with what is around it: not one that came late for its group."""
    if "!" in path:
        return False
    owner = v.steps.get(path[: max(path.rfind("/"), 0)].partition("#")[0].partition("[")[0]) if "/" in path else None
    return owner is None or owner.status in {"running", "retrying", "ready"}


def _revised(v: RunView, e: ev.PlanRevised, time: int) -> None:
    v.revision, v.plan, v.link, v.settings = e.revision, e.plan, e.link, e.settings
    v.changes.append({
        "revision": e.revision, "seq": v.seq, "at": time, "by": e.by, "reason": e.reason, "change": e.change, "step": e.step,
        "fields": e.fields,
    })  # fmt: skip
    if e.change == "remove_step" and e.step in v.steps and v.steps[e.step].status == "ready":
        del v.steps[e.step]


def _requested(v: RunView, e: ev.StepRequested, time: int) -> None:
    del time
    step = v.step(e.path)
    step.status, step.detail = "ready", f"started by {e.by}"


def _cancel_requested(v: RunView, e: ev.CancelRequested, time: int) -> None:
    v.halted = {"what": "cancelling", "by": e.by, "reason": e.reason, "at": time, "until": e.until}


def _run_cancelled(v: RunView, e: ev.RunCancelled, time: int) -> None:
    v.status, v.ended_at, v.halted = "cancelled", time, None
    v.error = {"type": "cancelled", "message": e.message}


def _quarantined(v: RunView, e: ev.RunQuarantined, time: int) -> None:
    v.status, v.ended_at, v.error = "quarantined", time, {"type": "unknown", "message": e.error}


def _requeued(v: RunView, e: ev.RunRequeued, time: int) -> None:
    del e, time
    v.status, v.ended_at, v.error = "running", 0, None


def _scheduled(v: RunView, e: ev.StepScheduled, time: int) -> None:
    step = v.step(e.path)
    step.status, step.agent, step.attempt, step.retry_at = "running", e.agent, e.attempt, 0
    step.fence, step.progress = e.fence, None
    step.started_at = step.started_at or time
    step.detail = "" if e.attempt == 1 else f"attempt {e.attempt}"


def _end(v: RunView, path: str, status: str, time: int) -> StepView:
    step = v.step(path)
    step.status, step.ended_at, step.retry_at, step.manual = status, time, 0, None
    step.signal, step.until = "", 0
    step.started_at = step.started_at or time
    if path.endswith("]"):
        owner = v.steps.get(path[: path.rindex("[")])
        if owner is not None:
            owner.parts_done += 1
            owner.parts_failed += status == "failed"
    return step


def _step_completed(v: RunView, e: ev.StepCompleted, time: int) -> None:
    _end(v, e.path, "completed", time).detail = ""


def _reused(v: RunView, e: ev.ResultReused, time: int) -> None:
    _end(v, e.path, "completed", time).detail = f"the result of {e.step} in {e.run} at seq {e.seq}"


def _held_back(v: RunView, e: ev.StepHeldBack, time: int) -> None:
    del time
    step = v.step(e.path)
    if step.status == "pending":
        step.status = "ready"
    step.detail = f"{HELD}{e.limit}"


def _step_failed(v: RunView, e: ev.StepFailed, time: int) -> None:
    step = v.step(e.path)
    step.status, step.error, step.started_at = "failing", e.error, step.started_at or time
    step.detail = f"{e.error['type']}: {e.error['message']}"


def _retry(v: RunView, e: ev.RetryScheduled, time: int) -> None:
    del time
    step = v.step(e.path)
    step.status, step.retry_at = "retrying", e.at
    step.retries += 1
    v.retries += 1


def _redispatched(v: RunView, e: ev.StepRedispatched, time: int) -> None:
    del time
    step = v.step(e.path)
    step.status, step.detail = "retrying", f"attempt {step.attempt} lost: {e.cause}"
    v.redispatches += 1


def _gave_up(v: RunView, e: ev.StepGaveUp, time: int) -> None:
    step = _end(v, e.path, "failed", time)
    step.error, step.detail = e.error, f"{e.error.get('type')}: {e.error.get('message')}"


def _skipped(v: RunView, e: ev.StepSkipped, time: int) -> None:
    _end(v, e.path, "skipped", time).detail = e.reason


def _cancelled(v: RunView, e: ev.StepCancelled, time: int) -> None:
    if e.path in v.steps:
        _end(v, e.path, "cancelled", time).detail = e.reason


def _form(form: str) -> Callable[[RunView, Any, int], None]:
    def begin(v: RunView, e: Any, time: int) -> None:
        step = v.step(e.path)
        form_of = step.form if step.form == "coordination" else form
        step.form, step.status, step.started_at = form_of, "running", step.started_at or time
        if form == "decision":
            step.detail = f"{e.branch}: {', '.join(e.steps) or 'nothing'}"
        elif form == "loop":
            step.detail = f"turn {e.turn + 1}"
        elif form == "for_each":
            step.parts = e.count
        elif form == "parts":
            step.form, step.parts = "action", max(len(e.bounds) - 1, 0)

    return begin


def _closed(v: RunView, e: Any, time: int) -> None:
    step = _end(v, e.path, "completed", time)
    if step.detail.startswith(HELD):
        step.detail = ""
    if isinstance(e, ev.LoopEnded):
        step.detail = f"{e.turns} turns, {e.reason}"
    elif isinstance(e, ev.ConsensusReached):
        step.detail = f"{e.outcome}, of {len(e.votes)} {'vote' if len(e.votes) == 1 else 'votes'}"


def _item_ended(v: RunView, e: ev.ItemEnded, time: int) -> None:
    del time
    step = v.step(e.path)
    step.parts_done += 1
    step.parts_failed += e.error is not None


def _variables(v: RunView, e: ev.VariablesSet, time: int) -> None:
    step = _end(v, e.path, "completed", time)
    step.form, step.detail = "set", ", ".join(sorted(e.values))


def _emitted(v: RunView, e: ev.EventEmitted, time: int) -> None:
    step = _end(v, e.path, "completed", time)
    step.form, step.detail = "emit", e.event


def _escalated(v: RunView, e: ev.Escalated, time: int) -> None:
    del time
    step = v.step(e.path)
    step.status, step.detail = "escalated", f"{e.agent} is asked ({e.number})"
    v.step(e.ask).form = "escalation"


def _answered(v: RunView, e: ev.EscalationAnswered, time: int) -> None:
    del time
    v.step(e.path).detail = f"{e.by or 'nobody'} answered {e.answer} by rule {e.rule}"


def _reassigned(v: RunView, e: ev.StepReassigned, time: int) -> None:
    del time
    v.step(e.path).detail = f"goes to {e.agent or 'another process'} by {e.rule}"


def _fallback_step(v: RunView, e: ev.FallbackStepStarted, time: int) -> None:
    del time
    step = v.step(e.path)
    step.status, step.detail = "falling back", f"{e.step} stands in"
    v.step(e.stand_in).form = "fallback"


def _fallback_ended(v: RunView, e: ev.FallbackStepEnded, time: int) -> None:
    _end(v, e.path, "completed", time).detail = f"{e.step} stood in"


def _compensation(v: RunView, e: ev.CompensationStarted, time: int) -> None:
    reason = e.reason or str(e.error.get("message", ""))
    v.status, v.ended_at, v.error = "running", 0, None
    v.halted = {"what": "compensating", "by": e.by, "reason": reason, "at": time}
    for path in e.steps:
        v.step(f"{path}:undo").form = "compensation"


def _taken_back(v: RunView, e: ev.RunTakenBack, time: int) -> None:
    v.status, v.ended_at, v.error = "running", 0, None
    v.halted = {"what": "taking back", "by": e.by, "reason": e.reason, "at": time}
    for path in e.steps:
        v.step(f"{path}:undo").form = "compensation"


def _message(v: RunView, e: ev.MessageSent, time: int) -> None:
    del time
    v.step(f"{e.to}@{e.number}").form = "message"


def _spare(v: RunView, e: ev.SpareStarted, time: int) -> None:
    del time
    v.step(e.spare).form = "second attempt"


def _spare_won(v: RunView, e: ev.SpareWon, time: int) -> None:
    _end(v, e.path, "completed", time).detail = "the second attempt was first"


def _question(v: RunView, e: ev.QuestionAsked, time: int) -> None:
    del time
    step = v.step(e.ask)
    step.form, step.detail = "question", f"{e.node} asks {e.agent or e.who}"


def _withdrawn(v: RunView, e: ev.MessageWithdrawn, time: int) -> None:
    for path in [path for path in v.steps if path.endswith(f"@{e.number}")]:
        _end(v, path, "skipped", time).detail = f"withdrawn: {e.reason}"


def _authority_asked(v: RunView, e: ev.AuthorityAsked, time: int) -> None:
    v.step(e.path).form = "authority"
    if e.of:
        step = v.step(e.of)
        step.status, step.detail, step.started_at = "escalated", f"{e.who} is asked", step.started_at or time


def _authority_answered(v: RunView, e: ev.AuthorityAnswered, time: int) -> None:
    asked = v.step(e.path)
    if asked.status not in DONE:
        _end(v, e.path, "completed", time)
    asked.detail = f"{e.verdict}: {e.comment}" if e.comment else e.verdict
    if e.of and e.ended:
        v.step(e.of).detail = "granted" if e.verdict == "grant" else f"not granted: {e.comment}".rstrip(": ")


def _task_taken(v: RunView, e: ev.TaskTaken, time: int) -> None:
    step = v.step(e.path)
    step.form, step.started_at = "coordination", step.started_at or time
    under = f" under {e.grant}" if e.grant else ""
    step.detail = f"taken by {e.agent} at level {e.level}{under}" if e.agent else f"refused: {e.refused}"


def _manual(v: RunView, e: ev.ManualTaskRequested, time: int) -> None:
    step = v.step(e.path)
    step.status, step.detail, step.started_at = "waiting", f"{e.task}: waits for a person", step.started_at or time
    step.manual = {"task": e.task, "prompt": e.prompt, "fields": e.fields}


def _manual_answered(v: RunView, e: ev.ManualTaskAnswered, time: int) -> None:
    _end(v, e.path, "completed", time).detail = f"answered by {e.by}"


def _waiting(v: RunView, path: str, form: str, detail: str, due: int, time: int) -> StepView:
    step = v.step(path)
    step.form, step.status, step.detail, step.until = form, "waiting", detail, due
    step.started_at = step.started_at or time
    return step


def _wait_started(v: RunView, e: ev.WaitStarted, time: int) -> None:
    _waiting(v, e.path, "wait", f"waits until {utc_text(e.due)}", e.due, time)


def _wait_over(v: RunView, e: ev.WaitEnded, time: int) -> None:
    step = _end(v, e.path, "completed", time)
    step.form, step.detail = "wait", ""


def _awaited(v: RunView, e: ev.SignalAwaited, time: int) -> None:
    _waiting(v, e.path, "wait_for", f"waits for signal {e.signal}", e.due, time).signal = e.signal


def _taken(v: RunView, e: ev.SignalTaken, time: int) -> None:
    _end(v, e.path, "completed", time).detail = f"signal {e.number}"


def _approval(v: RunView, e: ev.ApprovalRequested, time: int) -> None:
    step = _waiting(v, e.path, "approval", "waits for approval", e.due, time)
    step.manual = {
        "kind": "approval", "task": "approval", "prompt": e.prompt, "fields": [field[:3] for field in e.fields],
        "approvers": e.approvers, "quorum": e.quorum, "until": e.due, "digest": e.digest, "given": [],
        "shown": e.shown, "shown_blob": e.shown_blob,
    }  # fmt: skip


def _vote(v: RunView, e: ev.ApprovalGiven, time: int) -> None:
    step = v.step(e.path)
    if step.manual is not None:
        given = {"by": e.by, "approved": e.approved, "comment": e.comment, "at": time, "right": e.right}
        step.manual = {**step.manual, "given": [*step.manual["given"], given]}


def _decided(v: RunView, e: ev.ApprovalDecided, time: int) -> None:
    given = (v.step(e.path).manual or {}).get("given", [])
    who = ", ".join(vote["by"] for vote in given)
    _end(v, e.path, "completed", time).detail = f"{'approved' if e.approved else 'rejected'} by {who}"


def _timed_out(v: RunView, e: ev.WaitingTimedOut, time: int) -> None:
    if e.then in {"continue", "approve", "reject"}:
        _end(v, e.path, "completed", time).detail = f"nobody came in time: {e.then}"
    else:
        step = v.step(e.path)
        step.status, step.manual, step.signal, step.until = "failing", None, "", 0


def _spawned(v: RunView, e: ev.RunSpawned, time: int) -> None:
    del time
    v.parent = {"run": e.parent, "step": e.path, "attempt": e.attempt}


def _template(v: RunView, e: ev.TemplateOpened, time: int) -> None:
    step = v.step(e.path)
    step.form, step.status, step.started_at, step.detail = "template", "running", step.started_at or time, e.template


def _child(v: RunView, e: ev.ChildRequested, time: int) -> None:
    step = v.step(e.path)
    # Of one that goes on alone nothing is waited for.
    step.form, step.status = "workflow", "running" if e.mode == "detach" else "waiting"
    step.started_at = step.started_at or time
    step.attempt, step.retry_at, step.child = e.attempt, 0, e.child
    version = f" {e.version}" if e.version else ""
    step.detail = f"run {e.child} of {e.workflow}{version}"


def _child_ended(v: RunView, e: ev.ChildEnded, time: int) -> None:
    del time
    v.step(e.path).detail = f"run {e.child} {e.status}"


def _joined(v: RunView, e: ev.ResultJoined, time: int) -> None:
    _end(v, e.path, "completed", time)


_HANDLERS: Final[dict[type, Callable[[RunView, Any, int], None]]] = {
    ev.RunCreated: _created,
    ev.RunLinked: _linked,
    ev.RunStarted: _started,
    ev.RunForked: _forked,
    ev.RestoreBegun: _restore_begun,
    ev.SearchAttributesSet: _attributes_set,
    ev.RunRestored: _restored,
    ev.RunCompleted: _completed,
    ev.RunFailed: _failed,
    ev.RunPaused: _paused,
    ev.RunResumed: _resumed,
    ev.RunReopened: _reopened,
    ev.PlanRevised: _revised,
    ev.CancelRequested: _cancel_requested,
    ev.RunCancelled: _run_cancelled,
    ev.RunQuarantined: _quarantined,
    ev.RunRequeued: _requeued,
    ev.StepRequested: _requested,
    ev.StepScheduled: _scheduled,
    ev.StepCompleted: _step_completed,
    ev.ResultReused: _reused,
    ev.StepHeldBack: _held_back,
    ev.StepFailed: _step_failed,
    ev.RetryScheduled: _retry,
    ev.StepRedispatched: _redispatched,
    ev.StepGaveUp: _gave_up,
    ev.StepSkipped: _skipped,
    ev.StepCancelled: _cancelled,
    ev.DecisionTaken: _form("decision"),
    ev.DecisionEnded: _closed,
    ev.TurnStarted: _form("loop"),
    ev.LoopEnded: _closed,
    ev.ItemsFrozen: _form("for_each"),
    ev.PartsSplit: _form("parts"),
    ev.ItemEnded: _item_ended,
    ev.ItemsJoined: _closed,
    ev.ConsensusProposed: _form("coordination"),
    ev.ConsensusReached: _closed,
    ev.MachineOpened: _form("coordination"),
    ev.QuestionAsked: _question,
    ev.SpareStarted: _spare,
    ev.SpareWon: _spare_won,
    ev.GroupOpened: _form("group"),
    ev.GroupSettled: _closed,
    ev.JoinReached: _closed,
    ev.VariablesSet: _variables,
    ev.EventEmitted: _emitted,
    ev.RunSpawned: _spawned,
    ev.TemplateOpened: _template,
    ev.ChildRequested: _child,
    ev.ChildEnded: _child_ended,
    ev.ResultJoined: _joined,
    ev.Escalated: _escalated,
    ev.EscalationAnswered: _answered,
    ev.WaitStarted: _wait_started,
    ev.WaitEnded: _wait_over,
    ev.SignalAwaited: _awaited,
    ev.SignalTaken: _taken,
    ev.ApprovalRequested: _approval,
    ev.ApprovalGiven: _vote,
    ev.ApprovalDecided: _decided,
    ev.WaitingTimedOut: _timed_out,
    ev.StepReassigned: _reassigned,
    ev.FallbackStepStarted: _fallback_step,
    ev.FallbackStepEnded: _fallback_ended,
    ev.CompensationStarted: _compensation,
    ev.RunTakenBack: _taken_back,
    ev.ManualTaskRequested: _manual,
    ev.AuthorityAsked: _authority_asked,
    ev.AuthorityAnswered: _authority_answered,
    ev.TaskTaken: _task_taken,
    ev.MessageSent: _message,
    ev.MessageWithdrawn: _withdrawn,
    ev.ManualTaskAnswered: _manual_answered,
}

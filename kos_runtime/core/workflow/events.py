"""Everything that can happen in a run, as facts.

Fields are plain data, in the order in which they are stored. ``path`` is a step's key without its attempt,
``fence`` the number of the dispatch that it belongs to. Bytes are packed plain data; a large value stands in
``blobs`` as ``[name, digest, size, kind, length]`` instead.
"""

from typing import Any, TypeAlias

from kos_runtime.core.event import event, upcaster

# --- the run ------------------------------------------------------------------------------------


@event("run_created")
class RunCreated:
    """A run exists. ``plan`` is the digest of the compiled definition, ``inputs`` the packed inputs with defaults."""

    workflow: str
    version: str
    name: str
    plan: str
    key: str
    inputs: bytes
    inputs_blob: list[Any] | None
    seed: int
    author: str


@event("run_linked")
class RunLinked:
    """Who the run's agents are. ``link`` is a digest; ``settings`` are the agents', with what identifies their data."""

    link: str
    settings: dict[str, Any]
    drivers: dict[str, str]


@event("run_spawned", 2)
class RunSpawned:
    """The run is the child of a step of another. ``depth`` counts from 1; ``mode`` is await or detach.

    ``timeout_ms`` is how long it may take at most, whatever it says itself; 0 is no bound.
    """

    parent: str
    path: str
    attempt: int
    depth: int
    mode: str
    timeout_ms: int


@upcaster("run_spawned", 1)
def _without_bound(values: list[Any]) -> list[Any]:
    return [*values, 0]


@event("run_started", 2)
class RunStarted:
    """The run was admitted and may do work, until ``deadline`` (log time; 0 is none)."""

    deadline: int = 0


@upcaster("run_started", 1)
def _without_deadline(values: list[Any]) -> list[Any]:
    return [*values, 0]


@event("deadline_set")
class DeadlineSet:
    """How long the run may take is counted anew: until ``at``, or, with 0, it stands still with ``left_ms`` to go."""

    at: int
    left_ms: int


@event("run_completed")
class RunCompleted:
    outputs: bytes
    blobs: list[list[Any]]


@event("run_failed")
class RunFailed:
    """The run ended without its outputs. ``step`` is the path of the step that failed for good, empty for none."""

    error: dict[str, Any]
    step: str


@event("run_paused")
class RunPaused:
    """Nothing more is started until somebody says so."""

    by: str
    reason: str


@event("run_resumed")
class RunResumed:
    by: str
    reason: str


@event("run_reopened")
class RunReopened:
    """A failed run goes on at ``path``. ``retries`` is what the step's count of them is set to, below 0 perhaps.

    ``life`` counts from 1; every fence from here on is above those of earlier lives.
    """

    by: str
    reason: str
    path: str
    retries: int
    life: int


@event("run_forked")
class RunForked:
    """Everything before this was taken from ``parent``, up to its position ``at``, whose record has this hash.

    ``again`` are the steps that acted there since, or were at work then: they act again in this run.
    """

    parent: str
    at: int
    hash: bytes
    by: str
    reason: str
    again: list[str]


@event("result_replaced")
class ResultReplaced:
    """A forked run goes on with another value of ``name`` than was recorded; all that the step gives is here."""

    path: str
    exposed: bytes
    blobs: list[list[Any]]
    name: str
    by: str


@event("restore_begun")
class RestoreBegun:
    """What the run has done is taken back; what it had done by its position ``to`` follows once more."""

    to: int
    hash: bytes
    by: str
    reason: str


@event("run_restored")
class RunRestored:
    """The run stands where it stood at ``to``. Its fences go on with ``life``, its steps' keys with ``generation``."""

    to: int
    by: str
    reason: str
    life: int
    generation: int


@event("plan_revised")
class PlanRevised:
    """From here on the run follows another plan. ``revision`` counts from 1, after the plan that it was created with.

    ``plan`` and ``link`` are digests, ``settings`` those of all its agents; ``change``, ``step`` and ``fields`` say what
    was changed. ``next_attempt``: steps that had begun may have changed too.
    """

    by: str
    reason: str
    revision: int
    plan: str
    link: str
    settings: dict[str, Any]
    change: str
    step: str
    fields: list[str]
    next_attempt: bool


@event("cancel_requested")
class CancelRequested:
    """The run is called off. What runs has until ``until`` (log time) to stop; ``number`` counts from 1."""

    by: str
    reason: str
    until: int
    number: int


@event("run_cancelled")
class RunCancelled:
    """The run is over without its outputs, because somebody said so."""

    by: str
    reason: str

    @property
    def message(self) -> str:
        return f"cancelled by {self.by}" + (f": {self.reason}" if self.reason else "")


@event("checkpoints_set")
class CheckpointsSet:
    """The run's state is kept so often, in milliseconds; 0: only where the engine must."""

    by: str
    interval_ms: int


@event("search_attributes_set")
class SearchAttributesSet:
    """Words by which the run is found, texts, numbers or booleans by name; None takes one away."""

    attributes: dict[str, Any]
    by: str


@event("payloads_purged")
class PayloadsPurged:
    """What the run's records held is gone, this one's too: that it stands here, and its cause, is all that is left."""

    by: str
    reason: str


@event("run_archived")
class RunArchived:
    """What the run's records held was moved into a file; its digest is in the record's cause."""

    by: str
    file: str
    digest: str


@event("run_quarantined")
class RunQuarantined:
    """Deciding about this run raised: it is set aside alone. The input that did it is kept under its digest."""

    input_digest: str
    error: str
    code_version: str


@event("run_requeued")
class RunRequeued:
    """A person has a run that was set aside go on where it was."""

    by: str
    reason: str


# --- steps --------------------------------------------------------------------------------------


@event("condition_met")
class ConditionMet:
    """A step's ``when`` held."""

    path: str


@event("step_requested")
class StepRequested:
    """A person has a step run, whatever its condition says. ``given``: with these inputs in the place of its own."""

    path: str
    by: str
    reason: str
    given: bool
    inputs: bytes | None
    inputs_blob: list[Any] | None


@event("step_scheduled")
class StepScheduled:
    """An attempt was given to an agent's process.

    ``inputs`` are recorded where they were computed; None means that they follow from the log as they stand.
    ``attempt`` counts from 1 against the policy, ``fence`` grows with every dispatch.
    """

    path: str
    attempt: int
    fence: int
    agent: str
    timeout_ms: int
    inputs_digest: bytes
    inputs: bytes | None
    inputs_blob: list[Any] | None


@event("result_sought")
class ResultSought:
    """No result is kept under ``key``, so the step is done; what comes of it is kept there."""

    path: str
    key: str


@event("result_reused")
class ResultReused:
    """The step is over without an attempt: it has the result that ``run`` recorded for ``step`` at its ``seq``.

    ``age_ms`` is how long ago that was (log time).
    """

    path: str
    key: str
    run: str
    step: str
    seq: int
    age_ms: int
    exposed: bytes
    blobs: list[list[Any]]


@event("step_held_back")
class StepHeldBack:
    """A limit keeps a step, or more of its items, from starting: until ``due`` (log time), or, with 0, until others end.

    ``limit`` says whose it is and what it allows. Said once before each attempt.
    """

    path: str
    fence: int
    limit: str
    due: int


@event("step_redispatched")
class StepRedispatched:
    """A dispatch will not answer any more; the attempt goes to another process under a new fence."""

    path: str
    fence: int
    cause: str


@event("step_completed")
class StepCompleted:
    path: str
    fence: int
    exposed: bytes
    blobs: list[list[Any]]
    duration_ms: float


@event("step_failed")
class StepFailed:
    """An attempt failed. ``rule`` is the policy that was asked, ``then`` what it said comes next, at which rung."""

    path: str
    fence: int
    attempt: int
    error: dict[str, Any]
    rule: str
    then: str
    rung: int
    duration_ms: float


@event("retry_scheduled")
class RetryScheduled:
    """The next attempt starts not before ``at`` (log time); ``delay_ms`` is what was drawn."""

    path: str
    fence: int
    at: int
    delay_ms: int


@event("timer_fired")
class TimerFired:
    path: str
    fence: int
    due: int


@event("step_gave_up")
class StepGaveUp:
    """The step failed for good, under the rule that said so."""

    path: str
    error: dict[str, Any]
    rule: str


@event("step_skipped")
class StepSkipped:
    path: str
    reason: str


@event("step_cancelled")
class StepCancelled:
    """A step that had begun, or might have, is called off."""

    path: str
    fence: int
    reason: str


@event("result_discarded")
class ResultDiscarded:
    """An answer came under a fence that is not open any more."""

    path: str
    fence: int
    reason: str


# --- forms --------------------------------------------------------------------------------------


@event("decision_taken")
class DecisionTaken:
    """``value`` is true, false or null; ``branch`` is true_path, false_path or default_path, ``error`` why default."""

    path: str
    value: bool | None
    branch: str
    steps: list[str]
    error: str


@event("decision_ended")
class DecisionEnded:
    path: str


@event("turn_started")
class TurnStarted:
    """A loop's turn begins; ``turn`` counts from 0."""

    path: str
    turn: int


@event("loop_ended")
class LoopEnded:
    """``reason`` is condition, exhausted, or ``break: …``."""

    path: str
    turns: int
    reason: str


@event("items_frozen")
class ItemsFrozen:
    """What a ``for_each`` runs over: ``items`` is the packed array, or ``items_blob`` its address."""

    path: str
    count: int
    items: bytes
    items_blob: list[Any] | None


@event("parts_split")
class PartsSplit:
    """A step is spread: part i gets the items of the array at ``over`` from ``bounds[i]`` to ``bounds[i + 1]``."""

    path: str
    over: str
    bounds: list[int]
    inputs: bytes | None
    inputs_blob: list[Any] | None


@event("item_started")
class ItemStarted:
    """The body of one item opens; ``index`` counts from 0."""

    path: str
    index: int


@event("item_ended")
class ItemEnded:
    """The body of one item is over; ``error`` is null when it succeeded."""

    path: str
    index: int
    error: dict[str, Any] | None


@event("items_joined")
class ItemsJoined:
    path: str
    succeeded: int
    failed: int


@event("consensus_proposed")
class ConsensusProposed:
    """Peers are to vote: ``question`` has the subject, the options, the electors with their weights, and the rule."""

    path: str
    question: dict[str, Any]


@event("peer_joined")
class PeerJoined:
    """A peer of a vote has written its first record; ``path`` is its item. From now on it is known only by its stream."""

    path: str


@event("consensus_reached")
class ConsensusReached:
    """The ballots were counted. ``votes`` are electors with their choices; ``not_counted`` says whose were not, and why."""

    path: str
    outcome: str
    accepted: bool
    votes: list[list[Any]]
    not_counted: list[str]
    #: Of the canonical text of ballots and outcome.
    certificate: str
    exposed: bytes
    blobs: list[list[Any]]


@event("machine_opened")
class MachineOpened:
    """A step holds a machine from here on. ``setup`` is what it is set up with, as it is written (``core.terms``)."""

    path: str
    machine: str
    version: int
    setup: Any
    nodes: list[str]


@event("machine_decided")
class MachineDecided:
    """What one node of a step's machine has recorded: ``facts`` are packed ``[label, values]``, as they are written."""

    path: str
    node: str
    facts: bytes


@event("machine_recovered")
class MachineRecovered:
    """A machine came back from its facts: all of its nodes begin once more, for the ``life``-th time."""

    path: str
    life: int


@event("machine_timed")
class MachineTimed:
    """A machine waits for time besides, or does not any more: while one does, its run is at work."""

    path: str
    timed: bool


@event("spare_started")
class SpareStarted:
    """A task that takes long is given to a second worker, under a key of its own, ``spare``."""

    path: str
    spare: str


@event("spare_won")
class SpareWon:
    """The second worker was first: what it gave is the task's result."""

    path: str
    spare: str


@event("question_asked")
class QuestionAsked:
    """A node asks an agent, or with no ``agent`` a person. ``ask`` is the key of the step that stands for the question."""

    path: str
    ask: str
    node: str
    who: str
    key: str
    question: Any
    agent: str
    action: str
    inputs: bytes


@event("question_answered")
class QuestionAnswered:
    """The machine was told the answer, or that there is none (``status`` is how the step ``ask`` ended)."""

    path: str
    ask: str
    status: str


@event("consensus_escalated")
class ConsensusEscalated:
    """The vote came to nothing that holds (``outcome`` says what instead), and a person is asked. ``exposed`` is what is
    known all the same; the person's word takes the place of its outcome.
    """

    path: str
    outcome: str
    votes: list[list[Any]]
    not_counted: list[str]
    certificate: str
    exposed: bytes
    blobs: list[list[Any]]


@event("group_opened")
class GroupOpened:
    path: str


@event("group_settled")
class GroupSettled:
    """Enough members are done. ``cancelled`` are the ids of those that came too late."""

    path: str
    done: int
    cancelled: list[str]


@event("join_reached")
class JoinReached:
    path: str


@event("variables_set")
class VariablesSet:
    path: str
    values: dict[str, Any]


@event("event_emitted")
class EventEmitted:
    path: str
    event: str
    data: Any


# --- composition --------------------------------------------------------------------------------


@event("template_opened")
class TemplateOpened:
    """A template's steps begin; ``inputs`` are its packed inputs with defaults."""

    path: str
    template: str
    inputs: bytes
    inputs_blob: list[Any] | None


@event("child_requested")
class ChildRequested:
    """A step asks for a run of another workflow. ``child`` is its id; its inputs are as the step gives them."""

    path: str
    attempt: int
    child: str
    workflow: str
    version: str
    inputs: bytes
    inputs_blob: list[Any] | None
    parent_close: str
    mode: str


@event("child_ended")
class ChildEnded:
    """A step's child is over.

    ``status`` is completed, failed, cancelled or quarantined; refused for one that could not begin, detached for one
    that goes on alone.
    """

    path: str
    child: str
    status: str
    outputs: bytes
    blobs: list[list[Any]]
    error: dict[str, Any] | None


@event("result_joined")
class ResultJoined:
    """What a template's steps or a child made is what their step exposes."""

    path: str
    exposed: bytes
    blobs: list[list[Any]]


# --- failure ------------------------------------------------------------------------------------


@event("escalated")
class Escalated:
    """The failure goes up to an agent, which is asked under ``ask`` (a path of its own)."""

    path: str
    number: int
    agent: str
    ask: str


@event("escalation_answered")
class EscalationAnswered:
    """``answer`` is one of the seven; what it brings (an agent, inputs, a fallback) is the event that follows. ``rule`` is the agent's own rule that fired."""

    path: str
    number: int
    answer: str
    rule: str
    reason: str
    by: str


@event("fallback_started")
class FallbackStarted:
    path: str
    action: str
    rule: str


@event("step_reassigned")
class StepReassigned:
    """The step's further attempts go to ``agent``, another one that has its action. ``by`` is who said so, if anybody."""

    path: str
    agent: str
    rule: str
    by: str


@event("inputs_replaced")
class InputsReplaced:
    """The step's further attempts are given these inputs."""

    path: str
    inputs: bytes | None
    inputs_blob: list[Any] | None
    rule: str
    by: str


@event("fallback_step_started")
class FallbackStepStarted:
    """Another step stands in for one that failed, under a key of its own, ``stand_in``."""

    path: str
    step: str
    stand_in: str
    rule: str


@event("fallback_step_ended")
class FallbackStepEnded:
    """The step that stood in is completed: what it exposes is what the failed step exposes."""

    path: str
    step: str
    exposed: bytes
    blobs: list[list[Any]]


@event("run_taken_back")
class RunTakenBack:
    """Before the run is restored to an event of it, what it did since then is undone: ``steps``, newest first."""

    to: int
    steps: list[str]
    by: str
    reason: str


@event("compensation_started")
class CompensationStarted:
    """Before the run ends as ``outcome``, what it completed is undone: ``steps``, newest first.

    ``error`` and ``step`` are those of a run that failed; ``by`` and ``reason`` those of one that was cancelled.
    """

    outcome: str
    steps: list[str]
    error: dict[str, Any]
    step: str
    by: str
    reason: str


@event("manual_task_requested")
class ManualTaskRequested:
    """A person is asked. ``fields`` are ``[name, type, required]`` of the answer."""

    path: str
    task: str
    prompt: str
    fields: list[list[Any]]
    rule: str


@event("manual_task_answered")
class ManualTaskAnswered:
    path: str
    exposed: bytes
    blobs: list[list[Any]]
    by: str


# --- waiting ------------------------------------------------------------------------------------


@event("wait_started")
class WaitStarted:
    """The step waits until ``due``: log time, or the wall clock's (``wall``). ``duration_ms`` is what was asked for, if so."""

    path: str
    fence: int
    due: int
    duration_ms: int
    wall: bool


@event("wait_ended")
class WaitEnded:
    """The time has come; ``due`` 0: there was none to wait for."""

    path: str
    fence: int
    due: int


@event("signal_awaited")
class SignalAwaited:
    """The step waits for a signal of this name, until ``due`` (log time; 0 is for ever)."""

    path: str
    fence: int
    signal: str
    due: int


@event("signal_received")
class SignalReceived:
    """Somebody sent the run a signal; it is kept until a step takes it. ``number`` counts from 1, ``data`` is packed."""

    number: int
    signal: str
    data: bytes
    by: str


@event("signal_taken")
class SignalTaken:
    """A signal is the step's result."""

    path: str
    fence: int
    number: int
    exposed: bytes


@event("signal_passed")
class SignalPassed:
    """No signal that is kept is the one that the step waits for; ``number`` is the last that was looked at."""

    path: str
    fence: int
    number: int


@event("approval_requested")
class ApprovalRequested:
    """People are asked. ``digest`` (SHA-256) is that of the prompt and of what is shown, packed together.

    ``fields`` are ``[name, type, required, default, values]`` of the form, ``due`` is log time (0 is for ever).
    """

    path: str
    fence: int
    prompt: str
    shown: bytes
    shown_blob: list[Any] | None
    digest: str
    approvers: list[str]
    quorum: int
    fields: list[list[Any]]
    due: int


@event("approval_given")
class ApprovalGiven:
    """One person's decision of what ``digest`` stands for. ``right`` says by what the person may decide."""

    path: str
    fence: int
    approved: bool
    data: bytes
    comment: str
    by: str
    right: str
    digest: str


@event("approval_decided")
class ApprovalDecided:
    """Enough people have decided, or the time was over (``rule``)."""

    path: str
    fence: int
    approved: bool
    exposed: bytes
    rule: str


@event("waiting_timed_out")
class WaitingTimedOut:
    """Nobody came in time. ``then`` is fail, continue, approve, reject or escalate."""

    path: str
    fence: int
    due: int
    then: str
    exposed: bytes


# --- messages -----------------------------------------------------------------------------------


@event("message_sent")
class MessageSent:
    """An attempt sent a message. ``number`` counts those of the run; ``id`` is run, step, attempt and number in that.

    ``sender`` and ``to`` are agents by their names in the definition, ``action`` is what handles it. ``conversation`` is
    what it belongs to, ``cause`` the id of the message that its sender was handling. ``body`` is the packed object of
    the action's inputs. ``key``: the sender's own, under which it is sent once over all attempts. ``ask``: somebody
    waits for the answer.
    """

    number: int
    id: str
    path: str
    attempt: int
    fence: int
    sender: str
    to: str
    action: str
    conversation: str
    cause: str
    key: str
    ask: bool
    body: bytes


@event("message_handled")
class MessageHandled:
    """A message was processed. ``status`` is how the step ``path`` that handled it ended: completed, skipped or failed."""

    number: int
    path: str
    status: str


@event("message_withdrawn")
class MessageWithdrawn:
    """A message was not delivered, and is not going to be: what sent it was given up."""

    number: int
    reason: str


@event("message_superseded")
class MessageSuperseded:
    """A message was delivered whose sender's attempt was given up since: another attempt may say something else."""

    number: int
    reason: str


# --- authority ----------------------------------------------------------------------------------


@event("authority_opened")
class AuthorityOpened:
    """Who stands above whom in the run, ``{person, superiors, answer_ms}``: what its authority is decided by."""

    setup: dict[str, Any]


@event("authority_recorded")
class AuthorityRecorded:
    """What was decided of authority: grants, uses, hand-overs, requests, as ``[label, values]`` of the machine's facts.

    ``path`` is the step that it is about, empty for none; ``by`` who had it decided: a person, by the ``right`` that is told,
    the process of an agent that was asked, or ``definition``. What a step does under a grant stands right before the ``StepScheduled`` that it allows.
    """

    path: str
    by: str
    right: str
    facts: list[list[Any]]


@event("authority_asked")
class AuthorityAsked:
    """A request stands with ``who``, who is asked under ``path``, until ``due`` (0: for ever). ``of`` is the step that waits.

    ``question`` is the packed object of the inputs that an agent is asked with.
    """

    path: str
    of: str
    request: str
    who: str
    question: bytes
    due: int
    number: int


@event("authority_answered")
class AuthorityAnswered:
    """Who was asked under ``path`` has said ``verdict``: grant, deny or pass, or is not waited for (silent, withdrawn).

    ``ended``: with that the request is over, and the step ``of`` goes on.
    """

    path: str
    of: str
    request: str
    verdict: str
    comment: str
    ended: bool


@event("task_taken")
class TaskTaken:
    """A step's task was handed to ``agent``, at a level, under a grant; or, with ``refused``, to nobody."""

    path: str
    agent: str
    level: int
    grant: str
    refused: str


Event: TypeAlias = (
    RunCreated | RunLinked | RunStarted | RunCompleted | RunFailed | RunPaused | RunResumed | RunReopened | PlanRevised | RunForked | ResultReplaced | RestoreBegun | RunRestored
    | CheckpointsSet | PayloadsPurged | RunArchived | CancelRequested | DeadlineSet | WaitStarted | WaitEnded | SignalAwaited | SignalReceived | SignalTaken
    | SignalPassed | ApprovalRequested | ApprovalGiven | ApprovalDecided | WaitingTimedOut
    | RunCancelled | RunQuarantined | RunRequeued | ConditionMet | StepRequested | StepScheduled | ResultSought | ResultReused | StepHeldBack | StepRedispatched | StepCompleted | StepFailed | RetryScheduled | TimerFired | StepGaveUp | StepSkipped
    | StepCancelled | ResultDiscarded | DecisionTaken | DecisionEnded | TurnStarted | LoopEnded | ItemsFrozen
    | PartsSplit | ItemStarted | ItemEnded | ItemsJoined | ConsensusProposed | PeerJoined | ConsensusReached | ConsensusEscalated | MachineOpened | MachineDecided | MachineRecovered | MachineTimed | SpareStarted | SpareWon | QuestionAsked | QuestionAnswered | GroupOpened | GroupSettled | JoinReached | VariablesSet | EventEmitted
    | Escalated | EscalationAnswered | FallbackStarted | StepReassigned | InputsReplaced | FallbackStepStarted | FallbackStepEnded | CompensationStarted | ManualTaskRequested | ManualTaskAnswered
    | RunSpawned | TemplateOpened | ChildRequested | ChildEnded | ResultJoined
    | MessageSent | MessageHandled | MessageWithdrawn | MessageSuperseded
    | AuthorityOpened | AuthorityRecorded | AuthorityAsked | AuthorityAnswered | TaskTaken
)  # fmt: skip

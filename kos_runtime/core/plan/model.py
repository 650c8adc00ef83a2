"""The compiled definition: inert data that a run follows.

A plan is made once, by ``kos_runtime.definition``, and stored under the digest of its bytes; every run that follows it
mentions that digest. All defaults that came from configuration are in it. Steps are named, never numbered. Texts of
expressions and values stay as they were written; ``kos_runtime.core.plan.program`` parses them when a run is loaded.
"""

from dataclasses import dataclass, field
from typing import Any, Final

#: Raised when the meaning or the shape of what is stored here changes.
PLAN_FORMAT: Final = 1

#: A field marked so holds a user's own plain value and is stored as it is.
PLAIN: Final = {"plain": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before a retry. ``strategy`` is exponential, linear or fixed; times in milliseconds."""

    strategy: str = "exponential"
    initial_ms: int = 1_000
    factor: float = 2.0
    max_ms: int = 60_000
    jitter: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is tried, in order, when a step fails: one entry of ``error_handling``, or the default.

    ``errors`` are the kinds that it is for, none for all. ``ladder`` holds rungs out of retry, different_agent,
    fallback, escalate, compensate, manual, skip and fail. ``max_retries`` bounds retry and different_agent together.
    ``rule`` names it in the log (``error_handling[0]``, ``default``).
    """

    rule: str
    ladder: tuple[str, ...] = ("retry", "fail")
    errors: tuple[str, ...] = ()
    max_retries: int = 3
    backoff: Backoff = field(default_factory=Backoff)
    fallback: str | None = None
    #: What ``fallback`` is: step, workflow or template; empty means an action of the same agent, else a manual task.
    fallback_kind: str = ""
    escalation_agent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action of an agent. ``agent`` is the name used in the definition (a pool, a kind or an alias)."""

    agent: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchical(Action):
    """An action that is handed down or up ``levels`` (agents, the highest first) until somebody takes it.

    ``agent`` is who takes it where nothing stands against that. ``grant`` is the authority that goes with it, empty for none, ``expires_ms`` how long
    what is cut from a grant for it lasts. ``on_refused`` is fail or continue.
    """

    levels: tuple[str, ...]
    delegate: str = "down"
    grant: str = ""
    scope: Any = field(default="", metadata=PLAIN)
    cost: Any = field(default=0, metadata=PLAIN)
    expires_ms: int = 3_600_000
    on_refused: str = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """``default_path`` None means that there is none: a condition that fails then fails the step."""

    condition: str
    true_path: tuple[str, ...] = ()
    false_path: tuple[str, ...] = ()
    default_path: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    condition: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """``condition`` is asked before each turn, ``breaks`` after it; empty means true."""

    body: "Body"
    condition: str
    max_iterations: int
    breaks: tuple[Break, ...] = ()
    on_exhausted: str = "continue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Consensus:
    """What becomes of the results of a vote's items: ballots of ``electors``, in order, counted by a rule.

    Shares are texts (``2/3``), empty for none. ``on_deadlock`` is empty, fail, escalate (to a person) or an option. With ``agreement``
    paxos the items are peers that agree among themselves, in at most so many ``rounds`` of so many milliseconds each.
    """

    electors: tuple[str, ...]
    rule: str
    options: tuple[str, ...]
    weights: dict[str, int] = field(default_factory=dict, metadata=PLAIN)
    threshold: str = ""
    participation: str = ""
    on_deadlock: str = ""
    #: What is put to the vote, where it is not the step; and whether the option declared first wins a tie.
    subject: str = ""
    breaks_ties: bool = False
    agreement: str = "log"
    rounds: int = 1
    deadline_ms: int = 120_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ForEach:
    """Over items frozen at its start: either one action (``agent`` and ``action``) or a ``body`` for each.

    ``max_concurrency`` 0 means as many as there are. ``on_item_failure`` is fail_fast, collect or quorum, the last
    with the share ``quorum`` of items that must succeed.
    """

    items: Any = field(metadata=PLAIN)
    name: str = "item"
    max_concurrency: int = 0
    on_item_failure: str = "fail_fast"
    quorum: float = 1.0
    agent: str = ""
    action: str = ""
    body: "Body | None" = None
    #: The items are peers that vote.
    consensus: Consensus | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Members side by side. ``sync`` is all, any, count (with ``count``) or quorum (with ``quorum``, a share)."""

    body: "Body"
    max_concurrency: int = 0
    resources: dict[str, float] = field(default_factory=dict, metadata=PLAIN)
    sync: str = "all"
    count: int = 0
    quorum: float = 0.0
    #: Members keep their own names outside (a group of steps named by id).
    transparent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetVariables:
    values: dict[str, Any] = field(metadata=PLAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Emit:
    event: str
    data: Any = field(default=None, metadata=PLAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    error: str = "permanent"
    message: Any = field(default="", metadata=PLAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Until so much time has passed, or until an instant that is a value of its own (``has_until``); null is no wait."""

    for_ms: int = 0
    until: Any = field(default=None, metadata=PLAIN)
    has_until: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitFor:
    """Until a signal comes that meets ``match`` (empty: any). ``on_timeout`` is fail, continue or escalate."""

    signal: str
    match: str = ""
    timeout_ms: int = 0
    on_timeout: str = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a form that a person fills in."""

    name: str
    type: str = "any"
    required: bool = True
    default: Any = field(default=None, metadata=PLAIN)
    has_default: bool = False
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Until people decide. ``approvers`` are ``user:NAME`` and ``role:NAME``; none means anybody.

    ``on_timeout`` is approve, reject, escalate or fail.
    """

    prompt: Any = field(metadata=PLAIN)
    show: Any = field(default=None, metadata=PLAIN)
    approvers: tuple[str, ...] = ()
    quorum: int = 1
    fields: tuple[Field, ...] = ()
    timeout_ms: int = 0
    on_timeout: str = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coordination:
    """A step that holds a machine, by its name, until that has come to its end.

    ``setup`` is what the machine is set up with, as it is written (``core.terms``). ``agents`` says for each name that the
    machine may ask which agent that is, and with which action: ``[agent, action]``; no action is what the machine says.
    """

    machine: str
    nodes: tuple[str, ...]
    setup: Any = field(default=None, metadata=PLAIN)
    agents: dict[str, Any] = field(default_factory=dict, metadata=PLAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherForm:
    """A form that is part of the language and is carried along: ``name`` is its key, ``settings`` its content."""

    name: str
    settings: Any = field(default=None, metadata=PLAIN)
    body: "Body | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inlined:
    """A template's steps, put where it is used. They see its inputs and variables, and nothing of what is around it.

    ``given`` are the values of its inputs, which are computed where it is used; None means the inputs of what is around
    it. What it exposes is its ``outputs``.
    """

    template: str
    body: "Body"
    given: dict[str, Any] | None = field(default=None, metadata=PLAIN)
    inputs: "tuple[InputSpec, ...]" = ()
    free_inputs: bool = False
    outputs: "tuple[OutputSpec, ...]" = ()
    free_outputs: bool = False
    variables: dict[str, Any] = field(default_factory=dict, metadata=PLAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A run of another workflow. ``version`` is the range that it may be of, as it was written; empty for any.

    ``parent_close`` is cancel or abandon: what becomes of it when its parent ends first. ``mode`` is await or detach.
    """

    workflow: str
    version: str = ""
    inputs: dict[str, Any] = field(default_factory=dict, metadata=PLAIN)
    parent_close: str = "cancel"
    mode: str = "await"
    #: How long one attempt may take, from the child's start; 0 is as long as the workflow itself may.
    timeout_ms: int = 0

    @property
    def key(self) -> str:
        """Under what a link has it."""
        return f"{self.workflow}@{self.version}" if self.version else self.workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """A synchronization point: done when what it waits for is (``sync`` as in a group)."""

    waits_for: tuple[str, ...]
    sync: str = "all"
    count: int = 0
    quorum: float = 0.0


Form = (
    Action | Hierarchical | Decision | Loop | ForEach | Group | Inlined | Child | SetVariables | Emit | Fail | Join | Wait | WaitFor | Approval | Coordination
    | OtherForm
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Compensation:
    """What undoes a step: an action, with ``inputs`` or, where there are none, what the step exposed.

    ``policies`` are indexes into the plan's, as those of a step.
    """

    agent: str
    action: str
    inputs: dict[str, Any] | None = field(default=None, metadata=PLAIN)
    timeout_ms: int = 1_800_000
    policies: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """A step takes a result that is kept instead of running: one under the same ``key``, which is its inputs without
    ``has_key``. ``ttl_ms`` is how old that may be, 0 for any age.
    """

    key: Any = field(default=None, metadata=PLAIN)
    has_key: bool = False
    ttl_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Authority that a step's agent must hold: the name of what was granted, where it is used, and how much of it."""

    grant: str
    scope: Any = field(default="", metadata=PLAIN)
    cost: Any = field(default=0, metadata=PLAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mastery:
    """The items or parts of a step are tasks that a master leases to ``workers``, by the machine ``assignment``.

    ``aggregate`` is in_order or as_completed: how their results are gathered. Of a step that is ``idempotent`` a straggler
    may be done twice when ``speculate`` says so.
    """

    workers: tuple[str, ...]
    lease_ms: int = 10_000
    speculate: bool = False
    aggregate: str = "in_order"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a body.

    ``after`` are the steps of the same body that must be over before it (declaration order, ``depends_on`` and data
    references together); ``predecessors`` those of them whose data an action without ``inputs`` may be given.
    ``reads`` are the steps of this or an outer body whose data it cannot do without: when one was skipped, so is it.
    ``inputs`` None means what section 1 of the language says of a step without inputs; ``outputs`` likewise.
    """

    id: str
    form: Form
    when: str | None = None
    after: tuple[str, ...] = ()
    predecessors: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    on_demand: bool = False
    inputs: dict[str, Any] | None = field(default=None, metadata=PLAIN)
    outputs: tuple[tuple[str, str], ...] | None = None
    #: ``parallel: true``: spread when the action says over what.
    spread: bool = False
    timeout_ms: int = 1_800_000
    #: Indexes into the plan's policies, in the order in which they are asked; the last matches everything.
    policies: tuple[int, ...] = (0,)
    priority: int = 0
    resources: dict[str, float] = field(default_factory=dict, metadata=PLAIN)
    delivery: str = "at_least_once"
    idempotent: bool = False
    idempotency_key: Any = field(default=None, metadata=PLAIN)
    compensate: Compensation | None = None
    #: Everything else that the step says and that does not run yet, by key, so that nothing is lost.
    extras: dict[str, Any] = field(default_factory=dict, metadata=PLAIN)
    #: An attempt is given up after so long without a sign of life; 0 for any time.
    heartbeat_ms: int = 0
    cache: Cache | None = None
    #: What its agent must have been granted whenever it starts.
    authority: tuple[Need, ...] = ()
    master: Mastery | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """Steps in declaration order. Ids are unique in it."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    name: str
    type: str = "any"
    required: bool = False
    default: Any = field(default=None, metadata=PLAIN)
    has_default: bool = False
    values: tuple[str, ...] = ()
    schema: Any = field(default=None, metadata=PLAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSpec:
    """``value`` None (``has_value`` False): the last completed step, in declaration order, that exposes the name."""

    name: str
    type: str = "any"
    value: Any = field(default=None, metadata=PLAIN)
    has_value: bool = False
    schema: Any = field(default=None, metadata=PLAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How much may start: ``most`` at once, ``starts`` in so many milliseconds; 0 is no limit. ``name`` is whose, for people."""

    name: str = ""
    most: int = 0
    starts: int = 0
    per_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A name for agents of one kind with one demand of resources. ``most`` 0 means the engine's own choice."""

    agent: str
    least: int = 0
    most: int = 0
    resources: dict[str, float] = field(default_factory=dict, metadata=PLAIN)
    #: Starts in so many milliseconds; 0 starts means no limit.
    rate_starts: int = 0
    rate_per_ms: int = 0
    authority: int = 0
    #: Actions at once; 0 is no limit.
    max_concurrency: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Root:
    """A grant that a run begins with. ``parent`` empty: the person's own gift; None is no limit, ``expires_ms`` 0 no end."""

    id: str
    subject: str
    actions: tuple[str, ...]
    parent: str = ""
    scope: str = ""
    cost: int | None = None
    count: int | None = None
    fan_out: int | None = None
    depth: int = 0
    expires_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Who stands above whom, who gives authority, and what of it there is when a run begins.

    ``person`` is ``user:NAME`` or ``role:NAME``; empty for anybody. ``superiors`` has every agent that can hold something,
    with who is above it, empty for the person. ``answer_ms`` is how long each has to answer a request.
    """

    person: str = ""
    superiors: dict[str, str] = field(default_factory=dict, metadata=PLAIN)
    answer_ms: int = 300_000
    roots: tuple[Root, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """Something that the definition uses and an engine must know how to run: ``wait``, ``on_failure: skip``, …

    ``where`` is the step path, or the workflow's key, that uses it.
    """

    feature: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A workflow, compiled. ``free_inputs``: it declares none, so any are taken. Times in milliseconds; 0 is none."""

    format: int = PLAN_FORMAT
    workflow: str
    version: str = ""
    description: str = ""
    inputs: tuple[InputSpec, ...] = ()
    free_inputs: bool = False
    outputs: tuple[OutputSpec, ...] = ()
    #: It declares no outputs: what the last step exposes.
    free_outputs: bool = False
    variables: dict[str, Any] = field(default_factory=dict, metadata=PLAIN)
    pools: dict[str, Pool] = field(default_factory=dict)
    body: Body
    policies: tuple[Policy, ...] = (Policy(rule="default"),)
    #: Steps of no body: templates, and workflows if the link has them, that stand in where a policy names them.
    fallbacks: Body = field(default_factory=lambda: Body(steps=()))
    #: After which ends of a run its completed steps are undone: failed, cancelled.
    compensate_on: tuple[str, ...] = ("failed", "cancelled")
    timeout_ms: int = 0
    #: How long an agent may take to answer an escalation.
    timeout_default_ms: int = 1_800_000
    requires: tuple[Requirement, ...] = ()
    monitoring: dict[str, bool] = field(default_factory=dict, metadata=PLAIN)
    #: Which run goes first where several wait, and how much of one may start.
    priority: int = 0
    limit: Limit | None = None
    #: None where nothing in it asks for authority.
    authority: Authority | None = None
    extras: dict[str, Any] = field(default_factory=dict, metadata=PLAIN)
    #: The text that it was compiled from, with what else went into that: a change of the running workflow begins here.
    source: dict[str, Any] | None = field(default=None, metadata=PLAIN)

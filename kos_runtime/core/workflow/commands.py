"""What may be asked of a run, and what it may answer."""

from dataclasses import dataclass, field
from typing import Any

from kos_runtime.core.schedule.commands import Scheduling


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRun:
    """Make a run. ``plan`` and ``link`` are digests of what lies in the blob store; ``salt`` is 16 random bytes.

    ``start``: also let it begin. ``key``: the same key returns the same run, and is refused with other inputs.
    ``again``: it may have been carried out before, so it is looked up.
    """

    run: str
    plan: str
    link: str
    settings: dict[str, Any]
    drivers: dict[str, str]
    inputs: dict[str, Any]
    seed: int
    salt: bytes
    author: str
    name: str = ""
    key: str = ""
    start: bool = True
    #: [run, path, attempt, depth, mode, timeout_ms] of the step whose child it is.
    parent: list[Any] | None = None
    #: Words by which the run is found.
    attributes: dict[str, Any] = field(default_factory=dict)
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAttributes:
    """Set search attributes of a run; None takes one away."""

    run: str
    attributes: dict[str, Any]
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun:
    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTask:
    """A person's answer to a manual task, an object of the task's fields."""

    run: str
    path: str
    data: dict[str, Any]
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseRun:
    """Start nothing more of a run; what runs may end."""

    run: str
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeRun:
    """Let a paused run go on."""

    run: str
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRun:
    """Call a run off. What runs has ``grace_ms`` milliseconds to stop; then its process is ended."""

    run: str
    by: str
    reason: str
    grace_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryStep:
    """Reopen a failed run at a failed step, with so many further attempts. ``path`` empty: where the run failed.

    ``way`` says how it goes on: retry, different_agent, fallback (to ``fallback``, else the rule's own), manual; or
    compensate, after which the run has failed once more.
    """

    run: str
    path: str
    retries: int
    by: str
    reason: str = ""
    way: str = "retry"
    fallback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequeueRun:
    """Have a run that was set aside go on; or, of a failed one, the step ``path`` that was poison (empty: any)."""

    run: str
    path: str
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkRun:
    """Make a run of what ``parent`` had recorded up to its position ``at``. ``salt`` is 16 random bytes.

    ``changes`` are ``[step path, name, value]``: what the new run goes on with in place of what was recorded.
    """

    run: str
    parent: str
    at: int
    changes: list[list[Any]]
    salt: bytes
    by: str
    name: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRun:
    """Take a run back to where it stood at its position ``to``; ``undone``: after what it did since was undone."""

    run: str
    to: int
    by: str
    reason: str = ""
    undone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisePlan:
    """Have a run follow another plan from here on; ``plan`` and ``link`` are digests of what lies in the blob store.

    It was made from the run's plan of revision ``expected``. ``change`` (add_step, remove_step or modify_step), ``step``
    and ``fields`` tell people what it changes. ``next_attempt``: a step that runs may change from its next attempt on.
    """

    run: str
    plan: str
    link: str
    settings: dict[str, Any]
    expected: int
    change: str
    step: str
    fields: list[str]
    by: str
    reason: str = ""
    next_attempt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecuteStep:
    """Start a step that is ready or runs on demand, with these inputs; None: with its own."""

    run: str
    path: str
    inputs: dict[str, Any] | None
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCheckpoints:
    """Keep a run's state so often, in milliseconds; 0: not by any interval."""

    run: str
    interval_ms: int
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSignal:
    """Give a run a signal, with data."""

    run: str
    signal: str
    data: Any
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideApproval:
    """A person's decision. ``by`` is ``user:NAME``; ``roles`` are that person's, ``right`` says where they come from.

    ``path`` empty: the only approval that waits.
    """

    run: str
    path: str
    approved: bool
    data: dict[str, Any]
    comment: str
    by: str
    roles: list[str]
    right: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantAuthority:
    """A person gives an agent authority: the ``grant`` as plain data, with ``expires_ms`` from now (0: the run's end).

    With a ``parent`` it is cut from that, in the name of who holds it. ``roles`` and ``right`` as of an approval.
    """

    run: str
    grant: dict[str, Any]
    expires_ms: int
    by: str
    roles: list[str]
    right: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeAuthority:
    """A person takes a grant back, and with it all that was cut from it."""

    run: str
    grant: str
    by: str
    roles: list[str]
    right: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskAuthority:
    """Have an agent ask those above for authority: ``use`` is [agent, name, scope, cost]."""

    run: str
    use: list[Any]
    reason: str
    expires_ms: int
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandMachine:
    """Give a node of the machine that a step holds a command, as it is written (``core.terms``).

    ``path`` empty: the only step that holds one. ``node`` empty: its first.
    """

    run: str
    path: str
    node: str
    command: Any
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A command that does not fit the state. ``code`` is stable: not_found, conflict, revision, invalid, busy, storage_full."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What a command led to. ``existing``: the run was there already, under this key or id."""

    run: str
    position: int = 0
    event: str = ""
    existing: bool = False
    #: What a machine answered, as it is written.
    reply: Any = None


#: What a person decides of a run that there is; each names its author.
Steering = (
    AnswerTask | PauseRun | ResumeRun | CancelRun | RetryStep | RequeueRun | RestoreRun | SetCheckpoints | SetAttributes | RevisePlan | ExecuteStep
    | SendSignal | DecideApproval | GrantAuthority | RevokeAuthority | AskAuthority | CommandMachine
)  # fmt: skip
Command = CreateRun | StartRun | ForkRun | Steering | Scheduling
Answer = Accepted | Rejected

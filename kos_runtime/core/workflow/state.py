"""The state of one run: what its events have made of it.

One object, owned by its partition and changed by ``evolve`` alone. What stands in ``todo``, ``cache`` and the fields
named so is not folded: it can be dropped at any moment and comes again.
"""

from collections import deque
from typing import Any, Protocol

from kos_runtime.core.plan.link import Link
from kos_runtime.core.plan.program import BodyProgram, Node, Program
from kos_runtime.core.record import BlobRef
from kos_runtime.core.workflow.cache import Cache
from kos_runtime.core.workflow.status import RunStatus, StepStatus

#: Why a path stands in the agenda.
ENTER = "enter"  # what it waited for is over
AGAIN = "again"  # another attempt, or another dispatch
ITEMS = "items"  # a fan has room for more
CLOSE = "close"  # what is inside it is over

#: The timer of a run that is being cancelled stands under this instead of a path.
CANCEL_TIMER = "!cancel"
#: How long a run may take stands in the store's timers under this instead of a path.
DEADLINE_TIMER = "!timeout"
#: A timer of a machine stands under a path that begins so.
MACHINE_TIMER = "!machine "
#: A run that is reopened goes on with fences above those that it had: more than a life can use.
FENCES_A_LIFE = 1_000_000


class Codec(Protocol):
    """Plain values to bytes and back (the port of the same name, as far as folding needs it)."""

    def pack(self, value: Any) -> bytes: ...

    def unpack(self, data: bytes) -> Any: ...


class Fan:
    """The items of a ``for_each``, or the parts of a step that is spread."""

    __slots__ = (
        "again", "bounds", "count", "failures", "items", "items_blob", "limit", "next", "open", "over", "parts", "results",
        "skipped", "values",
    )  # fmt: skip

    def __init__(self, count: int, limit: int) -> None:
        self.count = count
        self.limit = limit
        self.next = 0
        self.open = 0
        #: Items before ``next`` that are to be done again, in order.
        self.again: list[int] = []
        #: index → (packed exposed names, blobs) of items that are one action.
        self.results: dict[int, tuple[bytes, list[list[Any]]]] = {}
        self.skipped: list[int] = []
        #: [index, kind, message]
        self.failures: list[list[Any]] = []
        self.items: bytes = b""
        self.items_blob: BlobRef | None = None
        #: A spread step: the dotted path into its inputs and where each part begins and ends.
        self.parts = False
        self.over = ""
        self.bounds: list[int] = []
        #: The unpacked items, unless they are a blob; not folded.
        self.values: list[Any] | None = None

    def has_room(self) -> bool:
        return (self.next < self.count or bool(self.again)) and (self.limit <= 0 or self.open < self.limit)

    @property
    def upcoming(self) -> int:
        """Which item is next."""
        return self.again[0] if self.again else self.next

    def begin(self, index: int) -> None:
        """An item begins."""
        if self.again and index == self.again[0]:
            del self.again[0]
        elif self.again and index in self.again:
            self.again.remove(index)
        else:
            self.next = max(self.next, index + 1)
        self.open += 1

    def is_through(self) -> bool:
        """Say whether every item is over, whatever the order in which they began."""
        return self.open == 0 and len(self.results) + len(self.skipped) + len(self.failures) >= self.count

    def is_over(self) -> bool:
        return self.open == 0 and self.next >= self.count and not self.again


class StepState:
    """One step key: its place, its attempts, what came of it.

    Most steps never leave most of these as they are, so the defaults stand in the class and cost nothing to make.
    """

    status = StepStatus.READY
    attempt = 0
    fence = 0
    agent = ""
    retries = 0
    escalations = 0
    kills = 0
    spent_ms = 0.0
    #: The policy that was asked last, how far its ladder was climbed, and what it said comes next.
    rule = ""
    rung = 0
    then = ""
    #: The action that stands in for the step's own, after a fallback.
    action = ""
    condition_met = False
    inputs: bytes | None = None
    inputs_blob: BlobRef | None = None
    exposed: bytes = b""
    #: Replaced as a whole, never changed in place.
    blobs: list[list[Any]] = []  # noqa: RUF012 - shared on purpose
    error: dict[str, Any] | None = None
    fan: Fan | None = None
    #: The index of an item or a part, -1 for a step of a body.
    index = -1
    #: A question put to an agent about a failed step: that step's path.
    ask_of = ""
    #: It is no step of its body but stands beside one, ``of``: ask, stand_in (a fallback step) or undo.
    beside = ""
    of = ""
    #: The agent, by its name in the definition, that stands in for the step's own.
    instead = ""
    #: Processes that its attempts failed in and that it is not to be sent to while there are others. Never changed in place.
    avoid: list[str] = []  # noqa: RUF012 - shared on purpose
    #: Whether ``inputs`` were given in place of its own.
    replaced = False
    #: A peer that has written something: its stream is there. Of a vote, that some peer has.
    joined = False
    #: Of a vote, in which life of the run it began: what its fences are above.
    life = 0
    #: A loop's turns so far.
    turn = -1
    #: A person had it run, whatever its condition says; although nothing named it; with inputs of that person's own.
    requested = False
    by_hand = False
    given = False
    #: How its child ended: status, packed outputs, blobs, error.
    child_end: list[Any] | None = None
    #: To whom a task was handed: agent, level, grant, why to nobody.
    delegation: list[Any] | None = None
    #: It was a task of a master, which has given it up: what becomes of it is the step's own affair.
    left = False
    #: Unpacked inputs of a template; not folded.
    template_inputs: dict[str, Any] | None = None
    #: Unpacked ``exposed``; not folded.
    cache: dict[str, Any] | None = None

    def __init__(self, path: str, id: str, scope: "Scope", node: Node) -> None:
        self.path = path
        self.id = id
        self.scope = scope
        self.node = node


class Scope:
    """One execution of a body: the run's own (path ""), a turn ``refine#2``, an item ``gather[17]``, a group."""

    __slots__ = (
        "active", "body", "follow", "gave_up", "held", "item", "outer", "owner", "parked", "path", "remaining", "turn", "vars",
        "waits", "watched",
    )  # fmt: skip

    def __init__(self, path: str, body: BodyProgram, owner: StepState | None, outer: "Scope | None") -> None:
        self.path = path
        self.body = body
        self.owner = owner
        self.outer = outer
        self.waits = dict(body.waits)
        self.remaining = body.size
        #: Steps of a decision's path: id → (what comes after it, the decision's id).
        self.follow: dict[str, tuple[str | None, str]] = {}
        #: The first step that failed for good.
        self.gave_up: str | None = None
        #: Members at work, for a group's bound, and those that wait for room; the latter is not folded.
        self.active = 0
        self.parked: deque[str] | None = None
        #: What members at work hold of a group's resources.
        self.held: dict[str, float] = {}
        #: Whether its owner wants to know of every member that is over.
        self.watched = False
        self.item = -1
        self.turn = -1
        #: The variables of a template's body, which has its own.
        self.vars: dict[str, Any] | None = None

    def park(self, path: str) -> None:
        """A member waits for room."""
        if self.parked is None:
            self.parked = deque()
        self.parked.append(path)

    def step_path(self, id: str) -> str:
        return f"{self.path}/{id}" if self.path else id


class Run:
    """A run. ``position`` is how many records were folded; ``agenda`` what is to be decided, by step path."""

    __slots__ = (
        "agenda", "attributes", "author", "authority", "cache", "cancelling", "checkpoint_ms", "children", "codec", "deadline", "discarded", "error", "fences", "generation", "held", "id", "inputs", "inputs_blob", "inputs_packed", "key", "left_ms", "link",
        "link_digest", "link_now", "link_settings", "links", "machines", "mail", "manual", "name", "open", "outputs", "outputs_blobs", "parent", "paused", "plan_digest",
        "plan_now", "plans", "position", "program", "revision", "scopes", "seed", "signalled", "signals", "sought", "status", "steps", "store_id", "timers", "todo", "undo", "undo_asked", "undoing", "vars", "version", "waits", "wanted",
        "workflow",
    )  # fmt: skip

    def __init__(self, id: str, store_id: str, codec: Codec, cache: Cache | None = None) -> None:
        self.id = id
        self.store_id = store_id
        self.codec = codec
        self.status = RunStatus.NEW
        self.position = 0
        self.workflow = ""
        self.version = ""
        self.name = ""
        self.key = ""
        self.author = ""
        self.seed = 0
        #: The plan that it was created with, the one that it follows now, and how often that was changed.
        self.plan_digest = ""
        self.plan_now = ""
        self.link_now = ""
        self.revision = 0
        self.link_digest = ""
        self.link_settings: dict[str, Any] = {}
        self.inputs_packed: bytes = b""
        self.inputs_blob: BlobRef | None = None
        #: What every fence is above: it grows by ``FENCES_A_LIFE`` whenever the run is reopened.
        self.fences = 0
        #: How often the run was taken back: its steps' keys change with it, since what they do is to be done again.
        self.generation = 0
        #: How often its state is kept, in milliseconds, 0 for never; None as the engine's settings say.
        self.checkpoint_ms: int | None = None
        #: Words by which the run is found.
        self.attributes: dict[str, Any] = {}
        self.vars: dict[str, Any] = {}
        self.scopes: dict[str, Scope] = {}
        self.steps: dict[str, StepState] = {}
        self.agenda: dict[str, str] = {}
        #: path → fence of each dispatch that may still answer.
        self.open: dict[str, int] = {}
        #: path → (due, fence) of each retry that waits for its time.
        self.timers: dict[str, tuple[int, int]] = {}
        #: path → what a step waits for that may take long: ``kind`` is time, signal or approval. Its timer is stored.
        self.waits: dict[str, dict[str, Any]] = {}
        #: [number, name, packed data, by] of signals that no step has taken, and how many there were in all.
        self.signals: list[list[Any]] = []
        self.signalled = 0
        #: Until when the run may take (log time; 0 is for ever), or what is left of that while it is paused.
        self.deadline = 0
        self.left_ms = 0
        #: path → under what the result of a step is kept, of steps that looked for one.
        self.sought: dict[str, str] = {}
        #: path → fence of the last attempt before which it was said that a limit keeps the step from starting.
        self.held: dict[str, int] = {}
        #: path → fences of answers that came too late and are told of in the log; None as long as none did.
        self.discarded: dict[str, list[int]] | None = None
        #: path → [task, prompt, fields] of each manual task.
        self.manual: dict[str, list[Any]] = {}
        #: path → [run, parent_close] of each child that has not ended.
        self.children: dict[str, list[Any]] = {}
        #: [run, path, attempt, depth, mode, timeout_ms] of the step whose child it is.
        self.parent: list[Any] | None = None
        #: [by, reason] while it is paused, [by, reason, number] while it is being cancelled.
        self.paused: list[Any] | None = None
        self.cancelling: list[Any] | None = None
        #: Completed steps that can be undone, oldest first. Whether a failure asked for it.
        self.undo: dict[str, None] = {}
        self.undo_asked = False
        #: How the run ends when all is undone, and what is left to undo, newest first. Stays when it has ended.
        self.undoing: dict[str, Any] | None = None
        self.error: dict[str, Any] | None = None
        #: path → the machine that a step holds (``held.Held``).
        self.machines: dict[str, Any] = {}
        #: What its agents said to each other (``mail.Mail``); None as long as nobody said anything.
        self.mail: Any = None
        #: Who may do what (``authority.Held``); None where the workflow asks for no authority.
        self.authority: Any = None
        self.outputs: bytes = b""
        self.outputs_blobs: list[list[Any]] = []
        # Given by whoever folds; not folded.
        self.program: Program | None = None
        self.link: Link | None = None
        #: By digest, the plans and links to which it is changed by what is folded next, or goes back.
        self.plans: dict[str, Program] = {}
        self.links: dict[str, Link] = {}
        # Not folded.
        self.todo: deque[str] = deque()
        self.inputs: dict[str, Any] | None = None
        #: Contents of blobs that evaluations asked for; given by whoever folds where several runs share it.
        self.cache = Cache() if cache is None else cache
        #: What the evaluation at hand misses: digest → size.
        self.wanted: dict[str, int] = {}

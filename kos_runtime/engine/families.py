"""Runs and the runs that they asked for: what each owes the other, settled in the batch that made it owed.

A run and its children lie in one partition. What a parent's decision asks of a child, and what a child's end means for
its parent, is decided before the batch is given to the store, so that one transaction holds both sides, and a crash
leaves neither without the other.
"""

from collections import deque
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from kos_runtime.core.chain import SALT_BYTES
from kos_runtime.core.failure import ErrorType, failure
from kos_runtime.core.workflow import children, steering
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, Answer, CancelRun, Command, CreateRun
from kos_runtime.core.workflow.compensating import GoBack
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.spawning import DETACHED, REFUSED, StartChild, StopChild
from kos_runtime.core.workflow.state import Run
from kos_runtime.core.workflow.status import TERMINAL
from kos_runtime.engine import messages as msg

if TYPE_CHECKING:
    from kos_runtime.engine.partition import Partition

#: The token of a request that nobody outside waits for.
TOKEN: Final = -3
#: A run of so many steps and turns leaves memory while it waits, however soon its children may end: it is loaded quickly.
SMALL: Final = 64


def parent_of(item: msg.Loaded) -> list[Any] | None:
    """Return ``[run, path, attempt, depth, mode, timeout_ms]`` of the step whose child a run is, of one that was not folded yet."""
    if item.snapshot is not None:
        found: list[Any] | None = item.snapshot["parent"]
        return found
    for event in (event for _, events in item.history[:2] for event in events):
        if isinstance(event, ev.RunSpawned):
            return [event.parent, event.path, event.attempt, event.depth, event.mode, event.timeout_ms]
    return None


class Families:
    """One partition's. ``settle`` does what is owed; it is asked until nothing is."""

    def __init__(
        self,
        partition: "Partition",
        *,
        decide: Callable[..., Any],
        create: Callable[[msg.Request], None],
        load: Callable[[msg.ToParent | msg.ToChild | msg.Report], None],
    ) -> None:
        """``load`` keeps something for a run until it is in memory."""
        self._partition = partition
        self._decide = decide
        self._create = create
        self._load = load
        #: (the run that owes, what), in the order in which it came to be owed.
        self._owed: deque[tuple[str, StartChild | StopChild | GoBack | msg.ToParent]] = deque()

    def look(self, run: Run, desk: Desk) -> None:
        """A run was decided about: note down what it owes now."""
        if desk.owed:
            self._owed.extend((run.id, item) for item in desk.owed)
            desk.owed = None
        if run.parent is not None and run.status in TERMINAL and run.parent[4] != "detach":
            self._ended(run, run.parent[0], run.parent[1])

    def _ended(self, run: Run, parent: str, path: str) -> None:
        end = ev.ChildEnded(path, run.id, run.status.value, run.outputs, run.outputs_blobs, run.error)
        self._owed.append((run.id, msg.ToParent(parent, end)))

    def set_aside(self, id: str, run: Run | None, why: str) -> None:
        """A run was struck out: what it had decided is not owed any more; its parent hears what became of it."""
        if self._owed:
            self._owed = deque(item for item in self._owed if item[0] != id)
        if run is not None and run.parent is not None and run.parent[4] != "detach":
            self._failed(id, run.parent, "quarantined", ErrorType.UNKNOWN, f"it was set aside: {why}")

    def settle(self) -> bool:
        """Do what is owed; say whether there was anything."""
        owed, self._owed = self._owed, deque()
        for run, item in owed:
            match item:
                case StartChild():
                    self._start(run, item)
                case StopChild():
                    self.tell(msg.ToChild(item.child, item, run))
                case GoBack():
                    self._partition.go_back(run, item)
                case msg.ToParent():
                    self.tell(item)
        return bool(owed)

    def _start(self, parent: str, item: StartChild) -> None:
        partition = self._partition
        run, meta = partition.runs[parent], partition.metas[parent]
        link = item.link
        command = CreateRun(
            run=item.child,
            plan=link.plan,
            link=link.link,
            settings=link.settings,
            drivers=link.drivers,
            inputs=item.inputs,
            seed=int.from_bytes(sha256(f"{run.seed}/{item.child}".encode()).digest()[:7], "big"),
            # Nobody who does not know the parent's can tell it.
            salt=sha256(meta.salt + item.child.encode()).digest()[:SALT_BYTES],
            author=run.author,
            parent=item.parent,
        )
        self._create(msg.Request(TOKEN, f"of {parent}", command))

    def answered(self, command: Command, answer: Answer) -> None:
        """A child was created, or cannot be: then its parent hears why."""
        if not isinstance(command, CreateRun) or command.parent is None:
            return
        if not isinstance(answer, Accepted):
            self._failed(command.run, command.parent, REFUSED, ErrorType.VALIDATION, answer.message)
        elif answer.existing and command.parent[4] != "detach":
            self.tell(msg.Report(command.run, command.parent[1], command.parent[0]))
        elif command.parent[4] == "detach":
            outputs = self._partition.codec.pack({"run": command.run})
            end = ev.ChildEnded(command.parent[1], command.run, DETACHED, outputs, [], None)
            self._owed.append((command.run, msg.ToParent(command.parent[0], end)))

    def _failed(self, child: str, parent: list[object], status: str, kind: ErrorType, why: str) -> None:
        error = failure(kind, f"{child}: {why}", recoverable=False).to_plain()
        end = ev.ChildEnded(str(parent[1]), child, status, b"", [], error)
        self._owed.append((child, msg.ToParent(str(parent[0]), end)))

    def keeps(self, run: Run) -> bool:
        """Say whether a run that waits stays in memory: a large one whose children are at work is wanted again soon."""
        if len(run.steps) + len(run.scopes) <= SMALL:
            return False
        return any(child in self._partition.runs for child, _ in run.children.values())

    def ask(self, run: Run) -> None:
        """Nobody listened for a while: have the children of a run say how they stand."""
        for path, (child, _) in list(run.children.items()):
            self.tell(msg.Report(child, path, run.id))

    def not_to_be_had(self, item: msg.Report, status: str, why: str) -> None:
        """A child cannot say how it stands."""
        self._failed(item.run, [item.parent, item.path], status, ErrorType.UNKNOWN, why)

    def tell(self, item: msg.ToParent | msg.ToChild | msg.Report) -> None:
        """Give a run what it is owed; one that is not in memory is loaded for it."""
        run = self._partition.runs.get(item.run)
        if run is None:
            self._load(item)
        elif isinstance(item, msg.Report):
            if run.status in TERMINAL:
                self._ended(run, item.parent, item.path)
        elif isinstance(item, msg.ToParent):
            self._decide(run, f"child:{item.end.child}", children.child_ended, item.end)
        else:
            command = CancelRun(
                run=run.id, by=f"run:{item.parent}", reason=item.stop.reason, grace_ms=item.stop.grace_ms
            )
            if run.status not in TERMINAL:
                self._decide(run, f"parent:{item.parent}", steering.cancel, command)

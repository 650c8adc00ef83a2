"""Commands that stand on what a run has recorded, not only on what it has become: forks and restores.

The history is read from the store behind the command (``LoadHistory``), in the same turn, so nothing can come between.
"""

from typing import TYPE_CHECKING, Any, Final

from kos_runtime.core.chain import EMPTY
from kos_runtime.core.workflow import forking
from kos_runtime.core.workflow.blobs import blobs_of
from kos_runtime.core.workflow.commands import Accepted, ForkRun, Rejected, RestoreRun
from kos_runtime.core.workflow.compensating import GoBack
from kos_runtime.core.workflow.state import Run
from kos_runtime.core.workflow.status import RunStatus
from kos_runtime.engine import messages as msg
from kos_runtime.engine.recorder import Meta

#: Restores that the partition asks of itself bear this instead of a token.
TOKEN: Final = -4

if TYPE_CHECKING:
    from kos_runtime.engine.partition import Partition


class Histories:
    """Carries such commands out for one partition."""

    def __init__(self, partition: "Partition") -> None:
        self._partition = partition
        self._asked: dict[int, msg.Request] = {}
        self._count = 0
        self._going_back: set[str] = set()

    def ask(self, item: msg.Request) -> msg.LoadHistory:
        """Return what has to be read for a command; ``loaded`` then carries it out."""
        self._count += 1
        self._asked[self._count] = item
        command: Any = item.command
        source = command.parent if isinstance(command, ForkRun) else command.run
        return msg.LoadHistory(self._count, source, command.run)

    def go_back(self, run: str, what: GoBack) -> msg.LoadHistory | None:
        """Return what has to be read to restore a run of which all is undone; None when that is asked for already."""
        if run in self._going_back:
            return None
        self._going_back.add(run)
        command = RestoreRun(run=run, to=what.to, by=what.by, reason=what.reason, undone=True)
        return self.ask(msg.Request(TOKEN, "", command))

    def answered(self, command: Any, answer: Accepted | Rejected) -> None:
        """Take what became of such a restore."""
        self._going_back.discard(command.run)
        if isinstance(answer, Rejected):
            self._partition.give_up(command.run, f"what it did is undone, and it cannot be restored: {answer.message}")

    def loaded(self, item: msg.HistoryLoaded) -> None:
        request = self._asked.pop(item.number)
        command = request.command
        if isinstance(command, ForkRun):
            self._partition._reply(request, self._fork(request, command, item))
        elif isinstance(command, RestoreRun):
            run = self._partition.runs.get(command.run)
            if run is None:
                # It was set aside meanwhile.
                self._going_back.discard(command.run)
                self._partition._reply(request, Rejected(code="conflict", message=f"run {command.run} was set aside"))
                return
            self._partition.give_plans(run, item.source)
            self._partition._reply(request, self._partition._steer(run, command, request.command_id, item))

    def _fork(self, request: msg.Request, command: ForkRun, item: msg.HistoryLoaded) -> Accepted | Rejected:
        partition = self._partition
        if item.child is not None or command.run in partition.metas:
            position = item.child.position if item.child is not None else partition.metas[command.run].position
            return Accepted(run=command.run, position=position, existing=True)
        source = item.source
        if source.row is None:
            return Rejected(code="not_found", message=f"no run {command.parent!r} in this store")
        if source.damage or source.program is None or source.link is None:
            why = source.damage or "its plan or its link is gone"
            return Rejected(code="conflict", message=f"run {command.parent} cannot be read: {why}")
        run = Run(command.run, partition.store_id, partition.codec, partition.cache)
        partition._equip(run, source.program, source.link)
        partition.programs.setdefault(source.program.digest, source.program)
        partition.give_plans(run, source)
        partition.runs[run.id] = run
        partition.metas[run.id] = Meta(command.salt, EMPTY, 0, partition.time, new=True)
        cause = f"command:{request.command_id} by {command.by}"
        answer: Any = partition._decide(run, cause, forking.fork, command, source.history, hash_at(source, command.at))
        if isinstance(answer, Rejected):
            for held in (partition.runs, partition.metas, partition._pending, partition._unfinished):
                held.pop(run.id, None)
            return answer
        partition.mention(run.id, [d for event in partition._pending[run.id].events for d in blobs_of(event)])
        if run.status is RunStatus.CREATED:
            partition._start(run)
        return Accepted(run=run.id, position=1, event=answer.event)


def hash_at(loaded: msg.Loaded, position: int) -> bytes:
    """Return the hash of a run's record."""
    return loaded.hashes[position - 1] if 0 < position <= len(loaded.hashes) else b""

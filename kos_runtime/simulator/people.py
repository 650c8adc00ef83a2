"""People in a simulated world: they answer what runs ask of them, and now and then decide something of their own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kos_runtime.core.event import rebuild
from kos_runtime.core.record import Record
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import (
    AnswerTask,
    CancelRun,
    Command,
    DecideApproval,
    ForkRun,
    PauseRun,
    RestoreRun,
    ResumeRun,
    RetryStep,
    SendSignal,
)

if TYPE_CHECKING:
    from kos_runtime.simulator.node import Asked, Node

#: A person takes so long to answer, in milliseconds, at most.
ANSWER_MS: Final = 120_000
#: Somebody who answered is asked again at most so often: an answer that does not fit helps nobody.
MAX_ANSWERS: Final = 8
#: A failed run is tried again by a person at most so often.
MAX_RETRIES: Final = 2
GRACE_MS: Final = 5_000
_ASKING: Final = (
    "manual_task_requested",
    "approval_requested",
    "signal_awaited",
    "run_failed",
    "run_started",
    "run_paused",
)
_VALUES: Final[Mapping[str, Any]] = {
    "string": "by hand", "integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}, "document": "by hand",
    "datetime": "2026-01-01T00:00:00Z", "duration": "1s", "any": 1, "enum": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answers:
    """What people do. ``approve`` is the share of approvals that are given; ``signals`` what a signal carries, by name."""

    answer: bool = True
    approve: float = 0.8
    signals: Mapping[str, Any] | None = None


class People:
    """See the module."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self._asked: dict[tuple[str, str], int] = {}
        self._count = 0
        #: Told of each run that somebody makes of another: where, its id, and what was asked.
        self.on_forked: Callable[[Node, str, Asked], None] = lambda *_: None

    def sees(self, node: "Node", record: Record) -> None:
        """Look at a record of the log, and go to work if it asks something of somebody."""
        names = record.names
        if not any(name in names for name in _ASKING):
            return
        run = record.correlation
        for event in rebuild(names, node.parts.codec.unpack(record.payload)):
            self._heard(node, run, event)

    def _heard(self, node: "Node", run: str, event: Any) -> None:
        if not self.answers.answer:
            return
        world = node.world
        draw = world.chance["person"]
        match event:
            case ev.ManualTaskRequested(path=path, fields=fields):
                data = _filled(fields)
                self._later(node, AnswerTask(run=run, path=path, data=data, by="user:simulated"), path)
            case ev.ApprovalRequested(path=path, quorum=quorum, approvers=approvers, fields=fields):
                data = _filled(fields)
                approved = draw.random() < self.answers.approve
                for number in range(max(quorum, 1)):
                    by, roles = _person(approvers, number)
                    command = DecideApproval(
                        run=run,
                        path=path,
                        approved=approved,
                        data=data,
                        comment="",
                        by=by,
                        roles=roles,
                        right="simulated",
                    )
                    self._later(node, command, f"{path}#{number}")
            case ev.SignalAwaited(path=path, signal=signal):
                data = (self.answers.signals or {}).get(signal, {"run_id": run})
                self._later(node, SendSignal(run=run, signal=signal, data=data, by="user:simulated"), path)
            case ev.RunStarted() if world.happens("steer", "person"):
                world.after(draw.randrange(20_000), self._steers, node, run)
            case ev.RunPaused():
                # Also by a repetition that came late of what had been refused.
                self._later(node, ResumeRun(run=run, by="user:simulated"), "resume")
            case ev.RunFailed() if "steer" in world.faults.rates and self._times(run, "retry") < MAX_RETRIES:
                if draw.random() < 0.5:
                    self._later(node, RetryStep(run=run, path="", retries=1, by="user:simulated"), "retry")

    def _times(self, run: str, what: str) -> int:
        return self._asked.get((run, what), 0)

    def _later(self, node: "Node", command: Any, what: str) -> None:
        times = self._asked[command.run, what] = self._times(command.run, what) + 1
        if times <= MAX_ANSWERS:
            world = node.world
            world.after(world.chance["person"].randrange(ANSWER_MS), self._say, node, command, what, times)

    def _say(self, node: "Node", command: Any, what: str, times: int) -> None:
        node.ask(command, f"{type(command).__name__}-{command.run}-{what}-{times}")

    def _say_once(self, node: "Node", command: Command, command_id: str) -> None:
        node.ask(command, command_id)

    def _steers(self, node: "Node", run: str) -> None:
        """Pause and resume, cancel, restore, or fork."""
        draw = node.world.chance["person"]
        self._count += 1
        number = self._count
        what = draw.random()
        if 0.25 <= what < 0.6:
            self._goes_back(node, run, number, fork=what < 0.45)
            return
        if what < 0.25:
            command = CancelRun(run=run, by="user:simulated", reason="simulated", grace_ms=GRACE_MS)
            node.ask(command, f"cancel-{run}-{number}")
            return
        node.ask(PauseRun(run=run, by="user:simulated"), f"pause-{run}-{number}")

    def _goes_back(self, node: "Node", run: str, number: int, *, fork: bool) -> None:
        """Have a run go on from an earlier record: itself, or another one that is made of it."""
        draw = node.world.chance["person"]
        row = node.life.host.log.run(run) if node.life.ready else None
        if row is None:
            return
        at = draw.randint(1, row.position)
        if not fork:
            node.ask(RestoreRun(run=run, to=at, by="user:simulated"), f"restore-{run}-{number}")
            return
        made = f"{run}-f{number}"
        command = ForkRun(run=made, parent=run, at=at, changes=[], salt=draw.randbytes(16), by="user:simulated")
        self.on_forked(node, made, node.ask(command, f"fork-{run}-{number}"))


def _filled(fields: list[list[Any]]) -> dict[str, Any]:
    return {each[0]: _VALUES.get(each[1], "by hand") for each in fields}


def _person(approvers: list[str], number: int) -> tuple[str, list[str]]:
    """Return somebody who may approve, another one for each number."""
    roles = [text.removeprefix("role:") for text in approvers if text.startswith("role:")]
    named = [text for text in approvers if text.startswith("user:")]
    by = named[number % len(named)] if named and not roles else f"user:simulated{number}"
    return by, roles

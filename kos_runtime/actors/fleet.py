"""The processes of a partition as its engine thread sees them, and the calls that are in flight to each.

Everything here happens on the engine thread. Ray answers on threads of its own, which only put what came into the
inbox; ``take`` then turns it into what the partition understands.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Final

import ray
from ray.exceptions import ActorUnavailableError, RayActorError

from kos_runtime.actors.parts import EngineParts, Key
from kos_runtime.core.failpoint import hit
from kos_runtime.core.invocation import Invocation
from kos_runtime.engine import messages as msg

#: From so many open invocations on, two calls are in flight to a process instead of one: below it a round is dearer
#: than what a second call gains.
TWO_CALLS: Final = 64
#: A call carries at most so many invocations, and so many bytes of inputs.
MAX_CALL: Final = 2_048
MAX_CALL_BYTES: Final = 2 << 20
#: So many times in a row a process may be unreachable without being dead before it is given up.
MAX_SILENCES: Final = 40


@dataclass(slots=True)
class Member:
    """One process. ``open`` counts invocations that were handed to it and have not ended."""

    name: str
    pool: str
    kind: str
    hands: int
    handle: Any
    about: dict[str, Any]
    pending: list[Invocation] = field(default_factory=list)
    #: What waits for a sign of life before it is sent.
    knocking: list[Invocation] = field(default_factory=list)
    sent: dict[int, list[Invocation]] = field(default_factory=dict)
    open: dict[Key, None] = field(default_factory=dict)
    settled: list[Key] = field(default_factory=list)
    running: list[Key] = field(default_factory=list)
    silences: int = 0
    #: Those that are peers' places: nothing of theirs runs but what is reported.
    seats: set[Key] = field(default_factory=set)


@dataclass(slots=True)
class CallEnded:
    """Ray answered a call: ``answer`` is what it returned, or the exception."""

    process: str
    kind: str
    number: int
    answer: Any


@dataclass(slots=True)
class Joined:
    """A process is ready to work."""

    member: Member
    holds: list[Key] = field(default_factory=list)
    outcomes: bytes = b""


class Fleet:
    """See the module. ``start`` makes a process elsewhere and puts ``Joined`` or ``PoolFailed`` into the inbox."""

    def __init__(
        self,
        parts: EngineParts,
        inbox: "SimpleQueue[Any]",
        start: Callable[[msg.StartProcess], None],
        log: Callable[..., None],
    ) -> None:
        self.members: dict[str, Member] = {}
        self._parts = parts
        self._inbox = inbox
        self._start = start
        self._log = log
        self._numbers = 0
        self._epoch = parts.host.epoch
        #: How many processes of a kind have died.
        self.deaths: dict[str, int] = {}
        #: Processes with acknowledgements that found no call to ride on.
        self.unsettled: set[str] = set()

    # --- what the partition asks for

    def dispatch(self, effect: msg.Dispatch) -> None:
        member = self.members.get(effect.process)
        if member is None:
            # It died in the same moment: ProcessDown is on its way into the partition, or is there already.
            return
        if effect.alone:
            # A death may be known long after it: what goes to a process that is dead already would be blamed for it.
            member.knocking.extend(effect.invocations)
            self._knock(member)
            return
        member.pending.extend(effect.invocations)
        self._flush(member)

    def acknowledge(self, effect: msg.Acknowledge) -> None:
        member = self.members.get(effect.process)
        if member is not None:
            member.settled.extend(effect.attempts)
            self.unsettled.add(effect.process)

    def cancel(self, effect: msg.Cancel) -> list[msg.Input]:
        """Ask politely, or end the process; return what follows of that."""
        member = self.members.get(effect.process)
        if member is None:
            return []
        if effect.kill:
            return self._end(
                member, f"{member.name} was ended because {effect.attempts[0][1]} did not stop", kill=True, ours=True
            )
        member.handle.cancel.remote([list(key) for key in effect.attempts])
        return []

    def start(self, effect: msg.StartProcess) -> None:
        self._start(effect)

    def settle(self) -> None:
        """Send acknowledgements that nothing carried."""
        for name in self.unsettled:
            member = self.members.get(name)
            if member is not None and member.settled:
                settled, member.settled = member.settled, []
                member.handle.settle.remote(settled)
        self.unsettled.clear()

    # --- what Ray brings

    def take(self, item: Any) -> Sequence[msg.Input]:
        """Turn what came into input of the partition."""
        if type(item) is CallEnded:
            return self._ended(item)
        if type(item) is Joined:
            return self._joined(item)
        return (item,)

    def _joined(self, item: Joined) -> Sequence[msg.Input]:
        member = item.member
        hit("join.before")
        self.members[member.name] = member
        member.open.update(dict.fromkeys(item.holds))
        self._listen(member)
        hit("join.after")
        up = msg.ProcessUp(member.name, member.pool, member.hands, item.holds)
        return (up, self._outcomes(member, item.outcomes)) if item.outcomes else (up,)

    def _ended(self, item: CallEnded) -> Sequence[msg.Input]:
        member = self.members.get(item.process)
        if member is None:
            return ()
        if isinstance(item.answer, BaseException):
            return self._failed(member, item)
        hit("outcomes.before")
        member.silences = 0
        member.sent.pop(item.number, None)
        if item.kind == "late":
            data, wedged, stuck, said = item.answer
            if said:
                self._parts.progress(said)
            outcomes = self._outcomes(member, data)
            outcomes.stuck = stuck
            if wedged:
                cause = f"{member.name} was ended because {wedged[0][1]} did not stop after its timeout"
                return (outcomes, *self._end(member, cause, kill=True, ours=True))
            self._listen(member)
        elif item.kind == "knock":
            member.pending, member.knocking = [*member.pending, *member.knocking], []
            self._flush(member)
            return ()
        else:
            outcomes = self._outcomes(member, item.answer)
        if member.pending:
            self._flush(member)
        hit("outcomes.after")
        return (outcomes,)

    def _outcomes(self, member: Member, data: bytes) -> msg.Outcomes:
        outcomes, running = self._parts.unpack_outcomes(data)
        for outcome in outcomes:
            member.open.pop((outcome.run, outcome.path, outcome.fence), None)
            if member.seats:
                member.seats.discard((outcome.run, outcome.path, outcome.fence))
        if running or member.running:
            # A call speaks of its own batch alone: what was said of others holds until they end.
            member.running = [key for key in dict.fromkeys([*member.running, *running]) if key in member.open]
        return msg.Outcomes(member.name, outcomes, running)

    def _failed(self, member: Member, item: CallEnded) -> Sequence[msg.Input]:
        """A call failed. A process that is only unreachable is asked again: it does nothing twice under one fence."""
        error = item.answer
        if isinstance(error, ActorUnavailableError) and member.silences < MAX_SILENCES:
            member.silences += 1
            sent = member.sent.pop(item.number, None)
            self._ask_again(member, item.kind, sent)
            return ()
        unknown: list[msg.Input] = []
        begun = {(i.run, i.path, i.fence) for sent in member.sent.values() for i in sent if not i.peer}
        begun.update((run, path, fence) for run, path, fence in member.running)
        # Whatever was in a call that did not return may have begun; without any, all that it held may have.
        suspects = [key for key in member.open if key in begun] or [k for k in member.open if k not in member.seats]
        if suspects:
            unknown.append(msg.Outcomes(member.name, [], suspects))
        # One that is only out of reach would come back, and keep its place until then.
        kill = not isinstance(error, RayActorError) or isinstance(error, ActorUnavailableError)
        return (*unknown, *self._end(member, _cause(member, error), kill=kill))

    def _ask_again(self, member: Member, kind: str, sent: list[Invocation] | None) -> None:
        if kind == "knock":
            self._knock(member)
        elif sent is None:
            self._listen(member)
        else:
            member.pending[:0] = sent
            self._flush(member)

    def _end(self, member: Member, cause: str, *, kill: bool, ours: bool = False) -> list[msg.Input]:
        del self.members[member.name]
        self.deaths[member.kind] = self.deaths.get(member.kind, 0) + 1
        if kill:
            ray.kill(member.handle, no_restart=True)
        self._log("process_down", process=member.name, cause=cause)
        waiting = [(i.run, i.path, i.fence) for i in (*member.pending, *member.knocking)]
        unsent = [key for key in waiting if key not in member.open]
        return [msg.ProcessDown(member.name, cause, ended=ours, unsent=unsent)]

    # --- calls

    def _knock(self, member: Member) -> None:
        self._call(member, "knock", member.handle.running.remote(), None)

    def _listen(self, member: Member) -> None:
        settled, member.settled = member.settled, []
        self._call(member, "late", member.handle.late.remote(self._epoch, settled), None)

    def _flush(self, member: Member) -> None:
        while member.pending:
            allowed = 1 if len(member.open) + len(member.pending) < TWO_CALLS else 2
            if len(member.sent) >= allowed:
                return
            batch = _cut(member.pending)
            for i in batch:
                member.open[i.run, i.path, i.fence] = None
                if i.peer:
                    member.seats.add((i.run, i.path, i.fence))
            settled, member.settled = member.settled, []
            name = f"{batch[0].path}@{batch[0].attempt}" if len(batch) == 1 else f"{member.kind}×{len(batch)}"
            hit("dispatch.before")
            ref = member.handle.work.options(name=name).remote(self._parts.pack_work(batch, settled))
            self._call(member, "work", ref, batch)
            hit("dispatch.after")

    def _call(self, member: Member, kind: str, ref: Any, sent: list[Invocation] | None) -> None:
        self._numbers += 1
        number, process, put = self._numbers, member.name, self._inbox.put
        if sent is not None:
            member.sent[number] = sent

        def done(answer: Any, _kept: Any = ref) -> None:
            # Ray ends the process when a reference is dropped before its answer is here: this keeps it.
            put(CallEnded(process, kind, number, answer))

        ref._on_completed(done)


def _cut(pending: list[Invocation]) -> list[Invocation]:
    """Take from the front what fits into one call; at least one."""
    size = count = 0
    for invocation in pending:
        size += len(invocation.inputs) + sum(len(p.packed or b"") for g in invocation.gathers for p in g.pieces)
        if count and (size > MAX_CALL_BYTES or count >= MAX_CALL):
            break
        count += 1
    batch = pending[:count]
    del pending[:count]
    return batch


def _cause(member: Member, error: BaseException) -> str:
    if isinstance(error, RayActorError):
        text = str(error)
        for line in text.splitlines():
            if "exit" in line.lower() or "killed" in line.lower() or "died" in line.lower():
                return f"{member.name} died: {line.strip()[:200]}"
        return f"{member.name} died"
    return f"{member.name} failed: {type(error).__name__}: {str(error)[:200]}"

"""One life of a partition's process in a simulated world: what its actor on Ray is otherwise.

It opens the store, claims the partition, asks the agents' processes that are still there what they hold, and then takes
turns: what came goes into the shipped ``Host``, what follows is done. Calls to agents' processes are sent again until
they are answered, since a process does nothing twice under one fence; one that stays silent is given up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from kos_runtime.core import failpoint
from kos_runtime.core.errors import Fenced, StoreError
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.engine import messages as msg
from kos_runtime.engine.host import Host
from kos_runtime.simulator.processes import AgentProcess
from kos_runtime.simulator.world import MACHINES, Key

if TYPE_CHECKING:
    from kos_runtime.simulator.node import Node

#: A call that nobody answered is sent again after so long, in milliseconds.
CALL_AGAIN_MS: Final = 2_000
#: So many times in a row a process may be silent before it is given up.
MAX_SILENCES: Final = 10
#: A new owner waits so long for what agents hold, in milliseconds.
INVENTORY_MS: Final = 5_000
#: Acknowledgements that found no call to ride on are sent after so long, in milliseconds.
SETTLE_MS: Final = 500
#: A turn that has nothing to do comes after so long, in milliseconds, at least.
LOOK_MS: Final = 1


class Killed(BaseException):
    """The process ends here and now."""


@dataclass(slots=True)
class Member:
    """An agent's process as a partition sees it."""

    process: AgentProcess
    open: dict[Key, None] = field(default_factory=dict)
    #: number → what a call carried that is not answered.
    sent: dict[int, list[Invocation]] = field(default_factory=dict)
    settled: list[Key] = field(default_factory=list)
    running: list[Key] = field(default_factory=list)
    silences: int = 0
    #: The number of the newest report.
    heard: int = 0
    #: What it reported → whether that is stored.
    told: dict[Key, bool] = field(default_factory=dict)
    #: Those that are peers' places: nothing of theirs runs but what is reported.
    seats: set[Key] = field(default_factory=set)


class Life:
    """See the module."""

    def __init__(self, node: "Node", number: int) -> None:
        self.node, self.world, self.number = node, node.world, number
        self.alive = True
        self.epoch = 0
        self.inbox: list[msg.Input] = []
        self.members: dict[str, Member] = {}
        #: It stands still until then.
        self.frozen_until = 0
        self.ready = False
        self.host: Host
        self._awaited: set[str] = set()
        self._turn_at = -1
        self._calls = 0
        self._countdown = 0
        #: What peers ask, by the tokens under which the partition knows it.
        self._peers: dict[int, tuple[AgentProcess, int]] = {}
        self._asked = 0
        #: The power is to go while the next append is written and not yet synced.
        self.power_goes = False

    @property
    def name(self) -> str:
        return f"p{self.node.number}.{self.number}"

    # --- beginning

    def begin(self) -> None:
        """Open the store and claim it; then ask around."""
        if not self.alive:
            return
        node, world = self.node, self.world
        self._plant(at_most=5)
        try:
            log = node.parts.open_log(node.number)
            self.clock = node.parts.make_clock(node.wall(), log.head().time, node.wall, self._boot_ns)
            self.host = Host(
                log,
                node.parts.blobs,
                node.parts.codec,
                owner=self.name,
                limits=node.parts.limits,
                calendar=node.parts.calendar,
                wall=self.clock.wall,
            )
            self.host._programs, self.host._links = node.parts.programs, node.parts.links
        except Killed:
            self._die("killed while it began")
            return
        except StoreError as error:
            self._die(str(error))
            return
        finally:
            failpoint.plant(None)
        self.epoch = self.host.epoch
        world.trace(f"{self.name} owns epoch {self.epoch}")
        world.news = True
        if self.epoch > 1:
            world.sometimes["partition taken over"] += 1
        self._awaited = {process.name for process in node.processes.values() if process.alive}
        for process in list(node.processes.values()):
            if process.alive:
                world.send(node.machine, process.machine, process.inventory, self)
        if self._awaited:
            world.after(INVENTORY_MS, self._reconciled)
        else:
            self._reconciled()

    def _boot_ns(self) -> int:
        return self.world.now * 1_000_000

    def inventoried(self, name: str, holds: list[Key], outcomes: list[Outcome], running: list[Key]) -> None:
        """What a process holds from before."""
        process = self.node.processes.get(name)
        if process is None or name in self.members or name not in self._awaited:
            return
        self._awaited.discard(name)
        member = self.members[name] = Member(process, dict.fromkeys(holds), running=list(running))
        if holds:
            self.world.sometimes["work adopted after a takeover"] += 1
        self.inbox.append(msg.ProcessUp(name, process.pool, process.hands, holds))
        if outcomes or running:
            self.inbox.append(self._outcomes(member, outcomes, running))
        if not self._awaited:
            self._reconciled()

    def _reconciled(self) -> None:
        if self.ready or not self.alive:
            return
        for name in sorted(self._awaited & self.node.processes.keys()):
            self.world.sometimes["process that did not answer a new owner"] += 1
            self._kill(self.node.processes[name])
        self._awaited.clear()
        self.ready = True
        self.inbox.append(msg.Reconciled())
        self.wake()

    # --- turns

    def put(self, item: msg.Input) -> None:
        if self.alive:
            self.inbox.append(item)
            self.wake()

    def wake(self, delay: int = 0) -> None:
        """Take a turn soon."""
        if not (self.alive and self.ready):
            return
        instant = max(self.world.now + delay, self.frozen_until)
        if self._turn_at < 0 or instant < self._turn_at:
            self._turn_at = instant
            self.world.after(instant - self.world.now, self._turn, instant)

    def freeze(self, until: int) -> None:
        """Stand still, as after SIGSTOP."""
        self.frozen_until = until

    def _turn(self, instant: int) -> None:
        if not self.alive or instant != self._turn_at:
            return
        self._turn_at = -1
        if self.world.now < self.frozen_until:
            self.wake()
            return
        batch, self.inbox = self.inbox, []
        self._plant()
        before = self.host.stalled_until
        try:
            effects = self.host.cycle(batch, self.clock.now())
        except Killed:
            if self.power_goes:
                self.node.lose_power()
            else:
                self.node.ends(self, "killed")
            return
        except StoreError as error:
            if isinstance(error, Fenced):
                self.world.sometimes["stale epoch refused"] += 1
            else:
                self.world.sometimes["append of which nobody knows"] += 1
            self.node.ends(self, str(error))
            return
        finally:
            failpoint.plant(None)
        if self.host.stalled_until != before:
            self.world.sometimes["append definitely refused"] += 1
        self.node.committed(self)
        if effects:
            if self.world.strikes("slow_disk", "disk"):
                self.frozen_until = self.world.now + self.world.chance["disk"].randrange(10, 10_000)
                self.world.after(self.frozen_until - self.world.now, self._perform_all, effects)
            else:
                self._perform_all(effects)
        self._sleep()

    def _sleep(self) -> None:
        if self.inbox:
            self.wake()
            return
        if not self.node.live and self.host.partition.is_idle():
            # Nothing can come due here before somebody asks for something.
            return
        due = self.host.partition.next_due()
        if due is not None:
            now = self.clock.now()
            if self.host.stalled_until > now:
                due = max(due, self.host.stalled_until)
            self.wake(max(self.clock.until(due), LOOK_MS))

    def _plant(self, at_most: int = 9) -> None:
        """Have the process killed at the n-th named place of this turn, if that is to be."""
        world = self.world
        if "crash" in world.faults.rates and world.strikes("crash", "life"):
            self._countdown = world.chance["life"].randint(1, at_most)
            failpoint.plant(self._hit)
        elif self.power_goes:
            failpoint.plant(self._power_goes)

    def _power_goes(self, place: str) -> None:
        if place == "append.commit":
            raise Killed(place)

    def _hit(self, place: str) -> None:
        self._countdown -= 1
        if self._countdown == 0:
            self.world.sometimes[f"killed at {place}"] += 1
            raise Killed(place)

    def _die(self, why: str) -> None:
        self.node.ends(self, why)

    # --- what follows

    def _perform_all(self, effects: Sequence[msg.Effect]) -> None:
        for effect in effects:
            if self.alive:
                self._perform(effect)

    def _perform(self, effect: msg.Effect) -> None:
        match effect:
            case msg.Dispatch(process=name, invocations=invocations):
                self._dispatch(name, invocations)
            case msg.Reply(token=token, answer=answer):
                self.node.replies(self, token, answer)
            case msg.PeerAnswer(token=token, rows=rows):
                asking, number = self._peers.pop(token)
                self.world.send(self.node.machine, asking.machine, asking.told_by_disk, number, rows)
            case msg.Acknowledge(process=name, attempts=attempts):
                member = self.members.get(name)
                if member is not None:
                    if not member.settled:
                        self.world.after(SETTLE_MS, self._settle, member)
                    member.settled.extend(attempts)
                    member.told.update(dict.fromkeys(attempts, True))
            case msg.StartProcess():
                self.node.start_process(self, effect)
            case msg.Cancel(process=name, attempts=attempts, kill=kill):
                member = self.members.get(name)
                if member is None:
                    return
                if kill:
                    self._end(member, f"{name} was ended because {attempts[0][1]} did not stop", ours=True)
                else:
                    self.world.send(self.node.machine, member.process.machine, member.process.cancel, list(attempts))
            case msg.Notice(kind=kind, text=text, run=run):
                self.node.noticed(kind, text, run)

    # --- calls to agents' processes

    def _dispatch(self, name: str, invocations: list[Invocation]) -> None:
        member = self.members.get(name)
        if member is None:
            return
        for each in invocations:
            member.open[each.run, each.path, each.fence] = None
            if each.peer:
                member.seats.add((each.run, each.path, each.fence))
        self._calls += 1
        member.sent[self._calls] = invocations
        self._call(member, self._calls)

    def _call(self, member: Member, number: int) -> None:
        settled, member.settled = member.settled, []
        process = member.process
        self.world.send(self.node.machine, process.machine, process.work, self, number, member.sent[number], settled)
        self.world.after(CALL_AGAIN_MS, self._call_again, member, number)

    def _call_again(self, member: Member, number: int) -> None:
        if not self.alive or number not in member.sent or self.members.get(member.process.name) is not member:
            return
        member.silences += 1
        if member.silences > MAX_SILENCES:
            self.world.sometimes["silent process given up"] += 1
            self._suspect(member)
            self._end(member, f"{member.process.name} does not answer")
            return
        self._call(member, number)

    def _settle(self, member: Member) -> None:
        if self.alive and member.settled:
            settled, member.settled = member.settled, []
            self.world.send(self.node.machine, member.process.machine, member.process.settle, settled)

    def hears(self, machine: str, call: Any, *arguments: Any, sure: bool = False) -> None:
        """A process speaks to this life."""
        self.world.send(machine, self.node.machine, call, *arguments, sure=sure)

    def answered(
        self, name: str, number: int, outcomes: list[Outcome], running: list[Key], stuck: int, report: int
    ) -> None:
        """A call was answered."""
        member = self.members.get(name)
        if member is not None and self.alive:
            member.sent.pop(number, None)
            self.told(name, outcomes, running, stuck, report)

    def told(self, name: str, outcomes: list[Outcome], running: list[Key], stuck: int, number: int = 0) -> None:
        """Something ended in a process, or began. ``number`` counts what it tells: an older word says nothing of its hands."""
        member = self.members.get(name)
        if member is None or not self.alive:
            if outcomes and self.alive:
                self.world.sometimes["answer of a process that was given up"] += 1
            return
        member.silences = 0
        outcomes = self._news_of(member, outcomes)
        item = self._outcomes(member, outcomes, running)
        if number >= member.heard:
            item.stuck = stuck
        member.heard = max(member.heard, number)
        self.put(item)

    def _news_of(self, member: Member, outcomes: list[Outcome]) -> list[Outcome]:
        """Return what was not reported before. What is stored is acknowledged again: the first word was lost.

        Now and then a report comes through twice all the same.
        """
        news = []
        for outcome in outcomes:
            if ">" in outcome.path:
                # What an attempt says: the partition knows it by its id.
                news.append(outcome)
                continue
            key = (outcome.run, outcome.path, outcome.fence)
            stored = member.told.setdefault(key, False)
            if key in member.open or self.world.happens("duplicate", "network"):
                news.append(outcome)
            elif stored:
                if not member.settled:
                    self.world.after(SETTLE_MS, self._settle, member)
                member.settled.append(key)
        return news

    def _outcomes(self, member: Member, outcomes: list[Outcome], running: list[Key]) -> msg.Outcomes:
        for outcome in outcomes:
            member.open.pop((outcome.run, outcome.path, outcome.fence), None)
        member.running = [key for key in running if key in member.open]
        return msg.Outcomes(member.process.name, outcomes, list(running))

    def asked_by_peers(self, process: AgentProcess, number: int, rows: list[list[Any]]) -> None:
        """Peers of a process ask something of their disk."""
        if self.alive and self.ready:
            self._asked += 1
            self._peers[-self._asked] = (process, number)
            self.put(msg.PeerRequest(-self._asked, rows))

    def wedged(self, name: str, key: Key) -> None:
        """A body runs on long after it should have stopped."""
        member = self.members.get(name)
        if member is not None and self.alive:
            self.world.sometimes["process ended for a body that did not stop"] += 1
            self._end(member, f"{name} was ended because {key[1]} did not stop after its timeout", ours=True)

    def killed(self, process: AgentProcess, cause: str) -> None:
        """A process is gone; that is noticed after a moment."""
        self.node.process_dies(process, cause)

    def lost(self, name: str, cause: str) -> None:
        """A process is known to be gone."""
        member = self.members.get(name)
        if member is None or not self.alive:
            return
        self._suspect(member)
        self._end(member, cause, dead=True)

    def _suspect(self, member: Member) -> None:
        begun = {(i.run, i.path, i.fence) for sent in member.sent.values() for i in sent if not i.peer}
        begun.update(member.running)
        suspects = [key for key in member.open if key in begun] or [k for k in member.open if k not in member.seats]
        if suspects:
            self.inbox.append(msg.Outcomes(member.process.name, [], suspects))

    def _end(self, member: Member, cause: str, *, ours: bool = False, dead: bool = False) -> None:
        name = member.process.name
        self.members.pop(name, None)
        if not dead:
            self._kill(member.process)
        self.put(msg.ProcessDown(name, cause, ended=ours))

    def _kill(self, process: AgentProcess) -> None:
        """End a process: also one that cannot be reached now is ended when it can."""
        self.world.send(self.node.machine, process.machine, self.node.process_dies, process, "it was ended", sure=True)

    # --- processes that are started

    def joined(self, process: AgentProcess) -> None:
        if not self.alive:
            return
        self.members[process.name] = Member(process)
        self.put(msg.ProcessUp(process.name, process.pool, process.hands))

    def machine_for(self, number: int) -> str:
        """Return where the next process stands: not on a machine that is down, unless all are."""
        up = [name for name in MACHINES if self.world.down.get(name, 0) <= self.world.now] or MACHINES
        return up[number % len(up)]

"""Who has hands free, and who is next.

A pool is an agent kind with one demand of resources. Its processes have as many hands as actions that they run at
once; a process may hold a little more than that, worth ``ahead_ms`` of work by what its actions have taken so far, so
that short actions travel in large batches and long ones are not queued behind each other. Between runs the share is
fair: each in turn starts one step, by priority (``turns``). Limits of pools and of runs are ``gates``; without any nothing is
asked of them.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from kos_runtime.core.identity import run_stream
from kos_runtime.core.plan.link import AgentLink
from kos_runtime.core.plan.model import Limit
from kos_runtime.engine.gates import Gate, RunGate, still_taken
from kos_runtime.engine.limits import Limits
from kos_runtime.engine.turns import Turns

#: A dispatch: run, path, fence.
Key = tuple[str, str, int]

#: An action that takes less than this on average is cheap: it goes to one process as long as that has room.
CHEAP_MS = 1.0
NEVER = 1 << 62


@dataclass(slots=True)
class Process:
    name: str
    pool: str
    hands: int
    #: How many dispatches it may hold now (``Pools.measured`` moves it).
    room: int
    #: What it holds → the instant at which its silence has lasted too long, 0 for never.
    holds: dict[Key, int] = field(default_factory=dict)
    #: Those of which it said that they have begun.
    begun: set[Key] = field(default_factory=set)
    #: Those that wait for answers of other agents and keep no hand meanwhile → the places of what they asked.
    asking: dict[Key, set[str]] = field(default_factory=dict)
    #: It runs one suspect alone, and takes nothing else.
    alone: bool = False
    #: So many of its hands are taken by bodies that run on after their timeout.
    stuck: int = 0
    #: When it was last heard of beside its outcomes; below 0 while its host does not say.
    heard: int = -1
    #: Those that are to give signs of life → (how often in milliseconds, the instant of their timeout, 0 for never).
    watched: dict[Key, tuple[int, int]] = field(default_factory=dict)
    #: Peers that have their place here; they take no hands.
    peers: dict[Key, None] = field(default_factory=dict)


@dataclass(slots=True)
class Pool:
    name: str
    link: AgentLink
    processes: dict[str, Process] = field(default_factory=dict)
    queue: Turns = field(default_factory=Turns)
    waiting: set[tuple[str, str]] = field(default_factory=set)
    starting: int = 0
    #: Moving average of what an action took, in milliseconds; below 0 when nothing is known.
    mean_ms: float = -1.0
    failed: str = ""
    #: The process that takes nothing new until it is empty, and who waits for it to run there alone.
    reserved: str = ""
    reserved_for: tuple[str, str] = ("", "")
    #: What keeps more from starting than may, if anything does.
    gate: Gate | None = None
    #: As many processes as peers that are to sit apart have asked for.
    seats: int = 0

    def running(self) -> int:
        """Return how many hands are taken, those of bodies that run on after their timeout too."""
        return sum(len(process.holds) + process.stuck for process in self.processes.values())

    def ahead(self, hands: int, limits: Limits) -> int:
        """Return how many dispatches a process with so many hands may hold."""
        if self.mean_ms < 0:
            return hands
        worth = max(limits.ahead_ms / max(self.mean_ms, 1.0), limits.ahead_least_ms)
        return max(hands, min(limits.max_ahead, int(hands * worth / max(self.mean_ms, 0.005))))


class Pools:
    """All pools of one partition. ``granting`` is a pair of hands that was promised to who is next in turn."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.pools: dict[str, Pool] = {}
        self.processes: dict[str, Process] = {}
        self.granting = False
        #: Whose hands were found free by ``has_room``, for the ``take`` that follows.
        self.found: Process | None = None
        #: Log time in milliseconds, set before anything is asked.
        self.now = 0
        #: No dispatch is overdue before this instant.
        self.overdue_at = NEVER
        #: Limits that are kept, by the name under which the store knows them; and what it knows of those not kept yet.
        self.gates: dict[str, Gate] = {}
        self._stored: dict[str, dict[str, Any]] = {}
        #: Limits of which the store is to know nothing any more, with the next record.
        self.forgotten: list[str] = []
        #: Nothing is given out any more: what is held ends, everything else waits for a successor.
        self.closed = False

    def know(self, link: AgentLink) -> Pool:
        pool = self.pools.get(link.pool)
        if pool is None:
            pool = self.pools[link.pool] = Pool(link.pool, link)
            if link.limit is not None:
                name = f"pool/{link.pool}"
                pool.gate = self.gates[name] = Gate(name, link.limit, self._still_taken(name))
        return pool

    # --- asked while deciding

    def has_room(
        self, pool: str, run: str, path: str, *, alone: bool = False, avoid: Sequence[str] = (), priority: int = 0
    ) -> bool:
        here = self.pools[pool]
        if avoid and not self.has_others(pool, avoid):
            avoid = ()
        if self.granting or not here.waiting:
            self.granting = False
            self.found = self._free(here, alone=alone, avoid=avoid)
            if self.found is not None:
                return True
        if alone and not self._is_reserved(here):
            # Work that never pauses must not keep a suspect waiting for an empty process for ever.
            least = min(here.processes.values(), key=lambda process: len(process.holds), default=None)
            here.reserved, here.reserved_for = ("" if least is None else least.name), (run, path)
        if (run, path) not in here.waiting:
            here.waiting.add((run, path))
            here.queue.add(run, path, priority)
        return False

    def members(self, pool: str) -> list[tuple[str, int]]:
        return [(process.name, process.room) for process in self.pools[pool].processes.values()]

    def room_at(self, pool: str, process: str, run: str, path: str, *, alone: bool = False, priority: int = 0) -> bool:
        here = self.pools[pool]
        waiting = here.waiting
        if self.granting or not waiting or (len(waiting) == 1 and (run, path) in waiting):
            self.granting = False
            found = here.processes.get(process)
            if found is not None and self._takes(here, found, alone=alone):
                self.found = found
                return True
        if (run, path) not in here.waiting:
            here.waiting.add((run, path))
            here.queue.add(run, path, priority)
        return False

    def _takes(self, pool: Pool, process: Process, *, alone: bool) -> bool:
        if self.closed or (pool.gate is not None and pool.gate.shut(self.now, pool.running())):
            return False
        held = len(process.holds)
        if process.alone or (pool.reserved == process.name and not alone and self._is_reserved(pool)):
            return False
        if alone and (held or process.stuck):
            return False
        return held < process.room and not (process.stuck and held >= process.hands - process.stuck)

    def wants_more(self, pool: str, run: str, path: str) -> bool:
        here = self.pools[pool]
        may_grow = len(here.processes) < max(here.link.most, 1) and not (here.failed and here.processes)
        if may_grow and not self.closed and (run, path) not in here.waiting:
            here.waiting.add((run, path))
            here.queue.add(run, path, 0)
        return may_grow

    def silent_ms(self, process: str) -> int:
        found = self.processes.get(process)
        return 0 if found is None or found.heard < 0 else self.now - found.heard

    def has_others(self, pool: str, avoid: Sequence[str]) -> bool:
        here = self.pools[pool]
        if any(name not in avoid for name in here.processes):
            return True
        return not here.failed and len(here.processes) < max(here.link.most, 1)

    def seat(
        self, pool: str, run: str, path: str, item: str, fence: int, apart: Container[str], priority: int = 0
    ) -> str:
        here = self.pools[pool]
        shut = self.closed or (here.gate is not None and here.gate.shut(self.now, here.running()))
        free = [] if shut else [p for p in here.processes.values() if p.name not in apart and not p.alone]
        self.granting = False
        if not free:
            # Peers that sit apart need as many processes as there may be, and none can begin without most of them.
            here.seats = here.link.most
            if (run, path) not in here.waiting:
                here.waiting.add((run, path))
                here.queue.add(run, path, priority)
            return ""
        process = min(free, key=_peers_of)
        if self.gates:
            self._through_gates(pool, run)
        process.peers[run, item, fence] = None
        return process.name

    def unseat(self, process: str, run: str, path: str, fence: int) -> None:
        self.processes[process].peers.pop((run, path, fence), None)

    def take(
        self, run: str, path: str, fence: int, timeout_ms: int, *, alone: bool = False, heartbeat_ms: int = 0
    ) -> str:
        process = self.found
        assert process is not None
        if self.gates:
            self._through_gates(process.pool, run)
        process.alone = alone
        self.held(process, (run, path, fence), timeout_ms)
        if heartbeat_ms:
            self.watch(process, (run, path, fence), heartbeat_ms)
        return process.name

    def _free(self, pool: Pool, *, alone: bool = False, avoid: Sequence[str] = ()) -> Process | None:
        """Return the process that takes the next dispatch: the first with room for cheap work, else the idlest.

        What is to run alone, because it may have ended a process before, needs one that holds nothing.
        """
        if self.closed or (pool.gate is not None and pool.gate.shut(self.now, pool.running())):
            return None
        best: Process | None = None
        reserved = pool.reserved if pool.reserved and not alone and self._is_reserved(pool) else ""
        for process in pool.processes.values():
            held = len(process.holds)
            if (reserved and process.name == reserved) or process.name in avoid:
                continue
            if process.alone or (alone and (held or process.stuck)):
                continue
            if process.asking:
                held -= len(process.asking)
            if held >= process.room or (process.stuck and held >= process.hands - process.stuck):
                continue
            if 0 <= pool.mean_ms < CHEAP_MS:
                return process
            if best is None or held * best.hands < len(best.holds) * process.hands:
                best = process
        return best

    def _is_reserved(self, pool: Pool) -> bool:
        return pool.reserved in pool.processes and pool.reserved_for in pool.waiting

    def _awaits_suspect(self, pool: Pool) -> bool:
        """Say whether the reserved process is empty now."""
        if not self._is_reserved(pool) or (pool.gate is not None and pool.gate.shut(self.now, pool.running())):
            return False
        process = pool.processes[pool.reserved]
        return not process.holds and not process.stuck

    # --- told by the partition

    def up(self, name: str, pool: str, hands: int) -> Process:
        here = self.pools[pool]
        process = Process(name, pool, max(hands, 1), here.ahead(max(hands, 1), self.limits))
        here.processes[name] = self.processes[name] = process
        here.starting = max(here.starting - 1, 0)
        here.failed = ""
        return process

    def down(self, name: str) -> Process | None:
        process = self.processes.pop(name, None)
        if process is not None:
            pool = self.pools[process.pool]
            pool.processes.pop(name, None)
            pool.failed = ""
        return process

    def held(self, process: Process, key: Key, timeout_ms: int) -> None:
        """A process was given something that may take so long, 0 for any time."""
        if timeout_ms > 0:
            due = self.now + timeout_ms + self.limits.grace_ms
            process.holds[key] = due
            self.overdue_at = min(self.overdue_at, due)
        else:
            process.holds[key] = 0

    def watch(self, process: Process, key: Key, heartbeat_ms: int) -> None:
        """Something that a process was given is lost when the process is not heard of for so long, beside its grace.

        That the action itself gives signs of life is seen to by the process; this is for one that sees to nothing more.
        """
        process.watched[key] = (heartbeat_ms, process.holds[key])
        self._look_for(process, key, self.now)

    def _look_for(self, process: Process, key: Key, since: int) -> None:
        heartbeat_ms, hard = process.watched[key]
        due = since + heartbeat_ms + 2 * self.limits.grace_ms
        process.holds[key] = due = min(due, hard) if hard else due
        self.overdue_at = min(self.overdue_at, due)

    def _is_heard(self, process: Process, key: Key) -> bool:
        """Say whether a process whose word on something is due was heard of since: then it is due again later."""
        kept = process.watched.get(key)
        if kept is None or 0 < kept[1] <= self.now:
            return False
        since = self.now if process.heard < 0 else process.heard
        if since + kept[0] + 2 * self.limits.grace_ms <= self.now:
            return False
        self._look_for(process, key, since)
        return True

    def asks(self, process: str, attempt: Key, place: str) -> None:
        here = self.processes.get(process)
        if here is not None and attempt in here.holds:
            here.asking.setdefault(attempt, set()).add(place)

    def answered(self, process: str, attempt: Key, place: str) -> None:
        here = self.processes.get(process)
        if here is not None and attempt in here.asking:
            here.asking[attempt].discard(place)
            if not here.asking[attempt]:
                del here.asking[attempt]

    def released(self, process: Process, key: Key) -> None:
        """A dispatch ended."""
        process.holds.pop(key, 0)
        if process.asking:
            process.asking.pop(key, None)
        if process.peers:
            process.peers.pop(key, None)
        if process.begun:
            process.begun.discard(key)
        if process.watched:
            process.watched.pop(key, None)
        if process.alone and not process.holds:
            process.alone = False

    def measured(self, process: Process, durations: Sequence[float]) -> None:
        """So many milliseconds the bodies of some actions ran: they move the pool's average, and with it the room."""
        pool = self.pools[process.pool]
        mean = sum(durations) / len(durations)
        pool.mean_ms = mean if pool.mean_ms < 0 else mean + (pool.mean_ms - mean) * 0.9 ** len(durations)
        for member in pool.processes.values():
            member.room = pool.ahead(member.hands, self.limits)

    def overdue(self) -> list[tuple[Process, Key]]:
        """Return the dispatches whose processes stayed silent beyond their timeout and grace, each once."""
        if self.now < self.overdue_at:
            return []
        found: list[tuple[Process, Key]] = []
        self.overdue_at = NEVER
        for process in self.processes.values():
            for key, due in process.holds.items():
                if 0 < due <= self.now:
                    if not (process.watched and self._is_heard(process, key)):
                        found.append((process, key))
                elif 0 < due < self.overdue_at:
                    self.overdue_at = due
        for process, key in found:
            process.holds[key] = 0
        return found

    def are_empty(self) -> bool:
        """Say whether no process holds anything."""
        return not any(process.holds for process in self.processes.values())

    def next_in_turn(self, pool: Pool) -> tuple[str, str] | None:
        """Take out who is next, if somebody waits and hands are free."""
        if not pool.waiting or (self._free(pool) is None and not self._awaits_suspect(pool)):
            return None
        turn = pool.queue.next()
        if turn is not None:
            pool.waiting.discard(turn)
        return turn

    def wants_process(self, pool: Pool) -> bool:
        """Whether a pool should grow: somebody waits, nothing is on its way, and it may have more."""
        if pool.gate is not None and pool.gate.shut(self.now, pool.running()):
            # Whoever waits does not wait for hands.
            return False
        there = len(pool.processes) + pool.starting
        if self.closed or there >= max(pool.link.most, 1) or (pool.starting and there >= pool.seats):
            return False
        if pool.failed and pool.processes:
            # What could not be placed beside them is left out until something changes.
            return False
        return bool(pool.waiting) or len(pool.processes) < pool.link.least

    # --- limits

    def restore(self, name: str, plain: dict[str, Any]) -> None:
        """Take what the store knows of a limit: what was started under it counts when the limit is met again."""
        self._stored[name] = plain

    def _still_taken(self, name: str) -> list[list[int]]:
        plain = self._stored.pop(name, None)
        return [] if plain is None else still_taken(plain, self.now)

    def admits(self, run: str, path: str, limit: Limit, running: int, priority: int) -> bool:
        """Say whether more of a run with a limit may start beside what runs of it; if not, remember who asked."""
        name = run_stream(run)
        gate = self.gates.get(name)
        if gate is None:
            gate = self.gates[name] = RunGate(run, name, limit, self._still_taken(name))
        assert isinstance(gate, RunGate)
        if not gate.shut(self.now, running):
            return True
        gate.wait(path, priority)
        return False

    def held_back(self, name: str, running: int = -1) -> tuple[str, int] | None:
        """Say what the limit of a pool is, or of a run of which so much runs, that keeps more from starting, and until when."""
        if not self.gates:
            return None
        if running >= 0:
            gate: Gate | None = self.gates[run_stream(name)]
        else:
            pool = self.pools[name]
            gate, running = pool.gate, pool.running()
        if gate is None or not gate.shut(self.now, running):
            return None
        return gate.words(), gate.opens_at(self.now)

    def _through_gates(self, pool: str, run: str) -> None:
        """Something of a run starts in a pool."""
        for gate in (self.pools[pool].gate, self.gates.get(run_stream(run))):
            if gate is not None:
                gate.take(self.now)

    def with_waiting(self) -> list[RunGate]:
        """Return the limits of runs that keep something from starting."""
        return [gate for gate in self.gates.values() if isinstance(gate, RunGate) and gate.waiting]

    def opens_at(self) -> int:
        """Return when a limit in time lets more start of what waits for it."""
        waiting: Iterable[Gate | None] = [*self.with_waiting(), *(p.gate for p in self.pools.values() if p.waiting)]
        return min((at for gate in waiting if gate is not None and (at := gate.opens_at(self.now))), default=NEVER)

    def started(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Return what the store is to know of limits: those that are new of it, and nothing of those that are forgotten."""
        for gate in self.gates.values():
            if gate.changed:
                gate.changed = False
                yield gate.name, gate.to_plain()
        for name in self.forgotten:
            yield name, {}
        self.forgotten = []

    def forget_gates(self, runs: Container[str]) -> None:
        """Let go of the limits of runs that are not in memory, once nothing of them counts any more."""
        for gate in list(self.gates.values()):
            if isinstance(gate, RunGate) and gate.run not in runs and gate.is_full(self.now):
                del self.gates[gate.name]
                self.forgotten.append(gate.name)
        for name, plain in list(self._stored.items()):
            if not still_taken(plain, self.now):
                del self._stored[name]
                self.forgotten.append(name)


def _peers_of(process: Process) -> int:
    return len(process.peers)

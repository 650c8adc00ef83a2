"""An agent's process in a simulated world: what a Ray actor that hosts a runner is otherwise."""

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.core.peer.process import Peers, is_of_peer
from kos_runtime.ports.agent import ActionFailed
from kos_runtime.simulator.world import Executed, Key, Runner, World

if TYPE_CHECKING:
    from kos_runtime.simulator.life import Life

#: Outcomes that nobody acknowledged are told again after so long, in milliseconds.
TELL_AGAIN_MS: Final = 3_000
#: A body that runs on so long after its timeout is ended together with its process, in milliseconds.
WEDGED_MS: Final = 10_000
#: A body takes so long without any fault, in milliseconds, at most.
SHORT_MS: Final = 40
LATE_MS: Final = 300_000
#: So many pieces of work are kept for a picture.
MAX_SPANS: Final = 50_000
#: What peers ask of their disk is asked again after so long, in milliseconds.
DISK_MS: Final = 2_000


class _Opaque:
    """What no annotation and no codec knows."""

    def __repr__(self) -> str:
        return "<opaque>"


#: What agents may return instead of what they should.
GARBAGE: Final[tuple[Any, ...]] = (
    None, 7, "", "great", [], {}, {"result": None}, {"v": "seven"}, {"data": 3}, [[[1]]], {"unasked": 1}, float("nan"),
    {"v": float("inf")}, b"\xff", {1: 2}, {"v": 1 << 80}, {"v": "\ud800"}, _Opaque(), {"answer": "dance"},
)  # fmt: skip


@dataclass(slots=True)
class Body:
    """One body at work, and what it will have come to."""

    attempt: Any
    began: int
    fault: str = ""
    outcome: Outcome | None = None
    #: It waits for what other agents say, and wants to go on then at the latest; 0 for never.
    waits: bool = False
    wakes_at: int = 0
    #: Its outcome was told, and it runs on.
    over: bool = False


class AgentProcess:
    """See the module. It works for one partition, and for the newest owner of that which it heard of."""

    def __init__(
        self, world: World, name: str, pool: str, machine: str, runner: Runner, hands: int, home: "Life"
    ) -> None:
        self.world, self.name, self.pool, self.machine = world, name, pool, machine
        self.runner, self.hands, self.home = runner, hands, home
        self.alive = True
        self.queue: deque[Invocation] = deque()
        self.bodies: dict[Key, Body] = {}
        #: (run, path, attempt, fence) of every body that was begun, in order.
        self.executed: list[tuple[str, str, int, int]] = home.node.ledger
        self._telling = False
        self._reports = 0
        #: The peers that have their places here; what they ask of the disk and have no answer to.
        self.peers = Peers(name, home.node.parts.codec, home.node.parts.blobs.put)
        self._asked_disk: dict[int, list[list[Any]]] = {}
        self._disk_calls = 0
        self._peers_due = 0
        #: Since when it is there, how long it was at work, how many bodies it executed.
        self.tally = world.processes[name] = [world.now, 0, 0]

    # --- calls of a partition's process

    def work(self, life: "Life", number: int, invocations: list[Invocation], settled: list[Key]) -> None:
        """Begin a batch, and forget what is settled."""
        if not self.alive:
            return
        self.settle(settled)
        seats = [invocation for invocation in invocations if invocation.peer]
        for seat in seats:
            self.peers.begin(seat)
        invocations = [invocation for invocation in invocations if not invocation.peer]
        told, invocations, woken = self.runner.hear(invocations)
        again, fresh = self.runner.take(invocations)
        if len(again) + len(fresh) < len(invocations):
            self.world.sometimes["dispatch that came twice was done once"] += 1
        self.queue.extend(fresh)
        for key in woken:
            self._goes_on(key, self.bodies.get(key))
        self._begin_more()
        if seats:
            self._let_peers_out()
        self._reports += 1
        runner = self.runner
        life.hears(
            self.machine,
            life.answered,
            self.name,
            number,
            [*told, *again],
            self._running(),
            runner.overdue(),
            self._reports,
        )

    def settle(self, settled: list[Key]) -> None:
        if self.alive:
            self.runner.acknowledge(settled)
            self.peers.acknowledge(settled)

    def inventory(self, life: "Life") -> None:
        """Say to a new owner what is held here; from then on nothing is taken from older ones."""
        if not self.alive:
            return
        running, outcomes = self.runner.inventory(life.epoch)
        seats, ended = self.peers.inventory()
        # What peers' agents are asked for is no dispatch of its own.
        running = [*(key for key in running if not is_of_peer(key[1])), *seats]
        outcomes = [*(outcome for outcome in outcomes if not is_of_peer(outcome.path)), *ended]
        if life.epoch >= self.home.epoch:
            self.home = life
        # What an attempt says is no dispatch of its own.
        holds = [*running, *((o.run, o.path, o.fence) for o in outcomes if ">" not in o.path)]
        if len(holds) < len(running) + len(outcomes):
            self.world.sometimes["message said again to a new owner"] += 1
        life.hears(self.machine, life.inventoried, self.name, holds, outcomes, self._running())

    def cancel(self, keys: list[Key]) -> None:
        """Ask bodies to stop: some do at once, others when they end by themselves."""
        if not self.alive:
            return
        for key in keys:
            if self.peers.cancel(key, self.world.now):
                self._let_peers_out()
                continue
            self.runner.drop(key)
            body = self.bodies.get(key)
            if body is None or body.over:
                continue
            body.attempt.stopped = body.attempt.stopped or self.world.now * 1_000_000
            if self.world.chance["agent"].random() < 0.5:
                self._end(key, self.runner.cancelled(body.attempt))
            else:
                self.world.after(WEDGED_MS, self._wedged, key, body)

    def die(self) -> None:
        """End, with all that was here."""
        self.alive = False
        self.runner.close()
        self.bodies.clear()
        self.queue.clear()

    # --- bodies

    def _begin_more(self) -> None:
        while self.alive and self.queue and self._taken() < self.hands:
            self._begin(self.queue.popleft())

    def _taken(self) -> int:
        """Return how many hands are taken: a coroutine that waits for other agents leaves its own."""
        if len(self.bodies) < self.hands:
            return len(self.bodies)
        return sum(1 for body in self.bodies.values() if not (body.waits and body.attempt.coroutine))

    def _begin(self, invocation: Invocation) -> None:
        world, draw = self.world, self.world.chance["agent"]
        attempt = self.runner.begin(invocation)
        if not is_of_peer(invocation.path):
            self.executed.append((invocation.run, invocation.path, invocation.attempt, invocation.fence))
        kind = self._fault_of(invocation)
        if kind:
            world.sometimes[f"attempt: {kind}"] += 1
        world.trace(f"{self.name} begins {invocation.run} {invocation.path}@{invocation.fence} {kind}")
        if kind == "kill":
            self.home.killed(self, f"{self.name} was killed by {invocation.path}")
            return
        done = self.runner.execute(attempt, _instead(kind, draw, invocation))
        body = self.bodies[attempt.key] = Body(attempt, world.now, kind)
        self.tally[2] += 1
        took = self._went(attempt.key, body, done)
        limit = invocation.timeout_ms
        if invocation.heartbeat_ms and (kind in {"hang", "late"} or body.waits):
            limit = min(limit or invocation.heartbeat_ms, invocation.heartbeat_ms)
        if limit and (kind == "hang" or body.waits or took > limit):
            world.after(limit, self._timed_out, attempt.key, body)

    def _went(self, key: Key, body: Body, done: Executed) -> int:
        """A body came to its end, or to where it waits for other agents; return how long it will have taken."""
        world, draw = self.world, self.world.chance["agent"]
        elapsed = world.now - body.began
        for at, outcome in done.said:
            world.after(max(1 + int(at) - elapsed, 0), self._says, key, body, outcome)
        body.waits = done.outcome is None
        if done.outcome is None:
            wakes_at = 0 if done.wake_ms is None else body.began + int(done.wake_ms) + 1
            if wakes_at and wakes_at != body.wakes_at:
                world.after(wakes_at - world.now, self._wakes, key, body, wakes_at)
            body.wakes_at = wakes_at
            return 0
        took = max(int(done.slept_ms) - elapsed, 0) + 1 + draw.randrange(SHORT_MS)
        if body.fault == "late":
            took += draw.randrange(LATE_MS)
        if body.fault != "hang":
            body.outcome = done.outcome
            world.after(took, self._ended, key, body)
        return took

    def _says(self, key: Key, body: Body, outcome: Outcome) -> None:
        """What an attempt says leaves its process."""
        if self.alive and self.bodies.get(key) is body:
            self._report([outcome])

    def _wakes(self, key: Key, body: Body, instant: int) -> None:
        if body.wakes_at == instant:
            self._goes_on(key, body)

    def _goes_on(self, key: Key, body: Body | None) -> None:
        """A body that waits was told something, or has waited for long."""
        if (
            not self.alive
            or body is None
            or self.bodies.get(key) is not body
            or not body.waits
            or body.outcome
            or body.fault == "hang"
        ):
            return
        self._went(key, body, self.runner.resume(body.attempt))

    def _fault_of(self, invocation: Invocation) -> str:
        world = self.world
        for aimed in world.faults.aimed:
            if aimed.hits(invocation.path, invocation.attempt):
                return aimed.kind
        for kind in ("hang", "late", "garbage", "raise"):
            if kind in world.faults.rates and world.happens(kind, "agent"):
                return kind
        return "kill" if "kill" in world.faults.rates and world.strikes("kill", "agent") else ""

    def _ended(self, key: Key, body: Body) -> None:
        if self.alive and self.bodies.get(key) is body:
            assert body.outcome is not None
            self._end(key, body.outcome)

    def _end(self, key: Key, outcome: Outcome) -> None:
        body = self.bodies.pop(key)
        self.tally[1] += self.world.now - body.began
        if self.world.spans is not None and len(self.world.spans) < MAX_SPANS:
            self.world.spans.append((self.name, body.began, self.world.now, key[1]))
        if self.runner.end(body.attempt, outcome):
            self._tell([outcome])
        elif body.over:
            # A hand is free again.
            self._tell([])
        self._begin_more()

    def _timed_out(self, key: Key, body: Body) -> None:
        if not self.alive or self.bodies.get(key) is not body or body.over:
            return
        heartbeat = body.attempt.invocation.heartbeat_ms
        if body.waits and heartbeat and not body.fault:
            # To speak is a sign of life.
            limit = body.attempt.invocation.timeout_ms
            silent = body.attempt.context.beat // 1_000_000 + heartbeat
            due = min(silent, body.began + limit) if limit else silent
            if due > self.world.now:
                self.world.after(due - self.world.now, self._timed_out, key, body)
                return
        outcome = self.runner.time_out(body.attempt)
        if outcome is not None:
            body.over = True
            body.attempt.stopped = self.world.now * 1_000_000
            self._tell([outcome])
            if body.waits and body.fault != "hang":
                # Who only waits for others can be stopped.
                body.outcome = self.runner.cancelled(body.attempt)
                self.world.after(1 + self.world.chance["agent"].randrange(SHORT_MS), self._ended, key, body)
            self.world.after(WEDGED_MS, self._wedged, key, body)

    def _wedged(self, key: Key, body: Body) -> None:
        if self.alive and self.bodies.get(key) is body:
            self.home.hears(self.machine, self.home.wedged, self.name, key)
            self.world.after(WEDGED_MS, self._wedged, key, body)

    # --- telling

    def _tell(self, outcomes: list[Outcome]) -> None:
        if any(is_of_peer(outcome.path) for outcome in outcomes):
            self.runner.acknowledge([(o.run, o.path, o.fence) for o in outcomes if is_of_peer(o.path)])
            outcomes = self.peers.answered(outcomes)
            self._let_peers_out()
        # That a hand is free again is told until it is heard: nobody would ask.
        self._report(outcomes, sure=not outcomes)
        if outcomes and not self._telling:
            self._telling = True
            self.world.after(TELL_AGAIN_MS, self._tell_again)

    def _report(self, outcomes: list[Outcome], *, sure: bool = False) -> None:
        self._reports += 1
        home, runner = self.home, self.runner
        home.hears(
            self.machine, home.told, self.name, outcomes, self._running(), runner.overdue(), self._reports, sure=sure
        )

    def _tell_again(self) -> None:
        self._telling = False
        if self.alive and (kept := [*self.runner.unacknowledged(), *self.peers.inventory()[1]]):
            self._tell(kept)

    # --- peers

    def _running(self) -> list[Key]:
        """Return what runs; for peers' agents their peers are named."""
        running = self.runner.running()
        if any(is_of_peer(path) for _, path, _ in running):
            return [*(key for key in running if not is_of_peer(key[1])), *self.peers.asking()]
        return running

    def hear_peers(self, data: bytes) -> None:
        """What peers of another process say."""
        if self.alive:
            self.peers.receive(data, self.world.now)
            self._let_peers_out()

    def told_by_disk(self, number: int, rows: list[list[Any]]) -> None:
        if self.alive and self._asked_disk.pop(number, None) is not None:
            self.peers.told(rows, self.world.now)
            self._let_peers_out()

    def _no_answer(self, number: int) -> None:
        rows = self._asked_disk.pop(number, None)
        if self.alive and rows is not None:
            self.peers.untold(rows, self.world.now)
            self._let_peers_out()

    def _let_peers_out(self) -> None:
        world, home = self.world, self.home
        out = self.peers.flush(world.now)
        if out.disk:
            self._disk_calls += 1
            self._asked_disk[self._disk_calls] = out.disk
            home.hears(self.machine, home.asked_by_peers, self, self._disk_calls, out.disk)
            world.after(DISK_MS, self._no_answer, self._disk_calls)
        for name, data in out.posts.items():
            other = home.node.processes.get(name)
            if other is not None:
                world.send(self.machine, other.machine, other.hear_peers, data)
        if out.asks:
            again, fresh = self.runner.take(out.asks)
            self.queue.extend(fresh)
            self._begin_more()
            if again:
                self._tell(again)
        if out.stops:
            self.cancel(out.stops)
        if out.ended:
            self._tell(out.ended)
        due = self.peers.next_due()
        if due is not None and due != self._peers_due:
            self._peers_due = due
            world.after(max(due - world.now, 1), self._peers_are_due, due)

    def _peers_are_due(self, due: int) -> None:
        if self.alive and due == self._peers_due:
            self._peers_due = 0
            self._let_peers_out()


def _instead(kind: str, draw: Random, invocation: Invocation) -> Any:
    """Return what makes of a body's result what is returned in its place."""
    match kind:
        case "" | "late" | "hang":
            return None
        case "garbage":
            garbage = draw.choice(GARBAGE)
            return lambda _: garbage
        case "raise":
            raised = draw.choice((ValueError, KeyError, RuntimeError, ConnectionResetError, MemoryError, SystemExit))

            def raises(_: Any) -> Any:
                raise raised(f"simulated, in {invocation.path}")

            return raises
        case _:
            named = ErrorType(kind)

            def fails(_: Any) -> Any:
                raise ActionFailed(named, f"simulated, in {invocation.path}")

            return fails

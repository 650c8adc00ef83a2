"""An agent's process in a simulated world: what a Ray actor that hosts a runner is otherwise."""

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.ports.agent import ActionFailed
from kos_runtime.simulator.world import Key, Runner, World

if TYPE_CHECKING:
    from kos_runtime.simulator.life import Life

#: Outcomes that nobody acknowledged are told again after so long, in milliseconds.
TELL_AGAIN_MS: Final = 3_000
#: A body that runs on so long after its timeout is ended together with its process, in milliseconds.
WEDGED_MS: Final = 10_000
#: A body takes so long without any fault, in milliseconds, at most.
SHORT_MS: Final = 40
LATE_MS: Final = 300_000


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
    outcome: Outcome | None
    began: int
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
        #: Since when it is there, how long it was at work, how many bodies it executed.
        self.tally = world.processes[name] = [world.now, 0, 0]

    # --- calls of a partition's process

    def work(self, life: "Life", number: int, invocations: list[Invocation], settled: list[Key]) -> None:
        """Begin a batch, and forget what is settled."""
        if not self.alive:
            return
        self.runner.acknowledge(settled)
        again, fresh = self.runner.take(invocations)
        if len(again) + len(fresh) < len(invocations):
            self.world.sometimes["dispatch that came twice was done once"] += 1
        self.queue.extend(fresh)
        self._begin_more()
        life.hears(self.machine, life.answered, self.name, number, again, self.runner.running(), self.runner.overdue())

    def settle(self, settled: list[Key]) -> None:
        if self.alive:
            self.runner.acknowledge(settled)

    def inventory(self, life: "Life") -> None:
        """Say to a new owner what is held here; from then on nothing is taken from older ones."""
        if not self.alive:
            return
        running, outcomes = self.runner.inventory(life.epoch)
        if life.epoch >= self.home.epoch:
            self.home = life
        holds = [*running, *((outcome.run, outcome.path, outcome.fence) for outcome in outcomes)]
        life.hears(self.machine, life.inventoried, self.name, holds, outcomes, self.runner.running())

    def cancel(self, keys: list[Key]) -> None:
        """Ask bodies to stop: some do at once, others when they end by themselves."""
        if not self.alive:
            return
        for key in keys:
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
        self.bodies.clear()
        self.queue.clear()

    # --- bodies

    def _begin_more(self) -> None:
        while self.alive and self.queue and len(self.bodies) < self.hands:
            self._begin(self.queue.popleft())

    def _begin(self, invocation: Invocation) -> None:
        world, draw = self.world, self.world.chance["agent"]
        attempt = self.runner.begin(invocation)
        self.executed.append((invocation.run, invocation.path, invocation.attempt, invocation.fence))
        kind = self._fault_of(invocation)
        if kind:
            world.sometimes[f"attempt: {kind}"] += 1
        world.trace(f"{self.name} begins {invocation.run} {invocation.path}@{invocation.fence} {kind}")
        if kind == "kill":
            self.home.killed(self, f"{self.name} was killed by {invocation.path}")
            return
        done = self.runner.execute(attempt, _instead(kind, draw, invocation))
        took = 1 + draw.randrange(SHORT_MS) + int(done.slept_ms)
        if kind == "late":
            took += draw.randrange(LATE_MS)
        body = self.bodies[attempt.key] = Body(attempt, done.outcome, world.now)
        self.tally[2] += 1
        if kind == "hang":
            body.outcome = None
        else:
            world.after(took, self._ended, attempt.key, body)
        limit = invocation.timeout_ms
        if invocation.heartbeat_ms and kind in {"hang", "late"}:
            limit = min(limit or invocation.heartbeat_ms, invocation.heartbeat_ms)
        if limit and (kind == "hang" or took > limit):
            world.after(limit, self._timed_out, attempt.key, body)

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
        if self.runner.end(body.attempt, outcome):
            self._tell([outcome])
        elif body.over:
            # A hand is free again.
            self._tell([])
        self._begin_more()

    def _timed_out(self, key: Key, body: Body) -> None:
        if not self.alive or self.bodies.get(key) is not body or body.over:
            return
        outcome = self.runner.time_out(body.attempt)
        if outcome is not None:
            body.over = True
            body.attempt.stopped = self.world.now * 1_000_000
            self._tell([outcome])
            self.world.after(WEDGED_MS, self._wedged, key, body)

    def _wedged(self, key: Key, body: Body) -> None:
        if self.alive and self.bodies.get(key) is body:
            self.home.hears(self.machine, self.home.wedged, self.name, key)
            self.world.after(WEDGED_MS, self._wedged, key, body)

    # --- telling

    def _tell(self, outcomes: list[Outcome]) -> None:
        home = self.home
        home.hears(self.machine, home.told, self.name, outcomes, self.runner.running(), self.runner.overdue())
        if outcomes and not self._telling:
            self._telling = True
            self.world.after(TELL_AGAIN_MS, self._tell_again)

    def _tell_again(self) -> None:
        self._telling = False
        if self.alive and (kept := self.runner.unacknowledged()):
            self._tell(kept)


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

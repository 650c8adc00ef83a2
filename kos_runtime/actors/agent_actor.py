"""An agent's process: one Ray actor that hosts one runner.

A call of ``work`` returns within a few milliseconds with what has ended by then. Whatever ends later is fetched by
``late``, a call that stays open: it returns as soon as something has ended or begun, and it fails at once when the
process dies, so that a partition learns of a death even while nothing else is in flight. Outcomes are kept until they
are acknowledged; after a change of owners they are asked for by ``inventory``.
"""

import os
import sys
import threading
import time
from typing import Any, Final

import ray

from kos_runtime.actors.failpoints import plant_killer
from kos_runtime.actors.parts import Key, MakeRunner, RunnerParts, Said, resolve
from kos_runtime.actors.peer_loop import PeerLoop
from kos_runtime.core.failpoint import hit
from kos_runtime.core.invocation import Outcome
from kos_runtime.core.peer.process import ROUND, is_of_peer

#: A call of ``work`` waits so long for its batch, in milliseconds: no result waits for the slowest of its batch.
WAIT_MS: Final = 5.0
#: A call of ``late`` stays open so long, in seconds, and looks so often for what has begun.
LATE_S: Final = 10.0
_LOOK_S: Final = 0.02
#: A body that runs on so long after its timeout is ended together with its process, in seconds.
WEDGED_S: Final = 10.0
#: One answer holds at most so many outcomes; the rest comes with the next.
MAX_ANSWER: Final = 4_096
#: Threads give the interpreter to each other so often, in seconds.
SWITCH_S: Final = 0.001
#: When so many outcomes came at once, the next answer waits so long, in seconds, for more of them: a call costs as
#: much as a hundred short actions.
MANY: Final = 16
GATHER_S: Final = 0.004
#: What attempts say of how far they are is handed on so often, in seconds; of so many attempts at most.
SAY_S: Final = 0.5
MAX_SAID: Final = 256
#: What calls run beside each other: two batches, one open call, and questions that are answered at once.
GROUPS: Final = {"work": 2, "late": 2, "control": 4, "peers": 1}


class AgentActor:
    """The base of the classes that ``actor_class`` makes. Constructing does nothing; ``prepare`` begins."""

    def __init__(self, name: str) -> None:
        plant_killer("agent")
        self._name = name
        self._parts: RunnerParts | None = None
        self._about: dict[str, Any] = {}
        self._ended: list[Outcome] = []
        self._reported: set[Key] = set()
        self._wake = threading.Condition()
        self._many = False
        #: Bodies that run on after their timeout, as last reported.
        self._stuck = 0
        self._epoch = 0
        #: The newest word of each attempt that spoke since the last answer, and until when to wait with it.
        self._said: dict[Key, tuple[str, float | None]] = {}
        self._quiet_until = 0.0
        self._peers: PeerLoop | None = None

    def __repr__(self) -> str:
        running = 0 if self._parts is None else len(self._parts.runner.running())
        return f"{self._name}({running} running)"

    @ray.method(concurrency_group="control")
    def prepare(self, make: str, settings: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
        """Make the agent; return what it is. ``spec`` has ``pool``, ``kind``, ``target`` and ``settings``."""
        if self._parts is None:
            hit("prepare.before")
            # Bodies that compute must not keep the threads that answer waiting for 5 ms each.
            sys.setswitchinterval(SWITCH_S)
            build: MakeRunner = resolve(make)
            self._parts = parts = build(settings, spec["target"], spec["settings"], self._take, self._say)
            context = ray.get_runtime_context()
            self._peers = PeerLoop(
                self._name,
                context.namespace,
                spec["partition"],
                parts.codec,
                parts.put_blob,
                submit=parts.runner.submit,
                cancel=parts.runner.cancel,
                acknowledge=parts.runner.acknowledge,
                hand_out=self._take_from_peers,
            )
            self._about = {
                "name": self._name,
                "pool": spec["pool"],
                "kind": spec["kind"],
                "hands": self._parts.hands,
                "pid": os.getpid(),
                "actor_id": context.get_actor_id(),
                "node": context.get_node_id(),
            }
            hit("prepare.after")
        return self._about

    @ray.method(concurrency_group="work")
    def work(self, data: bytes) -> bytes:
        """Begin a batch and forget what is settled; return what ended within ``WAIT_MS``, and what runs."""
        parts = self._prepared()
        hit("work.before")
        invocations, settled = parts.unpack_work(data)
        if settled:
            self._acknowledge(settled)
        seats = [invocation for invocation in invocations if invocation.peer]
        if seats:
            self._loop().begin(seats)
            invocations = [invocation for invocation in invocations if not invocation.peer]
        result = parts.runner.run_batch(invocations, WAIT_MS)
        if result.running:
            with self._wake:
                self._reported.update(result.running)
                self._wake.notify_all()
        hit("work.after")
        return parts.pack_outcomes(result.outcomes, result.running)

    @ray.method(concurrency_group="late")
    def late(self, epoch: int, settled: list[Key]) -> tuple[bytes, list[Key], int, list[Said]]:
        """Return what has ended since the last call, what runs, which bodies are to be ended with their process, how
        many run on after their timeout, and how far attempts say that they are. See the module.
        """
        parts = self._prepared()
        runner = parts.runner
        if settled:
            self._acknowledge(settled)
        deadline = time.monotonic() + LATE_S
        wedged: list[Key] = []
        seen: set[Key] = set()
        with self._wake:
            while not self._ended and epoch >= self._epoch and time.monotonic() < deadline:
                running = set(self._running())
                # What was there at the last look already is no short action: it is worth a report.
                if (running & seen) - self._reported or runner.overdue() != self._stuck:
                    break
                seen = running
                wedged = runner.wedged(WEDGED_S)
                if wedged or (self._said and time.monotonic() >= self._quiet_until):
                    break
                # While something runs here another may begin behind it; otherwise only a new batch changes anything.
                self._wake.wait(_LOOK_S if running or self._stuck else 1.0)
            if epoch < self._epoch:
                return parts.pack_outcomes([], []), [], 0, []
            if self._many or len(self._ended) >= MANY:
                self._wake.wait_for(lambda: not runner.running() or len(self._ended) >= MAX_ANSWER, GATHER_S)
            self._many = len(self._ended) >= MANY
            ended = self._ended[:MAX_ANSWER]
            del self._ended[:MAX_ANSWER]
            now_running = self._running()
            self._reported = set(now_running)
            stuck = self._stuck = runner.overdue()
        hit("late.after")
        said = self._take_said()
        return parts.pack_outcomes(ended, now_running), wedged, stuck, said

    @ray.method(concurrency_group="control")
    def settle(self, settled: list[Key]) -> None:
        """Forget outcomes: they are stored."""
        hit("settle.before")
        self._acknowledge(settled)

    @ray.method(concurrency_group="peers", num_returns=0, enable_task_events=False)
    def peer(self, data: bytes) -> None:
        """Take what the peers of another process say to those that have their places here."""
        self._loop().receive(data)

    @ray.method(concurrency_group="control")
    def inventory(self, epoch: int) -> tuple[dict[str, Any], list[Key], bytes] | None:
        """Return what this is, what it holds and every outcome that nobody has acknowledged; None before ``prepare``.

        From then on an older epoch is refused.
        """
        if self._parts is None:
            return None
        hit("inventory.before")
        with self._wake:
            # Forgotten before the runner is asked: what is delivered meanwhile is told twice, never not at all.
            self._epoch = max(self._epoch, epoch)
            self._ended.clear()
            self._reported.clear()
            self._stuck = 0
            self._wake.notify_all()
        keys, outcomes = self._parts.runner.inventory(epoch)
        seats, ended = self._loop().inventory()
        # What peers' agents are asked for is no dispatch of its own, and only they wait for it.
        keys = [*(key for key in keys if not is_of_peer(key[1])), *seats]
        outcomes = [*(outcome for outcome in outcomes if not is_of_peer(outcome.path)), *ended]
        # What an attempt says is no dispatch of its own.
        holds = [*keys, *((o.run, o.path, o.fence) for o in outcomes if ">" not in o.path)]
        hit("inventory.after")
        return self._about, holds, self._parts.pack_outcomes(outcomes, self._running())

    @ray.method(concurrency_group="control")
    def cancel(self, keys: list[Key]) -> None:
        """Ask attempts to stop."""
        runner = self._prepared().runner
        for run, path, fence in keys:
            if not runner.cancel(run, path, fence):
                self._loop().cancel((run, path, fence))

    @ray.method(concurrency_group="control")
    def running(self) -> list[Key]:
        """Return what runs right now."""
        return [] if self._parts is None else self._running()

    def _take(self, outcomes: list[Outcome]) -> None:
        if self._peers is not None and self._peers.is_asking and any(is_of_peer(o.path) for o in outcomes):
            self._peers.answered([outcome for outcome in outcomes if is_of_peer(outcome.path)])
            outcomes = [outcome for outcome in outcomes if not is_of_peer(outcome.path)]
        self._take_from_peers(outcomes)

    def _take_from_peers(self, outcomes: list[Outcome]) -> None:
        with self._wake:
            self._ended.extend(outcomes)
            self._wake.notify_all()

    def _say(self, run: str, path: str, fence: int, message: str, fraction: float | None) -> None:
        """An attempt says how far it is. Called on its thread, which waits for nothing here."""
        # What a peer's agent says it says for its peer.
        key = (run, path.partition(ROUND)[0], fence)
        if key in self._said or len(self._said) < MAX_SAID:
            self._said[key] = (message, fraction)

    def _take_said(self) -> list[Said]:
        if not self._said:
            return []
        said, self._said = self._said, {}
        self._quiet_until = time.monotonic() + SAY_S
        return [(key, *words) for key, words in said.items()]

    def _acknowledge(self, settled: list[Key]) -> None:
        self._prepared().runner.acknowledge(settled)
        self._loop().acknowledge(settled)

    def _running(self) -> list[Key]:
        """Return what runs; for peers' agents their peers are named."""
        running = self._prepared().runner.running()
        if not any(is_of_peer(path) for _, path, _ in running):
            return running
        return [*(key for key in running if not is_of_peer(key[1])), *self._loop().asking()]

    def _loop(self) -> PeerLoop:
        if self._peers is None:
            raise RuntimeError(f"{self._name} was not prepared")
        return self._peers

    def _prepared(self) -> RunnerParts:
        if self._parts is None:
            raise RuntimeError(f"{self._name} was not prepared")
        return self._parts


def actor_class(kind: str) -> Any:
    """Return a Ray actor class whose name, and so its name on the dashboard, is the agent's kind."""
    made = type(kind, (AgentActor,), {"__doc__": f"The processes of {kind}.", "__module__": __name__})
    return ray.remote(concurrency_groups=GROUPS)(made)

"""The engine in this process, on a real store, with agents that answer at once: how its own cost grows."""

import gc
import os
import resource
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from kos_runtime.actors.engine_loop import GC_THRESHOLDS
from kos_runtime.adapters.clock import wall_ms
from kos_runtime.composition import wiring
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.core.plan.link import ActionLink, AgentLink, Link
from kos_runtime.core.plan.model import Action, Body, ForEach, Loop, Plan, Step
from kos_runtime.core.plan.plain import to_plain
from kos_runtime.core.workflow.commands import CreateRun
from kos_runtime.engine import messages as msg
from kos_runtime.engine.host import Host
from kos_runtime.engine.limits import Limits

PAYLOAD = {"text": "x" * 180, "n": 1}
_EXPOSED = wiring.CODEC.pack({"d": PAYLOAD})
_BATCH = 256


def _step(id: str, before: str = "") -> Step:
    source = f"$steps.{before}.d" if before else "$inputs.d"
    return Step(
        id=id, form=Action(agent="k", action="noop"), after=(before,) if before else (), reads=(before,) if before else (),
        inputs={"d": source}, outputs=(("d", "$result"),),
    )  # fmt: skip


def sequential(steps: int) -> Plan:
    body = tuple(_step(f"s{i}", f"s{i - 1}" if i else "") for i in range(steps))
    return Plan(workflow="sequential", free_inputs=True, free_outputs=True, body=Body(steps=body))


def fan(width: int) -> Plan:
    form = ForEach(items=[PAYLOAD] * width, name="d", agent="k", action="noop")
    each = Step(id="each", form=form, inputs={"d": "$d"}, outputs=(("d", "$result"),))
    return Plan(workflow="fan", free_inputs=True, free_outputs=True, body=Body(steps=(each,)))


def loop(turns: int) -> Plan:
    form = Loop(body=Body(steps=(_step("a"),)), condition="", max_iterations=turns)
    return Plan(workflow="loop", free_inputs=True, free_outputs=True, body=Body(steps=(Step(id="l", form=form),)))


LINK = Link(agents={"k": AgentLink(kind="k", target="none:k", pool="k", actions={"noop": ActionLink(takes_any=True)})})


class Local:
    """A host on a store in a folder; dispatches are answered as soon as they are made."""

    def __init__(self, folder: Path | None = None, *, active: int = 1_000_000) -> None:
        # As the partition's process does it; what is measured is that process's own cost.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        self.folder = folder or Path(tempfile.mkdtemp(prefix="kos-bench-"))
        self.store = wiring.open_store(str(self.folder))
        self.blobs = wiring.blob_store(str(self.folder))
        limits = Limits(max_active_runs=active, max_pending_runs=10_000_000)
        self.host = Host(self.store, self.blobs, wiring.INNER_CODEC, owner="benchmark", limits=limits)
        self.inbox: list[msg.Input] = []
        self.now = max(wall_ms(), self.store.head().time)
        self.count = self.answered = 0
        self.hold = False

    def digests(self, plan: Plan, link: Link = LINK) -> tuple[str, str]:
        put = self.blobs.put
        return put(wiring.CODEC.pack(to_plain(plan))).digest, put(wiring.CODEC.pack(to_plain(link))).digest

    def create(
        self, digests: tuple[str, str], count: int, *, start: bool = True, inputs: dict[str, Any] | None = None
    ) -> None:
        given = {"d": PAYLOAD} if inputs is None else inputs
        for _ in range(count):
            self.count += 1
            command = CreateRun(
                run=f"g{self.count:08d}", plan=digests[0], link=digests[1], settings={}, drivers={}, inputs=given,
                seed=self.count, salt=os.urandom(16), author="user:benchmark", start=start,
            )  # fmt: skip
            self.inbox.append(msg.Request(self.count, "", command))

    def turn(self) -> bool:
        """One round; say whether there was anything to do."""
        batch, self.inbox = self.inbox[:1_024], self.inbox[1_024:]
        effects = self.host.cycle(batch, self.now)
        for effect in effects:
            match effect:
                case msg.StartProcess():
                    self.inbox.append(msg.ProcessUp("k-1", effect.pool, 4))
                case msg.Dispatch(invocations=invocations) if not self.hold:
                    outcomes = [_outcome(i) for i in invocations]
                    self.answered += len(outcomes)
                    for begin in range(0, len(outcomes), _BATCH):
                        self.inbox.append(msg.Outcomes(effect.process, outcomes[begin : begin + _BATCH]))
                case _:
                    pass
        return bool(batch or effects)

    def drain(self) -> None:
        while self.inbox or self.turn():
            self.turn()

    def write(self, *, steps: int, runs: int, unfinished: int) -> None:
        """Write a history: so many runs of so many completed steps, some of which still have a step open."""
        plan = self.digests(sequential(steps + 1))
        self.create(plan, runs)
        need = runs * steps + (runs - unfinished)
        while self.answered < need:
            self.turn()
        self.hold = True
        for _ in range(10):
            self.turn()

    def recover(self) -> None:
        """Fold everything that is at work."""
        self.inbox.append(msg.Reconciled())
        self.hold = True
        while self.turn() and self.inbox:
            pass

    def facts(self) -> dict[str, Any]:
        partition = self.host.partition
        return {"records": self.store.head().offset, "runs_at_work": len(partition.runs)}

    def close(self) -> None:
        self.store.close()


def _outcome(invocation: Invocation) -> Outcome:
    return Outcome(invocation.run, invocation.path, invocation.fence, exposed=_EXPOSED, duration_ms=0.01)


def memory_mb() -> float:
    """Resident memory of this process now, in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1_048_576


def _measured(local: Local, work: Any, steps: int) -> dict[str, Any]:
    gc.collect()
    before = memory_mb()
    begin = time.process_time()
    work()
    local.drain()
    spent = time.process_time() - begin
    return {"us_per_step": round(spent / steps * 1e6, 1), "mb": round(memory_mb() - before, 1)}


def fan_cost(width: int) -> dict[str, Any]:
    """CPU a step of one run that is so wide, all told: deciding, storing, joining."""
    local = Local()
    try:
        _measured(local, lambda: local.create(local.digests(fan(200)), 2), 400)
        runs = max(1, 10_000 // width)
        return _measured(local, lambda: local.create(local.digests(fan(width)), runs), width * runs)
    finally:
        local.close()


def run_cost(counts: list[int]) -> dict[int, dict[str, Any]]:
    """CPU a step with so many runs open besides, none of which is at work."""
    found = {}
    for count in counts:
        local = Local()
        try:
            plan = local.digests(sequential(4))
            for _ in range(count // 1_000):
                local.create(plan, 1_000, start=False)
                local.drain()
            found[count] = _measured(local, partial(local.create, plan, 2_000), 8_000)
            found[count]["resident_runs"] = len(local.host.partition.runs)
        finally:
            local.close()
    return found


def long_run_cost(events: int) -> dict[str, Any]:
    """CPU a turn at the beginning and at the end of one run with so many events."""
    local = Local()
    try:
        turns = events // 4
        begin = time.process_time()
        local.create(local.digests(loop(turns)), 1)
        halves = []
        for share in (0.1, 1.0):
            while local.answered < turns * share:
                local.turn()
            halves.append(time.process_time() - begin)
        local.drain()
        first = halves[0] / (turns * 0.1)
        rest = (halves[1] - halves[0]) / (turns * 0.9)
        return {"turns": turns, "us_first_tenth": round(first * 1e6, 1), "us_rest": round(rest * 1e6, 1)}
    finally:
        local.close()

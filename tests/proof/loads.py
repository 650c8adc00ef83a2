"""Balancing load, over the shipped draws: L4, queues stay short; L5, who is gone keeps nothing for long.

L4 is measured as in Mitzenmacher's paper (see ``coordination.load``): workers at 90 % of what they can do, tasks that are placed
one by one. Placed by two choices the longest queue is at most half of what it is placed by one. L5 asks schedules of master and
slaves, in which workers die and the master lives: every lease is over within its length, and a quarter, of the last sign of life.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Final

from coordination.assignment import Done, Leased, LeaseLost
from coordination.load import two_choices
from coordination.registered import ASSIGNMENT
from coordination.worker import Alive
from kos_runtime.core.machine import Received, Trace, violations
from kos_runtime.simulator.schedule import Faults, Schedule
from tests.coordination import worlds

WORKERS: Final = tuple(f"w{number}" for number in range(16))
LOAD: Final = 0.9
#: Tasks of one run, and how long one takes at most, in rounds: half of that on average.
TASKS: Final = 1_500
#: Messages are lost, some workers are dead from the beginning, and the master lives.
_CALM: Final = Faults(loss=0.05, delay_ms=20, dead=0.9, heal_ms=30_000)


def longest(seed: int, *, both: bool) -> int:
    """Return the longest queue of one run."""
    draw = Random(f"{seed}/balance")
    queues = dict.fromkeys(WORKERS, 0.0)
    counts = dict.fromkeys(WORKERS, 0)
    ends: dict[str, list[float]] = {name: [] for name in WORKERS}
    now, most = 0.0, 0
    for _ in range(TASKS):
        now += draw.expovariate(len(WORKERS) * LOAD)
        for name in WORKERS:
            while ends[name] and ends[name][0] <= now:
                ends[name].pop(0)
            counts[name] = len(ends[name])
        first, second = draw.random(), draw.random()
        name = two_choices(WORKERS, counts.__getitem__, first, second) if both else WORKERS[int(first * len(WORKERS))]
        queues[name] = max(queues[name], now) + draw.expovariate(1.0)
        ends[name].append(queues[name])
        most = max(most, len(ends[name]))
    return most


def _p95(found: list[int]) -> int:
    return sorted(found)[min(len(found) - 1, int(0.95 * len(found)))]


def late_leases(trace: Trace) -> list[str]:
    """L5: no lease outlives its worker's last sign of life by more than its length and a quarter."""
    setup = trace.setup
    most = setup.lease_ms + max(1, setup.lease_ms // 4)
    heard: dict[int, int] = {}
    wrong = []
    for step in trace.steps:
        if step.node != setup.master:
            continue
        late = [epoch for epoch, at in heard.items() if step.at - at > most]
        wrong += [f"epoch {epoch} is open {step.at - heard[epoch]} ms after a sign of life" for epoch in late]
        for epoch in late:
            del heard[epoch]
        cause = step.cause
        if isinstance(cause, Received) and isinstance(cause.envelope.body, Alive) and not step.transition.ignored:
            heard.update({epoch: step.at for epoch in cause.envelope.body.epochs if epoch in heard})
        for fact in step.transition.facts:
            if isinstance(fact, Leased):
                heard[fact.epoch] = step.at
            elif isinstance(fact, Done | LeaseLost):
                heard.pop(fact.epoch, None)
    return wrong


def deaths(seed: int) -> str:
    """Run a schedule in which workers are dead, and one that lives ends nothing."""
    made = worlds.tasks(seed)
    draw = Random(f"{seed}/deaths")
    schedule = Schedule(
        ASSIGNMENT.machine, made.setup, ("master", *made.setup.workers), _answering(draw.choice(made.setup.workers)), seed, _CALM,
        keeps=("master",), until=("master",),
    )  # fmt: skip
    trace = schedule.run()
    # With too few who work it takes longer than anybody waits here.
    told = [text for text in violations(trace, ASSIGNMENT.invariants) if not text.startswith("M5")]
    wrong = [*late_leases(trace), *told]
    return f"L5, seed {seed}: {wrong[0]}" if wrong else ""


def _answering(dead: str) -> Callable[..., Any]:
    """Return who works: one worker takes what it is given and never ends it."""

    def answer(node: str, consult: Any, draw: Random) -> Any:
        return None if node == dead else worlds._worked(node, consult, draw)

    return answer


def run(count: int, seed: int, share: float = 1.0) -> dict[str, Any]:
    """Balance so many times by two choices and by one, and run so many schedules with deaths."""
    del share
    first = (seed % 1_000_000) * 1_000
    two = [longest(first + number, both=True) for number in range(count)]
    one = [longest(first + number, both=False) for number in range(count)]
    violations_ = [said for number in range(first, first + count) if (said := deaths(number))]
    found: dict[str, Any] = {"runs": count, "two": _p95(two), "one": _p95(one), "violations": violations_}
    if 2 * found["two"] > found["one"]:
        violations_.append(f"L4: the longest queue is {found['two']} by two choices, and {found['one']} by one")
    return found


def words(found: dict[str, Any]) -> str:
    return (
        f"{found['runs']} runs at load {LOAD}: the longest queue is {found['two']} by two choices, {found['one']} by one (p95); as many "
        f"schedules with dead workers; {len(found['violations'])} violations"
    )

"""Whole-engine runs in simulated worlds, each seed twice for determinism, and how often what is rare came.

``python -m tests.proof.simulation SEED`` runs one world and prints what happened in it.
"""

import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from kos_runtime.simulator.faults import KINDS
from kos_runtime.testing.situations import SITUATIONS

ROOT: Final = Path(__file__).resolve().parents[2]
#: Runs of one world, half of them on each of two partitions.
RUNS_A_WORLD: Final = 4
#: Of a full proof: worlds whose trace is made a second time, under another PYTHONHASHSEED.
TWICE: Final = 1_000
WORKERS: Final = 2
#: Rare situations, by the name under which a world counts them. Each must come about; ``docs/reliability.md`` lists them.
SOMETIMES: Final = (
    "partition taken over", "work adopted after a takeover", "stale epoch refused", "append definitely refused",
    "append of which nobody knows", "torn frame cut off", "unsynced write lost", "unsynced write torn",
    "dispatch that came twice was done once", "answer of a process that was given up", "silent process given up",
    "process ended for a body that did not stop", "process that did not answer a new owner", "command asked again",
    "message cut off by a partition", "message said again to a new owner", "killed at append.before", "killed at append.begun", "killed at append.rows",
    "killed at append.commit", "killed at append.after", "killed at receive.after", "killed at claim.before",
    "killed at claim.after", "killed at load.before", "killed at load.after", *SITUATIONS,
)  # fmt: skip
#: The same of events: each must stand in some log.
SOMETIMES_EVENTS: Final = (
    "approval_decided", "cancel_requested", "compensation_started", "consensus_proposed", "consensus_reached", "deadline_set", "decision_taken", "escalation_answered",
    "event_emitted", "group_settled", "items_joined", "loop_ended", "manual_task_answered", "message_handled", "message_superseded", "message_withdrawn", "parts_split", "result_discarded",
    "retry_scheduled", "run_cancelled", "run_failed", "run_paused", "run_reopened", "run_resumed", "signal_passed",
    "signal_taken", "step_cancelled", "step_gave_up", "step_redispatched", "step_skipped", "timer_fired", "turn_started",
    "variables_set", "wait_ended", "waiting_timed_out",
)  # fmt: skip
#: From so many worlds on a rare situation that never came is a problem: a slice may miss one.
ENOUGH: Final = 2_000

Told = dict[str, Any]


def _worlds(first: int, count: int) -> Told:
    """Run some worlds, and add up what came of them."""
    from kos_runtime.testing.simulation import SEEDS_A_DEFINITION, generated, whole_engine

    told: Told = {
        "violations": [], "statuses": Counter(), "sometimes": Counter(), "events": Counter(), "forms": Counter(),
        "steps": 0, "attempts": 0, "seconds": 0.0,
    }  # fmt: skip
    begin = _processor_s()
    for seed in range(first, first + count):
        result = whole_engine(seed)
        told["violations"] += [f"seed {seed}: {text}" for text in result.violations[:3]]
        told["statuses"].update(result.statuses.values())
        told["sometimes"].update(result.sometimes)
        told["events"].update(result.events)
        told["forms"].update(generated(seed // SEEDS_A_DEFINITION)[1])
        told["steps"] += result.steps
        told["attempts"] += result.executed
    told["seconds"] = _processor_s() - begin
    return told


def _processor_s() -> float:
    import time

    return time.process_time()


def traces(first: int, count: int) -> list[str]:
    """Return the hashes of some worlds' traces."""
    from kos_runtime.testing.simulation import whole_engine

    return [whole_engine(seed).trace_hash for seed in range(first, first + count)]


def _twice(first: int, count: int) -> list[str]:
    """Make the traces of some worlds in two processes, under two hash seeds; return which differ."""
    script = f"from tests.proof.simulation import traces; print('\\n'.join(traces({first}, {count})))"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "4211")
    ]
    one, other = (process.communicate()[0].split() for process in running)
    if len(one) != count or len(other) != count:
        return [f"{count} traces were to be made twice, {len(one)} and {len(other)} were"]
    return [f"seed {first + place}: its trace differs" for place in range(count) if one[place] != other[place]]


def run(count: int, seed: int, share: float) -> Told:
    """Run ``count`` whole-engine runs, and some seeds twice."""
    worlds = max(WORKERS, count // RUNS_A_WORLD)
    first = (seed % 1_000_000) * 1_000
    each = -(-worlds // WORKERS)
    found: Told = {}
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(_worlds, [first + number * each for number in range(WORKERS)], [each] * WORKERS))
        for name in parts[0]:
            found[name] = sum((part[name] for part in parts[1:]), parts[0][name])
        found["differ"] = _twice(first, max(2, round(TWICE * min(share, 1.0))))
    found["worlds"] = each * WORKERS
    found["runs"] = found["worlds"] * RUNS_A_WORLD
    found["twice"] = max(2, round(TWICE * min(share, 1.0)))
    found["rare"] = {name: found["sometimes"][name] for name in SOMETIMES}
    found["faults"] = {kind: found["sometimes"][kind] for kind in KINDS}
    found["rare"] |= {name: found["events"][name] for name in SOMETIMES_EVENTS}
    return found


def problems(found: Told, share: float) -> list[str]:
    """Return what of it must not be."""
    del share
    told = [str(text) for text in found["violations"]]
    told += found["differ"]
    if found["worlds"] >= ENOUGH:
        told += [f"it never came about: {name}" for name, times in found["rare"].items() if not times]
        told += [f"the fault {kind} never came about" for kind, times in found["faults"].items() if not times]
    return told


def words(found: Told) -> str:
    rate = found["runs"] / found["seconds"] if found["seconds"] else 0.0
    return (
        f"{found['runs']} whole-engine runs in {found['worlds']} worlds ({rate:.0f} runs a second of processor), "
        f"{len(found['violations'])} violations; {found['twice']} seeds twice, {len(found['differ'])} differ"
    )


if __name__ == "__main__":
    from kos_runtime.testing.simulation import whole_engine

    world = whole_engine(int(sys.argv[1]), keep=True)
    print("".join(world.trace), end="")
    print(world.statuses, world.faults, world.violations, sep="\n")

"""Runs that only wait: what each costs in memory and in the store, and how late their timers fire."""

import gc
import shutil
import time
from typing import Any

from benchmarks.growth import Local, memory_mb
from kos_runtime.core.plan.model import Body, Plan, Step, Wait

HOUR_MS = 3_600_000


def waiting(runs: int) -> dict[str, Any]:
    """Let so many runs wait for an hour at once, and then let the hour pass.

    ``late_ms`` is how long it took until all of them had gone on, once they were due.
    """
    local = Local(active=100)
    try:
        plan = Plan(
            workflow="waiting", free_inputs=True, free_outputs=True,
            body=Body(steps=(Step(id="pause", form=Wait(for_ms=HOUR_MS)),)),
        )  # fmt: skip
        local.create(local.digests(plan), 100)
        local.drain()
        gc.collect()
        before = memory_mb()
        local.create(local.digests(plan), runs)
        local.drain()
        gc.collect()
        grown = memory_mb() - before
        resident = len(local.host.partition.runs)
        local.now += HOUR_MS
        begin = time.perf_counter()
        while local.store.timers_due(local.now, limit=1):
            local.turn()
            local.now += 1
        taken = time.perf_counter() - begin
        return {
            "runs": runs, "resident": resident, "bytes_a_run": round(grown * 1_048_576 / runs),
            "late_ms": round(taken * 1_000),
        }  # fmt: skip
    finally:
        local.close()
        shutil.rmtree(local.folder, ignore_errors=True)

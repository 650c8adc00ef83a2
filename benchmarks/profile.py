"""Where the microseconds of a step go, in the partition's process, without Ray: deciding, packing, storing."""

import cProfile
import io
import pstats
import sys
import time
from typing import Any

from benchmarks.growth import Local, sequential

RUNS = 4_000
IN_FLIGHT = 1_000


def profile() -> dict[str, Any]:
    """Measure the parts of a step with a thousand runs in flight, then print a profile of the same."""
    local = Local()
    plan = local.digests(sequential(4))
    local.create(plan, IN_FLIGHT)
    local.drain()
    parts = _parts(local, plan)
    profiler = cProfile.Profile()
    local.create(plan, IN_FLIGHT)
    profiler.enable()
    local.drain()
    profiler.disable()
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).sort_stats("tottime").print_stats(25)
    print(text.getvalue(), file=sys.stderr)
    local.close()
    return {
        "workload": "profile",
        "value": round(sum(parts.values()), 1),
        "unit": "us/step",
        "settings": {"parts": parts},
    }


def _parts(local: Local, plan: tuple[str, str]) -> dict[str, float]:
    """Return microseconds a step for each part, by wrapping the three calls of a turn."""
    spent = dict.fromkeys(("receive", "ready", "append"), 0.0)

    def timed(name: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            begin = time.thread_time()
            try:
                return function(*arguments)
            finally:
                spent[name] += time.thread_time() - begin

        return call

    partition = local.host.partition
    partition.receive = timed("receive", partition.receive)  # type: ignore[method-assign]
    partition.ready = timed("ready", partition.ready)  # type: ignore[method-assign]
    local.store.append = timed("append", local.store.append)  # type: ignore[method-assign]
    for _ in range(RUNS // IN_FLIGHT):
        local.create(plan, IN_FLIGHT)
        local.drain()
    return {name: round(seconds / (RUNS * 4) * 1e6, 2) for name, seconds in spent.items()}

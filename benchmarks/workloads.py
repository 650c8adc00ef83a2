"""W1, W2, the lonely run, W3 and W5, on ours. Each returns the object that is printed as one line of JSON."""

import os
import resource
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import FAN, PAYLOAD, RETRIES, SEQUENTIAL, Runtime, median, percentile, running


def w1(*, in_flight: int = 1_000, seconds: float = 10.0, rounds: int = 3) -> dict[str, Any]:
    """Steps a second of runs of four steps, so many in flight; start-up excluded, every result durable."""
    values = []
    with running(active=in_flight + in_flight // 4) as runtime:
        runtime.create(SEQUENTIAL, {"d": PAYLOAD}, min(in_flight, 500))
        _keep(runtime, in_flight, until=time.monotonic() + min(3.0, seconds))
        for _ in range(rounds):
            begin, before = time.monotonic(), runtime.completed()
            _keep(runtime, in_flight, until=begin + seconds)
            took = time.monotonic() - begin
            values.append((runtime.completed() - before) * 4 / took)
    return _line(
        "w1", median(values), "steps/s", in_flight=in_flight, seconds=seconds, rounds=[round(v) for v in values]
    )


def _keep(runtime: Runtime, in_flight: int, *, until: float) -> None:
    """Keep so many runs in flight until a moment."""
    while time.monotonic() < until:
        missing = in_flight - (runtime.count - runtime.completed())
        if missing >= max(1, in_flight // 10):
            runtime.create(SEQUENTIAL, {"d": PAYLOAD}, missing)
        else:
            time.sleep(0.03)


def lonely(*, runs: int = 200) -> dict[str, Any]:
    """Milliseconds from asking until the end of one run of four steps is durable, on a warm runtime."""
    with running(active=100) as runtime:
        for _ in range(30):
            runtime.wait(runtime.create(SEQUENTIAL, {"d": PAYLOAD})[0])
        taken = []
        for _ in range(runs):
            begin = time.perf_counter()
            runtime.wait(runtime.create(SEQUENTIAL, {"d": PAYLOAD})[0])
            taken.append((time.perf_counter() - begin) * 1_000)
    return _line("lonely", median(taken), "ms", p99=round(percentile(taken, 0.99), 2), runs=runs)


def w2(*, width: int = 1_000, rounds: int = 5) -> dict[str, Any]:
    """Steps a second of one run with so many steps side by side, then a join."""
    with running(active=100) as runtime:
        runtime.wait(runtime.create(FAN, {"n": width})[0])
        values = []
        for _ in range(rounds):
            begin = time.perf_counter()
            runtime.wait(runtime.create(FAN, {"n": width})[0])
            values.append((width + 2) / (time.perf_counter() - begin))
    return _line("w2", median(values), "steps/s", width=width, rounds=[round(v) for v in values])


def retries(*, width: int = 10_000, rounds: int = 3) -> dict[str, Any]:
    """Steps a second of a ``for_each`` over so many items, of which a tenth fail at first and are tried again."""
    with running(active=100) as runtime:
        runtime.wait(runtime.create(RETRIES, {"n": min(width, 1_000)})[0])
        values = []
        for _ in range(rounds):
            begin = time.perf_counter()
            runtime.wait(runtime.create(RETRIES, {"n": width})[0])
            values.append((width + 2) / (time.perf_counter() - begin))
    return _line(
        "retries", median(values), "steps/s", width=width, retried=width // 10, rounds=[round(v) for v in values]
    )


def mixed(*, runs: int = 1_000, width: int = 10_000) -> dict[str, Any]:
    """The small runs' median slowdown beside a wide one, as a share of what it is under first-come-first-served."""
    from benchmarks.mixed import mixed as compare

    found = compare(small=runs, wide=width)
    return _line("mixed", found["ratio"], "of first-come-first-served", runs=runs, width=width, slowdown=found)


def timers(*, count: int = 10_000, spread_ms: int = 0) -> dict[str, Any]:
    """How late the latest of so many timers fires, in milliseconds, when all are due at once or within so long."""
    from benchmarks.timers import timers as measure

    found = measure(count, spread_ms)
    return _line("timers", found["worst_ms"], "ms late", late=found)


def w3(*, steps: int = 1_000, events: int = 100_000) -> dict[str, Any]:
    """Seconds from the start of a successor until it is ready: one run of so many completed steps, and a large log.

    The histories are written by the engine in this process, which is then killed; what is measured is opening the
    store, claiming, and folding what is at work, in a process that has imported everything.
    """
    folder = Path(tempfile.mkdtemp(prefix="kos-bench-"))
    try:
        one = _recovery(folder / "one", lambda store: _write_history(store, steps=steps, runs=1))
        many = _recovery(folder / "many", lambda store: _write_history(store, steps=10, runs=events // 23))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return _line("w3", one["ready_s"], "s", steps=steps, one=one, many=many)


def w5(*, widths: tuple[int, ...] = (1_000, 10_000), runs: tuple[int, ...] = (1_000, 100_000)) -> dict[str, Any]:
    """How cost and memory grow: a fan-out ten times as wide, a hundred times as many runs, in one process."""
    from benchmarks.growth import fan_cost, long_run_cost, run_cost

    fans = {width: fan_cost(width) for width in widths}
    many = run_cost(list(runs))
    long = long_run_cost(100_000)
    ratio_fan = fans[widths[-1]]["us_per_step"] / fans[widths[0]]["us_per_step"]
    ratio_runs = many[runs[-1]]["us_per_step"] / many[runs[0]]["us_per_step"]
    return _line("w5", round(max(ratio_fan, ratio_runs), 2), "times", fan=fans, runs=many, long_run=long)


def w5_waiting(runs: int) -> dict[str, Any]:
    """What a run that only waits takes of the engine's memory, in bytes; it is a row of the store."""
    from benchmarks.waiting import waiting

    found = waiting(runs)
    return _line("w5", found["bytes_a_run"], "bytes a run", waiting=found)


def w6(*, turns: int = 200, size: int = 1_000) -> dict[str, Any]:
    """How many bytes the log takes for a byte that is new in a conversation of so many turns."""
    from benchmarks.talking import talk

    found = talk(turns=turns, size=size)
    return _line("w6", found["a_byte"], "bytes in the log a byte said", turns=turns, size=size, **found)


# --- W3's histories -----------------------------------------------------------------------------


def _write_history(store: Path, *, steps: int, runs: int) -> None:
    from benchmarks.growth import Local

    local = Local(store)
    local.write(steps=steps, runs=runs, unfinished=1 if runs == 1 else runs // 50)
    os.kill(os.getpid(), signal.SIGKILL)


def _recovery(store: Path, write: Any) -> dict[str, Any]:
    from benchmarks.growth import Local

    pid = os.fork()
    if pid == 0:
        write(store)
        os._exit(1)
    if not os.WIFSIGNALED(os.waitpid(pid, 0)[1]):
        raise RuntimeError("the history could not be written")
    taken = []
    for _ in range(3):
        begin = time.perf_counter()
        local = Local(store)
        local.recover()
        taken.append(time.perf_counter() - begin)
        found = local.facts()
        local.close()
    return {"ready_s": round(median(taken), 4), **found}


def _line(workload: str, value: float, unit: str, **settings: Any) -> dict[str, Any]:
    digits = 1 if value >= 100 else 4
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024
    return {"workload": workload, "value": round(value, digits), "unit": unit, "settings": settings, "driver_mb": peak}

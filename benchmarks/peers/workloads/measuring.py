"""What the peers' scripts share: arguments, payload, clocks, percentiles, and the line of JSON at the end.

A script of this folder runs under a peer's own interpreter, so nothing here imports anything but the standard
library. Every figure is taken with ``time.perf_counter``; rates are per second, latencies in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

STEPS_A_RUN = 4
"""Steps of one run of the sequential workload and of the lonely run."""

WARM_UP_S = 1.5
"""Seconds of load before the measuring window opens."""

PATIENCE_S = 120.0
"""Seconds a script waits for a server to answer or for a history to be complete."""

PAYLOAD: dict[str, Any] = {
    "topic": "fault tolerance of actors",
    "depth": "deep",
    "sources": 12,
    "score": 0.75,
    "note": "a dict of about two hundred bytes, of the size that one agent hands to the next in a small plan, padded",
}
"""What goes into each step and, with the step's number set, what comes out of it."""


def no_op(payload: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a dict of about 200 bytes, another object than the one that came in."""
    return {**payload, "sources": number}


def arguments(peer: str) -> argparse.Namespace:
    """Parse what every script understands.

    ``--runs`` is the number of runs in flight for w1 and of steps at work at the same time for w2 (0: the
    concurrency at which this peer was fastest), and the greatest number of runs for lonely. ``--seconds`` is the length of the measuring window of w1 and lonely, and
    the time after which w2 starts no further fan-out. ``--steps`` is the width of w2 and the history of w3.
    """
    parser = argparse.ArgumentParser(prog=peer)
    parser.add_argument("--workload", required=True, choices=["w1", "w2", "lonely", "w3", "w3-history", "w3-recover"])
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--dir", type=pathlib.Path, required=True)
    parser.add_argument("--variant", default="")
    parser.add_argument("--port", type=int, default=0, help="of a server that is up already; for the script's own use")
    found = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    found.dir = found.dir.resolve()
    found.dir.mkdir(parents=True, exist_ok=True)
    return found


def stop(number: int, _: Any) -> None:
    """Leave by way of every ``finally``, which end the servers; where one of them hangs, an alarm ends this process."""
    signal.alarm(20)
    sys.exit(128 + number)


def emit(peer: str, workload: str, value: float, unit: str, settings: dict[str, Any], **more: Any) -> None:
    """Print the one line that the comparison reads; it is the last line of the script."""
    line = {"peer": peer, "workload": workload, "value": round(value, 3), "unit": unit, "settings": settings, **more}
    print(json.dumps(line), flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below or at which ``share`` (0 to 1) of the values lie, by nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


# Closed loops: a fixed number of runs in flight, a new one started as soon as one ends.
#
# Runs that start together tend to go on together, so ends of runs come in waves as high as there are runs in
# flight, and a window may catch one wave more or less. Steps are spread far better: they are counted where they
# are executed, between the moment when every lane has ended its first run and the moment when the window is over.


class Executions:
    """Counts step bodies that ran in this process, from any thread."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.so_far = 0

    def one_more(self) -> int:
        """Count one and return its number; no two threads get the same."""
        number = next(self._numbers)
        self.so_far = number
        return number

    async def reading(self) -> tuple[int, float]:
        """Return the count and the second it was read at."""
        return self.so_far, time.perf_counter()


Reading = Callable[[], Awaitable[tuple[int, float]]]
"""Tells how many steps have been executed, and at which second of the clock of whoever counts them."""


class Load:
    """What a closed loop knows: how many runs ended, and when it should stop."""

    def __init__(self, in_flight: int) -> None:
        self.in_flight = in_flight
        self.ended = 0
        self.over = False
        self.failure: BaseException | None = None

    async def rate(self, reading: Reading, seconds: float) -> float:
        """Wait for the load to be steady and for the window to pass; return steps a second in the window."""
        start = time.perf_counter()
        while self.ended < self.in_flight or time.perf_counter() < start + WARM_UP_S:
            if self.failure is not None:
                raise self.failure
            if time.perf_counter() > start + PATIENCE_S:
                raise SystemExit(f"only {self.ended} runs of {self.in_flight} ended within {PATIENCE_S:.0f} s")
            await asyncio.sleep(0.01)
        before, opened = await reading()
        await asyncio.sleep(seconds)
        after, closed = await reading()
        if self.failure is not None:
            raise self.failure
        return (after - before) / (closed - opened)


async def closed_loop(
    run: Callable[[int], Awaitable[Any]], in_flight: int, seconds: float, reading: Reading | None = None
) -> float:
    """Keep ``in_flight`` runs going on this event loop; return steps a second, start-up and warm-up excluded.

    ``run`` gets the number of its lane, from 0. Where nobody can count steps, ends of runs are counted instead.
    """
    load = Load(in_flight)

    async def lane(number: int) -> None:
        while not load.over:
            await run(number)
            load.ended += 1

    async def ends() -> tuple[int, float]:
        return load.ended * STEPS_A_RUN, time.perf_counter()

    lanes = [asyncio.create_task(lane(number)) for number in range(in_flight)]
    watch = asyncio.create_task(load.rate(reading or ends, seconds))
    await asyncio.wait([watch, *lanes], return_when=asyncio.FIRST_COMPLETED)
    load.over = True
    for task in lanes:
        if task.done():
            task.result()
    value = await watch
    await asyncio.gather(*lanes)
    return value


def closed_loop_of_threads(run: Callable[[int], Any], in_flight: int, seconds: float, counted: Executions) -> float:
    """Keep ``in_flight`` runs going, one thread each; return steps a second, start-up and warm-up excluded."""
    load = Load(in_flight)

    def lane(number: int) -> None:
        try:
            while not load.over:
                run(number)
                load.ended += 1
        except BaseException as problem:  # noqa: BLE001  a thread has nobody to raise to
            load.failure = problem

    lanes = [threading.Thread(target=lane, args=(number,)) for number in range(in_flight)]
    for thread in lanes:
        thread.start()
    try:
        return asyncio.run(load.rate(counted.reading, seconds))
    finally:
        load.over = True
        for thread in lanes:
            thread.join()


def one_after_another(run: Callable[[int], Any], most: int, seconds: float, warm: int = 10) -> list[float]:
    """Return the milliseconds of up to ``most`` runs (0: as many as fit) within the window, after ``warm`` others."""
    for number in range(warm):
        run(number)
    closed = time.perf_counter() + seconds
    taken: list[float] = []
    while (not most or len(taken) < most) and (time.perf_counter() < closed or len(taken) < 3):
        started = time.perf_counter()
        run(warm + len(taken))
        taken.append((time.perf_counter() - started) * 1000)
    return taken


async def one_after_another_async(
    run: Callable[[int], Awaitable[Any]], most: int, seconds: float, warm: int = 10
) -> list[float]:
    """The same as `one_after_another`, on this event loop."""
    for number in range(warm):
        await run(number)
    closed = time.perf_counter() + seconds
    taken: list[float] = []
    while (not most or len(taken) < most) and (time.perf_counter() < closed or len(taken) < 3):
        started = time.perf_counter()
        await run(warm + len(taken))
        taken.append((time.perf_counter() - started) * 1000)
    return taken


def lonely_figures(taken: Sequence[float]) -> dict[str, Any]:
    """Return the fields a lonely figure carries beside its value, which is the median."""
    return {"p50_ms": round(percentile(taken, 0.5), 3), "p99_ms": round(percentile(taken, 0.99), 3), "samples": len(taken)}


# Recovery: one process builds a history and is killed, another goes on from what is on disk.

HISTORY_IS_COMPLETE = "history is complete"
"""What a history process prints when its steps are stored and its last step hangs."""


def gate(directory: pathlib.Path) -> pathlib.Path:
    """Return the file that lets the last step of a recovery run through; absent while the history is built."""
    return directory / "gate-is-open"


def build_history_and_kill(script: str, arguments_of_script: list[str], directory: pathlib.Path) -> None:
    """Run the script's history phase until it says that the history is complete, then kill it with signal 9."""
    gate(directory).unlink(missing_ok=True)
    child = subprocess.Popen(  # noqa: S603
        [sys.executable, script, "--workload", "w3-history", "--dir", str(directory), *arguments_of_script],
        stdout=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(PATIENCE_S, child.kill)
    watchdog.start()
    try:
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip() == HISTORY_IS_COMPLETE:
                break
        else:
            raise SystemExit(f"no history within {PATIENCE_S:.0f} s, or its process ended before")
    finally:
        watchdog.cancel()
        child.send_signal(signal.SIGKILL)
        child.wait()
    gate(directory).touch()


def recover(script: str, arguments_of_script: list[str], directory: pathlib.Path) -> dict[str, Any]:
    """Run the script's recovery phase in a new process; return what it reports, and ``process_ms`` around it all."""
    started = time.perf_counter()
    done = subprocess.run(  # noqa: S603
        [sys.executable, script, "--workload", "w3-recover", "--dir", str(directory), *arguments_of_script],
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    report: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    report["process_ms"] = round((time.perf_counter() - started) * 1000, 1)
    return report


def hang() -> None:
    """Say that the history is complete and wait to be killed."""
    print(HISTORY_IS_COMPLETE, flush=True)
    while True:
        time.sleep(3600)


# Servers of peers.


def free_port() -> int:
    """Return a port of the loopback interface that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_listening(port: int, server: subprocess.Popen[bytes]) -> None:
    """Return when something accepts connections on the loopback port; stop waiting when the server has ended."""
    closed = time.perf_counter() + PATIENCE_S
    while time.perf_counter() < closed:
        if server.poll() is not None:
            raise SystemExit(f"the server ended with {server.returncode} before it listened on port {port}")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.005)
    raise SystemExit(f"nobody listened on port {port} within {PATIENCE_S:.0f} s")


def end(server: subprocess.Popen[bytes] | None, number: int = signal.SIGKILL) -> None:
    """End one server by its process id and wait for it; a server that ended already is fine."""
    if server is None or server.poll() is not None:
        return
    server.send_signal(number)
    try:
        server.wait(timeout=20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def quiet_environment(**more: str) -> dict[str, str]:
    """Return this process's environment with every peer's telemetry and proxy switched off."""
    telemetry = {
        "DO_NOT_TRACK": "1",
        "SCARF_ANALYTICS": "false",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
        "LANGSMITH_TRACING": "false",
        "LANGCHAIN_TRACING_V2": "false",
        "no_proxy": "127.0.0.1,localhost",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    proxies = {"http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
    return {name: value for name, value in os.environ.items() if name not in proxies} | telemetry | more

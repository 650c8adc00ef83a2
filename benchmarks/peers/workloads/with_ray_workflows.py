"""Ray Workflows, the library that Ray carried until 2.40: a bound task is a step, its output a file before the next.

The files are written without fsync, so this peer promises less than the others: it survives a killed process, not
a machine that loses power. Ray runs on this machine alone, on ports of its own, without a dashboard.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import measuring

os.environ.update(measuring.quiet_environment(RAY_DEDUP_LOGS="0"))
os.environ["PYTHONPATH"] = str(pathlib.Path(__file__).parent)  # for Ray's workers, which unpickle names of `measuring`

import ray  # noqa: E402
from ray import workflow  # noqa: E402

PEER = "ray-workflows"

BEST_IN_FLIGHT = 4
"""Runs in flight at which it was fastest on two cores."""

FOLDER_IS_IN = "ray-folder"
"""The file, beside the storage, that says where this Ray keeps its sockets and logs."""


@ray.remote
def step(payload: dict[str, Any]) -> dict[str, Any]:
    return measuring.no_op(payload, 1)


@ray.remote
def join(*parts: dict[str, Any]) -> int:
    return len(parts)


@ray.remote
def at_the_gate(count: int, directory: str) -> int:
    """Return the count once the gate is open; while it is not, say so by a file and hang."""
    if not measuring.gate(pathlib.Path(directory)).exists():
        (pathlib.Path(directory) / "history-is-complete").touch()
        while True:
            time.sleep(3600)
    return count


def sequential() -> Any:
    node = step.bind(measuring.PAYLOAD)
    for _ in range(measuring.STEPS_A_RUN - 1):
        node = step.bind(node)
    return node


def wide(steps: int) -> Any:
    return join.bind(*(step.bind(measuring.PAYLOAD) for _ in range(steps)))


@contextlib.contextmanager
def running(directory: pathlib.Path) -> Iterator[None]:
    """Start a Ray of its own whose workflows are kept below ``directory``; stop it at the end."""
    # Ray puts sockets below its folder, and a socket's path has at most 107 characters.
    folder = tempfile.mkdtemp(prefix="rw-", dir="/tmp")
    (directory / FOLDER_IS_IN).write_text(folder)
    try:
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=200_000_000,
            storage=f"file://{directory}/storage",
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
        )
        workflow.init()
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def facts() -> dict[str, Any]:
    return {"version": ray.__version__, "fsync": "none: files"}


def w2(steps: int, seconds: float) -> list[float]:
    """Return the steps a second of each fan-out that was started within the window, the warm-up left out."""
    rates: list[float] = []
    workflow.run(wide(20))
    closed = time.perf_counter() + seconds
    while not rates or time.perf_counter() < closed:
        started = time.perf_counter()
        joined = workflow.run(wide(steps))
        rates.append(steps / (time.perf_counter() - started))
        assert joined == steps, joined
    return rates


def w1(in_flight: int, seconds: float) -> float:
    """Nobody sees the steps of other processes here, so ends of runs are counted; there are few in flight."""

    async def run(_: int) -> None:
        await workflow.run_async(sequential())

    return asyncio.run(measuring.closed_loop(run, in_flight, seconds))


def history(directory: pathlib.Path, steps: int) -> None:
    """Complete the steps side by side, which is the quickest way to a history, and come to the gate."""
    with running(directory):
        workflow.run_async(at_the_gate.bind(wide(steps), str(directory)), workflow_id="long")
        while not (directory / "history-is-complete").exists():
            time.sleep(0.01)
        measuring.hang()


def end_what_is_left(directory: pathlib.Path) -> None:
    """Kill the processes of a Ray whose driver was killed: its agents outlive it by minutes.

    They are told by the folder made for this measurement alone, which stands in their command lines.
    """
    folder = (directory / FOLDER_IS_IN).read_text()
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if folder.encode() in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


def recovery(directory: pathlib.Path, steps: int) -> dict[str, Any]:
    """Resume the run; the clock starts when Ray is up, as for every engine that needs it."""
    before = time.perf_counter()
    with running(directory):
        started = time.perf_counter()
        joined = workflow.resume("long")
        taken = (time.perf_counter() - started) * 1000
    assert joined == steps, joined
    return {"value": taken, "ray_up_ms": round((started - before) * 1000, 1)}


def main() -> None:
    asked = measuring.arguments(PEER)
    shared = ["--steps", str(asked.steps)]
    match asked.workload:
        case "w3-history":
            history(asked.dir, asked.steps)
        case "w3-recover":
            measuring.emit(PEER, "w3", unit="ms", settings={}, **recovery(asked.dir, asked.steps))
        case "w3":
            try:
                measuring.build_history_and_kill(__file__, shared, asked.dir)
            finally:
                end_what_is_left(asked.dir)
            report = measuring.recover(__file__, shared, asked.dir)
            settings = {"steps": asked.steps, "clock": "Ray up to result", "history": "side by side", **facts()}
            more = {key: report[key] for key in ("ray_up_ms", "process_ms")}
            measuring.emit(PEER, "w3", report["value"], "ms", settings, **more)
        case _:
            with running(asked.dir):
                measure(asked)


def measure(asked: Any) -> None:
    """Run one of the workloads that need no kill."""
    if asked.workload == "w1":
        in_flight = asked.runs or BEST_IN_FLIGHT
        measuring.emit(PEER, "w1", w1(in_flight, asked.seconds), "steps/s", {"in_flight": in_flight, **facts()})
    elif asked.workload == "w2":
        rates = w2(asked.steps, asked.seconds)
        settings = {"steps": asked.steps, "fan_outs": len(rates), **facts()}
        measuring.emit(PEER, "w2", statistics.median(rates), "steps/s", settings)
    else:
        taken = measuring.one_after_another(lambda _: workflow.run(sequential()), asked.runs, asked.seconds, warm=3)
        figures = measuring.lonely_figures(taken)
        measuring.emit(PEER, "lonely", figures["p50_ms"], "ms", facts(), **figures)


if __name__ == "__main__":
    main()

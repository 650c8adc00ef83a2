"""DBOS on SQLite or PostgreSQL: each step's result is one committed transaction before the next step starts.

On SQLite DBOS leaves the journal at SQLite's defaults (rollback journal, ``synchronous`` FULL), on PostgreSQL the
server's ``fsync`` and ``synchronous_commit`` are on; all are read back and reported.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import pathlib
import signal
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Awaitable
from typing import Any

import measuring
import postgres_server

os.environ.update(measuring.quiet_environment())

import psycopg  # noqa: E402
from dbos import DBOS, SetWorkflowID  # noqa: E402

BEST_IN_FLIGHT = {"sqlite": {"threads": 4, "tasks": 4}, "postgres": {"threads": 8, "tasks": 8}}
"""Runs in flight at which each store and way of running was fastest on two cores."""

BEST_WAY = {"sqlite": "threads", "postgres": "tasks"}

BEST_WIDTH = {"sqlite": 4, "postgres": 8}
"""Steps of one fan-out at work at the same time; more of them only wait for a connection, and for the writer's lock."""

SHORTEST_POLL_S = 0.005
"""How often a finished run is looked for; DBOS's own default is a second, which would only measure the wait."""

executions = measuring.Executions()
"""Steps whose body ran in this process; after a recovery it says how many were run again."""

directory = pathlib.Path()


@DBOS.step()
def step(payload: dict[str, Any]) -> dict[str, Any]:
    return measuring.no_op(payload, executions.one_more())


@DBOS.step()
async def step_async(payload: dict[str, Any]) -> dict[str, Any]:
    return measuring.no_op(payload, executions.one_more())


@DBOS.workflow()
def sequential(payload: dict[str, Any]) -> dict[str, Any]:
    for _ in range(measuring.STEPS_A_RUN):
        payload = step(payload)
    return payload


@DBOS.workflow()
async def sequential_async(payload: dict[str, Any]) -> dict[str, Any]:
    for _ in range(measuring.STEPS_A_RUN):
        payload = await step_async(payload)
    return payload


@DBOS.workflow()
async def wide(payload: dict[str, Any], steps: int, width: int) -> int:
    room = asyncio.Semaphore(width)

    async def one() -> dict[str, Any]:
        async with room:
            return await step_async(payload)

    return len(await asyncio.gather(*(one() for _ in range(steps))))


@DBOS.step()
def at_the_gate(payload: dict[str, Any]) -> dict[str, Any]:
    if not measuring.gate(directory).exists():
        measuring.hang()
    return step.__wrapped__(payload)  # type: ignore[attr-defined, no-any-return]


@DBOS.workflow()
def long(payload: dict[str, Any], steps: int) -> int:
    for _ in range(steps):
        payload = step(payload)
    at_the_gate(payload)
    return steps


def open_dbos(store: str, port: int) -> None:
    """Build DBOS over the store and launch it; a pending run of an earlier process starts to recover here."""
    place = f"sqlite:///{directory}/dbos.sqlite" if store == "sqlite" else postgres_server.url(port)
    DBOS(
        config={
            "name": "benchmark",
            "application_version": "1",
            "executor_id": "local",
            "system_database_url": place,
            "log_level": "ERROR",
        }
    )
    DBOS.launch()


def durability(store: str, port: int) -> dict[str, Any]:
    """Read back what decides whether a commit reaches the disk."""
    found: dict[str, Any] = {"version": importlib.metadata.version("dbos"), "store": store}
    if store == "sqlite":
        connection = sqlite3.connect(directory / "dbos.sqlite")
        for name in ("journal_mode", "synchronous"):
            found[name] = connection.execute(f"PRAGMA {name}").fetchone()[0]
        connection.close()
        return found | {"sqlite": sqlite3.sqlite_version}
    with psycopg.connect(postgres_server.url(port)) as session:
        for name in ("server_version", "fsync", "synchronous_commit", "wal_sync_method"):
            row = session.execute(f"SHOW {name}").fetchone()
            found[name] = row[0] if row else None
    return found


def w1(way: str, in_flight: int, seconds: float) -> float:
    if way == "threads":
        return measuring.closed_loop_of_threads(lambda _: sequential(measuring.PAYLOAD), in_flight, seconds, executions)

    def run(_: int) -> Awaitable[dict[str, Any]]:
        return sequential_async(measuring.PAYLOAD)

    return asyncio.run(measuring.closed_loop(run, in_flight, seconds, executions.reading))


def w2(steps: int, width: int, seconds: float) -> list[float]:
    """Return the steps a second of each fan-out that was started within the window, the warm-up left out."""

    async def all_of_them() -> list[float]:
        rates: list[float] = []
        await wide(measuring.PAYLOAD, 50, width)
        closed = time.perf_counter() + seconds
        while not rates or time.perf_counter() < closed:
            started = time.perf_counter()
            joined = await wide(measuring.PAYLOAD, steps, width)
            rates.append(steps / (time.perf_counter() - started))
            assert joined == steps, joined
        return rates

    return asyncio.run(all_of_them())


def history(store: str, port: int, steps: int) -> None:
    open_dbos(store, port)
    with SetWorkflowID("long"):
        long(measuring.PAYLOAD, steps)


def recovery(store: str, port: int, steps: int) -> dict[str, Any]:
    """Start what was killed and wait for the result; the clock starts when DBOS is imported."""
    server: subprocess.Popen[bytes] | None = None
    started = time.perf_counter()
    try:
        if store == "postgres":
            server = postgres_server.start(directory / "postgres", port)
        open_dbos(store, port)
        handle = DBOS.retrieve_workflow("long")
        joined = handle.get_result(polling_interval_sec=SHORTEST_POLL_S)
        taken = (time.perf_counter() - started) * 1000
        assert joined == steps, joined
        DBOS.destroy()
    finally:
        measuring.end(server, signal.SIGQUIT)
    return {"value": taken, "steps_run_again": executions.so_far - 1}


def w3(peer: str, store: str, port: int, steps: int) -> None:
    """Build a history, kill worker and server, and recover in a new process."""
    shared = ["--steps", str(steps), "--variant", store, "--port", str(port)]
    server: subprocess.Popen[bytes] | None = None
    try:
        if store == "postgres":
            server = postgres_server.start(postgres_server.create(directory), port)
        measuring.build_history_and_kill(__file__, shared, directory)
        facts = durability(store, port)
    finally:
        # PostgreSQL's immediate shutdown: no checkpoint, so the next start recovers as after a crash.
        measuring.end(server, signal.SIGQUIT)
    report = measuring.recover(__file__, shared, directory)
    clock = "library imported to result" if store == "sqlite" else "library imported, server started, to result"
    more = {key: report[key] for key in ("steps_run_again", "process_ms")}
    measuring.emit(peer, "w3", report["value"], "ms", {"steps": steps, "clock": clock, **facts}, **more)


def measure(peer: str, asked: Any, store: str, way: str, port: int) -> None:
    """Run one of the workloads that need no kill."""
    open_dbos(store, port)
    facts = durability(store, port)
    if asked.workload == "w1":
        in_flight = asked.runs or BEST_IN_FLIGHT[store][way]
        value = w1(way, in_flight, asked.seconds)
        measuring.emit(peer, "w1", value, "steps/s", {"in_flight": in_flight, "way": way, **facts})
    elif asked.workload == "w2":
        width = asked.runs or BEST_WIDTH[store]
        rates = w2(asked.steps, width, asked.seconds)
        settings = {"steps": asked.steps, "at_work": width, "fan_outs": len(rates), **facts}
        measuring.emit(peer, "w2", statistics.median(rates), "steps/s", settings)
    else:
        figures = measuring.lonely_figures(
            measuring.one_after_another(lambda _: sequential(measuring.PAYLOAD), asked.runs, asked.seconds)
        )
        measuring.emit(peer, "lonely", figures["p50_ms"], "ms", facts, **figures)
    DBOS.destroy()


def main() -> None:
    """``--variant`` names the store, sqlite or postgres, and after a colon the way: threads or tasks."""
    global directory
    asked = measuring.arguments("dbos")
    store, _, way = (asked.variant or "sqlite").partition(":")
    directory = asked.dir
    peer = f"dbos-{store}"
    port = asked.port or measuring.free_port()
    match asked.workload:
        case "w3-history":
            history(store, port, asked.steps)
        case "w3-recover":
            measuring.emit(peer, "w3", unit="ms", settings={}, **recovery(store, port, asked.steps))
        case "w3":
            w3(peer, store, port, asked.steps)
        case _:
            server: subprocess.Popen[bytes] | None = None
            try:
                if store == "postgres":
                    server = postgres_server.start(postgres_server.create(directory), port)
                measure(peer, asked, store, way or BEST_WAY[store], port)
            finally:
                measuring.end(server, signal.SIGQUIT)


if __name__ == "__main__":
    main()

"""Temporal on its development server with a SQLite file; an activity is a step, its result in the run's history.

The development server is what a package registry ships. It is not how Temporal is run in production, where the
store is PostgreSQL, MySQL or Cassandra: the figure says nothing about those.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import pathlib
import statistics
import subprocess
import sys
import time
from datetime import timedelta
from typing import Any

import measuring

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

PEER = "temporal"

BEST_IN_FLIGHT = 16
"""Runs in flight at which it was fastest on two cores."""

QUEUE = "bench"

A_MINUTE = timedelta(minutes=1)

executions = measuring.Executions()


@activity.defn
async def step(payload: dict[str, Any]) -> dict[str, Any]:
    return measuring.no_op(payload, executions.one_more())


async def do(payload: dict[str, Any]) -> dict[str, Any]:
    return await workflow.execute_activity(step, payload, start_to_close_timeout=A_MINUTE)


@workflow.defn
class Sequential:
    @workflow.run
    async def run(self, payload: dict[str, Any]) -> dict[str, Any]:
        for _ in range(measuring.STEPS_A_RUN):
            payload = await do(payload)
        return payload


@workflow.defn
class Wide:
    @workflow.run
    async def run(self, payload: dict[str, Any], steps: int) -> int:
        return len(await asyncio.gather(*(do(payload) for _ in range(steps))))


@workflow.defn
class Long:
    """Completes its steps side by side and then waits for a signal, which is what its gate is.

    An activity cut off by a kill would be tried again only after its timeout; a waiting run goes on at once.
    """

    def __init__(self) -> None:
        self._open = False
        self._complete = False

    @workflow.run
    async def run(self, payload: dict[str, Any], steps: int) -> int:
        joined = len(await asyncio.gather(*(do(payload) for _ in range(steps))))
        self._complete = True
        await workflow.wait_condition(lambda: self._open)
        return joined

    @workflow.signal
    def open_gate(self) -> None:
        self._open = True

    @workflow.query
    def complete(self) -> bool:
        return self._complete


class Server:
    """The development server on the loopback interface, over one database file."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.port = measuring.free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = pathlib.Path(sys.prefix) / "bin" / "temporal"
        command = [
            *(program, "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(self.port)),
            *("--http-port", str(measuring.free_port()), "--metrics-port", str(measuring.free_port())),
            *("--db-filename", self.directory / "temporal.sqlite", "--log-level", "error"),
        ]
        environment = measuring.quiet_environment(HOME=str(self.directory), TEMPORAL_CLI_SHOW_LOGO="false")
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)  # noqa: S603

    async def client(self) -> Client:
        """Connect, trying until the server takes calls."""
        assert self.process is not None
        measuring.wait_until_listening(self.port, self.process)
        closed = time.perf_counter() + measuring.PATIENCE_S
        while True:
            try:
                client = await Client.connect(f"127.0.0.1:{self.port}")
                await client.count_workflows()
            except Exception as problem:  # noqa: BLE001  the SDK raises several kinds while the server starts
                if time.perf_counter() > closed or self.process.poll() is not None:
                    raise SystemExit(f"the Temporal server is not usable: {problem}") from problem
                await asyncio.sleep(0.01)
            else:
                return client

    def kill(self) -> None:
        measuring.end(self.process)


def worker(client: Client) -> Worker:
    """Return a worker at its quickest: no sandbox around workflows, and as many activities at work as a run has."""
    return Worker(
        client,
        task_queue=QUEUE,
        workflows=[Sequential, Wide, Long],
        activities=[step],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_concurrent_activities=1000,
        max_concurrent_workflow_tasks=200,
    )


def facts() -> dict[str, Any]:
    version = subprocess.run(  # noqa: S603
        [pathlib.Path(sys.prefix) / "bin" / "temporal", "--version"], capture_output=True, text=True, check=True
    )
    return {
        "server": version.stdout.strip(),
        "sdk": importlib.metadata.version("temporalio"),
        "store": "SQLite file of the development server, its default; production stores are others",
    }


async def run_sequential(client: Client, name: str) -> None:
    await client.execute_workflow(Sequential.run, measuring.PAYLOAD, id=name, task_queue=QUEUE)


async def measure(client: Client, asked: Any) -> None:
    known = facts()
    if asked.workload == "w1":
        in_flight = asked.runs or BEST_IN_FLIGHT
        counts = [0] * in_flight

        async def run(lane: int) -> None:
            counts[lane] += 1
            await run_sequential(client, f"w1-{lane}-{counts[lane]}")

        value = await measuring.closed_loop(run, in_flight, asked.seconds, executions.reading)
        measuring.emit(PEER, "w1", value, "steps/s", {"in_flight": in_flight, **known})
    elif asked.workload == "w2":
        rates = await w2(client, asked.steps, asked.seconds)
        settings = {"steps": asked.steps, "fan_outs": len(rates), **known}
        measuring.emit(PEER, "w2", statistics.median(rates), "steps/s", settings)
    else:
        taken = await measuring.one_after_another_async(
            lambda number: run_sequential(client, f"lonely-{number}"), asked.runs, asked.seconds, warm=5
        )
        figures = measuring.lonely_figures(taken)
        measuring.emit(PEER, "lonely", figures["p50_ms"], "ms", known, **figures)


async def w2(client: Client, steps: int, seconds: float) -> list[float]:
    """Return the steps a second of each fan-out that was started within the window, the warm-up left out."""
    rates: list[float] = []
    await client.execute_workflow(Wide.run, args=[measuring.PAYLOAD, 20], id="warm", task_queue=QUEUE)
    closed = time.perf_counter() + seconds
    while not rates or time.perf_counter() < closed:
        started = time.perf_counter()
        name = f"wide-{len(rates)}"
        joined = await client.execute_workflow(Wide.run, args=[measuring.PAYLOAD, steps], id=name, task_queue=QUEUE)
        rates.append(steps / (time.perf_counter() - started))
        assert joined == steps, joined
    return rates


async def history(directory: pathlib.Path, port: int, steps: int) -> None:
    """Complete the steps on the server at the port, and wait to be killed at the gate."""
    client = await Client.connect(f"127.0.0.1:{port}")
    async with worker(client):
        handle = await client.start_workflow(Long.run, args=[measuring.PAYLOAD, steps], id="long", task_queue=QUEUE)
        while not await handle.query(Long.complete):
            await asyncio.sleep(0.1)
        measuring.hang()


async def recovery(directory: pathlib.Path, steps: int) -> dict[str, Any]:
    """Start server and worker, open the gate, wait for the result; the clock starts before the server does."""
    server = Server(directory)
    try:
        started = time.perf_counter()
        server.start()
        client = await server.client()
        async with worker(client):
            handle = client.get_workflow_handle_for(Long.run, "long")
            await handle.signal(Long.open_gate)
            joined = await handle.result()
            taken = (time.perf_counter() - started) * 1000
        assert joined == steps, joined
    finally:
        server.kill()
    return {"value": taken, "steps_run_again": executions.so_far}


def w3(asked: Any) -> None:
    """Build a history, kill worker and server, and recover in a new process."""
    shared = ["--steps", str(asked.steps)]
    server = Server(asked.dir)
    try:
        server.start()
        asyncio.run(server.client())
        measuring.build_history_and_kill(__file__, [*shared, "--port", str(server.port)], asked.dir)
    finally:
        server.kill()
    report = measuring.recover(__file__, shared, asked.dir)
    clock = "library imported, server spawned, to result"
    settings = {"steps": asked.steps, "clock": clock, "history": "side by side", **facts()}
    more = {key: report[key] for key in ("steps_run_again", "process_ms")}
    measuring.emit(PEER, "w3", report["value"], "ms", settings, **more)


async def with_a_server(asked: Any) -> None:
    server = Server(asked.dir)
    try:
        server.start()
        client = await server.client()
        async with worker(client):
            await measure(client, asked)
    finally:
        server.kill()


def main() -> None:
    logging.disable(logging.ERROR)
    asked = measuring.arguments(PEER)
    match asked.workload:
        case "w3-history":
            asyncio.run(history(asked.dir, asked.port, asked.steps))
        case "w3-recover":
            measuring.emit(PEER, "w3", unit="ms", settings={}, **asyncio.run(recovery(asked.dir, asked.steps)))
        case "w3":
            w3(asked)
        case _:
            asyncio.run(with_a_server(asked))


if __name__ == "__main__":
    main()

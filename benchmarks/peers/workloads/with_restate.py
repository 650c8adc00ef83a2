"""Restate, one node: every `ctx.run` is journaled by the server, which fsyncs its log before the handler goes on.

The server and one worker process run as children; this process only asks. The server's settings are its defaults,
except for where it listens, where it keeps its data, and the telemetry, which is off.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import loopback_http
import measuring

PEER = "restate"

BEST_IN_FLIGHT = {"typescript": 1000, "python": 1000}
"""Runs in flight at which each SDK was fastest on two cores."""

BEST_SDK = {"w1": "typescript", "w2": "python", "lonely": "typescript", "w3": "python"}
"""The SDK that was the faster one, per workload."""

BEST_WIDTH = 50
"""Steps of one fan-out that are started together: twenty times fifty are done in a fifth of the time of a thousand.

Both are measured. The faster is the figure, though it is a workflow written around the engine, with a join after
each fifty; the plain one is reported beside it.
"""

ENVIRONMENT = pathlib.Path(sys.prefix).parent
"""The peer's environment: this interpreter is in its ``venv``, the server and the TypeScript SDK in its ``node``."""


class Restate:
    """A server and a worker of one SDK, on ports of their own, over data below one directory."""

    def __init__(self, directory: pathlib.Path, sdk: str) -> None:
        self.directory, self.sdk = directory, sdk
        self.server: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[bytes] | None = None
        self.ingress, self.admin, self.fabric, self.service = (measuring.free_port() for _ in range(4))

    def start(self) -> None:
        """Start both without waiting for either, the worker first, so that the server need not try twice."""
        here = pathlib.Path(__file__).parent
        place = [str(self.service), str(measuring.gate(self.directory))]
        modules = ENVIRONMENT / "node" / "node_modules"
        if self.sdk == "typescript":
            # The SDK needs Node 22, so the environment has its own.
            nodes = sorted(modules.glob("node-linux-*/bin/node"))
            if not nodes:
                raise SystemExit(f"no node below {modules}")
            command = [str(nodes[0]), str(here / "restate_service.cjs"), *place]
        else:
            command = [sys.executable, str(here / "restate_service.py"), *place]
        environment = measuring.quiet_environment(NODE_PATH=str(modules), NODE_ENV="production")
        with (self.directory / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log)  # noqa: S603
        settings = {
            "RESTATE_BASE_DIR": str(self.directory / "restate"),
            "RESTATE_NODE_NAME": "bench",
            "RESTATE_LISTEN_MODE": "tcp",
            "RESTATE_BIND_IP": "127.0.0.1",
            "RESTATE_ADVERTISED_HOST": "127.0.0.1",
            "RESTATE_BIND_PORT": str(self.fabric),
            "RESTATE_INGRESS__BIND_PORT": str(self.ingress),
            "RESTATE_ADMIN__BIND_PORT": str(self.admin),
            "RESTATE_LOG_FILTER": "error",
        }
        programs = sorted(modules.glob("@restatedev/restate-server-*/bin/restate-server"))
        if not programs:
            raise SystemExit(f"no restate-server below {modules}")
        with (self.directory / "server.log").open("ab") as log:
            self.server = subprocess.Popen(  # noqa: S603
                [programs[0], "--no-logo"], env=measuring.quiet_environment(**settings), stdout=log, stderr=log
            )

    async def register(self) -> None:
        """Tell a fresh server of the worker's handlers, trying until it is up."""
        assert self.server is not None
        assert self.worker is not None
        measuring.wait_until_listening(self.service, self.worker)
        body = {"uri": f"http://127.0.0.1:{self.service}"}
        await self.patiently(self.admin, "POST", "/deployments", body)

    async def patiently(self, port: int, method: str, path: str, body: Any = None) -> Any:
        """Ask again while the server refuses, is not ready, or does not know the handlers yet."""
        closed = time.perf_counter() + measuring.PATIENCE_S
        while True:
            line = loopback_http.Line(port)
            try:
                return await line.ask(method, path, b"" if body is None else json.dumps(body).encode())
            except (OSError, RuntimeError) as problem:
                if time.perf_counter() > closed or (self.server is not None and self.server.poll() is not None):
                    raise SystemExit(f"the Restate server is not usable: {problem}") from problem
                await asyncio.sleep(0.01)
            finally:
                line.close()

    def kill(self) -> None:
        measuring.end(self.server)
        measuring.end(self.worker)


@contextlib.contextmanager
def running(directory: pathlib.Path, sdk: str) -> Iterator[Restate]:
    peer = Restate(directory, sdk)
    try:
        peer.start()
        yield peer
    finally:
        peer.kill()


def facts(sdk: str) -> dict[str, Any]:
    """What was used; that fsync is on is the server's default (``rocksdb-disable-wal-fsync = false``)."""
    found: dict[str, Any] = {"sdk": sdk, "fsync": "on (server's default)"}
    for name in ("restate-server", "restate-sdk"):
        described = json.loads((ENVIRONMENT / "node" / "node_modules" / "@restatedev" / name / "package.json").read_text())
        found[name] = described["version"]
    if sdk == "python":
        found["restate-sdk"] = importlib.metadata.version("restate-sdk")
    return found


async def w1(peer: Restate, in_flight: int, seconds: float) -> float:
    lines = [loopback_http.Line(peer.ingress) for _ in range(in_flight)]
    await peer.patiently(peer.ingress, "POST", "/bench/sequential", measuring.PAYLOAD)

    async def run(number: int) -> None:
        await lines[number].post("/bench/sequential", measuring.PAYLOAD)

    counter = loopback_http.Line(peer.ingress)

    async def reading() -> tuple[int, float]:
        """Ask the worker, which counts its steps by its own clock."""
        seen = await counter.ask("POST", "/bench/count", b"")
        return seen["executions"], seen["at"]

    return await measuring.closed_loop(run, in_flight, seconds, reading)


async def w2(peer: Restate, steps: int, width: int, seconds: float) -> list[float]:
    """Return the steps a second of each fan-out that was started within the window, the warm-up left out."""
    asked = {"payload": measuring.PAYLOAD, "width": width}
    await peer.patiently(peer.ingress, "POST", "/bench/wide", {**asked, "steps": 50})
    line = loopback_http.Line(peer.ingress)
    rates: list[float] = []
    closed = time.perf_counter() + seconds
    while not rates or time.perf_counter() < closed:
        started = time.perf_counter()
        joined = await line.post("/bench/wide", {**asked, "steps": steps})
        rates.append(steps / (time.perf_counter() - started))
        assert joined == steps, joined
    return rates


async def lonely(peer: Restate, most: int, seconds: float) -> list[float]:
    await peer.patiently(peer.ingress, "POST", "/bench/sequential", measuring.PAYLOAD)
    line = loopback_http.Line(peer.ingress)
    return await measuring.one_after_another_async(
        lambda _: line.post("/bench/sequential", measuring.PAYLOAD), most, seconds, warm=50
    )


def w3(directory: pathlib.Path, sdk: str, steps: int) -> dict[str, Any]:
    """Kill server and worker at the gate; the clock starts before both are spawned again and ends with the result."""
    measuring.gate(directory).unlink(missing_ok=True)
    peer = Restate(directory, sdk)
    try:
        peer.start()

        async def build() -> None:
            await peer.register()
            asked = {"payload": measuring.PAYLOAD, "steps": steps}
            await peer.patiently(peer.ingress, "POST", "/long/one/run/send", asked)
            assert peer.worker is not None
            assert peer.worker.stdout is not None
            seen = asyncio.to_thread(peer.worker.stdout.readline)
            line = await asyncio.wait_for(seen, measuring.PATIENCE_S)
            assert line.decode().strip() == measuring.HISTORY_IS_COMPLETE, line

        asyncio.run(build())
        peer.kill()
        measuring.gate(directory).touch()
        started = time.perf_counter()
        peer.start()
        end = asyncio.run(peer.patiently(peer.ingress, "GET", "/restate/workflow/long/one/attach"))
        taken = (time.perf_counter() - started) * 1000
    finally:
        peer.kill()
    assert end["steps"] == steps, end
    return {"value": taken, "steps_run_again": end["stepsRunAgain"]}


def main() -> None:
    """``--variant`` names the SDK of the worker: typescript or python."""
    asked = measuring.arguments(PEER)
    sdk = asked.variant or BEST_SDK[asked.workload]
    known = facts(sdk)
    if asked.workload == "w3":
        settings = {"steps": asked.steps, "clock": "server and worker spawned to result", **known}
        measuring.emit(PEER, "w3", unit="ms", settings=settings, **w3(asked.dir, sdk, asked.steps))
        return
    with running(asked.dir, sdk) as peer:

        async def measure() -> None:
            await peer.register()
            if asked.workload == "w1":
                in_flight = asked.runs or BEST_IN_FLIGHT[sdk]
                value = await w1(peer, in_flight, asked.seconds)
                measuring.emit(PEER, "w1", value, "steps/s", {"in_flight": in_flight, **known})
            elif asked.workload == "w2":
                width = asked.runs or BEST_WIDTH
                rates = await w2(peer, asked.steps, width, asked.seconds)
                plain = await w2(peer, asked.steps, asked.steps, seconds=0)
                settings = {"steps": asked.steps, "at_work": width, "fan_outs": len(rates), **known}
                settings["steps_a_second_all_at_once"] = round(plain[0], 1)
                measuring.emit(PEER, "w2", statistics.median(rates), "steps/s", settings)
            else:
                figures = measuring.lonely_figures(await lonely(peer, asked.runs, asked.seconds))
                measuring.emit(PEER, "lonely", figures["p50_ms"], "ms", known, **figures)

        asyncio.run(measure())


if __name__ == "__main__":
    main()

"""The Restate handlers of the benchmark on the Python SDK, served by Hypercorn; see ``restate_service.cjs``."""

from __future__ import annotations

import asyncio
import logging
import pathlib
import sys
import time
from typing import Any

import hypercorn.asyncio
import hypercorn.config
import restate

import measuring

executions = measuring.Executions()
gate = pathlib.Path(sys.argv[2])
bench = restate.Service("bench")
long = restate.Workflow("long")


def step(payload: dict[str, Any]) -> dict[str, Any]:
    return measuring.no_op(payload, executions.one_more())


async def at_the_gate(payload: dict[str, Any]) -> dict[str, Any]:
    if not gate.exists():
        print(measuring.HISTORY_IS_COMPLETE, flush=True)
        await asyncio.Event().wait()
    return step(payload)


@bench.handler()
async def sequential(ctx: restate.Context, payload: dict[str, Any]) -> dict[str, Any]:
    for _ in range(measuring.STEPS_A_RUN):
        payload = await ctx.run_typed("step", step, payload=payload)
    return payload


@bench.handler()
async def count(ctx: restate.Context) -> dict[str, Any]:
    return {"executions": executions.so_far, "at": time.perf_counter()}


@bench.handler()
async def wide(ctx: restate.Context, asked: dict[str, Any]) -> int:
    """Run the steps side by side, ``width`` of them at a time."""
    joined = 0
    for first in range(0, asked["steps"], asked["width"]):
        number = min(asked["width"], asked["steps"] - first)
        started = [ctx.run_typed("step", step, payload=asked["payload"]) for _ in range(number)]
        joined += len(await restate.gather(*started))
    return joined


@long.main()
async def run(ctx: restate.WorkflowContext, asked: dict[str, Any]) -> dict[str, Any]:
    payload = asked["payload"]
    for _ in range(asked["steps"]):
        payload = await ctx.run_typed("step", step, payload=payload)
    await ctx.run_typed("gate", at_the_gate, payload=payload)
    return {"steps": asked["steps"], "stepsRunAgain": executions.so_far - 1}


def main() -> None:
    logging.disable(logging.CRITICAL)
    config = hypercorn.config.Config()
    config.bind = [f"127.0.0.1:{sys.argv[1]}"]
    config.accesslog = config.errorlog = None
    config.h2_max_concurrent_streams = 2147483647
    config.keep_alive_max_requests = 2147483647
    config.keep_alive_timeout = 2147483647
    asyncio.run(hypercorn.asyncio.serve(restate.app([bench, long]), config))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()

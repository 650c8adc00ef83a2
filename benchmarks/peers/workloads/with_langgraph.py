"""LangGraph with its SQLite checkpointer: a node is a step, ``durability="sync"`` stores it before the next starts.

The saver puts its database into WAL mode and leaves ``synchronous`` at SQLite's FULL, so each commit is one fsync;
both are read back and reported. The saver holds one connection under one lock, as its own constructor gives it.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import itertools
import operator
import os
import pathlib
import sqlite3
import statistics
import time
from typing import Annotated, Any, TypedDict

import measuring

os.environ.update(measuring.quiet_environment())

from langgraph.checkpoint.sqlite import SqliteSaver  # noqa: E402
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver  # noqa: E402
from langgraph.graph import END, START, StateGraph  # noqa: E402
from langgraph.types import Send  # noqa: E402

PEER = "langgraph"

BEST_IN_FLIGHT = {"threads": 1, "tasks": 16}
"""Runs in flight at which each way of running was fastest on two cores; threads were the faster way."""

BEST_WIDTH = 4
"""Threads of a fan-out: of 1, 4, 16 and as many as Python gives, four were fastest, and faster than coroutines."""

executions = measuring.Executions()
"""Steps whose body ran in this process; after a recovery it says how many were run again."""

run_numbers = itertools.count()
"""Each run is a thread of its own to the saver."""


class Sequential(TypedDict):
    payload: dict[str, Any]


class Wide(TypedDict):
    items: list[dict[str, Any]]
    done: Annotated[list[dict[str, Any]], operator.add]
    joined: int


class Long(TypedDict):
    payload: dict[str, Any]
    count: int


def step(state: Any) -> dict[str, Any]:
    return {"payload": measuring.no_op(state["payload"], executions.one_more())}


async def step_async(state: Any) -> dict[str, Any]:
    return step(state)


def sequential(waiting: bool) -> StateGraph:
    """Return the graph of four nodes in a row; ``waiting``: nodes are coroutines."""
    graph = StateGraph(Sequential)
    names = [f"step-{number}" for number in range(1, measuring.STEPS_A_RUN + 1)]
    for name in names:
        graph.add_node(name, step_async if waiting else step)
    for before, after in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(before, after)
    return graph


def wide() -> StateGraph:
    """Return a graph that sends each item to its own step and joins them."""

    def one(item: dict[str, Any]) -> dict[str, Any]:
        return {"done": [measuring.no_op(item, 0)]}

    graph = StateGraph(Wide)
    graph.add_node("one", one)
    graph.add_node("join", lambda state: {"joined": len(state["done"])})
    graph.add_conditional_edges(START, lambda state: [Send("one", item) for item in state["items"]], ["one"])
    graph.add_edge("one", "join")
    graph.add_edge("join", END)
    return graph


def long(steps: int, directory: pathlib.Path) -> StateGraph:
    """Return a graph that takes one step ``steps`` times and then comes to the gate."""

    def count(state: Long) -> dict[str, Any]:
        return {**step(state), "count": state["count"] + 1}

    def at_the_gate(state: Long) -> dict[str, Any]:
        if not measuring.gate(directory).exists():
            measuring.hang()
        return step(state)

    graph = StateGraph(Long)
    graph.add_node("count", count)
    graph.add_node("gate", at_the_gate)
    graph.add_edge(START, "count")
    graph.add_conditional_edges("count", lambda state: "count" if state["count"] < steps else "gate", ["count", "gate"])
    graph.add_edge("gate", END)
    return graph


def open_saver(directory: pathlib.Path) -> SqliteSaver:
    return SqliteSaver(sqlite3.connect(directory / "langgraph.sqlite", check_same_thread=False))


def durability(directory: pathlib.Path) -> dict[str, Any]:
    """Read back what decides whether a commit reaches the disk; the default of a new connection is what the saver has."""
    connection = sqlite3.connect(directory / "langgraph.sqlite")
    return {
        "journal_mode": connection.execute("PRAGMA journal_mode").fetchone()[0],
        "synchronous": connection.execute("PRAGMA synchronous").fetchone()[0],
        "durability": "sync",
        "sqlite": sqlite3.sqlite_version,
        "version": importlib.metadata.version("langgraph"),
    }


def thread_config(number: int | str, **more: Any) -> dict[str, Any]:
    return {"configurable": {"thread_id": str(number)}, **more}


def w1_threads(directory: pathlib.Path, in_flight: int, seconds: float) -> float:
    graph = sequential(waiting=False).compile(checkpointer=open_saver(directory))

    def run(_: int) -> None:
        graph.invoke({"payload": measuring.PAYLOAD}, thread_config(next(run_numbers)), durability="sync")

    return measuring.closed_loop_of_threads(run, in_flight, seconds, executions)


async def w1_tasks(directory: pathlib.Path, in_flight: int, seconds: float) -> float:
    async with AsyncSqliteSaver.from_conn_string(str(directory / "langgraph.sqlite")) as saver:
        graph = sequential(waiting=True).compile(checkpointer=saver)

        async def run(_: int) -> None:
            await graph.ainvoke({"payload": measuring.PAYLOAD}, thread_config(next(run_numbers)), durability="sync")

        return await measuring.closed_loop(run, in_flight, seconds, executions.reading)


def w2(directory: pathlib.Path, steps: int, width: int, seconds: float) -> list[float]:
    """Return the steps a second of each fan-out that was started within the window, the warm-up left out."""
    rates: list[float] = []
    graph = wide().compile(checkpointer=open_saver(directory))
    items = [measuring.PAYLOAD] * steps
    warm = thread_config("warm", max_concurrency=width)
    graph.invoke({"items": items[:50], "done": [], "joined": 0}, warm, durability="sync")
    closed = time.perf_counter() + seconds
    while not rates or time.perf_counter() < closed:
        started = time.perf_counter()
        config = thread_config(f"wide-{len(rates)}", max_concurrency=width)
        end = graph.invoke({"items": items, "done": [], "joined": 0}, config, durability="sync")
        rates.append(steps / (time.perf_counter() - started))
        assert end["joined"] == steps, end["joined"]
    return rates


def lonely(directory: pathlib.Path, most: int, seconds: float) -> list[float]:
    graph = sequential(waiting=False).compile(checkpointer=open_saver(directory))
    return measuring.one_after_another(
        lambda number: graph.invoke({"payload": measuring.PAYLOAD}, thread_config(number), durability="sync"), most, seconds
    )


def history(directory: pathlib.Path, steps: int) -> None:
    graph = long(steps, directory).compile(checkpointer=open_saver(directory))
    config = thread_config("long", recursion_limit=steps + 10)
    graph.invoke({"payload": measuring.PAYLOAD, "count": 0}, config, durability="sync")


def recovery(directory: pathlib.Path, steps: int) -> dict[str, Any]:
    """Resume from the newest checkpoint; the clock starts when LangGraph is imported and ends with the result."""
    started = time.perf_counter()
    graph = long(steps, directory).compile(checkpointer=open_saver(directory))
    end = graph.invoke(None, thread_config("long", recursion_limit=steps + 10), durability="sync")
    taken = (time.perf_counter() - started) * 1000
    assert end["count"] == steps, end["count"]
    return {"value": taken, "steps_run_again": executions.so_far - 1}


def main() -> None:
    asked = measuring.arguments(PEER)
    steps, directory = asked.steps, asked.dir
    match asked.workload:
        case "w1":
            way = asked.variant or "threads"
            in_flight = asked.runs or BEST_IN_FLIGHT[way]
            if way == "threads":
                value = w1_threads(directory, in_flight, asked.seconds)
            else:
                value = asyncio.run(w1_tasks(directory, in_flight, asked.seconds))
            settings = {"in_flight": in_flight, "way": way, **durability(directory)}
            measuring.emit(PEER, "w1", value, "steps/s", settings)
        case "w2":
            width = asked.runs or BEST_WIDTH
            rates = w2(directory, steps, width, asked.seconds)
            settings = {"steps": steps, "at_work": width, "fan_outs": len(rates), **durability(directory)}
            measuring.emit(PEER, "w2", statistics.median(rates), "steps/s", settings)
        case "lonely":
            taken = lonely(directory, asked.runs, asked.seconds)
            figures = measuring.lonely_figures(taken)
            measuring.emit(PEER, "lonely", figures["p50_ms"], "ms", durability(directory), **figures)
        case "w3-history":
            history(directory, steps)
        case "w3-recover":
            measuring.emit(PEER, "w3", unit="ms", settings={}, **recovery(directory, steps))
        case "w3":
            measuring.build_history_and_kill(__file__, ["--steps", str(steps)], directory)
            report = measuring.recover(__file__, ["--steps", str(steps)], directory)
            settings = {"steps": steps, "clock": "library imported to result", **durability(directory)}
            more = {key: report[key] for key in ("steps_run_again", "process_ms")}
            measuring.emit(PEER, "w3", report["value"], "ms", settings, **more)


if __name__ == "__main__":
    main()

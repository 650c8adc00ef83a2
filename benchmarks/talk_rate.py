"""W4: how many requests with their answers two agents exchange in a second, each recorded before it is delivered."""

import asyncio
import time
from typing import Any, Final

from agents import Agent, Context, action
from benchmarks.harness import median, running

#: An attempt says at most so much.
ASKS: Final = 1_000
ASK: Final = """
workflow:
  id: w4
  inputs: [{name: asks, type: number}, {name: at_once, type: number}]
  agents:
    caller: {agent: "benchmarks.talk_rate:Caller"}
    answerer: {agent: "benchmarks.talk_rate:Answerer"}
  steps:
    - {id: ask, agent: caller, action: ask, inputs: {asks: $inputs.asks, at_once: $inputs.at_once}}
"""
BODY: Final = {"text": "x" * 180, "n": 1}


class Caller(Agent):
    @action
    async def ask(self, asks: int, at_once: int, context: Context) -> dict[str, int]:
        """Ask so often, in so many conversations beside each other."""

        async def talk(number: int) -> int:
            count = 0
            for _ in range(number, asks, at_once):
                answer = await context.ask("answerer", BODY, conversation=f"c{number}")
                count += answer["n"]
            return count

        return {"count": sum(await asyncio.gather(*map(talk, range(at_once))))}


class Answerer(Agent):
    @action
    def on_message(self, text: str, n: int) -> dict[str, Any]:
        return {"text": text, "n": n}


def w4(*, runs: int, at_once: int, rounds: int) -> dict[str, Any]:
    """Requests with their answers a second, of so many runs side by side, each with so many conversations at once."""
    inputs = {"asks": ASKS, "at_once": at_once}
    with running(active=runs * 2) as runtime:
        runtime.wait(runtime.create(ASK, inputs)[0])
        values = []
        for _ in range(rounds):
            begun = time.perf_counter()
            for run in runtime.create(ASK, inputs, runs):
                runtime.wait(run)
            values.append(runs * ASKS / (time.perf_counter() - begun))
    return {
        "workload": "w4",
        "value": round(median(values)),
        "unit": "requests with answers/s",
        "runs": runs,
        "at_once": at_once,
        "rounds": [round(value) for value in values],
    }

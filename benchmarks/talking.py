"""What agents that talk to each other take: of the log, and of time."""

import os
import time
from typing import Any, Final

from agents import Agent, Context, action
from benchmarks.harness import running
from kos_runtime.core.identity import run_stream

TALK: Final = """
workflow:
  id: w6
  inputs: [{name: turns, type: number}, {name: size, type: number}]
  outputs: [{name: bytes, type: number}]
  agents:
    talker: {agent: "benchmarks.talking:Talker"}
    listener: {agent: "benchmarks.talking:Listener"}
  steps:
    - {id: talk, agent: talker, action: talk, inputs: {turns: $inputs.turns, size: $inputs.size}, outputs: {bytes: bytes}}
"""


def _text(size: int) -> str:
    """Return text that no two turns share and no packing makes smaller."""
    return os.urandom(size // 2 + 1).hex()[:size]


class Talker(Agent):
    @action
    async def talk(self, turns: int, size: int, context: Context) -> dict[str, int]:
        """Say something new in each turn; return how many bytes were said and answered."""
        count = 0
        for _ in range(turns):
            text = _text(size)
            answer = await context.ask("listener", {"text": text, "size": size}, conversation="one")
            count += len(text) + len(answer["text"])
        return {"bytes": count}


class Listener(Agent):
    @action
    def on_message(self, text: str, size: int, context: Context) -> dict[str, str]:
        """Answer as much, having looked at all that was said before."""
        del text
        assert context.message is not None
        return {"text": _text(size)}


def talk(*, turns: int, size: int) -> dict[str, Any]:
    """Bytes in the log against bytes of new content, of one conversation of so many turns."""
    with running(active=64) as runtime:
        (warm,) = runtime.create(TALK, {"turns": 1, "size": size})
        runtime.wait(warm)
        begun = time.perf_counter()
        (run,) = runtime.create(TALK, {"turns": turns, "size": size})
        runtime.wait(run)
        seconds = time.perf_counter() - begun
        query = "SELECT * FROM events WHERE stream = ?"
        rows: list[Any] = runtime.reader._connection.execute(query, (run_stream(run),)).fetchall()
        # Header, hashes and payload, as they are kept; a number counts as eight.
        stored = sum(len(value) if isinstance(value, str | bytes) else 8 for row in rows for value in row)
    said = 2 * turns * size
    return {
        "bytes": stored,
        "said": said,
        "a_byte": round(stored / said, 3),
        "records": len(rows),
        "turns_s": round(turns / seconds, 1),
    }

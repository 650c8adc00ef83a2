"""The agents of generated workflows. What they do depends on where they stand and on the attempt, never on chance."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from kos_runtime.core.failure import ErrorType
from kos_runtime.ports.agent import ActionFailed, Agent, Context, action


@dataclass(slots=True)
class Number:
    v: int


@dataclass(slots=True)
class Data:
    data: list[int]


def _number(value: Any) -> int:
    return value if isinstance(value, int) else len(json.dumps(value, sort_keys=True))


def _of(path: str, sides: int) -> int:
    return crc32(path.encode()) % sides


class SimulatedCrew(Agent):
    """Whoever does the work."""

    @action
    def add(self, a: Any, b: Any) -> Number:
        return Number((_number(a) + _number(b)) % 1_000_003)

    @action
    def flaky(self, a: Any, b: Any, context: Context) -> Number:
        """Fail at first, at every second place."""
        if _of(context.step, 2) and context.attempt == 1:
            raise ActionFailed(ErrorType.TRANSIENT, "it fails at first")
        return self.add(a, b)

    @action
    def hard(self, a: Any, b: Any, context: Context) -> Number:
        """Fail for good, at every ninth place."""
        if _of(context.step, 9) == 0:
            raise ActionFailed(ErrorType.PERMANENT, "it fails here")
        return self.add(a, b)

    @action
    async def slow(self, a: Any, b: Any) -> Number:
        await asyncio.sleep(0.5 + _number(a) % 7)
        return self.add(a, b)

    @action(over="plan")
    def spread(self, plan: list[int]) -> Data:
        return Data([item + 1 for item in plan])

    @action
    def large(self, a: Any) -> dict[str, str]:
        """Return something that only a blob can hold."""
        return {"text": f"{_number(a)} " * 17_000}

    @action
    def undo(self, forward: dict[str, Any]) -> dict[str, bool]:
        del forward
        return {"undone": True}


class SimulatedBoss(Agent):
    """Whom failures are taken up to, and who is asked for authority."""

    @action
    async def on_authority_request(self, request: dict[str, Any]) -> dict[str, str]:
        verdict = ("grant", "grant", "pass", "deny", "late")[_of(str(request["reason"]), 5)]
        if verdict == "late":
            await asyncio.sleep(30)
        return {"verdict": "grant" if verdict == "late" else verdict, "comment": "by what is asked"}

    @action
    def on_escalation(self, escalation: dict[str, Any]) -> dict[str, Any]:
        path = str(escalation.get("step", ""))
        return {"answer": ("retry", "skip", "fail", "manual")[_of(path, 4)], "reason": "by where it stands"}

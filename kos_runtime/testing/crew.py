"""The agents of generated workflows. What they do depends on where they stand and on the attempt, never on chance."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

from kos_runtime.core.failure import ErrorType
from kos_runtime.ports.agent import ActionFailed, Agent, Context, action

#: Whom agents of generated workflows talk to, by its name there.
EAR: Final = "ear"


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

    @action
    async def talk(self, a: Any, b: Any, context: Context) -> Number:
        """Ask somebody, turn after turn, and leave a note; now and then without waiting for what becomes of it."""
        place, total = _of(context.step, 7), _number(a)
        note = context.send(EAR, {"v": place}, action="note", key="note" if place % 2 else "")
        # Some say something else when another process speaks for the attempt.
        other = context.fence if place == 5 else 0
        for turn in range(1 + place % 3):
            answer = await context.ask(EAR, {"v": total + turn + other}, conversation="talk" if place < 4 else "")
            total += answer["v"]
            if place == 5:
                await asyncio.sleep(2)
        if place == 6:
            await note
        return self.add(total, b)

    @action
    def consult(self, a: Any, b: Any, context: Context) -> Number:
        """Ask two at once, on a hand that waits for them."""
        answers = [context.ask(EAR, {"v": _number(a) + place}) for place in range(2)]
        return self.add(sum(answer.result(600)["v"] for answer in answers), b)

    @action
    def vote(self, who: str, context: Context) -> dict[str, Any]:
        """Vote, abstain, or give what is no ballot."""
        place = _of(f"{context.step}{who}", 9)
        if place == 0 and context.attempt == 1:
            raise ActionFailed(ErrorType.TRANSIENT, "it cannot make up its mind at first")
        return {"choice": ("yes", "yes", "no", "maybe", None, "no", "later", "yes", "no")[place], "reason": who}


class SimulatedEar(Agent):
    """Whom others talk to. It forgets everything between two messages."""

    @action
    async def on_message(self, v: int, context: Context) -> Number:
        message, place = context.message, _of(context.step, 5)
        assert message is not None
        if place == 0 and context.attempt == 1:
            raise ActionFailed(ErrorType.TRANSIENT, "it does not hear at first")
        if place == 1 and not message.causation_id:
            # It asks somebody in turn: another of its kind.
            answer = await context.ask(EAR, {"v": v + 1})
            return Number(answer["v"] % 1_000_003)
        return Number((v + len(context.conversation)) % 1_000_003)

    @action
    def note(self, v: int) -> Number:
        return Number(v)


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

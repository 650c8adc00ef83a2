"""Scripted agents of the proof: they write every execution into a ledger, and fail as they are told."""

import os
import time
from typing import Any

from agents import ActionFailed, Agent, Context, action

LEDGER = "KOS_PROOF_LEDGER"


def note(context: Context) -> None:
    """Write one execution into the ledger, in one write, so that a kill leaves whole lines."""
    path = os.environ.get(LEDGER)
    if path:
        line = f"{context.run} {context.step} {context.attempt} {context.fence}\n".encode()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


class Worker(Agent):
    """Does arithmetic, slowly where it is told."""

    @action
    def numbers(self, n: int, context: Context) -> dict[str, list[int]]:
        note(context)
        return {"items": list(range(n))}

    @action
    def square(self, v: int, context: Context) -> dict[str, int]:
        note(context)
        return {"y": v * v}

    @action(over="plan", gather="fields")
    def gather(self, plan: list[int], context: Context) -> dict[str, list[Any]]:
        note(context)
        return {"data": [{"n": n, "text": "x" * 3_000} for n in plan], "sources": [f"s{n}" for n in plan]}

    @action
    def total(self, ys: list[int], context: Context) -> dict[str, int]:
        note(context)
        return {"total": sum(ys)}

    @action
    def count(self, data: list[Any], sources: list[str], context: Context) -> dict[str, int]:
        note(context)
        return {"total": sum(item["n"] for item in data) * 1_000 + len(sources)}

    @action
    def pages(self, plan: list[int], context: Context) -> dict[str, list[str]]:
        """Return more than fits into a record, another value for every plan."""
        note(context)
        return {"pages": [f"{n} of {len(plan)} " * 200 for n in plan]}

    @action
    def nap(self, ms: int, context: Context) -> dict[str, int]:
        note(context)
        time.sleep(ms / 1_000)
        return {"slept": ms}

    @action
    def flaky(self, v: int, fails: int, context: Context) -> dict[str, int]:
        note(context)
        if context.attempt <= fails:
            raise ActionFailed("transient", f"attempt {context.attempt} of {v}")
        return {"y": v}

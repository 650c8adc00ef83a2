"""Agents for random workflows that fail by rule, as plain functions; the workflows are those of the shipped generator."""

import json
import zlib
from typing import Any

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.plan.link import ActionLink, FieldLink, Link
from kos_runtime.testing.definitions import DEPTH, Steps, Workflows
from tests.engine.world import Fails, link_for

__all__ = ["ACTIONS", "DEPTH", "Steps", "Workflows", "link"]


def _number(value: Any) -> int:
    return value if isinstance(value, int) else len(json.dumps(value, sort_keys=True))


def _of(path: str, sides: int) -> int:
    return zlib.crc32(path.encode()) % sides


def _flaky(invocation: Any, a: Any, b: Any) -> dict[str, int]:
    if _of(invocation.path, 2) and invocation.attempt == 1:
        raise Fails(ErrorType.TRANSIENT)
    return {"v": _number(a) + _number(b)}


def _hard(invocation: Any, a: Any, b: Any) -> dict[str, int]:
    if _of(invocation.path, 3) == 0:
        raise Fails(ErrorType.PERMANENT)
    return {"v": _number(a) + _number(b)}


ACTIONS: dict[str, Any] = {
    "add": lambda _, a, b: {"v": _number(a) + _number(b)},
    "flaky": _flaky,
    "hard": _hard,
    "spread": lambda _, plan: {"data": [item + 1 for item in plan]},
    "on_escalation": lambda _, escalation: {"answer": ("retry", "skip", "fail")[_of(escalation["step"], 3)]},
}


def link() -> Link:
    return link_for(ACTIONS, spread=ActionLink(over="plan", fields=(FieldLink(name="data", type="array"),)))

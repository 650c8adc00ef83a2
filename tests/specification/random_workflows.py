"""Random workflows of all forms that run, nested in one another, as plain data; and agents that fail by rule.

What is drawn depends on the seed alone. Steps read others that stand before them, inside and outside their bodies.
"""

import json
import random
import zlib
from typing import Any

from kos_runtime.core.failure import ErrorType
from kos_runtime.core.plan.link import ActionLink, FieldLink, Link
from tests.engine.world import Fails, link_for

#: How deep bodies are nested in one another.
DEPTH = 3
Steps = list[dict[str, Any]]


class Workflows:
    """Draws one workflow. ``seen`` are references to what steps before expose, ``around`` those of the bodies around."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        #: What decides when something starts, and whether at all, but not what comes of it; drawn apart from the rest.
        self.when = random.Random(f"when {seed}")
        self.count = 0

    def workflow(self) -> dict[str, Any]:
        steps, _ = self.steps(0, [], ["$inputs.n"], self.draw.randint(2, 6))
        content: dict[str, Any] = {"id": "w", "steps": steps}
        if self.draw.random() < 0.15:
            content["execution_order"] = "parallel"
        if self.draw.random() < 0.3:
            handler = {
                "step": self.draw.choice([*(step["id"] for step in steps), "*"]),
                "on_failure": self.draw.choice(["retry", "escalate", "fail"]),
                "max_retries": self.draw.randint(0, 2),
                "escalation_agent": "boss",
            }
            content["error_handling"] = [handler, {"errors": ["timeout"], "on_failure": "fail"}]
        if self.when.random() < 0.2:
            content |= self.when.choice(
                [{"rate_limit": "40/s"}, {"max_concurrency": 2}, {"max_concurrency": 1, "rate_limit": "200/s"}]
            )
        if self.when.random() < 0.2:
            content["priority"] = self.when.randint(-2, 2)
        return {"workflow": content}

    @staticmethod
    def races(value: Any) -> bool:
        """Say whether a group anywhere below waits for some of its members only."""
        if isinstance(value, list):
            return any(map(Workflows.races, value))
        if not isinstance(value, dict):
            return False
        return value.get("sync", "all") != "all" or any(map(Workflows.races, value.values()))

    def id(self) -> str:
        self.count += 1
        return f"s{self.count}"

    def value(self, seen: list[str], around: list[str]) -> Any:
        if seen and self.draw.random() < 0.5:
            reference = self.draw.choice(seen)
            return f"${{{{ default({reference}, 0) }}}}" if self.draw.random() < 0.4 else reference
        return self.draw.choice([*around, 1, 5])

    def condition(self, seen: list[str], around: list[str]) -> str:
        read = self.draw.choice([*seen, *around])
        guarded = f"default({read}, 0)" if self.draw.random() < 0.6 else read
        return self.draw.choice([f"{guarded} != 2", "true", "false", "1 < 2"])

    def steps(self, depth: int, seen: list[str], around: list[str], count: int) -> tuple[Steps, list[str]]:
        found: Steps = []
        known = list(seen)
        for _ in range(count):
            made, exposed = self.step(depth, known, around)
            found += made
            known += exposed
        return found, known

    def step(self, depth: int, seen: list[str], around: list[str]) -> tuple[Steps, list[str]]:
        forms = ["action"] * 3 + ["set", "emit"]
        if depth < DEPTH:
            forms += ["loop", "for_each", "items", "group", "decision", "fail", "parallel", "spread"]
        made, exposed = getattr(self, f"_{self.draw.choice(forms)}")(depth, seen, around)
        if self.draw.random() < 0.2:
            made[0]["when"] = self.condition(seen, around)
        return made, exposed

    def act(self, seen: list[str], around: list[str], *actions: str) -> dict[str, Any]:
        inputs = {"a": self.value(seen, around), "b": self.value(seen, around)}
        action = self.draw.choice(actions)
        step: dict[str, Any] = {"agent": "k", "action": action, "inputs": inputs, "outputs": {"v": "v"}}
        if self.when.random() < 0.15:
            step["priority"] = self.when.randint(-1, 3)
        if action == "add" and self.when.random() < 0.25:
            # What it gives follows from its inputs alone, so it does not matter whose it is.
            step["cache"] = self.when.choice([True, {"ttl": "1h"}])
        return step

    def _action(self, _: int, seen: list[str], around: list[str]) -> tuple[Steps, list[str]]:
        step = {"id": self.id(), **self.act(seen, around, "add", "add", "flaky")}
        if self.draw.random() < 0.2:
            backoff = {"strategy": self.draw.choice(["fixed", "linear", "exponential"]), "initial": "1s"}
            step["retry"] = {"max_retries": self.draw.randint(0, 3), "backoff": backoff}
        return [step], [f"$steps.{step['id']}.v"]

    def _parallel(self, _: int, seen: list[str], around: list[str]) -> tuple[Steps, list[str]]:
        made = [{"id": self.id(), "parallel": True, **self.act(seen, around, "add", "flaky")} for _ in range(3)]
        return made, [f"$steps.{step['id']}.v" for step in made]

    def _spread(self, *_: Any) -> tuple[Steps, list[str]]:
        inputs = {"plan": self.draw.choice([[], [1], [1, 2, 3]])}
        step = {"id": self.id(), "agent": "k", "action": "spread", "parallel": True, "inputs": inputs}
        return [{**step, "outputs": {"v": "data"}}], [f"$steps.{step['id']}.v"]

    def _set(self, _: int, seen: list[str], around: list[str]) -> tuple[Steps, list[str]]:
        return [{"id": self.id(), "set": {"x": self.value(seen, around)}}], []

    def _emit(self, _: int, seen: list[str], around: list[str]) -> tuple[Steps, list[str]]:
        return [{"id": self.id(), "emit": {"event": "e", "data": {"d": self.value(seen, around)}}}], []

    def _fail(self, *_: Any) -> tuple[Steps, list[str]]:
        fail = {"kind": self.draw.choice(["permanent", "transient"]), "message": "n is ${{ $inputs.n }}"}
        return [{"id": self.id(), "when": self.draw.choice(["false", "$inputs.n > 3"]), "fail": fail}], []

    def _loop(self, depth: int, seen: list[str], around: list[str]) -> tuple[Steps, list[str]]:
        id = self.id()
        body, _ = self.steps(depth + 1, seen, [*around, "$loop.index"], self.draw.randint(1, 3))
        loop: dict[str, Any] = {"body": body, "max_iterations": self.draw.randint(0, 3)}
        if self.draw.random() < 0.5:
            loop["loop_condition"] = self.draw.choice(["$loop.index < 2", "true", "false"])
        if self.draw.random() < 0.3:
            loop["break_conditions"] = ["$loop.index == 1"]
        loop["on_exhausted"] = self.draw.choice(["continue", "continue", "fail"])
        return [{"id": id, "loop": loop}], [f"$steps.{id}.last.{inner}.v" for inner in _exposing(body)[-1:]]

    def _each(self, around: list[str]) -> tuple[dict[str, Any], list[str]]:
        each: dict[str, Any] = {
            "in": self.draw.choice([[1, 2, 3], [], [0], list(range(7))]),
            "as": self.draw.choice(["it", "item"]),
        }
        if self.draw.random() < 0.5:
            each["max_concurrency"] = self.draw.randint(1, 3)
        each["on_item_failure"] = self.draw.choice(["fail_fast", "collect", {"quorum": 0.5}])
        return each, [*around, f"${each['as']}", "$index"]

    def _for_each(self, _: int, seen: list[str], around: list[str]) -> tuple[Steps, list[str]]:
        each, inside = self._each(around)
        step = {"id": self.id(), "for_each": each, **self.act(seen, inside, "add", "flaky", "hard")}
        return [step], [f"$steps.{step['id']}.{name}" for name in ("v", "failed", "items")]

    def _items(self, depth: int, seen: list[str], around: list[str]) -> tuple[Steps, list[str]]:
        id = self.id()
        each, inside = self._each(around)
        each["steps"], _ = self.steps(depth + 1, seen, inside, self.draw.randint(1, 3))
        return [{"id": id, "for_each": each}], [f"$steps.{id}.{name}" for name in ("result", "failed", "items")]

    def _group(self, depth: int, seen: list[str], around: list[str]) -> tuple[Steps, list[str]]:
        id = self.id()
        members = [step for _ in range(self.draw.randint(1, 3)) for step in self.step(depth + 1, seen, around)[0]]
        group: dict[str, Any] = {
            "steps": members,
            "sync": self.draw.choice(["all", "any", {"count": 1}, {"quorum": 0.5}]),
        }
        if self.draw.random() < 0.5:
            group["max_concurrency"] = self.draw.randint(1, 2)
        return [{"id": id, "parallel_group": group}], [f"$steps.{id}.{inner}.v" for inner in _exposing(members)[:1]]

    def _decision(self, depth: int, seen: list[str], around: list[str]) -> tuple[Steps, list[str]]:
        id, condition = self.id(), self.condition(seen, around)
        one, _ = self.step(depth + 1, seen, around)
        other, _ = self.step(depth + 1, seen, around)
        decision: dict[str, Any] = {"condition": condition, "true_path": _unnamed(one)}
        if self.draw.random() < 0.7:
            decision["false_path"] = _unnamed(other)
        else:
            other = []
        if self.draw.random() < 0.6:
            decision["default_path"] = self.draw.choice([[], decision["true_path"]])
        both = [*one, *other]
        return [{"id": id, "decision": decision}, *both], [f"$steps.{inner}.v" for inner in _exposing(both)]


def _exposing(steps: Steps) -> list[str]:
    return [step["id"] for step in steps if "action" in step]


def _unnamed(steps: Steps) -> list[str]:
    """Return the ids of the steps that no decision among them names."""
    named = {
        id for step in steps for path, ids in step.get("decision", {}).items() if path != "condition" for id in ids
    }
    return [step["id"] for step in steps if step["id"] not in named]


# --- agents


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

"""Random workflows of the forms that run, nested in one another, as plain data.

What is drawn depends on the seed alone. Steps read others that stand before them, inside and outside their bodies.
``Workflows`` draws what needs neither time nor people, ``Everything`` all of it, and counts what it drew.
"""

import random
from collections import Counter
from typing import Any, Final

from kos_runtime.testing.crew import EAR

#: How deep bodies are nested in one another.
DEPTH = 3
Steps = list[dict[str, Any]]


class Workflows:
    """Draws one workflow. ``seen`` are references to what steps before expose, ``around`` those of the bodies around."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)  # noqa: S311 - to be repeated
        #: What decides when something starts, and whether at all, but not what comes of it; drawn apart from the rest.
        self.when = random.Random(f"when {seed}")  # noqa: S311 - to be repeated
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
        content |= self.limits()
        return {"workflow": content}

    def limits(self) -> dict[str, Any]:
        """Return what a workflow says of how much of it runs, and when."""
        said: dict[str, Any] = {}
        if self.when.random() < 0.2:
            said |= self.when.choice(
                [{"rate_limit": "40/s"}, {"max_concurrency": 2}, {"max_concurrency": 1, "rate_limit": "200/s"}]
            )
        if self.when.random() < 0.2:
            said["priority"] = self.when.randint(-2, 2)
        return said

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
        # What is wide and deep at once is mostly the same over and over.
        each["in"] = each["in"][:3]
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


class Everything(Workflows):
    """Draws a workflow of at least ``LEAST`` steps, nested twice at least, of every form that runs."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        #: What decides who may do what; drawn apart from the rest.
        self.rights = random.Random(f"rights {seed}")  # noqa: S311 - to be repeated
        self.forms: Counter[str] = Counter()
        self.deepest = 0
        #: Steps that are one action.
        self.acting: list[str] = []

    def workflow(self) -> dict[str, Any]:
        """Return a workflow that is large and deep enough; ``forms`` counts what is in it."""
        while True:
            self.count, self.deepest = 0, 0
            self.forms.clear()
            self.acting.clear()
            steps, known = self.steps(0, [], ["$inputs.n"], self.draw.randint(3, 5))
            if self.deepest < NESTED:
                more, _ = self._nest(known)
                steps += more
            if LEAST <= self.count <= MOST:
                return {"workflow": self._around(steps)}

    def _around(self, steps: Steps) -> dict[str, Any]:
        draw = self.draw
        # A path that was drawn may have been dropped again.
        acting = [id for id in self.acting if id in set(_ids(steps))]
        content: dict[str, Any] = {
            "id": "w",
            "inputs": [{"name": "n", "type": "integer", "default": 2}],
            "agents": {
                AGENT: {"agent": CREW, "replicas": {"min": 1, "max": draw.randint(1, 3)}},
                BOSS: {"agent": BOSSES},
                **self._others(steps),
            },
            "steps": steps,
        }
        if draw.random() < 0.15:
            content["execution_order"] = "parallel"
            self.forms["execution_order: parallel"] += 1
        handlers: list[dict[str, Any]] = []
        for _ in range(draw.randint(0, 2)):
            rung = draw.choice(
                ("retry", "different_agent", "escalate", "manual", "skip", "fail", "compensate", ["retry", "manual"])
            )
            self.forms[f"on_failure: {rung if isinstance(rung, str) else 'a ladder'}"] += 1
            handler: dict[str, Any] = {
                "step": draw.choice([*acting, "*"]),
                "on_failure": rung,
                "max_retries": draw.randint(0, 3),
                "backoff": {
                    "strategy": draw.choice(["fixed", "linear", "exponential"]),
                    "initial": draw.choice(["10ms", "1s", "70s"]),
                },
            }
            if rung == "escalate":
                handler["escalation_agent"] = BOSS
            handlers.append(handler)
        if handlers:
            content["error_handling"] = handlers
        content |= (limits := self.limits())
        self.forms.update(f"{name} of the workflow" for name in limits)
        if draw.random() < 0.1:
            content["timeout"] = draw.choice(["2m", "20m"])
            self.forms["timeout of the run"] += 1
        if self.rights.random() < 0.3:
            self._authorize(content)
        return content

    def _authorize(self, content: dict[str, Any]) -> None:
        """Let some of a workflow's actions need authority, and hand some of them down from the boss."""
        draw = self.rights
        acting = [step for step in _all(content["steps"]) if step.get("agent") == AGENT and "cache" not in step]
        if not acting:
            return
        for step in draw.sample(acting, min(len(acting), 3)):
            if draw.random() < 0.4 and not step.keys() & {"for_each", "compensate", "parallel", "heartbeat_timeout"}:
                del step["agent"]
                authority = {"grant": "work", "cost": 1, "expires": draw.choice(["5s", "1h"])}
                if draw.random() < 0.5:
                    authority["on_refused"] = "continue"
                step["coordination"] = {"pattern": "hierarchical", "levels": [BOSS, AGENT], "authority": authority}
                self.forms["coordination: hierarchical"] += 1
            else:
                step["authority_required"] = [{"grant": "work", "cost": draw.randint(0, 2)}]
                self.forms["authority_required"] += 1
        grants: dict[str, Any] = {
            "top": {"to": BOSS, "actions": ["work"], "depth": 2, "limits": {"cost": draw.randint(0, 9)}}
        }
        if draw.random() < 0.6:
            grants["own"] = {"to": AGENT, "actions": ["work"], "limits": {"count": draw.randint(0, 5)}}
            grants["own"]["expires"] = draw.choice(["10s", "1h"])
        content["authority"] = {"answer_within": "20s", "hierarchy": {AGENT: BOSS}, "grants": grants}
        if draw.random() < 0.6:
            handler = {"errors": ["security"], "on_failure": ["escalate", "fail"], "escalation_agent": BOSS}
            content["error_handling"] = [handler, *content.get("error_handling", [])]
            self.forms["authority that is asked for"] += 1

    def _others(self, steps: Steps) -> dict[str, Any]:
        """Return the agents that only some of the steps need."""
        others: dict[str, Any] = {}
        if any(step.get("action") in {"talk", "consult"} for step in _all(steps)):
            others[EAR] = {"agent": EARS, "replicas": {"min": 1, "max": 2}}
        if any("consensus" in step.get("coordination", {}) for step in _all(steps)):
            others[PANEL] = {"agent": CREW, "replicas": 3}
        return others

    def _nest(self, known: list[str]) -> tuple[Steps, list[str]]:
        """Return a body in a body."""
        form = self.draw.choice((self._loop, self._items, self._group))
        inner = self.draw.choice((self._loop, self._items, self._group))
        self.deepest = max(self.deepest, NESTED)
        id = self.id()
        made, _ = inner(1, known, ["$inputs.n"])
        act, _ = self._action(1, known, ["$inputs.n"])
        body = [*made, *act]
        match form.__name__:
            case "_loop":
                self.forms["loop"] += 1
                return [{"id": id, "loop": {"body": body, "max_iterations": 2}}], []
            case "_items":
                self.forms["for_each with steps"] += 1
                return [{"id": id, "for_each": {"in": [1, 2], "on_item_failure": "collect", "steps": body}}], []
            case _:
                self.forms["parallel_group"] += 1
                return [{"id": id, "parallel_group": {"steps": body}}], []

    def value(self, seen: list[str], around: list[str]) -> Any:
        """Mostly guarded: a workflow that fails at its second step shows little."""
        if seen and self.draw.random() < 0.5:
            reference = self.draw.choice(seen)
            return f"${{{{ default({reference}, 0) }}}}" if self.draw.random() < 0.9 else reference
        return self.draw.choice([*around, 1, 5])

    def step(self, depth: int, seen: list[str], around: list[str]) -> tuple[Steps, list[str]]:
        forms = [*FLAT]
        if depth < DEPTH - 1:
            forms += NESTING
        form = self.draw.choice(forms)
        self.deepest = max(self.deepest, depth + (form in NESTING and form != "fail"))
        self.forms[NAMES.get(form, form)] += 1
        made, exposed = getattr(self, f"_{form}")(depth, seen, around)
        if self.draw.random() < 0.15:
            made[0]["when"] = self.condition(seen, around)
            self.forms["when"] += 1
        return made, exposed

    def act(self, seen: list[str], around: list[str], *actions: str) -> dict[str, Any]:
        step = super().act(seen, around, *actions)
        draw = self.draw
        if draw.random() < 0.3 and "cache" not in step:
            step["action"] = draw.choice(("hard", "slow", "flaky"))
        self.forms.update(key for key in ("cache", "priority") if key in step)
        self.forms[f"action: {step['action']}"] += 1
        for key, chance, values in SETTINGS:
            if draw.random() < chance:
                step[key] = draw.choice(values)
                self.forms[key] += 1
        return step

    def _action(self, depth: int, seen: list[str], around: list[str]) -> tuple[Steps, list[str]]:
        made, exposed = super()._action(depth, seen, around)
        self.acting.append(made[0]["id"])
        if depth == 0 and self.draw.random() < 0.4 and "cache" not in made[0]:
            made[0]["compensate"] = {"agent": AGENT, "action": "undo"}
            self.forms["compensate"] += 1
        return made, exposed

    def _large(self, _: int, seen: list[str], around: list[str]) -> tuple[Steps, list[str]]:
        id = self.id()
        step = {"id": id, "agent": AGENT, "action": "large", "inputs": {"a": self.value(seen, around)}}
        return [{**step, "outputs": {"v": "text"}}], [f"$steps.{id}.v"]

    def _wait(self, *_: Any) -> tuple[Steps, list[str]]:
        return [{"id": self.id(), "wait": {"for": self.draw.choice(["1s", "20s", "3m"])}}], []

    def _until(self, *_: Any) -> tuple[Steps, list[str]]:
        until = self.draw.choice(["2023-11-14T22:13:25Z", "2023-11-14T20:00:00Z", "2023-11-14T22:13:40Z"])
        return [{"id": self.id(), "wait": {"until": until}}], []

    def _signal(self, *_: Any) -> tuple[Steps, list[str]]:
        wait: dict[str, Any] = {"signal": self.draw.choice(["go", "stop"])}
        if self.draw.random() < 0.5:
            wait |= {"timeout": self.draw.choice(["20s", "3m"]), "on_timeout": self.draw.choice(["continue", "fail"])}
        return [{"id": self.id(), "wait_for": wait}], []

    def _approval(self, *_: Any) -> tuple[Steps, list[str]]:
        approval: dict[str, Any] = {"prompt": "May it go on?", "quorum": self.draw.randint(1, 2)}
        if self.draw.random() < 0.5:
            approval["form"] = {"comment": {"type": "string", "required": False}}
        if self.draw.random() < 0.5:
            approval |= {
                "timeout": self.draw.choice(["20s", "3m"]),
                "on_timeout": self.draw.choice(["approve", "reject"]),
            }
        id = self.id()
        return [{"id": id, "approval": approval}], [f"$steps.{id}.approved"]

    def _talk(self, _: int, seen: list[str], around: list[str]) -> tuple[Steps, list[str]]:
        id = self.id()
        inputs = {"a": self.value(seen, around), "b": self.value(seen, around)}
        action = self.draw.choice(("talk", "talk", "consult"))
        step: dict[str, Any] = {"id": id, "agent": AGENT, "action": action, "inputs": inputs, "outputs": {"v": "v"}}
        if self.draw.random() < 0.4:
            step["retry"] = {"max_retries": 2, "backoff": {"strategy": "fixed", "initial": "1s"}}
        self.acting.append(id)
        return [step], [f"$steps.{id}.v"]

    def _consensus(self, *_: Any) -> tuple[Steps, list[str]]:
        draw = self.draw
        rule = draw.choice(("majority", "weighted", "supermajority", "unanimous", "approval", "schulze"))
        said: dict[str, Any] = {"rule": rule, "options": ["yes", "no", "later"], "agreement": "log"}
        if rule == "supermajority":
            said["threshold"] = "2/3"
        if draw.random() < 0.4:
            said["participation"] = "2/3"
        if draw.random() < 0.3:
            said["on_deadlock"] = draw.choice(("no", "fail"))
        coordination: dict[str, Any] = {"pattern": "peer_to_peer", "peers": PANEL, "consensus": said}
        if rule == "weighted":
            coordination["weights"] = {f"{PANEL}-1": 2}
        self.forms[f"consensus: {rule}"] += 1
        id = self.id()
        step = {"id": id, "coordination": coordination, "action": "vote", "inputs": {"who": "$peer"}}
        return [step], [f"$steps.{id}.accepted"]

    def _master(self, _: int, seen: list[str], around: list[str]) -> tuple[Steps, list[str]]:
        draw = self.draw
        coordination: dict[str, Any] = {
            "pattern": "master_slave",
            "workers": AGENT,
            "tasks": draw.choice([[1, 2, 3], [5], [], [1, 2, 3, 4, 5]]),
            "as": "task",
        }
        if draw.random() < 0.6:
            coordination["lease"] = draw.choice(["3s", "30s"])
        if draw.random() < 0.3:
            coordination["aggregate"] = "as_completed"
        action = draw.choice(("add", "flaky", "hard", "slow"))
        inputs = {"a": "$task", "b": self.value(seen, around)}
        id = self.id()
        step: dict[str, Any] = {
            "id": id,
            "coordination": coordination,
            "action": action,
            "inputs": inputs,
            "outputs": {"v": "v"},
        }
        if draw.random() < 0.4:
            coordination["on_item_failure"] = draw.choice(["collect", {"quorum": 0.5}])
        if draw.random() < 0.3:
            step["idempotent"] = True
        return [step], [f"$steps.{id}.v"]

    def _once(self, depth: int, seen: list[str], around: list[str]) -> tuple[Steps, list[str]]:
        made, exposed = self._action(depth, seen, around)
        made[0].pop("cache", None)
        made[0]["delivery"] = "at_most_once"
        return made, exposed


def _all(steps: Steps) -> Steps:
    """Return all steps, those inside others with them."""
    found: Steps = []
    waiting: list[Any] = [steps]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            found += [value] if "id" in value else []
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return found


def _ids(value: Any) -> list[str]:
    if isinstance(value, list):
        return [id for each in value for id in _ids(each)]
    if not isinstance(value, dict):
        return []
    own = [value["id"]] if "id" in value else []
    return [*own, *(id for each in value.values() for id in _ids(each))]


#: Of ``Everything``: so many steps at least and at most, and so many bodies in one another at least.
LEAST: Final = 8
MOST: Final = 40
NESTED: Final = 2
AGENT: Final = "k"
BOSS: Final = "boss"
CREW: Final = "kos_runtime.testing.crew:SimulatedCrew"
BOSSES: Final = "kos_runtime.testing.crew:SimulatedBoss"
EARS: Final = "kos_runtime.testing.crew:SimulatedEar"
PANEL: Final = "panel"
FLAT: Final = (
    "action", "action", "action", "set", "emit", "large", "wait", "until", "signal", "approval", "once", "talk", "consensus",
    "master",
)  # fmt: skip
NESTING: Final = ("fail", "loop", "for_each", "items", "group", "decision", "parallel", "spread")
#: What is drawn, as the language calls it.
NAMES: Final = {
    "items": "for_each with steps", "group": "parallel_group", "parallel": "parallel: true", "spread": "a spread step",
    "signal": "wait_for", "until": "wait until", "once": "delivery: at_most_once", "large": "a value for blobs",
    "talk": "messages", "master": "coordination: master_slave",
}  # fmt: skip
#: (key of a step, how often it is there, what it says)
SETTINGS: Final[tuple[tuple[str, float, tuple[Any, ...]], ...]] = (
    ("timeout", 0.15, ("5s", "2m")), ("heartbeat_timeout", 0.05, ("3s",)), ("idempotent", 0.05, (True,)),
)  # fmt: skip

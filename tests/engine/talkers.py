"""A world whose agents talk: an action that is a generator yields what it says and is sent what it is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kos_runtime.core.failure import ErrorType, failure
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.engine import messages as msg
from kos_runtime.simulator.in_process import VirtualHost

from .world import CODEC, Fails, Result, ScriptedRunner, World


@dataclass
class Say:
    to: str
    body: dict[str, Any]
    action: str = "hear"
    key: str = ""
    conversation: str = ""
    ask: bool = False


def ask(to: str, body: dict[str, Any], action: str = "answer", **more: Any) -> Say:
    return Say(to, body, action, ask=True, **more)


class Refused(Exception):
    """What a generator is thrown when a message was refused or its handler failed."""


class Talker(ScriptedRunner):
    """One process. What its attempts say leaves as outcomes, as from a real runner."""

    def __init__(self, world: "Talk", process: msg.StartProcess, name: str) -> None:
        super().__init__(world, process)
        self.talk = world
        self.name = name
        self.bodies: dict[tuple[str, str, int], tuple[Any, int]] = {}

    def run_batch(self, invocations: Sequence[Invocation], wait_ms: float = 5.0) -> Result:
        outcomes: list[Outcome] = []
        for invocation in invocations:
            if "<" in invocation.path:
                outcomes += self._told(invocation)
            elif invocation.action in self.talk.talkers:
                self.world.executed.append((invocation.path, invocation.attempt, invocation.fence))
                values = self.world._inputs(invocation)
                body = self.talk.talkers[invocation.action](invocation, **values)
                outcomes += self._go_on(invocation, body, 0, None)
            else:
                outcomes += super().run_batch([invocation]).outcomes
        return Result(outcomes)

    def _told(self, invocation: Invocation) -> list[Outcome]:
        path, _, place = invocation.path.rpartition("<")
        held = self.bodies.get((invocation.run, path, invocation.fence))
        told = [Outcome(invocation.run, invocation.path, invocation.fence)]
        if held is None or held[1] != int(place):
            return told
        values = CODEC.unpack(invocation.inputs)
        self.talk.told.append((path, int(place), values))
        body, count = held
        return told + self._go_on(invocation._replace(path=path), body, count, values)

    def _go_on(self, invocation: Invocation, body: Any, count: int, told: Any) -> list[Outcome]:
        key = (invocation.run, invocation.path, invocation.fence)
        try:
            if told is not None and ("refused" in told or "failed" in told):
                said = body.throw(Refused(*(told.get("refused") or [told["failed"]])))
            elif told is None:
                said = next(body)
            else:
                said = body.send(told.get("reply", told.get("sent")))
        except StopIteration as end:
            self.bodies.pop(key, None)
            return [self.talk._outcome(self.talk.known.get(key, invocation), end.value)]
        except Fails as failed:
            self.bodies.pop(key, None)
            return [Outcome(*key, error=failed.error)]
        except Refused as refused:
            self.bodies.pop(key, None)
            return [Outcome(*key, error=failure(ErrorType.PERMANENT, str(refused)))]
        if told is None:
            self.talk.known[key] = invocation
        self.bodies[key] = (body, count + 1)
        row = [said.to, said.action, CODEC.pack(said.body), said.key, said.conversation, said.ask]
        outcome = Outcome(invocation.run, f"{invocation.path}>{count + 1}", invocation.fence, exposed=CODEC.pack(row))
        self.talk.left.append(outcome)
        return [outcome]


class Talk(World):
    """``talkers`` are actions that are generator functions ``action(invocation, **inputs)``."""

    def __init__(self, talkers: dict[str, Any], actions: dict[str, Any], **more: Any) -> None:
        self.talkers = talkers
        self.known: dict[tuple[str, str, int], Invocation] = {}
        self.told: list[tuple[str, int, Any]] = []
        self.left: list[Outcome] = []
        super().__init__({**actions, **dict.fromkeys(talkers, None)}, **more)  # type: ignore[dict-item]
        self.virtual = VirtualHost(
            self.host, self.clock, lambda effect, _: Talker(self, effect, effect.kind), hands=more.get("hands", 4)
        )

    def again(self, store: Any) -> "Talk":
        actions = {name: script for name, script in self.actions.items() if name not in self.talkers}
        return Talk(self.talkers, actions, store=store, blobs=self.blobs)

"""A step that has the result of another: one whose action was given the same, in this run or in another of the store.

What is looked for is named by its key: the agent, its version and settings, the action, what the step exposes of the
result, and the inputs, or what the step says stands for them. The host reads what is kept under a key as it reads any
stored value. Where nothing is, the log says under which key the step was done, and what it gives is kept there.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from kos_runtime.core.expression import NeedsData
from kos_runtime.core.plan.link import ActionLink, AgentLink
from kos_runtime.core.plan.plain import to_plain
from kos_runtime.core.record import INLINE_LIMIT
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.state import Run, StepState

#: The address of what is kept under a key begins so; that of any other value is a digest.
RESULT: Final = "result:"


@dataclass(frozen=True, slots=True)
class Kept:
    """What a run recorded for a step ``path`` at a position, at an instant of log time."""

    run: str
    path: str
    position: int
    at: int
    exposed: bytes
    blobs: list[list[Any]]


def stored_as(key: str) -> str:
    return RESULT + key


def may_take(run: Run, step: StepState) -> bool:
    """Say whether a step may have another's result: not where a person wants it done, or done again."""
    return run.generation == 0 and not step.requested


def result_key(run: Run, step: StepState, agent: AgentLink, action: ActionLink | None, name: str, given: bytes) -> str:
    """Return the key of what an action gives for inputs that are known by their digest."""
    part = step.fan is not None and step.fan.parts
    about = [
        agent.kind,
        agent.target,
        agent.version,
        agent.settings,
        name,
        None if action is None else to_plain(action),
        None if part else step.node.outputs,
        step.node.cache_key is not None,
        given,
    ]
    return sha256(run.codec.pack(about)).hexdigest()


def take_kept(desk: Desk, step: StepState, path: str, key: str) -> bool:
    """Let a step or an item have what is kept under a key, if anything is that is young enough.

    Raises:
        NeedsData: Whether anything is kept is not known yet.
    """
    run, address = desk.run, stored_as(key)
    if address not in run.cache:
        run.wanted[address] = INLINE_LIMIT
        raise NeedsData(address)
    kept: Kept | None = run.cache.get(address)
    said = step.node.step.cache
    assert said is not None
    if kept is None:
        return False
    age = max(desk.now - kept.at, 0)
    if said.ttl_ms and age > said.ttl_ms:
        return False
    desk.emit(ev.ResultReused(path, key, kept.run, kept.path, kept.position, age, kept.exposed, kept.blobs))
    return True

"""A run's folded state as plain data: a cache, never the truth.

``fold(snapshot + tail)`` equals ``fold(all)``. A snapshot carries the fingerprint of the code that can read it; with
any other it is ignored.
"""

from hashlib import sha256
from typing import Any, Final

from kos_runtime.core.event import BY_NAME
from kos_runtime.core.plan.program import Node
from kos_runtime.core.record import BlobRef
from kos_runtime.core.workflow import authority, held, mail
from kos_runtime.core.workflow import events as _events
from kos_runtime.core.workflow.beside import fallback_node, node_at
from kos_runtime.core.workflow.state import Fan, Run, Scope, StepState
from kos_runtime.core.workflow.status import RunStatus, StepStatus

#: Raised when the shape of what is stored here, or what folding makes of an event, changes.
STATE_VERSION: Final = 18
FINGERPRINT: Final = (
    f"workflow/{STATE_VERSION}/"
    + sha256(
        " ".join(sorted(k.label for k in BY_NAME.values() if k.cls.__module__ == _events.__name__)).encode()
    ).hexdigest()[:16]
)

_RUN: Final = (
    "workflow", "version", "name", "key", "author", "seed", "plan_digest", "plan_now", "link_digest", "link_now", "link_settings", "revision",
    "inputs_packed", "vars", "agenda", "open", "manual", "waits", "signals", "signalled", "sought", "held", "discarded", "deadline", "left_ms", "paused", "cancelling", "undo_asked", "undoing", "error", "outputs", "outputs_blobs", "position", "fences", "generation", "checkpoint_ms", "attributes",
    "children", "parent",
)  # fmt: skip
_STEP: Final = (
    "path", "id", "attempt", "fence", "agent", "retries", "escalations", "kills", "spent_ms", "rule", "rung", "then",
    "action", "condition_met", "inputs", "exposed", "blobs", "error", "index", "ask_of", "turn", "requested", "by_hand", "given", "beside", "of", "instead", "avoid", "replaced",
    "child_end", "delegation", "left", "joined", "life",
)  # fmt: skip
_SCOPE: Final = ("path", "waits", "remaining", "gave_up", "active", "held", "watched", "item", "turn", "vars")
_FAN: Final = ("count", "limit", "next", "again", "open", "skipped", "failures", "items", "parts", "over", "bounds")


def to_plain(run: Run) -> dict[str, Any]:
    """Return everything of a run that is folded."""
    plain = {name: getattr(run, name) for name in _RUN}
    plain["status"] = run.status.value
    plain["inputs_blob"] = _ref(run.inputs_blob)
    plain["undo"] = list(run.undo)
    plain["timers"] = {path: list(timer) for path, timer in run.timers.items()}
    plain["scopes"] = [_scope(scope) for scope in run.scopes.values()]
    plain["steps"] = [_step(step) for step in run.steps.values()]
    plain["mail"] = mail.to_plain(run)
    plain["authority"] = authority.to_plain(run)
    plain["machines"] = held.to_plain(run)
    return plain


def _ref(blob: BlobRef | None) -> list[Any] | None:
    return None if blob is None else [blob.digest, blob.size]


def _blob(plain: list[Any] | None) -> BlobRef | None:
    return None if plain is None else BlobRef(plain[0], plain[1])


def _scope(scope: Scope) -> dict[str, Any]:
    plain = {name: getattr(scope, name) for name in _SCOPE}
    plain["owner"] = None if scope.owner is None else scope.owner.path
    plain["outer"] = None if scope.outer is None else scope.outer.path
    plain["follow"] = {id: list(after) for id, after in scope.follow.items()}
    return plain


def _step(step: StepState) -> dict[str, Any]:
    plain = {name: getattr(step, name) for name in _STEP}
    plain["status"] = step.status.value
    plain["scope"] = step.scope.path
    plain["inputs_blob"] = _ref(step.inputs_blob)
    fan = step.fan
    if fan is not None:
        plain["fan"] = {name: getattr(fan, name) for name in _FAN}
        plain["fan"]["items_blob"] = _ref(fan.items_blob)
        plain["fan"]["results"] = [[i, packed, blobs] for i, (packed, blobs) in fan.results.items()]
    return plain


def from_plain(run: Run, plain: dict[str, Any]) -> None:
    """Fill a new run, which has its program, with a snapshot's state.

    Raises:
        KeyError, ValueError: The snapshot does not fit this code; fold the events instead.
    """
    assert run.program is not None
    for name in _RUN:
        setattr(run, name, plain[name])
    run.status = RunStatus(plain["status"])
    run.inputs_blob = _blob(plain["inputs_blob"])
    run.undo = dict.fromkeys(plain["undo"])
    run.timers = {path: (timer[0], timer[1]) for path, timer in plain["timers"].items()}
    mail.from_plain(run, plain["mail"])
    authority.from_plain(run, plain["authority"])
    held.from_plain(run, plain["machines"])
    owners = {step["path"]: step for step in plain["steps"]}
    stored = {scope["path"]: scope for scope in plain["scopes"]}
    for path in stored:
        _restore_scope(run, path, stored, owners)
    for path in owners:
        _restore_step(run, path, stored, owners)
    # In the order in which they came to be, which is the order in which they are called off.
    run.scopes = {path: run.scopes[path] for path in stored}
    run.steps = {path: run.steps[path] for path in owners}


def _restore_scope(run: Run, path: str, stored: dict[str, Any], owners: dict[str, Any]) -> Scope:
    found = run.scopes.get(path)
    if found is not None:
        return found
    plain = stored[path]
    assert run.program is not None
    owner = None if plain["owner"] is None else _restore_step(run, plain["owner"], stored, owners)
    outer = None if plain["outer"] is None else _restore_scope(run, plain["outer"], stored, owners)
    body = run.program.body if owner is None else owner.node.body
    assert body is not None
    scope = run.scopes[path] = Scope(path, body, owner, outer)
    for name in _SCOPE:
        setattr(scope, name, plain[name])
    scope.follow = {id: (after[0], after[1]) for id, after in plain["follow"].items()}
    return scope


def _node(run: Run, plain: dict[str, Any], scope: Scope) -> Node:
    if plain["beside"] == "undo":
        undo = node_at(run, plain["of"]).undo
        assert undo is not None
        return undo
    if plain["beside"] == mail.BESIDE:
        messages = mail.of(run)
        return messages.node(run, messages.handled_by(plain["path"]))
    if plain["beside"] == authority.BESIDE:
        return authority.node_of(run, plain["id"])
    if plain["beside"] == held.BESIDE:
        *_, agent, action = run.machines[plain["of"]].asks[plain["path"]]
        return held.node_of(run.steps[plain["of"]], agent, action)
    node = fallback_node(run, scope, plain["id"]) if plain["beside"] == "stand_in" else scope.body.nodes[plain["id"]]
    assert node is not None
    return node


def _restore_step(run: Run, path: str, stored: dict[str, Any], owners: dict[str, Any]) -> StepState:
    found = run.steps.get(path)
    if found is not None:
        return found
    plain = owners[path]
    scope = _restore_scope(run, plain["scope"], stored, owners)
    if plain["beside"] == held.BESIDE:
        _restore_step(run, plain["of"], stored, owners)
    step = run.steps[path] = StepState(path, plain["id"], scope, _node(run, plain, scope))
    for name in _STEP:
        setattr(step, name, plain[name])
    step.status = StepStatus(plain["status"])
    step.inputs_blob = _blob(plain["inputs_blob"])
    kept = plain.get("fan")
    if kept is not None:
        fan = step.fan = Fan(kept["count"], kept["limit"])
        for name in _FAN:
            setattr(fan, name, kept[name])
        fan.items_blob = _blob(kept["items_blob"])
        fan.results = {i: (packed, blobs) for i, packed, blobs in kept["results"]}
    return step

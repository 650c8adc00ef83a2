"""A step whose work a master gives to its slaves: what is compiled of it."""

from typing import TYPE_CHECKING, Any, Final

from kos_runtime.core.expression import DEFAULT_ROOTS
from kos_runtime.core.instant import parse_duration
from kos_runtime.core.plan import model
from kos_runtime.definition.consensus import replicas_of
from kos_runtime.definition.problems import Path
from kos_runtime.definition.references import Scope, Use

if TYPE_CHECKING:
    from kos_runtime.definition.compile import Compiler

#: What inputs call a task, unless ``as`` says so.
TASK: Final = "task"
MAX_WORKERS: Final = 1_000
LEASE_MS: Final = 10_000
#: Below this a lease would run out between two signs of life.
LEAST_LEASE_MS: Final = 1_000
#: What belongs to the other patterns.
_OTHERS: Final = ("peers", "weights", "conflicts", "consensus", "levels", "delegate", "authority")


def is_mastered(raw: Any) -> bool:
    return isinstance(raw, dict) and raw.get("pattern") == "master_slave"


def compile_master(
    compiler: "Compiler", raw: dict[str, Any], path: Path, scope: Scope
) -> tuple[model.Form, Scope, list[Use]]:
    """Return the form of a step whose tasks are leased: items of its own, or parts of an input of its action."""
    content, at, check = raw["coordination"], (*path, "coordination"), compiler.check
    pool = content.get("workers", "")
    if not pool:
        check.fail((*at, "pattern"), "KOS101", f"step {raw.get('id')!r} needs workers: the pool that works")
    for key in _OTHERS:
        if key in content:
            check.fail((*at, key), "KOS110", f"{key} does not go with master_slave")
    agent, action = compiler.agent(pool), raw.get("action", "")
    if "tasks" not in content:
        for key in ("as", "on_item_failure"):
            if key in content:
                check.fail((*at, key), "KOS101", f"{key} goes with tasks", "say over what: tasks: $inputs.tasks")
        return model.Action(agent=agent, action=action), scope, []
    uses = compiler.texts.template(content["tasks"], (*at, "tasks"), scope)
    if not isinstance(content["tasks"], str | list):
        check.fail((*at, "tasks"), "KOS103", "tasks: expected an array or a reference to one")
    name = content.get("as", TASK)
    if name in DEFAULT_ROOTS - {"item"}:
        check.fail((*at, "as"), "KOS111", f"{name!r} is a name of the language")
    elif "-" in name:
        check.fail((*at, "as"), "KOS104", f"{name!r} cannot be written behind a dollar", "leave out the hyphen")
    inside = Scope(
        names=scope.names, roots=scope.roots | {name}, prefix=scope.prefix, outer=scope.outer, items=True, turns=scope.turns
    )  # fmt: skip
    policy = content.get("on_item_failure", "fail_fast")
    form = model.ForEach(
        items=content["tasks"],
        name=name,
        on_item_failure="quorum" if isinstance(policy, dict) else policy,
        quorum=float(policy.get("quorum", 1.0)) if isinstance(policy, dict) else 1.0,
        agent=agent,
        action=action,
    )
    return form, inside, uses


def mastery_of(compiler: "Compiler", raw: dict[str, Any], path: Path) -> model.Mastery | None:
    """Return how the tasks of a step are leased, if a master does that."""
    content, check = raw.get("coordination"), compiler.check
    if not isinstance(content, dict) or not is_mastered(content):
        return None
    at = (*path, "coordination")
    pool = content.get("workers", "")
    count = replicas_of(compiler, pool) or compiler.settings.processes_per_agent
    if count > MAX_WORKERS:
        check.fail((*at, "workers"), "KOS106", f"at most {MAX_WORKERS} workers, not {count}")
        count = MAX_WORKERS
    lease = parse_duration(content["lease"]) if "lease" in content else LEASE_MS
    if lease < LEAST_LEASE_MS:
        hint = "so long a worker may be silent: at least 1s"
        check.fail(
            (*at, "lease"), "KOS106", f"a lease of {content['lease']} would run out between two signs of life", hint
        )
    return model.Mastery(
        workers=tuple(f"{pool or '?'}-{number}" for number in range(1, count + 1)),
        lease_ms=max(lease, LEAST_LEASE_MS),
        speculate=bool(content.get("speculate", False)),
        aggregate=content.get("aggregate", "in_order"),
    )

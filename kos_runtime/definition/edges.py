"""Which step waits for which: declaration order, ``depends_on`` and data references, made into one set of edges."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kos_runtime.core.plan import model
from kos_runtime.core.plan.order import find_cycle
from kos_runtime.definition.assemble import Entry
from kos_runtime.definition.names import Names
from kos_runtime.definition.references import Use
from kos_runtime.definition.shapes import Check


def add_edges(
    steps: Sequence[model.Step],
    entries: Sequence[Entry],
    uses: Mapping[str, Sequence[Use]],
    names: Names,
    check: Check,
    *,
    chained: bool,
) -> tuple[model.Step, ...]:
    """Return the steps with ``after`` and ``predecessors``; a cycle is a problem.

    A step that runs only when it is named is over when whoever names it is: an edge onto it leads to the decisions
    whose paths hold it, or the paths that hold those, except from inside those paths.
    """
    before = _chain(steps, uses, names) if chained else {step.id: [] for step in steps}
    on_demand = {step.id for step in steps if step.on_demand}
    made = []
    for step, entry in zip(steps, entries, strict=True):
        depends = [holder for name in entry.step.get("depends_on") or () if (holder := names.holder(name)) is not None]
        data = [holder for use in uses[step.id] if (holder := names.holder(use.target)) is not None]
        mine = _deciders(step.id, names)
        after: dict[str, None] = {}
        for id in (*before[step.id], *depends, *data):
            for target in _deciders(id, names) if id in on_demand else (id,):
                if target != step.id and target not in mine and target not in on_demand:
                    after[target] = None
        predecessors = dict.fromkeys(name for name in (*before[step.id], *depends) if name != step.id)
        made.append(replace(step, after=tuple(after), predecessors=tuple(predecessors)))
    _refuse_cycles(made, entries, names, check)
    return _ahead_of_paths(made, on_demand, names)


def _ahead_of_paths(steps: Sequence[model.Step], on_demand: set[str], names: Names) -> tuple[model.Step, ...]:
    """Let decisions wait for what the steps of their paths wait for: these begin as soon as they are named."""
    ahead: dict[str, dict[str, None]] = {step.id: dict.fromkeys(step.after) for step in steps}
    for step in steps:
        if step.id in on_demand:
            for decider in _deciders(step.id, names):
                if decider in ahead and decider not in on_demand:
                    ahead[decider].update((id, None) for id in step.after if id != decider)
    return tuple(replace(step, after=tuple(ahead[step.id])) for step in steps)


def _deciders(id: str, names: Names) -> dict[str, None]:
    """Return the decisions whose paths hold a step, the nearest first, then those whose paths hold these."""
    found: dict[str, None] = {}
    ahead = [id]
    for at in ahead:
        for decider in names.deciders.get(at, ()):
            if decider not in found:
                found[decider] = None
                ahead.append(decider)
    return found


def _refuse_cycles(steps: Sequence[model.Step], entries: Sequence[Entry], names: Names, check: Check) -> None:
    """Say which steps wait for each other; a decision is over when the steps of its paths are."""
    edges = {step.id: list(step.after) for step in steps}
    if len(edges) < len(steps):
        # Two steps of one name were told already, and would look like one that waits for itself.
        return
    for target, deciders in names.deciders.items():
        for decider in deciders:
            if target in edges and decider in edges and target != decider:
                edges[decider].append(target)
    cycle = find_cycle(edges)
    if cycle:
        entry = next(entry for entry in entries if entry.id == cycle[0])
        message = f"these steps wait for each other: {' → '.join([*cycle, cycle[0]])}"
        check.fail((*entry.path, "id"), "KOS206", message)


def _chain(steps: Sequence[model.Step], uses: Mapping[str, Sequence[Use]], names: Names) -> dict[str, list[str]]:
    """Return declaration order: each step after the one before.

    Neighbours that are all parallel, with no data between them, are side by side, and the next plain step waits for
    all of them. A step that runs only when it is named stands aside.
    """
    before: dict[str, list[str]] = {}
    last: list[str] = []
    group: list[str] = []
    ahead: list[str] = []
    for step in steps:
        if step.on_demand:
            before[step.id] = []
            continue
        if step.spread:
            reads = {names.holder(use.target) for use in uses[step.id]}
            if group and not reads & set(group):
                group.append(step.id)
            else:
                ahead, group = group or last, [step.id]
            before[step.id] = list(ahead)
            last = group
            continue
        before[step.id] = list(group or last)
        group, last = [], [step.id]
    return before

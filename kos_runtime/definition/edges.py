"""Which step waits for which: declaration order, ``depends_on`` and data references, made into one set of edges."""

from dataclasses import dataclass, replace

from kos_runtime.core.plan import model
from kos_runtime.definition.assemble import Entry
from kos_runtime.definition.names import Names
from kos_runtime.definition.shapes import Check


@dataclass(frozen=True, slots=True)
class Use:
    """A reference to another step's data. ``guarded``: it can do without."""

    target: str
    guarded: bool = False


def add_edges(
    steps: list[model.Step], entries: list[Entry], uses: dict[str, list[Use]], names: Names, check: Check, *, chained: bool
) -> tuple[model.Step, ...]:
    """Return the steps with ``after``, ``predecessors`` and ``reads``; a cycle is a problem."""
    before: dict[str, list[str]] = _chain(steps, uses) if chained else {step.id: [] for step in steps}
    on_demand = {step.id for step in steps if step.on_demand}
    made = []
    edges: dict[str, list[str]] = {}
    for step, entry in zip(steps, entries, strict=True):
        depends = [names.group_of(id) or id for id in entry.step.get("depends_on") or ()]
        data = [names.group_of(use.target) or use.target for use in uses[step.id]]
        predecessors = list(dict.fromkeys([*before[step.id], *(id for id in depends if id in names)]))
        wanted = [id for id in (*before[step.id], *depends, *data) if id in names and id != step.id]
        after: list[str] = []
        for id in dict.fromkeys(wanted):  # noqa: A001
            if id not in on_demand:
                after.append(id)
                continue
            # A step that runs only when it is named is over when whoever names it is.
            after += [d for d in names.deciders.get(id, ()) if d != step.id and not _same_path(names, d, step.id)]
        if step.id in on_demand:
            after = [id for id in after if id not in names.deciders.get(step.id, ())]
        reads = dict.fromkeys(use.target for use in uses[step.id] if not use.guarded and use.target != step.id)
        edges[step.id] = list(dict.fromkeys(after))
        made.append(
            replace(step, after=tuple(edges[step.id]), predecessors=tuple(predecessors), reads=tuple(reads))
        )
    cycle = find_cycle(edges)
    if cycle:
        entry = next(e for e in entries if e.id == cycle[0])
        check.fail(entry.path, "KOS206", f"these steps wait for each other: {' → '.join([*cycle, cycle[0]])}")
    return tuple(made)


def _same_path(names: Names, decision: str, step: str) -> bool:
    return decision in names.deciders.get(step, ())


def _chain(steps: list[model.Step], uses: dict[str, list[Use]]) -> dict[str, list[str]]:
    """Declaration order: each step after the one before; neighbours that are all parallel, with no data between them,
    are side by side, and the next plain step waits for all of them."""
    before: dict[str, list[str]] = {}
    last: list[str] = []
    group: list[str] = []
    ahead: list[str] = []
    for step in steps:
        if step.on_demand:
            before[step.id] = []
            continue
        if step.spread:
            reads = {use.target for use in uses[step.id]}
            if group and not reads & set(group):
                group.append(step.id)
            else:
                ahead = group or last
                group = [step.id]
            before[step.id] = list(ahead)
            last = group
            continue
        before[step.id] = list(group or last)
        group, last = [], [step.id]
    return before


def find_cycle(edges: dict[str, list[str]]) -> list[str]:
    """Return the ids of one cycle in a graph (id → ids that it waits for), empty when there is none."""
    state: dict[str, int] = {}
    for start in edges:
        if start in state:
            continue
        trail: list[str] = []
        stack = [(start, iter(edges[start]))]
        state[start] = 1
        trail.append(start)
        while stack:
            id, rest = stack[-1]  # noqa: A001
            following = next(rest, None)
            if following is None:
                state[id] = 2
                stack.pop()
                trail.pop()
            elif state.get(following) == 1:
                return trail[trail.index(following) :]
            elif following not in state and following in edges:
                state[following] = 1
                trail.append(following)
                stack.append((following, iter(edges[following])))
    return []

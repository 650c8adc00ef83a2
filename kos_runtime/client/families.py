"""Runs that wait for the runs that they asked for: how a family stands, and whom it waits for in the end."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from kos_runtime.client.gone import OVER, is_gone
from kos_runtime.core.projection.steps import RunView, StepView
from kos_runtime.core.record import RunRow
from kos_runtime.core.workflow.spawning import MAX_DEPTH, is_child, root_of
from kos_runtime.core.workflow.waiting import waited_for

if TYPE_CHECKING:
    from kos_runtime.client.reading import Reading

_PAGE: Final = 1_000


def standing(reading: "Reading", row: RunRow, depth: int = 0) -> str:
    """Return a run's status for whoever follows it: one that waits for nothing but its children is where they are."""
    status = reading.status(row)
    waits = waited_for(row.waiting) if status == "waiting" else {}
    if "child" not in waits or not waits.keys() <= {"child", "time"} or depth > MAX_DEPTH:
        return status
    at_work = "running" if reading.owned() else "interrupted"
    found = {at_work} if "time" in waits else set()
    for child in _children(reading, row, waits["child"]):
        stands = standing(reading, child, depth + 1)
        # One that has just ended is about to be heard of.
        found.add(at_work if stands in OVER else stands)
        if at_work in found:
            return at_work
    return "waiting" if "waiting" in found else next(iter(sorted(found)), at_work)


def _children(reading: "Reading", row: RunRow, named: list[str]) -> Iterable[RunRow]:
    """Return the rows of the children that a run waits for; its row names only the first few."""
    if named[-1].endswith(" more"):
        named = [child for _, child in awaited(reading.view(row.run))]
    return (found for child in named if (found := reading.log.run(child)) is not None)


def awaited(view: RunView) -> list[tuple[str, str]]:
    """Return (step, run) of the children that a run waits for."""
    return [(step.path, step.child) for step in view.steps.values() if step.child and step.status == "waiting"]


def asks(reading: "Reading", run: str, depth: int = 0) -> list[tuple[str, StepView]]:
    """Return (run, step) of what waits for people and signals: of a run, then of the runs that it waits for."""
    view = reading.view(run)
    found = [(run, step) for step in view.steps.values() if step.manual is not None or step.signal]
    for _, child in awaited(view) if depth <= MAX_DEPTH else ():
        found += asks(reading, child, depth + 1)
    return found


def tasks_of(reading: "Reading", run: str) -> list[dict[str, Any]]:
    """Return what is asked of people, then which signals are waited for, each with its ``run`` and its ``step``."""
    found = asks(reading, run)
    tasks = [{"run": of, "step": step.path, **step.manual} for of, step in found if step.manual is not None]
    return tasks + [{"run": of, "step": step.path, "signal": step.signal} for of, step in found if step.signal]


def ended_children(reading: "Reading", root: str) -> list[RunRow]:
    """Return the runs of a family that have ended and still have their payloads, but for the root itself, the oldest first."""
    found: list[RunRow] = []
    after = 0
    while rows := reading.log.runs(prefix=f"{root}-", newest_first=False, after_offset=after, limit=_PAGE):
        of_root = (row for row in rows if is_child(row.run) and root_of(row.run) == root)
        found += [row for row in of_root if row.status in OVER and not is_gone(row)]
        after = rows[-1].created_offset
    return found


def goes_alone(reading: "Reading", row: RunRow) -> bool:
    """Say whether a run is archived and purged for itself: it is no child, or its family's root is not here, or gone."""
    root = reading.log.run(root_of(row.run)) if is_child(row.run) else None
    return root is None or is_gone(root)


def waiting_root(reading: "Reading", row: RunRow) -> RunRow | None:
    """Return the root of a child's family if that may still ask for what came of the child."""
    root = reading.log.run(root_of(row.run)) if is_child(row.run) else None
    return root if root is not None and (root.status not in OVER or root.status == "quarantined") else None

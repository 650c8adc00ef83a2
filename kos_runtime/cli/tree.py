"""A run as a tree of its steps, drawn from its events alone."""

from collections.abc import Iterator
from typing import Any, Final

from kos_runtime.cli.common import now_ms, span
from kos_runtime.core.projection.steps import DONE, RunView, StepView

_MARKS: Final = {
    "completed": ("✔", "green"), "failed": ("✘", "red"), "skipped": ("–", "dim"), "cancelled": ("⊘", "dim"),
    "running": ("●", "cyan"), "retrying": ("↻", "yellow"), "failing": ("↻", "yellow"), "escalated": ("▲", "yellow"),
    "waiting": ("?", "magenta"), "pending": ("○", "dim"), "ready": ("○", "dim"),
}  # fmt: skip
#: Parts of a fan beyond this are told by their number.
_MOST_PARTS: Final = 12


def lines(view: RunView, declared: list[tuple[str, str]], *, now: int | None = None) -> Iterator[tuple[str, str]]:
    """Return (style, text) lines of the tree; ``declared`` are (id, agent) of steps that may not have come up yet."""
    at = now if now is not None else now_ms()
    shown: set[str] = set()
    for id, agent in declared:
        step = view.steps.get(id)
        if step is None:
            if view.status in {"running", "created"}:
                yield "dim", f" ○ {id:<28} {agent}"
            continue
        yield from _with_parts(view, step, at, shown, 0)
    for path, step in view.steps.items():
        if path not in shown and "/" not in path and not path.endswith("]") and "#" not in path:
            yield from _with_parts(view, step, at, shown, 0)


def _with_parts(view: RunView, step: StepView, at: int, shown: set[str], depth: int) -> Iterator[tuple[str, str]]:
    if step.path in shown:
        return
    shown.add(step.path)
    yield _line(step, at, depth)
    inside = [
        other
        for path, other in view.steps.items()
        if path not in shown
        and path.startswith(step.path)
        and len(path) > len(step.path)
        and path[len(step.path)] in "/[#!"
    ]
    live = [other for other in inside if other.status not in DONE or other.status == "failed"]
    few = inside if len(inside) <= _MOST_PARTS else live[:_MOST_PARTS]
    for other in few:
        shown.add(other.path)
        yield _line(other, at, depth + 1, under=step.path)
    shown.update(other.path for other in inside)
    if len(inside) > len(few):
        yield "dim", f"{'  ' * (depth + 2)} … {len(inside) - len(few)} more"


def _line(step: StepView, at: int, depth: int, under: str = "") -> tuple[str, str]:
    mark, style = _MARKS.get(step.status, ("○", "dim"))
    name = step.path[len(under) :].lstrip("/") if under else step.path
    who = step.agent if step.form == "action" else step.form
    if step.parts:
        done = f"{step.parts_done}/{step.parts}"
        who = f"{who} {done}" + (f" ({step.parts_failed} failed)" if step.parts_failed else "")
    took = ""
    if step.started_at:
        took = span(max(0, (step.ended_at or at) - step.started_at))
    detail = step.detail
    if step.retry_at and step.status == "retrying":
        detail = f"retry {step.retries} in {span(max(0, step.retry_at - at))}  {detail}"
    indent = "  " * depth
    width = max(4, 28 - 2 * depth)
    return style, f"{indent} {mark} {name:<{width}} {who:<18} {took:>8}  {detail}".rstrip()


def head(view: RunView, status: str, *, now: int | None = None) -> str:
    at = now if now is not None else now_ms()
    took = span(max(0, (view.ended_at or at) - view.created_at)) if view.created_at else ""
    return f"{view.workflow}  {view.run}  {status}  {took}  seq {view.seq}"


def declared_steps(reading: Any, view: RunView) -> list[tuple[str, str]]:
    """Return (id, agent) of the steps of a run's plan; empty when it is not stored any more."""
    try:
        plan = reading.plan(view.plan)
    except (KeyError, ValueError):
        return []
    return [(step.id, getattr(step.form, "agent", "") or type(step.form).__name__.lower()) for step in plan.body.steps
            if not step.on_demand]  # fmt: skip

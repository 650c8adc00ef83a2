"""A run as a tree of its steps, drawn from its events alone."""

from collections.abc import Iterator
from typing import Any, Final

from kos_runtime.cli.describe import failure
from kos_runtime.cli.printing import now_ms, span
from kos_runtime.cli.story import Story, progress_text
from kos_runtime.core.projection.steps import DONE, HELD, RunView, StepView

_MARKS: Final = {
    "completed": ("✔", "green"), "failed": ("✘", "red"), "skipped": ("–", "dim"), "cancelled": ("⊘", "dim"),
    "running": ("●", "cyan"), "retrying": ("↻", "yellow"), "failing": ("↻", "yellow"), "escalated": ("▲", "yellow"),
    "waiting": ("?", "magenta"), "pending": ("○", "dim"), "ready": ("○", "dim"),
}  # fmt: skip
#: Where a form's name in the plan is not its word in the language.
_FORMS: Final = {
    "Inlined": "template",
    "Child": "workflow",
    "ForEach": "for_each",
    "SetVariables": "set",
    "Decision": "decision",
    "Group": "group",
    "Loop": "loop",
}
#: Parts of a fan beyond this are told by their number.
MOST_PARTS: Final = 12
_NARROWEST, _WIDEST = 16, 36
_BELOW: Final = frozenset("/[#!")


def lines(story: Story, *, now: int | None = None, most_parts: int = MOST_PARTS) -> Iterator[tuple[str, str]]:
    """Return (style, text) lines of the tree; steps of the plan that have not come up yet are in it."""
    return _Tree(story, now if now is not None else now_ms(), most_parts).lines()


class _Tree:
    def __init__(self, story: Story, now: int, most_parts: int) -> None:
        self.story, self.view, self.now, self.most_parts = story, story.view, now, most_parts
        self.agents = dict(story.declared)
        names = [*self.agents, *(path for path in self.view.steps if not _BELOW & set(path))]
        self.width = min(_WIDEST, max([_NARROWEST, *map(len, names)]))
        self.below: dict[str, list[StepView]] = {}
        for path, step in self.view.steps.items():
            above = top(path)
            if above != path:
                self.below.setdefault(above, []).append(step)

    def lines(self) -> Iterator[tuple[str, str]]:
        live = self.view.status in {"running", "created"}
        for id, agent in self.story.declared:
            step = self.view.steps.get(id)
            if step is not None:
                yield from self._with_parts(step)
            elif live:
                yield "dim", f" ○ {id:<{self.width}}  {agent.rpartition(':')[2]}"
        for path, step in self.view.steps.items():
            if path not in self.agents and top(path) == path:
                yield from self._with_parts(step)

    def _with_parts(self, step: StepView) -> Iterator[tuple[str, str]]:
        yield self._line(step)
        inside = self.below.get(step.path, [])
        shown = inside
        if len(inside) > self.most_parts:
            shown = [part for part in inside if part.status not in DONE or part.status == "failed"][: self.most_parts]
        for part in shown:
            yield self._line(part, under=step.path)
        if len(inside) > len(shown):
            over = sum(part.status in DONE for part in inside)
            yield "dim", f"   … {len(inside) - len(shown)} more, {over} of {len(inside)} are over"

    def _line(self, step: StepView, under: str = "") -> tuple[str, str]:
        mark, style = _MARKS.get(step.status, ("○", "dim"))
        indent, name = ("  ", self._name(step, under)) if under else ("", step.path)
        who, took, detail = self._who(step), self._took(step), self._detail(step)
        if step.status == "retrying" and step.retry_at:
            most = self.story.most_retries(step.path)
            who = f"retry {step.retries}/{most}" if most else f"retry {step.retries}"
            took = f"in {span(step.retry_at - self.now)}" if step.retry_at > self.now else "now"
        width = self.width - len(indent)
        return style, f"{indent} {mark} {_cut(name, width):<{width}}  {who:<16} {took:>8}  {detail}".rstrip()

    def _name(self, step: StepView, under: str) -> str:
        name = step.path[len(under) :].lstrip("/")
        told = self.story.labels.get(step.path, "")
        return f"{name} {told}" if told else name

    def _who(self, step: StepView) -> str:
        agent = self.agents.get(step.path, "").rpartition(":")[2]
        if step.parts and agent and agent != "for_each":
            return f"{agent}×{step.parts}"
        return step.agent or agent if step.form == "action" else step.form

    def _took(self, step: StepView) -> str:
        return span(max(0, (step.ended_at or self.now) - step.started_at)) if step.started_at else ""

    def _detail(self, step: StepView) -> str:
        if step.parts:
            failed = f", {step.parts_failed} failed" if step.parts_failed else ""
            held = f", {step.detail}" if step.detail.startswith(HELD) else ""
            return f"{step.parts_done}/{step.parts}{failed}{held}"
        if step.status in {"retrying", "failing"} and step.error and not step.detail.startswith(("attempt ", HELD)):
            return " ".join(failure(step.error).split())
        if step.status == "running" and step.progress is not None:
            return progress_text(step.progress)
        return " ".join((step.detail.replace("suspect: ", "") or self.story.results.get(step.path, "")).split())


def top(path: str) -> str:
    """Return the step of the plan's own body that a path is in."""
    end = next((index for index, letter in enumerate(path) if letter in _BELOW), len(path))
    return path[:end]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def head(view: RunView, status: str, *, now: int | None = None) -> str:
    """Return the line above the tree."""
    at = now if now is not None else now_ms()
    took = span(max(0, (view.ended_at or at) - view.created_at)) if view.created_at else ""
    name = f"  {view.name}" if view.name else ""
    return f"{view.workflow}  {view.run}{name}  {status}  {took}  seq {view.seq}"


def declared_steps(reading: Any, view: RunView) -> list[tuple[str, str]]:
    """Return (id, agent or form) of the steps of a run's plan; empty when it is not stored any more."""
    try:
        plan = reading.plan(view.plan)
    except (KeyError, ValueError):
        return []
    return [(step.id, getattr(step.form, "agent", "") or form_word(step.form)) for step in plan.body.steps
            if not step.on_demand]  # fmt: skip


def form_word(form: Any) -> str:
    """Return the word of the language for a step's form."""
    name = type(form).__name__
    return str(_FORMS.get(name) or getattr(form, "name", "") or name.lower())

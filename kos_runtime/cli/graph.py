"""``kos graph``: a definition, or a run coloured by what its steps have come to."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter

from kos_runtime.cli.common import GLOBAL, Named, Options
from kos_runtime.cli.outcome import OK
from kos_runtime.cli.tree import form_word
from kos_runtime.core.plan.model import Body, Decision, ForEach, Group, Inlined, Loop, Plan, Step

_FILL = {"completed": "#cfe8cf", "running": "#cfe3f5", "failed": "#f5cfcf", "retrying": "#f5ecc8", "waiting": "#ead6f2",
         "skipped": "#eeeeee", "cancelled": "#eeeeee"}  # fmt: skip


Drawing = Literal["text", "mermaid", "dot", "svg", "json", "yaml", "jsonl", "name", "table", "wide"]


@Parameter(name="*")
@dataclass(kw_only=True)
class Sketch(Options):
    """Graphs have forms of their own."""

    output: Annotated[Drawing, Parameter(name=["--output", "-o"], group=GLOBAL)] = "text"
    "How it is drawn; jsonl and name print a step a line."

    @property
    def form(self) -> str:
        return self.output


def graph(
    what: Annotated[str, Named],
    /,
    *,
    critical_path: Annotated[bool, Parameter(negative="")] = False,
    common: Sketch | None = None,
) -> int:
    """Draw the steps and what waits for what.

    Args:
        what: A definition (FILE, FILE#TEMPLATE, or - for standard input), or a run.
        critical_path: Mark the chain of steps that decides how long it takes; of a run by time, else by number.
    """
    common = common or Sketch()
    statuses: dict[str, str] = {}
    spans: dict[str, int] = {}
    if what == "-" or Path(what.partition("#")[0]).is_file():
        from kos_runtime.client.engine import compiled, read_definition
        from kos_runtime.composition.catalogue import catalogue_of

        definition = read_definition(what)
        plan, _ = compiled(definition, common.settings(), catalogue_of(definition, common.catalogue_folder))
    else:
        view, plan = _run_of(common, what)
        statuses = {path: step.status for path, step in view.steps.items()}
        spans = {path: max(1, step.ended_at - step.started_at) for path, step in view.steps.items() if step.ended_at}
    marked = _longest(plan.body, spans) if critical_path else ()
    match common.output:
        case "json" | "yaml" | "jsonl" | "name":
            document = _data(plan, statuses, marked)
            steps = list(_flat(document["steps"]))
            common.emit([document] if common.output in {"json", "yaml"} else steps, {}, one=True, name="path")
        case "table" | "wide":
            print(_text(plan, statuses, marked))
        case form:
            print(_FORMATS[form](plan, statuses, marked))
    return OK


def _run_of(common: Options, what: str) -> tuple[Any, Plan]:
    """Return the view and the plan of a run; say so when the text may have meant a file."""
    from kos_runtime.core.errors import NotFound

    if Path(what).suffix in {".yaml", ".yml", ".json"} or "/" in what or "#" in what:
        from kos_runtime.client.engine import read_file

        read_file(what.partition("#")[0])
    try:
        reading = common.reading()
        view = reading.view(reading.find(what).run)
    except NotFound as error:
        raise NotFound(f"{what} is no file, and as a run: {error}") from error
    return view, reading.plan(view.plan)


def mermaid(plan: Plan, statuses: dict[str, str]) -> str:
    """Return the graph as mermaid text, coloured by what steps have come to."""
    return _mermaid(plan, statuses, ())


def _longest(body: Body, spans: dict[str, int]) -> tuple[str, ...]:
    """Return the chain of steps, each behind the one before it, that takes longest; without spans the longest chain."""
    before: dict[str, list[str]] = {step.id: [] for step in body.steps}
    for earlier, later, _ in _edges(body):
        if earlier in before and later in before:
            before[later].append(earlier)
    length: dict[str, int] = {}
    behind: dict[str, str | None] = {}
    for id in TopologicalSorter(before).static_order():
        longest = behind[id] = max(before[id], key=lambda other: length[other], default=None)
        length[id] = (0 if longest is None else length[longest]) + (spans.get(id, 0) if spans else 1)
    chain: list[str] = []
    last = max(length, key=lambda id: length[id], default=None)
    while last is not None:
        chain.append(last)
        last = behind[last]
    return tuple(reversed(chain))


def _edges(body: Body) -> list[tuple[str, str, str]]:
    """Return (from, to, label) of a body: what waits for what, and the paths of its decisions."""
    found = [(before, step.id, "") for step in body.steps for before in step.after]
    for step in body.steps:
        if isinstance(step.form, Decision):
            for label, path in (("yes", step.form.true_path), ("no", step.form.false_path),
                                ("else", step.form.default_path or ())):  # fmt: skip
                last = step.id
                for id in path:
                    found.append((last, id, label if last == step.id else ""))
                    last = id
    return found


def _inside(step: Step) -> Body | None:
    return step.form.body if isinstance(step.form, Loop | ForEach | Group | Inlined) else None


def _label(step: Step) -> str:
    form: Any = step.form
    agent, action = getattr(form, "agent", ""), getattr(form, "action", "")
    kind = "" if agent and not isinstance(form, ForEach) else form_word(form)
    return " ".join(part for part in (kind, f"{agent}.{action}" if agent else "") if part)


def _text(plan: Plan, statuses: dict[str, str], marked: Sequence[str]) -> str:
    marks = {"completed": "✔", "running": "●", "failed": "✘", "retrying": "↻", "waiting": "?", "skipped": "–"}
    rows = [f"{plan.workflow} {plan.version}".rstrip()]

    def walk(body: Body, prefix: str, path: str) -> None:
        for index, step in enumerate(body.steps):
            last = index == len(body.steps) - 1
            mark = marks.get(statuses.get(f"{path}{step.id}", ""), "○" if statuses else "")
            after = f"  ← {', '.join(step.after)}" if step.after else ""
            demand = "  (when named)" if step.on_demand else ""
            when = f"  when {step.when}" if step.when else ""
            spread = "  ∥" if step.spread else ""
            star = "  ★" if not path and step.id in marked else ""
            rows.append(
                f"{prefix}{'└─' if last else '├─'} {mark}{' ' if mark else ''}{step.id}  {_label(step)}{spread}{after}{demand}{when}{star}"
            )
            inner = _inside(step)
            if inner is not None:
                walk(inner, prefix + ("   " if last else "│  "), f"{path}{step.id}/")

    walk(plan.body, "", "")
    return "\n".join(rows)


def _mermaid(plan: Plan, statuses: dict[str, str], marked: Sequence[str]) -> str:
    rows = ["flowchart TD"]

    def node(path: str) -> str:
        return "n_" + "".join(c if c.isalnum() else "_" for c in path)

    def walk(body: Body, path: str, indent: str) -> None:
        for step in body.steps:
            full = f"{path}{step.id}"
            text = f"{step.id}<br/>{_label(step)}".replace('"', "'")
            inner = _inside(step)
            if inner is not None:
                rows.append(f'{indent}subgraph {node(full)}["{text}"]')
                walk(inner, f"{full}/", indent + "  ")
                rows.append(f"{indent}end")
            elif isinstance(step.form, Decision):
                rows.append(f'{indent}{node(full)}{{"{text}"}}')
            else:
                rows.append(f'{indent}{node(full)}["{text}"]')
            if statuses.get(full) in _FILL:
                rows.append(f"{indent}style {node(full)} fill:{_FILL[statuses[full]]}")
            if not path and step.id in marked:
                rows.append(f"{indent}style {node(full)} stroke:#c00,stroke-width:3px")
        for before, after, label in _edges(body):
            arrow = f"-->|{label}|" if label else "-->"
            rows.append(f"{indent}{node(path + before)} {arrow} {node(path + after)}")

    walk(plan.body, "", "  ")
    return "\n".join(rows)


def _dot(plan: Plan, statuses: dict[str, str], marked: Sequence[str]) -> str:
    rows = [f"digraph {json.dumps(plan.workflow)} {{", "  rankdir=TB; node [shape=box, style=rounded];"]
    for step in plan.body.steps:
        fill = (
            f', style="rounded,filled", fillcolor="{_FILL[statuses[step.id]]}"'
            if statuses.get(step.id) in _FILL
            else ""
        )
        shape = ", shape=diamond" if isinstance(step.form, Decision) else ""
        bold = ", penwidth=3, color=red" if step.id in marked else ""
        text = json.dumps(step.id + "\n" + _label(step))
        rows.append(f"  {json.dumps(step.id)} [label={text}{shape}{fill}{bold}];")
    for before, after, label in _edges(plan.body):
        rows.append(
            f"  {json.dumps(before)} -> {json.dumps(after)}" + (f" [label={json.dumps(label)}];" if label else ";")
        )
    return "\n".join([*rows, "}"])


def _svg(plan: Plan, statuses: dict[str, str], marked: Sequence[str]) -> str:
    """Draw layers by longest path, each step under what it waits for."""
    from xml.sax.saxutils import escape

    edges = [(a, b) for a, b, _ in _edges(plan.body)]
    depth = {step.id: 0 for step in plan.body.steps}
    before: dict[str, list[str]] = {id: [] for id in depth}
    for a, b in edges:
        before[b].append(a)
    for id in TopologicalSorter(before).static_order():
        depth[id] = max((depth[a] + 1 for a in before[id]), default=0)
    layers: dict[int, list[Step]] = {}
    for step in plan.body.steps:
        layers.setdefault(depth[step.id], []).append(step)
    wide, high, gap = 200, 44, 28
    width = max(len(layer) for layer in layers.values()) * (wide + gap) + gap
    place = {}
    for level, layer in layers.items():
        left = (width - len(layer) * (wide + gap) + gap) / 2
        for index, step in enumerate(layer):
            place[step.id] = (left + index * (wide + gap), gap + level * (high + gap))
    height = gap + len(layers) * (high + gap)
    rows = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        '<defs><marker id="a" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto"><path d="M0,0 L8,4 L0,8 z"/></marker></defs>',
    ]
    for a, b in edges:
        (xa, ya), (xb, yb) = place[a], place[b]
        rows.append(
            f'<path d="M{xa + wide / 2},{ya + high} C{xa + wide / 2},{ya + high + gap} {xb + wide / 2},{yb - gap} '
            f'{xb + wide / 2},{yb}" fill="none" stroke="#777" marker-end="url(#a)"/>'
        )
    for step in plan.body.steps:
        x, y = place[step.id]
        fill = _FILL.get(statuses.get(step.id, ""), "#ffffff")
        stroke = "#c00" if step.id in marked else "#444"
        rows.append(f'<rect x="{x}" y="{y}" width="{wide}" height="{high}" rx="6" fill="{fill}" stroke="{stroke}"/>')
        rows.append(f'<text x="{x + 10}" y="{y + 18}" font-weight="bold">{escape(step.id)}</text>')
        rows.append(f'<text x="{x + 10}" y="{y + 34}" fill="#555">{escape(_label(step)[:32])}</text>')
    return "\n".join([*rows, "</svg>"])


def _data(plan: Plan, statuses: dict[str, str], marked: Sequence[str]) -> dict[str, Any]:
    """Return the graph as plain data."""

    def body(of: Body, path: str) -> dict[str, Any]:
        return {
            "steps": [
                {
                    "id": step.id,
                    "path": f"{path}{step.id}",
                    "form": type(step.form).__name__,
                    "label": _label(step),
                    "on_demand": step.on_demand,
                    "critical": not path and step.id in marked,
                    "status": statuses.get(f"{path}{step.id}"),
                    "body": body(inner, f"{path}{step.id}/") if (inner := _inside(step)) is not None else None,
                }
                for step in of.steps
            ],
            "edges": [{"from": a, "to": b, "label": label} for a, b, label in _edges(of)],
        }

    return {"workflow": plan.workflow, "version": plan.version, **body(plan.body, "")}


def _flat(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in steps:
        yield {key: value for key, value in step.items() if key != "body"}
        if step["body"] is not None:
            yield from _flat(step["body"]["steps"])


_FORMATS: Final = {"text": _text, "mermaid": _mermaid, "dot": _dot, "svg": _svg}

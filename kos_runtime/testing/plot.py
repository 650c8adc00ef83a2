"""Pictures of how agents worked together, as SVG without any library: one world's work over time, or numbers over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from kos_runtime.core.workflow import events as ev
from kos_runtime.simulator.world import BEGIN_MS
from kos_runtime.testing.metrics import COLUMNS, spread, told
from kos_runtime.testing.oracle import Line

WIDTH: Final = 960
_LEFT: Final = 150
_RIGHT: Final = 24
_LANE: Final = 22
_BINS: Final = 24
#: A picture has so many lanes and pieces of work at most: what is beyond that is said and left out.
MAX_LANES: Final = 60
MAX_PIECES: Final = 5_000
#: Distinguishable also for those who see colours otherwise (Okabe and Ito, 2008).
_COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
_STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#222}.s{font-size:11px;fill:#666}.h{font-size:15px;font-weight:600}"
    ".l{stroke:#ddd}.m{stroke:#222;stroke-dasharray:3 3}"
)


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to places on the x-axis."""

    least: float
    most: float
    left: float
    right: float

    def __call__(self, value: float) -> float:
        share = (value - self.least) / ((self.most - self.least) or 1)
        return round(self.left + share * (self.right - self.left), 1)


def world(result: Any, title: str) -> str:
    """Draw one world: a lane for each agent's process, when its hands were at work, what was said and decided."""
    spans = [(name, begin - BEGIN_MS, end - BEGIN_MS, path) for name, begin, end, path in result.spans]
    lanes = list(
        dict.fromkeys(name for name, *_ in sorted(spans, key=lambda span: (span[0].partition("-")[0], span[1])))
    )
    marks = [mark for lines in result.lines.values() for mark in _marks(lines)]
    until = max([result.took_ms, 1, *(end for _, _, end, _ in spans)])
    scale = _Scale(0, until, _LEFT, WIDTH - _RIGHT)
    kinds = list(dict.fromkeys(_kind(path) for *_, path in spans))
    said = [at for kind, at, _ in marks if kind == "said"]
    rows = [("messages", [mark for mark in marks if mark[0] == "said"])] if said else []
    rows += [("decisions", found)] if (found := [mark for mark in marks if mark[0] == "decided"]) else []
    shown = lanes[:MAX_LANES]
    top = 58
    out = [_text(_LEFT, 22, title, "h"), _text(_LEFT, 40, _summary(result), "s")]
    for number, name in enumerate(shown):
        y = top + number * _LANE
        out.append(_text(_LEFT - 8, y + 14, name, anchor="end"))
        out.append(f'<line class="l" x1="{_LEFT}" y1="{y + 20}" x2="{WIDTH - _RIGHT}" y2="{y + 20}"/>')
    place = {name: number for number, name in enumerate(shown)}
    for name, begin, end, path in spans[:MAX_PIECES]:
        if name in place:
            x, y = scale(begin), top + place[name] * _LANE + 3
            colour = _COLOURS[kinds.index(_kind(path)) % len(_COLOURS)]
            tip = f"{path} on {name}: {begin / 1_000:g} to {end / 1_000:g} s"
            wide = max(scale(end) - x, 1.5)
            out.append(
                f'<rect x="{x}" y="{y}" width="{wide:.1f}" height="15" rx="2" fill="{colour}" fill-opacity="0.8">'
            )
            out.append(f"<title>{escape(tip)}</title></rect>")
    y = top + len(shown) * _LANE
    for heading, points in rows:
        y += _LANE
        out.append(_text(_LEFT - 8, y + 4, heading, anchor="end"))
        for kind, at, text in points[:MAX_PIECES]:
            dot = "#222" if kind == "said" else "#D55E00"
            out.append(f'<circle cx="{scale(at)}" cy="{y}" r="3" fill="{dot}" fill-opacity="0.7">')
            out.append(f"<title>{escape(text)}</title></circle>")
    y += 26
    out += _axis(scale, y, 1_000, "s of virtual time")
    y += 38
    out += _legend(kinds, y)
    if len(lanes) > MAX_LANES or len(spans) > MAX_PIECES:
        y += 20
        more = f"{len(lanes)} processes and {len(spans)} pieces of work in all: the first {MAX_LANES} and {MAX_PIECES} are shown"
        out.append(_text(_LEFT, y, more, "s"))
    return _svg(out, y + 24)


def seeds(rows: Sequence[dict[str, Any]], title: str) -> str:
    """Draw many seeds: for each number how it is spread over them, with the median."""
    wanted = [name for name in COLUMNS if len({row["metrics"][name] for row in rows}) > 1]
    columns, high = 3, 150
    wide = (WIDTH - 40) / columns
    same = ", ".join(
        f"{COLUMNS[name][0].lower()} {told(name, rows[0]['metrics'][name])}" for name in COLUMNS if name not in wanted
    )
    out = [_text(20, 22, title, "h"), _text(20, 40, f"the same in all: {same}" if same else "", "s")]
    for number, name in enumerate(wanted):
        left, top = 20 + (number % columns) * wide, 64 + (number // columns) * high
        out += _histogram(name, [row["metrics"][name] for row in rows], left, top, wide - 24)
    return _svg(out, 64 + -(-len(wanted) // columns) * high)


def save(svg: str, path: Path) -> None:
    path.write_text(svg, encoding="utf-8")


def _histogram(name: str, values: Sequence[float], left: float, top: float, wide: float) -> list[str]:
    heading, says = COLUMNS[name]
    _, middle, high = spread(values)
    least, most = min(values), max(values)
    # What lies far out stands in the last bar, or all others would be one.
    cut = 2 * high if least < high < most / 4 else most
    scale = _Scale(least, cut, left, left + wide)
    counts = [0] * _BINS
    for value in values:
        counts[min(int((value - least) / ((cut - least) or 1) * _BINS), _BINS - 1)] += 1
    tall, base = 62, top + 84
    out = [f"<g><title>{escape(says)}</title>", _text(left, top + 10, heading.lower())]
    numbers = f"median {told(name, middle)}, p95 {told(name, high)}"
    out.append(_text(left + wide, top + 10, numbers, "s", anchor="end"))
    for number, count in enumerate(counts):
        height = count / max(counts) * tall
        x = left + number * wide / _BINS
        fill = _COLOURS[1] if cut < most and number == _BINS - 1 else _COLOURS[0]
        out.append(
            f'<rect x="{x:.1f}" y="{base - height:.1f}" width="{wide / _BINS - 1:.1f}" height="{height:.1f}" fill="{fill}"/>'
        )
    out.append(f'<line class="m" x1="{scale(middle)}" y1="{top + 18}" x2="{scale(middle)}" y2="{base}"/>')
    out.append(f'<line class="l" x1="{left}" y1="{base}" x2="{left + wide}" y2="{base}"/>')
    end = told(name, most) if cut == most else f"up to {told(name, most)}"
    out += [_text(left, base + 15, told(name, least), "s"), _text(left + wide, base + 15, end, "s", anchor="end")]
    return [*out, "</g>"]


def _marks(lines: Sequence[Line]) -> list[tuple[str, int, str]]:
    found = []
    for line in lines:
        match line.event:
            case ev.MessageSent(sender=sender, to=to, number=number):
                found.append(("said", line.time - BEGIN_MS, f"message {number}: {sender} to {to}"))
            case ev.ConsensusReached(path=path, outcome=outcome):
                found.append(("decided", line.time - BEGIN_MS, f"{path}: {outcome}"))
            case ev.ApprovalDecided(path=path, approved=approved):
                found.append(("decided", line.time - BEGIN_MS, f"{path}: {'approved' if approved else 'rejected'}"))
            case _:
                pass
    return found


def _summary(result: Any) -> str:
    metrics = result.metrics
    counts = [(metrics.attempts, "attempt"), (metrics.said, "message between agents"), (metrics.votes, "vote")]
    words = [
        f"{count} {name if count == 1 else name.replace(' ', 's ', 1) if ' ' in name else name + 's'}"
        for count, name in counts
    ]
    return f"{', '.join(words)}; hands idle {metrics.idle:.0%} of the time, fairness {metrics.fairness:.2f}"


def _kind(path: str) -> str:
    """Return what is drawn in one colour: a step, whichever item, turn or message of it."""
    own = path.rpartition("/")[2]
    return own.partition("[")[0].partition("#")[0].partition("@")[0].partition("!")[0]


def _axis(scale: _Scale, y: float, unit: float, name: str) -> list[str]:
    out = [f'<line class="l" x1="{scale.left}" y1="{y}" x2="{scale.right}" y2="{y}"/>']
    for number in range(6):
        value = scale.least + (scale.most - scale.least) * number / 5
        anchor = "start" if number == 0 else "end" if number == 5 else "middle"
        out.append(_text(scale(value), y + 16, _number(value / unit), "s", anchor=anchor))
    out.append(_text(_LEFT - 8, y + 16, name, "s", anchor="end"))
    return out


def _legend(kinds: Sequence[str], y: float) -> list[str]:
    out: list[str] = []
    x = float(_LEFT)
    for number, kind in enumerate(kinds):
        wide = 30 + 7 * len(kind)
        if x + wide > WIDTH - 60:
            out.append(_text(x, y + 9, f"and {len(kinds) - number} more", "s"))
            break
        out.append(f'<rect x="{x:.0f}" y="{y}" width="10" height="10" fill="{_COLOURS[number % len(_COLOURS)]}"/>')
        out.append(_text(x + 15, y + 9, kind, "s"))
        x += wide
    return out


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def _text(x: float, y: float, text: str, kind: str = "", *, anchor: str = "start") -> str:
    shown = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{shown}>{escape(text)}</text>'


def _svg(content: Sequence[str], height: float) -> str:
    size = f'width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img"><style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
    return "\n".join([head, *content, "</svg>", ""])

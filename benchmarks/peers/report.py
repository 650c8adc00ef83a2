"""Rows of medians and ratios, as one table for people and one object for programs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.peers.catalogue import UNITS, Workload
from benchmarks.peers.rounds import Published, failure, figures, median_advantage


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What is said of one engine on one workload.

    ``median``, ``lowest``, ``highest`` and ``p99`` are in ``unit`` and absent where nothing was measured; ``times``
    is how many times better ours is; ``note`` says what failed or how noisy it was.
    """

    workload: Workload
    name: str
    durability: str
    unit: str
    median: float | None = None
    lowest: float | None = None
    highest: float | None = None
    p99: float | None = None
    times: float | None = None
    rounds: int = 0
    note: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def row(workload: Workload, name: str, durability: str, published: Published, reference: str) -> Row:
    """Sum up one engine's figures of the published rounds; ``reference`` is the row of ours that ratios are against."""
    found = figures(published, name)
    notes = [reason for reason in (failure(published, name),) if reason]
    if published.noisy:
        notes.append("noisy")
    if not found:
        note = "; ".join(notes) or "nothing was measured"
        return Row(workload=workload, name=name, durability=durability, unit=UNITS[workload], note=note)
    if (unit := found[-1].unit) != UNITS[workload]:
        note = f"gave {unit} instead of {UNITS[workload]}"
        return Row(workload=workload, name=name, durability=durability, unit=UNITS[workload], note=note)
    values = [figure.value for figure in found]
    slowest = [float(p99) for figure in found if (p99 := _p99_ms(figure.details)) is not None]
    return Row(
        workload=workload,
        name=name,
        durability=durability,
        unit=unit,
        median=statistics.median(values),
        lowest=min(values),
        highest=max(values),
        p99=statistics.median(slowest) if slowest else None,
        times=None if name == reference else median_advantage(workload, published, reference, name),
        rounds=len(found),
        note="; ".join(notes),
        settings=found[-1].details.get("settings", {}),
    )


def unavailable(workload: Workload, name: str, durability: str, reason: str) -> Row:
    """Return the row of a peer that could not be installed: it is never left out."""
    return Row(workload=workload, name=name, durability=durability, unit=UNITS[workload], note=reason)


def _p99_ms(details: Mapping[str, Any]) -> float | None:
    """Find the 99th percentile of a lonely run, which stands beside the value or among the settings."""
    found = details.get("p99_ms", details.get("settings", {}).get("p99"))
    return float(found) if found is not None else None


def table(rows: Sequence[Row]) -> str:
    """Draw the rows as one table in Markdown, columns aligned."""
    head = (
        "workload",
        "engine",
        "a finished step survives by",
        "median",
        "lowest to highest",
        "p99",
        "ours is",
        "rounds",
        "note",
    )
    lines = [head, *(_cells(of) for of in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    drawn = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([drawn[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *drawn[1:]])


def _cells(of: Row) -> tuple[str, ...]:
    return (
        of.workload,
        of.name,
        of.durability,
        f"{_number(of.median)} {of.unit}" if of.median is not None else "-",
        f"{_number(of.lowest)} to {_number(of.highest)}" if of.lowest is not None else "-",
        f"{_number(of.p99)} ms" if of.p99 is not None else "-",
        f"{_number(of.times)} times" if of.times is not None else "-",
        str(of.rounds),
        of.note,
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def summary(rows: Sequence[Row], settings: Mapping[str, Any], probes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the final object; its value is how many times ours leads the best peer on the first workload measured."""
    first = rows[0].workload if rows else None
    leads = [
        (of.times, of.name) for of in rows if of.workload == first and of.times is not None and of.durability != OURS
    ]
    closest, name = min(leads) if leads else (None, None)
    return {
        "workload": "peers",
        "value": round(closest, 3) if closest is not None else None,
        "unit": f"times the best peer on {first}" if first else "times",
        "settings": {**settings, "best_peer": name},
        "probes": dict(probes),
        "rows": [_rounded(asdict(of)) for of in rows],
    }


OURS = "SQLite WAL FULL, fsync a batch, hash chain"
"""What a finished step of ours survives by; also tells our rows from the peers'."""


def _rounded(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: round(of, 3) if isinstance(of, float) else of for name, of in fields.items()}

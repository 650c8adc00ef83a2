"""How data is printed: rows in the form that was asked for, and spans and instants of time as text."""

import json
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from kos_runtime.cli.visible import visible

Row = dict[str, Any]


def emit(form: str, rows: Iterable[Row], columns: Mapping[str, str], console: Any, *, one: bool, name: str) -> None:
    """Print rows to standard output.

    Args:
        form: table, wide, json, jsonl, yaml or name.
        rows: The data; their keys are what machines read.
        columns: The keys that the table shows, with their headings.
        console: Where tables go.
        one: There is but one row: json and yaml print it without a list around it.
        name: The key that ``-o name`` prints.
    """
    listed = list(rows)
    document = listed[0] if one and listed else listed
    match form:
        case "json":
            print(json.dumps(document, indent=2, ensure_ascii=False, default=str), flush=True)
        case "jsonl":
            for row in listed:
                print(json.dumps(row, ensure_ascii=False, default=str), flush=True)
        case "yaml":
            print(as_yaml(document), end="", flush=True)
        case "name":
            for row in listed:
                print(row.get(name, ""), flush=True)
        case _ if console.is_terminal:
            if not sys.stdout.isatty():
                console.width = 200
            console.print(table(listed, columns, wide=form == "wide"))
        case _:
            plain_table(listed, columns)


def as_yaml(document: Any) -> str:
    import yaml

    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def table(rows: list[Row], columns: Mapping[str, str], *, wide: bool) -> Any:
    """Return rows as a table that fits a terminal; ``wide`` folds long values instead of cutting them."""
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for heading in columns.values():
        drawn.add_column(heading, overflow="fold" if wide else "ellipsis", no_wrap=not wide)
    for row in rows:
        drawn.add_row(*(_cell(row.get(key, "")) for key in columns))
    return drawn


def _cell(value: Any) -> Any:
    from rich.text import Text

    return Text(str(value))


def plain_table(rows: list[Row], columns: Mapping[str, str]) -> None:
    """Print a table for a pipe or a file: nothing is cut."""
    cells = [list(columns.values()), *([str(row.get(key, "")) for key in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    for line in cells:
        print(
            "  ".join(visible(text).ljust(width) for text, width in zip(line, widths, strict=True)).rstrip(), flush=True
        )


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def iso(instant: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(instant / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def span(ms: float) -> str:
    """Write how long something took: 1.2s, 3m10s, 2h05m."""
    if ms < 1_000:
        return f"{ms:.0f}ms"
    seconds = ms / 1_000
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 48 else f"{hours // 24}d{hours % 24}h"

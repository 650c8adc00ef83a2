"""Options that every command takes, and how things are printed."""

import json
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from cyclopts import Parameter

Output = Literal["table", "wide", "json", "jsonl", "yaml", "name"]


@Parameter(name="*")
@dataclass(kw_only=True)
class Common:
    """Options of every command."""

    store: Annotated[str | None, Parameter(env_var="KOS_STORE")] = None
    "The store's folder; the nearest .kos upwards unless given."
    output: Annotated[Output, Parameter(name=["--output", "-o"], env_var="KOS_OUTPUT")] = "table"
    "How data is printed."
    config: Annotated[str | None, Parameter(env_var="KOS_CONFIG")] = None
    "An engine configuration; workflow-engine.yaml of the working directory unless given."
    set: Annotated[list[str], Parameter(name="--set", consume_multiple=False, negative="")] = field(
        default_factory=list
    )
    "A setting, such as --set agents.kExecutor.corpus=docs."
    address: Annotated[str, Parameter(env_var="KOS_ADDRESS")] = ""
    "A Ray cluster to use instead of a local one."
    time: Annotated[Literal["relative", "iso", "raw"], Parameter(env_var="KOS_TIME")] = "relative"
    "How times are printed."
    color: Annotated[Literal["auto", "always", "never"], Parameter(env_var="KOS_COLOR")] = "auto"
    "Whether to use colours."
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], negative="")] = False
    "Say nothing but data and errors."
    no_input: Annotated[bool, Parameter(name="--no-input", negative="")] = False
    "Never ask; a run that waits for a person ends the command with exit code 6."

    def settings(self) -> Any:
        from kos_runtime.composition.location import load_settings

        return load_settings(self.config, self.set)

    def engine(self) -> Any:
        """Return the engine over this store; nothing is started yet."""
        from kos_runtime.client.engine import WorkflowEngine

        return WorkflowEngine(self.store, settings=self.settings(), address=self.address, say=self.say)

    def reading(self) -> Any:
        """Return the store for reading.

        Raises:
            NotFound: There is no store.
        """
        from kos_runtime.client.reading import Reading
        from kos_runtime.composition.location import find_store

        return Reading(find_store(self.store, must_exist=True))

    def say(self, text: str) -> None:
        """Tell a person something that is no data."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def asks(self) -> bool:
        """Say whether a person can be asked."""
        return not (self.no_input or os.environ.get("CI") or not sys.stdin.isatty() or not sys.stdout.isatty())

    def console(self, *, stderr: bool = False) -> Any:
        from rich.console import Console

        forced = True if self.color == "always" else None
        return Console(stderr=stderr, force_terminal=forced, no_color=self.color == "never" or None, highlight=False)

    # --- data

    def emit(
        self, rows: Iterable[dict[str, Any]], columns: dict[str, str], *, one: bool = False, name: str = "run"
    ) -> None:
        """Print rows in the form that was asked for. ``columns`` maps keys to the headings of the table."""
        listed = list(rows)
        match self.output:
            case "json":
                print(json.dumps(listed[0] if one and listed else listed, indent=2, ensure_ascii=False, default=str))
            case "jsonl":
                for row in listed:
                    print(json.dumps(row, ensure_ascii=False, default=str))
            case "yaml":
                import yaml

                print(
                    yaml.safe_dump(listed[0] if one and listed else listed, sort_keys=False, allow_unicode=True), end=""
                )
            case "name":
                for row in listed:
                    print(row.get(name, ""))
            case _:
                self._table(listed, columns)

    def _table(self, rows: list[dict[str, Any]], columns: dict[str, str]) -> None:
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in columns.values():
            table.add_column(
                heading, overflow="fold" if self.output == "wide" else "ellipsis", no_wrap=self.output != "wide"
            )
        for row in rows:
            table.add_row(*(str(row.get(key, "")) for key in columns))
        console = self.console()
        if not console.is_terminal:
            console.width = 200
        console.print(table)

    def when(self, instant: int) -> str:
        """Write an instant in the form that was asked for."""
        if not instant:
            return ""
        match self.time:
            case "raw":
                return str(instant)
            case "iso":
                return iso(instant)
            case _:
                return f"{span(max(0, now_ms() - instant))} ago"


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

"""``kos ls``: the runs of a store. It needs neither an owner nor Ray."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter

from kos_runtime.cli.common import Common, flag, now_ms, option, span
from kos_runtime.cli.labels import labelled
from kos_runtime.cli.outcome import USAGE, Exit
from kos_runtime.cli.printing import Row, table

Status = Literal[
    "created",
    "pending",
    "running",
    "waiting",
    "paused",
    "interrupted",
    "completed",
    "failed",
    "cancelled",
    "quarantined",
]
_PAGE: Final = 500
_REFRESH_S: Final = 1.0
#: A run with more events than this is listed without its count of steps.
_MOST_EVENTS: Final = 5_000
#: So the row of a run begins that has nothing but headers left.
_GONE: Final = ("purged", "archived ")


@Parameter(name="*")
@dataclass(kw_only=True)
class Listing(Common):
    """Here ``-q`` is the query, as in other tools that list."""

    quiet: Annotated[bool, option("--quiet")] = False
    "Say nothing but data and errors."


@dataclass(frozen=True, slots=True)
class _Filter:
    """What a listed run must meet. Instants in milliseconds; 0 and empty texts ask for nothing."""

    status: str
    workflow: str | None
    agent: str
    since: int
    older: int
    query: Any
    labels: dict[str, str]
    limit: int


def ls(
    *,
    status: Status | None = None,
    workflow: str | None = None,
    agent: str = "",
    since: str = "",
    older: str = "",
    label: Annotated[list[str] | None, Parameter(name=["--label", "-l"], consume_multiple=False, negative="")] = None,
    query: Annotated[str, Parameter(name=["--query", "-q"])] = "",
    limit: int = 50,
    waiting: Annotated[bool, flag("--waiting")] = False,
    watch: Annotated[bool, flag("--watch", "-w")] = False,
    common: Listing | None = None,
) -> int:
    """List runs, the newest first.

    Args:
        status: Only runs in this status (interrupted: at work, and nobody owns the store).
        workflow: Only runs of this workflow.
        agent: Only runs in which this agent took part.
        since: Only runs created within this time, such as 1h.
        older: Only runs created longer ago than this, such as 7d.
        label: Only runs with this label, NAME=VALUE; may be given several times.
        query: Only runs that meet an expression over their row, such as '$status == "failed" and $age < 3600000'.
        limit: At most so many.
        waiting: What waits for whom, one line for each step: people, signals, time.
        watch: Go on, and show what changes.
    """
    from kos_runtime.cli.query import parse_query

    common = common or Listing()
    if limit < 1:
        raise Exit(USAGE, f"error: --limit {limit}: expected at least 1")
    now = now_ms()
    wanted = _Filter(
        status or "", workflow, agent, now - duration("--since", since) if since else 0,
        now - duration("--older", older) if older else 0, parse_query(query) if query else None, labelled(label), limit,
    )  # fmt: skip
    reading = common.reading()
    if waiting:
        from kos_runtime.cli.waiting import show_waiting

        return show_waiting(common, reading, workflow, limit, wanted.labels)
    if watch:
        return _watch(common, reading, wanted)
    found = list(_found(common, reading, wanted))
    _emit(common, found)
    if not found:
        common.say("no runs" if reading.log.runs(limit=1) == [] else "no run meets that; all: kos ls")
    elif any(row["status"] == "interrupted" for row in found):
        common.say("interrupted runs go on with: kos resume RUN")
    return 0


def duration(name: str, text: str) -> int:
    """Read a span of time that was given to an option; milliseconds."""
    from kos_runtime.core.instant import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise Exit(USAGE, f"error: {name}: {error}") from error


def _found(common: Common, reading: Any, wanted: _Filter) -> Iterator[Row]:
    """Give the rows that meet everything, page by page, the newest first."""
    from kos_runtime.cli.query import holds

    before, count = 0, 0
    stored = [wanted.status] if wanted.status and wanted.status != "interrupted" else []
    if wanted.status == "running":
        # What waits for time alone rests in the store, and is at work all the same.
        stored.append("waiting")
    while page := reading.log.runs(
        status=stored, workflow=wanted.workflow, attributes=wanted.labels, after_offset=before, limit=_PAGE
    ):
        for run in page:
            before = run.created_offset
            if run.created_at < wanted.since:
                return
            shown = reading.status(run)
            if (wanted.status and shown != wanted.status) or (wanted.older and run.created_at > wanted.older):
                continue
            if wanted.agent and wanted.agent not in _agents(reading, run.run):
                continue
            row = _row(reading, run, shown)
            if wanted.query is not None and not holds(wanted.query, row):
                continue
            yield {**row, **{key: common.instant(row[key]) for key in ("created", "started", "updated")}}
            count += 1
            if count == wanted.limit:
                return
        if len(page) < _PAGE:
            return


def _row(reading: Any, run: Any, status: str) -> Row:
    from kos_runtime.client.gone import is_gone

    now = now_ms()
    done, steps, started = (None, None, 0) if is_gone(run) else _progress(reading, run.run)
    return {
        "run": run.run,
        "workflow": run.workflow,
        "version": run.version,
        "name": run.name,
        "status": status,
        "created": run.created_at,
        "updated": run.updated_at,
        "waiting": run.waiting,
        "error": run.error,
        "started": started,
        "age": max(0, now - run.created_at),
        "idle": max(0, now - run.updated_at),
        "steps_done": done,
        "steps": steps,
    }


def _progress(reading: Any, run: str) -> tuple[int | None, int | None, int]:
    """Return how many of a run's own steps are over, of how many, and when it started; None for a very long run."""
    from kos_runtime.cli.tree import declared_steps
    from kos_runtime.core.projection.steps import DONE

    view = reading.short_view(run, _MOST_EVENTS)
    if view is None:
        return None, None, 0
    declared = [id for id, _ in declared_steps(reading, view)]
    done = sum(id in view.steps and view.steps[id].status in DONE for id in declared)
    return done, len(declared), view.started_at


def _agents(reading: Any, run: str) -> set[str]:
    """Return the agents of a run by kind, by the name that its definition uses, and by process."""
    view = reading.view(run)
    found = {step.agent for step in view.steps.values() if step.agent}
    if view.link:
        link = reading.link(view.link)
        pools = {name.rpartition("-")[0] for name in found}
        found |= {n for name, agent in link.agents.items() if agent.pool in pools or agent.kind in pools
                  for n in (name, agent.kind)}  # fmt: skip
    return found


def _emit(common: Common, found: list[Row]) -> None:
    if common.is_data:
        common.emit(found, {})
    else:
        common.emit(_shown(common, found), _columns(common))


def _columns(common: Common) -> dict[str, str]:
    columns = {"run": "RUN", "workflow": "WORKFLOW", "status": "STATUS", "progress": "STEPS",
               "when": "AGE" if common.time == "relative" else "CREATED", "name": "NAME", "waiting": "WAITS FOR"}  # fmt: skip
    return (
        columns | {"version": "VERSION", "changed": "UPDATED", "error": "ERROR"} if common.form == "wide" else columns
    )


def _shown(common: Common, found: list[Row]) -> list[Row]:
    return [
        {
            **row,
            "progress": ("–" if row["waiting"].startswith(_GONE) else "…")
            if row["steps"] is None
            else f"{row['steps_done']}/{row['steps']}",
            "when": span(row["age"]) if common.time == "relative" else row["created"],
            "changed": f"{span(row['idle'])} ago" if common.time == "relative" else row["updated"],
        }
        for row in found
    ]


def _watch(common: Common, reading: Any, wanted: _Filter) -> int:
    """Show the list again whenever it changes: in place on a terminal, a line for each changed run elsewhere."""
    known: dict[str, Row] = {}
    if not common.is_data and sys.stdout.isatty():
        from rich.live import Live

        with Live(console=common.console(), auto_refresh=False, screen=False) as live:
            while True:
                rows = _shown(common, list(_found(common, reading, wanted)))
                live.update(table(rows, _columns(common), wide=common.form == "wide"), refresh=True)
                time.sleep(_REFRESH_S)
    while True:
        for row in reversed(list(_found(common, reading, wanted))):
            lasting = {key: value for key, value in row.items() if key not in {"age", "idle"}}
            if known.get(row["run"]) == lasting:
                continue
            known[row["run"]] = lasting
            match common.form:
                case "name":
                    print(row["run"], flush=True)
                case "json" | "jsonl" | "yaml":
                    print(json.dumps(row, ensure_ascii=False, default=str), flush=True)
                case _:
                    cells = [str(cell[key]) for cell in _shown(common, [row]) for key in _columns(common)]
                    print("  ".join(cells).rstrip(), flush=True)
        time.sleep(_REFRESH_S)

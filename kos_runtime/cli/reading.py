"""``kos ls``, ``get`` and ``events``: what is, and what was. Nothing here needs an owner or Ray."""

import json
import time
from typing import Annotated, Any

from cyclopts import Parameter

from kos_runtime.cli.common import Common, iso, now_ms
from kos_runtime.cli.follow import describe
from kos_runtime.cli.outcome import Exit
from kos_runtime.cli.tree import declared_steps, head, lines


def ls(
    *,
    status: str = "",
    workflow: str | None = None,
    since: str = "",
    limit: int = 50,
    common: Common | None = None,
) -> int:
    """List runs, the newest first.

    Args:
        status: Only runs in this status (interrupted included).
        workflow: Only runs of this workflow.
        since: Only runs created within this time, such as 1h.
        limit: At most so many.
    """
    common = common or Common()
    reading = common.reading()
    wanted = [status] if status and status != "interrupted" else []
    rows = reading.log.runs(status=wanted, workflow=workflow, limit=max(1, limit))
    begin = now_ms() - _span(since) if since else 0
    found = []
    for row in rows:
        shown = reading.status(row)
        if (status and shown != status) or row.created_at < begin:
            continue
        found.append(
            {
                "run": row.run,
                "workflow": row.workflow,
                "version": row.version,
                "name": row.name,
                "status": shown,
                "created": row.created_at if common.output in {"json", "jsonl"} else common.when(row.created_at),
                "updated": row.updated_at if common.output in {"json", "jsonl"} else common.when(row.updated_at),
                "waiting": row.waiting,
                "error": row.error,
            }
        )
    columns = {"run": "RUN", "workflow": "WORKFLOW", "status": "STATUS", "created": "CREATED", "waiting": "WAITS FOR"}
    if common.output == "wide":
        columns |= {"version": "VERSION", "name": "NAME", "updated": "UPDATED", "error": "ERROR"}
    common.emit(found, columns)
    if any(row["status"] == "interrupted" for row in found):
        common.say("interrupted runs go on with: kos resume RUN")
    return 0


def _span(text: str) -> int:
    from kos_runtime.core.instant import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise Exit(2, f"error: {error}") from error


def get(*runs: str, at: int | None = None, common: Common | None = None) -> int:
    """Show runs: status, steps, what they wait for, outputs.

    Args:
        runs: Run ids, unique prefixes, names, @latest or @failed; the latest unless given.
        at: As it was after this event (seq).
    """
    common = common or Common()
    reading = common.reading()
    found = []
    for text in runs or ("@latest",):
        row = reading.find(text)
        view = reading.view(row.run, until=at)
        status = reading.status(row) if at is None else view.status
        if common.output in {"table", "wide"}:
            _screen(common, reading, row, view, status)
        else:
            found.append(as_data(reading, row, view, status))
    if found:
        common.emit(found, {}, one=len(found) == 1)
    return 0


def as_data(reading: Any, row: Any, view: Any, status: str) -> dict[str, Any]:
    """Return a run as plain data; the keys are those of its projection."""
    return {
        "run": row.run,
        "workflow": view.workflow,
        "version": view.version,
        "name": view.name,
        "author": view.author,
        "status": status,
        "created_at": view.created_at,
        "started_at": view.started_at,
        "ended_at": view.ended_at,
        "seq": view.seq,
        "inputs": reading.inputs(view),
        "outputs": reading.outputs(view) if view.status == "completed" else None,
        "error": view.error,
        "settings": view.settings,
        "steps": [
            {
                "path": step.path, "status": step.status, "agent": step.agent, "attempt": step.attempt,
                "started_at": step.started_at, "ended_at": step.ended_at, "retry_at": step.retry_at, "detail": step.detail,
                "error": step.error,
            }
            for step in view.steps.values()
        ],
        "waits_for": [
            {"step": s.path, "task": s.manual["task"], "prompt": s.manual["prompt"],
             "fields": [{"name": n, "type": t, "required": r} for n, t, r in s.manual["fields"]]}
            for s in view.waits_for_people
        ],
    }  # fmt: skip


def _screen(common: Common, reading: Any, row: Any, view: Any, status: str) -> None:
    from kos_runtime.cli.run import shown

    console = common.console()
    console.print(head(view, status), style="bold", markup=False)
    for style, line in lines(view, declared_steps(reading, view)):
        console.print(line, style=style, markup=False, overflow="ellipsis", no_wrap=True)
    for text in tasks(row.run, view) if status == "waiting" else ():
        console.print(text, markup=False, soft_wrap=True)
    if view.error:
        console.print(f"error  {view.error.get('type')}: {view.error.get('message')}", style="red", markup=False)
    if status == "interrupted":
        console.print(f"nobody owns the store; go on with: kos resume {row.run}", markup=False)
    if view.status == "completed":
        for name, value in reading.outputs(view).items():
            console.print(f"{name}:", markup=False)
            console.print(shown(value), markup=False, soft_wrap=True)


def tasks(run: str, view: Any) -> list[str]:
    """Say what a run waits for, and the line to type."""
    found = []
    for step in view.waits_for_people:
        fields = step.manual["fields"]
        listed = ", ".join(f"{name}: {kind}{'' if required else ' (optional)'}" for name, kind, required in fields)
        sample = {name: _sample(kind) for name, kind, _ in fields}
        found.append(
            f"waits for a person at {step.path}: {step.manual['prompt']}\n  fields  {listed}\n"
            f"  answer  kos answer {run} '{step.path}' '{json.dumps(sample, ensure_ascii=False)}'   then: kos resume {run}"
        )
    return found


def _sample(kind: str) -> Any:
    return {"array": [], "object": {}, "integer": 0, "number": 0.0, "boolean": True}.get(kind, "…")


def events(
    run: str = "@latest",
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative="")] = False,
    type_: Annotated[str, Parameter(name="--type")] = "",
    step: str = "",
    agent: str = "",
    after: int = 0,
    tail: int = 0,
    common: Common | None = None,
) -> int:
    """Print a run's events, the audit trail itself.

    Args:
        run: A run id, unique prefix, name, @latest or @failed.
        follow: Go on printing until the run ends.
        type_: Only events whose type matches, such as 'Step*'.
        step: Only events of this step (and what is inside it).
        agent: Only events of this agent.
        after: Only events behind this seq.
        tail: Only the last so many.
    """
    from fnmatch import fnmatchcase

    common = common or Common()
    reading = common.reading()
    row = reading.find(run)

    def wanted(line: Any) -> bool:
        path = str(line.data.get("path", ""))
        return (
            (not type_ or fnmatchcase(line.type, type_))
            and (not step or path == step or (path.startswith(step) and path[len(step) : len(step) + 1] in "/[#!"))
            and (
                not agent
                or str(line.data.get("agent", "")).partition("-")[0] == agent
                or line.data.get("agent") == agent
            )
        )

    seen = after
    found = [line for line in reading.lines(row.run, after=after) if wanted(line)]
    if found:
        seen = max(seen, found[-1].seq)
    if tail > 0:
        found = found[-tail:]
    _print(common, found, whole=not follow)
    while follow and row.status not in {"completed", "failed", "cancelled", "quarantined"}:
        time.sleep(0.1)
        row = reading.log.run(row.run)
        fresh = list(reading.lines(row.run, after=seen))
        seen = fresh[-1].seq if fresh else seen
        _print(common, [line for line in fresh if wanted(line)], whole=False)
    return 0


def _print(common: Common, found: list[Any], *, whole: bool) -> None:
    rows = [
        {
            "seq": line.seq, "offset": line.offset, "time": line.time, "type": line.type, "cause": line.cause,
            "epoch": line.epoch, "data": line.data,
        }
        for line in found
    ]  # fmt: skip
    if common.output in {"json", "yaml"} and whole:
        common.emit(rows, {})
    elif common.output in {"json", "jsonl", "yaml"}:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False, default=str), flush=True)
    else:
        for line in found:
            print(f"{line.seq:>5}  {iso(line.time)}  {describe(line)}", flush=True)
            if common.output == "wide":
                print(f"       cause {line.cause}  {json.dumps(line.data, ensure_ascii=False, default=str)}")

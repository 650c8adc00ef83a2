"""``kos get``: a run on one screen. It needs neither an owner nor Ray."""

import json
import sys
from typing import Annotated, Any, Final

from kos_runtime.cli.common import Common, Named, iso
from kos_runtime.cli.describe import failure
from kos_runtime.cli.outcome import OK
from kos_runtime.cli.story import Story
from kos_runtime.cli.tree import declared_steps, head, lines, top
from kos_runtime.cli.visible import visible
from kos_runtime.core.errors import InvalidDefinition, NotFound

#: So many tasks of a run are shown with what to type, and so many steps named that wait for one signal.
_MOST_ASKED: Final = 12
_MOST_NAMED: Final = 4

#: Of so many children that a run waits for, each has a line.
MOST_CHILDREN: Final = 16


def get(*runs: Annotated[str, Named], at: int | None = None, common: Common | None = None) -> int:
    """Show runs: status, steps, what they wait for, outputs.

    Args:
        runs: Run ids, unique prefixes, names, @latest or @failed; - reads them from standard input; the latest unless given.
        at: As it was after this event (seq).
    """
    from kos_runtime.client.gone import taken_away, went

    common = common or Common()
    reading = common.reading()
    rows = common.rows(reading, runs)
    found = []
    for index, row in enumerate(rows):
        story = Story(reading, row.run)
        gone = taken_away(reading, row)
        if gone is not None:
            if at is not None:
                raise InvalidDefinition(went(row))
            headers(story.view, row, gone)
            status = row.status
        elif at is None:
            story.look()
            status = reading.status(row)
        else:
            last = story.look_until(at)
            if not 1 <= at <= last:
                raise NotFound(f"run {row.run} has no event {at}: its seqs are 1 to {last}; see: kos events {row.run}")
            status = story.view.status
        if common.is_data:
            found.append(as_data(common, reading, row, story.view, status, gone))
        else:
            if index:
                print()
            _screen(common, reading, row, story, status, then=at is not None)
            if gone is not None:
                print(visible(f"its payloads were {gone.cause}  at {iso(gone.at)}   (seq {gone.seq})\n{went(row)}"))
    if common.is_data:
        common.emit(found, {}, one=len(found) == 1)
    return OK


def declared_step(reading: Any, run: str, step: str) -> None:
    """See to it that a run has such a step, or may come to it.

    Raises:
        NotFound: It has none; the nearest is named.
    """
    from kos_runtime.core.nearest import nearest

    view = reading.view(run)
    known = {*view.steps, *(id for id, _ in declared_steps(reading, view))}
    if step not in known and not any(step.startswith(f"{id}{mark}") for id in known for mark in "/[#!"):
        near = nearest(step, known)
        own = sorted(id for id in known if top(id) == id)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(own[:12]) or 'none yet'}"
        raise NotFound(f"no step {step!r} in run {run}; {hint}")


def headers(view: Any, row: Any, gone: Any) -> None:
    """Put into a view what the headers of a run without payloads still tell."""
    view.workflow, view.version, view.name = row.workflow, row.version, row.name
    view.created_at, view.ended_at, view.seq = row.created_at, gone.ended_at, row.position


def as_data(common: Common, reading: Any, row: Any, view: Any, status: str, gone: Any = None) -> dict[str, Any]:
    """Return a run as plain data; the keys are those of its projection."""
    return {
        "run": row.run,
        "workflow": view.workflow,
        "version": view.version,
        "name": view.name,
        "author": view.author,
        "status": status,
        "created_at": common.instant(view.created_at),
        "started_at": common.instant(view.started_at),
        "ended_at": common.instant(view.ended_at),
        "seq": view.seq,
        "inputs": reading.inputs(view),
        "outputs": reading.outputs(view) if view.status == "completed" else None,
        "error": view.error,
        "settings": view.settings,
        "steps": [
            {
                "path": step.path, "status": step.status, "agent": step.agent, "attempt": step.attempt,
                "started_at": common.instant(step.started_at), "ended_at": common.instant(step.ended_at),
                "retry_at": common.instant(step.retry_at), "detail": step.detail, "error": step.error,
                "child": step.child or None, "progress": _progress(common, step),
            }
            for step in view.steps.values()
        ],
        "waits_for": [
            {"step": s.path, "task": s.manual["task"], "prompt": s.manual["prompt"],
             "fields": [{"name": n, "type": t, "required": r} for n, t, r in s.manual["fields"]],
             **_of_approval(common, reading, s.manual)}
            for s in view.waits_for_people
        ],
        "halted": _halted(common, view.halted),
        "forked_from": view.forked_from,
        "revision": view.revision,
        "changes": [{**change, "at": common.instant(change["at"])} for change in view.changes],
        "parent": view.parent,
        "attributes": view.attributes,
        "gone": None if gone is None else {"what": gone.what, "at": common.instant(gone.at), "cause": gone.cause},
    }  # fmt: skip


def _progress(common: Common, step: Any) -> dict[str, Any] | None:
    said = step.progress if step.status == "running" else None
    return said and {"message": said.message, "fraction": said.fraction, "at": common.instant(said.at)}


def _of_approval(common: Common, reading: Any, asked: dict[str, Any]) -> dict[str, Any]:
    if asked.get("kind") != "approval":
        return {}
    return {
        "approvers": asked["approvers"], "quorum": asked["quorum"], "until": common.instant(asked["until"]),
        "digest": asked["digest"], "shown": reading.value(asked["shown"], asked["shown_blob"]),
        "given": [{**vote, "at": common.instant(vote["at"])} for vote in asked["given"]],
    }  # fmt: skip


def _halted(common: Common, what: dict[str, Any] | None) -> dict[str, Any] | None:
    if what is None:
        return None
    return {**what, **{name: common.instant(what[name]) for name in ("at", "until") if name in what}}


def _screen(common: Common, reading: Any, row: Any, story: Story, status: str, *, then: bool) -> None:
    from kos_runtime.cli.run import shown
    from kos_runtime.core.workflow.attributes import as_text

    view = story.view
    console = common.console()
    if not sys.stdout.isatty():
        # Nothing is cut for a pipe or a file.
        console.width = 1_000
    # What is over or stands still is shown with the times at which it did.
    now = story.time if then or status == "interrupted" else None
    console.print(head(view, status, now=now), style="bold", markup=False, soft_wrap=True)
    for style, line in lines(story, now=now):
        console.print(line, style=style, markup=False, overflow="ellipsis", no_wrap=True)
    for text in waits(reading, row.run, view) if status == "waiting" else ():
        console.print(text, markup=False, soft_wrap=True)
    if view.parent:
        parent = view.parent
        console.print(f"child of run {parent['run']}, step {parent['step']}", markup=False, soft_wrap=True)
    if view.attributes:
        listed = "  ".join(f"{name}={as_text(value)}" for name, value in view.attributes.items())
        console.print(f"labels {listed}", markup=False, soft_wrap=True)
    if view.error:
        console.print(f"error  {failure(view.error)}", style="red", markup=False, soft_wrap=True)
    if view.forked_from:
        origin = view.forked_from
        why = f": {origin['reason']}" if origin["reason"] else ""
        console.print(f"forked from {origin['run']} at seq {origin['seq']} by {origin['by']}{why}", markup=False)
    for change in view.changes:
        console.print(changed(change), markup=False, soft_wrap=True)
    if view.halted:
        console.print(halted(row.run, view.halted), markup=False, soft_wrap=True)
    if view.status == "quarantined":
        console.print(f"it was set aside; have it go on with: kos requeue {row.run}", markup=False)
    if status == "interrupted":
        console.print(f"nobody owns the store; go on with: kos resume {row.run}", markup=False)
    if view.status == "completed":
        for name, value in reading.outputs(view).items():
            console.print(f"{name}:", markup=False)
            console.print(shown(value), markup=False, soft_wrap=True)


def changed(what: dict[str, Any]) -> str:
    """Say who changed a run's plan, and why."""
    fields = f" ({', '.join(what['fields'])})" if what["fields"] and what["change"] == "modify_step" else ""
    why = f": {what['reason']}" if what["reason"] else ""
    return f"revision {what['revision']}  {what['change']} {what['step']}{fields} by {what['by']}{why}   (seq {what['seq']})"


def halted(run: str, what: dict[str, Any]) -> str:
    """Say who paused a run or cancels it, and why."""
    by = f" by {what['by']}" if what["by"] else ""
    text = f"{what['what']}{by}" + (f": {what['reason']}" if what["reason"] else "")
    return f"{text}\ngo on with: kos resume {run}" if what["what"] == "paused" else text


def waits(reading: Any, run: str, view: Any) -> list[str]:
    """Say what a run waits for, and what the runs that it waits for do."""
    from kos_runtime.client.families import awaited

    found = [*tasks(run, view), *signals(run, view)]
    for step, child in awaited(view)[:MOST_CHILDREN]:
        row = reading.log.run(child)
        found.append(f"waits for run {child} at {step}: {reading.status(row)}   see: kos get {child}")
        found += waits(reading, child, reading.view(child)) if row.status == "waiting" else []
    if more := len(awaited(view)) - MOST_CHILDREN:
        found += [f"and for {more} more"] if more > 0 else []
    return found


def tasks(run: str, view: Any) -> list[str]:
    """Say what a run waits for, and the line to type."""
    found = []
    for step in view.waits_for_people[:_MOST_ASKED]:
        fields = step.manual["fields"]
        listed = ", ".join(f"{name}: {kind}{'' if required else ' (optional)'}" for name, kind, required in fields)
        sample = {name: _sample(kind) for name, kind, _ in fields}
        if step.manual.get("kind") == "approval":
            found.append(_approval(run, step))
            continue
        found.append(
            f"waits for a person at {step.path}: {step.manual['prompt']}\n  fields  {listed}\n"
            f"  answer  kos answer {run} '{step.path}' '{json.dumps(sample, ensure_ascii=False)}'   then: kos resume {run}"
        )
    more = len(view.waits_for_people) - len(found)
    return [*found, f"… {more} more wait for people; all of them: kos ls --waiting"] if more > 0 else found


def signals(run: str, view: Any) -> list[str]:
    """Say which signals a run waits for, and the line to type."""
    waiting: dict[str, list[str]] = {}
    for step in view.steps.values():
        if step.signal:
            waiting.setdefault(step.signal, []).append(step.path)
    found = []
    for signal, paths in waiting.items():
        listed = ", ".join(paths[:_MOST_NAMED])
        more = f" and {len(paths) - _MOST_NAMED} more" if len(paths) > _MOST_NAMED else ""
        each = "   once for each of them" if len(paths) > 1 else ""
        found.append(f"waits for signal {signal} at {listed}{more}\n  send    kos signal {run} {signal} '{{}}'{each}")
    return found


def _approval(run: str, step: Any) -> str:
    asked = step.manual
    lines = [f"waits for approval at {step.path}: {asked['prompt']}"]
    lines.append(
        f"  who     {', '.join(asked['approvers']) or 'anybody'}"
        + (f", {asked['quorum']} of them" if asked["quorum"] > 1 else "")
    )
    if asked["given"]:
        lines.append("  so far  " + ", ".join(vote["by"] for vote in asked["given"]))
    if asked["fields"]:
        listed = ", ".join(
            f"{name}: {kind}{'' if required else ' (optional)'}" for name, kind, required in asked["fields"]
        )
        lines.append(f"  fields  {listed}")
    if asked["until"]:
        lines.append(f"  until   {iso(asked['until'])}")
    given = "".join(f" -p {name}=…" for name, _, required in asked["fields"] if required)
    lines.append(f"  decide  kos approve {run} '{step.path}'{given}   or: kos reject {run} '{step.path}'")
    return "\n".join(lines)


def _sample(kind: str) -> Any:
    return {"array": [], "object": {}, "integer": 0, "number": 0.0, "boolean": True}.get(kind, "…")

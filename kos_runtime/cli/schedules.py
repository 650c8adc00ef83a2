"""``kos schedule``, ``schedules`` and ``unschedule``: workflows that run by themselves."""

from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter

from kos_runtime.cli.common import Common, Typed
from kos_runtime.cli.outcome import OK, USAGE, Exit
from kos_runtime.cli.printing import Row, iso, now_ms, span
from kos_runtime.cli.visible import visible

_COLUMNS: Final = {"schedule": "SCHEDULE", "workflow": "WORKFLOW", "cron": "CRON", "timezone": "TIMEZONE", "next": "NEXT",
                   "last": "LAST", "last_run": "LAST RUN", "running": "RUNNING"}  # fmt: skip
_WIDE: Final = {**_COLUMNS, "overlap": "OVERLAP", "catch_up": "CATCH UP", "fired": "FIRED", "passed": "PASSED",
                "queued": "QUEUED", "by": "BY"}  # fmt: skip
_EVENTS: Final = {"seq": "SEQ", "time": "TIME", "type": "TYPE", "said": "DATA"}


def schedule(
    file: Annotated[str, Typed],
    /,
    *,
    p: Annotated[list[str] | None, Parameter(name=["--param", "-p"], consume_multiple=False, negative="")] = None,
    inputs_file: Annotated[str | None, Parameter(name=["--inputs", "-f"])] = None,
    name: str = "",
    cron: str = "",
    timezone: str = "",
    overlap: Literal["skip", "queue", "cancel_running"] | None = None,
    catch_up: Literal["none", "last", "all"] | None = None,
    common: Common | None = None,
) -> int:
    """Let a workflow run by itself, as its `schedule` says. It works also while nobody owns the store.

    Args:
        file: A definition, FILE#TEMPLATE for a template, or - for standard input.
        p: An input of each run, NAME=VALUE; the value is read as JSON where it is some, else as text.
        inputs_file: A YAML or JSON file of inputs; - for standard input.
        name: The schedule's name, the workflow's id unless given; one of the same name is replaced.
        cron: When it is due, five fields or a word such as @daily, over what the workflow says.
        timezone: The time zone of that, such as Europe/Berlin; UTC unless it is said.
        overlap: What becomes of a run that is due before the last has ended.
        catch_up: Which of the runs that were missed are made up for.
    """
    from kos_runtime.cli.run import _check, _inputs
    from kos_runtime.client.engine import read_definition

    common = common or Common()
    if file.partition("#")[0] == inputs_file == "-":
        text = "error: only one of FILE and --inputs can come from standard input\n  see: kos schedule --help"
        raise Exit(USAGE, text)
    document = read_definition(file)
    engine = common.engine()
    try:
        inputs = _inputs(p or [], inputs_file, document)
        said_inputs = (document.content.get("schedule") or {}).get("inputs") or {}
        _check(engine, document, {**said_inputs, **inputs}, file)
        said = engine.schedule_workflow(
            document,
            inputs,
            name=name,
            cron=cron,
            timezone=timezone,
            overlap=overlap or "",
            catch_up=catch_up or "",
        )
        line = _line(engine, said)
        if common.is_data:
            common.emit([line], {}, one=True, name="schedule")
        elif said.get("existing"):
            print(visible(f"schedule {line['schedule']} says so already"))
        else:
            print(visible(f"schedule {line['schedule']}: seq {line['seq']} {line['type']} by {line['by']}"))
        if not engine.reading.owned():
            common.say("nobody owns the store, so nothing runs yet; keep it owned by: kos up")
        elif not _is_kept(engine):
            common.say("the store's owner ends when nothing is at work; keep it by: kos up")
    finally:
        engine.close()
    return OK


def schedules(
    name: Annotated[str, Typed] = "",
    /,
    *,
    common: Common | None = None,
) -> int:
    """List the schedules of the store, or everything that happened to one.

    Args:
        name: A schedule: print its events instead.
    """
    from kos_runtime.client.schedules import schedule_lines, schedule_views

    common = common or Common()
    reading = common.reading()
    try:
        if name:
            rows = [_event(common, line) for line in schedule_lines(reading, name)]
            common.emit(rows, _EVENTS, name="type")
            return OK
        views = schedule_views(reading)
        if not views:
            common.say("there is no schedule; make one by: kos schedule FILE")
        common.emit(
            [_row(common, view) for view in views], _WIDE if common.form == "wide" else _COLUMNS, name="schedule"
        )
        if views and not reading.owned():
            common.say("nobody owns the store, so nothing runs; keep it owned by: kos up")
    finally:
        reading.close()
    return OK


def unschedule(*names: Annotated[str, Typed], reason: str = "", common: Common | None = None) -> int:
    """Make no more runs of schedules; those that are there go on. It works also while nobody owns the store.

    Args:
        names: Schedules, as kos schedules lists them.
        reason: Why; it is kept in the log.
    """
    common = common or Common()
    if not names:
        raise Exit(USAGE, "error: name a schedule\n  see: kos schedules   kos unschedule --help")
    common.reading().close()
    engine = common.engine()
    told: list[Row] = []
    try:
        for name in names:
            told.append(_line(engine, engine.unschedule(name, reason)))
            if not common.is_data:
                line = told[-1]
                text = f"schedule {line['schedule']}: seq {line['seq']} {line['type']} by {line['by']}"
                print(visible(text + (f': "{reason}"' if reason else "")))
    finally:
        engine.close()
        if common.is_data and told:
            common.emit(told, {}, one=len(told) == 1, name="schedule")
    return OK


def _line(engine: Any, said: dict[str, Any]) -> Row:
    return {"schedule": said["run"], "seq": said.get("position"), "type": said.get("event"), "by": engine.author}


def _is_kept(engine: Any) -> bool:
    from kos_runtime.client.owner import reach_owner

    channel = reach_owner(engine.folder)
    if channel is None:
        return False
    try:
        return bool(channel.request({"op": "status"}).get("kept"))
    finally:
        channel.close()


def _row(common: Common, view: Any) -> Row:
    row = asdict(view)
    del row["removed"]
    if common.is_data:
        return {**row, "next": common.instant(view.next), "last": common.instant(view.last)}
    count = len(view.running)
    running = "" if not count else view.running[0] if count == 1 else f"{view.running[0]} … {count}"
    return {
        **row,
        "next": _coming(common, view.next),
        "last": common.when(view.last),
        "running": running,
        "queued": len(view.queued),
    }


def _coming(common: Common, instant: int) -> str:
    if not instant:
        return ""
    match common.time:
        case "raw":
            return str(instant)
        case "iso":
            return iso(instant)
        case _:
            return f"in {span(max(0, instant - now_ms()))}"


def _event(common: Common, line: Any) -> Row:
    row = {
        "seq": line.seq,
        "offset": line.offset,
        "time": common.instant(line.time) if common.is_data else common.when(line.time),
        "type": line.type,
        "cause": line.cause,
        "data": line.data,
    }
    if not common.is_data:
        row["said"] = "  ".join(
            f"{key}={_short(key, value)}" for key, value in line.data.items() if value not in ("", None)
        )
    return row


def _short(key: str, value: Any) -> str:
    """Write instants as people do; addresses by their beginning."""
    if key in {"next", "nominal", "first", "last", "since"} and isinstance(value, int) and value:
        return iso(value)
    return f"{value:.12}" if key in {"plan", "link"} else str(value)

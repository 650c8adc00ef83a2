"""``kos export`` and ``import``: a run as a file, and back."""

import csv
import html
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from kos_runtime.cli.common import Common, Named, Typed, iso, span
from kos_runtime.cli.describe import describe, failure
from kos_runtime.cli.outcome import OK, USAGE, Exit


def export(
    run: Annotated[str, Named] = "@latest",
    /,
    *,
    format_: Annotated[Literal["jsonl", "csv", "html"], Parameter(name="--format")] = "jsonl",
    file: str = "",
    common: Common | None = None,
) -> int:
    """Write a run as a file: all of it, to be imported elsewhere, or its events for a table or a page.

    Args:
        run: A run id, unique prefix, name, @latest or @failed; - reads it from standard input.
        format_: jsonl is the whole run and can be imported; csv is a line an event; html a page to read.
        file: Where to write it, compressed when it ends in .gz; standard output unless given.
    """
    from kos_runtime.client.transfer import export_lines

    common = common or Common()
    reading = common.reading()
    row = common.rows(reading, [run])[0]
    if file.endswith(".gz") and format_ != "jsonl":
        raise Exit(USAGE, f"error: only jsonl is compressed; write --file {file.removesuffix('.gz')}")
    match format_:
        case "jsonl":
            lines: Iterable[str] = export_lines(reading, row.run)
        case "csv":
            lines = _csv(reading, row.run)
        case _:
            lines = _html(reading, row)
    if not file:
        for text in lines:
            sys.stdout.write(text)
        sys.stdout.flush()
        return OK
    count = _write(Path(file), lines)
    if common.is_data:
        common.emit([{"run": row.run, "file": file, "lines": count}], {}, one=True, name="file")
    else:
        common.say(f"run {row.run}: {count} lines in {file}")
    return OK


def _write(path: Path, lines: Iterable[str]) -> int:
    """Write a file beside its name first, so that one that is there under the name is whole."""
    import gzip

    part = path.with_name(path.name + ".part")
    count = 0
    try:
        with (
            gzip.open(part, "wt", encoding="utf-8") if path.suffix == ".gz" else part.open("w", encoding="utf-8") as out
        ):
            for text in lines:
                out.write(text)
                count += 1
        os.replace(part, path)  # noqa: PTH105 - as everywhere
    finally:
        part.unlink(missing_ok=True)
    return count


def _csv(reading: Any, run: str) -> Iterator[str]:
    yield _cells(["seq", "time", "type", "step", "cause", "data"])
    for line in reading.lines(run):
        data = json.dumps(line.data, ensure_ascii=False, default=str)
        yield _cells([line.seq, iso(line.time), line.type, line.data.get("path", ""), line.cause, data])


def _cells(values: list[Any]) -> str:
    out = io.StringIO()
    # A cell that a spreadsheet would take for a formula is kept a text.
    csv.writer(out, lineterminator="\n").writerow(
        [
            "'" + value if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t"} else value
            for value in values
        ]
    )
    return out.getvalue()


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2rem .6rem;border-bottom:1px solid #8884;"
    "vertical-align:top}pre{white-space:pre-wrap}:root{color-scheme:light dark}"
)


def _html(reading: Any, row: Any) -> Iterator[str]:
    """Write a page that needs nothing else; whatever agents wrote is text in it."""
    view = reading.view(row.run)
    text = html.escape
    title = f"run {row.run} of {view.workflow or row.workflow}"
    yield f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{text(title)}</title>\n'
    yield f"<style>{_STYLE}</style></head>\n<body><h1>{text(title)}</h1>\n"
    yield f"<p>{text(reading.status(row))}, created {iso(row.created_at)} by {text(view.author)}</p>\n"
    if view.error:
        yield f"<p>{text(failure(view.error))}</p>\n"
    yield "<h2>Steps</h2>\n<table><tr><th>step</th><th>status</th><th>agent</th><th>took</th></tr>\n"
    for step in view.steps.values():
        took = span(step.ended_at - step.started_at) if step.ended_at and step.started_at else ""
        cells = (step.path, step.status, step.agent, took)
        yield "<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in cells) + "</tr>\n"
    yield "</table>\n"
    if view.status == "completed":
        outputs = json.dumps(reading.outputs(view), ensure_ascii=False, indent=1, default=str)
        yield f"<h2>Outputs</h2>\n<pre>{text(outputs)}</pre>\n"
    yield "<h2>Events</h2>\n<table><tr><th>seq</th><th>time</th><th>what</th><th>cause</th></tr>\n"
    for line in reading.lines(row.run):
        cells = (str(line.seq), iso(line.time), describe(line), line.cause)
        yield "<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in cells) + "</tr>\n"
    yield "</table></body></html>\n"


def import_(file: Annotated[str, Typed], /, *, common: Common | None = None) -> int:
    """Bring an exported run into this store, to be read and verified here. Everything is checked before anything is stored.

    Args:
        file: A file that `kos export` wrote.
    """
    from kos_runtime.client.importing import import_run
    from kos_runtime.composition.location import find_store

    common = common or Common()
    folder = find_store(common.store)
    found = import_run(folder, file)
    if common.is_data:
        told = {"run": found.run, "store": found.store, "records": found.records, "existing": found.existing}
        common.emit([told], {}, one=True)
    elif found.existing:
        print(f"run {found.run} is here already, the same; nothing was stored")
    else:
        print(f"run {found.run} of store {found.store}: {found.records} records; look at it by: kos get {found.run}")
    return OK

"""``kos gc``: what is kept of runs that have ended."""

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from kos_runtime.cli.common import Common, flag, now_ms
from kos_runtime.cli.ls import duration
from kos_runtime.cli.outcome import FAILED, OK
from kos_runtime.cli.visible import visible


def gc(
    *,
    older: str = "30d",
    status: Annotated[
        list[Literal["completed", "failed", "cancelled", "quarantined"]] | None,
        Parameter(name="--status", consume_multiple=False, negative=""),
    ] = None,
    purge: Annotated[bool, flag("--purge")] = False,
    dry_run: Annotated[bool, flag("--dry-run")] = False,
    reason: str = "",
    common: Common | None = None,
) -> int:
    """Archive what runs that ended long ago have recorded, or purge it. The log's chain stays whole.

    Args:
        older: Only runs that ended longer ago than this.
        status: Only runs that ended so; may be given several times.
        purge: Delete it for good, instead of moving it into files that can be imported.
        dry_run: Say which runs it would be, and do nothing.
        reason: Why; it is kept in the log.
    """
    from kos_runtime.client import retention
    from kos_runtime.client.gone import OVER

    common = common or Common()
    engine = common.engine()
    try:
        reading = engine.reading
        before = now_ms() - duration("--older", older)
        rows = retention.collectable(reading, statuses=status or OVER, before=before)
        what = "purge" if purge else "archive"
        if dry_run or not rows:
            told = [_line(row.run, f"would {what}", row.status) for row in rows]
            if common.is_data or rows:
                common.emit(told, {"run": "RUN", "status": "STATUS", "what": "WHAT"})
            if not rows:
                common.say(f"no run that ended more than {older} ago has anything to {what}")
            return OK
        named = ", ".join(row.run for row in rows[:8]) + (f" and {len(rows) - 8} more" if len(rows) > 8 else "")
        outcome = "What they recorded is gone then, for good." if purge else "They can be imported from their files."
        if not common.may(f"{what} {len(rows)} runs ({named})? {outcome}"):
            common.say("nothing was done")
            return FAILED
        act = retention.purge if purge else retention.archive
        done = act(engine.folder, [row.run for row in rows], by=engine.author, reason=reason)
        told = [_line(kept.run, kept.what, reading.log.run(kept.run).status, kept) for kept in done]
        if common.is_data:
            common.emit(told, {})
        else:
            for line in told:
                into = f" into {line['file']}" if line["file"] else ""
                said = f"seq {line['seq']} {line['event']} by {engine.author}"
                print(visible(f"run {line['run']} {line['what']}{into}   {said}"))
    finally:
        engine.close()
    return OK


def _line(run: str, what: str, status: str, kept: Any = None) -> dict[str, Any]:
    found = {"file": "", "freed": 0, "seq": None, "event": None}
    if kept is not None:
        found = {"file": kept.file, "freed": kept.freed, "seq": kept.seq, "event": kept.event}
    return {"run": run, "status": status, "what": what, **found}

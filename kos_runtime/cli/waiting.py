"""``kos ls --waiting``: what waits for whom."""

from collections.abc import Iterator
from typing import Any

from kos_runtime.cli.common import Common
from kos_runtime.cli.printing import Row

_PAGE = 500
_COLUMNS = {"run": "RUN", "step": "STEP", "for": "WAITS FOR", "who": "WHO", "until": "UNTIL", "prompt": "WHAT"}


def show_waiting(
    common: Common, reading: Any, workflow: str | None, limit: int, labels: dict[str, str] | None = None
) -> int:
    """Print a line for each step that waits, of the newest runs first."""
    found: list[Row] = []
    for row in _waiting(common, reading, workflow, labels or {}):
        found.append(row)
        if len(found) >= limit:
            break
    if common.is_data:
        common.emit(found, {})
    elif found:
        common.emit([{**row, "who": ", ".join(row["who"])} for row in found], _COLUMNS)
    else:
        common.say("nothing waits")
    return 0


def _waiting(common: Common, reading: Any, workflow: str | None, labels: dict[str, str]) -> Iterator[Row]:
    before = 0
    stored = ["running", "waiting", "paused"]
    while page := reading.log.runs(
        status=stored, workflow=workflow, attributes=labels, after_offset=before, limit=_PAGE
    ):
        for run in page:
            before = run.created_offset
            for step in reading.view(run.run).steps.values():
                if step.manual is None and step.status != "waiting":
                    continue
                asked = step.manual or {}
                other = "signal" if step.signal else "child" if step.child else "time"
                kind = asked.get("kind") or ("manual" if asked else other)
                who = list(asked.get("approvers", ())) or (["anybody"] if asked else [step.child] * (kind == "child"))
                yield {
                    "run": run.run, "step": step.path, "for": kind, "who": who,
                    "until": common.instant(step.until) if common.is_data else _until(step.until),
                    "prompt": asked.get("prompt", step.signal or step.detail),
                }  # fmt: skip
        if len(page) < _PAGE:
            return


def _until(instant: int) -> str:
    from kos_runtime.cli.common import iso

    return iso(instant) if instant else ""

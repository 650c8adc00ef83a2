"""``kos answer`` and ``resume``: what changes a run."""

import json
from typing import Any

from kos_runtime.cli.common import Common
from kos_runtime.cli.follow import follow
from kos_runtime.cli.outcome import OK, WAITS, Exit
from kos_runtime.cli.run import report


def answer(run: str, step: str, data: str, *, common: Common | None = None) -> int:
    """Answer a manual task in place of its step's result. It works also while nobody owns the store.

    Args:
        run: A run id, unique prefix, name or @latest.
        step: The step that waits, as `kos get` shows it.
        data: A JSON object of the fields that are asked for; - reads it from standard input.
    """
    import sys

    common = common or Common()
    engine = common.engine()
    try:
        row = engine.reading.find(run)
        text = sys.stdin.read(64 * 1024 * 1024) if data == "-" else data
        try:
            value: Any = json.loads(text)
        except ValueError as error:
            raise Exit(3, f'error: the answer is no JSON: {error}; write for example \'{{"summary": "…"}}\'') from error
        if not isinstance(value, dict):
            raise Exit(3, "error: the answer must be a JSON object of the fields that are asked for")
        said = engine.answer(row.run, step, value)
        print(f"seq {said.get('position')} {said.get('event')} by {engine.author}")
        status = engine.get_workflow_status(row.run)
        if status == "interrupted":
            common.say(f"go on with: kos resume {row.run}")
    finally:
        engine.close()
    return OK


def resume(*runs: str, common: Common | None = None) -> int:
    """Go on with interrupted runs: start the store's owner where none is up, and follow them.

    Args:
        runs: Run ids, unique prefixes, names or @latest; the latest unless given.
    """
    common = common or Common()
    common.reading().close()
    engine = common.engine()
    code = OK
    try:
        for text in runs or ("@latest",):
            row = engine.reading.find(text)
            status = engine.reading.status(row)
            if status in {"completed", "failed", "cancelled", "quarantined"}:
                common.say(f"run {row.run} is {status} already")
                code = max(code, report(common, engine.reading, row.run, 0 if status == "completed" else 1))
                continue
            if status == "waiting":
                code = max(code, report(common, engine.reading, row.run, WAITS))
                continue
            view = engine.view(row.run)
            done = sum(step.status == "completed" for step in view.steps.values())
            common.say(f"↺ run {row.run}: {view.seq} records in the log; {done} steps are kept, not run again")
            engine.resume(row.run)
            code = max(code, report(common, engine.reading, row.run, follow(common, engine.reading, row.run)))
    finally:
        engine.close()
    return code

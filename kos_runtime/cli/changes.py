"""``kos answer`` and ``resume``: what changes a run."""

import json
from typing import Annotated, Any, Literal

from kos_runtime.cli.common import Common, Named, Typed, flag
from kos_runtime.cli.follow import follow
from kos_runtime.cli.outcome import BY_STATUS, DETACHED, OK, USAGE, Exit
from kos_runtime.cli.run import report
from kos_runtime.cli.steering import tell
from kos_runtime.cli.visible import visible


def answer(
    run: Annotated[str, Named],
    step: Annotated[str, Named],
    data: Annotated[str, Typed],
    /,
    *,
    common: Common | None = None,
) -> int:
    """Answer a manual task in place of its step's result. It works also while nobody owns the store.

    Args:
        run: A run id, unique prefix, name or @latest; - reads it from standard input.
        step: The step that waits, as `kos get` shows it.
        data: A JSON object of the fields that are asked for; - reads it from standard input.
    """
    import sys

    from kos_runtime.client.over import need_run

    common = common or Common()
    engine = common.engine()
    if run == data == "-":
        raise Exit(USAGE, "error: only one of RUN and DATA can come from standard input\n  see: kos answer --help")
    try:
        row = common.rows(engine.reading, [run])[0]
        text = sys.stdin.read(64 * 1024 * 1024) if data == "-" else data
        try:
            value: Any = json.loads(text)
        except ValueError as error:
            raise Exit(
                3,
                f'error: the answer is no JSON: {error}\n  write for example: kos answer {run} {step} \'{{"text": "…"}}\'',
            ) from error
        if not isinstance(value, dict):
            raise Exit(
                3, f"error: the answer must be a JSON object of the fields that are asked for\n  see: kos get {row.run}"
            )
        need_run(engine.reading, row.run)
        if row.status in {"completed", "failed", "cancelled", "quarantined"}:
            raise Exit(3, f"error: run {row.run} is {row.status} and waits for no answer\n  see: kos get {row.run}")
        said = engine.answer(row.run, step, value)
        line = {
            "run": row.run,
            "step": step,
            "seq": said.get("position"),
            "type": said.get("event"),
            "by": engine.author,
        }
        if common.is_data:
            common.emit([line], {}, one=True)
        else:
            print(visible(f"seq {line['seq']} {line['type']} by {line['by']}"))
        status = engine.get_workflow_status(row.run)
        if status == "interrupted":
            common.say(f"go on with: kos resume {row.run}")
    finally:
        engine.close()
    return OK


def resume(*runs: Annotated[str, Named], common: Common | None = None) -> int:
    """Go on with paused or interrupted runs: start the store's owner where none is up, and follow them.

    Args:
        runs: Run ids, unique prefixes, names or @latest; - reads them from standard input; the latest unless given.
    """
    common = common or Common()
    reading = common.reading()
    rows = common.rows(reading, runs)
    reading.close()
    engine = common.engine()
    codes = []
    try:
        going = []
        for row in rows:
            status = engine.reading.standing(row)
            if status in BY_STATUS:
                if status != "waiting":
                    common.say(f"run {row.run} is {status} already")
                codes.append(report(common, engine.reading, row.run, BY_STATUS[status]))
                continue
            view = engine.view(row.run)
            done = sum(step.status == "completed" for step in view.steps.values())
            common.say(f"↺ run {row.run}: {view.seq} records in the log; {done} steps are kept, not run again")
            engine.resume(row.run)
            said = engine.resume_workflow(row.run)
            if said.get("event"):
                tell(common, engine, row.run, said)
            going.append(row.run)
        if going:
            code = follow(common, engine.reading, going)
            codes += [code, *(report(common, engine.reading, run, code) for run in going if code != DETACHED)]
    finally:
        engine.close()
    return max(codes)


def requeue(
    run: Annotated[str, Named],
    step: Annotated[str, Named] = "",
    /,
    *,
    reason: str = "",
    common: Common | None = None,
) -> int:
    """Have a run that was set aside go on, or a poison step be tried once more.

    Args:
        run: A run id, a unique prefix, a name or @latest.
        step: The step that was poison, of a failed run; where it failed unless given.
        reason: Why; it is kept in the log.
    """
    common = common or Common()
    engine = common.engine()
    try:
        (row,) = common.rows(engine.reading, [run])
        tell(common, engine, row.run, engine.requeue(row.run, step, reason=reason), reason)
        code = follow(common, engine.reading, [row.run])
        return code if code == DETACHED else max(code, report(common, engine.reading, row.run, code))
    finally:
        engine.close()


def retry(
    *runs: Annotated[str, Named],
    step: str = "",
    attempts: int = 1,
    agent: Literal["other"] | None = None,
    fallback: str = "",
    manual: Annotated[bool, flag("--manual")] = False,
    reason: str = "",
    common: Common | None = None,
) -> int:
    """Try again where runs failed, in the same runs: what was completed is kept.

    Args:
        runs: Run ids, unique prefixes, names, @latest or @failed; - reads them from standard input; the latest unless given.
        step: A step that failed; the one at which the run did unless given.
        attempts: How many further attempts it has.
        agent: other is a process that it has not failed in, else another kind that the workflow names.
        fallback: A step on demand, or an action of its agent, that stands in for it.
        manual: A person stands in for it.
        reason: Why; it is kept in the log.
    """
    common = common or Common()
    ways = [w for w, said in (("different_agent", agent), ("fallback", fallback), ("manual", manual)) if said]
    if len(ways) > 1:
        raise Exit(USAGE, "error: one of --agent, --fallback and --manual at a time\n  see: kos retry --help")
    more = {"way": ways[0] if ways else "retry", "fallback": fallback}
    engine = common.engine()
    going: list[str] = []
    try:
        for row in common.rows(engine.reading, list(runs)):
            tell(common, engine, row.run, engine.retry_step(row.run, step, attempts, reason=reason, **more), reason)
            going.append(row.run)
        code = follow(common, engine.reading, going)
        codes = [code, *(report(common, engine.reading, run, code) for run in going if code != DETACHED)]
    finally:
        engine.close()
    return max(codes)

"""``kos fork``: a run goes on from an earlier point, as a run of its own."""

from typing import Annotated, Final

from kos_runtime.cli.common import Common, Named, flag
from kos_runtime.cli.follow import follow
from kos_runtime.cli.outcome import DETACHED, FAILED, OK, USAGE, Exit
from kos_runtime.cli.run import report, value_of
from kos_runtime.cli.steering import tell

#: So many steps are named in a question.
_NAMED: Final = 12


def fork(
    run: Annotated[str, Named],
    /,
    *,
    at: int,
    name: str = "",
    reason: str = "",
    detach: Annotated[bool, flag("--detach", "-d")] = False,
    common: Common | None = None,
) -> int:
    """Go on from an earlier point as a run of its own: results up to there are reused, the rest is done again.

    Args:
        run: A run id, unique prefix, name, @latest or @failed; - reads it from standard input.
        at: The event (seq) up to which the new run has what this one had.
        name: A name of your own for the new run.
        reason: Why; it is kept in the log.
        detach: Print the new run's id and leave.
    """
    from kos_runtime.client.forks import acting_again

    common = common or Common()
    changes = {}
    for text in common.set:
        target, equals, value = text.partition("=")
        if target.startswith("steps."):
            if not equals:
                raise Exit(USAGE, f"error: --set {text}: write --set steps.STEP.NAME=VALUE")
            changes[target] = value_of(value)
    common.set = [text for text in common.set if not text.startswith("steps.")]
    engine = common.engine()
    try:
        row = common.rows(engine.reading, [run])[0]
        changed = [target.removeprefix("steps.").rpartition(".")[0] for target in changes]
        again = acting_again(engine.reading, row.run, at, changed)
        if again:
            listed = ", ".join(again[:_NAMED]) + (f" and {len(again) - _NAMED} more" if len(again) > _NAMED else "")
            common.say(f"run {row.run} did these after seq {at}, and the new run does them again: {listed}")
            if not common.may("Fork it?"):
                common.say("nothing was done")
                return FAILED
        handle = engine.fork(row.run, at, set=changes, name=name, reason=reason)
        if detach:
            if common.is_data:
                common.emit([{"run": handle.id, "status": handle.status()}], {}, one=True)
            else:
                print(handle.id, flush=True)
            return OK
        tell(common, engine, handle.id, {"position": 1, "event": "RunForked"}, reason)
        code = follow(common, engine.reading, [handle.id])
        return code if code == DETACHED else report(common, engine.reading, handle.id, code)
    finally:
        engine.close()

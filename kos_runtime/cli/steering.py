"""``kos pause`` and ``cancel``: what a person decides of whole runs."""

from typing import Annotated, Any

from kos_runtime.cli.common import Common, Named, flag
from kos_runtime.cli.ls import duration
from kos_runtime.cli.outcome import OK
from kos_runtime.cli.visible import visible


def pause(*runs: Annotated[str, Named], reason: str = "", common: Common | None = None) -> int:
    """Start nothing more of runs; what runs may end. It works also while nobody owns the store.

    Args:
        runs: Run ids, unique prefixes, names or @latest; - reads them from standard input; the latest unless given.
        reason: Why; it is kept in the log.
    """
    return _each(common or Common(), runs, reason, lambda engine, run: engine.pause_workflow(run, reason))


def cancel(
    *runs: Annotated[str, Named],
    reason: str = "",
    grace: str = "10s",
    force: Annotated[bool, flag("--force")] = False,
    common: Common | None = None,
) -> int:
    """Call runs off: what runs is asked to stop, and its process is ended after a grace.

    Args:
        runs: Run ids, unique prefixes, names or @latest; - reads them from standard input; the latest unless given.
        reason: Why; it is kept in the log.
        grace: How long what runs may go on, such as 30s.
        force: Do not wait for it at all.
    """
    seconds = 0.0 if force else duration("--grace", grace) / 1_000
    return _each(
        common or Common(), runs, reason, lambda engine, run: engine.cancel_workflow(run, reason, grace=seconds)
    )


def _each(common: Common, runs: tuple[str, ...], reason: str, act: Any) -> int:
    """Do something to each run and print the event that it made; the first refusal ends it."""
    engine = common.engine()
    told: list[dict[str, Any]] = []
    try:
        for row in common.rows(engine.reading, list(runs)):
            told.append(_line(engine, row.run, act(engine, row.run)))
            if not common.is_data:
                print(visible(_words(told[-1], len(runs) > 1, reason)))
                if engine.get_workflow_status(row.run) == "interrupted":
                    common.say(f"go on with: kos resume {row.run}")
    finally:
        engine.close()
        if common.is_data and told:
            common.emit(told, {}, one=len(told) == 1)
    return OK


def tell(common: Common, engine: Any, run: str, said: dict[str, Any], reason: str = "") -> None:
    """Say which event a command has made, beside what else it prints."""
    common.say(_words(_line(engine, run, said), True, reason))


def _line(engine: Any, run: str, said: dict[str, Any]) -> dict[str, Any]:
    return {"run": run, "seq": said.get("position"), "type": said.get("event"), "by": engine.author}


def _words(line: dict[str, Any], several: bool, reason: str) -> str:
    prefix = f"run {line['run']}: " if several else ""
    if not line["type"]:
        return f"{prefix}nothing to do: it is so already"
    return f"{prefix}seq {line['seq']} {line['type']} by {line['by']}" + (f': "{reason}"' if reason else "")

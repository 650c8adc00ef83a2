"""``kos approve``, ``reject`` and ``signal``: what people say to runs that wait for them."""

import json
from typing import Annotated, Any

from cyclopts import Parameter

from kos_runtime.cli.common import Common, Named, Typed
from kos_runtime.cli.outcome import OK, USAGE, Exit
from kos_runtime.cli.run import value_of
from kos_runtime.cli.visible import visible


def approve(
    run: Annotated[str, Named],
    step: Annotated[str, Named] = "",
    /,
    *,
    comment: str = "",
    as_: Annotated[str, Parameter(name="--as")] = "",
    params: Annotated[tuple[str, ...], Parameter(name=["--param", "-p"], negative="")] = (),
    common: Common | None = None,
) -> int:
    """Approve what a run asks for. It works also while nobody owns the store.

    Args:
        run: A run id, unique prefix, name or @latest; - reads it from standard input.
        step: The step that waits; needed where several do.
        comment: Why; it is kept in the log.
        as_: Who decides; the operating system's user unless given. Where tokens are configured, KOS_TOKEN must hold that person's.
        params: A field of the form as name=value.
    """
    return _decide(common or Common(), run, step, True, comment, as_, params)


def reject(
    run: Annotated[str, Named],
    step: Annotated[str, Named] = "",
    /,
    *,
    comment: str = "",
    as_: Annotated[str, Parameter(name="--as")] = "",
    params: Annotated[tuple[str, ...], Parameter(name=["--param", "-p"], negative="")] = (),
    common: Common | None = None,
) -> int:
    """Reject what a run asks for; one person is enough. It works also while nobody owns the store.

    Args:
        run: A run id, unique prefix, name or @latest; - reads it from standard input.
        step: The step that waits; needed where several do.
        comment: Why; it is kept in the log.
        as_: Who decides; the operating system's user unless given. Where tokens are configured, KOS_TOKEN must hold that person's.
        params: A field of the form as name=value.
    """
    return _decide(common or Common(), run, step, False, comment, as_, params)


def _decide(
    common: Common, run: str, step: str, approved: bool, comment: str, as_: str, params: tuple[str, ...]
) -> int:
    engine = common.engine()
    form: dict[str, Any] = {}
    for given in params:
        name, equals, text = given.partition("=")
        if not equals or not name:
            raise Exit(USAGE, f"error: -p {given}: expected name=value")
        form[name] = value_of(text)
    try:
        row = common.rows(engine.reading, [run])[0]
        act = engine.approve if approved else engine.reject
        said = act(row.run, step, comment=comment, as_=as_, form=form)
        tell(common, engine, row.run, said, as_)
    finally:
        engine.close()
    return OK


def signal(
    run: Annotated[str, Named],
    name: str,
    data: Annotated[str, Typed] = "null",
    /,
    *,
    common: Common | None = None,
) -> int:
    """Send a run a signal: a step that waits for it, now or later, takes it. It works also while nobody owns the store.

    Args:
        run: A run id, unique prefix, name or @latest; - reads it from standard input.
        name: The signal's name, as the step's wait_for has it.
        data: JSON; what the step gives as its result.
    """
    common = common or Common()
    try:
        value = json.loads(data)
    except ValueError as error:
        raise Exit(
            3, f"error: the data is no JSON: {error}\n  write for example: kos signal {run} {name} '{{\"ok\": true}}'"
        ) from error
    engine = common.engine()
    try:
        row = common.rows(engine.reading, [run])[0]
        tell(common, engine, row.run, engine.signal(row.run, name, value), "")
    finally:
        engine.close()
    return OK


def tell(common: Common, engine: Any, run: str, said: dict[str, Any], as_: str) -> None:
    """Print which event a person's word has made."""
    by = f"user:{as_.removeprefix('user:')}" if as_ else engine.author
    line = {"run": run, "seq": said.get("position"), "type": said.get("event"), "by": by}
    if common.is_data:
        common.emit([line], {}, one=True)
    else:
        print(visible(f"seq {line['seq']} {line['type']} by {by}"))
    if engine.get_workflow_status(run) == "interrupted":
        common.say(f"go on with: kos resume {run}")

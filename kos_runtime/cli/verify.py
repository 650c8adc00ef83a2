"""``kos verify``: the chains, checked."""

from typing import Annotated

from cyclopts import Parameter

from kos_runtime.cli.common import Common, Named
from kos_runtime.cli.outcome import FAILED, OK, USAGE, Exit


def verify(
    *runs: Annotated[str, Named],
    all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
    head: str = "",
    common: Common | None = None,
) -> int:
    """Check that nothing of a run, or of the whole log, was changed, taken out, put in or cut off.

    Args:
        runs: Run ids, unique prefixes, names, @latest or @failed; - reads them from standard input.
        all_: Check the whole log.
        head: A head written down earlier, OFFSET:HASH; a log that was cut before it is found out.
    """
    from kos_runtime.client.proof import verify_all, verify_run

    common = common or Common()
    reading = common.reading()
    if not runs and not all_ and not head:
        raise Exit(
            USAGE,
            "error: neither a run nor --all\n  write for example: kos verify @latest   kos verify --all --head OFFSET:HASH",
        )
    results = [verify_all(reading, head)] if all_ or not runs else []
    results += [verify_run(reading, row.run, head) for row in common.rows(reading, runs)] if runs else []
    rows = []
    for result in results:
        rows.append(result.as_dict())
        if not common.is_data:
            print(result.text())
    if common.is_data:
        common.emit(rows, {}, one=len(rows) == 1, name="head")
    return OK if all(result.ok for result in results) else FAILED

"""``kos verify``: the chains, checked."""

from typing import Annotated

from cyclopts import Parameter

from kos_runtime.cli.common import Common
from kos_runtime.cli.outcome import FAILED, OK, USAGE, Exit


def verify(
    *runs: str,
    all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
    head: str = "",
    common: Common | None = None,
) -> int:
    """Check that nothing of a run, or of the whole log, was changed, taken out, put in or cut off.

    Args:
        runs: Run ids, unique prefixes, names, @latest; the whole log with --all.
        all_: Check the whole log.
        head: A head written down earlier, OFFSET:HASH; a log that was cut before it is found out.
    """
    from kos_runtime.client.proof import verify_all, verify_run

    common = common or Common()
    reading = common.reading()
    if not runs and not all_ and not head:
        raise Exit(USAGE, "error: name a run, or --all: kos verify RUN | --all [--head OFFSET:HASH]")
    results = [verify_all(reading, head)] if all_ or not runs else []
    results += [verify_run(reading, reading.find(text).run, head) for text in runs]
    rows = []
    for result in results:
        rows.append(result.as_dict())
        if common.output in {"table", "wide"}:
            print(result.text())
    if common.output not in {"table", "wide"}:
        common.emit(rows, {}, one=len(rows) == 1)
    return OK if all(result.ok for result in results) else FAILED

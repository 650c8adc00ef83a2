"""``kos up``, ``down`` and ``agents``: the process that owns a store."""

import sys
import time
from typing import Annotated, Any, Final

from cyclopts import Parameter

from kos_runtime.cli.common import Common, flag
from kos_runtime.cli.ls import duration
from kos_runtime.cli.outcome import FAILED, OK, TIMEOUT
from kos_runtime.cli.printing import Row, table
from kos_runtime.core.errors import Unreachable

_REFRESH_S: Final = 1.0
_COLUMNS: Final = {"agent": "AGENT", "kind": "KIND", "actor": "ACTOR", "pid": "PID", "node": "NODE", "step": "STEP",
                   "restarts": "RESTARTS"}  # fmt: skip


def up(*, common: Common | None = None) -> int:
    """Start the store's owner, with its Ray and agents, and keep it until `kos down`."""
    from kos_runtime.adapters.ownership import owner_of
    from kos_runtime.client.owner import LOCK, reach_owner

    common = common or Common()
    engine = common.engine()
    try:
        channel = reach_owner(engine.folder)
        if channel is None:
            engine._own()
            channel = engine._channel
        channel.request({"op": "keep", "keep": True})
        status = channel.request({"op": "status"})
        owner = owner_of(engine.folder / LOCK)
        common.emit(
            [{"store": str(engine.folder), "pid": owner.pid if owner else 0, "dashboard": status.get("dashboard", "")}],
            {"store": "STORE", "pid": "PID", "dashboard": "DASHBOARD"},
            one=True,
            name="pid",
        )
    finally:
        engine.close()
    return OK


def down(*, timeout: str = "60s", common: Common | None = None) -> int:
    """End the store's owner. Runs that are at work are interrupted; `kos resume` goes on with them.

    Args:
        timeout: How long to wait for its end, such as 60s; then the exit code is 124.
    """
    from kos_runtime.client.owner import is_owned, reach_owner
    from kos_runtime.composition.location import find_store

    common = common or Common()
    most_s = duration("--timeout", timeout) / 1_000
    folder = find_store(common.store, must_exist=True)
    channel = reach_owner(folder)
    if channel is None:
        if is_owned(folder):
            raise Unreachable(
                f"the owner of {folder} gives no answer, or is just starting; see {folder}/owner.log, and: kos doctor"
            )
        common.say(f"nobody owns {folder}")
        _tell(common, folder, ended=False)
        return OK
    busy = _at_work(common)
    if busy and not common.may(f"{len(busy)} at work ({', '.join(busy[:4])}) will be interrupted. End the owner?"):
        common.say("nothing was done")
        return FAILED
    channel.request({"op": "stop"})
    deadline = time.monotonic() + most_s
    while is_owned(folder):
        if time.monotonic() > deadline:
            common.say(f"the owner of {folder} has not ended within {timeout}; see {folder}/owner.log, and: kos agents")
            return TIMEOUT
        time.sleep(0.05)
    common.say(f"the owner of {folder} has ended")
    if busy:
        common.say(f"interrupted: {', '.join(busy)}; go on with: kos resume {busy[0]}")
    _tell(common, folder, ended=True)
    return OK


def _tell(common: Common, folder: Any, *, ended: bool) -> None:
    if common.is_data:
        common.emit([{"store": str(folder), "ended": ended}], {}, one=True, name="store")


def _at_work(common: Common) -> list[str]:
    """Return the runs that the owner is at work on."""
    reading = common.reading()
    try:
        return [row.run for row in reading.log.runs(status=["running", "pending"], limit=100)]
    finally:
        reading.close()


def agents(
    *,
    watch: Annotated[bool, flag("--watch", "-w")] = False,
    common: Common | None = None,
) -> int:
    """List the live agents of the store's owner, the owner and its partitions included.

    Args:
        watch: Go on, and show the list again every second.
    """
    from kos_runtime.composition.location import find_store

    common = common or Common()
    folder = find_store(common.store, must_exist=True)
    if watch:
        return _watch(common, folder)
    rows = _agents(folder)
    if not rows:
        common.say("no agents are live: nobody owns the store (kos up, or kos resume RUN)")
    _emit(common, rows)
    return OK


def _emit(common: Common, rows: list[Row]) -> None:
    short = rows if common.is_data or common.form == "wide" else [_shortened(row) for row in rows]
    common.emit(short, _COLUMNS, name="agent")


def _agents(folder: Any) -> list[Row]:
    from kos_runtime.client.owner import is_owned, reach_owner

    channel = reach_owner(folder)
    if channel is None:
        if is_owned(folder):
            raise Unreachable(
                f"the owner of {folder} gives no answer, or is just starting; see {folder}/owner.log, and: kos doctor"
            )
        return []
    try:
        found = channel.request({"op": "agents"}).get("agents", [])
    finally:
        channel.close()
    rows = []
    for agent in found:
        steps = agent.get("steps") or []
        rows.append({**agent, "step": ", ".join(steps[:3]) + (f" … {len(steps)}" if len(steps) > 3 else "")})
    return rows


def _shortened(row: Row) -> Row:
    """Cut Ray's long ids to what tells them apart on one machine."""
    return {**row, "actor": str(row.get("actor", ""))[:8], "node": str(row.get("node", ""))[:8]}


def _watch(common: Common, folder: Any) -> int:
    if not common.is_data and sys.stdout.isatty():
        from rich.live import Live

        with Live(console=common.console(), auto_refresh=False) as live:
            while True:
                rows = [_shortened(row) for row in _agents(folder)]
                live.update(table(rows, _COLUMNS, wide=common.form == "wide"), refresh=True)
                time.sleep(_REFRESH_S)
    while True:
        _emit(common, _agents(folder))
        time.sleep(_REFRESH_S)


def own(*, store: str, keep: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Be the owner of a store (started by the other commands)."""
    from kos_runtime.composition.owner import main

    return main(["--store", store, *(["--keep"] if keep else [])])

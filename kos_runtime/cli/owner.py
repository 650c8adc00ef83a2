"""``kos up``, ``down`` and ``agents``: the process that owns a store."""

import time
from typing import Annotated

from cyclopts import Parameter

from kos_runtime.cli.common import Common
from kos_runtime.cli.outcome import OK, UNREACHABLE


def up(*, common: Common | None = None) -> int:
    """Start the store's owner, with its Ray and agents, and keep it until `kos down`."""
    from kos_runtime.client.owner import reach_owner

    common = common or Common()
    engine = common.engine()
    try:
        channel = reach_owner(engine.folder)
        if channel is None:
            engine._own(start=True)
            channel = engine._channel
        channel.request({"op": "keep", "keep": True})
        status = channel.request({"op": "status"})
        common.emit(
            [{"store": str(engine.folder), "pid": status.get("pid", ""), "dashboard": status.get("dashboard", "")}],
            {"store": "STORE", "pid": "PID", "dashboard": "DASHBOARD"},
            one=True,
            name="pid",
        )
    finally:
        engine.close()
    return OK


def down(*, timeout: float = 60.0, common: Common | None = None) -> int:
    """End the store's owner. Runs that are at work are interrupted; `kos resume` goes on with them.

    Args:
        timeout: Seconds to wait for its end.
    """
    from kos_runtime.client.owner import is_owned, reach_owner
    from kos_runtime.composition.location import find_store

    common = common or Common()
    folder = find_store(common.store)
    channel = reach_owner(folder)
    if channel is None:
        common.say(f"nobody owns {folder}")
        return OK
    channel.request({"op": "stop"})
    deadline = time.monotonic() + timeout
    while is_owned(folder):
        if time.monotonic() > deadline:
            common.say(f"the owner of {folder} has not ended within {timeout:g} s")
            return UNREACHABLE
        time.sleep(0.05)
    common.say(f"the owner of {folder} has ended")
    return OK


def agents(*, common: Common | None = None) -> int:
    """List the live agents of the store's owner, the owner and its partitions included."""
    from kos_runtime.client.owner import reach_owner
    from kos_runtime.composition.location import find_store

    common = common or Common()
    folder = find_store(common.store, must_exist=True)
    channel = reach_owner(folder)
    rows = []
    if channel is None:
        common.say("no agents are live: nobody owns the store (kos up, or kos resume RUN)")
    else:
        for agent in channel.request({"op": "agents"}).get("agents", []):
            steps = agent.get("steps") or []
            shown = ", ".join(steps[:3]) + (f" … {len(steps)}" if len(steps) > 3 else "")
            rows.append({**agent, "step": shown})
    columns = {"agent": "AGENT", "kind": "KIND", "actor": "ACTOR", "pid": "PID", "node": "NODE", "step": "STEP",
               "restarts": "RESTARTS"}  # fmt: skip
    common.emit(rows, columns, name="agent")
    return OK


def own(*, store: str, keep: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Be the owner of a store (started by the other commands)."""
    from kos_runtime.composition.owner import main

    return main(["--store", store, *(["--keep"] if keep else [])])

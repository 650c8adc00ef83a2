"""What Ray's actors are made of. They are told these names (``module:function``) and plain settings, and build it themselves.

The settings are ``store`` (its folder), ``hands`` (actions that one process runs at once), ``active`` and ``pending``
(how many runs are at work and wait at most).
"""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kos_runtime.actors.parts import EngineParts, Progress, RunnerParts
from kos_runtime.adapters.calendar import CronCalendar
from kos_runtime.adapters.clock import LogClock, wall_ms
from kos_runtime.adapters.codec import MsgpackCodec
from kos_runtime.adapters.event_store.sqlite import SqliteEventStore
from kos_runtime.adapters.progress import ProgressBoard
from kos_runtime.adapters.telemetry import line_writer, setup
from kos_runtime.adapters.wire import pack_outcomes, pack_work, unpack_outcomes, unpack_work
from kos_runtime.composition import wiring
from kos_runtime.composition.machines import make_installed_known
from kos_runtime.core.invocation import Outcome
from kos_runtime.engine.host import Host
from kos_runtime.engine.limits import Limits

if TYPE_CHECKING:
    # Agents' processes import this module and have no use for the language.
    from kos_runtime.definition.settings import EngineSettings

#: A writer of this store that still holds its lock so long after we came is ended, in milliseconds: only the store's
#: owner starts a partition, so whoever holds the lock is one that was stopped or forgotten.
TAKEOVER_MS: Final = 10_000


def setup_of(folder: Path, settings: "EngineSettings", *, namespace: str) -> dict[str, Any]:
    """Return what a partition's actor is told."""
    return {
        "namespace": namespace,
        "partition": 0,
        "engine": f"{__name__}:open_engine",
        "runner": f"{__name__}:make_runner",
        "codec": f"{__name__}:make_codec",
        "logger": f"{__name__}:make_logger",
        "settings": {
            "store": str(folder),
            "hands": settings.hands_per_process,
            "active": settings.max_concurrent_workflows,
            "pending": settings.max_pending_workflows,
            "checkpoint_ms": settings.checkpoint_interval_ms,
        },
    }


def open_engine(settings: dict[str, Any]) -> EngineParts:
    """Open and claim the store's partition, inside the partition's actor."""
    folder = settings["store"]
    make_installed_known()
    exists = (Path(folder) / "events.db").exists()
    store = SqliteEventStore.open(
        folder,
        wall=wall_ms,
        store_id=None if exists else secrets.token_hex(8),
        takeover_after_ms=TAKEOVER_MS,
    )
    limits = Limits(
        max_active_runs=settings["active"],
        max_pending_runs=settings["pending"],
        checkpoint_ms=settings["checkpoint_ms"],
    )
    clock = LogClock.at_claim(store.head().time)
    host = Host(
        store,
        wiring.blob_store(folder),
        wiring.INNER_CODEC,
        owner=wiring.owner_name(),
        limits=limits,
        calendar=CronCalendar(),
        wall=clock.wall,
    )
    return EngineParts(
        host=host,
        codec=wiring.CODEC,
        now=clock.now,
        pack_work=pack_work,
        unpack_outcomes=unpack_outcomes,
        idle=store.idle,
        close=store.close,
        progress=ProgressBoard(folder, host.tells_progress).take,
    )


def make_runner(
    settings: dict[str, Any],
    target: str,
    agent_settings: dict[str, Any],
    on_late: Callable[[list[Outcome]], None],
    on_progress: Progress,
) -> RunnerParts:
    """Make an agent and what executes its actions, inside its actor."""
    hands = settings["hands"]
    log = line_writer("agent")
    runner = wiring.make_runner(
        settings["store"], target, agent_settings, on_late, threads=hands, log=log, on_progress=on_progress
    )
    make_installed_known()
    return RunnerParts(
        runner=runner,
        hands=hands,
        unpack_work=unpack_work,
        pack_outcomes=pack_outcomes,
        codec=wiring.CODEC,
        put_blob=wiring.blob_store(settings["store"]).put,
    )


def make_codec() -> MsgpackCodec:
    return wiring.CODEC


def make_logger(name: str) -> Callable[..., None]:
    """Return what writes one structured line."""
    setup()
    return line_writer(name)

"""Puts the parts together: stores, codecs, runners, and a host in one process.

What crosses into Ray's processes is named by text (``module:function``) and made there.
"""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kos_runtime.adapters.agent_runner.runner import AgentRunner
from kos_runtime.adapters.blob_store.filesystem import FilesystemBlobStore
from kos_runtime.adapters.calendar import CronCalendar
from kos_runtime.adapters.clock import LogClock, wall_ms
from kos_runtime.adapters.codec import MsgpackCodec
from kos_runtime.adapters.event_store.sqlite import SqliteEventStore
from kos_runtime.adapters.progress import ProgressBoard
from kos_runtime.adapters.trusted import TrustedCodec
from kos_runtime.composition.discovery import load_class
from kos_runtime.composition.machines import make_installed_known
from kos_runtime.core.invocation import Outcome
from kos_runtime.engine import messages as msg
from kos_runtime.engine.host import Host
from kos_runtime.engine.limits import Limits
from kos_runtime.simulator.in_process import InProcessHost, MakeRunnerOnThreads

if TYPE_CHECKING:
    # Agents' processes import this module and have no use for the language.
    from kos_runtime.definition.settings import EngineSettings

CODEC = MsgpackCodec()
#: For the partition's own use, behind every door.
INNER_CODEC = TrustedCodec()


def blob_store(folder: str) -> FilesystemBlobStore:
    return FilesystemBlobStore(Path(folder) / "blobs")


def cache_dir(folder: str) -> str:
    """Return the store's folder for what can be built again, made if need be."""
    path = Path(folder) / "cache"
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return str(path)


def make_runner(
    folder: str,
    target: str,
    settings: dict[str, Any],
    on_late: Callable[[list[Outcome]], None],
    *,
    threads: int = 4,
    **more: Any,
) -> AgentRunner:
    """Make what executes one agent's invocations, inside that agent's process."""
    agent = load_class(target)(settings)
    return AgentRunner(
        agent,
        codec=CODEC,
        blobs=blob_store(folder),
        cache_dir=cache_dir(folder),
        on_late=on_late,
        threads=threads,
        **more,
    )


def limits_of(settings: "EngineSettings") -> Limits:
    return Limits(
        max_active_runs=settings.max_concurrent_workflows,
        max_pending_runs=settings.max_pending_workflows,
        checkpoint_ms=settings.checkpoint_interval_ms,
    )


def owner_name() -> str:
    return f"{os.uname().nodename}:{os.getpid()}"


def open_store(folder: str) -> SqliteEventStore:
    """Open a store for writing, made if it is not there."""
    make_installed_known()
    Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
    exists = (Path(folder) / "events.db").exists()
    return SqliteEventStore.open(folder, wall=wall_ms, store_id=None if exists else secrets.token_hex(8))


def open_in_process(
    folder: str, settings: "EngineSettings", *, on_notice: Callable[[msg.Notice], None] | None = None
) -> tuple[InProcessHost, SqliteEventStore]:
    """Own a store in this process, with the agents on threads beside it. Close both when done."""
    store = open_store(folder)
    clock = LogClock.at_claim(store.head().time)
    host = Host(
        store,
        blob_store(folder),
        INNER_CODEC,
        owner=owner_name(),
        limits=limits_of(settings),
        calendar=CronCalendar(),
        wall=clock.wall,
    )
    board = ProgressBoard(folder, host.tells_progress)
    runner: MakeRunnerOnThreads = lambda effect, on_late: make_runner(  # noqa: E731
        folder, effect.target, effect.settings, on_late, threads=settings.hands_per_process, on_progress=board.say
    )
    return InProcessHost(host, clock, runner, hands=settings.hands_per_process, on_notice=on_notice), store

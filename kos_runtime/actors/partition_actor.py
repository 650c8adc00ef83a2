"""The actor of a partition: an inbox, and one engine thread behind it.

Its methods only put things in and wait for answers. It is made without doing anything; ``begin`` starts recovery. A
host that was fenced leaves for good (``exit_actor``: Ray does not start it again); one that does not know what became
of an append ends its process at once, is started again, and finds out behind a new epoch.
"""

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final

import ray

from kos_runtime.actors.commands import pack_answers, unpack_requests
from kos_runtime.actors.engine_loop import EngineLoop
from kos_runtime.actors.failpoints import plant_killer
from kos_runtime.actors.fleet import Fleet
from kos_runtime.actors.parts import EngineParts, OpenEngine, resolve
from kos_runtime.actors.placement import Placement
from kos_runtime.core.errors import Fenced, StoreError
from kos_runtime.ports.codec import Codec

#: What calls run beside each other: people's requests, questions that are answered at once, one long watch.
GROUPS: Final = {"requests": 32, "control": 4, "watch": 4, "peers": 32}
#: Peers' appends are waited for so long, in seconds; then nobody knows, and they ask again.
APPEND_S: Final = 30.0
#: A watch stays open so long, in seconds.
WATCH_S: Final = 5.0


class PartitionActor:
    """See the module. ``setup`` has: ``namespace``, ``partition``, and as importable references with their plain
    settings ``engine``, ``runner``, ``codec``, ``logger``.
    """

    def __init__(self, setup: dict[str, Any]) -> None:
        plant_killer("partition")
        self._setup = setup
        self._loop: EngineLoop | None = None
        self._placement: Placement | None = None
        self._codec: Codec | None = None
        self._beginning = threading.Lock()

    @ray.method(concurrency_group="control")
    def begin(self) -> dict[str, Any]:
        """Start recovery, unless it was started; it goes on behind this call."""
        # After a death the owner's watch and whoever asked something begin it both, in the same moment.
        with self._beginning:
            if self._loop is None:
                self._codec = resolve(self._setup["codec"])()
                log: Callable[..., None] = resolve(self._setup["logger"])("partition")
                loop = EngineLoop(self._open, self._fleet, self._recover, log, self._ended)
                self._log = log
                loop.start()
                self._loop = loop
        return self._about()

    @ray.method(concurrency_group="requests")
    def requests(self, data: bytes, timeout_s: float) -> bytes:
        """Carry out a batch of requests and return its answers, durable by then."""
        loop, codec = self._begun()
        return pack_answers(loop.ask(unpack_requests(data, codec), timeout_s), codec)

    @ray.method(concurrency_group="peers", enable_task_events=False)
    def peers(self, data: bytes) -> bytes:
        """Append to streams of peers, and return ``[log time, answers]`` once that is durable."""
        loop, codec = self._begun()
        rows = loop.ask_disk(codec.unpack(data), APPEND_S)
        return codec.pack([loop.now(), rows])

    @ray.method(concurrency_group="watch")
    def watch(self, wait_s: float = WATCH_S) -> dict[str, Any]:
        """Return the state of things, after recovery or after so many seconds, whichever comes first."""
        loop, _ = self._begun()
        loop.ready.wait(wait_s)
        return self._about()

    @ray.method(concurrency_group="control")
    def agents(self) -> list[dict[str, Any]]:
        """Return the processes: what they are, and the steps that they run."""
        loop, _ = self._begun()
        fleet = loop.fleet
        members = [] if fleet is None else list(fleet.members.values())
        return [
            {
                **member.about,
                "running": [list(key) for key in member.running],
                "open": len(member.open),
                "restarts": 0 if fleet is None else fleet.deaths.get(member.kind, 0),
            }
            for member in members
        ]

    @ray.method(concurrency_group="control")
    def stop(self, timeout_s: float = 10.0, grace_s: float = 0.0) -> bool:
        """Start nothing more, let what runs end within a grace, close the store and let it go.

        Returns:
            Whether everything that ran has ended; what has not is dispatched again by whoever comes next.
        """
        loop, _ = self._begun()
        drained = loop.drain(grace_s)
        loop.stop(timeout_s)
        return drained

    @ray.method(concurrency_group="control")
    def leave(self) -> None:
        """End this actor for good."""
        ray.actor.exit_actor()

    # --- the engine's thread

    def _open(self) -> EngineParts:
        build: OpenEngine = resolve(self._setup["engine"])
        return build(self._setup["settings"])

    def _fleet(self, parts: EngineParts, inbox: "SimpleQueue[Any]") -> Fleet:
        self._placement = Placement(
            namespace=self._setup["namespace"],
            partition=partition_name(self._setup["partition"]),
            make=self._setup["runner"],
            settings=self._setup["settings"],
            put=inbox.put,
            log=self._log,
        )
        return Fleet(parts, inbox, self._placement.start, self._log)

    def _recover(self, parts: EngineParts) -> list[Any]:
        assert self._placement is not None
        return list(self._placement.adopt(parts.host.epoch))

    def _ended(self, error: BaseException | None) -> None:
        match error:
            case None:
                return
            case Fenced():
                # Somebody else owns the log now. Never claim again: leave in a way that Ray does not undo.
                ray.get_runtime_context().current_actor.leave.remote()
            case StoreError() if error.definite:
                # The store cannot be opened, and would not be at the next try either: whoever watches is told.
                return
            case _:
                os._exit(1)

    def _begun(self) -> tuple[EngineLoop, Codec]:
        if self._loop is None or self._codec is None:
            self.begin()
        assert self._loop is not None
        assert self._codec is not None
        return self._loop, self._codec

    def _about(self) -> dict[str, Any]:
        loop = self._loop
        assert loop is not None
        return {
            "pid": os.getpid(),
            "epoch": loop.epoch,
            "ready": loop.ready.is_set() and not loop.failure,
            "idle": loop.idle,
            "active": loop.active,
            "failure": loop.failure,
            "stalled": loop.stalled,
            "notices": list(loop.notices),
        }


def partition_name(partition: int) -> str:
    return f"kos/partition-{partition}"


def make_partition(setup: dict[str, Any]) -> Any:
    """Make the actor of a partition; it does nothing until it is told to begin."""
    return (
        ray.remote(concurrency_groups=GROUPS)(PartitionActor)
        .options(
            name=partition_name(setup["partition"]),
            namespace=setup["namespace"],
            lifetime="detached",
            max_restarts=-1,
            max_task_retries=0,
            num_cpus=0,
        )
        .remote(setup)
    )

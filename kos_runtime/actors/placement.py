"""Making agents' processes: names that are never used twice, resources, and what to say when there is no room."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError
from ray.experimental import internal_kv

from kos_runtime.actors.agent_actor import actor_class
from kos_runtime.actors.fleet import Joined, Member
from kos_runtime.core.failpoint import hit
from kos_runtime.engine.messages import PoolFailed, StartProcess

#: What Ray cannot place within so many seconds is left out.
PLACE_S: Final = 10.0
#: What the cluster has but others hold is waited for so long, in seconds.
BUSY_S: Final = 30.0
#: A process that has found its place may take so long to start and to make its agent, in seconds.
PREPARE_S: Final = 120.0
#: How long processes of an earlier life of the partition may take to say what they hold, in seconds.
INVENTORY_S: Final = 5.0
#: So many processes in a row may die while they start before their pool is given up: one that was killed takes no attempt
#: from the steps that wait for it.
MAX_STARTS: Final = 3
_AT_ONCE: Final = 4
_KV: Final = b"kos"


class Placement:
    """Starts and finds agents' processes, on threads of its own; ``put`` is told of each."""

    def __init__(
        self,
        *,
        namespace: str,
        partition: str,
        make: str,
        settings: dict[str, Any],
        put: Callable[[Any], None],
        log: Callable[..., None],
    ) -> None:
        self._namespace = namespace
        self._partition = partition
        self._make = make
        self._settings = settings
        self._put = put
        self._log = log
        self._said: set[str] = set()
        self._counting = threading.Lock()
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="kos-placement")

    def start(self, effect: StartProcess) -> None:
        """Make a process; ``Joined`` or ``PoolFailed`` follows."""
        self._threads.submit(self._start, effect)

    def adopt(self, epoch: int) -> list[Joined]:
        """Return processes that an earlier life of this partition left behind, and what they hold.

        Those that do not answer in time, or were never prepared, are ended: nobody will hear of them again.
        """
        hit("adopt.before")
        found: dict[Any, tuple[str, Any]] = {}
        for entry in ray.util.list_named_actors(all_namespaces=True):
            name = entry["name"]
            if entry["namespace"] == self._namespace and not name.startswith("kos/"):
                handle = self._find(name)
                if handle is not None:
                    found[handle.inventory.remote(epoch)] = (name, handle)
        ready, late = ray.wait(list(found), num_returns=len(found), timeout=INVENTORY_S) if found else ([], [])
        joined = [each for ref in ready if (each := self._adopted(ref, *found[ref])) is not None]
        for ref in late:
            name, handle = found[ref]
            self._log("process_silent", process=name, waited_s=INVENTORY_S)
            ray.kill(handle, no_restart=True)
        hit("adopt.after")
        return joined

    def _find(self, name: str) -> Any:
        try:
            return ray.get_actor(name, namespace=self._namespace)
        except ValueError:
            return None

    def _adopted(self, ref: Any, name: str, handle: Any) -> Joined | None:
        try:
            answer = ray.get(ref, timeout=INVENTORY_S)
        except (RayActorError, RayTaskError, GetTimeoutError):
            return None
        if answer is None:
            ray.kill(handle, no_restart=True)
            return None
        about, holds, outcomes = answer
        keys = [(run, path, fence) for run, path, fence in holds]
        return Joined(Member(name, about["pool"], about["kind"], about["hands"], handle, about), keys, outcomes)

    def _start(self, effect: StartProcess, died: int = 0) -> None:
        try:
            self._put(self._joined(effect))
        except RayActorError as error:
            died, cause = died + 1, first_line(error)
            self._log("process_not_up", pool=effect.pool, died=died, cause=cause)
            if died < MAX_STARTS:
                self._start(effect, died)
            else:
                text = f"{died} processes of {effect.kind} in a row died while they started: {cause}"
                self._put(PoolFailed(effect.pool, text))
        except _NoRoomError as error:
            if error.text not in self._said:
                self._said.add(error.text)
                self._log("pool_failed", pool=effect.pool, text=error.text)
            self._put(PoolFailed(effect.pool, error.text))
        except Exception as error:
            self._log("pool_failed", pool=effect.pool, text=str(error))
            self._put(
                PoolFailed(effect.pool, f"no process of {effect.kind} can be had: {type(error).__name__}: {error}")
            )

    def _joined(self, effect: StartProcess) -> Joined:
        demand = demanded(effect.resources)
        name = f"{effect.kind}-{self._number(effect.kind)}"
        hit("start.before")
        handle = (
            actor_class(effect.kind)
            .options(
                name=name,
                namespace=self._namespace,
                lifetime="detached",
                max_restarts=0,
                max_task_retries=0,
                **demand,
            )
            .remote(name)
        )
        hit("start.made")
        spec = {
            "pool": effect.pool,
            "kind": effect.kind,
            "target": effect.target,
            "settings": effect.settings,
            "partition": self._partition,
        }
        # The handshake: a process counts when it has answered, not when it was asked for.
        about = self._answer(handle, handle.prepare.remote(self._make, self._settings, spec), effect, demand)
        self._log(
            "process_up",
            process=name,
            pool=effect.pool,
            pid=about["pid"],
            actor_id=about["actor_id"],
            node=about["node"],
        )
        return Joined(Member(name, effect.pool, effect.kind, about["hands"], handle, about))

    def _answer(self, handle: Any, ref: Any, effect: StartProcess, demand: dict[str, Any]) -> dict[str, Any]:
        begun = time.monotonic()
        deadline = begun + PREPARE_S
        patience = PLACE_S
        while True:
            try:
                about: dict[str, Any] = ray.get(ref, timeout=patience)
            except GetTimeoutError:
                waited = time.monotonic() - begun
                # What a process takes counts as taken while it starts, so only the whole cluster tells at once.
                has = ray.cluster_resources() if waited < BUSY_S else ray.available_resources()
                if missing(demand, has) and not self._is_placed(handle):
                    ray.kill(handle, no_restart=True)
                    raise _NoRoomError(
                        no_room(effect, demand, ray.available_resources(), ray.cluster_resources())
                    ) from None
                if time.monotonic() > deadline:
                    ray.kill(handle, no_restart=True)
                    raise _NoRoomError(f"no process of {effect.kind} was ready within {PREPARE_S:g} s") from None
                patience = 5.0
            except RayTaskError as error:
                ray.kill(handle, no_restart=True)
                cause = error.cause if isinstance(error.cause, Exception) else error
                raise _NoRoomError(f"{effect.kind} cannot be made: {type(cause).__name__}: {cause}") from error
            except RayActorError:
                # It died, or it cannot be reached: then nobody would ever hear of it again.
                ray.kill(handle, no_restart=True)
                raise
            else:
                return about

    def _is_placed(self, handle: Any) -> bool:
        """Say whether Ray has given the process its place: then it is only slow to start."""
        from ray._private.state import actors

        entry = actors(handle._actor_id.hex())
        return bool(entry and entry.get("Address", {}).get("IPAddress"))

    def _number(self, kind: str) -> int:
        """Return the next number of a kind: counted in the cluster, so that a restart of the partition goes on."""
        key = f"kos/{self._namespace}/number/{kind}".encode()
        with self._counting:
            last = int(internal_kv._internal_kv_get(key, namespace=_KV) or b"0")
            internal_kv._internal_kv_put(key, str(last + 1).encode(), overwrite=True, namespace=_KV)
        return last + 1


class _NoRoomError(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def first_line(error: Exception) -> str:
    """Return what Ray says of a death, without its list of ids."""
    return str(error).partition("\n")[0].strip()[:300]


def demanded(resources: dict[str, float]) -> dict[str, Any]:
    """Return Ray's options for a demand. Without one an agent asks for nothing, so that any number fits."""
    options: dict[str, Any] = {"num_cpus": 0}
    custom: dict[str, float] = {}
    for name, amount in resources.items():
        match name.lower():
            case "cpu" | "cpus" | "num_cpus":
                options["num_cpus"] = amount
            case "gpu" | "gpus" | "num_gpus":
                options["num_gpus"] = amount
            case "memory":
                options["memory"] = int(amount)
            case _:
                custom[name] = amount
    if custom:
        options["resources"] = custom
    return options


def missing(demand: dict[str, Any], has: dict[str, float]) -> dict[str, float]:
    """Return by how much a demand is above what there is, by Ray's names of resources."""
    wanted = {
        "CPU": float(demand.get("num_cpus", 0)),
        "GPU": float(demand.get("num_gpus", 0)),
        "memory": float(demand.get("memory", 0)),
        **demand.get("resources", {}),
    }
    return {name: amount - has.get(name, 0.0) for name, amount in wanted.items() if amount > has.get(name, 0.0)}


def no_room(effect: StartProcess, demand: dict[str, Any], free: dict[str, float], all_: dict[str, float]) -> str:
    """Return in words what a pool misses, and what the cluster has."""
    lacks = ", ".join(f"{amount:g} {name}" for name, amount in sorted(missing(demand, free).items())) or "a place"
    has = ", ".join(
        f"{free.get(name, 0.0):g} of {all_[name]:g} {name}"
        for name in sorted(all_)
        if not name.startswith(("node:", "object_store"))
    )
    return f"no process of {effect.kind} can be placed: {lacks} more is needed; free in the cluster: {has or 'nothing'}"

"""What an owner holds: its Ray, the partition's actor, and the eye on it.

Ray starts a dead partition again; what it does not do is tell it to begin. That, and telling a death that Ray undoes
from one that is meant, is done here.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayActorError

from kos_runtime.actors.commands import pack_requests, unpack_answers
from kos_runtime.actors.partition_actor import make_partition
from kos_runtime.core.errors import KosError
from kos_runtime.core.workflow.commands import Answer, Command, Rejected
from kos_runtime.ports.codec import Codec

#: How long a call to the partition may go without an answer, in seconds, beyond what it was asked to wait.
_PATIENCE_S: Final = 20.0
#: A dead partition is back within so many seconds, or it has left for good.
RESTART_S: Final = 30.0
#: So many deaths within ``CRASH_WINDOW_S`` seconds are no accident: the owner gives up.
MAX_CRASHES: Final = 6
CRASH_WINDOW_S: Final = 60.0


class PartitionGone(KosError):
    """The partition has left for good; the text says why, as far as it is known."""


class Supervisor:
    """See the module. Its methods may be called from any thread."""

    def __init__(self, setup: dict[str, Any], codec: Codec, log: Callable[..., None]) -> None:
        self._setup = setup
        self._codec = codec
        self._log = log
        self._deaths: list[float] = []
        self._last: dict[str, Any] = {}
        #: How often the partition was started again.
        self.restarts = 0
        self._actor = make_partition(setup)

    @property
    def actor_id(self) -> str:
        return str(self._actor._actor_id.hex())

    def wait_ready(self, timeout: float) -> dict[str, Any]:
        """Begin, and wait for the end of recovery.

        Raises:
            PartitionGone: It cannot begin; the text says why.
            TimeoutError: It is not ready within so many seconds.
        """
        deadline = time.monotonic() + timeout
        self._begin()
        while time.monotonic() < deadline:
            state = self.watch(1.0)
            if state["ready"]:
                return state
        raise TimeoutError(f"the partition was not ready within {timeout:g} s")

    def watch(self, wait_s: float) -> dict[str, Any]:
        """Return the partition's state; begin it again if Ray has started it again.

        Raises:
            PartitionGone: It was fenced, its store refuses, or it dies again and again.
        """
        try:
            state: dict[str, Any] = ray.get(self._actor.watch.remote(wait_s), timeout=wait_s + _PATIENCE_S)
        except (ActorUnavailableError, RayActorError) as error:
            self._count(error)
            state = self._begin()
        except GetTimeoutError:
            state = {**self._last, "ready": False}
        if state.get("failure"):
            raise PartitionGone(state["failure"])
        if self._last and state["pid"] != self._last["pid"]:
            self.restarts += 1
            self._log("partition_restarted", pid=state["pid"], was=self._last["pid"])
        self._last = state
        return state

    def _begin(self) -> dict[str, Any]:
        deadline = time.monotonic() + RESTART_S
        while True:
            try:
                state: dict[str, Any] = ray.get(self._actor.begin.remote(), timeout=_PATIENCE_S)
            except ActorUnavailableError:
                time.sleep(0.05)
            except RayActorError as error:
                if time.monotonic() > deadline or "exit_actor" in str(error) or "intended" in str(error).lower():
                    raise PartitionGone(
                        "another engine owns this store now: this one was fenced and has left"
                    ) from error
                time.sleep(0.1)
            except GetTimeoutError:
                if time.monotonic() > deadline:
                    raise PartitionGone(f"the partition did not begin within {RESTART_S:g} s") from None
            else:
                return state

    def _count(self, error: Exception) -> None:
        now = time.monotonic()
        self._deaths = [*(at for at in self._deaths if now - at < CRASH_WINDOW_S), now]
        self._log("partition_down", cause=str(error).splitlines()[0][:300])
        if len(self._deaths) > MAX_CRASHES:
            raise PartitionGone(
                f"the partition died {len(self._deaths)} times within a minute; its log says why"
            ) from error

    def ask(self, requests: list[tuple[str, Command]], timeout: float = 30.0) -> list[Answer]:
        """Carry out requests. Those whose fate is not known are answered with the code ``unknown``."""
        data = pack_requests(requests, self._codec)
        try:
            answers: bytes = ray.get(self._actor.requests.remote(data, timeout), timeout=timeout + _PATIENCE_S)
        except (RayActorError, GetTimeoutError) as error:
            unknown = Rejected(code="unknown", message=f"the partition went away meanwhile ({type(error).__name__})")
            return [unknown] * len(requests)
        return unpack_answers(answers, self._codec)

    def agents(self) -> list[dict[str, Any]]:
        """Return the live processes of agents; none while the partition is away."""
        try:
            found: list[dict[str, Any]] = ray.get(self._actor.agents.remote(), timeout=_PATIENCE_S)
        except (RayActorError, GetTimeoutError):
            return []
        return found

    def stop(self, timeout: float, grace: float = 0.0) -> None:
        """Let agents end what they run within a grace, and the partition close its store; then end them all.

        Both in seconds.
        """
        try:
            agents = self.agents()
            drained = ray.get(self._actor.stop.remote(timeout, grace), timeout=timeout + grace + 5.0)
            self._log("partition_stopped", drained=drained)
        except (RayActorError, GetTimeoutError):
            return
        for agent in agents:
            try:
                ray.kill(ray.get_actor(agent["name"], namespace=self._setup["namespace"]), no_restart=True)
            except ValueError:
                continue
        ray.kill(self._actor, no_restart=True)

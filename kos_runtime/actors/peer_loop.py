"""The peers of one process of agents on Ray: one thread, the wire to other processes, the way to the partition.

Peers talk to each other directly, actor to actor; the partition is their disk and sees no message. Every call may fail,
and none is waited for by the thread: a message that did not arrive is lost, which the protocol bears, and a question to
the disk that nobody answered is asked again, which is safe, since it says behind which record it goes.
"""

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final

import ray

from kos_runtime.core.failpoint import hit
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.core.peer.process import Peers
from kos_runtime.core.record import BlobRef
from kos_runtime.ports.codec import Codec

Key = tuple[str, str, int]
#: The thread looks at the clock at least so often, in seconds.
MAX_SLEEP: Final = 1.0
#: What is put in one go.
MAX_BATCH: Final = 1_024


class PeerLoop:
    """See the module. It has a thread from the first peer on; ``submit`` and ``cancel`` are the agent's runner's."""

    def __init__(
        self,
        me: str,
        namespace: str,
        partition: str,
        codec: Codec,
        put_blob: Callable[[bytes], BlobRef],
        *,
        submit: Callable[[list[Invocation]], object],
        cancel: Callable[[str, str, int], object],
        acknowledge: Callable[[list[Key]], object],
        hand_out: Callable[[list[Outcome]], None],
    ) -> None:
        self._peers = Peers(me, codec, put_blob)
        self._namespace, self._partition = namespace, partition
        self._codec = codec
        self._submit, self._cancel, self._acknowledge, self._hand_out = submit, cancel, acknowledge, hand_out
        self._inbox: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._handles: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        #: The log's time is so much ahead of this process's monotonic clock, in milliseconds; guessed until it is told.
        self._ahead = time.time_ns() // 1_000_000 - _monotonic()
        self._is_told = False

    @property
    def is_asking(self) -> bool:
        """Whether peers have had places here, so that the agent may have been asked for ballots."""
        return self._thread is not None

    # --- from any thread

    def begin(self, invocations: list[Invocation]) -> None:
        self._put("begin", invocations)

    def receive(self, data: bytes) -> None:
        self._put("receive", data)

    def cancel(self, key: Key) -> None:
        self._put("cancel", key)

    def acknowledge(self, keys: Sequence[Key]) -> None:
        if self._thread is not None:
            self._put("acknowledge", keys)

    def answered(self, outcomes: list[Outcome]) -> None:
        """Take what the agent gave for its peers."""
        self._acknowledge([(o.run, o.path, o.fence) for o in outcomes])
        self._put("answered", outcomes)

    def inventory(self) -> tuple[list[Key], list[Outcome]]:
        """Return the attempts of peers that are here, and outcomes of which nobody has said that they are stored."""
        with self._lock:
            return self._peers.inventory()

    def asking(self) -> list[Key]:
        with self._lock:
            return self._peers.asking()

    def _put(self, kind: str, what: Any) -> None:
        self._inbox.put((kind, what))
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="kos-peers", daemon=True)
                    self._thread.start()

    # --- its own thread

    def _run(self) -> None:
        while True:
            found = self._gather()
            with self._lock:
                now = self._now()
                for kind, what in found:
                    self._take(kind, what, now)
                out = self._peers.flush(now)
            if out.disk:
                self._ask_disk(out.disk)
            for process, data in out.posts.items():
                self._post(process, data)
            if out.asks:
                self._submit(out.asks)
            for key in out.stops:
                self._cancel(*key)
            if out.ended:
                self._hand_out(out.ended)

    def _gather(self) -> list[tuple[str, Any]]:
        due = self._peers.next_due()
        sleep = MAX_SLEEP if due is None else min(max((due - self._now()) / 1_000, 0.0), MAX_SLEEP)
        found = []
        try:
            found.append(self._inbox.get(timeout=sleep) if sleep > 0 else self._inbox.get_nowait())
            while len(found) < MAX_BATCH:
                found.append(self._inbox.get_nowait())
        except Empty:
            pass
        return found

    def _take(self, kind: str, what: Any, now: int) -> None:
        peers = self._peers
        match kind:
            case "begin":
                for invocation in what:
                    self._it_is(self._codec.unpack(invocation.peer)["now"])
                    peers.begin(invocation)
            case "receive":
                peers.receive(what, now)
            case "answered":
                peers.answered(what)
            case "cancel":
                peers.cancel(what, now)
            case "acknowledge":
                peers.acknowledge(what)
            case "told":
                time_there, rows = what
                self._it_is(time_there)
                peers.told(rows, self._now())
            case _:
                peers.untold(what, now)

    def _it_is(self, time_there: int) -> None:
        """The log's time was this when somebody said so: it is no earlier now."""
        ahead = time_there - _monotonic()
        self._ahead = max(self._ahead, ahead) if self._is_told else ahead
        self._is_told = True

    def _now(self) -> int:
        return _monotonic() + self._ahead

    def _ask_disk(self, rows: list[list[Any]]) -> None:
        hit("peer.append.before")
        handle = self._handle(self._partition)
        if handle is None:
            self._inbox.put(("untold", rows))
            return
        ref = handle.peers.remote(self._codec.pack(rows))

        def done(answer: Any, _kept: Any = ref) -> None:
            # Ray ends the process when a reference is dropped before its answer is here: this keeps it.
            if isinstance(answer, BaseException):
                self._handles.pop(self._partition, None)
                self._inbox.put(("untold", rows))
                return
            hit("peer.append.after")
            self._inbox.put(("told", self._codec.unpack(answer)))

        ref._on_completed(done)

    def _post(self, process: str, data: bytes) -> None:
        handle = self._handle(process)
        if handle is not None:
            hit("peer.send.before")
            handle.peer.remote(data)
            hit("peer.send.after")

    def _handle(self, name: str) -> Any:
        handle = self._handles.get(name)
        if handle is None:
            try:
                handle = self._handles[name] = ray.get_actor(name, namespace=self._namespace)
            except ValueError:
                return None
        return handle


def _monotonic() -> int:
    return time.monotonic_ns() // 1_000_000

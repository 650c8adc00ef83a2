"""The peers of all processes of one host, and what is between them: a wire, and the way to the partition and back.

``PeerNet`` is driven by whoever drives the host, on one thread and in its time, real or virtual. ``carry`` is the wire:
here everything arrives at once and in order; who simulates a network puts one in its place.
"""

from collections.abc import Callable, Sequence
from typing import Final

from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.core.peer.process import Peers
from kos_runtime.core.record import BlobRef
from kos_runtime.core.workflow.state import Codec
from kos_runtime.engine import messages as msg

#: Tokens of peers' requests are below zero, so that they are told from people's.
_FIRST: Final = -1_000

Key = tuple[str, str, int]


class PeerNet:
    """See the module. ``ask`` gives an agent of a process something to do; its outcomes come back by ``answered``."""

    def __init__(
        self,
        codec: Codec,
        put_blob: Callable[[bytes], BlobRef],
        *,
        ask: Callable[[str, list[Invocation]], None],
        stop: Callable[[str, list[Key]], None],
    ) -> None:
        self.processes: dict[str, Peers] = {}
        self._codec, self._put_blob = codec, put_blob
        self._ask, self._stop = ask, stop
        self._tokens = _FIRST
        self._asked: dict[int, tuple[str, list[list[object]]]] = {}

    def begin(self, process: str, invocations: Sequence[Invocation]) -> list[Invocation]:
        """Give peers their places; return what is work of another kind."""
        rest = []
        for invocation in invocations:
            if not invocation.peer:
                rest.append(invocation)
                continue
            peers = self.processes.get(process)
            if peers is None:
                peers = self.processes[process] = Peers(process, self._codec, self._put_blob)
            peers.begin(invocation)
        return rest

    def answered(self, process: str, outcomes: Sequence[Outcome]) -> list[Outcome]:
        peers = self.processes.get(process)
        return list(outcomes) if peers is None else peers.answered(outcomes)

    def told(self, answer: msg.PeerAnswer, now: int) -> None:
        process, _ = self._asked.pop(answer.token, ("", []))
        if process in self.processes:
            self.processes[process].told(answer.rows, now)

    def cancel(self, process: str, key: Key, now: int) -> bool:
        peers = self.processes.get(process)
        return peers is not None and peers.cancel(key, now)

    def acknowledge(self, process: str, keys: Sequence[Key]) -> None:
        if process in self.processes:
            self.processes[process].acknowledge(keys)

    def gone(self, process: str) -> None:
        """A process died, and its peers with it."""
        self.processes.pop(process, None)

    def carry(self, process: str, data: bytes, now: int) -> None:
        """Bring bytes to a process; they are lost when it is not there."""
        peers = self.processes.get(process)
        if peers is not None:
            peers.receive(data, now)

    def flush(self, now: int) -> list[msg.Input]:
        """Let everything out that may leave; return what goes into the partition."""
        found: list[msg.Input] = []
        waiting = list(self.processes)
        while waiting:
            name = waiting.pop(0)
            if name not in self.processes:
                continue
            out = self.processes[name].flush(now)
            # Whom something was brought to, and who was answered at once, has more to let out.
            waiting += [process for process in out.posts if process not in waiting]
            if out.asks and name not in waiting:
                waiting.append(name)
            if out.disk:
                self._tokens -= 1
                self._asked[self._tokens] = (name, out.disk)
                found.append(msg.PeerRequest(self._tokens, out.disk))
            if out.stops:
                self._stop(name, out.stops)
            if out.ended:
                found.append(msg.Outcomes(name, out.ended))
            for process, data in out.posts.items():
                self.carry(process, data, now)
            if out.asks:
                self._ask(name, out.asks)
        return found

    def next_due(self) -> int | None:
        return min((due for peers in self.processes.values() if (due := peers.next_due()) is not None), default=None)

    def is_idle(self) -> bool:
        """Say whether no peer has anything under way."""
        return not any(self.processes.values())

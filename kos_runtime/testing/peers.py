"""What the peers of votes recorded, and whether it contradicts what consensus promises."""

from collections.abc import Mapping
from typing import Any, Protocol

from kos_runtime.core.event import rebuild
from kos_runtime.core.identity import run_stream
from kos_runtime.core.machine import Trace, registered, violations
from kos_runtime.core.peer.records import step_of
from kos_runtime.core.record import Record
from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.peers import PAXOS, PEER
from kos_runtime.core.workflow.state import Codec


class Streams(Protocol):
    """What is read of a store."""

    def streams(self, prefix: str) -> list[str]: ...
    def stream(self, stream: str, *, after: int = 0, limit: int = 1_000) -> list[Record]: ...


def traces(log: Streams, codec: Codec, run: str) -> dict[str, Trace]:
    """Return, by their streams, what the peers of a run's votes did, in the order in which it was stored."""
    machine = registered(PEER).machine
    found = {}
    for proposed in _proposed(log, codec, run):
        prefix = f"{proposed.question['stream']}/"
        records = []
        for stream in log.streams(prefix):
            elector = stream.removeprefix(prefix)
            records += [(r.offset, elector, r) for r in _all(log, stream)]
        steps = [
            step_of(record.time, elector, rebuild(record.names, codec.unpack(record.payload)))
            for _, elector, record in sorted(records)
        ]
        setup = machine.initial("", {**proposed.question, "seed": 0}).vote
        found[prefix[:-1]] = Trace(setup, steps)
    return found


def contradictions(log: Streams, codec: Codec, run: str) -> list[str]:
    """Return what the peers of a run recorded that contradicts the invariants of consensus; nothing when they hold."""
    invariants: Mapping[str, Any] = registered(PEER).invariants
    return [
        f"{path}: {found}" for path, trace in traces(log, codec, run).items() for found in violations(trace, invariants)
    ]


def _proposed(log: Streams, codec: Codec, run: str) -> list[ev.ConsensusProposed]:
    return [
        event
        for record in _all(log, run_stream(run))
        if "consensus_proposed" in record.names
        for event in rebuild(record.names, codec.unpack(record.payload))
        if isinstance(event, ev.ConsensusProposed) and event.question.get("agreement") == PAXOS
    ]


def _all(log: Streams, stream: str) -> list[Record]:
    found: list[Record] = []
    while page := log.stream(stream, after=len(found)):
        found += page
    return found

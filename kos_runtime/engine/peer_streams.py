"""The disk of peers: each has a stream of its own, to which it appends behind the place that it knows to be the last.

Nothing of a protocol is known here. A row is appended if its attempt is the last that opened the stream and its place is
the stream's end; so of two lives of one peer only one goes on, and what each has recorded stands before anything that it
says. Whatever many peers append in one round is one commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from kos_runtime.core.chain import EMPTY
from kos_runtime.core.peer.records import peer_stream
from kos_runtime.core.peer.seat import MAX_RECORD
from kos_runtime.core.plan.model import Consensus
from kos_runtime.core.record import Batch
from kos_runtime.core.workflow.peers import agreement_of, book_of, joined, stream_of
from kos_runtime.core.workflow.state import Run
from kos_runtime.engine import messages as msg
from kos_runtime.engine.recorder import Meta

if TYPE_CHECKING:
    from kos_runtime.engine.partition import Partition

#: Streams that nobody has appended to for longest are forgotten, and read again when they are wanted.
MAX_KNOWN: Final = 10_000


@dataclass(slots=True)
class Known:
    """The end of a stream, and which attempt may append to it."""

    run: str
    meta: Meta
    fence: int = 0


class PeerStreams:
    """See the module. A part of the partition."""

    def __init__(self, partition: "Partition") -> None:
        self._partition = partition
        self.loads: list[msg.Load] = []
        self.pending: dict[str, tuple[Known, list[Any]]] = {}
        self.answers: dict[int, list[list[Any]]] = {}
        self._known: dict[str, Known] = {}
        self._waiting: dict[str, list[tuple[int, list[Any]]]] = {}

    def asked(self, item: msg.PeerRequest) -> None:
        self.answers.setdefault(item.token, [])
        for row in item.rows:
            self._ask(item.token, row, None)

    def loaded(self, item: msg.PeerLoaded) -> None:
        if item.stream not in self._known:
            # Of one that is known the end may be further on than what is stored.
            run = self._waiting[item.stream][0][1][1]
            salt = item.salt or self._salt(run, item.stream)
            meta = Meta(salt, item.last_hash or EMPTY, len(item.records), self._partition.time, new=not item.salt)
            meta.offset = item.last_offset
            self._known[item.stream] = Known(run, meta)
            while len(self._known) > MAX_KNOWN:
                del self._known[next(iter(self._known))]
        for token, row in self._waiting.pop(item.stream):
            self._ask(token, row, item.records)

    def record(self, batch: Batch) -> None:
        """Put what was appended into a batch."""
        for stream, (known, written) in self.pending.items():
            self._partition.recorder.peer(known.run, stream, known.meta, written, "peer", batch)
        self.pending = {}

    def answered(self) -> list[msg.PeerAnswer]:
        answers, self.answers = self.answers, {}
        return [msg.PeerAnswer(token, rows) for token, rows in answers.items()]

    # --- inside

    def _salt(self, run: str, stream: str) -> bytes:
        # Nobody can guess it who does not know the run's own, with which it goes when that is purged.
        return sha256(self._partition.metas[run].salt + stream.encode()).digest()[:16]

    def _ask(self, token: int, row: list[Any], records: list[list[Any]] | None) -> None:
        kind, run_id, path, fence, stream, number, *more = row
        step_path = path[: path.rfind("[")]
        run = self._partition.runs.get(run_id)
        known = self._known.get(stream)
        vote = None if run is None else _vote(run, path, stream)
        book = {} if run is None or vote is None else book_of(run, step_path, vote)

        def answer(code: str, found: Sequence[Any] = ()) -> None:
            position = 0 if known is None else known.meta.position + len(self.pending.get(stream, (None, ()))[1])
            self.answers[token].append([run_id, path, fence, stream, number, code, position, book, list(found)])

        has_place = run is not None and vote is not None and run.open.get(path) == fence
        if run is None and run_id in self._partition._parked:
            answer("later")
        elif not has_place and (kind == "open" or known is None or known.fence != fence):
            answer("closed")
        elif stream in self.pending:
            # One append of a stream in one commit, so that its end is known.
            answer("later")
        elif known is None or (records is None and (kind == "open" or more[0] != known.meta.position)):
            self._waiting.setdefault(stream, []).append((token, row))
            if len(self._waiting[stream]) == 1:
                self.loads.append(msg.LoadPeer(stream))
        elif kind == "open":
            assert run is not None
            if not records and run.steps[path].joined:
                answer("lost")
            else:
                known.fence = max(known.fence, fence)
                answer("ok", records or ())
        elif known.fence not in {0, fence}:
            answer("closed")
        elif more[0] != known.meta.position:
            answer("conflict", (records or [])[more[0] :])
        elif any(len(payload) > MAX_RECORD for _, payload in more[1]):
            answer("oversize")
        else:
            self._append(known, stream, path, fence, more[1])
            answer("ok")

    def _append(self, known: Known, stream: str, path: str, fence: int, written: list[Any]) -> None:
        known.fence = fence
        self.pending[stream] = (known, written)
        partition = self._partition
        run = partition.runs.get(known.run)
        if run is None:
            return
        step = run.steps.get(path)
        if step is not None and not step.joined:
            partition._decide(run, f"peer:{path}@{fence}", joined, path)
        if step is not None and (process := partition.pools.processes.get(step.agent)) is not None:
            # Its agent has answered: if the process dies now, that is not to blame.
            process.begun.discard((known.run, path, fence))


def _vote(run: Run, path: str, stream: str) -> Consensus | None:
    """Return the vote in which the peer of a stream has a place at a path."""
    step = run.steps.get(path)
    vote = None if step is None else agreement_of(step)
    if step is None or vote is None or not 0 <= step.index < len(vote.electors):
        return None
    own = peer_stream(stream_of(run, path[: path.rindex("[")]), vote.electors[step.index])
    return vote if stream == own else None


def refused(item: msg.PeerRequest) -> list[list[Any]]:
    """Return what peers are told while nothing can be stored: to ask again."""
    return [[*row[1:6], "later", 0, {}, []] for row in item.rows]

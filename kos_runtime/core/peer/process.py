"""The peers of one process: what goes in, what comes out. Pure; whoever owns the process gives it time, a disk and a wire.

::

    peers.begin(invocation)     a peer has its place here
    peers.receive(data, now)         bytes of another process's peers
    peers.told(rows, now)            what the disk answered; ``peers.untold(rows)`` when nobody knows
    peers.answered(outcomes)         what the agent was asked for; returns those outcomes that are none of the peers'
    out = peers.flush(now)           what leaves: to the disk, to other processes, to the agent, to the partition

A peer's agent is asked under a path of its own, ``verdict[2]%1`` for the first round; it never reaches the log.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kos_runtime.core.failure import ErrorType, failure
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.core.machine import Commanded, Consult, Machine, Received, UnknownMachine, machine_named
from kos_runtime.core.peer.records import envelope_of, envelope_plain, peer_stream
from kos_runtime.core.peer.seat import MAX_UNSENT, Key, Seat
from kos_runtime.core.record import INLINE_LIMIT, BlobRef
from kos_runtime.core.workflow.state import Codec

#: Between a peer's path and the round in which its agent is asked.
ROUND: Final = "%"
#: A peer that has come to its end, or is called off, goes on so long for those that are behind, in milliseconds.
LINGER_MS: Final = 1_000
#: What the disk could not be asked is asked again after so long, in milliseconds.
AGAIN_MS: Final = 50
#: Messages for peers that have no place here yet are kept so long, in milliseconds, and so many of them.
EARLY_MS: Final = 2_000
MAX_EARLY: Final = 1_000
#: A process has room for so many peers.
MAX_PEERS: Final = 1_000


@dataclass(slots=True)
class Out:
    """What leaves a process."""

    #: To the partition, as the peers' disk.
    disk: list[list[Any]] = field(default_factory=list)
    #: To the peers of other processes.
    posts: dict[str, bytes] = field(default_factory=dict)
    #: To the agent of this process, and what of that is to stop.
    asks: list[Invocation] = field(default_factory=list)
    stops: list[Key] = field(default_factory=list)
    #: How the peers' attempts ended.
    ended: list[Outcome] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.disk or self.posts or self.asks or self.stops or self.ended)


class Peers:
    """See the module. ``me`` is the process's name; one thread at a time."""

    def __init__(self, me: str, codec: Codec, put_blob: Callable[[bytes], BlobRef]) -> None:
        self.me = me
        self._codec = codec
        self._put_blob = put_blob
        self._seats: dict[str, Seat] = {}
        self._invocations: dict[str, Invocation] = {}
        self._asked: dict[Key, str] = {}
        #: What the disk is asked once more, and when.
        self._again: list[tuple[int, list[Any]]] = []
        self._unsent: dict[str, list[Any]] = {}
        self._early: dict[str, tuple[int, list[list[Any]]]] = {}
        self._unacknowledged: dict[Key, Outcome] = {}
        self._out = Out()

    def __bool__(self) -> bool:
        return bool(self._seats or self._early)

    # --- from the partition

    def begin(self, invocation: Invocation) -> None:
        """Give a peer its place. One that is there already under this fence stays as it is."""
        key = (invocation.run, invocation.path, invocation.fence)
        if key in self._unacknowledged:
            self._out.ended.append(self._unacknowledged[key])
            return
        plain = self._codec.unpack(invocation.peer)
        stream = peer_stream(plain["vote"]["stream"], plain["elector"])
        held = self._seats.get(stream)
        if held is not None and held.key[2] >= invocation.fence:
            return
        if len(self._seats) >= MAX_PEERS:
            self._fail(key, ErrorType.RESOURCE, f"{self.me} has no room for a further peer")
            return
        try:
            machine: Machine[Any] = machine_named(plain["machine"])
            seat = Seat(key, stream, plain["elector"], machine, plain["vote"], self._codec)
        except (UnknownMachine, ValueError) as error:
            self._fail(key, ErrorType.RESOURCE, str(error))
            return
        if held is not None:
            self._drop(held)
        self._seats[stream], self._invocations[stream] = seat, invocation
        if plain["fresh"]:
            # It need not be read: should there be another life of this peer, only one of the two can write first.
            seat.opened(())
        else:
            self._out.disk.append(self._request(seat))
        _, early = self._early.pop(stream, (0, []))
        self._deliver(seat, early)

    def cancel(self, key: Key, now: int) -> bool:
        """Call a peer off. It asks nobody any more, and goes on for a moment, so that who is behind hears of the end."""
        for seat in self._seats.values():
            if seat.key == key:
                seat.closing_at = seat.closing_at or now + LINGER_MS
                self._stop_asking(seat)
                return True
        return False

    def acknowledge(self, keys: Sequence[Key]) -> None:
        for key in keys:
            self._unacknowledged.pop(key, None)

    def inventory(self) -> tuple[list[Key], list[Outcome]]:
        """Return the attempts whose peers are here, and the outcomes of which nobody has said that they are stored."""
        open_ = [seat.key for seat in self._seats.values() if seat.outcome is None and not seat.closing_at]
        return open_, list(self._unacknowledged.values())

    def asking(self) -> list[Key]:
        """Return the attempts of peers whose agents are at work on a ballot."""
        return [(run, path.partition(ROUND)[0], fence) for run, path, fence in self._asked]

    # --- from the disk, the wire, the agent

    def told(self, rows: Sequence[Sequence[Any]], now: int) -> None:
        """Take the disk's answers: ``[run, path, fence, stream, number, code, position, book, records]``."""
        for row in rows:
            self._told(row, now)

    def _told(self, row: Sequence[Any], now: int) -> None:
        run, path, fence, stream, number, code, position, book, records = row
        seat = self._seats.get(stream)
        if seat is None or seat.key != (run, path, fence) or seat.number != number:
            return
        seat.book.update(book)
        match code:
            case "later":
                self._again.append((now + AGAIN_MS, self._request(seat)))
            case "ok" if not seat.is_open:
                try:
                    seat.opened(records)
                except ValueError as error:
                    self._fail(seat.key, ErrorType.PERMANENT, f"what {seat.stream} holds cannot be read: {error}")
                    self._drop(seat)
            case "ok" if position == seat.position + len(seat.writing):
                seat.stored(now)
            case "conflict" if seat.is_open and seat.writing and seat.is_mine(records):
                # It was stored, and the answer was lost.
                seat.stored(now)
            case "oversize":
                self._fail(
                    seat.key, ErrorType.PERMANENT, f"oversize: a record of {seat.stream} is too large to be kept"
                )
                self._drop(seat)
            case "lost":
                self._fail(seat.key, ErrorType.PERMANENT, f"undecidable: what {seat.stream} had recorded is gone")
                self._drop(seat)
            case _:
                # Another life of this peer has its place now, or its vote is over: it says nothing more.
                self._drop(seat)

    def untold(self, rows: Sequence[Sequence[Any]], now: int) -> None:
        """Nobody knows what became of what the disk was asked: ask again, which is safe."""
        for row in rows:
            seat = self._seats.get(row[4])
            if seat is not None and seat.number == row[5]:
                self._again.append((now + AGAIN_MS * 4, list(row)))

    def receive(self, data: bytes, now: int) -> None:
        """Take what another process's peers say. Bytes that are nothing of that kind are dropped, as if they were lost."""
        try:
            sender, rows = self._codec.unpack(data)
            rows = [(str(stream), list(plain)) for stream, plain in rows]
        except (ValueError, TypeError):
            return
        for stream, plain in rows:
            seat = self._seats.get(stream)
            if seat is None:
                _, early = self._early.setdefault(stream, (now, []))
                if len(early) < MAX_EARLY:
                    early.append([sender, plain])
            else:
                self._deliver(seat, [[sender, plain]])

    def _deliver(self, seat: Seat, found: Sequence[Sequence[Any]]) -> None:
        for sender, plain in found:
            try:
                envelope = envelope_of(plain)
            except ValueError:
                continue
            seat.book[envelope.sender] = sender
            seat.take(Received(envelope))

    def answered(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Take what peers' agents gave; return the outcomes that are no ballots."""
        if not self._asked:
            return list(outcomes)
        rest = []
        for outcome in outcomes:
            key = (outcome.run, outcome.path, outcome.fence)
            stream = self._asked.pop(key, None)
            if stream is None:
                rest.append(outcome)
                continue
            seat = self._seats.get(stream)
            if seat is None or seat.closing_at:
                continue
            number = int(outcome.path.rpartition(ROUND)[2])
            seat.take(Commanded({"round": number, **self._given(outcome)}))
        return rest

    def _given(self, outcome: Outcome) -> dict[str, Any]:
        if outcome.error is not None:
            return {"failed": outcome.error.message}
        if outcome.blobs:
            return {"failed": "what it gave is too large for a ballot"}
        given = self._codec.unpack(outcome.exposed)
        return {"given": given.get("result", given)}

    # --- what leaves

    def flush(self, now: int) -> Out:
        """Decide what there is to decide and return what leaves."""
        for at, row in self._again[:]:
            if at <= now:
                self._again.remove((at, row))
                self._out.disk.append(row)
        for seat in list(self._seats.values()):
            if 0 < seat.closing_at <= now:
                self._drop(seat)
                continue
            seat.fire(now)
            self._let_out(seat, now)
            if seat.decide(now):
                self._out.disk.append(self._request(seat))
            self._let_out(seat, now)
        for stream, (since, _) in list(self._early.items()):
            if now - since >= EARLY_MS:
                del self._early[stream]
        out, self._out = self._out, Out()
        out.posts = {process: self._codec.pack([self.me, rows]) for process, rows in self._unsent.items()}
        self._unsent = {}
        return out

    def next_due(self) -> int | None:
        """Return the instant at which ``flush`` must be called even if nothing comes."""
        due = [at for at, _ in self._again]
        due += [at for seat in self._seats.values() if (at := seat.next_due()) is not None]
        due += [since + EARLY_MS for since, _ in self._early.values()]
        return min(due, default=None)

    def _request(self, seat: Seat) -> list[Any]:
        if not seat.is_open:
            return ["open", *seat.key, seat.stream, seat.number]
        return [
            "append",
            *seat.key,
            seat.stream,
            seat.number,
            seat.position,
            [list(written) for written in seat.writing],
        ]

    def _let_out(self, seat: Seat, now: int) -> None:
        for consult in seat.asks:
            if not seat.closing_at:
                self._ask(seat, consult)
        seat.asks = []
        kept = []
        for envelope in seat.posts:
            process = seat.book.get(envelope.recipient)
            if process is None:
                kept.append(envelope)
                continue
            row = [peer_stream(seat.vote, envelope.recipient), envelope_plain(envelope)]
            self._unsent.setdefault(process, []).append(row)
        seat.posts = kept[-MAX_UNSENT:]
        if seat.outcome is not None and not seat.closing_at and seat.reports_at <= now:
            seat.closing_at = now + LINGER_MS
            self._end(self._ended(seat))

    def _ask(self, seat: Seat, consult: Consult) -> None:
        invocation = self._invocations[seat.stream]
        number = consult.question["round"]
        inputs, lenient = invocation.inputs, invocation.lenient
        if number > 1 and inputs:
            shown = {"round": number, "before": consult.question["before"]}
            inputs, lenient = self._codec.pack({**self._codec.unpack(inputs), **shown}), True
        asked = invocation._replace(
            path=f"{invocation.path}{ROUND}{number}",
            inputs=inputs,
            lenient=lenient,
            key=invocation.key if number == 1 else f"{invocation.key}#{number}",
            peer=b"",
        )
        self._asked[asked.run, asked.path, asked.fence] = seat.stream
        self._out.asks.append(asked)

    def _ended(self, seat: Seat) -> Outcome:
        packed = self._codec.pack({"result": seat.outcome})
        if len(packed) <= INLINE_LIMIT:
            return Outcome(*seat.key, exposed=packed)
        ref = self._put_blob(self._codec.pack(seat.outcome))
        return Outcome(*seat.key, exposed=self._codec.pack({}), blobs=[("result", ref, "object", len(seat.outcome))])

    def _fail(self, key: Key, kind: ErrorType, message: str) -> None:
        self._end(Outcome(*key, error=failure(kind, message, step=key[1], recoverable=False)))

    def _end(self, outcome: Outcome) -> None:
        self._unacknowledged[outcome.run, outcome.path, outcome.fence] = outcome
        self._out.ended.append(outcome)

    def _stop_asking(self, seat: Seat) -> None:
        self._out.stops += [key for key, stream in self._asked.items() if stream == seat.stream]

    def _drop(self, seat: Seat) -> None:
        self._stop_asking(seat)
        self._seats.pop(seat.stream, None)
        self._invocations.pop(seat.stream, None)


def is_of_peer(path: str) -> bool:
    """Say whether an attempt is a question to a peer's agent."""
    return ROUND in path


def setup_of(codec: Codec, machine: str, elector: str, vote: Mapping[str, Any], *, fresh: bool, now: int) -> bytes:
    """Return what a peer is told of its place. ``fresh``: its stream is known to be empty at this instant of log time."""
    plain = {"machine": machine, "elector": elector, "vote": dict(vote), "fresh": fresh, "now": now}
    return codec.pack(plain)

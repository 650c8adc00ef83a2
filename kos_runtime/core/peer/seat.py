"""One peer of one vote: its machine, what it waits to have stored, and what leaves once it is.

The four promises of ``core.machine`` are kept here. At most one append is on its way; what comes meanwhile waits, and is
decided in one go when the append is there, so that a burst of messages is one round to the disk. What only the peer's own
agent hears of waits a moment for its answer, and is stored with it. An answer without a
record of its own leaves behind a record all the same: only so is it certain that no other life of this peer has said
something else meanwhile.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kos_runtime.core.envelope import Envelope
from kos_runtime.core.event import describe, rebuild
from kos_runtime.core.machine import (
    Began,
    Concluded,
    Consult,
    Fired,
    Machine,
    Received,
    Run,
    SetTimer,
    Stimulus,
    Transition,
)
from kos_runtime.core.peer.records import PeerActed, Written, cause_plain, envelope_plain
from kos_runtime.core.workflow.state import Codec

#: (run, path, fence) of the attempt whose peer this is.
Key = tuple[str, str, int]
#: So much may wait while an append is on its way; beyond it messages are lost, which the protocol bears.
MAX_WAITING: Final = 10_000
#: So much of what changed nothing is told by the next record.
MAX_HEARD: Final = 200
#: So many envelopes are kept for a peer of which nobody knows yet where it is.
MAX_UNSENT: Final = 200
#: What nobody but a peer's own agent hears of waits so long for the agent's answer, in milliseconds, to be stored with it.
HOLD_MS: Final = 5
#: Who has heard of the end from another reports it after so long, in milliseconds: by then most have been called off.
REPORT_MS: Final = 200
#: A record is at most so large.
MAX_RECORD: Final = 1 << 20


class Seat:
    """See the module. Whoever drives it takes out ``asks`` and ``posts``, and gives ``write`` to the disk."""

    def __init__(
        self, key: Key, stream: str, elector: str, machine: Machine[Any], setup: Mapping[str, Any], codec: Codec
    ) -> None:
        self.key = key
        self.stream = stream
        self.elector = elector
        #: What the streams of all peers of this vote begin with.
        self.vote = stream.rpartition("/")[0]
        self.timers: dict[str, int] = {}
        #: Where the others are, by their names.
        self.book: dict[str, str] = {}
        #: Questions to this peer's agent, and envelopes by recipient, that may leave now.
        self.asks: list[Consult] = []
        self.posts: list[Envelope] = []
        #: How the vote ended for this peer, once that is stored.
        self.outcome: Any = None
        #: When that is to be reported: at once by who tells the others.
        self.reports_at = 0
        #: It is dropped at this instant; 0 while it has a place.
        self.closing_at = 0
        self.position = -1
        self.incarnation = 0
        #: What is on its way to the disk, or waits to be joined by what follows from it until ``held_until``.
        self.writing: list[Written] = []
        self.held_until = 0
        #: What it asks of the disk is counted: of an answer that comes twice the second is none.
        self.number = 1
        self._machine, self._setup, self._codec = machine, setup, codec
        self._run: Run[Any] | None = None
        self._waiting: deque[Stimulus] = deque()
        self._behind: list[tuple[Stimulus, Transition, list[Envelope]]] = []
        self._heard: list[list[Any]] = []
        self._sent = 0

    @property
    def is_open(self) -> bool:
        """Whether its records were read."""
        return self._run is not None

    def opened(self, records: Sequence[Sequence[Any]]) -> None:
        """Come to life from its records, and say what it owes.

        Raises:
            ValueError: They hold what this version does not know.
        """
        facts: list[Any] = []
        lives = 0
        for names, payload in records:
            for fact in rebuild(names, self._codec.unpack(payload)):
                if type(fact) is PeerActed:
                    lives = max(lives, fact.incarnation)
                else:
                    facts.append(fact)
                    if type(fact) is Concluded:
                        self.outcome = fact.outcome
        self.number += 1
        self._run = Run(self._machine, self.elector, self._setup, facts)
        self.position = len(records)
        self.incarnation = lives + 1
        self._waiting.appendleft(Began(self.incarnation))

    def take(self, stimulus: Stimulus) -> None:
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(stimulus)

    def fire(self, now: int) -> None:
        for name, at in list(self.timers.items()):
            if at <= now:
                del self.timers[name]
                self.take(Fired(name))

    def decide(self, now: int) -> list[Written]:
        """Decide what waits, unless an append is on its way; return what is to be appended before anything leaves."""
        if self._run is None or (self.writing and not self.held_until):
            return []
        while self._waiting:
            cause = self._waiting.popleft()
            made = self._run.take(cause, now)
            sends = self._enveloped(made, cause)
            if made.facts or sends:
                acted = PeerActed(
                    self.incarnation, cause_plain(cause), [envelope_plain(envelope) for envelope in sends], self._heard
                )
                self._heard = []
                names, values = describe([acted, *made.facts])
                self.writing.append(Written(names, self._codec.pack(values)))
                self._behind.append((cause, made, sends))
                self.asks.extend(made.consults)
            else:
                if isinstance(cause, Received) and len(self._heard) < MAX_HEARD:
                    self._heard.append([cause_plain(cause), made.ignored])
                self._set(made.timers)
                self.asks.extend(made.consults)
        if self._behind and all(made.consults and not sends for _, made, sends in self._behind):
            self.held_until = self.held_until or now + HOLD_MS
            if now < self.held_until:
                return []
        self.held_until = 0
        return self.writing

    def stored(self, now: int) -> None:
        """What was on its way is on the disk: what follows from it leaves."""
        self.number += 1
        self.position += len(self.writing)
        self.writing = []
        behind, self._behind = self._behind, []
        for cause, made, sends in behind:
            self.posts.extend(sends)
            self._set(made.timers)
            for fact in made.facts:
                if type(fact) is Concluded:
                    self.outcome = fact.outcome
                    self.reports_at = now + REPORT_MS if type(cause) is Received and not sends else now

    def is_mine(self, records: Sequence[Sequence[Any]]) -> bool:
        """Say whether what stands behind this peer's last record is what it had on its way."""
        return [Written(names, payload) for names, payload in records] == self.writing

    def next_due(self) -> int | None:
        reports_at = self.reports_at if not self.closing_at else 0
        due = [*self.timers.values(), *(at for at in (self.closing_at, self.held_until, reports_at) if at)]
        return min(due, default=None)

    def _set(self, timers: Sequence[SetTimer]) -> None:
        for timer in timers:
            self.timers.pop(timer.name, None)
            if timer.at:
                self.timers[timer.name] = timer.at

    def _enveloped(self, made: Transition, cause: Stimulus) -> list[Envelope]:
        found = []
        causation = cause.envelope.id if type(cause) is Received else ""
        for send in made.sends:
            self._sent += 1
            envelope = Envelope(self.elector, send.to, self._sent, self.incarnation, send.body, self.stream, causation)
            found.append(envelope)
        return found

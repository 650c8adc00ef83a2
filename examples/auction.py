"""A protocol of one's own: an auctioneer calls, bidders ask their agents, and the highest offer wins.

A machine decides and folds, and does nothing else; what it records is stored before anything of it goes out. Other
processes import it from here, so it stands beside the script that runs it, ``run_auction.py``, and not in it.
"""

from dataclasses import dataclass, field
from typing import Any

from agents import Agent, action
from kos_runtime.core.envelope import message
from kos_runtime.core.event import event
from kos_runtime.core.machine import (
    Answered,
    Began,
    Commanded,
    Concluded,
    Consult,
    Fired,
    Received,
    Send,
    SetTimer,
    Stimulus,
    Transition,
)
from kos_runtime.core.terms import term

HOUSE = "house"


# Whatever is stored or crosses from one process to another has a stable name.
@term("example.auction")
@dataclass(frozen=True, slots=True)
class Auction:
    """What the machine is set up with."""

    lot: str
    bidders: tuple[str, ...]
    closes_ms: int = 60_000


@message("example_call")
class Call:
    lot: str


@message("example_offer")
class Offer:
    amount: int


@event("example_called")
class Called:
    """A fact: until then offers are taken."""

    closes: int


@event("example_bid")
class Bid:
    bidder: str
    amount: int


@event("example_estimated")
class Estimated:
    """What a bidder's agent said: it is recorded, so the agent is not asked again."""

    amount: int


@dataclass(slots=True)
class Seat:
    me: str
    setup: Auction
    closes: int = 0
    bids: dict[str, int] = field(default_factory=dict)
    estimate: int | None = None


class Auctions:
    """The machine. One node is the house, all others bid."""

    name = "example-auctions"
    version = 1

    def initial(self, me: str, setup: Auction) -> Seat:
        if not setup.bidders:
            raise ValueError("an auction needs a bidder")
        return Seat(me, setup)

    def evolve(self, state: Seat, fact: Any) -> None:
        match fact:
            case Called():
                state.closes = fact.closes
            case Bid():
                state.bids[fact.bidder] = fact.amount
            case Estimated():
                state.estimate = fact.amount

    def decide(self, state: Seat, stimulus: Stimulus, now: int) -> Transition:
        return self._house(state, stimulus, now) if state.me == HOUSE else self._bidder(state, stimulus)

    def _house(self, state: Seat, stimulus: Stimulus, now: int) -> Transition:
        match stimulus:
            case Began():
                # Also after a crash: it calls those once more who have not bid, and sets its timer again.
                closes = state.closes or now + state.setup.closes_ms
                calls = [Send(name, Call(state.setup.lot)) for name in state.setup.bidders if name not in state.bids]
                return Transition(
                    [] if state.closes else [Called(closes)], sends=calls, timers=[SetTimer("end", closes)]
                )
            case Received(envelope) if envelope.sender not in state.bids:
                bids = {**state.bids, envelope.sender: envelope.body.amount}
                facts: list[Any] = [Bid(envelope.sender, envelope.body.amount)]
                if len(bids) == len(state.setup.bidders):
                    facts.append(Concluded(self._outcome(bids)))
                return Transition(facts)
            case Fired():
                return Transition([Concluded(self._outcome(state.bids))])
        return Transition()

    def _bidder(self, state: Seat, stimulus: Stimulus) -> Transition:
        match stimulus:
            case Received() if state.estimate is not None:
                return Transition(sends=[Send(HOUSE, Offer(state.estimate))])
            case Received(envelope):
                return Transition(consults=[Consult(state.me, envelope.body.lot, envelope.body.lot)])
            case Commanded(Answered() as said):
                amount = 0 if said.error else int(said.value)
                return Transition([Estimated(amount)], sends=[Send(HOUSE, Offer(amount))])
        return Transition()

    def _outcome(self, bids: dict[str, int]) -> dict[str, Any]:
        if not bids:
            return {"error": "nobody has bid"}
        best = max(bids, key=lambda name: (bids[name], name))
        return {"winner": best, "price": bids[best]}


class Collector(Agent):
    """Says what something is worth to it."""

    @action
    def on_question(self, question: str) -> int:
        return 10 * len(question)


class Museum(Agent):
    """Says what something is worth to everybody."""

    @action
    def on_question(self, question: str) -> int:
        return 100 + len(question)

"""A protocol of a stranger's, small and whole: an auctioneer asks bidders, who each ask their agent."""

from dataclasses import dataclass, field
from typing import Any

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
    Refused,
    Send,
    SetTimer,
    Stimulus,
    Transition,
)
from kos_runtime.core.terms import term


@term("auction.setup")
@dataclass(frozen=True, slots=True)
class Auction:
    lot: str
    bidders: tuple[str, ...]
    closes_ms: int = 60_000


@term("auction.withdraw")
@dataclass(frozen=True, slots=True)
class Withdraw:
    bidder: str


@message("auction_call")
class Call:
    lot: str


@message("auction_offer")
class Offer:
    amount: int


@event("auction_bid")
class Bid:
    bidder: str
    amount: int


@event("auction_estimated")
class Estimated:
    amount: int


@event("auction_opened")
class Opened:
    closes: int


@dataclass(slots=True)
class Table:
    me: str
    setup: Auction
    closes: int = 0
    bids: dict[str, int] = field(default_factory=dict)
    estimate: int | None = None


class Auctions:
    """The node ``house`` calls and counts, all others bid what their agents say."""

    name = "auctions"
    version = 1

    def initial(self, me: str, setup: Auction) -> Table:
        if not setup.bidders:
            raise ValueError("an auction needs a bidder")
        return Table(me, setup)

    def evolve(self, state: Table, fact: Any) -> None:
        match fact:
            case Opened():
                state.closes = fact.closes
            case Bid():
                state.bids[fact.bidder] = fact.amount
            case Estimated():
                state.estimate = fact.amount

    def decide(self, state: Table, stimulus: Stimulus, now: int) -> Transition:
        return self._house(state, stimulus, now) if state.me == "house" else self._bidder(state, stimulus)

    def _house(self, state: Table, stimulus: Stimulus, now: int) -> Transition:
        match stimulus:
            case Began():
                closes = state.closes or now + state.setup.closes_ms
                calls = [Send(name, Call(state.setup.lot)) for name in state.setup.bidders if name not in state.bids]
                return Transition(
                    [] if state.closes else [Opened(closes)], sends=calls, timers=[SetTimer("closes", closes)]
                )
            case Received(envelope) if envelope.sender not in state.bids:
                return self._take(state, envelope.sender, envelope.body.amount)
            case Commanded(Withdraw(bidder)):
                if bidder not in state.setup.bidders:
                    return Transition(reply=Refused("not_found", f"{bidder} does not bid"))
                made = self._take(state, bidder, 0)
                made.reply = ("withdrawn", bidder)
                return made
            case Commanded("break"):
                raise RuntimeError("the hammer is gone")
            case Commanded("bids"):
                return Transition(reply=dict(state.bids))
            case Fired():
                return Transition([Concluded(_outcome(state.bids))])
        return Transition(ignored="nothing for the house")

    def _take(self, state: Table, bidder: str, amount: int) -> Transition:
        bids = {**state.bids, bidder: amount}
        over = len(bids) == len(state.setup.bidders)
        return Transition([Bid(bidder, amount), *([Concluded(_outcome(bids))] if over else [])])

    def _bidder(self, state: Table, stimulus: Stimulus) -> Transition:
        match stimulus:
            case Received() if state.estimate is not None:
                return Transition(sends=[Send("house", Offer(state.estimate))])
            case Received(envelope):
                return Transition(consults=[Consult(state.me, f"what of {envelope.body.lot}", envelope.body.lot)])
            case Commanded(Answered() as said):
                amount = 0 if said.error else int(said.value)
                return Transition([Estimated(amount)], sends=[Send("house", Offer(amount))])
        return Transition()


def _outcome(bids: dict[str, int]) -> dict[str, Any]:
    best = max(bids, key=lambda name: (bids[name], name)) if bids else ""
    return {"winner": best, "price": bids.get(best, 0)} if best else {"error": "nobody has bid"}

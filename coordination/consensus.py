"""Consensus between peers: each votes, the rule makes an outcome, and all come to act on the same one.

Three things are kept apart. A *ballot* is what one peer's agent thinks; it is recorded before any other peer hears of it,
and is asked for once. The *rule* (``voting``) makes an outcome of ballots, and "no quorum" and "a tie" are outcomes. The
*agreement* (``paxos``) is about a certificate: ballots with their outcome. Peers that have heard different ballots may
propose different certificates; one is chosen, and each peer works it out again before it accepts it.

A round without an option that won is agreed on like any other, and so all peers begin the next with the same ballots
before them. After the last round the question is dead-locked, which is an outcome too.

Whoever has had its proposal accepted tells everybody, and whoever has decided answers whatever comes later with the
decision; who is behind asks, and catches up by it.
Progress needs a majority up and in reach of each other, for some time: peers that get in each other's way wait for
longer and longer, each by a draw of its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from coordination import paxos
from coordination.ballot import read_ballot
from coordination.certificate import Certificate, certify, read
from coordination.voting import MAX_REASON, Ballot, Question, is_settled, question, unfit
from kos_runtime.core.chance import draw
from kos_runtime.core.envelope import Envelope, message
from kos_runtime.core.event import event
from kos_runtime.core.machine import (
    Began,
    Commanded,
    Concluded,
    Consult,
    Fired,
    Received,
    Recovered,
    Refused,
    Send,
    SetTimer,
    Stimulus,
    Transition,
)

#: The first wait before a proposal that came to nothing is tried again; it doubles up to ``MAX_RETRY_MS``.
RETRY_MS: Final = 200
MAX_RETRY_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Vote:
    """A question put to peers."""

    question: Question
    #: The stream of the coordination; part of every message and of every draw.
    id: str
    #: How long a round waits for ballots.
    deadline_ms: int = 120_000
    rounds: int = 1
    seed: int = 0


def vote_of(setup: Mapping[str, Any]) -> Vote:
    """Return a vote of plain data: ``{stream, subject, options, electors, rule, threshold, participation, deadline_ms, rounds, seed}``.

    Raises:
        ValueError: The question is not in order; the message says what to do.
    """
    asked = question(
        setup["subject"],
        setup["options"],
        setup["electors"],
        rule=setup["rule"],
        threshold=setup["threshold"] or None,
        participation=setup["participation"] or None,
        breaks_ties=setup.get("breaks_ties", False),
    )
    return Vote(asked, setup["stream"], setup["deadline_ms"], setup["rounds"], setup["seed"])


def cast_of(command: Mapping[str, Any]) -> "Cast":
    """Return the ballot that an agent gave, ``{round, given}``; one that is none, or ``{round, failed}``, abstains."""
    number = command["round"]
    if "failed" in command:
        return Cast(number, (), f"its agent failed: {command['failed']}"[:MAX_REASON])
    try:
        return Cast(number, *read_ballot(command["given"]))
    except ValueError as error:
        return Cast(number, (), f"not counted: {error}"[:MAX_REASON])


# --- commands, messages, facts ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cast:
    """A peer's agent has answered what it was consulted on; no choices: it abstains."""

    round: int
    choices: tuple[str, ...]
    reason: str = ""


@message("ballot")
class BallotSent:
    round: int
    choices: tuple[str, ...]
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", tuple(self.choices))


@message("ballots_wanted")
class BallotsWanted:
    """Who has not heard all ballots asks for those that are missing."""

    round: int


@message("decision")
class DecisionSent:
    round: int
    value: bytes


@event("consensus_opened")
class Opened:
    """A round has begun for this peer; ``deadline`` is an instant."""

    round: int
    deadline: int


@event("ballot_cast")
class BallotCast:
    round: int
    choices: tuple[str, ...]
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", tuple(self.choices))


@event("round_decided")
class Decided:
    round: int
    value: bytes
    outcome: str
    option: str


@event("ballot_heard")
class BallotHeard:
    """A note: a ballot of another peer. It can be asked for again."""

    elector: str
    ballot: BallotSent


@event("paxos_answered")
class Answered:
    """A note: an answer to a proposal of this peer."""

    acceptor: str
    answer: Any


@event("rounds_waited")
class Waited:
    """A note: a proposal came to nothing, and the next wait is longer."""

    round: int


# --- state --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Round:
    """One round, as one peer knows it."""

    deadline: int
    ballots: dict[str, Ballot] = field(default_factory=dict)
    acceptor: paxos.Acceptor = field(default_factory=paxos.Acceptor)
    proposer: paxos.Proposer = field(default_factory=paxos.Proposer)
    decided: Certificate | None = None
    waits: int = 0


@dataclass(slots=True)
class Peer:
    """One peer's state."""

    me: str
    vote: Vote
    others: tuple[str, ...]
    is_elector: bool
    incarnation: int = 1
    rounds: list[Round] = field(default_factory=list)
    concluded: bool = False

    @property
    def current(self) -> int:
        """The number of the newest round, from 1; 0 before the first."""
        return len(self.rounds)


class ConsensusPeer:
    """The machine of one peer. Its setup is a ``Vote``, or plain data of one; its node's name is an elector's."""

    name = "consensus"
    version = 1

    def initial(self, me: str, setup: Vote | Mapping[str, Any]) -> Peer:
        if not isinstance(setup, Vote):
            setup = vote_of(setup)
        names = [name for name, _ in setup.question.electors]
        return Peer(me, setup, tuple(name for name in names if name != me), me in names)

    # --- folding --------------------------------------------------------------------------------

    def evolve(self, state: Peer, fact: Any) -> None:
        kind = type(fact)
        if kind is Opened:
            state.rounds.append(Round(fact.deadline))
        elif kind is BallotCast:
            state.rounds[fact.round - 1].ballots[state.me] = Ballot(state.me, fact.choices, fact.reason)
        elif kind is BallotHeard:
            heard = fact.ballot
            ballots = state.rounds[heard.round - 1].ballots
            ballots.setdefault(fact.elector, Ballot(fact.elector, heard.choices, heard.reason))
        elif kind is paxos.Promised or kind is paxos.Accepted:
            paxos.fold_acceptor(state.rounds[fact.round - 1].acceptor, fact)
        elif kind is paxos.Proposing:
            paxos.fold_proposer(state.rounds[fact.round - 1].proposer, fact)
        elif kind is Answered:
            self._fold_answer(state.rounds[fact.answer.round - 1].proposer, fact)
        elif kind is Decided:
            state.rounds[fact.round - 1].decided = read(state.vote.question, fact.value)
        elif kind is Waited:
            place = state.rounds[fact.round - 1]
            place.waits += 1
        elif kind is Recovered:
            state.incarnation = fact.incarnation
        elif kind is Concluded:
            state.concluded = True

    def _fold_answer(self, proposer: paxos.Proposer, fact: Answered) -> None:
        answer = fact.answer
        if type(answer) is paxos.Refusal:
            proposer.seen = max(proposer.seen, answer.promised)
        elif type(answer) is paxos.Promise:
            proposer.promises[fact.acceptor] = answer
        else:
            proposer.accepts[fact.acceptor] = True

    # --- deciding -------------------------------------------------------------------------------

    def decide(self, state: Peer, stimulus: Stimulus, now: int) -> Transition:
        if not state.is_elector:
            return Transition(ignored=f"{state.me} is not in the electorate")
        match stimulus:
            case Received(envelope):
                return self._on_message(state, envelope, now)
            case Fired():
                return self._on_timer(state, now)
            case Commanded(command):
                return self._on_command(state, command, now)
            case Began(incarnation):
                return self._begin(state, incarnation, now)

    def _begin(self, state: Peer, incarnation: int, now: int) -> Transition:
        if not state.rounds:
            facts: list[Any] = [] if incarnation == 1 else [Recovered(incarnation)]
            facts.append(Opened(1, now + state.vote.deadline_ms))
            timer = SetTimer("round", now + min(_wait(state, 1, 0), state.vote.deadline_ms))
            return Transition(facts, timers=(timer,), consults=(_consult(state, 1),))
        place, number = state.rounds[-1], state.current
        made = Transition([Recovered(incarnation)])
        if place.decided is not None:
            made.sends = self._tell(state, number, place.decided)
            return made
        mine = place.ballots.get(state.me)
        sends: list[Send] = [Send(to, BallotsWanted(number)) for to in state.others]
        if mine is None:
            made.consults = (_consult(state, number, state.rounds[-2].decided if number > 1 else None),)
        else:
            sends += _to_all(state, BallotSent(number, mine.choices, mine.reason))
        made.sends = sends
        made.timers = (SetTimer("round", now + _wait(state, number, place.waits)),)
        return made

    def _on_command(self, state: Peer, command: Any, now: int) -> Transition:
        if isinstance(command, Mapping):
            return self._on_answer_of_agent(state, command, now)
        if not isinstance(command, Cast):
            return Transition(reply=Refused("invalid", f"a peer takes ballots, not {type(command).__name__}"))
        if not 0 < command.round <= state.current:
            return Transition(reply=Refused("not_found", f"round {command.round} has not begun"))
        place = state.rounds[command.round - 1]
        ballot = Ballot(state.me, tuple(command.choices), command.reason)
        if state.me in place.ballots:
            same = place.ballots[state.me] == ballot
            return Transition(
                reply=None if same else Refused("conflict", f"{state.me} has voted in round {command.round}")
            )
        if problem := unfit(state.vote.question, ballot):
            return Transition(reply=Refused("invalid", problem))
        if place.decided is not None:
            return Transition(reply=Refused("conflict", f"round {command.round} is over"))
        cast = BallotCast(command.round, ballot.choices, ballot.reason)
        # To whom it is to go first; whoever takes that one's place asks for what it misses.
        told = () if _is_first(state) else (Send(min(state.others), BallotSent(cast.round, cast.choices, cast.reason)),)
        made = Transition([cast], sends=told)
        self._propose_if_ready(state, place, command.round, [*place.ballots.values(), ballot], now, made)
        return made

    def _on_answer_of_agent(self, state: Peer, command: Mapping[str, Any], now: int) -> Transition:
        """A peer's own agent was asked: what is no ballot of this question counts as an abstention, with the reason."""
        cast = cast_of(command)
        if problem := unfit(state.vote.question, Ballot(state.me, cast.choices, cast.reason)):
            cast = Cast(cast.round, (), f"not counted: {problem}"[:MAX_REASON])
        return self._on_command(state, cast, now)

    def _on_message(self, state: Peer, envelope: Envelope, now: int) -> Transition:
        body, sender = envelope.body, envelope.sender
        if sender not in state.others:
            return Transition(ignored=f"{sender} is not in the electorate")
        number: int = body.round
        if number > state.current:
            return Transition(ignored=f"round {number} has not begun here")
        place = state.rounds[number - 1]
        kind = type(body)
        if place.decided is not None:
            if kind is DecisionSent or kind is paxos.AcceptedBy:
                return Transition(ignored="decided already")
            return Transition(sends=(Send(sender, DecisionSent(number, place.decided.value)),))
        if kind is paxos.Prepare:
            promised, answer = paxos.on_prepare(place.acceptor, body)
            return Transition(() if promised is None else (promised,), sends=(Send(sender, answer),))
        if kind is paxos.Accept:
            return self._on_accept(state, place, sender, body)
        if kind is BallotSent:
            return self._on_ballot(state, place, sender, body, now)
        if kind is DecisionSent:
            made = Transition([])
            self._decided(state, number, read(state.vote.question, body.value), now, made, tells=False)
            return made
        if kind is BallotsWanted:
            mine = place.ballots.get(state.me)
            if mine is None:
                return Transition(ignored="no ballot yet")
            return Transition(sends=(Send(sender, BallotSent(number, mine.choices, mine.reason)),))
        return self._on_answer(state, place, sender, body, now)

    def _on_ballot(self, state: Peer, place: Round, sender: str, body: BallotSent, now: int) -> Transition:
        if sender in place.ballots:
            return Transition(ignored="that ballot is known")
        ballot = Ballot(sender, body.choices, body.reason)
        if problem := unfit(state.vote.question, ballot):
            return Transition(ignored=problem)
        made = Transition([], notes=(BallotHeard(sender, body),))
        self._propose_if_ready(state, place, body.round, [*place.ballots.values(), ballot], now, made)
        return made

    def _on_accept(self, state: Peer, place: Round, sender: str, body: paxos.Accept) -> Transition:
        try:
            read(state.vote.question, body.value)
        except (ValueError, KeyError, IndexError, TypeError) as error:
            return Transition(ignored=f"{sender} proposed what does not hold: {error}")
        accepted, answer = paxos.on_accept(place.acceptor, body)
        return Transition(() if accepted is None else (accepted,), sends=(Send(sender, answer),))

    # --- proposing ------------------------------------------------------------------------------

    def _propose_if_ready(
        self, state: Peer, place: Round, number: int, ballots: list[Ballot], now: int, made: Transition
    ) -> None:
        """Propose at once when nothing can change any more, if it is this peer's to go first; else after a while."""
        if place.proposer.number > paxos.NONE or not is_settled(state.vote.question, ballots):
            return
        if _is_first(state):
            self._propose(state, place, number, ballots, now, made)
        else:
            made.timers = (SetTimer("round", now + _wait(state, number, 1)),)

    def _propose(
        self, state: Peer, place: Round, number: int, ballots: Iterable[Ballot], now: int, made: Transition
    ) -> None:
        made.timers = (SetTimer("round", now + _wait(state, number, place.waits + 1)),)
        facts = list(made.facts)
        sends = list(made.sends)
        if (
            _is_first(state)
            and place.proposer.number == paxos.NONE
            and state.incarnation == 1
            and place.acceptor.promised == paxos.NONE
        ):
            value = certify(state.vote.question, ballots).value
            first = paxos.Number(1, state.me, 1)
            facts += (paxos.Proposing(number, first, value), paxos.Accepted(number, first, value))
            sends += _to_all(state, paxos.Accept(number, first, value))
            made.notes = (*made.notes, Answered(state.me, paxos.AcceptedBy(number, first)))
        else:
            mine = paxos.next_number(place.proposer, place.acceptor, state.me, state.incarnation)
            asked = paxos.Prepare(number, mine)
            promised, answer = paxos.on_prepare(place.acceptor, asked)
            facts.append(paxos.Proposing(number, mine, None))
            if promised is not None:
                facts.append(promised)
            made.notes = (*made.notes, Answered(state.me, answer))
            sends += _to_all(state, asked)
        made.facts, made.sends = facts, sends
        if not state.others:
            self._alone(state, place, number, ballots, now, made)

    def _alone(
        self, state: Peer, place: Round, number: int, ballots: Iterable[Ballot], now: int, made: Transition
    ) -> None:
        """An electorate of one has agreed with itself as soon as it has recorded what."""
        value = certify(state.vote.question, ballots).value if not place.acceptor.value else place.acceptor.value
        self._decided(state, number, read(state.vote.question, value), now, made)

    def _on_answer(self, state: Peer, place: Round, sender: str, body: Any, now: int) -> Transition:
        proposer = place.proposer
        if type(body) is paxos.Refusal:
            return Transition(notes=(Answered(sender, body),))
        if body.number != proposer.number:
            return Transition(ignored="an answer to an earlier proposal")
        made = Transition([], notes=(Answered(sender, body),))
        electors = len(state.others) + 1
        if type(body) is paxos.Promise:
            promises = {**proposer.promises, sender: body}
            if proposer.value is None and paxos.has_quorum(promises, electors):
                own = certify(state.vote.question, place.ballots.values()).value
                value = paxos.free_value(promises, own)
                asked = paxos.Accept(body.round, body.number, value)
                facts: list[Any] = [paxos.Proposing(body.round, body.number, value)]
                accepted, mine = paxos.on_accept(place.acceptor, asked)
                if accepted is not None:
                    facts.append(accepted)
                made.facts, made.sends = facts, _to_all(state, asked)
                made.notes = (*made.notes, Answered(state.me, mine))
            return made
        if type(body) is paxos.AcceptedBy:
            accepts = {**proposer.accepts, sender: True}
            if paxos.has_quorum(accepts, electors) and proposer.value is not None:
                self._decided(state, body.round, read(state.vote.question, proposer.value), now, made)
            return made
        return Transition(ignored=f"no peer says {type(body).__name__}")

    def _on_timer(self, state: Peer, now: int) -> Transition:
        number = state.current
        place = state.rounds[-1]
        if place.decided is not None:
            return Transition(ignored="decided already")
        ballots = list(place.ballots.values())
        if now < place.deadline and not is_settled(state.vote.question, ballots):
            # Those whose ballots are known are asked too: they may have decided meanwhile.
            made = Transition(sends=[Send(to, BallotsWanted(number)) for to in state.others])
            made.notes = (Waited(number),)
            made.timers = (SetTimer("round", min(place.deadline, now + _wait(state, number, place.waits + 1))),)
            return made
        made = Transition([], notes=(Waited(number),))
        self._propose(state, place, number, ballots, now, made)
        return made

    # --- deciding for good ----------------------------------------------------------------------

    def _decided(
        self, state: Peer, number: int, found: Certificate, now: int, made: Transition, *, tells: bool = True
    ) -> None:
        outcome = found.outcome
        made.facts = [*made.facts, Decided(number, found.value, outcome.kind, outcome.option)]
        made.sends = self._tell(state, number, found) if tells else []
        made.timers = (SetTimer("round", 0),)
        if number == state.current:
            self._go_on(state, number, found, now, made)

    def _go_on(self, state: Peer, number: int, found: Certificate, now: int, made: Transition) -> None:
        """Begin the next round when this one came to nothing, else come to the end."""
        outcome = found.outcome
        if not outcome.is_decided and number < state.vote.rounds:
            deadline = now + state.vote.deadline_ms
            made.facts = [*made.facts, Opened(number + 1, deadline)]
            made.timers = (SetTimer("round", min(deadline, now + _wait(state, number + 1, 0))),)
            made.consults = (_consult(state, number + 1, found),)
            return
        made.facts = [*made.facts, Concluded(result_of(found, number))]

    def _tell(self, state: Peer, number: int, found: Certificate) -> list[Send]:
        return _to_all(state, DecisionSent(number, found.value))


def result_of(found: Certificate, number: int) -> dict[str, Any]:
    """Return a consensus's result as plain data: ``{outcome, accepted, votes, rounds, certificate}``."""
    outcome = found.outcome
    return {
        "outcome": outcome.option if outcome.is_decided else outcome.kind,
        "accepted": outcome.is_decided,
        "votes": [{"elector": b.elector, "choices": list(b.choices), "reason": b.reason} for b in found.ballots],
        "rounds": number,
        "certificate": {"hash": found.hash, "tally": [list(line) for line in outcome.tally]},
    }


def _consult(state: Peer, number: int, before: Certificate | None = None) -> Consult:
    shown = [] if before is None else [[b.elector, list(b.choices), b.reason] for b in before.ballots]
    asked = state.vote.question
    question = {"subject": asked.subject, "options": list(asked.options), "round": number, "before": shown}
    return Consult(state.me, f"{state.vote.id}#{number}/{state.me}", question)


def _to_all(state: Peer, body: Any) -> list[Send]:
    return [Send(to, body) for to in state.others]


def _is_first(state: Peer) -> bool:
    """Whether this peer goes first: the electorate's first by name."""
    return not state.others or state.me < state.others[0]


def _wait(state: Peer, number: int, waits: int) -> int:
    """Return how long to wait, in milliseconds: doubled each time, and by a draw between one and two times that."""
    least = min(RETRY_MS << min(waits, 10), MAX_RETRY_MS)
    return least + int(least * draw(state.vote.seed, f"{state.vote.id}/{state.me}", number * 1_000 + waits, "retry"))

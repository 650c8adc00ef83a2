"""A vote that is counted where its ballots are recorded: the machine of ``agreement: log``.

The log has one writer, which is the agreement: whoever counts does so after the ballots that are in it. Setup, ballots and
outcome are plain data, so that an engine that knows nothing of voting can run it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from coordination.ballot import read_ballot
from coordination.certificate import certify
from coordination.consensus import result_of
from coordination.voting import Ballot, Question, is_settled, question, unfit
from kos_runtime.core.event import event
from kos_runtime.core.machine import Commanded, Concluded, Refused, Stimulus, Transition

#: Commands: ``{"elector", "given"}``, what an elector's agent gave; ``{"closed": True}``, no ballot is still to come;
#: ``{"votes", "rounds"}``, ballots that peers say to have agreed on: the reply is what they make, worked out again.
Command = Mapping[str, Any]


@event("ballot_counted")
class BallotCounted:
    elector: str
    choices: tuple[str, ...]
    reason: str


@dataclass(slots=True)
class Box:
    asked: Question
    on_deadlock: str
    ballots: dict[str, Ballot] = field(default_factory=dict)
    concluded: bool = False


class BallotBox:
    """Its setup is ``{subject, options, electors: {name: weight}, rule, threshold, participation, on_deadlock}``."""

    name = "ballots"
    version = 1

    def initial(self, me: str, setup: Mapping[str, Any]) -> Box:  # noqa: ARG002
        """Return an empty box.

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
        on_deadlock = setup["on_deadlock"]
        if on_deadlock and on_deadlock not in {"fail", "escalate", *asked.options}:
            raise ValueError(f"on_deadlock is fail, escalate or an option, and not {on_deadlock!r}")
        return Box(asked, on_deadlock)

    def evolve(self, state: Box, fact: Any) -> None:
        match fact:
            case BallotCounted():
                state.ballots[fact.elector] = Ballot(fact.elector, tuple(fact.choices), fact.reason)
            case Concluded():
                state.concluded = True

    def decide(self, state: Box, stimulus: Stimulus, now: int) -> Transition:  # noqa: ARG002
        if not isinstance(stimulus, Commanded):
            return Transition(ignored="a ballot box takes ballots only")
        command: Command = stimulus.command
        if state.concluded:
            return Transition(reply=Refused("conflict", "the vote is over"))
        if "votes" in command:
            return Transition(reply=_worked_out(state, command))
        if "closed" in command:
            return Transition([Concluded(_result(state, state.ballots))])
        elector = command["elector"]
        if elector in state.ballots:
            return Transition(reply=Refused("conflict", f"{elector} has voted, and counts once"))
        try:
            ballot = Ballot(elector, *read_ballot(command["given"]))
        except ValueError as error:
            return Transition(reply=Refused("invalid", f"{elector}: {error}"))
        if problem := unfit(state.asked, ballot):
            return Transition(reply=Refused("invalid", f"{elector}: {problem}"))
        ballots = {**state.ballots, elector: ballot}
        facts: list[Any] = [BallotCounted(elector, ballot.choices, ballot.reason)]
        if is_settled(state.asked, list(ballots.values())):
            facts.append(Concluded(_result(state, ballots)))
        return Transition(facts)


def _worked_out(state: Box, command: Command) -> dict[str, Any] | Refused:
    ballots = {}
    for elector, choices, reason in command["votes"]:
        ballot = ballots[elector] = Ballot(elector, tuple(choices), reason)
        if problem := unfit(state.asked, ballot):
            return Refused("invalid", problem)
    return _result(state, ballots, command["rounds"])


def _result(state: Box, ballots: Mapping[str, Ballot], rounds: int = 1) -> dict[str, Any]:
    found = result_of(certify(state.asked, ballots.values()), rounds)
    if not found["accepted"] and state.on_deadlock in state.asked.options:
        # Settled beforehand, and not by the vote: so it is the outcome, and not accepted.
        found["outcome"] = state.on_deadlock
    return found

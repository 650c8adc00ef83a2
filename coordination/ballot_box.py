"""A vote that is counted where its ballots are recorded: the machine of ``agreement: log``.

The log has one writer, which is the agreement: whoever counts does so after the ballots that are in it. Setup, ballots and
outcome are plain data, so that an engine that knows nothing of voting can run it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from coordination.certificate import certify
from coordination.consensus import result_of
from coordination.voting import Ballot, Question, is_settled, question, unfit
from kos_runtime.core.event import event
from kos_runtime.core.machine import Commanded, Concluded, Refused, Stimulus, Transition

#: Commands: ``{"elector", "given"}``, what an elector's agent gave; ``{"closed": True}``, no ballot is still to come.
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


def read_ballot(given: Any) -> tuple[tuple[str, ...], str]:
    """Return the choices and the reason of what an agent gave: an option, yes or no, a list, or an object with a reason.

    Raises:
        ValueError: It is no ballot.
    """
    reason = ""
    if isinstance(given, dict):
        reason = given.get("reason") or ""
        key = next((name for name in ("choices", "choice", "vote") if name in given), None)
        if key is None or not isinstance(reason, str):
            raise ValueError("a ballot is an option, or an object with choice (or choices) and reason")
        given = given[key]
    if given is None:
        return (), reason
    if isinstance(given, bool):
        return ("yes" if given else "no",), reason
    if isinstance(given, str):
        return (given,) if given else (), reason
    if isinstance(given, list) and all(isinstance(choice, str) for choice in given):
        return tuple(given), reason
    raise ValueError(f"a ballot names options, and {given!r:.80} is none")


def _result(state: Box, ballots: Mapping[str, Ballot]) -> dict[str, Any]:
    found = result_of(certify(state.asked, ballots.values()), 1)
    if not found["accepted"] and state.on_deadlock in state.asked.options:
        # Settled beforehand, and not by the vote: so it is the outcome, and not accepted.
        found["outcome"] = state.on_deadlock
    return found

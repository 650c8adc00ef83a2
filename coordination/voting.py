"""How ballots make an outcome: the rules, by their names.

A rule is a function of a question and of the ballots that were cast, in any order, and always gives an outcome: an option
that won, or why none did. It asks nobody and draws nothing. Ties are broken by the declared order of the options, or not
at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Literal

from coordination import schulze
from coordination.quorum import HALF, MAX_OPTIONS, electorate, share
from kos_runtime.core.nearest import nearest

Rule = Literal["majority", "supermajority", "unanimous", "weighted", "approval", "schulze"]
RULES: Final[tuple[Rule, ...]] = ("majority", "supermajority", "unanimous", "weighted", "approval", "schulze")
#: What an elector says who takes part and favours nothing.
ABSTAIN: Final = ""
#: Characters of a reason.
MAX_REASON: Final = 2_000


@dataclass(frozen=True, slots=True)
class Question:
    """What is put to the vote, by whom it is answered, and how the answers count."""

    subject: str
    options: tuple[str, ...]
    #: Electors with their weights, sorted by name. Weights count under ``weighted``, ``approval`` and ``schulze``.
    electors: tuple[tuple[str, int], ...]
    rule: Rule = "majority"
    #: The share of the weight cast, abstentions left out, that an option needs; more than half unless given.
    threshold: Fraction | None = None
    #: The share of the electorate's weight that must take part.
    participation: Fraction = Fraction(0)
    #: Whether the option that was declared first wins a tie; else a tie is the outcome.
    breaks_ties: bool = False


@dataclass(frozen=True, slots=True)
class Ballot:
    """What one elector thinks: an option, several of them in order (``approval``, ``schulze``), or an abstention."""

    elector: str
    choices: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rule makes of ballots."""

    kind: Literal["decided", "no_majority", "tie", "no_quorum"]
    option: str
    #: For each option the weight for it, in the order of the options.
    tally: tuple[tuple[str, int], ...]

    @property
    def is_decided(self) -> bool:
        return self.kind == "decided"

    def to_plain(self) -> dict[str, Any]:
        return {"kind": self.kind, "option": self.option, "tally": [list(line) for line in self.tally]}


def question(
    subject: str,
    options: Sequence[str],
    electors: Mapping[str, int] | Sequence[str],
    *,
    rule: str = "majority",
    threshold: str | None = None,
    participation: str | None = None,
    breaks_ties: bool = False,
) -> Question:
    """Check and return a question.

    Raises:
        ValueError: What is wrong with it, and what to do.
    """
    if rule not in RULES:
        near = nearest(rule, RULES)
        raise ValueError(
            f"no rule {rule!r}" + (f"; did you mean {near!r}?" if near else f"; one of {', '.join(RULES)}")
        )
    if not options:
        raise ValueError("a proposal needs at least one option")
    if len(options) > MAX_OPTIONS:
        raise ValueError(f"a proposal has at most {MAX_OPTIONS} options, not {len(options)}")
    if len(set(options)) != len(options) or ABSTAIN in options:
        raise ValueError("options have different names, and none is empty")
    if not isinstance(electors, Mapping):
        if len(set(electors)) != len(electors):
            twice = next(name for name in electors if list(electors).count(name) > 1)
            raise ValueError(f"{twice!r} stands twice in the electorate")
        electors = dict.fromkeys(electors, 1)
    if rule == "supermajority" and threshold is None:
        raise ValueError("supermajority needs a threshold, for example 2/3")
    least = None if threshold is None else share(threshold)
    if least is not None and least < HALF:
        raise ValueError(f"a threshold is at least 1/2, and {threshold} is below")
    return Question(
        subject,
        tuple(options),
        electorate(electors),
        rule,
        least,
        Fraction(0) if participation is None else share(participation),
        breaks_ties,
    )


def unfit(asked: Question, ballot: Ballot) -> str:
    """Return what is wrong with a ballot, or nothing."""
    if all(ballot.elector != name for name, _ in asked.electors):
        return f"{ballot.elector!r} is not in the electorate"
    for choice in ballot.choices:
        if choice not in asked.options:
            near = nearest(choice, asked.options)
            return f"{choice!r} is no option" + (
                f"; did you mean {near!r}?" if near else f"; one of {', '.join(asked.options)}"
            )
    if len(set(ballot.choices)) != len(ballot.choices):
        return "an option stands twice in the ballot"
    if len(ballot.choices) > 1 and asked.rule not in {"approval", "schulze"}:
        return f"under {asked.rule} a ballot names one option, not {len(ballot.choices)}"
    if len(ballot.reason) > MAX_REASON:
        return f"a reason has at most {MAX_REASON} characters"
    return ""


def weight_of(asked: Question, weight: int) -> int:
    return weight if asked.rule in {"weighted", "approval", "schulze"} else 1


def tally(asked: Question, ballots: Iterable[Ballot]) -> Outcome:
    """Return what the rule makes of the ballots. Of each elector at most one, and each fits: the caller has seen to it."""
    weights = {name: weight_of(asked, weight) for name, weight in asked.electors}
    cast = sorted(ballots, key=_by_elector)
    present = sum(weights[ballot.elector] for ballot in cast)
    spoken = sum(weights[ballot.elector] for ballot in cast if ballot.choices)
    found = dict.fromkeys(asked.options, 0)
    for ballot in cast:
        for choice in ballot.choices if asked.rule == "approval" else ballot.choices[:1]:
            found[choice] += weights[ballot.elector]
    lines = tuple(found.items())
    if not spoken or present < asked.participation * sum(weights.values()):
        return Outcome("no_quorum", "", lines)
    if asked.rule == "schulze":
        return _led(
            asked, schulze.order([(b.choices, weights[b.elector]) for b in cast if b.choices], asked.options)[0], lines
        )
    most = max(found.values())
    leaders = [option for option in asked.options if found[option] == most]
    if not _is_enough(asked, most, spoken, present):
        kind: Literal["tie", "no_majority"] = (
            "tie" if len(leaders) > 1 and most * len(leaders) == spoken else "no_majority"
        )
        if kind == "tie" and asked.breaks_ties and asked.threshold is None and asked.rule in {"majority", "weighted"}:
            return Outcome("decided", leaders[0], lines)
        return Outcome(kind, "", lines)
    return _led(asked, leaders, lines)


def _by_elector(ballot: Ballot) -> str:
    return ballot.elector


def _is_enough(asked: Question, most: int, spoken: int, present: int) -> bool:
    if asked.rule == "unanimous":
        # Who abstains does not object.
        return most == spoken
    if asked.threshold is None or asked.threshold == HALF:
        return 2 * most > (present if asked.rule == "approval" else spoken)
    return most >= asked.threshold * (present if asked.rule == "approval" else spoken)


def _led(asked: Question, leaders: Sequence[str], lines: tuple[tuple[str, int], ...]) -> Outcome:
    if len(leaders) > 1 and not asked.breaks_ties:
        return Outcome("tie", "", lines)
    return Outcome("decided", leaders[0], lines)


def is_settled(asked: Question, ballots: Sequence[Ballot]) -> bool:
    """Say whether no ballot that is still to come can change the outcome.

    Said early for rules that count one option a ballot, with whole weights; for the others when all have spoken.
    """
    if len(ballots) == len(asked.electors):
        return True
    if asked.rule in {"approval", "schulze"} or asked.rule == "unanimous":
        return False
    weights = {name: weight_of(asked, weight) for name, weight in asked.electors}
    everyone = sum(weights.values())
    spoken: dict[str, int] = {}
    present = 0
    for ballot in ballots:
        present += weights[ballot.elector]
        for choice in ballot.choices[:1]:
            spoken[choice] = spoken.get(choice, 0) + weights[ballot.elector]
    most = max(spoken.values(), default=0)
    heard = sum(spoken.values())
    rest = everyone - present
    # The worst that can come: all others speak, and for something else.
    return present >= asked.participation * everyone and _is_enough(asked, most, heard + rest, everyone)

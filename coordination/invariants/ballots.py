"""What a vote that is counted where its ballots are recorded must never do; the names are B1 to B4.

The outcome is worked out anew here, by each rule's own words and not by the code that counts.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product
from typing import Any, Final

from coordination.ballot_box import BallotCounted
from kos_runtime.core.machine import Concluded, Invariant, Trace

#: Ballots that are still to come are tried out in every way, up to so many ways.
_MOST_WAYS: Final = 2_000
Cast = Mapping[str, Sequence[str]]


def _facts(trace: Trace) -> Iterator[Any]:
    for step in trace.steps:
        yield from step.transition.facts


def _cast(trace: Trace) -> dict[str, tuple[str, ...]]:
    return {fact.elector: tuple(fact.choices) for fact in _facts(trace) if isinstance(fact, BallotCounted)}


def once(trace: Trace) -> list[str]:
    """B1: of each elector one ballot, and of nobody else; each names options."""
    counted = Counter(fact.elector for fact in _facts(trace) if isinstance(fact, BallotCounted))
    wrong = [f"{elector} was counted {times} times" for elector, times in counted.items() if times > 1]
    wrong += [f"{elector} is no elector" for elector in counted if elector not in trace.setup["electors"]]
    for elector, choices in _cast(trace).items():
        wrong += [f"{elector} voted for {choice}" for choice in choices if choice not in trace.setup["options"]]
    return wrong


def concluded_once(trace: Trace) -> list[str]:
    """B2: it comes to one end, after which nothing is counted."""
    kinds = [type(fact) for fact in _facts(trace)]
    if kinds.count(Concluded) > 1 or (Concluded in kinds and kinds[-1] is not Concluded):
        return ["something was recorded after the end"]
    return []


def by_the_rule(trace: Trace) -> list[str]:
    """B3: the outcome is what the rule makes of the ballots."""
    setup, cast = trace.setup, _cast(trace)
    for fact in _facts(trace):
        if isinstance(fact, Concluded):
            wins, kind = _winner(setup, cast)
            said = fact.outcome["outcome"] if fact.outcome["accepted"] else ""
            if said != wins:
                return [f"{said or 'nothing'} won, and {wins or 'nothing'} should have ({kind})"]
    return []


def settled(trace: Trace) -> list[str]:
    """B4: what ended before all had voted could not have come out otherwise."""
    setup, cast = trace.setup, _cast(trace)
    closed = any(getattr(step.cause, "command", {}).get("closed") for step in trace.steps)
    missing = [elector for elector in setup["electors"] if elector not in cast]
    ends = [fact for fact in _facts(trace) if isinstance(fact, Concluded)]
    ways = [(), *((option,) for option in setup["options"])]
    if not ends or closed or not missing or len(ways) ** len(missing) > _MOST_WAYS:
        return []
    if setup["rule"] in {"approval", "schulze"}:
        return [f"{setup['rule']} ended while {', '.join(missing)} had not voted"]
    outcomes = {
        _winner(setup, {**cast, **dict(zip(missing, way, strict=True))})[0]
        for way in product(ways, repeat=len(missing))
    }
    return [f"it ended, and could have come to {' or '.join(sorted(outcomes))}"] if len(outcomes) > 1 else []


def _winner(setup: Mapping[str, Any], cast: Cast) -> tuple[str, str]:
    """Return the option that wins, empty for none, and why."""
    rule = setup["rule"]
    weighs = rule in {"weighted", "approval", "schulze"}
    weights = {name: weight if weighs else 1 for name, weight in setup["electors"].items()}
    spoken = {name: choices for name, choices in cast.items() if choices}
    present = Fraction(sum(weights[name] for name in cast))
    if not spoken or present < Fraction(setup["participation"] or 0) * sum(weights.values()):
        return "", "no quorum"
    if rule == "schulze":
        return _condorcet(setup["options"], spoken, weights)
    said = {name: choices if rule == "approval" else choices[:1] for name, choices in spoken.items()}
    favour = {option: sum(weights[name] for name, of in said.items() if option in of) for option in setup["options"]}
    heard = Fraction(sum(weights[name] for name in spoken))
    of_all = present if rule == "approval" else heard
    if rule == "unanimous":
        enough = [option for option, weight in favour.items() if weight == heard]
    elif setup["threshold"] and Fraction(setup["threshold"]) != Fraction(1, 2):
        enough = [option for option, weight in favour.items() if weight >= Fraction(setup["threshold"]) * of_all]
    else:
        enough = [option for option, weight in favour.items() if 2 * weight > of_all]
    best = [option for option in enough if favour[option] == max(favour.values())]
    return (best[0], "most") if len(best) == 1 else ("", "a tie" if best else "not enough")


def _condorcet(options: Sequence[str], spoken: Cast, weights: Mapping[str, int]) -> tuple[str, str]:
    """Return the beatpath winner: whose widest path to each other option is wider than the one back."""
    beats = {
        (one, other): sum(weights[name] for name, ranks in spoken.items() if _prefers(ranks, one, other))
        for one in options
        for other in options
        if one != other
    }
    path = {pair: weight if weight > beats[pair[1], pair[0]] else 0 for pair, weight in beats.items()}
    for via in options:
        for one in options:
            for other in options:
                if len({via, one, other}) == 3:
                    path[one, other] = max(path[one, other], min(path[one, via], path[via, other]))
    best = [one for one in options if all(path[one, other] >= path[other, one] for other in options if other != one)]
    return (best[0], "beats all") if len(best) == 1 else ("", "a tie")


def _prefers(ranks: Sequence[str], one: str, other: str) -> bool:
    if one not in ranks:
        return False
    return other not in ranks or ranks.index(one) < ranks.index(other)


INVARIANTS: Final[Mapping[str, Invariant]] = {
    "B1 once": once,
    "B2 one end": concluded_once,
    "B3 by the rule": by_the_rule,
    "B4 settled": settled,
}

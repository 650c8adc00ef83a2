"""The rules of voting, over random elections: against a plain count, and for what each must keep to whatever the ballots are.

The plain count shares nothing with ``coordination``: paths between options are all walked, one by one. What the rules keep to:
anonymity and neutrality for all; a Condorcet winner wins under ``schulze``, a winner of whom more is said still wins
(monotonicity), who wins alone does not win when every ballot is turned round (reversal symmetry), a twin of an option takes
nothing from it (independence of clones); an outcome that is called settled is changed by no ballot that is still to come; and
a certificate says what its ballots say, or is not read.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from itertools import pairwise, permutations, product
from multiprocessing import get_context
from random import Random
from typing import Any, Final

from coordination import schulze
from coordination.certificate import certify, read
from coordination.voting import RULES, Ballot, Question, is_settled, question, tally

WORKERS: Final = 2
_OPTIONS: Final = ("p", "q", "r", "s", "t")
#: What a plain count says: kind and option.
Said = tuple[str, str]


def drawn(draw: Random) -> tuple[Question, list[Ballot]]:
    """Draw a question and ballots for it; some electors have not voted."""
    rule = draw.choice(RULES)
    options = _OPTIONS[: draw.randint(1, 5)]
    electors = {f"e{number}": draw.choice((1, 1, 1, 2, 3, 5)) for number in range(draw.randint(1, 7))}
    threshold = draw.choice(("1/2", "2/3", "3/4", "1")) if rule == "supermajority" or draw.random() < 0.15 else None
    participation = draw.choice((None, None, "1/2", "1"))
    asked = question(
        "?",
        options,
        electors,
        rule=rule,
        threshold=threshold,
        participation=participation,
        breaks_ties=draw.random() < 0.5,
    )
    most = len(options) if rule in {"approval", "schulze"} else 1
    return asked, [
        Ballot(name, tuple(draw.sample(options, draw.randint(1, most))) if draw.random() < 0.85 else ())
        for name in electors
        if draw.random() < 0.9
    ]


def plain(asked: Question, ballots: Sequence[Ballot]) -> Said:
    """Count anew, slowly."""
    counts = {
        name: weight if asked.rule in {"weighted", "approval", "schulze"} else 1 for name, weight in asked.electors
    }
    here = sum(counts[ballot.elector] for ballot in ballots)
    spoke = sum(counts[ballot.elector] for ballot in ballots if ballot.choices)
    if spoke == 0 or Fraction(here, sum(counts.values())) < asked.participation:
        return "no_quorum", ""
    if asked.rule == "schulze":
        winners = _beatpath([(ballot.choices, counts[ballot.elector]) for ballot in ballots], asked.options)
        return _first(winners, asked)
    votes = {
        option: sum(
            counts[ballot.elector]
            for ballot in ballots
            if option in (ballot.choices if asked.rule == "approval" else ballot.choices[:1])
        )
        for option in asked.options
    }
    best = max(votes.values())
    ahead = [option for option in asked.options if votes[option] == best]
    of = here if asked.rule == "approval" else spoke
    if asked.rule == "unanimous":
        enough = best == spoke
    elif asked.threshold in {None, Fraction(1, 2)}:
        enough = best > Fraction(of, 2)
    else:
        assert asked.threshold is not None
        enough = best >= asked.threshold * of
    if enough:
        return _first(ahead, asked)
    if len(ahead) > 1 and best * len(ahead) == spoke:
        may = asked.breaks_ties and asked.threshold is None and asked.rule in {"majority", "weighted"}
        return ("decided", ahead[0]) if may else ("tie", "")
    return "no_majority", ""


def _first(winners: Sequence[str], asked: Question) -> Said:
    return ("decided", winners[0]) if len(winners) == 1 or asked.breaks_ties else ("tie", "")


def _beatpath(ballots: Sequence[tuple[Sequence[str], int]], options: Sequence[str]) -> list[str]:
    """Return the winners: of every two options all paths between them are walked."""

    def prefers(ranking: Sequence[str], one: str, other: str) -> bool:
        return one in ranking and (other not in ranking or ranking.index(one) < ranking.index(other))

    def over(one: str, other: str) -> int:
        return sum(weight for ranking, weight in ballots if prefers(ranking, one, other))

    link = {
        (one, other): over(one, other) if over(one, other) > over(other, one) else 0
        for one, other in permutations(options, 2)
    }

    def strongest(one: str, other: str) -> int:
        between = [option for option in options if option not in {one, other}]
        ways = ((one, *middle, other) for size in range(len(between) + 1) for middle in permutations(between, size))
        return max(min(link[a, b] for a, b in pairwise(way)) for way in ways)

    paths = {pair: strongest(*pair) for pair in link}
    return [one for one in options if all(paths[one, other] >= paths[other, one] for other in options if other != one)]


# --- what the rules keep to ---------------------------------------------------------------------


def _said(asked: Question, ballots: Sequence[Ballot]) -> Said:
    found = tally(asked, ballots)
    return found.kind, found.option


def _counted(asked: Question, ballots: list[Ballot], draw: Random) -> str:
    """Whether the plain count says the same."""
    del draw
    one, other = _said(asked, ballots), plain(asked, ballots)
    return "" if one == other else f"{one}, a plain count says {other}"


def _anonymous(asked: Question, ballots: list[Ballot], draw: Random) -> str:
    """Whether it does not matter who among equals said what, nor in which order."""
    counts = dict(asked.electors)
    by_weight: dict[int, list[str]] = {}
    for ballot in ballots:
        by_weight.setdefault(counts[ballot.elector], []).append(ballot.elector)
    renamed: dict[str, str] = {}
    for names in by_weight.values():
        renamed.update(zip(names, draw.sample(names, len(names)), strict=True))
    others = [Ballot(renamed[ballot.elector], ballot.choices) for ballot in ballots]
    draw.shuffle(others)
    one, other = _said(asked, ballots), _said(asked, others)
    return "" if one == other else f"{one}, and {other} when others say it"


def _neutral(asked: Question, ballots: list[Ballot], draw: Random) -> str:
    """Whether options are treated alike: under other names, and declared in the same places, the same one wins."""
    names = dict(zip(asked.options, draw.sample(asked.options, len(asked.options)), strict=True))
    other = question(
        "?", [names[option] for option in asked.options], dict(asked.electors), rule=asked.rule,
        threshold=None if asked.threshold is None else str(asked.threshold),
        participation=str(asked.participation) if asked.participation else None, breaks_ties=asked.breaks_ties,
    )  # fmt: skip
    renamed = [Ballot(b.elector, tuple(names[choice] for choice in b.choices)) for b in ballots]
    (kind, option), (its_kind, its_option) = _said(asked, ballots), _said(other, renamed)
    return "" if (kind, names.get(option, "")) == (its_kind, its_option) else f"{option} wins, renamed {its_option}"


def _settled(asked: Question, ballots: list[Ballot], draw: Random) -> str:
    """Whether what is settled stays, whatever at most two electors who are still to vote may say."""
    some = ballots[: draw.randint(0, len(ballots))]
    left = [name for name, _ in asked.electors if all(ballot.elector != name for ballot in some)]
    if len(left) > 2 or not is_settled(asked, some):
        return ""
    before = _said(asked, some)
    said = [*((option,) for option in asked.options), (), None]
    for more in product(said, repeat=len(left)):
        cast = [Ballot(name, choices) for name, choices in zip(left, more, strict=True) if choices is not None]
        if (after := _said(asked, [*some, *cast])) != before:
            return f"{before} was settled, and {cast} makes it {after}"
    return ""


def _certified(asked: Question, ballots: list[Ballot], draw: Random) -> str:
    """Whether a certificate is read, and one that says something else is not."""
    made = certify(asked, ballots)
    shuffled = draw.sample(ballots, len(ballots))
    if certify(asked, shuffled).value != made.value or read(asked, made.value) != made:
        return "its certificate depends on the order of its ballots"
    other = draw.choice([*(option for option in asked.options if option != made.outcome.option), "nobody"])
    forged = made.value.replace(f'"option":"{made.outcome.option}"'.encode(), f'"option":"{other}"'.encode())
    try:
        read(asked, forged)
    except ValueError:
        return ""
    return "a certificate that says something else than its ballots is read"


def _rankings(ballots: Sequence[Ballot]) -> list[tuple[tuple[str, ...], int]]:
    return [(ballot.choices, 1) for ballot in ballots if ballot.choices]


def _condorcet(asked: Question, ballots: list[Ballot], draw: Random) -> str:
    """Whether who beats each other, alone, wins; and whether only those win whom none outside of the best beats (Smith)."""
    del draw
    rankings = _rankings(ballots)
    if not rankings:
        return ""
    options = list(asked.options)
    preferred = schulze.preferences(rankings, options)
    winners = schulze.order(rankings, options)[0]
    size = len(options)
    beats = [[preferred[i][j] > preferred[j][i] for j in range(size)] for i in range(size)]
    for count in range(1, size + 1):
        # The smallest set whose members beat all others.
        for best in _sets(size, count):
            if all(beats[i][j] for i in best for j in range(size) if j not in best):
                outside = [option for option in winners if options.index(option) not in best]
                return f"{outside} wins, and {[options[i] for i in best]} beat all others" if outside else ""
    return ""


def _sets(size: int, count: int) -> Iterator[frozenset[int]]:
    for bits in range(1 << size):
        if bits.bit_count() == count:
            yield frozenset(place for place in range(size) if bits >> place & 1)


def _monotone(asked: Question, ballots: list[Ballot], draw: Random) -> str:
    """Whether who wins still wins when one ballot says more of it."""
    rankings = _rankings(ballots)
    if not rankings:
        return ""
    options = list(asked.options)
    winner = draw.choice(schulze.order(rankings, options)[0])
    place = draw.randrange(len(rankings))
    raised = list(rankings[place][0])
    at = raised.index(winner) if winner in raised else len(raised)
    if winner in raised:
        raised.remove(winner)
    raised.insert(max(0, at - draw.randint(0, 2)), winner)
    after = schulze.order([*rankings[:place], (tuple(raised), 1), *rankings[place + 1 :]], options)[0]
    return "" if winner in after else f"{winner} wins, and no more when it is raised in a ballot"


def _reversal(asked: Question, ballots: list[Ballot], draw: Random) -> str:
    """Whether who wins alone does not win when every ballot, which ranks all, is turned round."""
    options = list(asked.options)
    rankings = [(tuple(draw.sample(options, len(options))), 1) for _ in ballots]
    if len(options) < 2 or not rankings:
        return ""
    forward = schulze.order(rankings, options)
    backward = schulze.order([(ranking[::-1], weight) for ranking, weight in rankings], options)
    wrong = len(forward[0]) == 1 and backward[0] == forward[0]
    return f"{forward[0]} wins forward and backward" if wrong else ""


def _clones(asked: Question, ballots: list[Ballot], draw: Random) -> str:
    """Whether a twin of an option, beside it in every ballot, takes nothing from it and gives nothing to others."""
    options = list(asked.options)
    rankings = [(tuple(draw.sample(options, len(options))), 1) for _ in ballots]
    if not rankings:
        return ""
    twin_of = draw.choice(options)
    doubled = []
    for ranking, weight in rankings:
        at = ranking.index(twin_of) + draw.randint(0, 1)
        doubled.append(((*ranking[:at], "twin", *ranking[at:]), weight))
    before = set(schulze.order(rankings, options)[0])
    after = set(schulze.order(doubled, [*options, "twin"])[0])
    wrong = before - {twin_of} != after - {twin_of, "twin"} or (twin_of in before) != bool(after & {twin_of, "twin"})
    return f"{before} win, and with a twin of {twin_of} {after}" if wrong else ""


_CHECKS: Final[tuple[Callable[[Question, list[Ballot], Random], str], ...]] = (
    _counted, _anonymous, _neutral, _settled, _certified, _condorcet, _monotone, _reversal, _clones,
)  # fmt: skip


def one(seed: int) -> str:
    """Hold one election, and ask everything of it."""
    draw = Random(f"{seed}/election")
    asked, ballots = drawn(draw)
    for check in _CHECKS:
        if said := check(asked, ballots, draw):
            return f"seed {seed}, {check.__name__[1:]}, {asked.rule}: {said}"
    return ""


def _some(first: int, count: int) -> list[str]:
    return [said for seed in range(first, first + count) if (said := one(seed))]


def run(count: int, seed: int, share: float = 1.0) -> dict[str, Any]:
    """Hold so many elections; ``violations`` are sentences with the seed that shows each."""
    del share
    first = (seed % 1_000_000) * 1_000_000
    each = -(-count // WORKERS)
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        parts = pool.map(_some, [first + part * each for part in range(WORKERS)], [each] * WORKERS)
        return {"elections": each * WORKERS, "violations": [said for part in parts for said in part]}


def words(found: dict[str, Any]) -> str:
    return f"{found['elections']} elections, counted twice and asked for {len(_CHECKS)} properties; {len(found['violations'])} violations"

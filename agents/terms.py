"""The words that belong to a topic in a corpus: what its passages have far more often than the rest.

The measure is Dunning's log-likelihood ratio ("Accurate Methods for the Statistics of Surprise and Coincidence", 1993)
over the number of passages that hold a word: it trusts small counts as far as they can be trusted.
"""

# ruff: noqa: SIM905 - a list of words reads better as text

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log
from typing import Final

from agents.corpus.index import Hit, Index
from agents.sentences import split_text
from agents.text import is_telling, normal, stem, words
from agents.topic import Topic

#: So many pairs of words are counted in the whole corpus.
_PAIRS: Final = 60


@dataclass(frozen=True, slots=True)
class Term:
    """A word or a pair of words as the corpus writes it, how strongly it belongs to the topic, and where it stands."""

    text: str
    stems: frozenset[str]
    strength: float
    hits: frozenset[int]
    is_noun: bool


def related(index: Index, topic: Topic, hits: Sequence[Hit]) -> list[Term]:
    """Return the terms of the passages about a topic that the topic itself has not, strongest first."""
    seen = _Seen()
    known: set[str] = set()
    for hit in hits:
        for sentence in split_text(hit.passage.text):
            # A sentence that is copied from page to page is said once.
            if (key := normal(sentence)) not in known:
                known.add(key)
                seen.read(hit, sentence, topic)
    relevance = {hit.number: topic.relevance(index.stems_of(hit)) for hit in hits}
    best = max(relevance.values(), default=1.0) or 1.0

    def pull(holding: set[int]) -> float:
        # Where a term stands counts twice: what the best passages have leads to more of their kind.
        return (sum(relevance[number] for number in holding) / len(holding) / best) ** 2

    terms = [
        Term(
            seen.form((found,)),
            frozenset((found,)),
            _strength(len(holding), len(hits), index.count(found), index.size) * seen.spread((found,)) * pull(holding),
            frozenset(holding),
            seen.is_noun((found,)),
        )
        for (found,), holding in seen.singles()
    ]
    common = sorted(seen.pairs(), key=lambda pair: (-len(pair[1]), pair[0]))
    for pair, holding in common[:_PAIRS]:
        text = seen.form(pair)
        strength = _strength(len(holding), len(hits), index.count_phrase(text), index.size) * seen.spread(pair)
        strength *= pull(holding)
        terms.append(Term(text, frozenset(pair), strength, frozenset(holding), seen.is_noun(pair)))
    terms.sort(key=lambda term: (-term.strength, term.text))
    return terms


class _Seen:
    """Counts of words and pairs by stem: where they stand, how they are written, whether they are used as nouns."""

    def __init__(self) -> None:
        self.holders: defaultdict[tuple[str, ...], set[int]] = defaultdict(set)
        self.forms: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        self.files: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
        self.nouns: Counter[str] = Counter()

    def read(self, hit: Hit, sentence: str, topic: Topic) -> None:
        before = ("", "")
        previous = ""
        for word in words(sentence):
            found = stem(word)
            if found and is_telling(word) and not word.endswith(_VERBAL):
                # English says what is a noun by the word before it; so does this, without a dictionary.
                self.nouns[found] += (previous in _BEFORE_NOUNS) - (previous in _BEFORE_VERBS)
            if not found or found in topic.weights or not is_telling(word):
                before = ("", "")
            else:
                self._add(hit, (found,), word)
                if before[0] and before[0] != found:
                    self._add(hit, (before[0], found), f"{before[1]} {word}")
                before = (found, word)
            previous = word

    def _add(self, hit: Hit, key: tuple[str, ...], form: str) -> None:
        self.holders[key].add(hit.number)
        self.forms[key][form] += 1
        self.files[key].add(hit.passage.path)

    def spread(self, key: tuple[str, ...]) -> float:
        """Return how far a term is spread over files, in (0, 1]: what one file alone says is half a term of the topic."""
        return 1 - 0.5 / len(self.files[key])

    def singles(self) -> Iterator[tuple[tuple[str, ...], set[int]]]:
        return ((key, holding) for key, holding in self.holders.items() if len(key) == 1 and self.nouns[key[0]] >= 0)

    def pairs(self) -> Iterator[tuple[tuple[str, ...], set[int]]]:
        for key, holding in self.holders.items():
            if len(key) == 2 and len(holding) > 1 and self.nouns[key[0]] >= 0 and self.nouns[key[1]] >= 0:
                yield key, holding

    def is_noun(self, key: tuple[str, ...]) -> bool:
        """Whether a term may be a noun, by what stands before it and by its ending."""
        return self.nouns[key[0]] >= 0 and self.nouns[key[-1]] >= 0 and not self.form(key).endswith(_VERBAL)

    def form(self, key: tuple[str, ...]) -> str:
        """The form that is written most, a noun's rather than a verb's; of equals the first in the alphabet."""
        counted = self.forms[key]
        return min(counted, key=lambda form: (form.endswith(_VERBAL), -counted[form], form))


_VERBAL: Final = ("ed", "ing")
_BEFORE_NOUNS: Final = frozenset(
    "the a an this these each every any all no its of their per into from in on by with for between several some both".split()
)
_BEFORE_VERBS: Final = frozenset(
    "to will can could should would may might must cannot not we you they it that which".split()
)


def _strength(inside: int, hits: int, everywhere: int, size: int) -> float:
    """Return the log-likelihood ratio of a term, negative when it is rarer in the hits than elsewhere."""
    everywhere = max(everywhere, inside)
    outside, rest = everywhere - inside, max(size - hits, 1)
    expected = hits * everywhere / size
    expected_outside = rest * everywhere / size
    ratio = 2 * (_surprise(inside, expected) + _surprise(outside, expected_outside))
    return ratio if inside >= expected else -ratio


def _surprise(seen: int, expected: float) -> float:
    return seen * log(seen / expected) if seen and expected else 0.0

"""The words that belong to a topic in a corpus: what its passages have far more often than the rest.

The measure is Dunning's log-likelihood ratio ("Accurate Methods for the Statistics of Surprise and Coincidence", 1993)
over the number of passages that hold a word: it trusts small counts as far as they can be trusted.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Final

from agents.corpus.index import Hit, Index
from agents.sentences import split_text
from agents.text import is_telling, stem, words
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


def related(index: Index, topic: Topic, hits: Sequence[Hit]) -> list[Term]:
    """Return the terms of the passages about a topic that the topic itself has not, strongest first."""
    forms: defaultdict[str, Counter[str]] = defaultdict(Counter)
    holders: defaultdict[str, set[int]] = defaultdict(set)
    pairs: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    pair_forms: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for hit in hits:
        for sentence in split_text(hit.passage.text):
            before = ("", "")
            for word in words(sentence):
                found = stem(word)
                if not found or found in topic.weights or not is_telling(word):
                    before = ("", "")
                    continue
                forms[found][word] += 1
                holders[found].add(hit.number)
                if before[0] and before[0] != found:
                    pairs[before[0], found].add(hit.number)
                    pair_forms[before[0], found][f"{before[1]} {word}"] += 1
                before = (found, word)
    terms = [
        Term(_form(forms[found]), frozenset((found,)), _strength(len(holding), len(hits), index.count(found), index.size), frozenset(holding))
        for found, holding in holders.items()
    ]
    common = sorted((pair for pair in pairs if len(pairs[pair]) > 1), key=lambda pair: (-len(pairs[pair]), pair))
    for pair in common[:_PAIRS]:
        text = _form(pair_forms[pair])
        strength = _strength(len(pairs[pair]), len(hits), index.count_phrase(text), index.size)
        terms.append(Term(text, frozenset(pair), strength, frozenset(pairs[pair])))
    terms.sort(key=lambda term: (-term.strength, term.text))
    return terms


def surroundings(index: Index, topic: Topic, hits: Sequence[Hit], most: int = 40) -> dict[str, float]:
    """Return the single stems that belong to a topic with their share of the strongest one's strength, in (0, 1]."""
    found = [term for term in related(index, topic, hits) if len(term.stems) == 1 and term.strength > 0][:most]
    top = found[0].strength if found else 1.0
    return {stem: term.strength / top for term in found for stem in term.stems}


def _form(counted: Counter[str]) -> str:
    """The form that is written most; of equally frequent ones the first in the alphabet."""
    return min(counted, key=lambda form: (-counted[form], form))


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

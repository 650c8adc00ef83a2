"""What a topic asks for, in terms of one corpus: its words, how much each tells, and the passages about it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from math import sqrt
from typing import Final

from agents.corpus.index import Hit, Index, quote
from agents.sentences import is_readable, split_text
from agents.text import is_content, stem, unique, words

#: Words of a topic beyond so many are not looked at.
_MOST_WORDS: Final = 24
#: So many candidates are scored for one search.
_CANDIDATES: Final = 240
#: A passage without one readable sentence is worth so much of one that has.
_UNREADABLE: Final = 0.4
#: Two passages whose stems agree to this share are one passage to a reader.
_ALIKE: Final = 0.75
#: So many of the strongest words around a topic make a passage be fully at home there.
_AT_HOME: Final = 5


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic: its text, its words in order, and each distinct stem with the weight that it has in the corpus.

    ``around`` are stems of words that belong to the topic in this corpus though it does not name them, each with its
    strength in (0, 1]; ``neighbours`` are the strongest of those words as they are written.
    A passage of less relevance than ``least`` is not about the topic.
    """

    text: str
    words: tuple[str, ...]
    weights: dict[str, float]
    around: dict[str, float] = field(default_factory=dict)
    neighbours: tuple[str, ...] = ()
    least: float = 0.0

    def coverage(self, stems: Collection[str]) -> float:
        """Return the share of the topic, by weight, that a text with these stems speaks of; in [0, 1]."""
        total = sum(self.weights.values())
        return sum(weight for stem, weight in self.weights.items() if stem in stems) / total if total else 0.0

    def neighbourhood(self, stems: Collection[str]) -> float:
        """Return how much of what belongs around the topic a text with these stems has; in [0, 1]."""
        whole = sum(sorted(self.around.values(), reverse=True)[:_AT_HOME])
        return (
            min(1.0, sum(strength for stem, strength in self.around.items() if stem in stems) / whole) if whole else 0.0
        )

    def relevance(self, stems: Collection[str]) -> float:
        """Return how much a text with these stems is about the topic; in [0, 1]."""
        return 0.6 * self.coverage(stems) + 0.4 * self.neighbourhood(stems)


def topic_of(text: str, index: Index) -> Topic:
    """Return a topic by its content words; a text of function words alone counts with all of them."""
    every = words(text)
    chosen = [word for word in every if is_content(word) or any(letter.isdigit() for letter in word)] or every
    chosen = unique(chosen)[:_MOST_WORDS]
    weights: dict[str, float] = {}
    for word in chosen:
        if found := stem(word):
            # A word that the corpus does not know tells as much as one that it has once.
            # The square root keeps a rare word from being all that counts.
            weights[found] = sqrt(max(index.weight(found), 0.1) if index.count(found) else index.top_weight)
    return Topic(text, tuple(chosen), weights)


def search(
    index: Index, topic: Topic, require: Iterable[str] = (), *, limit: int, skip: Collection[str] = ()
) -> list[Hit]:
    """Return the passages that fit a topic best.

    BM25 over the topic's words and pairs of neighbouring words, then weighed by how much of the topic a passage covers,
    so that a passage with one rare word does not stand above one that speaks of the whole.

    Args:
        index: The corpus.
        topic: What is looked for.
        require: Words or phrases; a passage must hold one of them. None: the topic alone decides.
        limit: At most so many passages.
        skip: Sources that are not wanted.
    """
    about = [quote(word) for word in topic.words]
    about += [quote(f"{one} {other}") for one, other in zip(topic.words, topic.words[1:], strict=False)]
    wanted = " OR ".join(filter(None, about))
    needed = " OR ".join(filter(None, (quote(phrase) for phrase in require)))
    if topic.around:
        # What belongs to the topic may be found by that alone, but it is ranked by how much of the topic it has.
        wanted = " OR ".join((wanted, *map(quote, topic.neighbours)))
    query = f"({wanted}) AND ({needed})" if wanted and needed else wanted or needed
    if not query:
        return []
    scored = []
    for hit in index.find(query, _CANDIDATES + len(skip)):
        if hit.passage.source not in skip:
            relevance = topic.relevance(index.stems_of(hit))
            if relevance < topic.least:
                continue
            # BM25 has no ceiling and would let one rare pair of words outweigh all the rest; its root does not.
            scored.append(Hit(hit.number, hit.passage, sqrt(max(hit.score, 0.0)) * (0.1 + 0.9 * relevance * relevance)))
    scored.sort(key=_order)
    # Only what may come out on top is read for its sentences.
    head = sorted((_read(hit) for hit in scored[: limit * 4]), key=_order)
    chosen: list[Hit] = []
    for hit in head:
        if len(chosen) >= limit:
            break
        if not any(_alike(index.stems_of(hit), index.stems_of(other)) for other in chosen):
            chosen.append(hit)
    return chosen


def _order(hit: Hit) -> tuple[float, int]:
    return -hit.score, hit.number


def _alike(one: Collection[str], other: Collection[str]) -> bool:
    common = sum(stem in other for stem in one)
    return common >= _ALIKE * (len(one) + len(other) - common)


def _read(hit: Hit) -> Hit:
    readable = any(is_readable(sentence) for sentence in split_text(hit.passage.text))
    return hit if readable else Hit(hit.number, hit.passage, hit.score * _UNREADABLE)

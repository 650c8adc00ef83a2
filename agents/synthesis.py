"""Writes a summary out of the sentences of passages: which are taken, and in which order they stand."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Final

from agents import citations
from agents.centrality import centrality, cosine, unit
from agents.corpus.index import Index
from agents.models import Passage, Source
from agents.sentences import is_dangling, is_readable, split_text, without_label
from agents.study import study
from agents.text import content_stems, normal, stems, words
from agents.topic import Topic

#: How many sentences a question gets, and how many the summary has at least and at most.
_PER_QUESTION: Final = 2
_LEAST: Final = 5
_MOST: Final = 18
#: So many candidates are compared with each other.
_CANDIDATES: Final = 400
#: A sentence of less than this share of the best one's worth or relevance is left out, so that a question may get none.
_GOOD: Final = 0.42
#: A sentence of fewer words than the first number says little, one of more than the second is hard to read.
_CURT: Final = 11
_ENDLESS: Final = 42
#: Two sentences that are more alike than this say the same.
_SAME: Final = 0.6
#: How much being unlike what is already said counts beside being worth saying (Carbonell and Goldstein, "The Use of
#: MMR", 1998).
_NOVELTY: Final = 0.35


@dataclass(slots=True)
class Candidate:
    """A sentence that may be taken: from which question, passage and position it comes, and what it is worth."""

    question: str
    text: str
    source: Source
    passage: int
    position: int
    vector: dict[str, float]
    relevance: float
    worth: float = 0.0


def summarize(index: Index, material: Sequence[tuple[Passage, Source]], questions: int) -> str:
    """Return a summary of passages; empty when none of them has a sentence that can be quoted.

    Every sentence stands word for word in the passage that it cites and in no other passage that is cited. One
    paragraph a question, in the order in which the questions were asked; the more ``questions``, the longer it is.
    """
    candidates = _candidates(index, material)
    if not candidates:
        return ""
    salience = centrality([c.vector for c in candidates], [c.relevance for c in candidates])
    for candidate, central in zip(candidates, salience, strict=True):
        candidate.worth = (0.7 * candidate.relevance + 0.3 * central) * _ease(candidate)
    goal = max(_LEAST, min(_MOST, _PER_QUESTION * questions))
    chosen = _choose(candidates, material, goal)
    order = list(dict.fromkeys(passage.question for passage, _ in material))
    chosen.sort(key=lambda c: (order.index(c.question), c.passage, c.position))
    paragraphs = [[(c.text, c.source) for c in chosen if c.question == question] for question in order]
    return citations.write(paragraph for paragraph in paragraphs if paragraph)


def _candidates(index: Index, material: Sequence[tuple[Passage, Source]]) -> list[Candidate]:
    topics: dict[str, Topic] = {}
    found: list[tuple[Candidate, Counter[str]]] = []
    holders: Counter[str] = Counter()
    known: set[str] = set()
    for number, (passage, source) in enumerate(material):
        subject = passage.topic or passage.about
        if subject not in topics:
            topics[subject] = study(index, subject).topic
        context = frozenset(stems(f"{passage.heading} {passage.text}".replace("_", " ")))
        for position, sentence in enumerate(split_text(passage.text)):
            text = without_label(sentence)
            key = normal(text)
            if key in known or not is_readable(text):
                continue
            known.add(key)
            counted = Counter(content_stems(text))
            holders.update(counted.keys())
            relevance = sentence_relevance(topics[subject], frozenset(stems(text)), context)
            if any(stem in counted for term in passage.terms for stem in content_stems(term)):
                relevance = min(1.0, relevance * 1.15)
            found.append((Candidate(passage.question, text, source, number, position, {}, relevance), counted))
    found.sort(key=lambda pair: (-pair[0].relevance, pair[0].passage, pair[0].position))
    found = found[:_CANDIDATES]
    for candidate, counted in found:
        weights = {stem: count * log(1 + len(found) / holders[stem]) for stem, count in counted.items()}
        candidate.vector = unit(weights)
    return [candidate for candidate, _ in found]


def sentence_relevance(topic: Topic, sentence: frozenset[str], context: frozenset[str]) -> float:
    """Return how much a sentence is about a topic, in [0, 1]: by its own words, and by the passage around it."""
    if not topic.weights:
        return 0.5
    own = min(1.0, topic.coverage(sentence) / 0.6)
    near = topic.neighbourhood(sentence)
    return min(1.0, 0.42 * own + 0.26 * near + 0.32 * topic.relevance(context))


def _ease(candidate: Candidate) -> float:
    """Return how well a sentence reads alone, in (0, 1]: whole, neither curt nor endless, and early in its passage."""
    length = len(words(candidate.text))
    size = 0.75 if length < _CURT else 0.85 if length > _ENDLESS else 1.0
    return (0.25 if is_dangling(candidate.text) else 1.0) * size / (1 + 0.05 * candidate.position)


def _choose(candidates: Sequence[Candidate], material: Sequence[tuple[Passage, Source]], goal: int) -> list[Candidate]:
    """Take turns between the questions, each time the best that is new; then fill up with the best that is left."""
    questions = list(dict.fromkeys(passage.question for passage, _ in material))
    best = max(candidate.worth for candidate in candidates)
    top = max(candidate.relevance for candidate in candidates)
    good = [c for c in candidates if c.worth >= best * _GOOD and c.relevance >= top * _GOOD]
    if len(good) < _LEAST * 2:
        # Where little is said, what is said in passing counts too.
        ranked = sorted(candidates, key=lambda c: -c.worth)[: _LEAST * 2]
        good += [c for c in ranked if c not in good and c.relevance >= top * _GOOD / 2]
    texts = {source.id: normal(passage.text) for passage, source in material}
    chosen: list[Candidate] = []
    for turn in range(_PER_QUESTION + 1):
        for question in questions if turn < _PER_QUESTION else [None] * goal:
            pool = [c for c in good if question is None or c.question == question]
            if len(chosen) < goal and (taken := _next(pool, chosen, texts)) is not None:
                chosen.append(taken)
                good.remove(taken)
    return chosen


def _next(pool: Sequence[Candidate], chosen: Sequence[Candidate], texts: dict[str, str]) -> Candidate | None:
    best: Candidate | None = None
    most = 0.0
    for candidate in pool:
        alike = max((cosine(candidate.vector, other.vector) for other in chosen), default=0.0)
        value = candidate.worth - _NOVELTY * alike
        if alike < _SAME and value > most and not _is_ambiguous(candidate, chosen, texts):
            best, most = candidate, value
    return best


def _is_ambiguous(candidate: Candidate, chosen: Sequence[Candidate], texts: dict[str, str]) -> bool:
    """Whether the sentence, or one already taken, would stand in two of the passages that are then cited."""
    own = texts[candidate.source.id]
    key = normal(candidate.text)
    for other in chosen:
        if other.source.id != candidate.source.id and (key in texts[other.source.id] or normal(other.text) in own):
            return True
    return False

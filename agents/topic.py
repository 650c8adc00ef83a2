"""What a topic asks for, in terms of one corpus: its words, how much each tells, and the passages about it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from agents.corpus.index import Hit, Index, quote
from agents.sentences import is_readable, split_text
from agents.text import is_content, stem, unique, words
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.nearest import nearest
from kos_runtime.ports.agent import ActionFailed

#: Words of a topic beyond so many are not looked at.
_MOST_WORDS: Final = 24
#: So many candidates are scored for one search.
_CANDIDATES: Final = 240
#: A corpus has nothing about a topic when its best passage holds less than this share of what the topic's words tell.
_NOTHING_BELOW: Final = 0.3
#: A passage without one readable sentence is worth so much of one that has.
_UNREADABLE: Final = 0.4
#: How many related stems make up a topic's surroundings.


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic: its text, its words in order, and each distinct stem with the weight that it has in the corpus."""

    text: str
    words: tuple[str, ...]
    weights: dict[str, float]

    def coverage(self, stems: Collection[str]) -> float:
        """Return the share of the topic, by weight, that a text with these stems speaks of; in [0, 1]."""
        total = sum(self.weights.values())
        return sum(weight for stem, weight in self.weights.items() if stem in stems) / total if total else 0.0


def topic_of(text: str, index: Index) -> Topic:
    """Return a topic by its content words; a text of function words alone counts with all of them."""
    every = words(text)
    chosen = [word for word in every if is_content(word) or any(letter.isdigit() for letter in word)] or every
    chosen = unique(chosen)[:_MOST_WORDS]
    weights: dict[str, float] = {}
    for word in chosen:
        if found := stem(word):
            # A word that the corpus does not know tells as much as one that it has once.
            weights[found] = max(index.weight(found), 0.1) if index.count(found) else index.top_weight
    return Topic(text, tuple(chosen), weights)


def search(
    index: Index, topic: Topic, require: Iterable[str] = (), *, limit: int, skip: Collection[str] = (), least: float = 0.0
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
        least: The least coverage of the topic, in [0, 1].
    """
    about = [quote(word) for word in topic.words]
    about += [quote(f"{one} {other}") for one, other in zip(topic.words, topic.words[1:], strict=False)]
    wanted = " OR ".join(filter(None, about))
    needed = " OR ".join(filter(None, (quote(phrase) for phrase in require)))
    query = f"({wanted}) AND ({needed})" if wanted and needed else wanted or needed
    if not query:
        return []
    scored = []
    for hit in index.find(query, _CANDIDATES + len(skip)):
        if hit.passage.source in skip:
            continue
        covered = topic.coverage(index.stems_of(hit))
        if covered < least:
            continue
        score = hit.score * (0.15 + 0.85 * covered * covered)
        scored.append(Hit(hit.number, hit.passage, score))
    scored.sort(key=lambda hit: (-hit.score, hit.number))
    # Only what may come out on top is read for its sentences.
    head = [_read(hit) for hit in scored[: limit * 4]]
    head.sort(key=lambda hit: (-hit.score, hit.number))
    return head[:limit]


def _read(hit: Hit) -> Hit:
    readable = any(is_readable(sentence) for sentence in split_text(hit.passage.text))
    return hit if readable else Hit(hit.number, hit.passage, hit.score * _UNREADABLE)


def passages_about(index: Index, topic: Topic, limit: int) -> list[Hit]:
    """Return the passages about a topic.

    Raises:
        ActionFailed: The topic has no words, or the corpus has nothing about it; permanent, with what to do.
    """
    corpus = index.meta.get("corpus", "the corpus")
    if not topic.weights:
        raise ActionFailed(ErrorType.PERMANENT, f"the topic {topic.text[:80]!r} has no word that can be searched for")
    if not index.size:
        unread = index.meta.get("unreadable") or []
        why = f" ({len(unread)} files could not be read, such as {unread[0]})" if unread else ""
        raise ActionFailed(ErrorType.PERMANENT, f"the corpus {corpus} holds no readable text{why}; choose another one")
    hits = search(index, topic, limit=limit)
    best = max((topic.coverage(index.stems_of(hit)) for hit in hits), default=0.0)
    if best < _NOTHING_BELOW:
        raise ActionFailed(ErrorType.PERMANENT, _nothing(index, topic, str(corpus)), details={"topic": topic.text[:200]})
    # A passage that has but a common word of the topic says nothing about it.
    return [hit for hit in hits if topic.coverage(index.stems_of(hit)) >= best * 0.5]


def _nothing(index: Index, topic: Topic, corpus: str) -> str:
    hints = []
    for word in topic.words:
        if not index.count(stem(word)):
            near = nearest(word, index.near_words(word))
            hints.append(f"{word!r}" + (f" (it has {near!r})" if near else ""))
    missing = f"; it does not have {', '.join(hints[:6])}" if hints else ""
    return (
        f"the corpus {corpus} has nothing about {topic.text[:120]!r}{missing}. Choose another topic, or another corpus: "
        "--set agents.kExecutor.corpus=FOLDER or python:PACKAGE"
    )

"""Reads a corpus about a topic twice: once by the topic's own words, then also by the words that go with them.

The second reading is pseudo-relevance feedback (Lavrenko and Croft, "Relevance-Based Language Models", 2001): a page
on "fault tolerance" that speaks of restarts and crashed processes is found though it never uses the phrase.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from agents.corpus.index import Hit, Index
from agents.terms import Term, related
from agents.text import stem
from agents.topic import Topic, search, topic_of
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.nearest import nearest
from kos_runtime.ports.agent import ActionFailed

#: How many passages are read the first time and the second.
_FIRST: Final = 30
_SECOND: Final = 90
#: How many words make up a topic's surroundings, and how many of them are searched for.
_AROUND: Final = 40
_NEIGHBOURS: Final = 10
#: A corpus has nothing about a topic when its best passage has less than this share of what the topic's words tell.
_NOTHING_BELOW: Final = 0.3
#: And it hardly speaks of a topic when its best passage has less than this: at most a part of it is found in one place.
_THIN_BELOW: Final = 0.6
#: A passage that has less than this share of the best one's relevance is not about the topic.
_LEAST: Final = 0.33
_REMEMBERED: Final = 200


@dataclass(frozen=True, slots=True)
class Study:
    """A topic with its surroundings, the passages about it, and the terms of those passages, strongest first.

    ``best`` is the share of what the topic's words tell that the best passage has, in [0, 1].
    """

    topic: Topic
    hits: tuple[Hit, ...]
    terms: tuple[Term, ...]
    best: float = 0.0

    @property
    def is_empty(self) -> bool:
        return not self.hits

    def note(self, index: Index) -> str:
        """Say that the corpus hardly speaks of the topic; nothing where it does."""
        if self.best >= _THIN_BELOW or not self.topic.weights:
            return ""
        said = f"its best passage has {self.best:.0%} of the topic" if self.best else "no passage has a word of it"
        return (
            f"the corpus {_name(index)} hardly speaks of {self.topic.text[:120]!r}: {said}{_missing(index, self.topic)}"
        )


def study(index: Index, text: str) -> Study:
    """Return what a corpus has about a topic; empty when that is nothing."""
    known = index.memory.get(text)
    if isinstance(known, Study):
        return known
    found = _study(index, text)
    if len(index.memory) >= _REMEMBERED:
        index.memory.clear()
    index.memory[text] = found
    return found


def _study(index: Index, text: str) -> Study:
    topic = topic_of(text, index)
    first = search(index, topic, limit=_FIRST)
    best = max((topic.coverage(index.stems_of(hit)) for hit in first), default=0.0)
    if best < _NOTHING_BELOW:
        return Study(topic, (), (), best)
    first = [hit for hit in first if topic.coverage(index.stems_of(hit)) >= best * 0.6]
    single = [term for term in related(index, topic, first) if len(term.stems) == 1 and term.strength > 0]
    # What only one passage has belongs to that passage, as long as there are others to go by.
    single = ([term for term in single if len(term.hits) > 1] or single)[:_AROUND]
    top = single[0].strength if single else 1.0
    around = {stem: term.strength / top for term in single for stem in term.stems}
    topic = replace(topic, around=around, neighbours=tuple(term.text for term in single[:_NEIGHBOURS]))
    hits = search(index, topic, limit=_SECOND)
    fit = max((topic.relevance(index.stems_of(hit)) for hit in hits), default=0.0)
    topic = replace(topic, least=fit * _LEAST)
    hits = [hit for hit in hits if topic.relevance(index.stems_of(hit)) >= topic.least]
    return Study(topic, tuple(hits), tuple(related(index, topic, hits)), best)


def study_or_fail(index: Index, text: str) -> Study:
    """Return what a corpus has about a topic.

    Raises:
        ActionFailed: The topic has no words, or the corpus has nothing about it; permanent, with what to do.
    """
    corpus = _name(index)
    if not index.size:
        unread: Sequence[str] = index.meta.get("unreadable") or ()
        why = f" ({len(unread)} files could not be read, such as {unread[0]})" if unread else ""
        raise ActionFailed(ErrorType.PERMANENT, f"the corpus {corpus} holds no readable text{why}; choose another one")
    found = study(index, text)
    if not found.topic.weights:
        raise ActionFailed(
            ErrorType.PERMANENT, f"the topic {text[:80]!r} has no word that can be searched for; say it in words"
        )
    if found.is_empty:
        raise ActionFailed(ErrorType.PERMANENT, _nothing(index, found.topic, corpus), details={"topic": text[:200]})
    return found


def _name(index: Index) -> str:
    return str(index.meta.get("corpus", "at hand"))


def _missing(index: Index, topic: Topic) -> str:
    """Say which of a topic's words a corpus does not have, with the nearest that it has."""
    hints = []
    for word in topic.words:
        if not index.count(stem(word)):
            near = nearest(word, index.near_words(word))
            hints.append(f"{word!r}" + (f" (it has {near!r})" if near else ""))
    return f"; it does not have {', '.join(hints[:6])}" if hints else ""


def _nothing(index: Index, topic: Topic, corpus: str) -> str:
    return (
        f"the corpus {corpus} has nothing about {topic.text[:120]!r}{_missing(index, topic)}. Choose another topic, or another corpus: "
        "--set agents.kExecutor.corpus=FOLDER or python:PACKAGE"
    )

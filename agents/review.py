"""Checks a summary: whether every sentence is where it says, is about the topic, and is said once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agents.citations import Cited, Document, Entry
from agents.corpus.index import Index
from agents.models import Finding
from agents.study import study
from agents.synthesis import sentence_relevance
from agents.text import normal, stem, stems
from agents.topic import Topic

#: A sentence is worth so much when it stands in the corpus, but not where it says.
_MISPLACED: Final = 0.2
#: So much of a traced sentence's worth is for being traced alone; the rest is for being about the topic.
_TRACED: Final = 0.08
#: Any sentence has a common word or two of a topic: so much says nothing. None has all the words of a topic and of its
#: surroundings: so much is everything.
_NONE: Final = 0.1
_ALL: Final = 0.75
#: Below this share of the topic a sentence is said to be on something else.
_OFF_TOPIC: Final = 0.15
#: A summary of fewer sentences covers less; one that has as many is not worth more for having more.
_FULL: Final = 5
#: What is left of the score for each source that is listed twice.
_TWICE: Final = 0.9
#: What any readable text is worth beside none at all.
_FLOOR: Final = 0.01
_QUOTED: Final = 160


@dataclass(slots=True)
class Verdict:
    """What was found out about one sentence: how well it is traced and how much it is on the topic, both in [0, 1]."""

    sentence: Cited
    traced: float = 0.0
    relevance: float = 0.0
    repeated: bool = False

    @property
    def worth(self) -> float:
        return 0.0 if self.repeated else self.traced * (_TRACED + (1 - _TRACED) * self.relevance)


@dataclass(slots=True)
class Result:
    score: float
    parts: dict[str, float]
    findings: list[Finding]


class Review:
    """One document under review. ``extra`` are texts by source id that count beside the corpus."""

    def __init__(self, index: Index, topic: str, document: Document, extra: Mapping[str, str]) -> None:
        self.index = index
        self.study = study(index, topic)
        self.topic: Topic = self.study.topic
        self.document = document
        self.findings: list[Finding] = []
        self.extra = {source: normal(text) for source, text in extra.items()}
        self.entries: dict[int, Entry] = {}
        self.texts: dict[str, str] = {}

    def result(self) -> Result:
        """Return the score, what it is made of, and everything that was found wrong, in the order of the text."""
        if note := self.study.note(self.index):
            self._find("thin_corpus", None, note)
        self._sources()
        verdicts = [self._judge(sentence) for sentence in self.document.sentences]
        self._repetitions(verdicts)
        if not verdicts:
            self._find("empty", None, "the summary has no sentence")
            return Result(
                0.0, {"quality": 0.0, "traced": 0.0, "relevance": 0.0, "coverage": 0.0, "sources": 0.0}, self.findings
            )
        count = len(verdicts)
        quality = sum(verdict.worth for verdict in verdicts) / count
        coverage = self._coverage(verdicts)
        length = min(1.0, count / _FULL)
        sources = _TWICE ** self._duplicates()
        score = _FLOOR + (1 - _FLOOR) * quality * (0.7 + 0.2 * coverage + 0.1 * length) * sources
        parts = {
            "quality": quality,
            "traced": sum(verdict.traced for verdict in verdicts) / count,
            "relevance": sum(verdict.relevance for verdict in verdicts) / count,
            "coverage": coverage,
            "sources": sources,
        }
        self.findings.sort(key=lambda finding: finding.sentence or count + 1)
        return Result(
            round(min(1.0, score), 4), {name: round(value, 4) for name, value in parts.items()}, self.findings
        )

    # --- sources

    def _sources(self) -> None:
        """Look up every source that is listed, and say which are listed twice, are not there, or are not used."""
        cited = {number for sentence in self.document.sentences for number in sentence.cites}
        places: dict[str, int] = {}
        for entry in self.document.entries:
            if entry.number in self.entries:
                self._find("duplicate_source", None, f"the number [{entry.number}] is listed twice")
                continue
            self.entries[entry.number] = entry
            first = places.setdefault(entry.id, entry.number)
            if first != entry.number:
                self._find(
                    "duplicate_source", None, f"source {entry.id} is listed twice, as [{first}] and [{entry.number}]"
                )
            if entry.number not in cited:
                self._find(
                    "unused_source", None, f"source [{entry.number}] {entry.id} is listed, but no sentence cites it"
                )
            text = self._text(entry)
            if text is None:
                self._find("unknown_source", None, f"source [{entry.number}] {entry.id} is not in the corpus")
            else:
                self.texts[entry.id] = text

    def _text(self, entry: Entry) -> str | None:
        passage = self.index.at(entry.path, entry.line)
        return normal(passage.text) if passage is not None else self.extra.get(entry.id)

    def _duplicates(self) -> int:
        return sum(finding.check == "duplicate_source" for finding in self.findings)

    # --- sentences

    def _judge(self, sentence: Cited) -> Verdict:
        verdict = Verdict(sentence)
        key = normal(sentence.text)
        cited = [self.entries[number] for number in sentence.cites if number in self.entries]
        holding = [entry for entry in cited if key in self.texts.get(entry.id, "")]
        if holding and len(holding) == len(sentence.cites):
            verdict.traced = 1.0
            context = self._context(holding[0])
        else:
            actual = self._whereabouts(key, sentence.text)
            verdict.traced = _MISPLACED if actual else 0.0
            context = frozenset(stems(actual[0][1])) if actual else frozenset(stems(sentence.text))
            self._misplaced(sentence, actual)
        verdict.relevance = _scaled(sentence_relevance(self.topic, frozenset(stems(sentence.text)), context))
        if verdict.traced and verdict.relevance < _OFF_TOPIC:
            self._find("off_topic", sentence, f"it has little to do with {self.topic.text[:80]!r}")
        return verdict

    def _context(self, entry: Entry) -> frozenset[str]:
        passage = self.index.at(entry.path, entry.line)
        text = (
            f"{passage.heading} {passage.text}".replace("_", " ")
            if passage is not None
            else self.extra.get(entry.id, "")
        )
        return frozenset(stems(text))

    def _whereabouts(self, key: str, text: str) -> list[tuple[str, str]]:
        """Return where a sentence really stands: what to call the place, and the text there. Listed sources first."""
        listed = [
            (f"[{number}] {e.id}", self.texts[e.id])
            for number, e in self.entries.items()
            if key in self.texts.get(e.id, "")
        ]
        elsewhere = [(p.source, p.text) for p in self.index.holding(text) if key in normal(p.text)]
        given = [(source, other) for source, other in self.extra.items() if key in other]
        return listed or elsewhere or given

    def _misplaced(self, sentence: Cited, actual: Sequence[tuple[str, str]]) -> None:
        where = f"it stands in {actual[0][0]}" if actual else "it stands nowhere in the corpus"
        if not sentence.cites:
            self._find("uncited", sentence, f"it cites no source; {where}")
            return
        names = []
        for number in sentence.cites:
            entry = self.entries.get(number)
            names.append(f"[{number}] {entry.id}" if entry else f"[{number}], which is not in the list of sources")
        self._find("citation" if actual else "untraceable", sentence, f"it cites {' and '.join(names)}, but {where}")

    def _repetitions(self, verdicts: Sequence[Verdict]) -> None:
        first: dict[str, int] = {}
        for verdict in verdicts:
            key = normal(verdict.sentence.text)
            if key in first:
                verdict.repeated = True
                self._find("repeated", verdict.sentence, f"it says what sentence {first[key]} says")
            first.setdefault(key, verdict.sentence.number)

    def _coverage(self, verdicts: Sequence[Verdict]) -> float:
        """Return the share of the topic that the traced sentences speak of, and name the words that are missing."""
        said = {found for verdict in verdicts if verdict.traced == 1.0 for found in stems(verdict.sentence.text)}
        missing = [word for word in self.topic.words if stem(word) in self.topic.weights and stem(word) not in said]
        if missing:
            self._find("coverage", None, f"no traced sentence speaks of {', '.join(map(repr, missing[:8]))}")
        return self.topic.coverage(said)

    def _find(self, check: str, sentence: Cited | None, what: str) -> None:
        if sentence is None:
            self.findings.append(Finding(check=check, message=what))
            return
        quoted = sentence.text if len(sentence.text) <= _QUOTED else f"{sentence.text[:_QUOTED]}…"
        message = f"sentence {sentence.number} “{quoted}”: {what}"
        self.findings.append(Finding(check=check, sentence=sentence.number, text=sentence.text, message=message))


def _scaled(relevance: float) -> float:
    return min(1.0, max(0.0, relevance - _NONE) / (_ALL - _NONE))


def review(index: Index, topic: str, document: Document, extra: Mapping[str, str] | None = None) -> Result:
    """Return what there is to say about a summary of a topic."""
    return Review(index, topic, document, extra or {}).result()


def texts_by_source(passages: Sequence[tuple[Any, Any]]) -> dict[str, str]:
    """Return the texts of passages by the id of their source, joined where several have one."""
    found: dict[str, str] = {}
    for passage, source in passages:
        found[source.id] = f"{found[source.id]}\n{passage.text}" if source.id in found else passage.text
    return found

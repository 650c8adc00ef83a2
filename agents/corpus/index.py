"""The index of a corpus, opened for reading: passages by place, by words, and how common a word is."""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from pathlib import Path
from typing import Any, Final

import apsw

from agents.corpus.blocks import Passage
from agents.corpus.building import ensure
from agents.text import stem, stems, words

#: A quotation is looked for by its first so many words.
_PHRASE_WORDS: Final = 40
_OPEN_AT_MOST: Final = 8


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found, its number in the index, and how well it fits (higher is better)."""

    number: int
    passage: Passage
    score: float


class Index:
    """One corpus. All methods may be called from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        uri = f"file:{_escaped(path)}?mode=ro&immutable=1"
        self._connection = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        self.meta: dict[str, Any] = {key: json.loads(value) for key, value in self._rows("SELECT key, value FROM meta")}
        self.size: int = self._rows("SELECT count(*) FROM passages")[0][0]
        #: What callers have worked out about this corpus and may want again; lost at no cost.
        self.memory: dict[str, object] = {}
        self._counts: dict[str, int] = {}
        self._stems: dict[int, frozenset[str]] = {}

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return list(self._connection.execute(query, values))

    def count(self, word_stem: str) -> int:
        """Return how many passages hold a word of this stem."""
        found = self._counts.get(word_stem)
        if found is None:
            rows = self._rows("SELECT doc FROM vocabulary WHERE term = ?", (word_stem,))
            found = self._counts[word_stem] = rows[0][0] if rows else 0
        return found

    def count_phrase(self, phrase: str) -> int:
        """Return how many passages hold a phrase."""
        quoted = quote(phrase)
        return int(self._rows("SELECT count(*) FROM search WHERE search MATCH ?", (quoted,))[0][0]) if quoted else 0

    def weight(self, word_stem: str) -> float:
        """Return how much a word tells: the rarer the more, after Robertson and Spärck Jones; never below 0."""
        count = self.count(word_stem)
        return log(1 + (self.size - count + 0.5) / (count + 0.5))

    @cached_property
    def top_weight(self) -> float:
        return log(1 + (self.size + 0.5) / 0.5)

    def near_words(self, word: str) -> list[str]:
        """Return words of the corpus that begin like a word: those a misspelt one may have been meant to be."""
        begin = stem(word)[:2]
        if len(begin) < 2:
            return []
        rows = self._rows(
            "SELECT term FROM vocabulary WHERE term >= ? AND term < ? AND length(term) BETWEEN ? AND ? LIMIT 1500",
            (begin, begin + "\U0010ffff", len(word) - 3, len(word) + 2),
        )
        return [row[0] for row in rows]

    def find(self, query: str, limit: int) -> list[Hit]:
        """Return the passages that match an expression made by ``quote``, best first by BM25 (headings count double)."""
        rows = self._rows(
            "SELECT p.id, p.path, p.line, p.heading, p.text, bm25(search, 2.0, 1.0) AS fit FROM search JOIN passages p"
            " ON p.id = search.rowid WHERE search MATCH ? ORDER BY fit, p.id LIMIT ?",
            (query, limit),
        )
        return [Hit(row[0], Passage(row[1], row[2], row[3], row[4]), -row[5]) for row in rows]

    def at(self, path: str, line: int) -> Passage | None:
        """Return the passage that begins at a place."""
        rows = self._rows("SELECT path, line, heading, text FROM passages WHERE path = ? AND line = ?", (path, line))
        return Passage(*rows[0]) if rows else None

    def holding(self, quotation: str) -> list[Passage]:
        """Return passages that hold the words of a quotation in a row, in the corpus's order; at most twenty."""
        phrase = quote(" ".join(words(quotation)[:_PHRASE_WORDS]))
        if not phrase:
            return []
        rows = self._rows(
            "SELECT p.path, p.line, p.heading, p.text FROM search JOIN passages p ON p.id = search.rowid"
            " WHERE search MATCH ? ORDER BY p.id LIMIT 20",
            (f"text : {phrase}",),
        )
        return [Passage(*row) for row in rows]

    def stems_of(self, hit: Hit) -> frozenset[str]:
        """Return the stems of a passage and of its heading."""
        found = self._stems.get(hit.number)
        if found is None:
            if len(self._stems) > 5_000:
                self._stems.clear()
            passage = hit.passage
            found = self._stems[hit.number] = frozenset(stems(f"{passage.heading.replace('_', ' ')} {passage.text}"))
        return found


def quote(phrase: str) -> str:
    """Return a phrase as FTS5 takes it: its words alone, in quotes, so that nothing in it is read as an operator."""
    found = words(phrase)
    return '"' + " ".join(found) + '"' if found else ""


def _escaped(path: Path) -> str:
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


_opened: Final[dict[tuple[str, str, str], Index]] = {}
_opening: Final = threading.Lock()


def open_index(corpus: str, digest: str, cache_dir: str, alive: Callable[[str], None]) -> Index:
    """Return the index of a corpus, opened once a process, built if it is not there. Raises what ``ensure`` raises."""
    key = (corpus, digest, cache_dir)
    with _opening:
        index = _opened.get(key) if digest else None
        if index is not None:
            return index
        path = ensure(corpus, digest, cache_dir, alive)
        try:
            index = Index(path)
        except (apsw.Error, ValueError, IndexError):
            # A damaged file in a cache is worth nothing: it is made again, once.
            path.unlink(missing_ok=True)
            index = Index(ensure(corpus, digest, cache_dir, alive))
        while len(_opened) >= _OPEN_AT_MOST:
            _opened.pop(next(iter(_opened)))
        _opened[key] = index
        return index

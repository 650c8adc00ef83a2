"""A summary as a document: one sentence a line, each ending in ``[n]``, then the list of sources.

Lines are joined into paragraphs by whatever shows Markdown; an empty line begins a new one.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agents.models import Source
from agents.sentences import split
from agents.text import words

HEAD: Final = "Sources:"

_HEAD: Final = re.compile(r"^\s*(?:#{1,6}\s*|\*\*)?(?:sources|references)\s*:?\s*(?:\*\*)?\s*:?\s*$", re.IGNORECASE)
_ENTRY: Final = re.compile(r"^\s*(?:[-*]\s*)?\[(\d{1,6})\]:?\s+(\S.*?)\s*$")
_PLACE: Final = re.compile(r"^(.*?\S):(\d{1,9})(?:\s+[—–-]\s+(.*))?$")
_MARKS: Final = re.compile(r"((?:\s*\[\d{1,6}\](?:\s*,\s*(?=\[))?)+)\s*([.!?]?)")
_NUMBER: Final = re.compile(r"\d+")
#: A longer document is checked up to here; characters.
MAX_TEXT: Final = 200_000


@dataclass(frozen=True, slots=True)
class Cited:
    """One sentence of a document, counted from 1, and the numbers that stand behind it."""

    number: int
    text: str
    cites: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list of sources."""

    number: int
    path: str
    line: int

    @property
    def id(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path


@dataclass(frozen=True, slots=True)
class Document:
    sentences: tuple[Cited, ...]
    entries: tuple[Entry, ...]


def write(paragraphs: Iterable[Sequence[tuple[str, Source]]]) -> str:
    """Return a document; sources are numbered in the order in which they are first cited, each listed once."""
    numbers: dict[str, int] = {}
    listed: list[Source] = []
    parts: list[str] = []
    for paragraph in paragraphs:
        lines = []
        for sentence, source in paragraph:
            if source.id not in numbers:
                listed.append(source)
                numbers[source.id] = len(listed)
            lines.append(f"{sentence} [{numbers[source.id]}]")
        parts.append("\n".join(lines))
    entries = [f"[{numbers[s.id]}] {s.id}" + (f" — {s.heading}" if s.heading and s.line else "") for s in listed]
    return "\n\n".join((*parts, f"{HEAD}\n" + "\n".join(entries)))


def text_of(document: Any) -> str:
    """Return the text of a document: a string, or an object with ``text``; anything else has none."""
    if isinstance(document, dict):
        document = document.get("text", "")
    return document if isinstance(document, str) else ""


def read(text: str) -> Document:
    """Return the sentences and sources of a document. Whatever is not cited is a sentence without numbers."""
    body: list[str] = []
    entries: list[Entry] = []
    lines = text[:MAX_TEXT].splitlines()
    head = next((index for index in reversed(range(len(lines))) if _HEAD.match(lines[index])), len(lines))
    for line in lines[head + 1 :]:
        if match := _ENTRY.match(line):
            place = _PLACE.match(match.group(2))
            path, at = (place.group(1), int(place.group(2))) if place else (match.group(2).split(" — ")[0], 0)
            entries.append(Entry(int(match.group(1)), path, at))
    body = [line for line in lines[:head] if not line.lstrip().startswith("#")]
    return Document(tuple(_sentences(body)), tuple(entries))


def _sentences(body: Sequence[str]) -> Iterable[Cited]:
    number = 0
    for paragraph in "\n".join(body).split("\n\n"):
        at = 0
        found: list[tuple[str, tuple[int, ...]]] = []
        joined = " ".join(paragraph.split())
        for match in _MARKS.finditer(joined):
            # Marks belong to the sentence right before them; what stands before that one has none.
            *bare, last = split(joined[at : match.start()]) or [""]
            found += [(sentence, ()) for sentence in bare]
            if last:
                found.append((last + match.group(2), tuple(map(int, _NUMBER.findall(match.group(1))))))
            at = match.end()
        found += [(sentence, ()) for sentence in split(joined[at:])]
        for sentence, cites in found:
            if words(sentence):
                number += 1
                yield Cited(number, sentence, cites)

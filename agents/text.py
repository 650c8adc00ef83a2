"""Words, their stems, and a form of text in which two quotations of one passage are equal.

A stem is what the full-text index makes of a word: the same tokenizer (Porter, "An algorithm for suffix stripping",
1980, over Unicode words without diacritics) is asked for both, so what is counted here is what is found there.
"""

import re
import threading
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

import apsw

from agents.stopwords import FUNCTION_WORDS, FURNITURE

#: The tokenizer of the index, as FTS5 wants it named.
TOKENIZER: Final = ("porter", "unicode61", "remove_diacritics", "2")

_WORD: Final = re.compile(r"[^\W_]+")
#: A longer run of letters is no word but data; characters.
_LONGEST: Final = 40

_guard: Final = threading.Lock()
_tokenizer: list[Any] = []


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, in order. An underscore parts words, as it does in the index."""
    return [word for word in _WORD.findall(text.lower()) if len(word) <= _LONGEST]


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """Return the stem of one word, as the index holds it; empty when the index sees no word there."""
    with _guard:
        if not _tokenizer:
            connection = apsw.Connection(":memory:")
            _tokenizer.append(connection)
            _tokenizer.append(connection.fts5_tokenizer(TOKENIZER[0], list(TOKENIZER[1:])))
        found = _tokenizer[1](word.encode("utf-8", "ignore"), apsw.FTS5_TOKENIZE_DOCUMENT, None, include_offsets=False)
    return str(found[0][0]) if found else ""


def stems(text: str) -> list[str]:
    """Return the stems of a text in order."""
    return [found for word in words(text) if (found := stem(word))]


@lru_cache(maxsize=200_000)
def is_content(word: str) -> bool:
    """Whether a word can say what a text is about: no function word, no digits, at least three letters."""
    return len(word) > 2 and word not in FUNCTION_WORDS and not any(letter.isdigit() for letter in word)


@lru_cache(maxsize=200_000)
def is_telling(word: str) -> bool:
    """Whether a word can name an aspect of a topic: content, and not the furniture of documentation."""
    return is_content(word) and word not in FURNITURE and not (word.endswith("ly") and len(word) > 4)


def content_stems(text: str) -> list[str]:
    """Return the stems of a text's content words in order, repetitions kept."""
    return [found for word in words(text) if is_content(word) and (found := stem(word))]


def normal(text: str) -> str:
    """Return a text's words with single spaces around each: equal for two quotations that differ in layout only.

    >>> normal("A *bold*  Move.")
    ' a bold move '
    """
    return f" {' '.join(_WORD.findall(text.lower()))} "


def unique(items: Iterable[str]) -> list[str]:
    """Return items without repetitions, in the order of their first appearance."""
    return list(dict.fromkeys(items))

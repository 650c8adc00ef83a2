"""What every reader returns: blocks of running text, with their line and what they are called."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from agents.sentences import split
from agents.text import words

#: A passage is closed when it has so many characters, and a block longer than the second number is divided.
_FULL: Final = 420
_DIVIDE: Final = 800
#: A passage of fewer words says nothing.
_FEWEST_WORDS: Final = 5


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph or an item of a list: its first line, counted from 1, and its last where it is known.

    ``text`` has single spaces only.
    """

    line: int
    heading: str
    text: str
    last: int = 0


@dataclass(frozen=True, slots=True)
class Passage:
    """What is searched and quoted: blocks that stand together under one heading, each on its own line of ``text``."""

    path: str
    line: int
    heading: str
    text: str

    @property
    def source(self) -> str:
        """The id of the place: the same for every reading of the same corpus."""
        return f"{self.path}:{self.line}"


def gather(path: str, blocks: Iterable[Block]) -> list[Passage]:
    """Return the passages of one file. No two have the same line."""
    found: list[Passage] = []
    at: Block | None = None
    texts: list[str] = []
    last = size = 0

    def close() -> None:
        nonlocal last
        if at is not None:
            text = "\n".join(texts)
            if len(words(text)) >= _FEWEST_WORDS:
                last = max(at.line, last + 1)
                found.append(Passage(path, last, at.heading, text))
        texts.clear()

    for block in _divided(blocks):
        if at is not None and (block.heading != at.heading or size + len(block.text) > _FULL):
            close()
            at = None
            size = 0
        if at is None:
            at = block
        texts.append(block.text)
        size += len(block.text)
    close()
    return found


def _divided(blocks: Iterable[Block]) -> Iterable[Block]:
    for block in blocks:
        if len(block.text) <= _DIVIDE:
            yield block
            continue
        done = 0
        texts: list[str] = []
        pieces = [
            sentence[begin : begin + _DIVIDE]
            for sentence in split(block.text)
            for begin in range(0, len(sentence), _DIVIDE)
        ]
        for piece in pieces:
            if texts and sum(map(len, texts)) + len(piece) > _FULL:
                yield _part(block, texts, done)
                done += sum(map(len, texts)) + len(texts)
                texts = []
            texts.append(piece)
        if texts:
            yield _part(block, texts, done)


def _part(block: Block, texts: list[str], done: int) -> Block:
    """Where a part of a long block begins is told by how much of it came before."""
    lines = max(block.last - block.line + 1, 1)
    return Block(block.line + lines * done // (len(block.text) + 1), block.heading, " ".join(texts))


_SPACE: Final = re.compile(r"\s+")


def tidy(text: str) -> str:
    """Return a text with every run of white space made one space, without control characters."""
    return "".join(c for c in _SPACE.sub(" ", text) if c.isprintable()).strip()

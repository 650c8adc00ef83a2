"""The running text of HTML, however broken.

A tokenizer of one regular expression instead of ``html.parser``: that one needs quadratic time for tags, comments and
declarations that are never closed, so a small hostile page could hold a process for hours. Here no character is looked
at more than a few times. What looks like no tag is text, as in a browser.
"""

# ruff: noqa: SIM905 - a list of words reads better as text

import re
from collections.abc import Iterator
from html import unescape
from typing import Final

from agents.corpus.blocks import Block, tidy

# What stands in a tag is looked ahead at and then taken whole, so that a tag which is never closed is given up at once.
_TOKEN: Final = re.compile(
    r"<!--.*?(?:-->|\Z)|<!\[CDATA\[.*?(?:\]\]>|\Z)"
    r"""|<(?P<end>/?)(?P<name>[a-zA-Z][\w:-]*)(?![\w:-])(?=(?P<rest>(?:[^"'<>]|"[^"<]*"|'[^'<]*'|["'])*))(?P=rest)>"""
    r"|<[!?][^<>]*>",
    re.DOTALL,
)
_SILENT: Final = frozenset(
    "script style template svg nav noscript pre select button iframe object math head textarea".split()
)
#: Of these what stands inside is no markup, so they do not nest.
_RAW: Final = frozenset(("script", "style", "textarea"))
_HEADINGS: Final = frozenset("h1 h2 h3 h4 h5 h6".split())
_BREAKING: Final = frozenset(
    "p div section article main header footer aside ul ol li dl dt dd table tr td th blockquote figure figcaption form"
    " hr br body html address details summary".split()
)


class _Reader:
    """Collects blocks; ``line`` is the line on which the block at hand begins."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.heading = ""
        self.in_heading = False
        self.silent = ""
        self.depth = 0
        self.texts: list[str] = []
        self.line = 1

    def text(self, raw: str, line: int) -> None:
        if self.silent:
            return
        if not self.texts:
            if not raw.strip():
                return
            # A block is where its first word is, not where the white space before it begins.
            self.line = line + raw[: len(raw) - len(raw.lstrip())].count("\n")
        self.texts.append(raw)

    def tag(self, name: str, line: int, *, ends: bool) -> None:
        if self.silent:
            if name == self.silent and (ends or name not in _RAW):
                self.depth += -1 if ends else 1
            if self.depth <= 0 or (ends and name in {"body", "html"} and self.silent not in _RAW):
                self.silent = ""
        elif name in _SILENT and not ends:
            self.flush(line)
            self.silent, self.depth = name, 1
        elif name in _HEADINGS or name in _BREAKING:
            self.flush(line)
            self.in_heading = name in _HEADINGS and not ends

    def flush(self, line: int) -> None:
        text = tidy(unescape("".join(self.texts)))
        self.texts.clear()
        if text and self.in_heading:
            self.heading = text[:200]
        elif text:
            self.blocks.append(Block(self.line, self.heading, text, line))


def read_html(text: str) -> Iterator[Block]:
    """Yield the blocks of a page: its text without scripts, navigation and listings."""
    reader = _Reader()
    line, at = 1, 0
    for match in _TOKEN.finditer(text):
        reader.text(text[at : match.start()], line)
        line += text.count("\n", at, match.start())
        at = match.start()
        if name := match.group("name"):
            reader.tag(name.lower(), line, ends=bool(match.group("end")))
        line += text.count("\n", at, match.end())
        at = match.end()
    reader.text(text[at:], line)
    reader.flush(line + text.count("\n", at))
    yield from reader.blocks

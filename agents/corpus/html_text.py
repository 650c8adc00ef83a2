"""The running text of HTML, however broken: the parser of the standard library never refuses."""

# ruff: noqa: SIM905 - a list of words reads better as text

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Final

from agents.corpus.blocks import Block, tidy

_SILENT: Final = frozenset(
    "script style template svg nav noscript pre code-block select button iframe object math head".split()
)
_HEADINGS: Final = frozenset("h1 h2 h3 h4 h5 h6".split())
_BREAKING: Final = frozenset(
    "p div section article main header footer aside ul ol li dl dt dd table tr td th blockquote figure figcaption form"
    " hr br body html address details summary".split()
)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[Block] = []
        self.heading = ""
        self.silent = ""
        self.depth = 0
        self.in_heading = False
        self.texts: list[str] = []
        self.line = 1

    def flush(self) -> None:
        text = tidy(" ".join("".join(self.texts).split()))
        self.texts.clear()
        if not text:
            return
        if self.in_heading:
            self.heading = text[:200]
        else:
            self.blocks.append(Block(self.line, self.heading, text, self.getpos()[0]))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if self.silent:
            self.depth += tag == self.silent
        elif tag in _SILENT:
            self.flush()
            self.silent, self.depth = tag, 1
        elif tag in _HEADINGS:
            self.flush()
            self.in_heading = True
        elif tag in _BREAKING:
            self.flush()
            self.in_heading = False

    def handle_endtag(self, tag: str) -> None:
        if self.silent:
            self.depth -= tag == self.silent
            if self.depth <= 0 or tag in {"body", "html"}:
                self.silent = ""
        elif tag in _HEADINGS or tag in _BREAKING:
            self.flush()
            self.in_heading = False

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in _BREAKING:
            self.flush()

    def handle_data(self, data: str) -> None:
        if self.silent:
            return
        if not self.texts:
            if not data.strip():
                return
            # A block is where its first word is, not where the white space before it begins.
            self.line = self.getpos()[0] + data[: len(data) - len(data.lstrip())].count("\n")
        self.texts.append(data)


def read_html(text: str) -> Iterator[Block]:
    """Yield the blocks of a page: its text without scripts, navigation and listings."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    reader.flush()
    yield from reader.blocks

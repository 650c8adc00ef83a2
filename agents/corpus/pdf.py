"""The text of PDF files, as far as it can be had: a scanned page has none."""

import io
import logging
import re
from collections.abc import Iterator
from typing import Final

from agents.corpus.blocks import Block, tidy

#: More pages of one file are left out.
MAX_PAGES: Final = 1_000

_HYPHEN: Final = re.compile(r"(\w)[-\u00ad]\n(?=[a-z])")
#: A line is short when it has less than this share of the page's widest.
_SHORT: Final = 0.8
_END: Final = re.compile(r"""[.!?:]["')”’]*$""")


def read_pdf(data: bytes) -> Iterator[Block]:
    """Yield the blocks of a PDF file; a line counts from 1 through the text of all pages.

    Raises:
        Exception: Whatever pypdf makes of a broken file.
    """
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    reader = PdfReader(io.BytesIO(data), strict=False)
    line = 1
    for number, page in enumerate(reader.pages, 1):
        if number > MAX_PAGES:
            return
        text = page.extract_text() or ""
        yield from _blocks(_HYPHEN.sub(r"\1", text).split("\n"), line, f"page {number}")
        line += text.count("\n") + 1


def _blocks(lines: list[str], first: int, heading: str) -> Iterator[Block]:
    """Paragraphs end at an empty line, at a short line that ends a sentence, and after a short line that is a title."""
    width = max((len(line) for line in lines), default=0)
    texts: list[str] = []
    begin = first
    for index, line in enumerate(lines):
        stripped = line.strip()
        if stripped and not texts:
            begin = first + index
        if stripped:
            texts.append(stripped)
        short = len(stripped) < width * _SHORT
        following = lines[index + 1].strip() if index + 1 < len(lines) else ""
        title = short and len(texts) == 1 and stripped[-1:].isalnum() and following[:1].isupper()
        if texts and (not stripped or title or (short and _END.search(stripped))):
            yield Block(begin, heading, tidy(" ".join(texts)), first + index)
            texts = []
    if texts:
        yield Block(begin, heading, tidy(" ".join(texts)), first + len(lines) - 1)

"""From a file's bytes to its passages, whatever kind of file it is."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from agents.corpus import comments
from agents.corpus.blocks import Block, Passage, gather
from agents.corpus.html_text import read_html
from agents.corpus.markup import blocks_of
from agents.corpus.pdf import read_pdf
from agents.corpus.python_source import read_python

TEXT: Final = frozenset((".txt", ".text", ".md", ".markdown", ".mdx", ".rst", ".adoc", ".org", ".tex", ".log", ""))
HTML: Final = frozenset((".html", ".htm", ".xhtml"))
PYTHON: Final = frozenset((".py", ".pyi", ".pyw"))
#: What is read, by the ending of its name.
SUFFIXES: Final = TEXT | HTML | PYTHON | comments.SUFFIXES | {".pdf"}


class UnreadableError(ValueError):
    """A file that holds no text that can be had; the message says why."""


def read(path: str, data: bytes, *, docs_only: bool) -> list[Passage]:
    """Return the passages of one file.

    Args:
        path: Its name in the corpus; the ending says what it is.
        data: Its content.
        docs_only: Whether comments of Python source are left out, as in an installed package.

    Raises:
        UnreadableError: It is binary, broken, or not of a kind that is read.
    """
    try:
        return gather(path, _blocks(path, data, docs_only))
    except UnreadableError:
        raise
    except Exception as error:
        # What a parser makes of hostile bytes is its own affair; the file is left out and counted.
        raise UnreadableError(f"{type(error).__name__}: {error}"[:200]) from error
    except RecursionError as error:
        raise UnreadableError("nested too deeply") from error


def _blocks(path: str, data: bytes, docs_only: bool) -> Iterator[Block]:
    suffix = PurePosixPath(path).suffix.lower()
    if suffix == ".pdf" or data[:5] == b"%PDF-":
        return read_pdf(data)
    text = decode(data)
    if suffix in PYTHON:
        return read_python(text, comments=not docs_only)
    if suffix in HTML:
        return read_html(text)
    if suffix in comments.SUFFIXES:
        return comments.read_comments(text, suffix)
    if PurePosixPath(path).name == "METADATA":
        text = _description(text)
    return blocks_of(text.splitlines())


def decode(data: bytes) -> str:
    """Return a file's text.

    Raises:
        UnreadableError: It is no text.
    """
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError as error:
            raise UnreadableError("it is no text") from error
    if b"\0" in data:
        raise UnreadableError("it is binary")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
        strange = sum(1 for c in text[:20_000] if c == "\ufffd" or (not c.isprintable() and not c.isspace()))
        if strange > len(text[:20_000]) // 100:
            raise UnreadableError("it is binary") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _description(text: str) -> str:
    """The description in a distribution's metadata; its headers stay as empty lines, so that line numbers hold."""
    head, _, body = text.partition("\n\n")
    return "\n" * (head.count("\n") + 2) + body

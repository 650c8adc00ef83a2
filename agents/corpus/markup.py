"""Markdown, reStructuredText and plain text: their running text, without code, tables and marks.

One reader serves all three, since docstrings mix them. It knows the marks that are not text (fences, directives,
doctests, literal blocks, tables, underlines) and takes everything else as it stands; it never fails.
"""

# ruff: noqa: SIM905 - a list of words reads better as text

import re
from collections.abc import Iterator, Sequence
from typing import Final

from agents.corpus.blocks import Block, tidy

_FENCE: Final = re.compile(r"^\s*(```+|~~~+)")
_HEADING: Final = re.compile(r"^\s{0,3}#{1,6}\s+(.*?)\s*#*\s*$")
_UNDERLINE: Final = re.compile(r"^\s*([=\-~^\"'`#*+.:_])\1{2,}\s*$")
_DIRECTIVE: Final = re.compile(r"^(\s*)\.\.\s+(?:\|[^|]*\|\s+)?([\w:+-]+)::\s*(.*)$")
_COMMENT: Final = re.compile(r"^(\s*)\.\.(?:\s|$)")
_ADMONITION: Final = frozenset(
    "note warning tip important seealso hint caution danger attention admonition versionadded versionchanged deprecated topic"
    " tab-item dropdown card".split()
)
_ITEM: Final = re.compile(r"^(\s*)(?:[-*+•]|\d{1,3}[.)])\s+(?=\S)")
_FIELD: Final = re.compile(
    r"^\s*[:@](?:param|arg|keyword|raises?|throws|var|ivar|returns?)\b\s*([^:]*?)(?::|\s)\s*(.*)$"
)
_DROPPED_FIELD: Final = re.compile(r"^\s*:(?:type|rtype|meta|orphan|alt|width|align|class|name|caption)\b.*?:")
_OPTION: Final = re.compile(r"^(\s*\*{0,2}[\w.]+)\s*\([^()]*(?:\([^()]*\)[^()]*)*\)\s*:")
_NAMED: Final = re.compile(r"^\s*\*{0,2}[A-Za-z_][\w.]*(?:\s\([^()]*\))?:\s+\S")
_SECTION: Final = re.compile(
    r"^\s*(?:args|arguments|parameters|params|returns?|yields?|raises|attributes|keyword args|keyword arguments|examples?|notes?|"
    r"usage|see also|references|other parameters|warnings?|warns|todo)\s*:?\s*$",
    re.IGNORECASE,
)
_TABLE: Final = re.compile(r"^\s*(?:\|.*\||\+[-=+]+\+|[=-]{2,}(?:\s+[=-]{2,})+)\s*$")

_INLINE: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"<!--.*?-->", " "),
        (r"!\[[^\]\[]*\]\([^)(]*\)", " "),
        (r"\[([^\]\[]+)\]\((?:[^()]|\([^()]*\))*\)", r"\1"),
        (r"\[([^\]\[]+)\]\[[^\]\[]*\]", r"\1"),
        (r"`([^`<]+?)\s*<[^`>]*>`_{1,2}", r"\1"),
        (r":[\w:+.-]+:`(?:[^`<]+?)<[~!]?([^`>]*)>`", r"\1"),
        (r":[\w:+.-]+:`[~!]?([^`]*)`", r"\1"),
        (r"``(.+?)``", r"\1"),
        (r"`([^`]+)`_?", r"\1"),
        (r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1(?!\w)", r"\2"),
        (r"(?<![\w*])\*(?=[^\s*])([^*]+?)(?<=[^\s*])\*(?![\w*])", r"\1"),
        (r"</?[a-zA-Z][^<>]{0,200}>", " "),
        (r"\\([_*`#\[\]|.-])", r"\1"),
    )
)
#: A line or paragraph that is longer is no prose, and is taken as it stands; characters.
_MARKED: Final = 8_000
_HAS_MARKS: Final = re.compile(r"[`*<\[\\]|__")


def blocks_of(lines: Sequence[str], first: int = 1, heading: str = "", *, titled: bool = True) -> Iterator[Block]:
    """Yield the blocks of a marked-up text.

    Args:
        lines: The text's lines, without their ends.
        first: The number of the first line.
        heading: What the text is called before its own first heading.
        titled: Whether headings inside it rename what follows; in a docstring they do not.
    """
    texts: list[str] = []
    begin = last = first
    indent = 0
    skip_deeper = -1
    fence = ""
    doctest = False

    def flush() -> Iterator[Block]:
        if texts:
            text = plain(" ".join(texts))
            texts.clear()
            if text:
                yield Block(begin, heading, text, last)

    front = bool(lines) and lines[0].strip() == "---"
    for index, line in enumerate(lines):
        stripped = line.strip()
        if len(line) > _MARKED:
            yield from flush()
            begin = last = first + index
            texts.append(stripped)
            yield from flush()
            continue
        if front:
            front = index == 0 or stripped not in {"---", "..."}
            if front and index > 60:
                front = False
            continue
        depth = len(line) - len(line.lstrip())
        if fence:
            fence = "" if stripped.startswith(fence) and not stripped.strip("`~") else fence
            continue
        if match := _FENCE.match(line):
            yield from flush()
            fence = match.group(1)[:3]
            continue
        if not stripped:
            yield from flush()
            doctest = False
            continue
        if skip_deeper >= 0:
            if depth > skip_deeper:
                continue
            skip_deeper = -1
        if doctest or stripped.startswith((">>>", "... ")):
            yield from flush()
            doctest = True
            continue
        if match := _HEADING.match(line):
            yield from flush()
            heading = plain(match.group(1)) if titled else heading
            continue
        if _UNDERLINE.match(line):
            if len(texts) == 1 and len(texts[0]) <= 120:
                heading = plain(texts[0]) if titled else heading
                texts.clear()
            yield from flush()
            continue
        if match := _DIRECTIVE.match(line):
            yield from flush()
            if match.group(2) in _ADMONITION:
                if match.group(2) not in {"admonition", "topic", "dropdown", "tab-item", "card"} and match.group(3):
                    begin = last = first + index
                    indent = depth + 3
                    texts.append(match.group(3))
            else:
                skip_deeper = depth
            continue
        if _COMMENT.match(line):
            yield from flush()
            skip_deeper = depth
            continue
        if _TABLE.match(line) or _SECTION.match(line) or _DROPPED_FIELD.match(line):
            yield from flush()
            continue
        field = _FIELD.match(line)
        item = None if field else _ITEM.match(line)
        # A paragraph's first line may be indented; anything else that stands further left begins something new.
        if field or item or (texts and (_NAMED.match(line) or (len(texts) > 1 and depth < indent))):
            yield from flush()
        if field:
            stripped = f"{field.group(1)}: {field.group(2)}" if field.group(1) else field.group(2)
        elif item:
            depth = item.end()
            stripped = line[depth:].strip()
        if option := _OPTION.match(line if not item else stripped):
            yield from flush()
            stripped = f"{option.group(1).strip()}:{(line if not item else stripped)[option.end() :]}"
        if not texts:
            begin = first + index
        last, indent = first + index, depth
        if stripped.endswith("::"):
            texts.append(stripped[:-1])
            yield from flush()
            skip_deeper = depth if item is None else depth - 1
            continue
        texts.append(stripped)
    yield from flush()


def plain(text: str) -> str:
    """Return a line of marked-up text without its marks."""
    if len(text) <= _MARKED and (_HAS_MARKS.search(text) or ":`" in text):
        for pattern, replacement in _INLINE:
            text = pattern.sub(replacement, text)
    return tidy(text)

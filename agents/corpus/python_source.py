"""The documentation in Python source: docstrings, and comments where they are wanted.

Found by one pass of a regular expression over strings, comments and definitions, not by the compiler: that is several
times as quick, and it reads files that this Python cannot parse (another version's, half-written ones) just as well.
"""

import re
from collections.abc import Iterator
from typing import Final

from agents.corpus.blocks import Block
from agents.corpus.markup import blocks_of

# No two branches begin alike, and a string that is not closed ends with its line or with the file: so every attempt to
# match succeeds or fails at once, and the time stays proportional to the length whatever the text is. (Possessive
# quantifiers would say the same, but Python 3.11.0 to 3.11.3 match them wrongly.)
_PIECE: Final = re.compile(
    r"""(?P<triple>[rRuUbBfF]{0,2}(?:"{3}(?P<a>[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*)(?:"{3}|\\?\Z)"""
    r"""|'{3}(?P<b>[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*)(?:'{3}|\\?\Z)))"""
    r"""|(?P<string>"(?P<c>[^"\\\n]*(?:\\.[^"\\\n]*)*)"?|'(?P<d>[^'\\\n]*(?:\\.[^'\\\n]*)*)'?)"""
    r"""|(?P<comment>\#[^\n]*)"""
    r"""|^(?P<indent>[ \t]*)(?:async[ ]+)?(?:def|class)[ ]+(?P<name>\w+)""",
    re.MULTILINE | re.DOTALL,
)
_COPYRIGHT: Final = re.compile(
    r"copyright|licensed under|license,? version|spdx-license|all rights reserved", re.IGNORECASE
)
_TOOLING: Final = re.compile(
    r"^\s*(?:type:|noqa|pylint|pragma|ruff|mypy|fmt:|isort|yapf|nosec|!|-\*-|__\w+_begin__|__\w+_end__)"
)


def read_python(text: str, *, comments: bool) -> Iterator[Block]:
    """Yield the docstrings of a module, each under its qualified name, and its comments if ``comments``."""
    if not comments and '"""' not in text and "'''" not in text:
        return
    scopes: list[tuple[int, str]] = []
    line, at = 1, 0
    run: list[tuple[int, str]] = []
    for match in _PIECE.finditer(text):
        start = match.start()
        line += text.count("\n", at, start)
        at = start
        if match.group("comment") is not None:
            if comments and not text[text.rfind("\n", 0, start) + 1 : start].strip():
                if run and run[-1][0] != line - 1:
                    yield from _comment(run, scopes)
                    run = []
                run.append((line, match.group("comment").lstrip("#!: ")))
            continue
        if run:
            yield from _comment(run, scopes)
            run = []
        name = match.group("name")
        if name is not None:
            depth = len(match.group("indent").expandtabs())
            while scopes and scopes[-1][0] >= depth:
                scopes.pop()
            scopes.append((depth, name))
            continue
        content = match.group("a") or match.group("b") or match.group("c") or match.group("d") or ""
        if len(content) < 20 or not _is_docstring(text, start):
            continue
        depth = start - text.rfind("\n", 0, start) - 1
        while scopes and scopes[-1][0] >= depth:
            scopes.pop()
        if any(part.startswith("_") and part != "__init__" for _, part in scopes) and not comments:
            continue
        yield from _docstring(content, line, scopes)
    if run:
        yield from _comment(run, scopes)


def _is_docstring(text: str, start: int) -> bool:
    """Whether the string at ``start`` is a statement at the beginning of a body, or of the file."""
    begin = text.rfind("\n", 0, start) + 1
    if text[begin:start].strip():
        return False
    while begin > 0:
        end = begin - 1
        begin = text.rfind("\n", 0, end) + 1
        before = text[begin:end].strip()
        if before and not before.startswith("#"):
            return before.split("  #")[0].rstrip().endswith(":")
    return True


def _docstring(content: str, line: int, scopes: list[tuple[int, str]]) -> Iterator[Block]:
    lines = content.expandtabs().split("\n")
    margins = [len(other) - len(other.lstrip()) for other in lines[1:] if other.strip()]
    margin = min(margins, default=0)
    lines = [lines[0].strip(), *(other[margin:] for other in lines[1:])]
    if _COPYRIGHT.search(content[:400]):
        return
    yield from blocks_of(lines, line, ".".join(name for _, name in scopes), titled=False)


def _comment(run: list[tuple[int, str]], scopes: list[tuple[int, str]]) -> Iterator[Block]:
    texts = [text for _, text in run if not _TOOLING.match(text)]
    if not texts or _COPYRIGHT.search(" ".join(texts)[:600]):
        return
    yield from blocks_of(texts, run[0][0], ".".join(name for _, name in scopes), titled=False)

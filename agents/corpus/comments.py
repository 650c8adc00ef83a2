"""The comments of source files in other languages than Python."""

import re
from collections.abc import Iterator
from typing import Final

from agents.corpus.blocks import Block
from agents.corpus.markup import blocks_of

# A string is looked for over a bounded length, and a comment that is not closed goes on to the end: so no text makes
# the search try the same stretch again and again. An apostrophe may also be no string at all, as in Rust.
_STRING: Final = r'"(?:[^"\\\n]|\\.){0,400}"|\'(?:[^\'\\\n]|\\.){0,400}\''
_SLASHES: Final = re.compile(rf"(?P<block>/\*.*?(?:\*/|\Z))|(?P<line>//[^\n]*)|{_STRING}|\\.", re.DOTALL)
_HASH: Final = re.compile(rf"(?P<line>(?<![\w$&{{])\#[^\n]*)|{_STRING}|\\.")
_DASHES: Final = re.compile(
    rf"(?P<block>/\*.*?(?:\*/|\Z)|--\[\[.*?(?:\]\]|\Z)|\{{-.*?(?:-\}}|\Z))|(?P<line>--[^\n]*)|{_STRING}|\\.", re.DOTALL
)

_BY_SUFFIX: Final = {
    **dict.fromkeys(
        (".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".java", ".js", ".mjs", ".ts", ".tsx", ".jsx", ".go"), _SLASHES
    ),
    **dict.fromkeys(
        (".rs", ".swift", ".kt", ".scala", ".cs", ".php", ".css", ".proto", ".groovy", ".dart", ".zig"), _SLASHES
    ),
    **dict.fromkeys(
        (".sh", ".bash", ".rb", ".pl", ".r", ".jl", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".ex", ".exs"), _HASH
    ),
    **dict.fromkeys((".tf", ".cmake", ".mk", ".nix", ".ps1"), _HASH),
    **dict.fromkeys((".sql", ".lua", ".hs", ".elm", ".adb"), _DASHES),
}
SUFFIXES: Final = frozenset(_BY_SUFFIX)
_LEGAL: Final = re.compile(r"copyright|licensed under|spdx-license|all rights reserved", re.IGNORECASE)
_FRAME: Final = re.compile(r"^\s*(?:/\*+|\*+/|\*(?!\*)|//+!?|#+!?|--+(?:\[\[)?|\{-)\s?")
_TAILS: Final = ("*/", "]]", "-}")


def read_comments(text: str, suffix: str) -> Iterator[Block]:
    """Yield the blocks of a source file's comments; neighbouring comment lines are one text."""
    run: list[str] = []
    first = previous = 0
    line, at = 1, 0
    for match in _BY_SUFFIX[suffix].finditer(text):
        line += text.count("\n", at, match.start())
        at = match.start()
        groups = match.groupdict()
        comment = groups.get("line") or groups.get("block")
        if comment is None:
            continue
        lines = [_FRAME.sub("", _without_tail(part), count=1) for part in comment.split("\n")]
        if run and line > previous + 1:
            yield from _blocks(run, first)
            run = []
        if not run:
            first = line
        run += lines
        previous = line + len(lines) - 1
    if run:
        yield from _blocks(run, first)


def _without_tail(line: str) -> str:
    line = line.rstrip()
    for tail in _TAILS:
        if line.endswith(tail):
            return line.removesuffix(tail).rstrip("* ")
    return line


def _blocks(run: list[str], first: int) -> Iterator[Block]:
    if not _LEGAL.search(" ".join(run)[:600]):
        yield from blocks_of(run, first, titled=False)

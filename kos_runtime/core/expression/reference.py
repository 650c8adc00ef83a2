"""A text that is entirely a reference: ``$root``, then ``.name``, ``[3]`` or ``["key"]``, without spaces."""

import re
from typing import Final

from kos_runtime.core.expression.errors import ExpressionSyntaxError
from kos_runtime.core.expression.lexer import MAX_LENGTH, unescape
from kos_runtime.core.expression.parser import unknown_root
from kos_runtime.core.expression.syntax import DEFAULT_ROOTS, Reference

#: A reference has at most so many parts below its root.
MAX_PARTS: Final = 64

_ROOT: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_PART: Final = re.compile(
    r"""\.(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | \[(?P<index>0|[1-9][0-9]{0,17})\]
    | \[(?P<key>"[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*')\]""",
    re.VERBOSE | re.DOTALL,
)


def parse_reference(text: str, roots: frozenset[str] = DEFAULT_ROOTS) -> Reference:
    """Read a text that must be a reference.

    Raises:
        ExpressionSyntaxError: It is none, its root is not known, or it is too long.
    """
    root = begins_as_reference(text)
    if root is None:
        raise ExpressionSyntaxError("a reference begins with $ and a name", 0, text)
    if root not in roots:
        raise unknown_root(root, roots, 0, text)
    reference = whole_reference(text)
    if reference is None:
        raise ExpressionSyntaxError(
            f'not entirely a reference: after ${root} come .name, [3] or ["key"]', len(root) + 1, text
        )
    return reference


def begins_as_reference(text: str) -> str | None:
    """Return the name behind the dollar that ``text`` begins with, known or not; else None."""
    found = _ROOT.match(text)
    return found.group(1) if found else None


def whole_reference(text: str) -> Reference | None:
    """Return the reference that ``text`` is entirely, whatever its root; else None.

    Raises:
        ExpressionSyntaxError: A key has a broken escape, or there are more than ``MAX_PARTS`` parts.
    """
    found = _ROOT.match(text)
    if found is None or len(text) > MAX_LENGTH:
        return None
    root, end, path = found.group(1), found.end(), []
    while end < len(text):
        part = _PART.match(text, end)
        if part is None:
            return None
        content: str | int
        match part.lastgroup:
            case "name":
                content = part.group("name")
            case "index":
                content = int(part.group("index"))
            case _:
                content = unescape(part.group("key"), part.start("key"), text)
        path.append(content)
        end = part.end()
    if len(path) > MAX_PARTS:
        raise ExpressionSyntaxError(f"the reference is too long (more than {MAX_PARTS} parts)", 0, text)
    return Reference(root, tuple(path))

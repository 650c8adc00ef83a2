"""What can be wrong with an expression, and what is no fault of it.

::

    ValueError
    └── ExpressionError            a person wrote it, or gave it values, that do not fit
        ├── ExpressionSyntaxError  found when it is read: the text is no expression
        └── EvaluationError        found when it is computed: a wrong type, too expensive, out of range
            └── MissingReference   a reference to nothing; ``default`` and ``defined`` catch it

    NeedsData                      no fault: something must be loaded first, then evaluate again
"""

from typing import Final

Path = tuple[str | int, ...]

#: Characters of the source shown on each side of the place of an error.
_AROUND: Final = 24
#: A message repeats no more of what a user wrote. Characters.
_SHOWN: Final = 40


class ExpressionError(ValueError):
    """An expression or a value of the language that cannot be used.

    Attributes:
        message: What is wrong, without the place.
        position: Offset into ``source`` in characters, from 0, or None when no one place is at fault.
        source: The text that the position is in, or None.
        where: Keys and indexes that lead to the text inside a nested value; empty for a text that stands alone.
    """

    def __init__(self, message: str, position: int | None = None, source: str | None = None) -> None:
        super().__init__(message, position, source)
        self.message = message
        self.position = position
        self.source = source
        self.where: Path = ()

    def __str__(self) -> str:
        if self.position is None:
            return self.message
        place = f"at character {self.position + 1}"
        if self.source is None:
            return f"{self.message}, {place}"
        return f"{self.message}, {place} of {excerpt(self.source, self.position)}"


class ExpressionSyntaxError(ExpressionError):
    """The text is no expression of the language, or exceeds the bounds on length, depth or size."""


class EvaluationError(ExpressionError):
    """The expression cannot be computed from these values, or not within its budget."""


class MissingReference(EvaluationError):
    """A reference to nothing: no such step, name, key or index, or one that was skipped."""

    def __init__(
        self,
        root: str,
        path: Path = (),
        reason: str = "",
        position: int | None = None,
        source: str | None = None,
    ) -> None:
        """``root`` is empty when the value was computed; ``reason`` says more, such as ``the step was skipped``."""
        name = render_path(root, path) if root else f"the key {render_path('', path)}"
        super().__init__(f"{name} refers to nothing" + (f": {reason}" if reason else ""), position, source)
        self.args = (root, path, reason, position, source)
        self.root = root
        self.path = path
        self.reason = reason


class NeedsData(Exception):
    """Data must be loaded before the value is known; ``token`` tells the one who asked what to load."""

    def __init__(self, token: object) -> None:
        super().__init__(token)
        self.token = token


def render_path(root: str, path: Path) -> str:
    """Write a reference as a definition would: ``$steps["a-b"].x[3]``."""
    text = f"${root}" if root else ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isidentifier() and part.isascii():
            text += f".{part}"
        else:
            text += f"[{quoted(part)}]"
    return text


def quoted(text: str) -> str:
    """Show what a user wrote, cut to a bearable length, control characters escaped."""
    shown = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else _escaped(c) for c in shown) + '"'


def excerpt(source: str, position: int) -> str:
    """Show the part of a source around a position, on one line, in quotes."""
    start, end = max(0, position - _AROUND), min(len(source), position + _AROUND)
    shown = "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in source[start:end])
    return "`" + ("…" if start else "") + shown + ("…" if end < len(source) else "") + "`"


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"

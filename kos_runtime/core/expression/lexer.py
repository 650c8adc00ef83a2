"""Text into tokens.

One compiled pattern reads one token at a time. Each of its alternatives begins with another character or is unrolled,
so a text is read once from left to right and no input makes it go back.
"""

import re
from typing import Any, Final, TypeAlias

from kos_runtime.core.expression.errors import ExpressionSyntaxError, quoted

#: An expression is at most this long. Characters.
MAX_LENGTH: Final = 4_096

#: ``(kind, value, position)``. Kinds: ``integer`` (its digits), ``number``, ``string`` (unescaped), ``root`` (without
#: the dollar), ``name``, ``symbol`` (operators, brackets and the words that are operators), ``end``.
Token: TypeAlias = tuple[str, Any, int]

_TOKEN: Final = re.compile(
    r"""
      (?P<space>[ \t\r\n]+)
    | (?P<root>\$[A-Za-z_][A-Za-z0-9_]*)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    | (?P<string>"[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*')
    | (?P<symbol>==|!=|<=|>=|&&|\|\||[-+*/%<>!()\[\]{},.:])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_ESCAPED: Final = {
    "n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\\": "\\", "/": "/", '"': '"', "'": "'",
}  # fmt: skip
#: Words that are operators, and the other spelling of two of them.
_WORDS: Final = {word: word for word in ("and", "or", "not", "in", "if", "else")}
_OTHER_SPELLING: Final = {"&&": "and", "||": "or"}
#: Digits of the largest integer; more are not even converted.
_MAX_DIGITS: Final = 19

_HINTS: Final = {
    "=": "write == to compare",
    "&": "write and",
    "|": "write or",
    "?": "write a if condition else b",
    "^": "there are no bit operators",
    "~": "there are no bit operators",
    "`": "write strings in double quotes",
    "“": "write strings in straight quotes",
    "”": "write strings in straight quotes",
    "’": "write strings in straight quotes",
    "#": "an expression has no comments",
    ";": "an expression is one expression",
    "@": "there is no such operator",
    "\\": "escapes stand in strings only",
}


def tokenize(source: str, start: int = 0, *, embedded: bool = False) -> tuple[list[Token], int]:
    """Read the tokens of an expression.

    Args:
        source: The text it stands in.
        start: Where it begins in ``source``. Positions of tokens count from the beginning of ``source``.
        embedded: It stands between ``${{`` and ``}}``; otherwise it is the rest of the text.

    Returns:
        The tokens, the last of kind ``end``, and the offset behind the expression (of the closing braces, if embedded).

    Raises:
        ExpressionSyntaxError: A character that begins no token, a broken string or number, too long, not closed.
    """
    tokens: list[Token] = []
    match, size, braces = _TOKEN.match, len(source), 0
    limit = start + MAX_LENGTH
    if not embedded and size > limit:
        raise ExpressionSyntaxError(f"the expression is too long ({size - start} characters, at most {MAX_LENGTH})")
    position = start
    while position < size:
        found = match(source, position, limit)
        if found is None:
            if position >= limit:
                break
            raise _no_token(source, position)
        group, text = found.lastgroup, found.group()
        if group == "symbol":
            if text == "{":
                braces += 1
            elif text == "}":
                if embedded and not braces and source.startswith("}}", position):
                    tokens.append(("end", None, position))
                    return tokens, position
                braces -= 1
            tokens.append(("symbol", _OTHER_SPELLING.get(text, text), position))
        elif group == "name":
            tokens.append(("symbol" if text in _WORDS else "name", text, position))
        elif group == "root":
            tokens.append(("root", text[1:], position))
        elif group == "number":
            tokens.append(_number(text, position, source))
        elif group == "string":
            tokens.append(("string", unescape(text, position, source), position))
        position = found.end()
    if position >= limit and position < size:
        raise ExpressionSyntaxError(f"the expression is too long (at most {MAX_LENGTH} characters)", start, source)
    if embedded:
        raise ExpressionSyntaxError("${{ is not closed by }}", max(0, start - 3), source)
    tokens.append(("end", None, size))
    return tokens, size


def unescape(text: str, position: int, source: str) -> str:
    """Return the content of a string in quotes.

    Raises:
        ExpressionSyntaxError: An unknown escape, half of a surrogate pair, or the null character, which not every
            store can keep.
    """
    content = text[1:-1]
    if "\\" in content:
        content = _ESCAPE.sub(lambda found: _unescaped(found, position + 1, source), content)
    if "\0" in content:
        raise ExpressionSyntaxError("a string does not hold the null character", position, source)
    if not content.isascii() and any("\ud800" <= character <= "\udfff" for character in content):
        raise ExpressionSyntaxError("half of a surrogate pair is no character", position, source)
    return content


def looks_cut(text: str) -> bool:
    """Whether brackets or quotes in ``text`` do not balance: what is left of an expression that YAML has cut.

    A quote behind a letter or digit is an apostrophe and opens nothing.

    >>> looks_cut('len($steps.plan["tasks"')
    True
    """
    closing: list[str] = []
    quote, before, skip = "", "", False
    for character in text:
        if quote:
            if skip:
                skip = False
            elif character == "\\":
                skip = True
            elif character == quote:
                quote = ""
        elif character in "\"'" and not before.isalnum():
            quote = character
        elif character in _BRACKETS:
            closing.append(_BRACKETS[character])
        elif character in ")]}" and (not closing or closing.pop() != character):
            return True
        before = character
    return bool(quote or closing)


_BRACKETS: Final = {"(": ")", "[": "]", "{": "}"}


def _number(text: str, position: int, source: str) -> Token:
    if text.isdigit():
        if len(text) > 1 and text[0] == "0":
            raise ExpressionSyntaxError("an integer does not begin with 0", position, source)
        if len(text) > _MAX_DIGITS:
            raise ExpressionSyntaxError("the integer does not fit 64 bits", position, source)
        return ("integer", text, position)
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        raise ExpressionSyntaxError("the number is too large", position, source)
    return ("number", value, position)


def _unescaped(found: re.Match[str], offset: int, source: str) -> str:
    for digits in found.group(1, 2, 3):
        if digits:
            code = int(digits, 16)
            if code > 0x10FFFF:
                raise ExpressionSyntaxError("no such character", offset + found.start(), source)
            return chr(code)
    character = _ESCAPED.get(found.group(4))
    if character is None:
        raise ExpressionSyntaxError(f"unknown escape {quoted(found.group())}", offset + found.start(), source)
    return character


def _no_token(source: str, position: int) -> ExpressionSyntaxError:
    character = source[position]
    if character in "\"'":
        return ExpressionSyntaxError("the string is not closed", position, source)
    if character == "$":
        return ExpressionSyntaxError("a name is missing after $", position, source)
    shown = character if character.isprintable() else f"U+{ord(character):04X}"
    hint = _HINTS.get(character, "")
    return ExpressionSyntaxError(f"unexpected {shown}" + (f": {hint}" if hint else ""), position, source)

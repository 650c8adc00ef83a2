"""Plain data as YAML that reads back to the same data, by this language's rules and by YAML 1.1's as well."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kos_runtime.definition.scalars import read_scalar

#: A text that may stand without quotes: it begins like a word or a reference, and holds nothing that ends it.
_PLAIN: Final = re.compile(r"[A-Za-z_$/][ -~]*")
_SPAN: Final = re.compile(r"([0-9]+(ms|[smhdw]))+")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
#: Words that other readers of YAML take for booleans or null.
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
#: Characters that a file may not hold as they are.
_ESCAPED: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
#: A list of names up to this length stands on one line. Characters.
_LINE: Final = 100


def write_yaml(data: Mapping[str, Any]) -> str:
    """Return a document of block style, indented by two."""
    return "\n".join(_mapping(data, "")) + "\n"


def _mapping(data: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in data.items():
        yield from _entry(f"{indent}{_key(key)}:", value, indent)


def _entry(lead: str, value: Any, indent: str) -> Iterator[str]:
    match value:
        case dict() if value:
            yield lead
            yield from _mapping(value, indent + "  ")
        case list() if value and not _fits_a_line(value):
            yield lead
            yield from _items(value, indent + "  ")
        case str() if _is_block(value):
            yield f"{lead} {'|' if value.endswith(chr(10)) else '|-'}"
            for line in value.removesuffix("\n").split("\n"):
                yield f"{indent}  {line}" if line else ""
        case _:
            yield f"{lead} {_inline(value)}"


def _items(items: list[Any], indent: str) -> Iterator[str]:
    for item in items:
        if isinstance(item, dict) and item:
            lines = _mapping(item, indent + "  ")
            yield f"{indent}- {next(lines).lstrip()}"
            yield from lines
        elif isinstance(item, list) and item and not _fits_a_line(item):
            yield f"{indent}-"
            yield from _items(item, indent + "  ")
        else:
            yield f"{indent}- {_inline(item)}"


def _fits_a_line(items: list[Any]) -> bool:
    return all(isinstance(item, str) and _is_name(item) for item in items) and sum(map(len, items)) < _LINE


def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None and text.lower() not in _WORDS


def _is_block(text: str) -> bool:
    """Say whether a text of several lines can stand as a literal block and be read back the same."""
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 2 or not lines[0] or not lines[-1]:
        return False
    return all(line.isprintable() and line == line.strip() and not _ESCAPED.search(line) for line in lines)


def _key(key: str) -> str:
    return key if _is_name(key) else _quoted(key)


def _inline(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return value if _is_plain(value) else _quoted(value)
        case list():
            return f"[{', '.join(value)}]"
        case _:
            return "{}"


def _is_plain(text: str) -> bool:
    if _SPAN.fullmatch(text):
        return True
    if not _PLAIN.fullmatch(text) or text.endswith((" ", ":")) or ": " in text or " #" in text:
        return False
    return text.lower() not in _WORDS and read_scalar(text) == (text, "")


def _quoted(text: str) -> str:
    escaped = json.dumps(text, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found.group()):04x}", escaped)

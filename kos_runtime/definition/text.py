"""YAML text to plain data with positions, safely.

The events of the parser are looked at before anything is built, so that what a hostile file costs is bounded by its
size: no anchors, aliases, tags or merge keys, one document, bounded depth, count and length. Scalars follow YAML 1.2:
``yes``, ``no`` and ``on`` are texts, ``010`` and ``12:30:00`` and dates too. A key that stands twice is an error.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from kos_runtime.definition.problems import DefinitionError, Path, Problem

MAX_BYTES: Final = 2 * 1024 * 1024
MAX_DEPTH: Final = 32
MAX_NODES: Final = 100_000
MAX_SCALAR: Final = 64 * 1024

_DIGITS: Final = frozenset("0123456789")


@dataclass(slots=True)
class Mark:
    """Where a value, or a key, stands: line and column from 0, and how long it is on its line."""

    line: int
    column: int
    length: int


@dataclass(slots=True)
class Source:
    """A file: its data, where everything stands, and how scalars were written."""

    name: str
    lines: list[str]
    data: Any = None
    values: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)
    raw: dict[Path, str] = field(default_factory=dict)

    def problem(
        self,
        path: Path,
        code: str,
        message: str,
        *,
        hint: str = "",
        severity: str = "error",
        key: bool = False,
        offset: int = 0,
    ) -> Problem:
        """Make a problem at a path, or at the nearest place above it that the file has."""
        mark = None
        at = path
        while mark is None:
            mark = (self.keys.get(at) if key else None) or self.values.get(at) or self.keys.get(at)
            if mark is None and not at:
                mark = Mark(0, 0, 1)
            elif mark is None:
                at, key = at[:-1], True
        text = self.lines[mark.line] if mark.line < len(self.lines) else ""
        column = mark.column + (offset if offset and mark.column + offset <= len(text) else 0)
        return Problem(
            file=self.name,
            line=mark.line + 1,
            column=column + 1,
            code=code,
            message=message,
            hint=hint,
            severity=severity,
            text=text,
            length=max(1, mark.length - offset) if offset else mark.length,
            path=dotted(path),
        )


def dotted(path: Path) -> str:
    """Write a path as people do: ``workflow.steps[2].inputs.topic``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def read(text: str | bytes, name: str) -> Source:
    """Read a file.

    Raises:
        DefinitionError: It is no YAML within the bounds; every problem that can be told is in it.
    """
    decoded = _decode(text, name)
    source = Source(name, decoded.splitlines())
    _scan(decoded, source)
    try:
        node = yaml.compose(decoded, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _syntax(error, source) from error
    problems: list[Problem] = []
    source.data = _build(node, (), source, problems)
    if problems:
        raise DefinitionError(problems)
    return source


def _fail(source: Source, code: str, message: str, mark: Any = None, hint: str = "") -> DefinitionError:
    line, column = (mark.line, mark.column) if mark is not None else (0, 0)
    text = source.lines[line] if line < len(source.lines) else ""
    return DefinitionError(
        [
            Problem(
                file=source.name, line=line + 1, column=column + 1, code=code, message=message, hint=hint, text=text
            )
        ]
    )


def _decode(text: str | bytes, name: str) -> str:
    source = Source(name, [])
    if len(text) > MAX_BYTES:
        raise _fail(source, "KOS001", f"the file has {len(text)} bytes, at most {MAX_BYTES} are read")
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = text[: error.start].count(b"\n")
            raise DefinitionError(
                [
                    Problem(
                        file=name,
                        line=line + 1,
                        column=error.start - (text.rfind(b"\n", 0, error.start) + 1) + 1,
                        code="KOS002",
                        message=f"the file is no UTF-8 text: byte {error.start} is {text[error.start]:#04x}",
                        hint="save it as UTF-8",
                    )
                ]
            ) from error
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for number, line in enumerate(text.split("\n")):
        for column, character in enumerate(line):
            if (character < " " and character != "\t") or character == "\x7f" or "\ud800" <= character <= "\udfff":
                message = f"the character U+{ord(character):04X} does not belong into a text file"
                raise DefinitionError(
                    [Problem(file=name, line=number + 1, column=column + 1, code="KOS003", message=message)]
                )
    return text


def _syntax(error: Exception, source: Source) -> DefinitionError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    words = getattr(error, "problem", None) or str(error)
    hint = ""
    if mark is not None and mark.line < len(source.lines):
        line = source.lines[mark.line]
        if "\t" in line[: mark.column + 1]:
            hint = "YAML is indented by spaces, not by tabs"
        elif "mapping values are not allowed" in words:
            hint = "put a text that holds ': ' in quotes"
        elif "found character" in words or "expected" in words or "unexpected" in words:
            hint = "put an expression or text with special characters in quotes"
    return _fail(source, "KOS004", f"this is no YAML: {words}", mark, hint)


def _scan(text: str, source: Source) -> None:
    """Walk over the parser's events and refuse what is never allowed, before anything is built."""
    depth = nodes = documents = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            nodes += 1
            if nodes > MAX_NODES * 2:
                raise _fail(source, "KOS005", f"the file has more than {MAX_NODES} values", event.start_mark)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _fail(source, "KOS006", "the file holds more than one document", event.start_mark)
            if isinstance(event, yaml.AliasEvent):
                raise _fail(source, "KOS007", "aliases (*name) are not allowed", event.start_mark, "write the value out")
            if getattr(event, "anchor", None):
                raise _fail(source, "KOS007", "anchors (&name) are not allowed", event.start_mark, "write the value out")
            if getattr(event, "tag", None):
                hint = "put a text that begins with '!' in quotes"
                raise _fail(source, "KOS008", f"tags ({event.tag}) are not allowed", event.start_mark, hint)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    raise _fail(source, "KOS009", f"it is nested deeper than {MAX_DEPTH}", event.start_mark)
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            elif isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_SCALAR:
                message = f"a text of {len(event.value)} characters, at most {MAX_SCALAR} are allowed"
                raise _fail(source, "KOS010", message, event.start_mark)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _syntax(error, source) from error


def _build(node: Any, path: Path, source: Source, problems: list[Problem]) -> Any:
    if node is None:
        return None
    source.values[path] = _mark(node, source)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, source, problems)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*path, index), source, problems) for index, item in enumerate(node.value)]
    if node.style is not None:
        return node.value
    value, problem = _scalar(node.value)
    if problem:
        problems.append(source.problem(path, "KOS012", problem))
    if not isinstance(value, str):
        source.raw[path] = node.value
    return value


def _mapping(node: Any, path: Path, source: Source, problems: list[Problem]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            problems.append(_at(key_node, source, "KOS011", "a key must be a text", "put it in quotes"))
            continue
        key = key_node.value
        here = (*path, key)
        if key == "<<":
            problems.append(_at(key_node, source, "KOS007", "merge keys (<<) are not allowed", "write the keys out"))
            continue
        if key in found:
            first = source.keys[here].line + 1
            problems.append(_at(key_node, source, "KOS011", f"the key {key!r} stands twice, first in line {first}", ""))
            continue
        source.keys[here] = _mark(key_node, source)
        found[key] = _build(value_node, here, source, problems)
    return found


def _at(node: Any, source: Source, code: str, message: str, hint: str) -> Problem:
    mark = _mark(node, source)
    return Problem(
        file=source.name,
        line=mark.line + 1,
        column=mark.column + 1,
        code=code,
        message=message,
        hint=hint,
        text=source.lines[mark.line] if mark.line < len(source.lines) else "",
        length=mark.length,
    )


def _mark(node: Any, source: Source) -> Mark:
    begin, end = node.start_mark, node.end_mark
    if end.line == begin.line:
        length = max(1, end.column - begin.column)
    else:
        line = source.lines[begin.line] if begin.line < len(source.lines) else ""
        length = max(1, len(line.rstrip()) - begin.column)
    return Mark(begin.line, begin.column, length)


def _scalar(text: str) -> tuple[Any, str]:
    """Read a plain scalar as YAML 1.2 does; the second is what is wrong with it, if anything."""
    if text in {"", "~", "null", "Null", "NULL"}:
        return None, ""
    if text in {"true", "True", "TRUE"}:
        return True, ""
    if text in {"false", "False", "FALSE"}:
        return False, ""
    body = text[1:] if text[0] in "+-" else text
    if body.lower() in {".inf", ".nan"}:
        return text, f"{text} is no number that can be stored"
    if body and body[0] in _DIGITS and set(body) <= _DIGITS:
        if len(body) > 1 and body[0] == "0":
            return text, ""
        if len(body) > 19 or not -(2**63) <= int(text) < 2**63:  # noqa: PLR2004 - digits of a 64-bit number
            return text, f"{text[:40]} is an integer beyond 64 bits"
        return int(text), ""
    if body and (body[0] in _DIGITS or body[0] == ".") and set(body) <= _DIGITS | set(".eE+-"):
        mantissa = body.lower().split("e")[0]
        whole = mantissa.split(".")[0]
        if mantissa.count(".") <= 1 and any(c in _DIGITS for c in mantissa) and not (len(whole) > 1 and whole[0] == "0"):
            try:
                number = float(text)
            except ValueError:
                return text, ""
            if number in {float("inf"), float("-inf")}:
                return text, f"{text[:40]} is larger than any number that can be stored"
            return number, ""
    return text, ""

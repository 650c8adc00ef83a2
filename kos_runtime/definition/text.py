"""A file's bytes to plain data with positions, safely.

What a hostile file costs is bounded by its size: the parser's events are looked at one by one, and refused, before
anything is made of them (``yaml_events``).
"""

import re
from typing import Any, Final

import yaml

from kos_runtime.definition.positions import Source
from kos_runtime.definition.problems import DefinitionError, Problem
from kos_runtime.definition.yaml_events import MAX_DEPTH, Builder, Refused

MAX_BYTES: Final = 2 * 1024 * 1024
#: The parser of libyaml where there is one; it accepts the same and is twenty times as quick.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: A broken text up to this length is read again by the parser that says more. Characters; some 0.2 s.
_TOLD_AGAIN: Final = 16 * 1024
#: Control characters, halves of surrogate pairs, a byte-order mark in the middle, and ends of lines that only some
#: programs take for such.
_UNFIT: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def read(text: str | bytes, name: str) -> Source:
    """Read a file of plain data.

    Raises:
        DefinitionError: It is no YAML within the bounds, or holds what is not allowed.
    """
    source = parse(text, name)
    if source.problems:
        raise DefinitionError(source.problems)
    return source


def parse(text: str | bytes, name: str) -> Source:
    """Read a file; what is wrong with it and leaves the rest readable is in the source's problems.

    Raises:
        DefinitionError: It is no YAML within the bounds.
    """
    decoded = _decode(text, name)
    try:
        return _built(decoded, name, _LOADER)
    except (yaml.YAMLError, ValueError) as error:
        raise _syntax(*_told_better(decoded, name, error)) from error


def _built(text: str, name: str, loader: Any) -> Source:
    source = Source(name, text.split("\n"))
    try:
        source.data = Builder(source).document(yaml.parse(text, Loader=loader))
    except Refused as refused:
        raise DefinitionError([*source.problems, refused.problem]) from refused
    return source


def _told_better(text: str, name: str, error: Exception) -> tuple[Exception, Source]:
    """Return the same error in the words of the parser that is slower and says more, for a text of bearable size.

    Raises:
        DefinitionError: That parser reads on to something that is refused: some releases of libyaml look ahead further
            than they hand out.
    """
    if _LOADER is not yaml.SafeLoader and len(text) <= _TOLD_AGAIN:
        try:
            _built(text, name, yaml.SafeLoader)
        except (yaml.YAMLError, ValueError) as better:
            error = better
    return error, Source(name, text.split("\n"))


def _decode(given: str | bytes, name: str) -> str:
    """Return the text of a file, its lines ended by line feeds alone."""
    source = Source(name, [])
    if len(given) > MAX_BYTES:
        message = f"the file has {len(given)} bytes, at most {MAX_BYTES} are read"
        raise DefinitionError([source.problem_at(0, 0, "KOS001", message)])
    text = _utf8(given, name) if isinstance(given, bytes) else given
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    # Other ends of lines that YAML or Python would count are refused with the control characters, so a line is a line.
    found = _UNFIT.search(text)
    if found is None:
        return text
    start = text.rfind("\n", 0, found.start()) + 1
    line = text.count("\n", 0, start)
    end = text.find("\n", start)
    problem = Problem(
        file=name,
        line=line + 1,
        column=found.start() - start + 1,
        code="KOS003",
        message=f"the character U+{ord(found.group()):04X} does not belong into a text file",
        hint="write it as an escape in double quotes" if found.group() in "\x85\u2028\u2029" else "",
        text=_UNFIT.sub("\ufffd", text[start : end if end >= 0 else len(text)]),
    )
    raise DefinitionError([problem])


def _utf8(given: bytes, name: str) -> str:
    try:
        return given.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        begin = given.rfind(b"\n", 0, error.start) + 1
        end = given.find(b"\n", begin)
        problem = Problem(
            file=name,
            line=given.count(b"\n", 0, error.start) + 1,
            column=len(given[begin : error.start].decode("utf-8", "replace")) + 1,
            code="KOS002",
            message=f"the file is no UTF-8 text: byte {error.start} is {given[error.start]:#04x}",
            hint="save it as UTF-8",
            text=_UNFIT.sub("\ufffd", given[begin : end if end >= 0 else len(given)].decode("utf-8", "replace")),
        )
        raise DefinitionError([problem]) from error


def _syntax(error: Exception, source: Source) -> DefinitionError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    words = getattr(error, "problem", None) or str(error)
    hint = ""
    if mark is not None and mark.line < len(source.lines):
        line = source.lines[mark.line]
        if "\t" in line[: mark.column + 1]:
            hint = "YAML is indented by spaces, not by tabs"
        elif "$" in line and any(bracket in line for bracket in "([{\"'"):
            hint = "an expression was cut by YAML: put the whole expression in quotes"
        elif "mapping values are not allowed" in words:
            hint = "put a text that holds ': ' in quotes"
        elif "found character" in words or "expected" in words or "unexpected" in words:
            hint = "put an expression or text with special characters in quotes"
    line, column = (mark.line, mark.column) if mark is not None else (0, 0)
    if "nesting depth" in words:
        return DefinitionError([source.problem_at(line, column, "KOS009", f"it is nested deeper than {MAX_DEPTH}")])
    return DefinitionError([source.problem_at(line, column, "KOS004", f"this is no YAML: {words}", hint=hint)])

"""The parser's events to plain data, with everything refused that is never allowed.

No anchors, aliases, tags or merge keys, one document, bounded depth, count and length; keys are texts and stand once.
Nothing is built of an event before it was looked at, so nested aliases or merge keys cannot multiply.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import yaml

from kos_runtime.definition.positions import Mark, Source
from kos_runtime.definition.problems import Path, Problem
from kos_runtime.definition.scalars import read_scalar

MAX_DEPTH: Final = 32
MAX_NODES: Final = 100_000
#: Characters of one text.
MAX_SCALAR: Final = 64 * 1024
#: So many problems are told of one file's text.
_MAX_PROBLEMS: Final = 200


class Refused(Exception):
    """The file is read no further."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


class Builder:
    """Makes data of one file's events; positions, raw scalars and problems go into its source."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._nodes = 0

    def document(self, events: Iterable[Any]) -> Any:
        """Return the one document's data, None when there is none.

        Raises:
            Refused: Something is not allowed.
        """
        data, documents = None, 0
        stream = iter(events)
        for event in stream:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self._refuse(event, "KOS006", "the file holds more than one document")
                data = self._value(next(stream), (), 0, stream)
        return data

    def _refuse(self, event: Any, code: str, message: str, hint: str = "") -> Refused:
        mark = event.start_mark
        return Refused(self.source.problem_at(mark.line, mark.column, code, message, hint=hint))

    def _admit(self, event: Any, depth: int) -> None:
        """Refuse what is never allowed."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise self._refuse(event, "KOS005", f"the file has more than {MAX_NODES} values")
        if isinstance(event, yaml.AliasEvent):
            raise self._refuse(event, "KOS007", f"aliases (*{event.anchor:.40}) are not allowed", "write the value out")
        if event.anchor is not None:
            raise self._refuse(event, "KOS007", f"anchors (&{event.anchor:.40}) are not allowed", "write the value out")
        if event.tag is not None:
            hint = "put a text that begins with '!' in quotes"
            raise self._refuse(event, "KOS008", f"tags ({event.tag:.60}) are not allowed", hint)
        if isinstance(event, yaml.ScalarEvent):
            if len(event.value) > MAX_SCALAR:
                message = f"a text of {len(event.value)} characters, at most {MAX_SCALAR} are allowed"
                raise self._refuse(event, "KOS010", message)
            if not event.value.isascii() and any("\ud800" <= character <= "\udfff" for character in event.value):
                raise self._refuse(
                    event, "KOS003", "a text holds half of a surrogate pair", "write the whole character"
                )
        elif depth >= MAX_DEPTH:
            raise self._refuse(event, "KOS009", f"it is nested deeper than {MAX_DEPTH}")

    def _value(self, event: Any, path: Path, depth: int, stream: Iterator[Any]) -> Any:
        self._admit(event, depth)
        if isinstance(event, yaml.ScalarEvent):
            self.source.values[path] = self._mark(event, event)
            return self._scalar(event, path)
        place = self.source.values[path] = Mark(event.start_mark.line, event.start_mark.column, 1)
        data: Any
        if isinstance(event, yaml.MappingStartEvent):
            data, last = self._mapping(path, depth + 1, stream)
        else:
            data, last = [], next(stream)
            while not isinstance(last, yaml.SequenceEndEvent):
                data.append(self._value(last, (*path, len(data)), depth + 1, stream))
                last = next(stream)
        place.length = self._mark(event, last).length
        return data

    def _mapping(self, path: Path, depth: int, stream: Iterator[Any]) -> tuple[dict[str, Any], Any]:
        found: dict[str, Any] = {}
        while True:
            event = next(stream)
            if isinstance(event, yaml.MappingEndEvent):
                return found, event
            self._admit(event, depth)
            if not isinstance(event, yaml.ScalarEvent):
                self._tell(event, "KOS011", "a key must be a text", "put it in quotes")
                self._skip(event, depth, stream)
                self._skip(None, depth, stream)
                continue
            key = event.value
            here = (*path, key)
            if key == "<<" and not event.style:
                self._tell(event, "KOS007", "merge keys (<<) are not allowed", "write the keys out")
                self._skip(None, depth, stream)
            elif key in found:
                first = self.source.keys[here].line + 1
                self._tell(event, "KOS011", f"the key {key!r:.80} stands twice, first in line {first}")
                self._skip(None, depth, stream)
            else:
                self.source.keys[here] = self._mark(event, event)
                found[key] = None
                found[key] = self._value(next(stream), here, depth, stream)

    def _skip(self, event: Any, depth: int, stream: Iterator[Any]) -> None:
        """Pass over a value whose first event is given, or comes next."""
        if event is None:
            event = next(stream)
            self._admit(event, depth)
        level = int(isinstance(event, yaml.CollectionStartEvent))
        while level:
            event = next(stream)
            if isinstance(event, yaml.CollectionEndEvent):
                level -= 1
                continue
            self._admit(event, depth + level)
            level += int(isinstance(event, yaml.CollectionStartEvent))

    def _scalar(self, event: Any, path: Path) -> Any:
        if event.style:
            return event.value
        value, problem = read_scalar(event.value)
        if problem and len(self.source.problems) < _MAX_PROBLEMS:
            self.source.problems.append(self.source.problem(path, "KOS012", problem))
        if not isinstance(value, str):
            self.source.raw[path] = event.value
        return value

    def _tell(self, event: Any, code: str, message: str, hint: str = "") -> None:
        if len(self.source.problems) < _MAX_PROBLEMS:
            mark = self._mark(event, event)
            problem = self.source.problem_at(mark.line, mark.column, code, message, hint=hint, length=mark.length)
            self.source.problems.append(problem)

    def _mark(self, first: Any, last: Any) -> Mark:
        """Return where something begins, and how much of it is on that line."""
        begin, end = first.start_mark, last.end_mark
        if end.line == begin.line:
            return Mark(begin.line, begin.column, max(1, end.column - begin.column))
        line = self.source.lines[begin.line] if begin.line < len(self.source.lines) else ""
        return Mark(begin.line, begin.column, max(1, len(line.rstrip()) - begin.column))

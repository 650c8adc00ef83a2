"""One description of what a file may hold, used twice: to check it, and as its JSON Schema.

A shape takes plain data and gives it back in its canonical form; whatever does not fit becomes a problem at its place,
and checking goes on, so that a file's problems are all told at once.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, Final

from kos_runtime.core.expression import looks_cut
from kos_runtime.core.identity import is_name
from kos_runtime.core.instant import parse_duration
from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan.types import word_for
from kos_runtime.definition.positions import Source
from kos_runtime.definition.problems import Path, Problem
from kos_runtime.definition.quantities import amount_of

BAD: Final[Any] = object()
NAME_PATTERN: Final = "^[A-Za-z_][A-Za-z0-9_-]*$"
#: So many problems of one file are told; more would help nobody.
MAX_PROBLEMS: Final = 200
#: So many words are compared with mistaken ones, all in all, so that a hostile file does not take long to refuse.
_MAX_COMPARED: Final = 20_000


class Check:
    """A file under check: where problems are gathered."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self._compared = 0
        self._errors = self._warnings = 0

    @property
    def is_full(self) -> bool:
        """Whether enough errors were found that looking for more helps nobody."""
        return self._errors >= MAX_PROBLEMS

    def nearest(self, word: object, choices: Iterable[str]) -> str | None:
        """Return the choice that a mistaken word was probably meant to be."""
        if not isinstance(word, str) or self._compared > _MAX_COMPARED or self.is_full:
            return None
        known = tuple(islice(choices, _MAX_COMPARED))
        self._compared += len(known)
        return nearest(word, known)

    def hint(self, word: object, choices: Iterable[str], otherwise: str = "") -> str:
        """Return the hint that names the nearest choice, else what to say when nothing is near."""
        near = self.nearest(word, choices)
        return f"did you mean {near!r}?" if near else otherwise

    def fail(self, path: Path, code: str, message: str, hint: str = "", *, key: bool = False, offset: int = 0) -> Any:
        """Note down an error; it returns ``BAD``, which stands for a value that does not fit."""
        if self.is_full:
            return BAD
        self._errors += 1
        self.problems.append(self.source.problem(path, code, message, hint=hint, key=key, offset=offset))
        return BAD

    def warn(self, path: Path, code: str, message: str, hint: str = "", *, key: bool = False) -> None:
        if self._warnings >= MAX_PROBLEMS:
            return
        self._warnings += 1
        self.problems.append(self.source.problem(path, code, message, hint=hint, severity="warning", key=key))


class Shape:
    def check(self, value: Any, path: Path, to: Check) -> Any:
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        raise NotImplementedError

    def wrong(self, value: Any, path: Path, to: Check, expected: str) -> Any:
        shown = f", got {value!r:.60}" if isinstance(value, str | int | float | bool) else f", got {word_for(value)}"
        return to.fail(path, "KOS103", f"{_place(path)}: expected {expected}{shown}")


def _place(path: Path) -> str:
    for part in reversed(path):
        if isinstance(part, str):
            return part
    return "the file"


class Anything(Shape):
    """A value of the language: literals, references, computed texts. Its meaning is checked when it is compiled."""

    def check(self, value: Any, path: Path, to: Check) -> Any:
        del path, to
        return value

    def schema(self) -> dict[str, Any]:
        return {}


class Text(Shape):
    """A text. ``raw`` takes numbers as they were written: ``version: 1.0`` is the text ``1.0``."""

    def __init__(self, *, raw: bool = False, name: bool = False, cut: bool = False) -> None:
        self.raw, self.name, self.cut = raw, name, cut

    def check(self, value: Any, path: Path, to: Check) -> Any:
        if self.raw and isinstance(value, int | float | bool):
            value = to.source.raw.get(path, str(value))
        if not isinstance(value, str):
            return self.wrong(value, path, to, "a text")
        if self.name and not is_name(value):
            hint = "letters, digits, _ and -, first a letter or _, at most 128"
            return to.fail(path, "KOS104", f"{value!r} is no name", hint)
        return value

    def schema(self) -> dict[str, Any]:
        if self.name:
            return {"type": "string", "pattern": NAME_PATTERN, "maxLength": 128}
        return {"type": ["string", "number"]} if self.raw else {"type": "string"}


class Condition(Shape):
    """An expression without braces. A bare true or false is one too."""

    def check(self, value: Any, path: Path, to: Check) -> Any:
        if isinstance(value, bool):
            return "true" if value else "false"
        if not isinstance(value, str):
            hint = 'put an expression that begins with [ or { or " in quotes'
            return to.fail(path, "KOS105", f"{_place(path)}: expected a condition, got {word_for(value)}", hint)
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "boolean"]}


class Number(Shape):
    def __init__(self, low: float = 0, high: float = float("inf"), *, whole: bool = True) -> None:
        self.low, self.high, self.whole = low, high, whole

    def check(self, value: Any, path: Path, to: Check) -> Any:
        kinds: Any = int if self.whole else int | float
        if isinstance(value, bool) or not isinstance(value, kinds):
            return self.wrong(value, path, to, "a whole number" if self.whole else "a number")
        if not self.low <= value <= self.high:
            upper = "up" if self.high == float("inf") else f"{self.high:g}"
            span = f"{self.low:g} or more" if upper == "up" else f"{self.low:g}..{upper}"
            return to.fail(path, "KOS106", f"{_place(path)}: must be {span}, got {value}")
        return value

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "integer" if self.whole else "number", "minimum": self.low}
        if self.high != float("inf"):
            schema["maximum"] = self.high
        return schema


class Flag(Shape):
    def check(self, value: Any, path: Path, to: Check) -> Any:
        if not isinstance(value, bool):
            hint = "; write true or false" if value in ("yes", "no", "on", "off") else ""
            return self.wrong(value, path, to, f"true or false{hint}")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


class Span(Shape):
    """A duration such as 24h; kept as it was written."""

    def check(self, value: Any, path: Path, to: Check) -> Any:
        if not isinstance(value, str):
            return self.wrong(value, path, to, "a duration such as 30s, 5m or 24h")
        try:
            parse_duration(value)
        except ValueError as error:
            return to.fail(path, "KOS107", f"{_place(path)}: {error}")
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": "^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d|w))+$"}


class Amount(Shape):
    """A quantity of a resource: a number, or bytes with a unit such as 512MiB."""

    def check(self, value: Any, path: Path, to: Check) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return value
        if isinstance(value, str) and amount_of(value) is not None:
            return value
        return self.wrong(value, path, to, "a number, or bytes with a unit such as 512MiB")

    def schema(self) -> dict[str, Any]:
        return {"type": ["number", "string"]}


class OneOf(Shape):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def check(self, value: Any, path: Path, to: Check) -> Any:
        if isinstance(value, str) and value in self.words:
            return value
        shown = f"{value!r:.60}" if isinstance(value, str | int | float | bool) else word_for(value)
        message = f"{_place(path)}: expected one of {', '.join(self.words)}, got {shown}"
        return to.fail(path, "KOS108", message, to.hint(value, self.words))

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}


def _items(count: int) -> str:
    return "1 item is" if count == 1 else f"{count} items are"


class ListOf(Shape):
    """A list. ``single``: one item may stand without its brackets."""

    def __init__(self, item: Shape, *, single: bool = False, most: int = 10_000, least: int = 0) -> None:
        self.item, self.single, self.most, self.least = item, single, most, least

    def check(self, value: Any, path: Path, to: Check) -> Any:
        if self.single and not isinstance(value, list):
            return [self.item.check(value, path, to)]
        if not isinstance(value, list):
            return self.wrong(value, path, to, "a list")
        if len(value) > self.most:
            return to.fail(path, "KOS106", f"{_place(path)}: {len(value)} items, at most {self.most} are allowed")
        if len(value) < self.least:
            return to.fail(path, "KOS106", f"{_place(path)}: at least {_items(self.least)} needed")
        return [self.item.check(item, (*path, index), to) for index, item in enumerate(value)]

    def schema(self) -> dict[str, Any]:
        many: dict[str, Any] = {"type": "array", "items": self.item.schema()}
        if self.least:
            many["minItems"] = self.least
        return {"anyOf": [self.item.schema(), many]} if self.single else many


class MapOf(Shape):
    """Names of one's own choice, each with a value of one shape."""

    def __init__(self, value: Shape, *, names: bool = True) -> None:
        self.value, self.names = value, names

    def check(self, value: Any, path: Path, to: Check) -> Any:
        if not isinstance(value, dict):
            return self.wrong(value, path, to, "names with values")
        for name in value:
            if self.names and not is_name(name):
                hint = "letters, digits, _ and -, first a letter or _"
                to.fail((*path, name), "KOS104", f"{name!r} is no name", hint, key=True)
        return {name: self.value.check(item, (*path, name), to) for name, item in value.items()}

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "object", "additionalProperties": self.value.schema()}
        return {**schema, "propertyNames": {"pattern": NAME_PATTERN}} if self.names else schema


class Either(Shape):
    """The first shape whose test holds for a value's type; the last takes what is left."""

    def __init__(self, *options: tuple[type | tuple[type, ...], Shape]) -> None:
        self.options = options

    def check(self, value: Any, path: Path, to: Check) -> Any:
        for kinds, shape in self.options:
            if isinstance(value, kinds) and not (isinstance(value, bool) and kinds in {int, float}):
                return shape.check(value, path, to)
        return self.options[-1][1].check(value, path, to)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [shape.schema() for _, shape in self.options]}


class Later(Shape):
    """A shape that is described further down, so that shapes may hold themselves. ``name`` is its definition."""

    def __init__(self, name: str, find: Callable[[], Shape]) -> None:
        self.name, self.find = name, find

    def check(self, value: Any, path: Path, to: Check) -> Any:
        return self.find().check(value, path, to)

    def schema(self) -> dict[str, Any]:
        return {"$ref": f"#/definitions/{self.name}"}


class Obj(Shape):
    """Known keys, each with its shape. ``what`` names it in messages; ``also`` checks the whole, ``more`` says so in the schema."""

    def __init__(
        self,
        what: str,
        keys: Mapping[str, Shape],
        *,
        required: tuple[str, ...] = (),
        also: Callable[[dict[str, Any], Path, Check], None] | None = None,
        docs: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.what, self.keys, self.required, self.also = what, dict(keys), required, also
        self.docs, self.more = dict(docs or {}), dict(more or {})

    def check(self, value: Any, path: Path, to: Check) -> Any:
        if not isinstance(value, dict):
            return self.wrong(value, path, to, f"{self.what} (keys with values)")
        name = f" {value['id']!r}" if isinstance(value.get("id"), str) else ""
        found: dict[str, Any] = {}
        meant: set[str | None] = set()
        for key, item in value.items():
            if to.is_full:
                break
            shape = self.keys.get(key)
            if shape is None:
                if looks_cut(key):
                    hint = "an expression was cut by YAML: put it in quotes"
                else:
                    near = to.nearest(key, self.keys)
                    meant.add(near)
                    hint = f"did you mean {near!r}?" if near else f"known are {', '.join(sorted(self.keys)[:24])}"
                to.fail((*path, key), "KOS102", f"unknown key {key!r:.80} in {self.what}{name}", hint, key=True)
                continue
            checked = shape.check(item, (*path, key), to)
            if checked is not BAD:
                found[key] = checked
        for key in self.required:
            if key not in value and key not in meant:
                to.fail(path, "KOS101", f"{self.what}{name} needs {key!r}")
        if self.also is not None:
            self.also(found, path, to)
        return found

    def schema(self) -> dict[str, Any]:
        properties = {}
        for key, shape in self.keys.items():
            properties[key] = shape.schema()
            if key in self.docs:
                properties[key] = {**properties[key], "description": self.docs[key]}
        schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        if self.required:
            schema["required"] = list(self.required)
        return {**schema, **self.more}

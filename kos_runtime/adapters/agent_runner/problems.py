"""What is wrong with a value, in the language's words and not in the validator's."""

from typing import Any, Final

from pydantic import ValidationError

from kos_runtime.adapters.known_secrets import KNOWN

_EXPECTED: Final = {
    "int": "integer", "float": "number", "decimal": "number", "bool": "boolean", "string": "string", "str": "string",
    "list": "array", "tuple": "array", "set": "array", "frozen_set": "array", "iterable": "array",
    "dict": "object", "model": "object", "dataclass": "object", "mapping": "object", "none": "null",
    "datetime": "datetime", "date": "datetime", "time": "time", "time_delta": "duration", "bytes": "bytes",
}  # fmt: skip
#: What a validator says of a value whose kind is another one: nothing else may turn it into what is expected.
_OTHER_KIND: Final = frozenset({"int_type", "float_type", "bool_type", "string_type", "dict_type", "list_type"})
_INSTANTS: Final = frozenset({"date_type", "datetime_type", "time_type", "time_delta_type"})
_MOST: Final = 3


def is_other_kind(error: ValidationError, value: Any) -> bool:
    """Say whether something in a value is of another kind (a text for a number), which no reading of it would mend.

    Plain data has no dates, tuples or enumerations; where one of those is expected a text or an array is read as one.
    Where several kinds are allowed, all of them must be other ones.
    """
    places: dict[tuple[str | int, ...], bool] = {}
    for item in _errors(error):
        place = _place_in(value, item["loc"])
        given = item.get("input")
        other = (item["type"] in _OTHER_KIND and type(given) is not tuple) or (
            # A date is written as a text; a number would be taken for seconds since 1970.
            item["type"] in _INSTANTS and isinstance(given, int | float)
        )
        # A place that is no part of the value is the name of one of several kinds that were tried there.
        places[place] = other and places.get(place, True)
    return any(places.values())


def _place_in(value: Any, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Return as much of a path as leads to something in a value."""
    for length, part in enumerate(path):
        is_key = type(value) is dict and part in value
        is_index = type(value) in {list, tuple} and type(part) is int and part < len(value)
        if not is_key and not is_index:
            return path[:length]
        value = value[part]
    return path


def problems_of(error: ValidationError) -> str:
    """Return what is wrong, at most three things of it: ``score: expected number, got 'great'``."""
    found = _errors(error)
    texts = []
    for item in found[:_MOST]:
        place = place_of(item["loc"])
        text = _sentence(item)
        texts.append(f"{place}: {text}" if place else text)
    more = len(found) - _MOST
    return "; ".join(texts) + (f"; and {more} more" if more > 0 else "")


def place_of(path: tuple[str | int, ...]) -> str:
    """Return a path as a person writes it: ``parts[3].score``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def shown(value: Any, longest: int = 80) -> str:
    """Return a value as it may stand in a message; never raises."""
    try:
        text = repr(value)
    except BaseException:
        # A value that an agent made may do anything when it is looked at.
        return f"a {type(value).__name__} that cannot be shown"
    text = KNOWN.hide(text)
    return text if len(text) <= longest else f"{text[:longest]}…"


def _errors(error: ValidationError) -> list[Any]:
    return error.errors(include_url=False, include_context=True)


def _sentence(item: Any) -> str:
    kind = item["type"]
    if kind == "missing":
        return "missing"
    if kind == "extra_forbidden":
        return "no such field"
    got = f", got {shown(item.get('input'))}"
    expected = (item.get("ctx") or {}).get("expected")
    if kind in {"enum", "literal_error"} and expected:
        return f"expected {'one of ' if ',' in str(expected) or ' or ' in str(expected) else ''}{expected}{got}"
    for begin, word in _EXPECTED.items():
        if kind in {f"{begin}_type", f"{begin}_parsing", f"{begin}_from_float", f"{begin}_attributes_type"}:
            return f"expected {word}{got}"
    message = str(item["msg"])
    return f"{message[:1].lower()}{message[1:]}{got}"

"""Amounts, rates and shares as they are written, made into numbers."""

from collections.abc import Mapping
from typing import Any, Final

_UNITS: Final = {
    "": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40,
}  # fmt: skip
_PER_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000}
_MAX_DIGITS: Final = 18


def amount_of(value: float | str) -> float | None:
    """Return a resource's quantity as a number, None when the text is none.

    >>> amount_of("512MiB")
    536870912.0
    """
    if not isinstance(value, str):
        return float(value)
    text = value.strip().lower().removesuffix("b")
    end = len(text)
    while end and text[end - 1] not in "0123456789":
        end -= 1
    number, unit = text[:end], text[end:].strip()
    whole, _, rest = number.partition(".")
    if not whole.isdecimal() or (rest and not rest.isdecimal()) or number.endswith(".") or len(number) > _MAX_DIGITS:
        return None
    return float(number) * _UNITS[unit] if unit in _UNITS else None


def amounts_of(raw: Mapping[str, float | str] | None) -> dict[str, float]:
    """Return resources by name; memory in bytes."""
    return {name: amount_of(value) or 0.0 for name, value in (raw or {}).items()}


def rate_of(text: str) -> tuple[int, int]:
    """Return starts and the milliseconds that they are for; (0, 0) when the text is no rate.

    >>> rate_of("60/m")
    (60, 60000)
    """
    number, _, unit = text.partition("/")
    per_ms, digits = _PER_MS.get(unit.strip(), 0), number.strip()
    if not per_ms or not (digits.isascii() and digits.isdecimal()) or len(digits) > _MAX_DIGITS or not int(digits):
        return 0, 0
    return int(digits), per_ms


def sync_of(value: Any) -> tuple[str, int, float]:
    """Return how a group or point is met: the word, the count, the share; the last two 0 unless the word asks for them."""
    if isinstance(value, dict):
        if "count" in value:
            return "count", value["count"], 0.0
        return "quorum", 0, float(value.get("quorum", 0.0))
    return value, 0, 0.0

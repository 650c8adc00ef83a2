"""Plain scalars as YAML 1.2 reads them.

``yes``, ``no``, ``on`` and ``off`` are texts, and so are ``010``, ``12:30:00`` and dates.
"""

from typing import Any, Final

_DIGITS: Final = frozenset("0123456789")


def read_scalar(text: str) -> tuple[Any, str]:
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
        if len(body) > 19 or not -(2**63) <= int(text) < 2**63:
            return text, f"{text[:40]} is an integer beyond 64 bits"
        return int(text), ""
    if body and (body[0] in _DIGITS or body[0] == ".") and set(body) <= _DIGITS | set(".eE+-"):
        mantissa = body.lower().split("e")[0]
        whole = mantissa.split(".")[0]
        if (
            mantissa.count(".") <= 1
            and any(c in _DIGITS for c in mantissa)
            and not (len(whole) > 1 and whole[0] == "0")
        ):
            try:
                number = float(text)
            except ValueError:
                return text, ""
            if number in {float("inf"), float("-inf")}:
                return text, f"{text[:40]} is larger than any number that can be stored"
            return number, ""
    return text, ""

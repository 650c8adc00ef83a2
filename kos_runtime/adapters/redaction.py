"""Takes secrets out of what is going to be read: those that this process knows, by the names of keys, and by their looks."""

import re
from collections.abc import Mapping
from typing import Any, Final

from kos_runtime.adapters.known_secrets import HIDDEN, KNOWN

__all__ = ["HIDDEN", "is_secret_name", "redact", "redact_text"]

#: A key that contains one of these words holds a secret, whatever its value looks like.
_NAMES: Final = re.compile(
    r"passw(or)?d|passphrase|secret|api[_-]?key|access[_-]?key|private[_-]?key|credential|authorization|cookie"
    r"|(^|[_-])(auth|token|pwd|jwt)($|[_-])|[a-z](Token|Secret|Password)\b",
    re.IGNORECASE,
)
_LOOKS: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*"
    r"|\b(?:sk|pk|rk)[-_](?:live|test|proj|ant)[-_][A-Za-z0-9_-]{10,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}\b"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}"
    r"|(?i:\b(?:bearer|basic)\s+)(?=[A-Za-z._~+/-]*[0-9=])[A-Za-z0-9._~+/=-]{8,}"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)",
    re.DOTALL,
)
#: name=value and "name": "value" inside a text, where the name says that the value is a secret.
_ASSIGNED: Final = re.compile(
    r"(?i)(\b[\w-]*(?:passw(?:or)?d|secret|api[_-]?key|access[_-]?key|token)[\w-]*[\"']?\s*[=:]\s*[\"']?)([^\s\"',;&}]{4,})"
)
#: Beyond this depth nothing is looked at; it is left out instead.
_DEPTH: Final = 8
_LONGEST: Final = 100_000


def redact_text(text: str) -> str:
    """Return a text without what looks like a secret. A text above 100,000 characters is cut first."""
    if KNOWN:
        text = KNOWN.hide(text)
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}… ({len(text)} characters)"
    return _ASSIGNED.sub(rf"\1{HIDDEN}", _LOOKS.sub(HIDDEN, text))


def redact(value: Any, depth: int = 0) -> Any:
    """Return a value without secrets, for a log line: plain data, texts cleaned, anything else as its text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redact_text(value)
    if depth >= _DEPTH:
        return "[too deep]"
    if isinstance(value, Mapping):
        return {
            redact_text(str(key)): HIDDEN if is_secret_name(str(key)) else redact(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, depth + 1) for item in value]
    return redact_text(str(value))


def is_secret_name(name: str) -> bool:
    """Say whether a key's name says that its value is a secret. Numbers of tokens, which cost money, are none."""
    return _NAMES.search(name) is not None

"""What this process has learnt of secrets, so that none of them is written anywhere.

A secret is resolved where an action runs and is kept from then on as something that must not be seen: in what the action
returns, in the failure it ends with, in lines of the log. A part of one hides as well: messages are cut, and a third
of a key is more than anybody should read.
"""

import base64
import json
import threading
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote, quote_plus

HIDDEN: Final = "[hidden]"
#: So much of a secret, at least, is hidden where it stands without the rest. Characters.
_PART: Final = 12


class KnownSecrets:
    """Values that must not be seen. May be used by several threads at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._values)

    def learn(self, value: str) -> None:
        """Hide a value from now on, in the forms in which it travels too."""
        forms = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], quote(value, safe=""), quote_plus(value), repr(value)[1:-1]}  # fmt: skip
        forms.add(base64.b64encode(value.encode()).decode())
        # The lines of a key in several lines are secret, one by one.
        forms.update(line.strip() for line in value.splitlines() if len(line.strip()) >= _PART)
        with self._lock:
            self._values = tuple(sorted({*self._values, *forms}))

    def hide(self, text: str) -> str:
        """Return a text without them."""
        # All are looked for in the text as it came: what one of them covers may be a part of another.
        spans = sorted(span for value in self._values for span in _spans(text, value))
        if not spans:
            return text
        pieces: list[str] = []
        done = 0
        for begin, end in spans:
            if begin > done or not pieces:
                pieces += [text[done:begin], HIDDEN]
            done = max(done, end)
        return "".join([*pieces, text[done:]])

    def hide_in(self, value: Any) -> Any:
        """Return plain data without them, names of keys included."""
        if not self._values:
            return value
        kind = type(value)
        if kind is str:
            return self.hide(value)
        if kind is dict:
            return {self.hide(key): self.hide_in(item) for key, item in value.items()}
        if kind is list:
            return [self.hide_in(item) for item in value]
        if kind is int or kind is float:
            # Digits alone can be a secret as well.
            text = str(value)
            return value if self.hide(text) == text else HIDDEN
        return value


def _spans(text: str, value: str) -> Iterator[tuple[int, int]]:
    """Yield where a value stands in a text, whole, or its beginning or its end as far as they agree."""
    size = min(max(_PART, -(-len(value) // 3)), len(value))
    begins, ends = value[:size], value[-size:]
    at = text.find(begins)
    while at >= 0:
        end, rest = at + size, size
        while rest < len(value) and end < len(text) and text[end] == value[rest]:
            end, rest = end + 1, rest + 1
        yield at, end
        at = text.find(begins, at + 1)
    at = text.find(ends)
    while at >= 0:
        begin, rest = at, len(value) - size
        while rest > 0 and begin > 0 and text[begin - 1] == value[rest - 1]:
            begin, rest = begin - 1, rest - 1
        yield begin, at + size
        at = text.find(ends, at + 1)


#: What this process knows.
KNOWN: Final = KnownSecrets()

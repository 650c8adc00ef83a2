"""Plain values to bytes and back."""

from typing import Any, Protocol


class Codec(Protocol):
    """Packs plain data (None, bool, 64-bit int, float, str, bytes, list, dict with text keys) into bytes.

    Equal values pack to equal bytes. Unpacking refuses, with ``ValueError``, whatever is beyond its limits or was not
    made by packing: unknown extension types, duplicate keys, NaN, infinities, too deep nesting.
    """

    def pack(self, value: Any) -> bytes: ...

    def unpack(self, data: bytes) -> Any: ...

"""Plain values to bytes and back."""

from typing import Any, Protocol


class Codec(Protocol):
    """Packs plain data (None, bool, 64-bit int, float, str, bytes, list, dict with text keys) into bytes.

    Equal values that were made in the same order pack to equal bytes, and what packs can be unpacked,
    as long as its keys are texts. Unpacking refuses, with ``ValueError``, whatever is beyond its limits or was not
    made by packing: unknown extension types, duplicate keys, NaN, infinities, too deep nesting.
    """

    def pack(self, value: Any) -> bytes: ...

    def unpack(self, data: bytes) -> Any: ...

    def unpack_trusted(self, data: bytes) -> Any:
        """Unpack, without looking for what only a hostile hand could have made, bytes that were packed here and whose
        hash was checked since: records of the log, snapshots, blobs.
        """
        ...

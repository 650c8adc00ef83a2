"""Values too large for a record, addressed by their content."""

from typing import Protocol

from kos_runtime.core.record import BlobRef


class BlobStore(Protocol):
    """Content-addressed, write-once. Safe to use from several processes at once."""

    def put(self, data: bytes) -> BlobRef:
        """Store bytes, durably (content and directory synced) when this returns.

        Putting what is there already returns the same address and renews its age.

        Raises:
            StoreFull, StoreReadOnly: Nothing was stored.
        """
        ...

    def get(self, digest: str) -> bytes:
        """Return the bytes behind an address (64 hex digits).

        Raises:
            KeyError: There is no such blob.
            StoreDamaged: Its content does not hash to its address.
        """
        ...

    def delete(self, digest: str, *, not_after_ms: int) -> int:
        """Delete a blob, unless it was put again after an instant (milliseconds since 1970); return how many bytes that freed.

        Nothing may mention it any more. A blob that is not there frees nothing.
        """
        ...

    def has(self, digest: str) -> bool:
        """Say whether a blob is there, without reading it."""
        ...

"""Contents of blobs that evaluations have asked for: unpacked, shared by runs, and let go when they are too many."""

from typing import Any

from kos_runtime.core.expression import EvaluationError
from kos_runtime.core.record import PAYLOAD_LIMIT

#: One evaluation reads at most so many bytes of stored values.
MAX_GATHERED = 4 * PAYLOAD_LIMIT


class Cache:
    """Values by the digest of their packed bytes, the least recently used first. Sizes are those of packed bytes.

    It is no part of what is folded: whatever is not here is loaded again. ``bytes`` is the size of all that is held,
    ``counted`` are the digests that the evaluation at hand has read.
    """

    __slots__ = ("_held", "_read_bytes", "bytes", "counted")

    def __init__(self) -> None:
        self._held: dict[str, tuple[int, Any]] = {}
        self.counted: set[str] = set()
        self._read_bytes = 0
        self.bytes = 0

    def __contains__(self, digest: str) -> bool:
        return digest in self._held

    def put(self, digest: str, size: int, value: Any) -> None:
        if digest not in self._held:
            self.bytes += size
            self._held[digest] = (size, value)

    def get(self, digest: str) -> Any:
        """Return a value that is here.

        Raises:
            KeyError: It is not.
        """
        held = self._held.pop(digest)
        self._held[digest] = held
        return held[1]

    def forget(self, digest: str) -> None:
        """Let go of one that is not what it was."""
        held = self._held.pop(digest, None)
        if held is not None:
            self.bytes -= held[0]

    def begin(self) -> None:
        """An evaluation begins: count anew what it reads."""
        if self.counted:
            self.counted.clear()
            self._read_bytes = 0

    def read(self, digest: str, size: int) -> None:
        """Count what an evaluation reads.

        Raises:
            EvaluationError: All in all it is more than may be loaded.
        """
        if digest not in self.counted:
            self.counted.add(digest)
            self._read_bytes += size
            if self._read_bytes > MAX_GATHERED:
                raise EvaluationError(f"oversize: it reads stored values of more than {MAX_GATHERED} bytes")

    def trim(self, most: int) -> None:
        """Let go of the least recently used until at most so many bytes are held; the last used one always stays."""
        while self.bytes > most and len(self._held) > 1:
            size, _ = self._held.pop(next(iter(self._held)))
            self.bytes -= size

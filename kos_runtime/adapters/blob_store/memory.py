"""Blobs in this process's memory: for tests and tries."""

from hashlib import sha256

from kos_runtime.core.record import BlobRef


class MemoryBlobStore:
    """See ``kos_runtime.ports.blob_store.BlobStore``."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    def put(self, data: bytes) -> BlobRef:
        digest = sha256(data).hexdigest()
        self._blobs[digest] = bytes(data)
        return BlobRef(digest, len(data))

    def get(self, digest: str) -> bytes:
        return self._blobs[digest]

    def delete(self, digest: str, *, not_after_ms: int) -> int:
        del not_after_ms
        return len(self._blobs.pop(digest, b""))

    def has(self, digest: str) -> bool:
        return digest in self._blobs

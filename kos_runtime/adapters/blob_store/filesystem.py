"""Blobs as files: ``ab/cdef…`` by the hash of their content, written once, synced before they are mentioned."""

import contextlib
import errno
import os
from hashlib import sha256
from pathlib import Path

from kos_runtime.core.errors import StoreDamaged, StoreFull, StoreReadOnly
from kos_runtime.core.failpoint import hit
from kos_runtime.core.record import PAYLOAD_LIMIT, BlobRef

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CLOSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_HEX = frozenset("0123456789abcdef")


class FilesystemBlobStore:
    """See ``kos_runtime.ports.blob_store.BlobStore``. Any number of processes may share a folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def put(self, data: bytes) -> BlobRef:
        if len(data) > PAYLOAD_LIMIT:
            raise ValueError(f"a blob of {len(data)} bytes, at most {PAYLOAD_LIMIT} are kept")
        digest = sha256(data).hexdigest()
        path = self._path(digest)
        try:
            os.utime(path, follow_symlinks=False)
            if path.lstat().st_size != len(data):
                # It was cut since; writing it again is its repair.
                self._write(path, data)
        except FileNotFoundError:
            self._write(path, data)
        except OSError as error:
            if error.errno in _CLOSED:
                raise StoreReadOnly(str(self.folder)) from error
            raise
        return BlobRef(digest, len(data))

    def _path(self, digest: str) -> Path:
        if len(digest) != 64 or not _HEX.issuperset(digest):
            raise KeyError(digest)
        return self.folder / digest[:2] / digest[2:]

    def _write(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            for folder in (self.folder, path.parent):
                if not folder.is_dir():
                    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                    _sync_folder(folder.parent)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            hit("blob.written")
            temporary.rename(path)
            hit("blob.renamed")
            _sync_folder(path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            if error.errno in _FULL:
                raise StoreFull(str(self.folder)) from error
            if error.errno in _CLOSED:
                raise StoreReadOnly(str(self.folder)) from error
            raise

    def get(self, digest: str) -> bytes:
        path = self._path(digest)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise KeyError(digest) from None
        except OSError as error:
            raise StoreDamaged(str(path), error.strerror or str(error)) from error
        with os.fdopen(descriptor, "rb") as file:
            try:
                data = file.read(PAYLOAD_LIMIT + 1)
            except OSError as error:
                raise StoreDamaged(str(path), error.strerror or str(error)) from error
        if sha256(data).hexdigest() != digest:
            raise StoreDamaged(str(path), "its content does not hash to its name")
        return data

    def delete(self, digest: str, *, not_after_ms: int) -> int:
        """Delete a blob that was put last at or before an instant; return how many bytes that freed, 0 if it was not."""
        path = self._path(digest)
        try:
            status = path.lstat()
            if status.st_mtime_ns > not_after_ms * 1_000_000:
                return 0
            path.unlink()
        except FileNotFoundError:
            return 0
        _sync_folder(path.parent)
        return status.st_size

    def has(self, digest: str) -> bool:
        return self._path(digest).is_file()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

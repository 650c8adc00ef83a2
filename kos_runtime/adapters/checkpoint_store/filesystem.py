"""Checkpoints as files, ``RUN/SEQ``: a state folded to a position, kept to start from.

They are caches. Each file begins with a digest of the rest, so one that was cut, changed or exchanged is noticed and left alone;
the log has everything that is in it.
"""

import contextlib
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from kos_runtime.core.errors import StoreFull, StoreReadOnly
from kos_runtime.ports.codec import Codec

_MAGIC: Final = b"kos-checkpoint-1\n"
_FIELDS: Final = ("run", "seq", "hash", "fingerprint", "step", "by", "created_at", "state")
_TYPES: Final = (str, int, bytes, str, str, str, int, bytes)


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """``hash`` is that of the record on which the state stands, ``fingerprint`` names the code that can read the state."""

    run: str
    seq: int
    hash: bytes
    fingerprint: str
    step: str
    by: str
    created_at: int
    state: bytes


#: The folder of a store's checkpoints, in the store's own.
CHECKPOINTS: Final = "checkpoints"


class FilesystemCheckpointStore:
    """See the module. ``folder`` is made when the first checkpoint is."""

    def __init__(self, folder: str | Path, codec: Codec) -> None:
        self.folder, self._codec = Path(folder), codec

    def put(self, checkpoint: StoredCheckpoint) -> None:
        """Keep a checkpoint, durably; one of the same run and position is replaced.

        Raises:
            StoreFull, StoreReadOnly: It is not kept.
        """
        body = self._codec.pack([getattr(checkpoint, name) for name in _FIELDS])
        path = self._path(checkpoint.run, checkpoint.seq)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(_MAGIC + sha256(body).digest() + body)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            if isinstance(error, PermissionError):
                raise StoreReadOnly(str(self.folder)) from error
            raise StoreFull(str(self.folder)) from error

    def get(self, run: str, seq: int) -> StoredCheckpoint:
        """Return a checkpoint.

        Raises:
            KeyError: It is not there.
            ValueError: It is damaged, or another's.
        """
        try:
            content = self._path(run, seq).read_bytes()
        except FileNotFoundError:
            raise KeyError(f"{run}@{seq}") from None
        except OSError as error:
            raise ValueError(error.strerror or str(error)) from error
        digest, body = content[len(_MAGIC) : len(_MAGIC) + 32], content[len(_MAGIC) + 32 :]
        if not content.startswith(_MAGIC) or sha256(body).digest() != digest:
            raise ValueError("its content is not what was written")
        values: Any = self._codec.unpack(body)
        if not isinstance(values, list) or tuple(map(type, values)) != _TYPES:
            raise ValueError("its content is of another form")
        found = StoredCheckpoint(*values)
        if (found.run, found.seq) != (run, seq):
            raise ValueError(f"it is that of {found.run}@{found.seq}")
        return found

    def positions(self, run: str) -> list[int]:
        """Return the positions of a run at which there are checkpoints, in order."""
        folder = self.folder / run
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    def delete(self, run: str, seq: int) -> bool:
        """Delete a checkpoint; say whether it was there."""
        try:
            self._path(run, seq).unlink()
        except FileNotFoundError:
            return False
        return True

    def _path(self, run: str, seq: int) -> Path:
        return self.folder / run / str(seq)

"""Where a store's files lie: one database a partition, in one folder, on a disk of this host.

A store of one partition is ``events.db``; of several, ``events-0.db``, ``events-1.db`` and so on. How many there are is
fixed when the store is created and written into each.
"""

import ctypes
import os
from pathlib import Path
from typing import Final

from kos_runtime.core.errors import Unreachable

#: ``f_type`` of file systems that several hosts may mount (linux/magic.h and statfs(2)). SQLite's write-ahead log
#: needs shared memory between its processes, which these do not give, and their locks are of varied worth.
NETWORK_FILE_SYSTEMS: Final = {
    0x6969: "nfs",
    0xFF534D42: "cifs",
    0xFE534D42: "smb",
    0x517B: "smb",
    0x01021997: "9p",
    0x00C36400: "ceph",
    0x65735546: "fuse",
    0x0BD00BD0: "lustre",
    0x47504653: "gpfs",
    0x5346414F: "afs",
    0x6B414653: "afs",
    0x73757245: "coda",
    0x01161970: "gfs2",
    0x7461636F: "ocfs2",
    0x19830326: "beegfs",
    0x786F4256: "vboxsf",
    0xBACBACBC: "vmhgfs",
}


def database_path(folder: Path, partition: int) -> Path:
    """Return the file of a partition: what is there already, else what it is called in a store of one partition."""
    numbered = folder / f"events-{partition}.db"
    return numbered if partition > 0 or numbered.exists() else folder / "events.db"


def new_database_path(folder: Path, partition: int, partitions: int) -> Path:
    """Return what a partition's file is called in a store of so many."""
    return folder / ("events.db" if partitions == 1 else f"events-{partition}.db")


def prepare_folder(folder: Path) -> None:
    """Make a folder that only this user enters, unless it is there, durably.

    Raises:
        Unreachable: It cannot be made, or it lies on a network file system.
    """
    try:
        missing = not folder.exists()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if missing:
            sync_folder(folder.parent)
    except OSError as error:
        raise Unreachable(f"{folder} cannot be made: {error.strerror}") from error
    refuse_network(folder)


def refuse_network(folder: Path) -> None:
    """Refuse a folder on a file system that several hosts may mount.

    Raises:
        Unreachable: It is one.
    """
    kind = NETWORK_FILE_SYSTEMS.get(file_system_magic(folder) & 0xFFFFFFFF)
    if kind is not None:
        raise Unreachable(
            f"{folder} lies on a network file system ({kind}), where the log would not be safe; choose a local disk"
        )


def file_system_magic(folder: Path) -> int:
    """Return the ``f_type`` that statfs(2) tells of a folder, 0 when it tells nothing."""
    libc = ctypes.CDLL(None, use_errno=True)
    answer = ctypes.create_string_buffer(256)
    if libc.statfs(os.fsencode(folder), answer) != 0:
        return 0
    return ctypes.c_long.from_buffer(answer).value


def sync_folder(folder: Path) -> None:
    """Make a folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

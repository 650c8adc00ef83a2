"""Who owns a file, on one host: an advisory lock, and beside it the name of its holder.

The lock is ``flock`` on a file of its own, which the kernel gives back when its holder dies, however it dies. A holder
that is stopped, not dead, keeps it; its file names the process by pid, start time, boot and pid namespace, so that a
successor can end exactly that process and no other that was given the same number since. The file is never deleted:
two processes would then lock two files of one name.
"""

import contextlib
import fcntl
import json
import os
import select
import signal
import time
import weakref
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from kos_runtime.core.errors import StoreBusy, StoreReadOnly

_POLL_S: Final = 0.02
#: How long a killed holder is waited for. The kernel frees its lock when it is gone, which swapping can delay.
_GONE_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, named so that it cannot be mistaken. ``started`` is in clock ticks since boot."""

    pid: int
    started: int
    boot: str
    namespace: str
    user: int
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})" if self.command else f"process {self.pid}"


class HeldByAnother(StoreBusy):
    """Another process that is alive owns the file."""

    def __init__(self, where: str, owner: Owner | None, hint: str) -> None:
        StoreBusy.__init__(self, where)
        self.args = (where, owner, hint)
        self.owner, self.hint = owner, hint

    def __str__(self) -> str:
        return f"storage_busy: {self.where} is owned by {self.owner or 'a process that gave no name'}; {self.hint}"


class Ownership:
    """A lock that is held. It ends with ``release``, or with the process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor
        _held.add(self)

    @classmethod
    def acquire(cls, path: Path, *, wait_ms: int = 2_000, takeover_after_ms: int | None = None) -> "Ownership":
        """Take the lock, waiting for it if need be.

        Args:
            path: The lock's file; made when it is not there.
            wait_ms: How long to wait for a holder to let go, in milliseconds.
            takeover_after_ms: After how long to kill the holder instead; None to leave it alone. It is killed only
                if it is a process of this user, on this boot of this host, that is not ourselves.

        Raises:
            HeldByAnother: Somebody else still holds it; the message names who.
            StoreReadOnly: The file cannot be opened for writing.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StoreReadOnly(str(path)) from error
        try:
            _lock(path, descriptor, wait_ms, takeover_after_ms)
            _write(descriptor, process_named(os.getpid()))
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor)

    def release(self) -> None:
        """Give the lock back. Calling it again does nothing."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self.forget()

    def forget(self) -> None:
        """Close our copy of the lock; a process that was forked off does so, and its parent keeps the lock."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


#: The locks of this process. ``fork`` copies their descriptors, and a lock lives as long as any copy.
_held: "weakref.WeakSet[Ownership]" = weakref.WeakSet()


def _forget_after_fork() -> None:
    for ownership in list(_held):
        ownership.forget()


os.register_at_fork(after_in_child=_forget_after_fork)


def owner_of(path: Path) -> Owner | None:
    """Return who holds a lock right now, or None when nobody does. It waits for nothing and disturbs nobody for long.

    A holder that gave no name is returned with pid 0.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(descriptor) or Owner(0, 0, "", "", -1, "")
        return None
    finally:
        os.close(descriptor)


def process_named(pid: int) -> Owner | None:
    """Return what identifies a running process, or None when there is none of that number."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        user = Path(f"/proc/{pid}").stat().st_uid
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\x00")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    # The command name in the second field may hold blanks and brackets; the start time is the 20th field behind it.
    started = int(stat[stat.rindex(b")") + 2 :].split()[19])
    namespace = ""
    with contextlib.suppress(OSError):
        namespace = os.readlink(f"/proc/{pid}/ns/pid")  # noqa: PTH115
    command = b" ".join(words[:4]).decode("utf-8", "replace").strip()[:120]
    return Owner(pid, started, boot, namespace, user, command)


def _lock(path: Path, descriptor: int, wait_ms: int, takeover_after_ms: int | None) -> None:
    patience = wait_ms if takeover_after_ms is None else takeover_after_ms
    if _locked_within(descriptor, patience / 1_000):
        return
    owner = _read(descriptor)
    if takeover_after_ms is None:
        raise HeldByAnother(str(path), owner, "stop it, or wait until it ends")
    _end(path, owner)
    if not _locked_within(descriptor, _GONE_S):
        raise HeldByAnother(str(path), owner, "it was told to end and has not; a child of it may live on")


def _locked_within(descriptor: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(_POLL_S, left))
        else:
            return True


def _end(path: Path, owner: Owner | None) -> None:
    """Kill the process that an owner file names, if it is that very process and ours to kill."""
    if owner is None:
        raise HeldByAnother(str(path), owner, "it cannot be ended without a name")
    if owner.pid == os.getpid():
        raise HeldByAnother(str(path), owner, "which is this one")
    try:
        handle = os.pidfd_open(owner.pid)
    except ProcessLookupError:
        return
    try:
        # The handle is taken before the comparison, so the number cannot be given to another process in between.
        running = process_named(owner.pid)
        if running is None:
            return
        same = (running.started, running.boot, running.namespace) == (owner.started, owner.boot, owner.namespace)
        if not same:
            raise HeldByAnother(str(path), owner, "its number belongs to another process here; end it where it runs")
        if running.user != os.geteuid():
            raise HeldByAnother(str(path), owner, f"it belongs to user {running.user}; end it yourself")
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        select.select([handle], [], [], _GONE_S)
    finally:
        os.close(handle)


def _read(descriptor: int) -> Owner | None:
    try:
        return Owner(**json.loads(os.pread(descriptor, 4_096, 0)))
    except (ValueError, TypeError):
        return None


def _write(descriptor: int, owner: Owner | None) -> None:
    if owner is not None:
        text = json.dumps(asdict(owner)).encode()
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text + b"\n", 0)

"""Ends what an owner leaves behind, however it ends.

Ray's servers die with the process that started them, but what these started in turn is told by nobody and may go on
for a minute. So the owner, which leads a session of its own, forks one small process before it starts anything: that one
sleeps until the owner is gone, which the kernel tells it by closing a pipe, and ends whatever is left in the session.
"""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Final

#: How long what is left may take to end by itself, in seconds.
GRACE_S: Final = 0.2
_ROUNDS: Final = 20
_ROUND_S: Final = 0.1


def watch_over_session() -> bool:
    """Fork the process that ends this session's processes when this one is gone; say whether that was possible.

    Call it before there are threads. It needs a session whose leader is this process; one is made if it can be.
    """
    if os.getsid(0) != os.getpid():
        try:
            os.setsid()
        except PermissionError:
            return False
    reading, writing = os.pipe()
    if os.fork():
        os.close(reading)
        # The writing end stays open for as long as this process lives; it is not inherited by what it starts.
        return True
    try:
        os.close(writing)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.read(reading, 1)
        time.sleep(GRACE_S)
        _end_session()
    finally:
        os._exit(0)


def _end_session() -> None:
    session = os.getsid(0)
    for _ in range(_ROUNDS):
        left = [pid for pid in _of_session(session) if pid != os.getpid()]
        if not left:
            return
        for pid in left:
            _end(pid, session)
        time.sleep(_ROUND_S)


def _of_session(session: int) -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _session(entry) == session]


def _session(entry: Path) -> int:
    """Return a process's session; 0 for one that is gone or only waits to be collected."""
    try:
        stat = (entry / "stat").read_text()
    except OSError:
        return 0
    fields = stat[stat.rindex(")") + 2 :].split()
    return 0 if fields[0] in {"Z", "X"} else int(fields[3])


def _end(pid: int, session: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(pid)
        try:
            # The handle is taken first, so that the number cannot be given to a stranger in between.
            if _session(Path(f"/proc/{pid}")) == session:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)

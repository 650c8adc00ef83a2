"""Running a piece of code as somebody else: another process, and an ordinary user even where the tests run as root."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_NOBODY = 65_534
_ROOMS = """
import json, sys
from kos_runtime.adapters.event_store.reader import SqliteLogReader
from kos_runtime.adapters.event_store.sqlite import SqliteEventStore
from kos_runtime.core.errors import KosError
from kos_runtime.core.verify import verify_partition
"""


def run_as_ordinary_user(code: str, *arguments: object) -> str:
    """Run code in a new process that permissions apply to; return what it prints.

    The rooms are imported first, since an ordinary user may not be able to read the interpreter's own folder.
    """
    demote = f"import os\nif os.geteuid() == 0: os.setgid({_NOBODY}); os.setuid({_NOBODY})\n"
    done = subprocess.run(
        [sys.executable, "-c", _ROOMS + demote + code, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start code in a new process that talks over its standard output."""
    return subprocess.Popen(
        [sys.executable, "-u", "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def share(folder: Path) -> None:
    """Let everybody walk down to a folder of the tests."""
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)

"""How far running attempts say that they are: the newest report of each, in a file beside the log.

A report is news, not history: nothing is decided by it and no event tells of it, so it costs the log nothing. Whoever owns
the store writes the newest of them into ``progress.json`` at most twice a second; whoever reads a run shows the one whose
fence the attempt has that runs. One that is lost, or a file of an owner that is gone, misleads nobody.
"""

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kos_runtime.adapters.clock import wall_ms

FILE: Final = "progress.json"
#: The newest reports of so many attempts are kept.
MOST: Final = 1_000
#: The file is written at most so often, in seconds.
EVERY_S: Final = 0.5
_MODE: Final = 0o600

#: (run, path, fence)
Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Report:
    """What an attempt said last. ``at`` is wall time in milliseconds; ``fraction`` from 0 to 1, None where it gave none."""

    message: str
    fraction: float | None
    at: int


class ProgressBoard:
    """Takes reports and writes them. Its methods may be called from any thread; they neither block nor raise."""

    def __init__(self, folder: str | Path, wanted: Callable[[str], bool], *, wall: Callable[[], int] = wall_ms) -> None:
        """``wanted`` says whether the workflow of a run has its progress told."""
        self._path = Path(folder) / FILE
        self._wanted, self._wall = wanted, wall
        self._reports: dict[Key, Report] = {}
        self._lock = threading.Lock()
        self._changed = False
        self._writing = False
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def say(self, run: str, path: str, fence: int, message: str, fraction: float | None) -> None:
        """Take one report."""
        if not self._wanted(run):
            return
        key, report = (run, path, fence), Report(message, fraction, self._wall())
        with self._lock:
            self._reports.pop(key, None)
            self._reports[key] = report
            if len(self._reports) > MOST:
                del self._reports[next(iter(self._reports))]
            self._changed = True
            if self._writing:
                return
            self._writing = True
        threading.Thread(target=self._write, name="kos-progress", daemon=True).start()

    def take(self, reports: Iterable[tuple[Key, str, float | None]]) -> None:
        """Take reports that came together."""
        for (run, path, fence), message, fraction in reports:
            self.say(run, path, fence, message, fraction)

    def _write(self) -> None:
        """Write as long as there is news; then end."""
        pause = threading.Event()
        while True:
            with self._lock:
                if not self._changed:
                    self._writing = False
                    return
                self._changed = False
                rows = [[*key, said.message, said.fraction, said.at] for key, said in self._reports.items()]
            with contextlib.suppress(OSError):
                part = self._path.with_name(FILE + ".part")
                with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE), "w") as out:
                    json.dump(rows, out)
                part.replace(self._path)
            pause.wait(EVERY_S)


class ProgressFile:
    """Reads what a board wrote. A file that is not there, or not whole, tells nothing."""

    def __init__(self, folder: str | Path) -> None:
        self._path = Path(folder) / FILE
        self._seen = 0
        self._reports: Mapping[Key, Report] = {}

    def reports(self) -> Mapping[Key, Report]:
        """Return the newest report of each attempt."""
        try:
            seen = self._path.stat().st_mtime_ns
        except OSError:
            return {}
        if seen != self._seen:
            self._reports, self._seen = _read(self._path), seen
        return self._reports


def _read(path: Path) -> dict[Key, Report]:
    found: dict[Key, Report] = {}
    try:
        rows: Any = json.loads(path.read_bytes())
        for run, step, fence, message, fraction, at in rows:
            share = float(fraction) if isinstance(fraction, int | float) else None
            found[str(run), str(step), int(fence)] = Report(str(message), share, int(at))
    except (OSError, ValueError, TypeError):
        return {}
    return found

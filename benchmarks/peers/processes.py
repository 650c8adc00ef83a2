"""Running one measurement as a child, and leaving nothing of it behind.

Engines start servers, and a killed engine leaves them without a parent. This process makes itself the one to which
such orphans fall (Linux: child subreaper), so they can be ended by their ids, and their CPU is counted as ours.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PR_SET_CHILD_SUBREAPER: Final = 36
"""From <linux/prctl.h>."""

LONGEST_MEASUREMENT_S: Final = 600.0
"""After this a measurement counts as failed; the slowest, a history of 1,000 steps, needs about a minute."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement that worked. ``details`` is everything it printed beside its value and unit."""

    value: float
    unit: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """One measurement that did not, and why in one line."""

    reason: str


def adopt_orphans() -> None:
    """Make orphans among our descendants children of this process, from now on."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot adopt orphaned processes")


def children() -> list[int]:
    """Return the ids of this process's own children."""
    found: list[int] = []
    for thread in Path("/proc/self/task").iterdir():
        found.extend(int(number) for number in (thread / "children").read_text().split())
    return found


def end_children(patience_s: float = 20.0) -> None:
    """Kill whatever this process still has for children, wave after wave, since each may leave others behind."""
    closed = time.monotonic() + patience_s
    while (left := children()) and time.monotonic() < closed:
        for number in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        for number in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(number, 0)


def measure(command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], log: Path) -> Figure | Failed:
    """Run a command whose last line is the JSON of a figure; its error output is left in ``log``.

    Its output goes to a file and not to a pipe, which a server that outlives the command would keep open.
    """
    said = log.with_suffix(".out")
    with log.open("wb") as errors, said.open("wb") as output:
        try:
            process = subprocess.Popen(
                command, cwd=cwd, env=dict(environment), stdout=output, stderr=errors, start_new_session=True
            )
        except OSError as problem:
            return Failed(f"cannot be started: {problem}")
        try:
            code = process.wait(timeout=LONGEST_MEASUREMENT_S)
        except subprocess.TimeoutExpired:
            return Failed(f"took longer than {LONGEST_MEASUREMENT_S:.0f} s")
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            end_children()
    if code != 0:
        return Failed(f"ended with {code}: {last_line_of(log)}")
    return parse(said.read_text(errors="replace"))


def parse(output: str) -> Figure | Failed:
    """Read the last line of an output as a figure; seconds become milliseconds."""
    lines = output.strip().splitlines()
    try:
        line = json.loads(lines[-1])
        value, unit = float(line["value"]), str(line["unit"])
    except (IndexError, ValueError, TypeError, KeyError):
        return Failed(f"its last line is not a figure: {(lines or ['nothing'])[-1][:200]}")
    details = {name: of for name, of in line.items() if name not in {"value", "unit"}}
    if unit == "s":
        return Figure(value * 1000, "ms", details)
    return Figure(value, unit, details)


def last_line_of(log: Path) -> str:
    """Return what the command said last, which for Python is the exception."""
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else "it said nothing"

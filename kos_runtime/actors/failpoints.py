"""Ends an actor's process at a failpoint, where a test has asked for it.

Without ``KOS_FAILPOINTS`` in the environment, which is read once when a partition's or an agent's process starts,
nothing is planted. It names a folder, and a file ``plan`` in it says who is to die: a line for each kill, in turn, of a
role (``partition`` or ``agent``), a place of ``failpoint.ON_RAY``, the number of the visit, from 1, and a label that
makes the line another one than those before it. Visits are counted by each process alone, from when it first saw the
line. Whoever dies takes its line off first and leaves ``killed-PID`` with that line behind, so that each kills once.
``visited-ROLE-PLACE`` is left behind by whoever comes to a place.
"""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Final, Literal

from kos_runtime.core import failpoint

VARIABLE: Final = "KOS_FAILPOINTS"


def plant_killer(role: Literal["partition", "agent"]) -> None:
    """Let this process die where the plan says; do nothing when there is none."""
    folder = os.environ.get(VARIABLE)
    if folder:
        failpoint.plant(_Killer(role, Path(folder)).visit)


class _Killer:
    def __init__(self, role: str, folder: Path) -> None:
        self._role = role
        self._folder = folder
        self._seen: set[str] = set()
        self._line = ""
        self._visits = 0
        self._lock = threading.Lock()

    def visit(self, place: str) -> None:
        with self._lock:
            if place not in self._seen:
                self._seen.add(place)
                (self._folder / f"visited-{self._role}-{place}").touch()
            plan = self._folder / "plan"
            try:
                line, _, rest = plan.read_text().partition("\n")
            except FileNotFoundError:
                return
            role, wanted, visit, _ = line.split(" ")
            if line != self._line:
                self._line, self._visits = line, 0
            if (role, wanted) != (self._role, place):
                return
            self._visits += 1
            if self._visits >= int(visit):
                self._die(plan, rest)

    def _die(self, plan: Path, rest: str) -> None:
        try:
            # Of several processes that come to the place at once, one takes the line.
            plan.rename(self._folder / f"killed-{os.getpid()}")
        except FileNotFoundError:
            return
        if rest:
            part = self._folder / "plan.part"
            part.write_text(rest)
            part.rename(plan)
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(5)  # the signal is on its way: nothing more happens on this thread

"""What the machine was like around a round: how long an fsync takes, and how much of the cores others had.

A busy neighbour makes an fsync of 0.2 ms one of 4 ms, which helps whoever commits many results at once. A round
measured then says something about the neighbour, so it is thrown away.
"""

from __future__ import annotations

import os
import resource
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

GREATEST_FDATASYNC_MS: Final = 0.4
"""A round is thrown away when the median of appending 4 KiB and syncing them took longer, before it or after it."""

GREATEST_OTHERS_CORES: Final = 0.3
"""A round is thrown away when processes that are not of this benchmark used more of the cores than this."""

TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")

KTHREADD: Final = 2
"""The parent of all threads of the Linux kernel: what the disk and the journal cost is nobody else's work."""


def fdatasync_ms(directory: Path, count: int = 300) -> float:
    """Return the median milliseconds of appending 4 KiB to a new file and syncing it, over ``count`` appends."""
    place = directory / "fdatasync-probe"
    block = os.urandom(4096)
    taken: list[float] = []
    handle = os.open(place, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    try:
        for _ in range(count):
            started = time.perf_counter()
            os.write(handle, block)
            os.fdatasync(handle)
            taken.append(time.perf_counter() - started)
    finally:
        os.close(handle)
        place.unlink()
    return statistics.median(taken) * 1000


@dataclass(frozen=True, slots=True)
class CpuReading:
    """Seconds of CPU used since the machine or the process started, at one moment.

    ``busy_s`` is all work of all processes and what the hypervisor took; interrupts are left out, they come from the
    measured work as much as from anybody's. ``kernel_s`` is the part of the kernel's own threads, ``ours_s`` that of
    this process and of all its children that have ended.
    """

    moment_s: float
    busy_s: float
    kernel_s: float
    ours_s: float


def read_cpu() -> CpuReading:
    """Read the counters. Children that are still alive are missing from ``ours_s``: read when they have ended."""
    user, nice, system, _, _, _, _, steal = (int(ticks) for ticks in _first_line_of_stat()[1:9])
    ours = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        ours += used.ru_utime + used.ru_stime
    return CpuReading(time.perf_counter(), (user + nice + system + steal) / TICKS_PER_S, _kernel_threads_s(), ours)


def others_cores(before: CpuReading, after: CpuReading) -> float:
    """Return how many cores, on average, other people's processes used between two readings; never below 0."""
    everybody = after.busy_s - before.busy_s
    known = (after.kernel_s - before.kernel_s) + (after.ours_s - before.ours_s)
    return max(0.0, (everybody - known) / (after.moment_s - before.moment_s))


def _first_line_of_stat() -> list[str]:
    with Path("/proc/stat").open() as stat:
        return stat.readline().split()


def _kernel_threads_s() -> float:
    total = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name, in parentheses, may hold spaces: what follows its end is parent at 1, user and system at 11, 12.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if int(fields[1]) == KTHREADD:
            total += int(fields[11]) + int(fields[12])
    return total / TICKS_PER_S


@dataclass(frozen=True, slots=True)
class Probe:
    """The machine around one round: two medians in milliseconds, and the cores others used during it."""

    before_ms: float
    after_ms: float
    others_cores: float

    @property
    def is_quiet(self) -> bool:
        return (
            max(self.before_ms, self.after_ms) <= GREATEST_FDATASYNC_MS and self.others_cores <= GREATEST_OTHERS_CORES
        )

    @property
    def noise(self) -> float:
        """How far from quiet, in units of the limits: at most 2 when quiet, and the higher the worse."""
        return max(self.before_ms, self.after_ms) / GREATEST_FDATASYNC_MS + self.others_cores / GREATEST_OTHERS_CORES

    def __str__(self) -> str:
        return f"fdatasync {self.before_ms:.2f} and {self.after_ms:.2f} ms, others {self.others_cores:.2f} cores"

"""Interleaved rounds: ours, then each peer, then ours again, on the same disk, until enough of them were quiet."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.peers import processes, report
from benchmarks.peers.catalogue import PEERS, Ours, Peer, Workload, ours
from benchmarks.peers.environments import Ready, Unavailable, prepare
from benchmarks.peers.probe import Probe, fdatasync_ms, others_cores, read_cpu
from benchmarks.peers.processes import Failed, Figure
from benchmarks.peers.rounds import MOST_THROWN_AWAY, Published, Round, collect

REPOSITORY: Final = Path(__file__).parents[2]

WORKLOADS_FOLDER: Final = Path(__file__).parent / "workloads"

LONGEST_WAIT_FOR_QUIET_S: Final = 30.0
"""A round is begun in a quiet moment if one comes within this; else it is begun anyway, and probably thrown away."""

FAILURES_TO_GIVE_UP: Final = 2
"""An engine that failed so often on a workload is not run again on it: its row says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to compare, and how. ``seconds`` is the length of one measuring window; ``scratch`` is on the disk meant."""

    rounds: int
    seconds: float
    workloads: tuple[Workload, ...]
    peers: tuple[Peer, ...] = PEERS
    cache: Path
    scratch: Path | None = None
    most_thrown_away: int = MOST_THROWN_AWAY
    with_ours: bool = True
    own_arguments: Mapping[Workload, tuple[str, ...]] = field(default_factory=dict)


def install(plan: Plan, say: Callable[[str], None]) -> dict[str, Ready | Unavailable]:
    """Make every peer's environment; one that cannot be made is in the answer too."""
    made: dict[str, Ready | Unavailable] = {}
    for peer in plan.peers:
        started = time.monotonic()
        made[peer.name] = prepare(peer, plan.cache)
        match made[peer.name]:
            case Ready():
                say(f"{peer.name}: ready after {time.monotonic() - started:.0f} s")
            case Unavailable(reason=reason):
                say(f"{peer.name}: {reason}")
    return made


def compare(plan: Plan, say: Callable[[str], None]) -> tuple[list[report.Row], dict[str, Any]]:
    """Measure everything the plan names; return the rows, and the final object for programs."""
    made = install(plan, say)
    processes.adopt_orphans()
    scratch = (plan.scratch or Path("/var/tmp")) / f"k{os.getpid()}"
    _renew(scratch)
    try:
        return _measure_all(plan, made, scratch, say)
    finally:
        processes.end_children()
        shutil.rmtree(scratch, ignore_errors=True)


def _measure_all(
    plan: Plan, made: Mapping[str, Ready | Unavailable], scratch: Path, say: Callable[[str], None]
) -> tuple[list[report.Row], dict[str, Any]]:
    own = ours(plan.seconds) if plan.with_ours else ()
    rows: list[report.Row] = []
    probes: dict[str, Any] = {}
    for workload in plan.workloads:
        engines = _engines(plan, own, made, workload)
        published = collect(_one_round(engines, workload, scratch, say), plan.rounds, plan.most_thrown_away)
        probes[workload] = _facts(published)
        reference = own[0].name if own else ""
        rows += [
            report.row(workload, of.name, report.OURS, published, reference) for of in own if workload in of.arguments
        ]
        for peer in plan.peers:
            match made[peer.name]:
                case Ready():
                    rows.append(report.row(workload, peer.name, peer.durability, published, reference))
                case Unavailable(reason=reason):
                    rows.append(report.unavailable(workload, peer.name, peer.durability, reason))
    settings = {"rounds": plan.rounds, "seconds": plan.seconds, "cores": os.cpu_count(), "interleaved": True}
    return rows, report.summary(rows, settings, probes)


Engine = Callable[[Path], Figure | Failed]
"""Measures once, in a folder of its own."""


def _engines(
    plan: Plan, own: Sequence[Ours], made: Mapping[str, Ready | Unavailable], workload: Workload
) -> dict[str, Engine]:
    """Return everybody that can be run on a workload, in the order of a round."""
    engines: dict[str, Engine] = {}
    for of in own:
        if workload in of.arguments:
            arguments = (*of.arguments[workload], *plan.own_arguments.get(workload, ()))
            engines[of.name] = _engine([sys.executable, "-m", "benchmarks", *arguments])
    for peer in plan.peers:
        match made[peer.name]:
            case Ready(python=python):
                command = [str(python), str(WORKLOADS_FOLDER / peer.script), "--workload", workload]
                command += ["--seconds", str(plan.seconds), "--variant", peer.variant]
                engines[peer.name] = _engine(command, in_folder=True)
            case Unavailable():
                pass
    return engines


def _engine(command: Sequence[str], *, in_folder: bool = False) -> Engine:
    """``in_folder``: the command is told its folder; ours finds it as the place for temporary files."""

    def measure(folder: Path) -> Figure | Failed:
        environment = os.environ | {
            "TMPDIR": str(folder),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        whole = [*command, "--dir", str(folder)] if in_folder else command
        return processes.measure(whole, cwd=REPOSITORY, environment=environment, log=folder / "errors.log")

    return measure


def _one_round(
    engines: Mapping[str, Engine], workload: Workload, scratch: Path, say: Callable[[str], None]
) -> Callable[[], Round]:
    """Return what measures each engine once, the machine probed before and after; given-up engines are passed over."""
    numbers = itertools.count(1)
    failures: dict[str, list[Failed]] = {name: [] for name in engines}

    def one_round() -> Round:
        number = next(numbers)
        outcomes: dict[str, Figure | Failed] = {}
        before_ms = _wait_for_quiet(scratch)
        begun = read_cpu()
        for name, engine in engines.items():
            if len(failures[name]) >= FAILURES_TO_GIVE_UP:
                outcomes[name] = failures[name][-1]
                continue
            outcomes[name] = _in_a_folder(engine, scratch)
            match outcomes[name]:
                case Figure(value=value, unit=unit):
                    say(f"{workload} round {number}: {name}: {value:,.4g} {unit}")
                case Failed(reason=reason) as failed:
                    failures[name].append(failed)
                    say(f"{workload} round {number}: {name}: {reason}")
        share = others_cores(begun, read_cpu())
        probe = Probe(before_ms, fdatasync_ms(scratch), share)
        say(f"{workload} round {number}: {'kept' if probe.is_quiet else 'thrown away'}: {probe}")
        return Round(probe, outcomes)

    return one_round


def _renew(scratch: Path) -> None:
    """Make the folder empty, for one engine's turn.

    Its name is short, because Ray keeps sockets below it and a socket's path has at most 107 characters. It is open
    to look through, because a server that refuses to run as root runs as somebody else.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    scratch.chmod(0o711)


def _in_a_folder(engine: Engine, scratch: Path) -> Figure | Failed:
    _renew(scratch)
    try:
        return engine(scratch)
    finally:
        _renew(scratch)
        # What one engine left in the page cache must not be written during the next one's turn.
        os.sync()


def _wait_for_quiet(scratch: Path) -> float:
    """Return the probe's milliseconds once they are within the limit, or those of the last try."""
    closed = time.monotonic() + LONGEST_WAIT_FOR_QUIET_S
    while True:
        taken = fdatasync_ms(scratch)
        if Probe(taken, taken, 0.0).is_quiet or time.monotonic() > closed:
            return taken
        time.sleep(1.0)


def _facts(published: Published) -> dict[str, Any]:
    return {
        "noisy": published.noisy,
        "thrown_away": published.thrown_away,
        "rounds": [str(measured.probe) for measured in published.rounds],
    }

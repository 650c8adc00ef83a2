"""``python -m benchmarks peers``: installs the peers, measures, prints one table and one last line of JSON."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import get_args

from benchmarks.peers import report
from benchmarks.peers.catalogue import PEERS, WORKLOADS, Peer, Workload
from benchmarks.peers.compare import Plan, compare, install
from benchmarks.peers.environments import Unavailable, default_cache
from benchmarks.peers.rounds import LEAST_ROUNDS, MOST_THROWN_AWAY


def main(argv: list[str]) -> int:
    """Run the command with the arguments after ``peers``; return 0, or 2 when the arguments make no sense.

    A peer that cannot be installed or measured is a row of the table, not an exit code.
    """
    try:
        plan, setup_only = _read(argv)
    except SystemExit as refused:
        return int(refused.code or 0)
    if setup_only:
        made = install(plan, print)
        unavailable = {name: of.reason for name, of in made.items() if isinstance(of, Unavailable)}
        line = {"workload": "peers", "value": len(made) - len(unavailable), "unit": "peers installed"}
        print(json.dumps({**line, "settings": {"cache": str(plan.cache)}, "unavailable": unavailable}))
        return 0
    rows, summary = compare(plan, lambda text: print(text, file=sys.stderr, flush=True))
    print(report.table(rows))
    for workload, facts in summary["probes"].items():
        noisy = "noisy: " if facts["noisy"] else ""
        print(f"\n{workload}: {noisy}{facts['thrown_away']} rounds thrown away; published:")
        print("\n".join(f"  {probe}" for probe in facts["rounds"]))
    print(json.dumps(summary))
    return 0


def _read(argv: list[str]) -> tuple[Plan, bool]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=LEAST_ROUNDS, help="quiet rounds wanted of each workload")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of one measuring window")
    parser.add_argument(
        "--only", type=_peers, default=PEERS, metavar="NAME,...", help=", ".join(of.name for of in PEERS)
    )
    parser.add_argument(
        "--workloads", type=_workloads, default=WORKLOADS, metavar="NAME,...", help=", ".join(WORKLOADS)
    )
    parser.add_argument("--discard", type=int, default=MOST_THROWN_AWAY, help="noisy rounds after which to give in")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where environments are kept")
    parser.add_argument("--scratch", type=Path, help="a folder on the disk to measure on; /var/tmp unless told")
    parser.add_argument("--setup-only", action="store_true", help="make the environments and measure nothing")
    parser.add_argument("--without-ours", action="store_true", help="measure the peers alone")
    parser.add_argument(
        "--ours",
        action="append",
        default=[],
        metavar="WORKLOAD=ARGUMENTS",
        help="more arguments for ours; the last one of a name counts",
    )
    given = parser.parse_args(argv)
    if given.rounds < 1 or given.discard < 1 or given.seconds <= 0:
        parser.error("--rounds and --discard must be at least 1, --seconds above 0")
    try:
        own_arguments = dict(_own_arguments(text) for text in given.ours)
    except ValueError as problem:
        parser.error(str(problem))
    plan = Plan(
        rounds=given.rounds,
        seconds=given.seconds,
        workloads=given.workloads,
        peers=given.only,
        cache=given.cache.resolve(),
        scratch=given.scratch,
        most_thrown_away=given.discard,
        with_ours=not given.without_ours,
        own_arguments=own_arguments,
    )
    return plan, given.setup_only


def _peers(text: str) -> tuple[Peer, ...]:
    """Read names of peers; ``dbos`` means both of its stores."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if not any(name in {peer.name, peer.environment} for peer in PEERS):
            raise argparse.ArgumentTypeError(
                f"no peer is named {name!r}: there are {', '.join(of.name for of in PEERS)}"
            )
    return tuple(peer for peer in PEERS if peer.name in names or peer.environment in names)


def _workloads(text: str) -> tuple[Workload, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in WORKLOADS:
            raise argparse.ArgumentTypeError(f"no workload is named {name!r}: there are {', '.join(WORKLOADS)}")
    return tuple(workload for workload in WORKLOADS if workload in names)


def _own_arguments(text: str) -> tuple[Workload, tuple[str, ...]]:
    name, equals, arguments = text.partition("=")
    for workload in get_args(Workload):
        if equals and name == workload:
            return workload, tuple(shlex.split(arguments))
    raise ValueError(f"--ours takes WORKLOAD=ARGUMENTS with one of {', '.join(WORKLOADS)}, not {text!r}")

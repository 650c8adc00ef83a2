"""``python -m benchmarks WORKLOAD``: each ends with one line of JSON.

::

    python -m benchmarks w1 [--in-flight 1000] [--seconds 10] [--rounds 3]
    python -m benchmarks lonely [--runs 200]
    python -m benchmarks w2 [--width 1000] [--rounds 5]
    python -m benchmarks w3
    python -m benchmarks w4 [--runs 4] [--in-flight 1000]
    python -m benchmarks w5 [--waiting 100000]
    python -m benchmarks w6 [--turns 200] [--size 1000]
    python -m benchmarks mixed [--runs 1000] [--width 10000]
    python -m benchmarks timers [--count 10000] [--spread-ms 0]
    python -m benchmarks retries [--width 10000] [--rounds 3]
    python -m benchmarks consensus [--runs 100]
    python -m benchmarks profile
    python -m benchmarks peers [--rounds 5] [--only NAME,…] [--workloads w1,w2]
"""

import argparse
import json
import sys
from typing import Any


def main(argv: list[str]) -> int:
    if argv[:1] == ["peers"]:
        from benchmarks.peers.cli import main as peers

        return int(peers(argv[1:]))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "workload",
        choices=[
            "w1",
            "w2",
            "w3",
            "w4",
            "w5",
            "w6",
            "lonely",
            "mixed",
            "timers",
            "retries",
            "consensus",
            "profile",
            "peers",
        ],
    )
    parser.add_argument("--in-flight", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--runs", type=int, default=None, help="lonely: 200; consensus: 100; w4: 4; mixed: 1000 small ones"
    )
    parser.add_argument("--width", type=int, default=None, help="w2: 1000; mixed, retries: 10000")
    parser.add_argument("--count", type=int, default=10_000, help="timers: so many")
    parser.add_argument("--spread-ms", type=int, default=0, help="timers: due within so long; 0: at one instant")
    parser.add_argument("--waiting", type=int, default=0, help="w5: so many runs that only wait, and nothing else")
    parser.add_argument("--turns", type=int, default=200, help="w6: so many, each of two texts")
    parser.add_argument("--size", type=int, default=1_000, help="w6: bytes of one text")
    parser.add_argument("--json", action="store_true", help="nothing but the line of JSON")
    given = parser.parse_args(argv)
    print(json.dumps(_measure(given)))
    return 0


def _measure(given: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import workloads

    match given.workload:
        case "w1":
            return workloads.w1(in_flight=given.in_flight, seconds=given.seconds, rounds=given.rounds)
        case "w2":
            return workloads.w2(width=given.width or 1_000, rounds=max(given.rounds, 3))
        case "lonely":
            return workloads.lonely(runs=given.runs or 200)
        case "consensus":
            from benchmarks.consensus import consensus

            return consensus(runs=given.runs or 100)
        case "mixed":
            return workloads.mixed(runs=given.runs or 1_000, width=given.width or 10_000)
        case "timers":
            return workloads.timers(count=given.count, spread_ms=given.spread_ms)
        case "retries":
            return workloads.retries(width=given.width or 10_000, rounds=given.rounds)
        case "w3":
            return workloads.w3()
        case "w4":
            from benchmarks.talk_rate import w4

            runs = given.runs or 4
            return w4(runs=runs, at_once=max(given.in_flight // runs, 1), rounds=max(given.rounds, 3))
        case "w6":
            return workloads.w6(turns=given.turns, size=given.size)
        case "profile":
            from benchmarks.profile import profile

            return profile()
        case _:
            return workloads.w5_waiting(given.waiting) if given.waiting else workloads.w5()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

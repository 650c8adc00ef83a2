"""The proof: ``python -m tests.proof`` runs the full counts and writes ``docs/reliability.md``.

``--slice TEXT`` runs a fifth instead, with seeds derived from the text (a commit), so that pushes walk through all of
it; it writes nothing, and says how far the page is behind. ``--only NAME,…`` picks lanes. Every lane that finds
anything fails the command.
"""

import argparse
import json
import sys
import time
from hashlib import sha256
from typing import Any

from tests.proof.lanes import LANES, Lane
from tests.proof.page import commits_behind, write_page

#: The page may be so many commits behind the rooms that it speaks of.
MOST_BEHIND = 20
SHARE = 0.2


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--slice", default="", metavar="TEXT", help="run a fifth, with seeds derived from this text")
    parser.add_argument("--only", default="", metavar="NAMES", help=f"lanes: {', '.join(lane.name for lane in LANES)}")
    parser.add_argument("--scale", type=float, default=1.0, help="times the full counts (a soak: 100)")
    given = parser.parse_args(argv)
    seed = int.from_bytes(sha256(given.slice.encode()).digest()[:4], "big") if given.slice else 2026
    share = SHARE if given.slice else given.scale
    wanted = set(given.only.split(",")) if given.only else {lane.name for lane in LANES}
    unknown = wanted - {lane.name for lane in LANES}
    if unknown:
        print(
            f"no lane {', '.join(sorted(unknown))}; there are {', '.join(lane.name for lane in LANES)}", file=sys.stderr
        )
        return 2
    results: list[tuple[Lane, dict[str, Any], list[str], float]] = []
    for lane in LANES:
        if lane.name not in wanted:
            continue
        begin = time.monotonic()
        found = lane.run(share, seed)
        problems = lane.judge(found, share)
        took = time.monotonic() - begin
        results.append((lane, found, problems, took))
        print(f"{'✔' if not problems else '✘'} {lane.name:<12} {took:6.1f} s  {lane.say(found)}", flush=True)
        for problem in problems[:20]:
            print(f"    {problem}", flush=True)
    passed = sum(not problems for _, _, problems, _ in results)
    failed = len(results) - passed
    if not given.slice and not given.only and not failed:
        write_page([(lane, found, took) for lane, found, _, took in results], given.scale)
    behind = commits_behind()
    if given.slice:
        print(f"docs/reliability.md is {behind} commits behind core, engine, coordination, simulator and the store")
        if behind > MOST_BEHIND:
            print(f"that is more than {MOST_BEHIND}: run `python -m tests.proof` and commit the page")
            failed += 1
    print(
        json.dumps(
            {"seed": seed, "share": share, "lanes": {lane.name: found for lane, found, _, _ in results}}, default=str
        )
    )
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

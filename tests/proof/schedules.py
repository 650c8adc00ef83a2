"""Schedules of every protocol under seeds, the consensus of peers first; some seeds twice, for determinism.

A schedule is one run of a shipped machine on a network and disks that fail (``kos_runtime.simulator.schedule``); after each,
the protocol's invariants are asked. ``python -m tests.proof.schedules WORLD SEED`` runs one and prints what happened in it.
"""

import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
WORKERS: Final = 2
#: For so many schedules of consensus so many of each other protocol, by what one costs.
BESIDE: Final = {"tasks": 0.04, "authority": 0.2, "load": 0.2}
#: Of a full proof: seeds of each protocol whose trace is made twice, under two hash seeds.
TWICE: Final = 1_000
#: From so many schedules on, a fault that never came about is a problem.
ENOUGH: Final = 2_000
FAULTS: Final = (
    "message lost", "message doubled", "message that nobody sent", "partition", "cut off by a partition", "dead from the beginning",
    "died before the append", "died between append and sending", "died behind the sending", "came back from its records",
    "lost its disk",
)  # fmt: skip

Told = dict[str, Any]


def _some(world: str, first: int, count: int) -> Told:
    """Run some schedules of a world, and add up what came of them."""
    from tests.coordination.worlds import ran

    told: Told = {"violations": [], "seen": Counter(), "steps": 0, "seconds": 0.0}
    begin = time.process_time()
    for seed in range(first, first + count):
        trace, wrong, seen = ran(world, seed)
        told["violations"] += [f"{world}, seed {seed}: {text}" for text in wrong[:3]]
        told["seen"].update(seen)
        told["steps"] += len(trace.steps)
    told["seconds"] = time.process_time() - begin
    return told


def digests(world: str, first: int, count: int) -> list[str]:
    """Return the hashes of some schedules' traces."""
    from tests.coordination.worlds import ran

    return [sha256(repr(ran(world, seed)[0].steps).encode()).hexdigest() for seed in range(first, first + count)]


def _twice(first: int, count: int) -> list[str]:
    """Make the traces of some seeds in two processes, under two hash seeds; return which differ."""
    worlds = ("consensus", *BESIDE)
    script = (
        "from tests.proof.schedules import digests\n"
        f"for world in {worlds!r}:\n"
        f"    print('\\n'.join(digests(world, {first}, {count} if world == 'consensus' else {-(-count // 10)})))"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "4211")
    ]
    one, other = (process.communicate()[0].split() for process in running)
    expected = count + (len(worlds) - 1) * -(-count // 10)
    if len(one) != expected or len(other) != expected:
        return [f"{expected} traces were to be made twice, {len(one)} and {len(other)} were"]
    return [f"trace {place} from seed {first} on differs" for place in range(expected) if one[place] != other[place]]


def run(count: int, seed: int, share: float) -> Told:
    """Run ``count`` schedules of consensus, of the other protocols in proportion, and some seeds twice."""
    first = (seed % 1_000_000) * 100_000
    jobs = []
    for world, number in (("consensus", count), *((world, round(count * part)) for world, part in BESIDE.items())):
        each = -(-number // WORKERS)
        jobs += [(world, first + place * each, each) for place in range(WORKERS)]
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(_some, *zip(*jobs, strict=True)))
    found: Told = {"violations": [], "seen": Counter(), "steps": 0, "counts": Counter(), "rate": 0.0}
    seconds = 0.0
    for (world, _, number), part in zip(jobs, parts, strict=True):
        found["violations"] += part["violations"]
        found["counts"][world] += number
        if world == "consensus":
            found["seen"].update(part["seen"])
            found["steps"] += part["steps"]
            seconds += part["seconds"]
    found["rate"] = found["counts"]["consensus"] / seconds if seconds else 0.0
    found["twice"] = max(2, round(TWICE * min(share, 1.0)))
    found["differ"] = _twice(first, found["twice"])
    return found


def problems(found: Told, share: float) -> list[str]:
    """Return what of it must not be."""
    del share
    told = [str(text) for text in (*found["violations"], *found["differ"])]
    if found["counts"]["consensus"] >= ENOUGH:
        told += [f"it never came about: {name}" for name in FAULTS if not found["seen"][name]]
    return told


def words(found: Told) -> str:
    counts = found["counts"]
    others = ", ".join(f"{counts[world]} of {name}" for world, name in _NAMES.items())
    return (
        f"{counts['consensus']} consensus schedules ({found['rate']:.0f} a second of processor, {found['steps']} transitions), {others}, "
        f"{len(found['violations'])} violations; {found['twice']} seeds twice, {len(found['differ'])} differ"
    )


_NAMES: Final = {"tasks": "master and slaves", "authority": "hierarchies", "load": "balancing"}

if __name__ == "__main__":
    from tests.coordination.worlds import ran as _ran

    made, broken, happened = _ran(sys.argv[1], int(sys.argv[2]))
    for step in made.steps:
        print(step)
    print(dict(happened), broken, sep="\n")

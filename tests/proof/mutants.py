"""Planted bugs: each is one line of shipped code, changed. What looks for them is what judges every history, and nothing else.

``python -m tests.proof.mutants NAME [SEED]`` plants one and prints by which seed and by which check it was caught. Those of core,
engine, store and recovery live in a process of their own (``planting``); those of coordination are planted into the functions
where they stand (``tests/coordination/mutants.py``).
"""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from math import ceil
from multiprocessing import get_context
from random import Random
from typing import Any, Final

from tests.proof.planted import MUTANTS, named
from tests.proof.planting import ROOT, plant

WORKERS: Final = 2
#: A bug is looked for in so many worlds, and one of coordination in so many schedules.
WORLDS: Final = 600
SCHEDULES: Final = 3_000
#: A process that hunts one may take so long, in seconds.
PATIENCE_S: Final = 400
#: At least so many of each room.
LEAST: Final = {"engine": 10, "store": 5, "coordination": 10, "recovery": 5}

#: name, room, whether it was caught, by which seed, after how many, and the sentence that says so.
Caught = dict[str, Any]
#: Tries a seed: the first sentence against it, or nothing.
Try = Callable[[int], str]


def rooms() -> dict[str, str]:
    """Return all planted bugs with their rooms."""
    from tests.coordination.mutants import MUTANTS as BREAKS

    found: dict[str, str] = {mutant.name: mutant.room for mutant in MUTANTS}
    return found | dict.fromkeys(BREAKS, "coordination")


# --- what looks for them ------------------------------------------------------------------------


def _worlds() -> tuple[Try, int, int]:
    from kos_runtime.testing.simulation import SEEDS_A_DEFINITION, whole_engine

    # Each world has another definition: a bug may need a form that few have.
    return lambda seed: next(iter(whole_engine(seed).violations), ""), WORLDS, SEEDS_A_DEFINITION + 1


def _power() -> tuple[Try, int, int]:
    from tests.proof import power_loss

    return lambda seed: str(power_loss.run(60, seed)["first"]), 6, 1


def _io_errors() -> tuple[Try, int, int]:
    from tests.proof import io_errors

    return lambda seed: str(io_errors.run(0.3, seed)["first"]), 3, 1


def _kills() -> tuple[Try, int, int]:
    from tests.proof import kills

    def some(seed: int) -> str:
        kills._LIFETIME_S = 8
        return next(iter(kills.run(4, seed)["violations"]), "")

    return some, 10, 1


def _histories() -> tuple[Try, int, int]:
    from tests.proof import histories

    return lambda seed: next(iter(histories.run(2, seed)["violations"]), ""), 20, 1


def _graphs() -> tuple[Try, int, int]:
    from tests.proof import graphs

    return graphs.one, 20_000, 1


def _rules() -> tuple[Try, int, int]:
    from tests.proof import rules

    return rules.one, 5_000, 1


def _loads() -> tuple[Try, int, int]:
    from tests.proof import loads

    return loads.deaths, 300, 1


def _tamper() -> tuple[Try, int, int]:
    from tests.proof import tamper

    return lambda seed: next(iter(tamper.run(40, 300, seed, 0.25)["missed"]), ""), 4, 1


HUNTS: Final[dict[str, Callable[[], tuple[Try, int, int]]]] = {
    "worlds": _worlds, "power-loss": _power, "io-errors": _io_errors, "kills": _kills, "histories": _histories, "tamper": _tamper, "graphs": _graphs,
    "rules": _rules, "loads": _loads,
}  # fmt: skip


def _hunt(name: str, room: str, known: int, first: int, how: tuple[Try, int, int]) -> Caught:
    """Try the drawn seeds, then the one that is known to show it."""
    attempt, budget, apart = how
    for number in range(budget + 1):
        seed = first + number * apart if number < budget else known
        if said := attempt(seed):
            return {"name": name, "room": room, "caught": True, "seed": seed, "tries": number + 1, "by": said}
    return {"name": name, "room": room, "caught": False, "seed": 0, "tries": budget + 1, "by": ""}


def hunt(name: str, first: int) -> Caught:
    """Plant a bug into this process, which is its own, and look for it."""
    mutant = named(name)
    plant(mutant)
    return _hunt(name, mutant.room, mutant.seed, first, HUNTS[mutant.hunt]())


def hunt_break(name: str, first: int) -> Caught:
    """Plant a bug of coordination where it stands, look for it, and mend it again."""
    from tests.coordination.mutants import MUTANTS as BREAKS
    from tests.coordination.mutants import planted
    from tests.coordination.worlds import ran

    mutant = BREAKS[name]

    def attempt(seed: int) -> str:
        return next(iter(ran(mutant.world, seed)[1]), "")

    with planted(mutant):
        return _hunt(name, "coordination", mutant.seed, first, (attempt, SCHEDULES, 1))


def look_for(name: str, first: int) -> Caught:
    """Hunt a bug: in a process of its own, or here."""
    room = rooms()[name]
    if name not in {mutant.name for mutant in MUTANTS}:
        return hunt_break(name, first)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.proof.mutants", name, str(first)],
            cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        problem = done.stderr[-500:] if done.returncode else ""
    except subprocess.TimeoutExpired:
        problem = f"not found in {PATIENCE_S} s"
    if problem:
        return {"name": name, "room": room, "caught": False, "seed": 0, "tries": 0, "by": problem}
    found: Caught = json.loads(done.stdout.splitlines()[-1])
    return found


# --- the lane -----------------------------------------------------------------------------------


def drawn(seed: int, share: float) -> list[str]:
    """Return all of them, or a share of each room."""
    all_ = rooms()
    if share >= 1:
        return list(all_)
    draw = Random(f"{seed}/mutants")
    each = {room: [name for name in all_ if all_[name] == room] for room in LEAST}
    return [name for names in each.values() for name in draw.sample(names, ceil(len(names) * share))]


def run(count: int, seed: int, share: float) -> dict[str, Any]:
    """Look for all planted bugs, or for some of each room that the seed draws."""
    del count
    chosen = drawn(seed, share)
    first = (seed % 1_000_000) * 1_000
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(look_for, chosen, [first] * len(chosen)))
    return {"mutants": found}


def problems(found: dict[str, Any], share: float) -> list[str]:
    """Return what of it must not be."""
    del share
    return [
        f"the planted bug {each['name']} was not caught: {each['by']}"
        for each in found["mutants"]
        if not each["caught"]
    ]


def words(found: dict[str, Any]) -> str:
    tried = found["mutants"]
    caught = sum(each["caught"] for each in tried)
    of_rooms = ", ".join(f"{sum(each['room'] == room for each in tried)} of {room}" for room in LEAST)
    return f"{caught} of {len(tried)} planted bugs caught ({of_rooms})"


if __name__ == "__main__":
    given = sys.argv[1:]
    first_seed = int(given[1]) if len(given) > 1 else 0
    told = (
        hunt(given[0], first_seed)
        if given[0] in {mutant.name for mutant in MUTANTS}
        else hunt_break(given[0], first_seed)
    )
    print(json.dumps(told))

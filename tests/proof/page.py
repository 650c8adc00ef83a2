"""Writes ``docs/reliability.md`` from a full proof, and says how far it is behind."""

import os
import platform
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

from kos_runtime.core import failpoint
from tests.proof import schedules
from tests.proof.lanes import Lane
from tests.proof.mutants import LEAST
from tests.proof.others import PASSED, kept

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = ROOT / "docs" / "reliability.md"
#: The rooms that the page speaks of.
ROOMS: Final = (
    "kos_runtime/core", "kos_runtime/engine", "coordination", "kos_runtime/simulator", "kos_runtime/adapters/event_store",
)  # fmt: skip

RAY_WORDS: Final = """On a real local Ray one definition has all of that in one run, with values that only blobs can hold, and a person who is
asked. The partition's or an agent's process dies at a place, sometimes another one after it."""


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def commits_behind() -> int:
    """Return how many commits have touched those rooms since the page's commit; 0 outside a clone."""
    if not PAGE.exists():
        return len(_git("rev-list", "HEAD", "--", *ROOMS).splitlines())
    found = re.search(r"commit `([0-9a-f]{7,40})`", PAGE.read_text(encoding="utf-8"))
    if found is None:
        return len(_git("rev-list", "HEAD", "--", *ROOMS).splitlines())
    return len(_git("rev-list", f"{found.group(1)}..HEAD", "--", *ROOMS).splitlines())


def _of(results: list[tuple[Lane, dict[str, Any], float]], name: str) -> dict[str, Any] | None:
    return next((found for lane, found, _ in results if lane.name == name), None)


def _rare(results: list[tuple[Lane, dict[str, Any], float]]) -> str:
    found = _of(results, "simulation")
    if found is None:
        return ""
    rows = [f"| {name.replace('_', ' ')} | {times} |" for name, times in found["rare"].items()]
    faults = [f"| {kind.replace('_', ' ')} | {times} |" for kind, times in found["faults"].items()]
    forms = [f"| {form} | {count} |" for form, count in found["forms"].most_common()]
    return "\n".join(
        [
            "| situation | times |", "| --- | --- |", *rows, "",
            "What the drawn definitions were made of:", "", "| form | times |", "| --- | --- |", *forms, "",
            "What went wrong:", "", "| fault | times |", "| --- | --- |", *faults,
        ]
    )  # fmt: skip


def _schedules(results: list[tuple[Lane, dict[str, Any], float]]) -> str:
    """Return what became of the messages and nodes of consensus, and what its invariants and those of the others say."""
    from coordination.registered import ASSIGNMENT, AUTHORITY, CONSENSUS, LOAD

    found = _of(results, "schedules")
    seen = [] if found is None else [f"| {name} | {found['seen'][name]} |" for name in schedules.FAULTS]
    held = [
        f"| {name.partition(' ')[0]} | {(check.__doc__ or '').splitlines()[0].partition(': ')[2].rstrip('.')} |"
        for registered in (CONSENSUS, ASSIGNMENT, LOAD, AUTHORITY)
        for name, check in registered.invariants.items()
    ]
    return "\n".join(["| fault | times |", "| --- | --- |", *seen, "", "| | |", "| --- | --- |", *held])


def _planted(results: list[tuple[Lane, dict[str, Any], float]]) -> str:
    found = _of(results, "mutants")
    if found is None:
        return ""
    others = kept()
    caught = [
        f"| {each['room']} | {each['name']} | {each['tries']} | {each['seed']} | {_check_of(each['by'])} | {_others(others, each['name'])} |"
        for each in sorted(found["mutants"], key=lambda each: str(each["room"]))
    ]
    passed = Counter(each["room"] for each in found["mutants"] if others.get(each["name"]) == PASSED)
    return "\n".join(
        [
            "| room | planted bug | tries | seed | caught by | other tests |", "| --- | --- | --- | --- | --- | --- |", *caught, "",
            f"The other tests were found to let {sum(passed.values())} of them pass: "
            + ", ".join(f"{passed[room]} of {room}" for room in LEAST) + ".",
        ]
    )  # fmt: skip


def _check_of(said: str) -> str:
    """Return the check that said so: its number, or what it begins with."""
    found = re.search(r"\b([ACLMVI][0-9]+)\b", said)
    return found.group(1) if found else said.partition(":")[0][:40].replace("|", "/")


def _others(others: dict[str, str], name: str) -> str:
    said = others.get(name, "not tried")
    return said if said in {PASSED, "not tried"} else f"`{said.rpartition('::')[2].partition('[')[0]}`"


def write_page(results: list[tuple[Lane, dict[str, Any], float]], scale: float) -> None:
    """Write the page: the figures of this run, and what stands beside them in ``found_bugs.md``."""
    rows = [f"| {lane.title} | {lane.say(found)} | {took:.0f} s |" for lane, found, took in results]
    kills = _of(results, "kills")
    places = ""
    if kills is not None:
        listed = [f"| `{name}` | {kills['hits'].get(name, 0)} |" for name in failpoint.NAMES]
        places = "\n".join(["| failpoint | kills |", "| --- | --- |", *listed])
    on_ray = _of(results, "ray-kills")
    if on_ray is not None:
        listed = [
            f"| `{place}` | {' | '.join(str(on_ray['hits'].get(f'{role} {place}', 0)) if place in names else '' for role, names in failpoint.ON_RAY.items())} |"
            for place in dict.fromkeys(place for names in failpoint.ON_RAY.values() for place in names)
        ]
        heads = ["| on Ray | kills of a partition | kills of an agent |", "| --- | --- | --- |"]
        places = "\n".join([places, "", RAY_WORDS, "", *heads, *listed])
    bugs = (ROOT / "tests" / "proof" / "found_bugs.md").read_text(encoding="utf-8").strip()
    machine = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}"
    PAGE.write_text(
        f"""# Reliability: what was tried, and what came of it

Made by `python -m tests.proof` at commit `{_git("rev-parse", "--short=12", "HEAD")}`, on {machine}, Python
{sys.version.split()[0]}, {scale:g} times the full counts. A push runs a fifth of it, with seeds derived from its commit.

| what | figures | took |
| --- | --- | --- |
{chr(10).join(rows)}

## Where processes were killed

The kills are spread over a workflow that is shaped like the mission's (a plan, parts of it gathered side by side, a
synthesis), a loop, a `for_each` of 200 items, and retries inside a group and a decision. After each trial the whole
history is given to the oracle.

{places}

## The oracle

Every history is checked for these, whatever was done to the processes that wrote it (`kos_runtime/testing/oracle.py`):

| | |
| --- | --- |
| I1 | positions of a stream and offsets of a partition have no gaps |
| I2 | epochs never go back |
| I3 | what was acknowledged is there, once |
| I4 | nothing follows the end of a run, and it ends once |
| I5 | every outcome names a dispatch that was open at that offset |
| I6 | a step key is over once, and starts no more |
| I7 | a step starts only after what it waits for is over |
| I8 | attempts and retries stay within their policies |
| I9 | nothing starts in a run that is not running |
| I12 | every run folds, at every position |
| I13 | snapshot and tail are the whole |
| I14 | what was executed is what was dispatched: each fence once, and nothing after its completion |
| I15 | hash chains and snapshots verify |
| I19 | messages are recorded before they are delivered, handled in their order, each once; those of an attempt that was given up are withdrawn; a mailbox has a bound |
| I20 | a run at work always waits for something |
| I21 | a run asks for no child that is not there, and waits for none that is over |
| A1–A7 | nothing privileged starts but with the record of what allows it; no grant is wider than what it is cut from, used beyond its limits, or worth anything below what was revoked or is over; no circles; requests climb and end; the log folded again comes to the same verdicts ([authority](authority.md)) |
| C2, C3, B1 to B4 | a vote is put as its definition says, decided once, and comes out as its ballots do, counted again by each rule's own words |

Simulated worlds are checked for these besides: I10, what was completed is undone newest first; I11, no timer is early by the clock
that it names; I12 also between memory and log, after commits drawn by the seed; I18, no more run at once than
`max_concurrency` of their `for_each` or group says; I20, after the world has healed every run ends or waits for somebody.
I16 (exported audit) and I17 (grants) have no subject in a run yet.

## Rare situations

A simulated world counts what came about. Each of these must have, in a full proof, or a green run would say little:

{_rare(results)}

## Protocols

Every schedule is one run of a shipped protocol under a seed, on a network and disks that fail. In those of consensus so much came
about, and after each of them, and of those of the other protocols, these hold (`coordination/invariants`):

{_schedules(results)}

## Planted bugs

Each is one line of shipped code, changed, and looked for by what judges every history, from drawn seeds on: `python -m
tests.proof.mutants NAME SEED` repeats it. The last column says what the other tests of its room make of it, when they were tried last
(`python -m tests.proof.others`): none of an oracle is among them.

{_planted(results)}

{bugs}
""",
        encoding="utf-8",
    )

"""Replicas that write without asking each other, and what their versions and merges come to.

All histories of two replicas and four updates, and drawn ones of three replicas and up to six, whose updates are then handed to
a replica in every order, and some twice. V1 and V2: the same comes of it. V3: what somebody knew of when they wrote is never
chosen over what they wrote. V4: a register keeps every concurrent value. V5: it does not depend on the hash seed. V6: a field
is settled once.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import permutations, product
from pathlib import Path
from random import Random
from typing import Any, Final

from coordination.conflict import Resolution, Version, resolve, settle
from coordination.merging import MERGES, counted, elements, merge
from coordination.versions import knows, next_of, together

ROOT: Final = Path(__file__).resolve().parents[2]
_NAMES: Final = ("a", "b", "c")
#: So many versions are resolved in every order, more of them in some.
_SHORT: Final = 4


@dataclass(frozen=True, slots=True)
class Update:
    """One write: by whom, what it had seen, and what each type's state became of it."""

    author: str
    seen: dict[str, int]
    states: dict[str, Any]
    value: int


@dataclass(slots=True)
class Replica:
    name: str
    seen: dict[str, int]
    states: dict[str, Any]


def _empty() -> dict[str, Any]:
    return {
        "counter": {}, "or_set": {"added": {}, "removed": []}, "max": -1, "mv_register": [],
        "lww_register": {"at": [0, 0, ""], "value": None},
    }  # fmt: skip


def lived(moves: Sequence[tuple[int, int, int]]) -> list[Update]:
    """Let replicas write: (who, of whom it hears everything before, what it does). Their own is always known."""
    replicas = [Replica(name, {}, _empty()) for name in _NAMES]
    made = []
    for number, (who, heard, kind) in enumerate(moves):
        me, other = replicas[who], replicas[heard]
        if me is not other:
            me.seen = together([me.seen, other.seen])
            me.states = {name: MERGES[name](me.states[name], other.states[name]) for name in MERGES}
        me.seen = next_of(me.seen, me.name)
        up, down = me.states["counter"].get(me.name, [0, 0])
        me.states["counter"] = {**me.states["counter"], me.name: [up + kind, down + (1 - kind)]}
        held = me.states["or_set"]
        if kind and held["added"]:
            gone = sorted(held["added"])[0]
            held = {
                "added": {name: tags for name, tags in held["added"].items() if name != gone},
                "removed": sorted({*held["removed"], *held["added"][gone]}),
            }
        else:
            name = "xyz"[number % 3]
            held = {**held, "added": {**held["added"], name: sorted({*held["added"].get(name, ()), f"{number:02}"})}}
        me.states["or_set"] = held
        me.states["max"] = max(me.states["max"], (number * 7 + kind) % 5)
        me.states["mv_register"] = [[dict(me.seen), number]]
        me.states["lww_register"] = {"at": [number // 2, sum(me.seen.values()), me.name], "value": number}
        made.append(Update(me.name, dict(me.seen), dict(me.states), number))
    return made


def every_history() -> Iterator[list[tuple[int, int, int]]]:
    """Return all histories of two replicas and four updates, but for their names: the first that writes is called a."""
    for moves in product(product((0, 1), (0, 1), (0, 1)), repeat=4):
        if moves[0][0] == 0:
            yield list(moves)


def drawn(draw: Random) -> list[tuple[int, int, int]]:
    return [(draw.randrange(3), draw.randrange(3), draw.randrange(2)) for _ in range(draw.randint(2, 6))]


def wrong_with(updates: list[Update], draw: Random) -> str:
    """Return what does not hold of a history."""
    return _merges(updates) or _versions(updates, draw)


def _every_order(join: Callable[[Any, Any], Any], states: Sequence[Any]) -> str:
    """Merge in every order, and with everything twice.

    What comes of a set is the same whichever of it came last, and does not change by any of it once more: for all sets, and so for
    all orders.
    """
    found: dict[int, Any] = {1 << place: state for place, state in enumerate(states)}
    for members in range(1, 1 << len(states)):
        for place, state in enumerate(states):
            bit = 1 << place
            if members == bit or not members & bit:
                continue
            made = join(found[members ^ bit], state)
            if found.setdefault(members, made) != made:
                return f"{made} and {found[members]} in another order"
            if join(made, state) != made:
                return f"{made} and something else when one comes twice"
    return ""


def _orders(count: int, draw: Random) -> Iterator[tuple[int, ...]]:
    """Return all orders of up to four, or some, each with one that comes twice."""
    if count <= _SHORT:
        yield from ((*order, draw.choice(order)) for order in permutations(range(count)))
    else:
        yield from ((*draw.sample(range(count), count), draw.randrange(count)) for _ in range(30))


def _merges(updates: list[Update]) -> str:
    """V1, V2 and V4."""
    alive = [u for u in updates if not any(v is not u and knows(v.seen, u.seen) for v in updates)]
    expected = {
        "counter": sum(1 if up else -1 for up in _ups(updates)),
        "or_set": _present(updates),
        "max": max(update.states["max"] for update in updates),
        "mv_register": sorted(update.value for update in alive),
        "lww_register": max(updates, key=lambda u: tuple(u.states["lww_register"]["at"])).value,
    }
    for kind in MERGES:
        states = [update.states[kind] for update in updates]
        whole = merge(kind, states)
        if said := _every_order(MERGES[kind], [merge(kind, [state]) for state in states]):
            return f"V2: {kind} comes to {said}"
        half = len(states) // 2
        if half and merge(kind, [merge(kind, states[:half]), merge(kind, states[half:])]) != whole:
            return f"V1: {kind} depends on who merged what first"
        if merge(kind, [whole, whole]) != whole:
            return f"V1: {kind} merged with itself is another"
        read = _READ[kind](whole)
        if read != expected[kind]:
            return f"V4: {kind} says {read}, and {expected[kind]} was written"
    return ""


def _same(value: Any) -> Any:
    return value


def _values(value: Any) -> list[Any]:
    return sorted(said for _, said in value)


def _value(value: Any) -> Any:
    return value["value"]


#: What the state of a type says.
_READ: Final[dict[str, Callable[[Any], Any]]] = {
    "counter": counted, "or_set": elements, "max": _same, "mv_register": _values, "lww_register": _value,
}  # fmt: skip


def _ups(updates: list[Update]) -> list[bool]:
    found = []
    for update in updates:
        before = max(
            (u.states["counter"].get(update.author, [0, 0]) for u in updates if u.author == update.author and u.seen[u.author] == update.seen[u.author] - 1),
            default=[0, 0],
        )  # fmt: skip
        found.append(update.states["counter"][update.author][0] > before[0])
    return found


def _present(updates: list[Update]) -> list[str]:
    """An element is there if somebody's addition of it was removed by nobody who had seen it."""
    removed = {tag for update in updates for tag in update.states["or_set"]["removed"]}
    added = {
        (name, tag) for update in updates for name, tags in update.states["or_set"]["added"].items() for tag in tags
    }
    return sorted({name for name, tag in added if tag not in removed})


_STRATEGIES: Final = {"title": "priority", "body": "vote", "note": "escalate", "score": "max"}


def _version(update: Update) -> Version:
    fields = {"title": update.value % 3, "body": update.value % 2, "note": update.value, "score": update.value}
    return Version(update.author, update.seen, fields, rank=_NAMES.index(update.author))


def _resolved(versions: Sequence[Version]) -> Resolution:
    return resolve(versions, _STRATEGIES)


def _versions(updates: list[Update], draw: Random) -> str:
    """V2, V3 and V6 of versions, whose fields are settled by what is named for each."""
    versions = [_version(update) for update in updates]
    whole = _resolved(versions)
    for order in _orders(len(versions), draw):
        if _resolved([versions[place] for place in order]) != whole:
            return "V2: the same versions come to another resolution"
    alive = [v for v in versions if not any(w is not v and knows(w.seen, v.seen) for w in versions)]
    for name in _STRATEGIES:
        candidates = [version.fields[name] for version in alive]
        kept = [whole.fields[name].kept] if name in whole.fields else [value for value, _ in whole.open[name][1]]
        if any(value not in candidates for value in kept):
            return f"V3: {name} is {kept}, and only {candidates} are the newest"
        if name in whole.open and _STRATEGIES[name] != "priority" and set(kept) != set(candidates):
            return f"V4: {name} is to be chosen from {kept}, and {candidates} were said"
        if name in whole.open:
            done = settle(whole, name, kept[0], "person")
            said = {value for _, value in done.fields[name].discarded} | {done.fields[name].kept}
            if said != set(kept) or name in done.open:
                return f"V6: {name} was settled, and {said} of {kept} are told"
            try:
                settle(done, name, kept[-1], "person")
            except ValueError:
                continue
            return f"V6: {name} was settled twice"
    return ""


def digest(first: int, count: int) -> str:
    """Return a hash over what some histories come to."""
    said = [
        repr((_resolved([_version(u) for u in made]), {k: merge(k, [u.states[k] for u in made]) for k in MERGES}))
        for seed in range(first, first + count)
        if (made := lived(drawn(Random(f"{seed}/replicas"))))
    ]
    return sha256("\n".join(said).encode()).hexdigest()


def one(seed: int) -> str:
    """Let three replicas write what a seed draws; return what does not hold."""
    draw = Random(f"{seed}/replicas")
    said = wrong_with(lived(drawn(draw)), draw)
    return f"seed {seed}: {said}" if said else ""


def run(count: int, seed: int, share: float = 1.0) -> dict[str, Any]:
    """Check so many drawn histories, all small ones, and that none depends on the hash seed."""
    first = (seed % 1_000_000) * 10_000
    violations = [said for number in range(first, first + count) if (said := one(number))]
    every = 1 if share >= 1 else round(1 / share)
    small = [moves for number, moves in enumerate(every_history()) if number % every == seed % every]
    for number, moves in enumerate(small):
        if said := wrong_with(lived(moves), Random(number)):
            violations.append(f"{moves}: {said}")
    script = f"from tests.proof.conflicts import digest; print(digest({first}, {min(count, 200)}))"
    told = {
        subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for hash_seed in ("1", "4211")
    }  # fmt: skip
    if len(told) > 1:
        violations.append("V5: under another hash seed it comes to something else")
    return {"histories": count, "small": len(small), "violations": violations}


def words(found: dict[str, Any]) -> str:
    return (
        f"{found['small']} of all histories of 2 replicas and 4 updates, and {found['histories']} of 3 replicas and up to 6, in all "
        f"orders; {len(found['violations'])} violations"
    )

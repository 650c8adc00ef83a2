"""Which rounds count. Pure: what was measured comes in, what is published goes out."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.peers.catalogue import UNITS, Workload
from benchmarks.peers.probe import Probe
from benchmarks.peers.processes import Failed, Figure

LEAST_ROUNDS: Final = 5
"""Fewer rounds than this make no median worth publishing; for a quick look they can be asked for all the same."""

MOST_THROWN_AWAY: Final = 20
"""After so many noisy rounds of one workload the best of them are published, and called noisy."""


@dataclass(frozen=True, slots=True)
class Round:
    """One measurement of everybody, one after another, and what the machine was like around it."""

    probe: Probe
    outcomes: Mapping[str, Figure | Failed]


@dataclass(frozen=True, slots=True)
class Published:
    """The rounds that figures are taken from; ``noisy`` when too few were quiet. ``thrown_away`` were not used."""

    rounds: tuple[Round, ...]
    noisy: bool
    thrown_away: int


def collect(one_round: Callable[[], Round], wanted: int, most_thrown_away: int = MOST_THROWN_AWAY) -> Published:
    """Measure until ``wanted`` rounds were quiet, or ``most_thrown_away`` were not."""
    quiet: list[Round] = []
    others: list[Round] = []
    while len(quiet) < wanted and len(others) < most_thrown_away:
        measured = one_round()
        (quiet if measured.probe.is_quiet else others).append(measured)
    if len(quiet) >= wanted:
        return Published(tuple(quiet), noisy=False, thrown_away=len(others))
    best = sorted(quiet + others, key=lambda measured: measured.probe.noise)[:wanted]
    return Published(tuple(best), noisy=True, thrown_away=len(quiet) + len(others) - len(best))


def figures(published: Published, name: str) -> list[Figure]:
    """Return what one engine reached in the published rounds; rounds in which it failed are left out."""
    found = (measured.outcomes.get(name) for measured in published.rounds)
    return [outcome for outcome in found if isinstance(outcome, Figure)]


def failure(published: Published, name: str) -> str | None:
    """Return why an engine failed the last time it did, or nothing."""
    reasons = [
        outcome.reason for measured in published.rounds if isinstance(outcome := measured.outcomes.get(name), Failed)
    ]
    return reasons[-1] if reasons else None


def advantage(workload: Workload, ours: float, theirs: float) -> float:
    """Return how many times better ours is: above 1 we lead, below 1 they do. Both figures are above 0."""
    return ours / theirs if UNITS[workload] == "steps/s" else theirs / ours


def median_advantage(workload: Workload, published: Published, ours: str, theirs: str) -> float | None:
    """Return the median of the rounds' own ratios, so that a slow moment of the machine is on both sides of each."""
    ratios: list[float] = []
    for measured in published.rounds:
        one, other = measured.outcomes.get(ours), measured.outcomes.get(theirs)
        if (
            isinstance(one, Figure)
            and isinstance(other, Figure)
            and one.unit == other.unit
            and min(one.value, other.value) > 0
        ):
            ratios.append(advantage(workload, one.value, other.value))
    return statistics.median(ratios) if ratios else None

"""The protocols under seeds: nothing of what must never happen happens, and a planted break is found."""

from collections import Counter
from hashlib import sha256
from typing import Any

import pytest

from coordination import paxos
from coordination.consensus import Decided
from kos_runtime.core.machine import Concluded, Run
from kos_runtime.simulator.explore import explore
from tests.coordination.mutants import MUTANTS, Mutant, planted
from tests.coordination.paxos_model import FIRST, problem, search, successors
from tests.coordination.worlds import WORLDS, ran

SEEDS = {"consensus": 100, "tasks": 20, "authority": 100, "load": 100}
#: A planted break is found within so many seeds.
MOST_SEEDS = 1_500


@pytest.mark.parametrize("world", WORLDS)
def test_no_seed_contradicts_an_invariant(world: str) -> None:
    for seed in range(SEEDS[world]):
        _, wrong, _ = ran(world, seed)
        assert not wrong, f"seed {seed} of {world}: {wrong[0]}"


def test_the_seeds_of_consensus_meet_every_fault_and_every_outcome() -> None:
    faults: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for seed in range(100):
        trace, _, seen = ran("consensus", seed)
        faults.update(seen)
        outcomes.update(fact.outcome for step in trace.steps for fact in step.transition.facts if type(fact) is Decided)
    assert set(faults) == {
        "message lost", "message doubled", "message that nobody sent", "cut off by a partition", "partition", "dead from the beginning",
        "died before the append", "died between append and sending", "died behind the sending",
        "came back from its records", "lost its disk",
    }  # fmt: skip
    assert set(outcomes) == {"decided", "tie", "no_majority", "no_quorum"}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_break_is_found(name: str) -> None:
    mutant: Mutant = MUTANTS[name]
    with planted(mutant):
        seeds = (mutant.seed, *range(MOST_SEEDS))
        assert any(ran(mutant.world, seed)[1] for seed in seeds), f"{name}: not found"


@pytest.mark.parametrize("world", WORLDS)
def test_a_seed_repeats_itself(world: str) -> None:
    def digest() -> str:
        return sha256(repr([ran(world, seed)[0].steps for seed in range(5)]).encode()).hexdigest()

    assert digest() == digest()


@pytest.mark.parametrize("world", WORLDS)
def test_what_is_folded_from_facts_decides_as_what_was_live(world: str) -> None:
    """Every transition's facts, folded in order, lead to the same state as living through it did."""
    make, _ = WORLDS[world]
    for seed in range(10):
        schedule = make(seed)
        trace = schedule.run()
        for node in {step.node for step in trace.steps}:
            facts = [fact for step in trace.steps if step.node == node for fact in step.transition.facts]
            once: Any = Run(schedule.machine, node, trace.setup, facts).state
            again = schedule.machine.initial(node, trace.setup)
            for fact in facts:
                schedule.machine.evolve(again, fact)
            assert once == again


def test_every_state_of_three_acceptors_and_two_numbers_is_sound() -> None:
    found = search()
    assert not found.problem
    assert found.states > 3_000


@pytest.mark.parametrize(
    ("name", "where", "line", "instead"),
    [
        ("own value", "free_value", "return latest.value if latest.accepted > NONE else own", "return own"),
        ("any number", "on_accept", "if asked.number < acceptor.promised:", "if asked.number < NONE:"),
        (
            "promise not kept",
            "fold_acceptor",
            "acceptor.promised = fact.number",
            "acceptor.promised = acceptor.promised",
        ),
    ],
)
def test_the_search_finds_a_planted_break(name: str, where: str, line: str, instead: str) -> None:
    with planted(Mutant("", paxos, where, line, instead)):
        found = search()
    assert "chosen" in found.problem, name
    assert found.path[0] == FIRST


def test_a_search_that_would_not_end_says_so() -> None:
    with pytest.raises(OverflowError, match="more than 50 states"):
        explore(FIRST, successors, problem, most=50)


def test_a_consensus_ends_with_the_mission_s_result() -> None:
    trace, _, _ = ran("consensus", 3)
    outcome = next(fact.outcome for step in trace.steps for fact in step.transition.facts if type(fact) is Concluded)
    assert set(outcome) == {"outcome", "accepted", "votes", "rounds", "certificate"}

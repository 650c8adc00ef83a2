"""Bugs planted into coordination that no schedule would show; those that one does are in ``tests/coordination/mutants.py``."""

from typing import Final

from tests.proof.planting import Mutant

MUTANTS: Final = (
    Mutant(
        "one-more-handed-on", "coordination", "coordination.authority",
        "state.children.get(parent.id, 0) >= fan_out:", "state.children.get(parent.id, 0) > fan_out:",
        "a grant is handed on once more than it may", "graphs",
    ),
    Mutant(
        "who-was-said-first", "coordination", "coordination.voting",
        "leaders = [option for option in asked.options if found[option] == most]",
        "leaders = list(dict.fromkeys(choice for b in cast for choice in b.choices if found[choice] == most))",
        "a tie goes to the option that stands first in the ballots", "rules",
    ),
    Mutant(
        "last-but-ranked", "coordination", "coordination.schulze",
        "ranks = [count] * count\n", "ranks = [len(ranking) - 1] * count\n",
        "what a ballot does not rank is level with what it ranks last", "rules",
    ),
    Mutant(
        "leases-twice-as-long", "coordination", "coordination.assignment",
        "if now - lease.renewed_at >= setup.lease_ms:", "if now - lease.renewed_at >= 2 * setup.lease_ms:",
        "who is gone keeps its tasks for twice as long", "loads",
    ),
)  # fmt: skip

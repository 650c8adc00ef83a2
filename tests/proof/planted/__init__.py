"""The planted bugs; most of those of coordination are in ``tests/coordination/mutants.py``."""

from typing import Final

from tests.proof.planted import coordination, engine, recovery, store
from tests.proof.planting import Mutant

MUTANTS: Final = (*engine.MUTANTS, *store.MUTANTS, *recovery.MUTANTS, *coordination.MUTANTS)


def named(name: str) -> Mutant:
    """Return one of them."""
    return next(mutant for mutant in MUTANTS if mutant.name == name)

"""The lines of the planted bugs are there, and one of them is caught as its table says."""

import pytest

from tests.proof import mutants


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_its_line_stands_once_and_the_change_compiles(mutant: mutants.Mutant) -> None:
    source = mutant.source()
    assert source != mutant.path.read_text(encoding="utf-8")
    compile(source, str(mutant.path), "exec")


def test_at_least_ten_are_planted_and_one_is_caught() -> None:
    assert len({mutant.name for mutant in mutants.MUTANTS}) == len(mutants.MUTANTS) >= 10
    found = mutants.run("link-of-no-epoch", 0, 20)
    assert found["caught"], found
    assert found["by"].startswith("I15")

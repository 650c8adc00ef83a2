"""The lines of the planted bugs are there, and one of them is caught as its table says."""

import pytest

from tests.coordination.mutants import MUTANTS as BREAKS
from tests.proof import mutants, others
from tests.proof.planted import MUTANTS
from tests.proof.planting import Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_its_line_stands_once_and_the_change_compiles(mutant: Mutant) -> None:
    source = mutant.source()
    assert source != mutant.path.read_text(encoding="utf-8")
    compile(source, str(mutant.path), "exec")
    assert mutant.hunt in mutants.HUNTS


def test_every_room_has_as_many_as_are_promised() -> None:
    rooms = mutants.rooms()
    assert len(rooms) == len(MUTANTS) + len(BREAKS) >= 30
    for room, least in mutants.LEAST.items():
        assert list(rooms.values()).count(room) >= least, room


def test_a_push_looks_for_a_fifth_of_each_room() -> None:
    chosen = mutants.drawn(11, 0.2)
    rooms = mutants.rooms()
    for room in mutants.LEAST:
        all_ = [name for name in rooms if rooms[name] == room]
        assert 5 * len([name for name in chosen if rooms[name] == room]) >= len(all_)
    assert mutants.drawn(11, 1.0) == list(rooms)


def test_one_in_a_process_of_its_own_is_caught_and_one_that_is_mended_again() -> None:
    found = mutants.look_for("link-of-no-epoch", 0)
    assert found["caught"], found
    assert found["by"].startswith("I15")
    assert mutants.look_for("a grant never ends", 0)["by"].startswith("A1")


def test_what_the_other_tests_make_of_each_is_kept_by_names_that_there_are() -> None:
    assert set(others.kept()) <= set(mutants.rooms())

"""The lanes of coordination, in small: they run, and each sees what it should see."""

from typing import Any

import pytest

from coordination import assignment, versions
from coordination import grant as grants
from kos_runtime.adapters.event_store.memory import MemoryEventStore
from kos_runtime.core.errors import Fenced
from kos_runtime.core.record import Batch
from tests.coordination.mutants import Mutant, planted
from tests.proof import conflicts, graphs, histories, loads, models, rules, schedules
from tests.proof.linear import NEVER, Operation, contradiction


def test_schedules_are_run_and_some_are_made_twice() -> None:
    found = schedules.run(60, 5, 0.004)
    assert schedules.problems(found, 0.004) == []
    assert found["counts"] == {"consensus": 60, "tasks": 2, "authority": 12, "load": 12}
    assert "60 consensus schedules" in schedules.words(found)


def test_authority_and_the_plain_model_of_it_come_to_the_same_verdicts() -> None:
    assert graphs._some(7, 200) == []
    asked, wrong = graphs.every_chain(3, 400)
    assert asked > 500
    assert wrong == []


@pytest.mark.parametrize(
    ("where", "line", "instead"),
    [
        ("wider", "if child.depth >= parent.depth:", "if child.depth > parent.depth:"),
        ("objection", "if use.action not in first.actions:", "if not first.actions:"),
        ("lies_within", "if not outer or scope == outer:", "if not outer or not scope or scope == outer:"),
    ],
)
def test_the_plain_model_shows_a_check_that_is_too_lax(where: str, line: str, instead: str) -> None:
    with planted(Mutant("", grants, where, line, instead)):
        assert graphs._some(0, 400)


def test_elections_keep_to_their_properties() -> None:
    assert rules._some(5, 150) == []


def test_replicas_come_to_the_same_whatever_order_they_hear_of_updates_in() -> None:
    assert [said for seed in range(6) if (said := conflicts.one(seed))] == []
    assert len(list(conflicts.every_history())) == 2_048
    with planted(Mutant("", versions, "together", "max(count, found.get(replica, 0))", "count")):
        assert any(conflicts.one(seed) for seed in range(10))


def test_queues_are_shorter_by_two_choices_and_who_is_gone_keeps_nothing() -> None:
    found = loads.run(4, 3)
    assert found["violations"] == []
    assert 2 * found["two"] <= found["one"]


def test_every_order_of_two_owners_is_tried_and_an_outdated_one_that_stores_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert models.owners(3) == (512, "")
    monkeypatch.setattr(MemoryEventStore, "_admit", lambda self, batch: None)
    assert "what was outdated was stored" in models.owners(3)[1]


def test_the_search_of_leases_sees_a_result_that_is_taken_twice() -> None:
    line, instead = (
        "if lease is None or lease.task != said.task:",
        "if lease is None and said.epoch not in state.heard:",
    )
    with planted(Mutant("", assignment, "_take", line, instead)), pytest.raises(AttributeError):
        models.leases(models._SETUP, 0)
    assert models.leases(models._SETUP, 0).problem == ""
    with planted(Mutant("", assignment, "_give_out", "if attempts >= setup.max_attempts:", "if attempts > 9:")):
        assert models.leases(models._SETUP, 2).problem.startswith("M3")


def _op(call: int, back: int, what: Any, result: Any) -> Operation:
    return Operation(call, back, 0, what, result)


def _register(state: Any, op: Operation) -> Any:
    if op.what[0] == "write":
        return op.what[1]
    return state if op.result == state else None


def test_a_history_is_explained_by_an_order_or_it_is_not() -> None:
    write, late = _op(0, 10, ("write", 1), "done"), _op(20, NEVER, ("write", 2), None)
    assert contradiction([write, _op(2, 5, ("read",), 0), _op(6, 8, ("read",), 1)], 0, _register) == ""
    assert "('read',)" in contradiction([write, _op(2, 5, ("read",), 1), _op(6, 8, ("read",), 0)], 0, _register)
    assert contradiction([write, late, _op(30, 31, ("read",), 1), _op(40, 41, ("read",), 2)], 0, _register) == ""
    assert contradiction([write, late, _op(30, 31, ("read",), 2), _op(40, 41, ("read",), 1)], 0, _register)


def test_histories_of_compare_and_append_are_explained_and_a_store_without_fences_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = histories.run(12, 4)
    assert found["violations"] == []
    assert found["files"] == 1
    genuine = MemoryEventStore._admit

    def lax(store: MemoryEventStore, batch: Batch) -> None:
        try:
            genuine(store, batch)
        except Fenced:
            return

    monkeypatch.setattr(MemoryEventStore, "_admit", lax)
    assert any(contradiction(histories.in_memory(seed), (0, 0, b"\0" * 32), histories.step) for seed in range(20))

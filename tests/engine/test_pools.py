"""Who gets hands: turns, suspects that must run alone, and pools that cannot grow."""

from kos_runtime.core.plan.link import AgentLink
from kos_runtime.engine.limits import Limits
from kos_runtime.engine.pools import Pool, Pools


def pools(*processes: str, most: int = 4) -> tuple[Pools, Pool]:
    made = Pools(Limits())
    pool = made.know(AgentLink(kind="k", target="m:k", pool="k", most=most))
    for name in processes:
        made.up(name, "k", 2)
    return made, pool


def test_a_suspect_waits_for_a_process_that_holds_nothing_and_gets_the_one_kept_for_it() -> None:
    made, pool = pools("k-1")
    made.held(made.processes["k-1"], ("busy", "a", 1), 0)
    assert not made.has_room("k", "suspect", "s", alone=True)
    # A hand is free, but it is kept.
    assert not made.has_room("k", "other", "o")
    assert made.next_in_turn(pool) is None
    made.released(made.processes["k-1"], ("busy", "a", 1))
    assert made.next_in_turn(pool) == ("suspect", "s")
    made.granting = True
    assert made.has_room("k", "suspect", "s", alone=True)
    assert made.take("suspect", "s", 1, 0, alone=True) == "k-1"


def test_a_process_is_not_kept_for_who_no_longer_waits() -> None:
    made, pool = pools("k-1")
    made.held(made.processes["k-1"], ("busy", "a", 1), 0)
    assert not made.has_room("k", "suspect", "s", alone=True)
    assert pool.reserved == "k-1"
    made.released(made.processes["k-1"], ("busy", "a", 1))
    assert made.next_in_turn(pool) == ("suspect", "s")
    assert made.has_room("k", "other", "o")


def test_a_pool_that_could_not_grow_asks_again_only_after_a_process_is_gone() -> None:
    made, pool = pools("k-1", "k-2")
    pool.waiting.add(("r", "p"))
    assert made.wants_process(pool)
    pool.failed = "no room"
    assert not made.wants_process(pool)
    made.down("k-2")
    assert made.wants_process(pool)


def test_a_closed_pool_gives_nothing_out_and_is_empty_when_what_it_holds_has_ended() -> None:
    made, pool = pools("k-1")
    made.held(made.processes["k-1"], ("busy", "a", 1), 0)
    made.closed = True
    assert not made.has_room("k", "other", "o")
    assert made.next_in_turn(pool) is None
    assert not made.wants_process(pool)
    assert not made.are_empty()
    made.released(made.processes["k-1"], ("busy", "a", 1))
    assert made.are_empty()


def test_a_dispatch_is_overdue_once_after_its_timeout_and_the_grace() -> None:
    made, _ = pools("k-1")
    process = made.processes["k-1"]
    made.now = 1_000
    made.held(process, ("r", "slow", 1), 500)
    made.held(process, ("r", "endless", 1), 0)
    due = 1_500 + made.limits.grace_ms
    assert made.overdue_at == due
    made.now = due - 1
    assert made.overdue() == []
    made.now = due
    assert made.overdue() == [(process, ("r", "slow", 1))]
    assert made.overdue() == []
    assert process.holds.keys() == {("r", "slow", 1), ("r", "endless", 1)}

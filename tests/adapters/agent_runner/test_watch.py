from kos_runtime.adapters.agent_runner.ledger import Ledger
from kos_runtime.adapters.agent_runner.watch import SLOW_NS, Watch
from kos_runtime.adapters.agent_runner.work import Attempt, Batch, Chunk
from kos_runtime.core.invocation import Invocation, Outcome


class Scene:
    """A watch under a clock that stands still."""

    def __init__(self) -> None:
        self.now = 1_000_000_000
        self.due: list[Attempt] = []
        self.slow: list[tuple[Chunk, bool]] = []
        self.ledger = Ledger()
        self.watch = Watch(
            self.ledger, 2, lambda: self.now, on_due=self.due.append, on_slow=lambda c, s: self.slow.append((c, s))
        )

    def begin(self, fence: int, timeout_ns: int) -> Attempt:
        invocation = Invocation("r", "s", 1, fence, 1, "a", "act", b"", 0, "k")
        attempt = Attempt(invocation, ("r", "s", fence), Batch(1, left=True), self.now, self.now + timeout_ns)
        self.ledger.begin(attempt)
        self.watch.expect(attempt.deadline)
        return attempt


def invocations(count: int) -> list[Invocation]:
    return [Invocation("r", "s", 1, n, 1, "a", "act", b"", 0, "k") for n in range(count)]


def test_a_deadline_is_due_when_it_comes_and_not_before() -> None:
    scene = Scene()
    attempt = scene.begin(1, 100)
    later = scene.begin(2, 500)
    assert scene.watch.look() == attempt.deadline
    assert scene.due == []
    scene.now += 100
    assert scene.watch.look() == later.deadline
    assert scene.due == [attempt]


def test_an_earlier_deadline_moves_the_next_look() -> None:
    scene = Scene()
    scene.begin(1, 1_000)
    scene.watch.look()
    earlier = scene.begin(2, 10)
    assert scene.watch._next == earlier.deadline


def test_a_chunk_that_moves_on_hands_out_and_one_that_is_stuck_is_taken_apart() -> None:
    scene = Scene()
    chunk = Chunk(invocations(3), Batch(3, left=True))
    scene.watch.begin(0, chunk)
    chunk.next()
    scene.watch.look()
    assert scene.slow == []
    scene.now += SLOW_NS
    scene.watch.look()
    chunk.next()
    scene.now += SLOW_NS
    scene.watch.look()
    scene.now += SLOW_NS
    scene.watch.look()
    assert scene.slow == [(chunk, False), (chunk, False), (chunk, True)]


def test_what_a_chunk_has_ended_is_handed_out_while_its_last_takes_long() -> None:
    scene = Scene()
    chunk = Chunk(invocations(2), Batch(2, left=True))
    scene.watch.begin(0, chunk)
    chunk.next()
    chunk.end(Outcome("r", "s", 1))
    chunk.next()
    scene.now += SLOW_NS
    scene.watch.look()
    assert scene.slow == [(chunk, False)]
    assert chunk.take_ended()
    scene.watch.look()
    assert len(scene.slow) == 1


def test_a_chunk_with_nothing_waiting_is_left_alone() -> None:
    scene = Scene()
    chunk = Chunk(invocations(1), Batch(1, left=True))
    scene.watch.begin(0, chunk)
    chunk.next()
    scene.now += 10 * SLOW_NS
    scene.watch.look()
    scene.watch.end(0)
    scene.watch.look()
    assert scene.slow == []


def test_who_decides_an_attempt_first_has_decided_it() -> None:
    scene = Scene()
    timed_out, ended = Outcome("r", "s", 1), Outcome("r", "s", 1)
    attempt = scene.begin(1, 100)
    assert scene.ledger.time_out(attempt, timed_out)
    assert not scene.ledger.end(attempt, ended)
    assert scene.ledger.inventory(1) == ([], [timed_out])
    other = scene.begin(2, 100)
    done = Outcome("r", "s", 2)
    assert scene.ledger.end(other, done)
    assert not scene.ledger.time_out(other, Outcome("r", "s", 2))
    assert (scene.ledger.running, scene.ledger.overdue) == ({}, {})


def test_an_acknowledged_timeout_is_not_undone_by_the_end_of_its_body() -> None:
    scene = Scene()
    attempt = scene.begin(1, 100)
    scene.ledger.time_out(attempt, Outcome("r", "s", 1))
    scene.ledger.acknowledge([("r", "s", 1)])
    assert not scene.ledger.end(attempt, Outcome("r", "s", 1))
    assert scene.ledger.inventory(1) == ([], [])


def test_memory_of_settled_fences_is_bounded() -> None:
    ledger = Ledger(settled=10)
    for fence in range(100):
        attempt = Attempt(invocations(1)[0], ("r", "s", fence), Batch(1, left=True), 0, 0)
        ledger.begin(attempt)
        ledger.end(attempt, Outcome("r", "s", fence))
        ledger.acknowledge([("r", "s", fence)])
    assert len(ledger._settled) == len(ledger._settled_order) == 10

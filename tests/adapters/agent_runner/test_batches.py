"""How batches are handed over: nothing here sleeps; bodies wait for gates that the tests open."""

import asyncio
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from kos_runtime.adapters.agent_runner.ledger import Ledger
from kos_runtime.adapters.agent_runner.loop import Ended, EventLoop
from kos_runtime.adapters.agent_runner.work import Attempt, Batch
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.ports.agent import Agent, Context, action
from tests.adapters.agent_runner.bench import PATIENCE, Bench, bench


class Worker(Agent):
    """Its bodies wait at gates, so that a test decides when they end."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self.runs: list[int] = []
        self.stopped = threading.Event()

    @action
    def quick(self, n: int = 0) -> dict[str, int]:
        self.runs.append(n)
        return {"n": n}

    @action
    def maybe(self, n: int = 0, wait: bool = False) -> dict[str, int]:
        if wait:
            self.entered.release()
            assert self.gate.wait(PATIENCE)
        return {"n": n}

    @action
    def patient(self, n: int = 0) -> dict[str, int]:
        self.runs.append(n)
        self.entered.release()
        assert self.gate.wait(PATIENCE)
        return {"n": n}

    @action
    def polite(self, context: Context) -> dict[str, bool]:
        self.entered.release()
        assert self.gate.wait(PATIENCE)
        return {"cancelled": context.cancelled}

    @action(isolated=True)
    def apart(self, context: Context) -> dict[str, bool]:
        return self.polite(context)

    @action
    async def awaits(self, n: int = 0) -> dict[str, int]:
        self.entered.release()
        try:
            while not self.gate.is_set():  # noqa: ASYNC110 - the gate is opened by another thread
                await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        return {"n": n}

    @action
    def wrapped(self, n: int = 0) -> Any:
        return self.awaits(n)

    @action
    async def stubborn(self) -> dict[str, int]:
        self.entered.release()
        while not self.gate.is_set():
            try:
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                self.stopped.set()
        return {"n": 1}


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.gate.set()


@pytest.fixture
def hands(worker: Worker) -> Iterator[Bench]:
    with bench(worker) as made:
        yield made
        worker.gate.set()


def keys(invocations: list[Invocation]) -> list[tuple[str, str, int]]:
    return [(i.run, i.path, i.fence) for i in invocations]


def enter(worker: Worker, times: int = 1) -> None:
    for _ in range(times):
        assert worker.entered.acquire(timeout=PATIENCE)


def fences(outcomes: list[Outcome]) -> list[int]:
    return sorted(outcome.fence for outcome in outcomes)


def test_a_batch_returns_when_all_of_it_is_done(hands: Bench) -> None:
    batch = [hands.invocation("quick", {"n": n}) for n in range(300)]
    result = hands.runner.run_batch(batch, PATIENCE * 1_000)
    assert fences(result.outcomes) == [i.fence for i in batch]
    assert result.running == []
    assert hands.late == []


def test_what_is_done_does_not_wait_for_what_is_not(hands: Bench, worker: Worker) -> None:
    slow, quick = hands.invocation("patient", {"n": 1}), hands.invocation("quick", {"n": 2})
    result = hands.runner.run_batch([slow, quick], 500.0)
    assert fences(result.outcomes) == [quick.fence]
    assert result.running == keys([slow])
    worker.gate.set()
    assert fences(hands.wait_late(1)) == [slow.fence]


def test_one_that_hangs_inside_a_run_of_short_ones_holds_up_none_of_them(worker: Worker) -> None:
    with bench(worker, threads=2) as hands:
        for _ in range(3):
            hands.runner.run_batch([hands.invocation("maybe") for _ in range(200)], PATIENCE * 1_000)
        assert hands.runner._means["maybe"] < 500_000, "the action is not known as short"
        batch = [hands.invocation("maybe", {"n": n, "wait": n == 5}) for n in range(40)]
        hands.runner.submit(batch)
        enter(worker)
        assert fences(hands.wait_late(39)) == [i.fence for i in batch if i is not batch[5]]
        assert hands.runner.running() == keys([batch[5]])
        worker.gate.set()
        assert len(hands.wait_late(40)) == 40


def test_what_ended_before_the_last_of_a_run_that_hangs_does_not_wait_for_it(worker: Worker) -> None:
    with bench(worker, threads=1) as hands:
        hands.runner.run_batch([hands.invocation("quick") for _ in range(200)], PATIENCE * 1_000)
        batch = [hands.invocation("quick", {"n": 7}), hands.invocation("patient", {"n": 8})]
        hands.runner.submit(batch)
        enter(worker)
        assert fences(hands.wait_late(1)) == [batch[0].fence]
        assert hands.runner.running() == keys([batch[1]])
        worker.gate.set()
        assert fences(hands.wait_late(2)) == [i.fence for i in batch]


def test_bodies_run_side_by_side_up_to_the_number_of_threads(worker: Worker) -> None:
    with bench(worker, threads=3) as hands:
        batch = [hands.invocation("patient", {"n": n}) for n in range(5)]
        hands.runner.submit(batch)
        enter(worker, 3)
        assert len(hands.runner.running()) == 3
        assert len(worker.runs) == 3
        worker.gate.set()
        assert len(hands.wait_late(5)) == 5


def test_coroutines_take_no_thread(worker: Worker) -> None:
    with bench(worker, threads=1) as hands:
        hands.runner.submit([hands.invocation("awaits", {"n": n}) for n in range(20)])
        enter(worker, 20)
        assert hands.value("quick", {"n": 7})["n"] == 7
        worker.gate.set()
        assert len(hands.wait_late(20)) == 20


def test_a_coroutine_may_come_from_a_plain_method(hands: Bench, worker: Worker) -> None:
    worker.gate.set()
    assert hands.value("wrapped", {"n": 3})["n"] == 3


@pytest.mark.parametrize("name", ["patient", "awaits", "stubborn"])
def test_a_timeout_is_reported_once_and_the_late_end_is_dropped(hands: Bench, worker: Worker, name: str) -> None:
    late = hands.invocation(name, timeout_ms=20)
    hands.runner.submit([late])
    outcome = hands.wait_late(1)[0]
    assert outcome.error is not None
    assert outcome.error.message == f"Worker.{name} timed out after 20ms (start_to_close)"
    assert (outcome.error.type, outcome.duration_ms) == ("timeout", 20.0)
    worker.gate.set()
    hands.runner.acknowledge(keys([late]))
    assert hands.value("quick")["n"] == 0
    assert len(hands.late) == 1


def test_a_slot_is_taken_until_its_body_has_really_ended(worker: Worker) -> None:
    with bench(worker, threads=1) as hands:
        hung = hands.invocation("patient", timeout_ms=20)
        hands.runner.submit([hung])
        hands.wait_late(1)
        waits = hands.invocation("quick")
        hands.runner.submit([waits])
        assert hands.runner.running() == []
        assert hands.runner.inventory(1)[0] == keys([waits])
        assert hands.runner.wedged(0.0) == keys([hung])
        assert hands.runner.overdue() == 1
        assert hands.runner.wedged(1_000.0) == []
        worker.gate.set()
        assert hands.wait_late(2)[1].fence == waits.fence
        assert hands.runner.wedged(0.0) == []
        assert hands.runner.overdue() == 0


def test_a_timeout_cancels_a_coroutine(hands: Bench, worker: Worker) -> None:
    hands.runner.submit([hands.invocation("awaits", timeout_ms=20)])
    hands.wait_late(1)
    assert worker.stopped.wait(PATIENCE)


def test_cancelling_a_coroutine_ends_it(hands: Bench, worker: Worker) -> None:
    running = hands.invocation("awaits")
    hands.runner.submit([running])
    enter(worker)
    assert hands.runner.cancel(*keys([running])[0])
    outcome = hands.wait_late(1)[0]
    assert outcome.error is not None
    assert (outcome.error.type, outcome.error.message) == ("transient", "the attempt was cancelled")


def test_cancelling_a_plain_action_tells_its_context_and_then_counts_as_wedged(hands: Bench, worker: Worker) -> None:
    running = hands.invocation("polite")
    hands.runner.submit([running])
    enter(worker)
    assert hands.runner.wedged(0.0) == []
    assert hands.runner.cancel(*keys([running])[0])
    assert hands.runner.wedged(0.0) == keys([running])
    worker.gate.set()
    assert hands.opened(hands.wait_late(1)[0])["cancelled"] is True


def test_one_that_has_its_process_for_itself_is_given_up_sooner_when_it_does_not_stop(worker: Worker) -> None:
    now = [10**9]
    with bench(worker, clock=lambda: now[0]) as hands:
        for name in ("polite", "apart"):
            running = hands.invocation(name)
            hands.runner.submit([running])
            enter(worker)
            hands.runner.cancel(*keys([running])[0])
        assert hands.runner.wedged(10.0) == []
        now[0] += 600_000_000
        assert hands.runner.wedged(10.0) == keys([running])
        now[0] += 10_000_000_000
        assert len(hands.runner.wedged(10.0)) == 2
        worker.gate.set()
        hands.wait_late(2)


def test_what_is_cancelled_before_it_began_never_begins(worker: Worker) -> None:
    with bench(worker, threads=1) as hands:
        first, second = hands.invocation("patient", {"n": 1}), hands.invocation("patient", {"n": 2})
        hands.runner.submit([first, second])
        enter(worker)
        assert hands.runner.cancel(*keys([second])[0])
        worker.gate.set()
        outcome = hands.wait_late(2)[1]
        assert outcome.error is not None
        assert outcome.error.message == "the attempt was cancelled before it began"
        assert worker.runs == [1]
        assert not hands.runner.cancel("run1", "gone", 1)


def test_what_comes_twice_is_done_once_and_answered_again(hands: Bench, worker: Worker) -> None:
    once = hands.invocation("quick", {"n": 4})
    first = hands.runner.run_batch([once, once], PATIENCE * 1_000).outcomes
    again = hands.runner.run_batch([once], PATIENCE * 1_000).outcomes
    assert again == first
    hands.runner.submit([once])
    assert hands.wait_late(1) == first
    assert worker.runs == [4]


def test_what_runs_or_is_settled_is_not_begun_again(hands: Bench, worker: Worker) -> None:
    running = hands.invocation("patient", {"n": 1})
    hands.runner.submit([running])
    enter(worker)
    assert hands.runner.run_batch([running], 1.0).outcomes == []
    worker.gate.set()
    hands.wait_late(1)
    hands.runner.acknowledge(keys([running]))
    assert hands.runner.run_batch([running], PATIENCE * 1_000).outcomes == []
    assert worker.runs == [1]


def test_outcomes_are_kept_until_they_are_acknowledged(hands: Bench) -> None:
    batch = [hands.invocation("quick", {"n": n}) for n in range(3)]
    hands.runner.run_batch(batch, PATIENCE * 1_000)
    held, outcomes = hands.runner.inventory(1)
    assert (held, fences(outcomes)) == ([], [i.fence for i in batch])
    hands.runner.acknowledge(keys(batch[:2]))
    assert fences(hands.runner.inventory(1)[1]) == [batch[2].fence]


def test_an_outlived_sender_is_not_served(hands: Bench, worker: Worker) -> None:
    hands.runner.inventory(5)
    assert hands.runner.run_batch([hands.invocation("quick", epoch=4)], PATIENCE * 1_000).outcomes == []
    assert len(hands.runner.run_batch([hands.invocation("quick", {"n": 1}, epoch=5)], PATIENCE * 1_000).outcomes) == 1
    hands.runner.run_batch([hands.invocation("quick", {"n": 2}, epoch=6)], PATIENCE * 1_000)
    assert hands.runner.run_batch([hands.invocation("quick", epoch=5)], PATIENCE * 1_000).outcomes == []
    assert worker.runs == [1, 2]


@pytest.mark.parametrize("ledger", [Ledger(most=2), Ledger(most_bytes=10)], ids=["count", "bytes"])
def test_too_many_unacknowledged_outcomes_hold_back_new_work(worker: Worker, ledger: Ledger) -> None:
    with bench(worker, ledger=ledger) as hands:
        first = [hands.invocation("quick", {"n": n}) for n in (1, 2)]
        hands.runner.run_batch(first, PATIENCE * 1_000)
        later = hands.invocation("quick", {"n": 3})
        assert hands.runner.run_batch([later], 1.0).outcomes == []
        assert hands.runner.inventory(1)[0] == keys([later])
        assert worker.runs in ([1, 2], [2, 1])
        hands.runner.acknowledge(keys(first))
        assert fences(hands.wait_late(1)) == [later.fence]
        assert worker.runs[2:] == [3]


def test_a_listener_that_raises_loses_nothing(worker: Worker) -> None:
    said = SimpleQueue[str]()

    def refuse(outcomes: list[Outcome]) -> None:
        raise RuntimeError("gone")

    with bench(worker, log=lambda message, **fields: said.put(message)) as hands:
        hands.runner._on_late = refuse
        one = hands.invocation("patient")
        hands.runner.submit([one])
        enter(worker)
        worker.gate.set()
        assert said.get(timeout=PATIENCE) == "outcomes could not be handed out"
        assert hands.value("quick")["n"] == 0
        assert one.fence in fences(hands.runner.inventory(1)[1])


def test_reports_of_progress_reach_whoever_listens_and_never_fail_the_action() -> None:
    class Talks(Agent):
        @action
        def act(self, context: Context) -> dict[str, Any]:
            context.progress("half", 0.5)
            context.progress("more than all", 7.0)
            context.heartbeat()
            context.log("said", step="not mine", n=1)
            return {"ok": True}

    heard: list[Any] = []
    lines: list[Any] = []

    def listen(*report: Any) -> None:
        heard.append(report)
        raise RuntimeError("deaf")

    with bench(Talks(), on_progress=listen, log=lambda message, **fields: lines.append((message, fields))) as hands:
        assert hands.value("act")["ok"] is True
    assert heard == [("run1", "step", 1, "half", 0.5), ("run1", "step", 1, "more than all", 1.0)]
    assert lines == [("said", {"run": "run1", "step": "step", "attempt": 1, "n": 1})]


def test_a_task_that_brings_the_loop_down_does_not_end_it(worker: Worker) -> None:
    class Breaks(Agent):
        @action
        async def act(self) -> dict[str, int]:
            async def quits() -> None:
                raise SystemExit

            task = asyncio.ensure_future(quits())
            await asyncio.wait([task])
            task.exception()
            return {"n": 1}

    with bench(Breaks()) as hands:
        assert hands.value("act")["n"] == 1
        assert hands.value("act")["n"] == 1


def test_a_coroutine_that_is_cancelled_before_it_begins_ends_all_the_same() -> None:
    ended: SimpleQueue[Ended] = SimpleQueue()
    loop = EventLoop("test", lambda many: ended.put(many[0]))
    invocation = Invocation("r", "s", 1, 1, 1, "a", "act", b"", 0, "k")
    attempt = Attempt(invocation, ("r", "s", 1), Batch(1, left=True), 0, 0, stopped=1)
    begun = threading.Event()

    async def act() -> None:
        begun.set()

    loop.start(attempt, act())
    _, _, error = ended.get(timeout=PATIENCE)
    loop.close()
    assert isinstance(error, asyncio.CancelledError)
    assert not begun.is_set()

"""Signs of life: an attempt that gives none for too long is given up before its timeout."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kos_runtime.adapters.agent_runner.ledger import Ledger
from kos_runtime.adapters.agent_runner.watch import Watch
from kos_runtime.adapters.agent_runner.work import Attempt, Batch
from kos_runtime.core.invocation import Invocation
from kos_runtime.ports.agent import Agent, Context, action

from .bench import PATIENCE, Bench, bench

MS = 1_000_000


class Patient(Agent):
    """Beats as often as it is told to, then waits in silence."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.stopped = threading.Event()

    @action
    def beats(self, context: Context, times: int, by: str = "heartbeat") -> dict[str, Any]:
        for _ in range(times):
            self.gate.wait(0.01)
            context.heartbeat() if by == "heartbeat" else context.progress("still here")
        return {"cancelled": context.cancelled}

    @action
    def silent(self) -> dict[str, Any]:
        assert self.gate.wait(PATIENCE)
        return {}

    @action
    async def silent_too(self, context: Context) -> dict[str, Any]:
        try:
            while not self.gate.is_set():  # noqa: ASYNC110 - the gate is opened by another thread
                await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        return {}


@pytest.fixture
def agent() -> Iterator[Patient]:
    made = Patient()
    yield made
    made.gate.set()


@pytest.fixture
def hands(agent: Patient) -> Iterator[Bench]:
    with bench(agent) as made:
        yield made
        agent.gate.set()


@pytest.mark.parametrize("name", ["silent", "silent_too"])
def test_silence_fails_an_attempt_long_before_its_timeout(hands: Bench, name: str) -> None:
    hands.runner.submit([hands.invocation(name, timeout_ms=3_600_000, heartbeat_ms=50)])
    (outcome,) = hands.wait_late(1)
    assert outcome.error is not None
    assert outcome.error.message == f"Patient.{name} gave no sign of life for 50ms (heartbeat)"
    assert (outcome.error.type, outcome.error.recoverable) == ("timeout", True)
    assert outcome.duration_ms >= 50


@pytest.mark.parametrize("by", ["heartbeat", "progress"])
def test_whoever_gives_signs_of_life_may_take_long(hands: Bench, by: str) -> None:
    found = hands.value("beats", {"times": 40, "by": by}, heartbeat_ms=200, timeout_ms=3_600_000)
    assert found["cancelled"] is False


def test_a_silent_coroutine_is_cancelled_and_a_silent_thread_counts_as_wedged(hands: Bench, agent: Patient) -> None:
    hands.runner.submit([hands.invocation("silent_too", heartbeat_ms=500)])
    hands.wait_late(1)
    assert agent.stopped.wait(PATIENCE)
    hung = hands.invocation("silent", heartbeat_ms=50)
    hands.runner.submit([hung])
    hands.wait_late(2)
    assert hands.runner.wedged(0.0) == [(hung.run, hung.path, hung.fence)]


class Beating:
    beat = 0


def test_the_watch_wakes_for_the_next_silence_and_for_whichever_limit_is_first() -> None:
    now, due = 1_000 * MS, list[Attempt]()
    ledger = Ledger()
    watch = Watch(ledger, 1, lambda: now, on_due=due.append, on_slow=lambda *_: None)
    invocation = Invocation("r", "s", 1, 1, 1, "a", "act", b"", 0, "k")
    attempt = Attempt(invocation, ("r", "s", 1), Batch(1, left=True), now, now + 100 * MS, silence=30 * MS)
    life = Beating()
    attempt.context = life  # type: ignore[assignment]
    life.beat = now
    ledger.begin(attempt)
    assert watch.look() == now + 30 * MS
    now += 29 * MS
    life.beat = now
    assert watch.look() == now + 30 * MS
    now += 60 * MS
    life.beat = now
    assert watch.look() == attempt.deadline
    assert not due
    now = attempt.deadline
    watch.look()
    assert due == [attempt]

"""Timers in real time: how late each of very many fires, when all are due at one instant, or within a short while."""

import shutil
import time
from typing import Any

from benchmarks.growth import Local
from kos_runtime.adapters.clock import LogClock
from kos_runtime.core.plan.model import Body, Plan, Step, Wait
from kos_runtime.core.record import Batch, Record

#: From the last run's creation until the first timer is due.
LEAD_MS = 3_000
#: About what creating one run takes, on a busy machine.
_CREATION_MS = 1.0
_MAX_SLEEP_S = 0.05
_TOGETHER = 256


def timers(count: int = 10_000, spread_ms: int = 0) -> dict[str, Any]:
    """Let so many runs wait, all until one instant or within so long; return how late they went on.

    The log's clock stands still while they are created, so that all are due together. A timer has fired when what follows of it
    is stored: its lateness is that of the commit.
    """
    local = Local(active=100)
    try:
        wait_ms = int(count * _CREATION_MS) + LEAD_MS
        clock = LogClock.at_claim(local.store.head().time)
        plan = Plan(
            workflow="timers", free_inputs=True, free_outputs=True,
            body=Body(steps=(Step(id="pause", form=Wait(for_ms=wait_ms)),)),
        )  # fmt: skip
        digests = local.digests(plan)
        begin = local.now = clock.now()
        due: dict[str, int] = {}
        for number in range(0, count, _TOGETHER):
            local.now = begin + spread_ms * number // count
            local.create(digests, min(_TOGETHER, count - number))
            local.drain()
            for place in range(number, min(number + _TOGETHER, count)):
                due[f"g{place + 1:08d}"] = local.now + wait_ms
        if clock.now() > begin + wait_ms - LEAD_MS // 2:
            raise RuntimeError("this machine was too slow to create them in time; ask for fewer")
        late = sorted(at - due[record.correlation] for at, record in _fired(local, clock, count, spread_ms))
        return {
            "timers": count, "spread_ms": spread_ms, "p50_ms": late[count // 2], "p99_ms": late[count * 99 // 100],
            "worst_ms": late[-1], "early": sum(each < 0 for each in late),
            "within_a_second": round(sum(0 <= each <= 1_000 for each in late) / count, 4),
        }  # fmt: skip
    finally:
        local.close()
        shutil.rmtree(local.folder, ignore_errors=True)


def _fired(local: Local, clock: LogClock, count: int, spread_ms: int) -> list[tuple[int, Record]]:
    """Go on in real time until so many timers have fired; return when each was stored."""
    fired: list[tuple[int, Record]] = []
    append = local.store.append

    def noted(batch: Batch) -> None:
        append(batch)
        at = clock.now()
        fired.extend((at, record) for record in batch.records if "wait_ended" in record.names)

    local.store.append = noted  # type: ignore[method-assign]
    deadline = time.monotonic() + count * _CREATION_MS / 1_000 + (LEAD_MS + spread_ms) / 1_000 + 60
    while len(fired) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{count - len(fired)} timers have not fired")
        local.now = max(local.now, clock.now())
        if not local.turn() and not local.inbox:
            due = local.host.partition.next_due()
            wait = _MAX_SLEEP_S if due is None else min(max((due - clock.now()) / 1_000, 0.0), _MAX_SLEEP_S)
            time.sleep(wait)
    return fired

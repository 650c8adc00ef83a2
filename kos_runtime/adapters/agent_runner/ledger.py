"""What a process has been given, and what became of it: by (run, path, fence), whatever comes twice is done once."""

import threading
from collections import deque
from collections.abc import Sequence
from typing import Final

from kos_runtime.adapters.agent_runner.work import Attempt, Key
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.ports.agent import ActionFailed

#: Outcomes that wait for their acknowledgement, in number and in bytes; at either no more work is begun.
MAX_UNACKNOWLEDGED: Final = 20_000
MAX_UNACKNOWLEDGED_BYTES: Final = 64 * 1024 * 1024
#: Fences that were acknowledged lately: a repetition that was long under way is dropped.
MAX_SETTLED: Final = 20_000


class Ledger:
    """See the module. Its dicts are changed by single operations, so that a body's end needs no lock."""

    def __init__(
        self, *, most: int = MAX_UNACKNOWLEDGED, most_bytes: int = MAX_UNACKNOWLEDGED_BYTES, settled: int = MAX_SETTLED
    ) -> None:
        self.lock = threading.Lock()
        self.epoch = 0
        self.running: dict[Key, Attempt] = {}
        #: Bodies whose timeout was reported and that run on.
        self.overdue: dict[Key, Attempt] = {}
        self.queued: dict[Key, None] = {}
        self.dropped: set[Key] = set()
        self._unacknowledged: dict[Key, Outcome] = {}
        self._settled: dict[Key, None] = {}
        self._settled_order: deque[Key] = deque()
        self._bytes = 0
        self._most, self._most_bytes, self._most_settled = most, most_bytes, settled

    def take(self, invocations: Sequence[Invocation]) -> tuple[list[Outcome], list[Invocation]]:
        """Part what was done before from what is new. What an outlived sender sends, and what is settled, is dropped."""
        again: list[Outcome] = []
        fresh: list[Invocation] = []
        with self.lock:
            for invocation in invocations:
                if invocation.epoch < self.epoch:
                    continue
                self.epoch = invocation.epoch
                key = (invocation.run, invocation.path, invocation.fence)
                # In the order in which a key moves on, so that none slips by between two looks.
                if key in self.queued or key in self.running or key in self.overdue:
                    continue
                known = self._unacknowledged.get(key)
                if known is not None:
                    again.append(known)
                elif key not in self._settled:
                    self.queued[key] = None
                    fresh.append(invocation)
        return again, fresh

    def begin(self, attempt: Attempt) -> None:
        self.running[attempt.key] = attempt
        self.queued.pop(attempt.key, None)

    def refuse_dropped(self, key: Key) -> None:
        """Raise ``ActionFailed`` for a dispatch that was cancelled while it waited."""
        if key in self.dropped:
            self.dropped.discard(key)
            raise ActionFailed(ErrorType.TRANSIENT, "the attempt was cancelled before it began")

    def end(self, attempt: Attempt, outcome: Outcome) -> bool:
        """Take a body off; say whether its outcome counts, which it does not after its timeout was reported.

        Whoever keeps an outcome under a key first has decided it; it is kept before the attempt is forgotten, so that
        at no moment a repetition would begin again.
        """
        key = attempt.key
        counts = not attempt.reported and self._unacknowledged.setdefault(key, outcome) is outcome
        self.running.pop(key, None)
        self.overdue.pop(key, None)
        return counts

    def time_out(self, attempt: Attempt, outcome: Outcome) -> bool:
        """Decide that a body is timed out though it runs on; say no when it has just ended."""
        key = attempt.key
        self.overdue[key] = attempt
        if self._unacknowledged.setdefault(key, outcome) is not outcome:
            self.overdue.pop(key, None)
            return False
        attempt.reported = True
        self.running.pop(key, None)
        return True

    def weigh(self, outcomes: Sequence[Outcome]) -> None:
        """Count the bytes of outcomes that were ended."""
        with self.lock:
            self._bytes += sum(len(outcome.exposed) for outcome in outcomes)

    def is_full(self) -> bool:
        return len(self._unacknowledged) >= self._most or self._bytes >= self._most_bytes

    def acknowledge(self, keys: Sequence[Key]) -> None:
        """Forget outcomes: they are stored."""
        with self.lock:
            for run, path, fence in keys:
                key = (run, path, fence)
                outcome = self._unacknowledged.pop(key, None)
                if outcome is None:
                    continue
                self._bytes -= len(outcome.exposed)
                self._settled[key] = None
                self._settled_order.append(key)
            while len(self._settled_order) > self._most_settled:
                self._settled.pop(self._settled_order.popleft(), None)
            if not self._unacknowledged:
                self._bytes = 0

    def inventory(self, epoch: int) -> tuple[list[Key], list[Outcome]]:
        """Return what runs or waits here, and every outcome that is kept; refuse older epochs from now on."""
        with self.lock:
            self.epoch = max(self.epoch, epoch)
            outcomes = list(self._unacknowledged.values())
            ended = {(outcome.run, outcome.path, outcome.fence) for outcome in outcomes}
            return [key for key in [*self.running, *self.queued] if key not in ended], outcomes

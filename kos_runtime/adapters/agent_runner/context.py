"""What an attempt knows of itself."""

import threading
import time
from collections.abc import Callable
from typing import Any

from kos_runtime.core.invocation import Invocation

#: Called with (run, path, fence, message, fraction).
Progress = Callable[[str, str, int, str, float | None], None]


class AttemptContext:
    """The context of one attempt (see ``kos_runtime.ports.agent.Context``)."""

    __slots__ = ("_log", "_progress", "_stop", "attempt", "beat", "cache_dir", "fence", "idempotency_key", "run", "step")

    def __init__(
        self, invocation: Invocation, cache_dir: str, progress: Progress | None, log: Callable[..., None] | None
    ) -> None:
        self.run = invocation.run
        self.step = invocation.path
        self.attempt = invocation.attempt
        self.fence = invocation.fence
        self.idempotency_key = invocation.key
        self.cache_dir = cache_dir
        self.beat = time.monotonic()
        self._stop: threading.Event | None = None
        self._progress = progress
        self._log = log

    def progress(self, message: str, fraction: float | None = None) -> None:
        self.beat = time.monotonic()
        if self._progress is not None:
            self._progress(self.run, self.step, self.fence, message[:500], fraction)

    def heartbeat(self) -> None:
        self.beat = time.monotonic()

    @property
    def cancelled(self) -> bool:
        return self._stop is not None and self._stop.is_set()

    def cancel(self) -> None:
        if self._stop is None:
            self._stop = threading.Event()
        self._stop.set()

    def log(self, message: str, **fields: Any) -> None:
        if self._log is not None:
            self._log(message, run=self.run, step=self.step, attempt=self.attempt, **fields)

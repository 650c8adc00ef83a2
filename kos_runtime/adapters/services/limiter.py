"""How many calls of a service run at once, and how many begin in a time. One object for one process."""

import asyncio
from collections import deque
from types import TracebackType
from typing import Self


class Limiter:
    """Used on one event loop. ``most`` 0 and ``starts`` 0 are no limit."""

    def __init__(self, most: int = 0, starts: int = 0, per_ms: int = 0) -> None:
        self._hands = asyncio.Semaphore(most) if most else None
        self._starts, self._per_s = starts, per_ms / 1_000
        self._begun: deque[float] = deque()
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        if self._hands is not None:
            await self._hands.acquire()
        try:
            if self._starts:
                await self._wait_for_turn()
        except BaseException:
            self._release()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        if self._hands is not None:
            self._hands.release()

    async def _wait_for_turn(self) -> None:
        loop = asyncio.get_running_loop()
        # One after the other, in the order in which they came.
        async with self._turn:
            while len(self._begun) >= self._starts:
                wait = self._begun[0] + self._per_s - loop.time()
                if wait <= 0:
                    self._begun.popleft()
                else:
                    await asyncio.sleep(wait)
            self._begun.append(loop.time())

"""One event loop in a thread of its own, for actions that are coroutines."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final

from kos_runtime.adapters.agent_runner.work import Attempt

#: How long coroutines are given to end when the loop does, in seconds.
_MOMENT_S: Final = 0.5
#: What a coroutine came to: its attempt, its value or what it raised.
Ended = tuple[Attempt, Any, BaseException | None]


class EventLoop:
    """Runs coroutines; what they come to is handed on, many at a time, in another thread.

    So neither a result that takes long to check nor one that takes long to store holds up the coroutines.
    """

    def __init__(self, name: str, on_ended: Callable[[list[Ended]], None]) -> None:
        self._name = name
        self._on_ended = on_ended
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._ended: SimpleQueue[Ended | None] = SimpleQueue()
        self._closed = False

    def start(self, attempt: Attempt, work: Any) -> None:
        """Run an awaitable for an attempt. The loop starts with the first of them."""
        loop = self._running()
        attempt.coroutine = True
        loop.call_soon_threadsafe(self._begin, attempt, work)

    def cancel(self, attempt: Attempt) -> None:
        """Cancel an attempt's coroutine, if it has one."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_cancel, attempt)

    def close(self) -> None:
        """Stop. Coroutines that still run end with the process."""
        self._closed = True
        self._ended.put(None)
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._loop.stop)

    def _begin(self, attempt: Attempt, work: Any) -> None:
        assert self._loop is not None
        task = attempt.task = self._loop.create_task(self._body(attempt, work))
        task.add_done_callback(partial(self._ended_unbegun, attempt, work))
        if attempt.stopped:
            task.cancel()

    def _ended_unbegun(self, attempt: Attempt, work: Any, task: asyncio.Task[None]) -> None:
        """A task that is cancelled before its first step never comes to its body."""
        if task.cancelled():
            work.close()
            self._ended.put((attempt, None, asyncio.CancelledError()))

    async def _body(self, attempt: Attempt, work: Any) -> None:
        # Nothing may leave a task here: SystemExit and its like would end the loop for all others.
        try:
            value = await work
        except BaseException as error:
            self._ended.put((attempt, None, error))
        else:
            self._ended.put((attempt, value, None))

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                for name, target in (("loop", self._run), ("ends", self._hand_on)):
                    threading.Thread(target=target, name=f"{self._name}-{name}", daemon=True).start()
            return self._loop

    def _run(self) -> None:
        assert self._loop is not None
        asyncio.set_event_loop(self._loop)
        while not self._closed:
            # A task that an action made itself may still bring the loop down; it is picked up again.
            with contextlib.suppress(BaseException):
                self._loop.run_forever()
        with contextlib.suppress(BaseException):
            self._loop.run_until_complete(_end_all(self._loop))
        self._loop.close()

    def _hand_on(self) -> None:
        while (first := self._ended.get()) is not None:
            ended = [first]
            with contextlib.suppress(Empty):
                while (more := self._ended.get_nowait()) is not None:
                    ended.append(more)
            self._on_ended(ended)


async def _end_all(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what still runs, and give it a moment."""
    tasks = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_MOMENT_S)


def _cancel(attempt: Attempt) -> None:
    if attempt.task is not None:
        attempt.task.cancel()

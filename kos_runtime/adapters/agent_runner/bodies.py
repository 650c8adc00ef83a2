"""Bodies of actions in virtual time: each goes on up to its end, or to where it waits for another agent.

A coroutine has an event loop of its own whose time moves when everything in it sleeps; a plain method that may speak
stands on a thread that runs only while its caller waits for it. So one thing happens at a time, always in the same order.
"""

import asyncio
import contextvars
import dis
import selectors
import threading
from collections.abc import Callable, Coroutine, Mapping
from functools import lru_cache
from types import CodeType
from typing import Any, Final

#: A coroutine that would sleep for longer in one go is given up: nobody waits for it in virtual time either.
_LONGEST_MS: Final = 30 * 86_400_000.0
#: So many threads are kept for the next bodies.
_MAX_IDLE: Final = 8


class Body:
    """One body. ``now_ms`` is the time since it began, ``wake_ms`` when it wants to go on though nobody answered."""

    def __init__(self) -> None:
        self.now_ms = 0.0
        self.wake_ms: float | None = None
        self.is_over = False
        self.value: Any = None
        self.error: BaseException | None = None

    def go(self, now_ms: float) -> None:
        """Go on at this time, which does not go back."""
        raise NotImplementedError

    def wait(self, until: Callable[[], bool], wake_ms: float | None) -> None:
        """Called by what the body calls: stand still until it is told to go on, and ``until`` says so or it is late."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Ask it to stop, as its process would: a coroutine is cancelled, anything else looks for itself."""

    def close(self) -> None:
        """End it, wherever it stands."""


class Plain(Body):
    """A method that says nothing: it runs through at once, on its caller's thread."""

    def __init__(self, method: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        super().__init__()
        try:
            self.value = method(**arguments)
        except BaseException as error:
            self.error = error
        self.is_over = True

    def go(self, now_ms: float) -> None:
        del now_ms


# --- coroutines


class _Selector(selectors.BaseSelector):
    """Waits by moving its loop's time, or by having the loop stop where somebody else has to do something."""

    def __init__(self, loop: "_Loop") -> None:
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            self._loop.idle(timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        raise NotImplementedError("there is no network in virtual time")

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        raise NotImplementedError("there is no network in virtual time")

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return {}


class _Loop(asyncio.BaseEventLoop):
    """An event loop without sockets, whose time is its body's."""

    def __init__(self, body: Body, idle: Callable[[float | None], None]) -> None:
        super().__init__()
        self._body = body
        self.idle = idle
        self._selector = _Selector(self)

    def time(self) -> float:
        return self._body.now_ms / 1_000

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Run what would run on a thread at once: it takes no virtual time."""
        del executor
        made = self.create_future()
        try:
            made.set_result(func(*args))
        except Exception as error:
            made.set_exception(error)
        return made

    async def _make_subprocess_transport(self, *args: Any, **more: Any) -> Any:
        del args, more
        raise NotImplementedError(
            "a coroutine starts no process in virtual time; an action that is none may, with subprocess.run"
        )

    def _process_events(self, event_list: Any) -> None:
        del event_list

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


class Coroutines(Body):
    """A coroutine. ``waits`` says whether something that it said has not been answered yet."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], waits: Callable[[], bool]) -> None:
        super().__init__()
        self._waits = waits
        self._loop = _Loop(self, self._idle)
        #: All tasks of the loop: asyncio's own list is that of all loops.
        self._tasks: list[asyncio.Task[Any]] = []
        self._loop.set_task_factory(self._make_task)
        self._coroutine = coroutine
        self._task: asyncio.Task[None] | None = None

    def go(self, now_ms: float) -> None:
        self.now_ms, self.wake_ms = max(self.now_ms, now_ms), None
        if self._task is None:
            self._task = self._loop.create_task(self._run())
        self._loop.run_forever()

    def _make_task(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        made = asyncio.Task(coroutine, loop=loop, **more)
        self._tasks.append(made)
        return made

    async def _run(self) -> None:
        # Nothing may leave a task here: SystemExit and its like would leave the loop.
        try:
            self.value = await self._coroutine
        except BaseException as error:
            self.error = error
        self.is_over = True
        self._loop.stop()

    def _idle(self, timeout: float | None) -> None:
        loop = self._loop
        if self._waits():
            self.wake_ms = None if timeout is None else self.now_ms + timeout * 1_000
            loop.stop()
        elif timeout is None:
            self.error = TimeoutError("the action waits for something that cannot come in virtual time")
            self.is_over = True
            loop.stop()
        else:
            self.now_ms += timeout * 1_000
            if self.now_ms > _LONGEST_MS:
                self.error = TimeoutError("the action sleeps for longer than thirty days")
                self.is_over = True
                loop.stop()

    def wait(self, until: Callable[[], bool], wake_ms: float | None) -> None:
        del until, wake_ms
        raise RuntimeError("this action is a coroutine: it awaits what it asked, as in `await context.ask(…)`")

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def close(self) -> None:
        """Cancel what is left, and let it see that."""
        loop = self._loop
        if loop.is_closed():
            return
        loop.idle = lambda _: loop.stop()
        tasks = [task for task in self._tasks if not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_forever()
        self._coroutine.close()
        loop.close()


# --- plain methods that may speak


@lru_cache(maxsize=4_096)
def may_speak(code: CodeType, context: str) -> bool:
    """Say whether code may do more with its context than read it: a method that cannot speak needs no thread.

    It may when the context goes anywhere but into an attribute of another name; what is not understood counts as that.
    """
    if context in code.co_cellvars:
        return True
    read = False
    for step in dis.get_instructions(code):
        if read and (step.opname not in {"LOAD_ATTR", "LOAD_METHOD"} or step.argval in {"send", "ask"}):
            return True
        read = False
        if context in (step.argval if isinstance(step.argval, tuple) else (step.argval,)):
            if not step.opname.startswith("LOAD_FAST") or isinstance(step.argval, tuple):
                return True
            read = True
    return False


class _Gone(BaseException):
    """The process of this body is no more."""


class _Hand:
    """A thread that does what it is given, while whoever gave it waits."""

    idle: Final[list["_Hand"]] = []

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.back = threading.Semaphore(0)
        self.work: Callable[[], None] = lambda: None
        threading.Thread(target=self._run, name="kos-simulated-hand", daemon=True).start()

    @classmethod
    def taken(cls) -> "_Hand":
        return cls.idle.pop() if cls.idle else cls()

    def _run(self) -> None:
        while True:
            self.go.acquire()
            self.work()
            self.work = lambda: None
            keep = len(self.idle) < _MAX_IDLE
            if keep:
                self.idle.append(self)
            self.back.release()
            if not keep:
                return


class Speaking(Body):
    """A plain method that may speak, and then stands still in the middle."""

    def __init__(self, method: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        super().__init__()
        self._hand = _Hand.taken()
        self._closed = False
        context = contextvars.copy_context()

        def work() -> None:
            try:
                if not self._closed:
                    self.value = context.run(method, **arguments)
            except BaseException as error:
                self.error = error
            self.is_over = True

        self._hand.work = work

    def go(self, now_ms: float) -> None:
        self.now_ms, self.wake_ms = max(self.now_ms, now_ms), None
        if not self.is_over:
            self._hand.go.release()
            self._hand.back.acquire()

    def wait(self, until: Callable[[], bool], wake_ms: float | None) -> None:
        while not until() and (wake_ms is None or self.now_ms < wake_ms):
            self.wake_ms = wake_ms
            self._hand.back.release()
            self._hand.go.acquire()
            if self._closed:
                raise _Gone

    def close(self) -> None:
        self._closed = True
        while not self.is_over:
            self.go(self.now_ms)

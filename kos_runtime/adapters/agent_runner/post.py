"""What the attempts of one process say to other agents, until they are told what became of it.

A message leaves as an outcome of ``PATH>NUMBER`` and is kept until the partition has told what became of it, under
``PATH<NUMBER``. It is said again when that takes long, and to whoever owns the partition next; the partition knows what
it has taken down by its id.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final

from kos_runtime.adapters.agent_runner.data import read_inputs
from kos_runtime.adapters.agent_runner.plain import plain_of
from kos_runtime.adapters.agent_runner.work import Attempt, Key
from kos_runtime.adapters.known_secrets import KNOWN
from kos_runtime.core.failure import ErrorType
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.core.workflow.messaging import MAX_BODY, MAX_NAME
from kos_runtime.ports.agent import ActionFailed, MessageRefused
from kos_runtime.ports.blob_store import BlobStore
from kos_runtime.ports.codec import Codec

#: What has not been told of is said again after so long, in seconds, and then each time after twice as long, up to so long.
AGAIN_S: Final = 5.0
MAX_AGAIN_S: Final = 80.0
#: Whoever waits looks so often whether its attempt was stopped, in seconds.
_LOOK_S: Final = 0.25
_TOLD: Final = "<"
_SAID: Final = ">"

HandOut = Callable[[list[Outcome]], None]
#: Makes what stands for one message: the attempt, what goes out, where it goes, and whether an answer is wanted.
MakeSaid = Callable[[Attempt, Outcome, HandOut, bool], "Said"]


class Said:
    """One message under way (see ``kos_runtime.ports.agent.Answer``)."""

    __slots__ = ("_attempt", "_error", "_event", "_hand_out", "_seen", "_value", "_wakers", "ask", "outcome")

    def __init__(self, attempt: Attempt, outcome: Outcome, hand_out: HandOut, ask: bool) -> None:
        self._attempt = attempt
        self.outcome = outcome
        self._hand_out = hand_out
        self.ask = ask
        self._event = threading.Event()
        self._value: Any = None
        self._error: ActionFailed | None = None
        #: Somebody has looked at what became of it.
        self._seen = False
        self._wakers: list[Callable[[], None]] = []

    @property
    def is_settled(self) -> bool:
        """Whether it is known what became of it."""
        return self._event.is_set()

    @property
    def is_owed(self) -> bool:
        """Whether its attempt cannot end before that is known."""
        return not (self.ask or self._seen or self._event.is_set())

    def settle(self, value: Any, error: ActionFailed | None) -> None:
        self._value, self._error = value, error
        self._event.set()
        for wake in list(self._wakers):
            wake()

    def result(self, timeout: float | None = None) -> Any:
        end = None if timeout is None else time.monotonic() + timeout
        wait_s = AGAIN_S
        again = time.monotonic() + wait_s
        while not self._event.wait(_LOOK_S if end is None else max(min(_LOOK_S, end - time.monotonic()), 0.0)):
            now = time.monotonic()
            if self._attempt.stopped:
                raise ActionFailed(ErrorType.TRANSIENT, "the attempt was stopped while it waited for another agent")
            if end is not None and now >= end:
                raise TimeoutError(f"no answer within {timeout} s")
            if now >= again:
                wait_s = min(wait_s * 2, MAX_AGAIN_S)
                again = now + wait_s
                self._hand_out([self.outcome])
        return self._take()

    def __await__(self) -> Generator[Any, None, Any]:
        return self._wait().__await__()

    async def _wait(self) -> Any:
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(woken.set)

        self._wakers.append(wake)
        wait_s = AGAIN_S
        try:
            while not self._event.is_set():
                try:
                    await asyncio.wait_for(woken.wait(), wait_s)
                except TimeoutError:
                    wait_s = min(wait_s * 2, MAX_AGAIN_S)
                    self._hand_out([self.outcome])
        finally:
            self._wakers.remove(wake)
        return self._take()

    def _take(self) -> Any:
        self._seen = True
        if self._error is not None:
            raise self._error
        return self._value

    def ensure(self) -> None:
        """Wait until a message that was only sent is recorded; raise its refusal, unless somebody has looked at that."""
        if not self.ask and not self._seen:
            self.result()


class Post:
    """See the module. Used by any thread."""

    def __init__(self, codec: Codec, blobs: BlobStore, hand_out: HandOut, make: MakeSaid = Said) -> None:
        self._codec = codec
        self._blobs = blobs
        self._hand_out = hand_out
        self._make = make
        self._lock = threading.Lock()
        #: What was said by attempts that run, in order; told of or not.
        self._open: dict[Key, list[Said]] = {}
        #: Anything was ever said here: what attempts are told may come, also when they are over.
        self.is_used = False

    def __bool__(self) -> bool:
        return bool(self._open)

    def say(self, attempt: Attempt, to: str, body: Any, action: str, key: str, conversation: str, ask: bool) -> Said:
        """Send a message for an attempt.

        Raises:
            MessageRefused: It cannot be sent as it is.
        """
        if not isinstance(body, Mapping):
            why = f"a message is an object, the inputs of {to}.{action}; this is {type(body).__name__}"
            raise MessageRefused("invalid", ErrorType.VALIDATION, why)
        try:
            plain, _ = plain_of(dict(body))
            packed = self._codec.pack(KNOWN.hide_in(plain) if KNOWN else plain)
        except Exception as error:
            raise MessageRefused("invalid", ErrorType.VALIDATION, f"a message is plain data: {error}") from error
        if len(packed) > MAX_BODY:
            why = f"a message of {len(packed)} bytes, at most {MAX_BODY} are taken; put what is large into a result or a file"
            raise MessageRefused("oversize", ErrorType.PERMANENT, why)
        for what, name in (("key", key), ("conversation", conversation)):
            if len(str(name)) > MAX_NAME:
                why = f"a message's {what} has at most {MAX_NAME} characters, not {len(str(name))}"
                raise MessageRefused("invalid", ErrorType.VALIDATION, why)
        run, path, fence = attempt.key
        self.is_used = True
        with self._lock:
            all_ = self._open.setdefault(attempt.key, [])
            number = len(all_) + 1
            # A coroutine that waits for its answer leaves its hand to others.
            frees = ask and attempt.coroutine
            exposed = self._codec.pack([str(to), str(action), packed, str(key), str(conversation), ask, frees])
            outcome = Outcome(run, f"{path}{_SAID}{number}", fence, exposed=exposed)
            said = self._make(attempt, outcome, self._hand_out, ask)
            all_.append(said)
            # Inside the lock: what one attempt says leaves in order.
            self._hand_out([outcome])
        return said

    def take(self, invocations: Sequence[Invocation]) -> tuple[list[Outcome], list[Invocation]]:
        """Part what attempts are told of their messages from work: return that it was told, and the work."""
        told: list[Outcome] = []
        work: list[Invocation] = []
        for invocation in invocations:
            if _TOLD in invocation.path:
                self._told(invocation)
                told.append(Outcome(invocation.run, invocation.path, invocation.fence))
            else:
                work.append(invocation)
        return told, work

    def _told(self, invocation: Invocation) -> None:
        path, _, place = invocation.path.rpartition(_TOLD)
        all_ = self._open.get((invocation.run, path, invocation.fence))
        if all_ is None or not 0 < int(place) <= len(all_):
            return
        said = all_[int(place) - 1]
        try:
            values = read_inputs(invocation, self._codec, self._blobs)
        except ActionFailed as error:
            said.settle(None, error)
            return
        if "refused" in values:
            said.settle(None, MessageRefused(*values["refused"]))
        elif "failed" in values:
            recoverable = False if values.get("for_good") else None
            said.settle(None, ActionFailed(ErrorType.DEPENDENCY, values["failed"], recoverable=recoverable))
        else:
            said.settle(values["reply"] if said.ask else values["sent"], None)

    def ensure(self, key: Key) -> None:
        """Wait until everything that an attempt sent is recorded.

        Raises:
            ActionFailed: Something was refused, and the action has not looked at it.
        """
        for said in self._open.get(key, ()):
            said.ensure()

    def said_by(self, key: Key) -> list[Said]:
        """Return what an attempt that runs has said."""
        return self._open.get(key, [])

    def forget(self, key: Key) -> None:
        """An attempt is over."""
        self._open.pop(key, None)

    def untold(self) -> list[Outcome]:
        """Return what nobody has told about: whoever owns the partition next is to hear it."""
        with self._lock:
            return [said.outcome for all_ in self._open.values() for said in all_ if not said.is_settled]

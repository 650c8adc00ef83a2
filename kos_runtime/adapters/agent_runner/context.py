"""What an attempt knows of itself."""

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from kos_runtime.adapters.agent_runner.letters import read_mail
from kos_runtime.adapters.known_secrets import KNOWN
from kos_runtime.core.invocation import Invocation
from kos_runtime.ports.agent import Answer, Envelope, Turn

#: Called with (run, path, fence, message, fraction).
Progress = Callable[[str, str, int, str, float | None], None]

#: Says something for an attempt: recipient, body, action, key, conversation, and whether an answer is wanted.
Speak = Callable[[str, Mapping[str, Any], str, str, str, bool], Answer]

#: The action that handles a message unless another is named.
ON_MESSAGE: Final = "on_message"
_MESSAGE: Final = 500


class AttemptContext:
    """The context of one attempt (see ``kos_runtime.ports.agent.Context``). Used by the action's threads."""

    __slots__ = ("_clock", "_log", "_mail", "_progress", "_speak", "_stop", "attempt", "beat", "cache_dir", "fence", "idempotency_key", "run", "step")  # fmt: skip

    def __init__(
        self,
        invocation: Invocation,
        cache_dir: str,
        progress: Progress | None,
        log: Callable[..., None] | None,
        stop: threading.Event,
        clock: Callable[[], int],
        speak: "Speak | None" = None,
    ) -> None:
        self.run = invocation.run
        self.step = invocation.path
        self.attempt = invocation.attempt
        self.fence = invocation.fence
        self.idempotency_key = invocation.key
        self.cache_dir = cache_dir
        #: When the action last gave a sign of life, by the runner's clock, in nanoseconds.
        self.beat = clock()
        self._stop = stop
        self._progress = progress
        self._log = log
        self._clock = clock
        self._mail = invocation.mail
        self._speak = speak

    def progress(self, message: str, fraction: float | None = None) -> None:
        self.beat = self._clock()
        if self._progress is not None:
            share = None if fraction is None else min(max(float(fraction), 0.0), 1.0)
            # A report that finds no listener is no failure of the action.
            with contextlib.suppress(Exception):
                self._progress(self.run, self.step, self.fence, KNOWN.hide(str(message))[:_MESSAGE], share)

    def heartbeat(self) -> None:
        self.beat = self._clock()

    @property
    def cancelled(self) -> bool:
        return self._stop.is_set()

    def log(self, message: str, **fields: Any) -> None:
        if self._log is not None:
            own = {"run": self.run, "step": self.step, "attempt": self.attempt}
            with contextlib.suppress(Exception):
                self._log(str(message), **{**fields, **own})

    @property
    def message(self) -> Envelope | None:
        return read_mail(self._mail)[0]

    @property
    def conversation(self) -> list[Turn]:
        return read_mail(self._mail)[1]

    def send(
        self, to: str, body: Mapping[str, Any], *, action: str = ON_MESSAGE, key: str = "", conversation: str = ""
    ) -> Answer:
        return self._say(to, body, action, key, conversation, ask=False)

    def ask(
        self, to: str, body: Mapping[str, Any], *, action: str = ON_MESSAGE, key: str = "", conversation: str = ""
    ) -> Answer:
        return self._say(to, body, action, key, conversation, ask=True)

    def _say(self, to: str, body: Mapping[str, Any], action: str, key: str, conversation: str, *, ask: bool) -> Answer:
        if self._speak is None:
            raise RuntimeError(
                "nobody takes messages here: kos simulate and actions outside of a run have no other agents to talk to"
            )
        self.beat = self._clock()
        return self._speak(to, body, action, key, conversation, ask)

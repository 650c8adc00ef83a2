"""What the code at hand works for."""

from contextvars import ContextVar
from typing import Final

from kos_runtime.core.invocation import Invocation

#: Set by whoever runs actions, for the thread or task that runs one, so that every log line can say what it is about.
CURRENT: Final[ContextVar[Invocation | None]] = ContextVar("kos_invocation", default=None)

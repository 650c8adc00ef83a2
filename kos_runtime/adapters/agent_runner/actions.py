"""An agent's actions: from an invocation to a call, and from what came of it to an outcome."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kos_runtime.adapters.agent_runner.classify import classify
from kos_runtime.adapters.agent_runner.data import expose, pack_exposed, read_inputs
from kos_runtime.adapters.agent_runner.signature import Signature, signature_of
from kos_runtime.adapters.agent_runner.work import Attempt
from kos_runtime.adapters.known_secrets import KNOWN
from kos_runtime.core.failure import ErrorType, failure
from kos_runtime.core.instant import format_duration
from kos_runtime.core.invocation import Invocation, Outcome
from kos_runtime.core.nearest import nearest
from kos_runtime.ports.agent import ActionFailed, Agent
from kos_runtime.ports.blob_store import BlobStore
from kos_runtime.ports.codec import Codec


@dataclass(frozen=True, slots=True)
class Call:
    """One action of the agent at hand."""

    signature: Signature
    method: Callable[..., Any]


class Actions:
    """What one agent can do. Used by several threads at once.

    Raises:
        ValueError: An action cannot be called by what it declares.
    """

    def __init__(self, agent: Agent, kind: str, codec: Codec, blobs: BlobStore) -> None:
        self.kind = kind
        cls: Any = type(agent)
        self.calls = {
            name: Call(signature_of(cls, attribute, mark), getattr(agent, attribute))
            for name, (attribute, mark) in cls.actions().items()
        }
        self._codec = codec
        self._blobs = blobs

    def prepare(self, invocation: Invocation) -> tuple[Call, dict[str, Any]]:
        """Return what is to be called, and with which arguments.

        Raises:
            ActionFailed: There is no such action, or the inputs do not fit it or cannot be had.
        """
        call = self.calls.get(invocation.action)
        if call is None:
            near = nearest(invocation.action, tuple(self.calls))
            hint = f"; did you mean {near!r}?" if near else ""
            raise ActionFailed(ErrorType.PERMANENT, f"{self.kind} has no action {invocation.action!r}{hint}")
        values = read_inputs(invocation, self._codec, self._blobs)
        return call, call.signature.arguments(values, lenient=invocation.lenient)

    def outcome(self, invocation: Invocation, call: Call, value: Any) -> Outcome:
        """Return the outcome that a result amounts to.

        Raises:
            ActionFailed: It does not fit what the action declares or the step needs, or is too large.
        """
        plain, weight = call.signature.plain_result(value)
        if KNOWN:
            plain = KNOWN.hide_in(plain)
        names = expose(plain, invocation)
        try:
            packed, blobs = pack_exposed(names, invocation.path, self._codec, self._blobs, weight)
        except ValueError as error:
            # Half a character, mostly: text that is no text.
            reason = f"invalid output from {call.signature.where}: {error}"
            raise ActionFailed(ErrorType.VALIDATION, reason) from error
        return Outcome(invocation.run, invocation.path, invocation.fence, exposed=packed, blobs=blobs)


def failed(attempt: Attempt, error: BaseException) -> Outcome:
    """Return the outcome of an attempt that raised something. Never raises."""
    step = attempt.invocation.path
    if isinstance(error, asyncio.CancelledError) and attempt.stopped:
        return Outcome(*attempt.key, error=failure(ErrorType.TRANSIENT, "the attempt was cancelled", step=step))
    return Outcome(*attempt.key, error=classify(error, step))


def timed_out(attempt: Attempt, kind: str, now: int) -> Outcome:
    """Return the outcome of an attempt whose body ran for too long, or gave no sign of life for too long."""
    invocation = attempt.invocation
    if attempt.deadline and attempt.deadline <= now:
        limit, spent = format_duration(invocation.timeout_ms), float(invocation.timeout_ms)
        message = f"{kind}.{invocation.action} timed out after {limit} (start_to_close)"
    else:
        limit, spent = format_duration(invocation.heartbeat_ms), (now - attempt.begun) / 1_000_000
        message = f"{kind}.{invocation.action} gave no sign of life for {limit} (heartbeat)"
    error = failure(ErrorType.TIMEOUT, message, step=invocation.path)
    return Outcome(*attempt.key, error=error, duration_ms=spent)

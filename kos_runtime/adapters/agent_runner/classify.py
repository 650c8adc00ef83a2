"""What kind of failure an exception is."""

import traceback
from dataclasses import replace
from typing import Any, Final

from kos_runtime.adapters.agent_runner.kinds import kind_of
from kos_runtime.adapters.codec import MsgpackCodec, check_plain
from kos_runtime.adapters.redaction import redact, redact_text
from kos_runtime.core.failure import ErrorType, WorkflowError, failure
from kos_runtime.ports.agent import ActionFailed

#: Kept of a traceback: its last lines, in which the action's own code stands.
_TRACE_LINES: Final = 12
_TRACE_CHARACTERS: Final = 4_000
#: Details are for reading, not for data. Bytes.
_DETAILS_BYTES: Final = 8_192
_CODEC: Final = MsgpackCodec()


def classify(error: BaseException, step: str) -> WorkflowError:
    """Return the failure that an exception of an action amounts to; never raises.

    ``PermissionError`` is permanent and not a matter of security: it is the file system that says no, mostly to a
    wrong path, and no person's authority would change that.
    """
    try:
        if isinstance(error, ActionFailed):
            return _as_it_says(error, step)
        text = f"{type(error).__name__}: {_words(error)}".removesuffix(": ")
        if isinstance(error, MemoryError):
            text = "out of memory"
        made = failure(kind_of(error), _clean(text), step=step)
        return replace(made, details={"traceback": _trace(error)})
    except BaseException as problem:
        return failure(ErrorType.UNKNOWN, f"an exception that cannot be read ({type(problem).__name__})", step=step)


def _as_it_says(error: ActionFailed, step: str) -> WorkflowError:
    made = failure(ErrorType(error.kind), _clean(str(error.message)), step=step, recoverable=error.recoverable)
    if error.suggested_action is not None:
        made = replace(made, suggested_action=error.suggested_action)
    return replace(made, details=_details(error.details)) if error.details else made


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return "(its message cannot be read)"


def _clean(text: str) -> str:
    """Take out secrets, and halves of characters, which cannot be stored."""
    return redact_text(text).encode("utf-8", "replace").decode()


def _trace(error: BaseException) -> str:
    try:
        lines = "".join(traceback.format_exception(error)).splitlines()
    except BaseException:
        return ""
    return _clean("\n".join(lines[-_TRACE_LINES:]))[-_TRACE_CHARACTERS:]


def _details(details: dict[str, Any]) -> dict[str, Any]:
    """Keep what is small and plain; of anything else only the names are said."""
    try:
        check_plain(details)
        if len(_CODEC.pack(details)) <= _DETAILS_BYTES:
            cleaned: dict[str, Any] = redact(details)
            return cleaned
    except ValueError:
        pass
    return {"left_out": sorted(_clean(str(key))[:60] for key in details)[:20]}

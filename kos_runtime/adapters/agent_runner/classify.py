"""What kind of failure an exception is."""

import errno
import traceback
from typing import Final

from kos_runtime.core.failure import ErrorType, WorkflowError, failure
from kos_runtime.ports.agent import ActionFailed

_RESOURCE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_TRACE_LINES: Final = 12


def classify(error: BaseException, step: str) -> WorkflowError:
    """Return the failure that an exception of an action amounts to; never raises."""
    if isinstance(error, ActionFailed):
        return failure(error.kind, error.message, step=step, recoverable=error.recoverable, **_safe(error.details))
    text = f"{type(error).__name__}: {_words(error)}"
    details = {"traceback": _trace(error)}
    return failure(_kind(error), text, step=step, **details)


def _kind(error: BaseException) -> ErrorType:
    match error:
        case TimeoutError():
            return ErrorType.TIMEOUT
        case MemoryError():
            return ErrorType.RESOURCE
        case PermissionError():
            return ErrorType.PERMANENT
        case ConnectionError():
            return ErrorType.TRANSIENT
        case OSError() if error.errno in _RESOURCE:
            return ErrorType.RESOURCE
        case FileNotFoundError() | IsADirectoryError() | NotADirectoryError():
            return ErrorType.PERMANENT
        case OSError():
            return ErrorType.TRANSIENT
        case ImportError() | NotImplementedError():
            return ErrorType.PERMANENT
        case _:
            return ErrorType.UNKNOWN


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(its message cannot be read)"


def _trace(error: BaseException) -> str:
    try:
        lines = "".join(traceback.format_exception(error)).splitlines()
    except Exception:
        return ""
    return "\n".join(lines[-_TRACE_LINES:])[:4_000]


def _safe(details: dict[str, object]) -> dict[str, object]:
    """Keep what is small and plain; the rest is said to be left out."""
    from kos_runtime.adapters.codec import MsgpackCodec, check_plain

    try:
        check_plain(details)
        if len(MsgpackCodec().pack(details)) <= 8_192:  # noqa: PLR2004 - details are for reading, not for data
            return details
    except ValueError:
        pass
    return {"left_out": sorted(str(key)[:60] for key in details)[:20]}

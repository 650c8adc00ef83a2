"""What went wrong in a step or a run, as a value."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final


class ErrorType(StrEnum):
    """The eight kinds of failure that policies tell apart."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"
    RESOURCE = "resource"
    DEPENDENCY = "dependency"
    TIMEOUT = "timeout"
    VALIDATION = "validation"
    SECURITY = "security"
    UNKNOWN = "unknown"


#: What may be suggested for a failure. One that is for resources or others to mend is retried, then stood in for.
RETRY_THEN_FALLBACK: Final = "retry, then fallback"
RECOVERY_ACTIONS: Final = (
    "retry", RETRY_THEN_FALLBACK, "different_agent", "fallback", "escalate", "compensate", "manual", "skip", "fail",
)  # fmt: skip

_RECOVERABLE: Final = {
    ErrorType.TRANSIENT: True,
    ErrorType.TIMEOUT: True,
    ErrorType.UNKNOWN: True,
    ErrorType.RESOURCE: True,
    ErrorType.DEPENDENCY: True,
    ErrorType.VALIDATION: True,
    ErrorType.PERMANENT: False,
    ErrorType.SECURITY: False,
}
_SUGGESTED: Final = {
    ErrorType.TRANSIENT: "retry",
    ErrorType.TIMEOUT: "retry",
    ErrorType.UNKNOWN: "retry",
    ErrorType.RESOURCE: RETRY_THEN_FALLBACK,
    ErrorType.DEPENDENCY: RETRY_THEN_FALLBACK,
    ErrorType.VALIDATION: "retry",
    ErrorType.PERMANENT: "fallback",
    ErrorType.SECURITY: "escalate",
}

#: A message or a detail longer than this is cut, with its length said.
MAX_MESSAGE: Final = 2_000


@dataclass(frozen=True, slots=True)
class WorkflowError:
    """One failure: its kind, the step, what happened, and what may be done about it.

    ``recoverable`` says whether a further attempt may help; ``suggested_action`` is what the kind calls for
    where no policy says otherwise. ``details`` is plain data (field names, exit status, traceback text).
    """

    type: ErrorType
    message: str
    step: str = ""
    recoverable: bool = True
    suggested_action: str = "retry"
    details: dict[str, Any] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        return {
            "type": self.type.value,
            "message": self.message,
            "step": self.step,
            "recoverable": self.recoverable,
            "suggested_action": self.suggested_action,
            "details": self.details,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "WorkflowError":
        return cls(
            type=ErrorType(plain["type"]),
            message=plain["message"],
            step=plain.get("step", ""),
            recoverable=plain.get("recoverable", True),
            suggested_action=plain.get("suggested_action", "retry"),
            details=plain.get("details", {}),
        )


def failure(
    type: ErrorType,  # noqa: A002 - the mission's own word for the field
    message: str,
    *,
    step: str = "",
    recoverable: bool | None = None,
    **details: Any,
) -> WorkflowError:
    """Make a failure whose ``recoverable`` and ``suggested_action`` follow from its kind unless given.

    A failure that is not recoverable and whose kind would suggest a retry suggests to fail instead.
    """
    if len(message) > MAX_MESSAGE:
        message = f"{message[:MAX_MESSAGE]}… ({len(message)} characters)"
    can_recover = _RECOVERABLE[type] if recoverable is None else recoverable
    suggested = _SUGGESTED[type]
    if not can_recover and suggested.startswith("retry"):
        suggested = "fallback" if suggested == RETRY_THEN_FALLBACK else "fail"
    return WorkflowError(type, message, step, can_recover, suggested, details)

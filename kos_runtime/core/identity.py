"""Names of things, as types.

Ids of the workflow language match ``[A-Za-z_][A-Za-z0-9_-]*``; run ids match
``[A-Za-z0-9][A-Za-z0-9_-]*``; both have at most 128 characters.
"""

from typing import Final, NewType

WorkflowId = NewType("WorkflowId", str)
RunId = NewType("RunId", str)
StepId = NewType("StepId", str)
#: Where a step stands in its run: ``refine#2/gather[17]``. The empty path is the run's own body.
StepPath = NewType("StepPath", str)
#: One live agent process, such as ``kExecutor-3``.
AgentId = NewType("AgentId", str)
StreamId = NewType("StreamId", str)

MAX_ID_LENGTH: Final = 128

_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_DIGITS: Final = frozenset("0123456789")
_STEP_FIRST: Final = _LETTERS | {"_"}
_RUN_FIRST: Final = _LETTERS | _DIGITS
_REST: Final = _LETTERS | _DIGITS | {"_", "-"}


def is_name(text: str) -> bool:
    """Say whether a text is an id of the workflow language."""
    return 0 < len(text) <= MAX_ID_LENGTH and text[0] in _STEP_FIRST and _REST.issuperset(text)


def is_run_id(text: str) -> bool:
    """Say whether a text may name a run (and so a file, a stream and a command-line argument)."""
    return 0 < len(text) <= MAX_ID_LENGTH and text[0] in _RUN_FIRST and _REST.issuperset(text)


def run_stream(run: str) -> StreamId:
    """Return the stream that holds a run's history."""
    return StreamId(f"run/{run}")


def idempotency_key(store: str, run: str, path: str, generation: int) -> str:
    """Return the key that every attempt of a step carries to the services it calls.

    It is the same for all attempts and dispatches; ``generation`` grows only by an event that means
    "do it again" (0 until then).
    """
    return f"kos:{store}:{run}:{path}:{generation}"

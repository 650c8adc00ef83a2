"""Named places around every durable deed, where a test may end the process.

``hit`` costs a look at one variable when nothing is planted. The names are the whole list: a test that plants all of
them fails when one is never reached.
"""

from collections.abc import Callable
from typing import Final

NAMES: Final = (
    "claim.before", "claim.after",
    "load.before", "load.after",
    "receive.after",
    "blob.before", "blob.written", "blob.renamed", "blob.after",
    "append.before", "append.begun", "append.rows", "append.commit", "append.after",
    "snapshot.before", "snapshot.after",
    "dispatch.before", "dispatch.after",
    "action.before", "action.after", "reply.before", "reply.after",
    "answer.before", "answer.after",
)  # fmt: skip

_hook: Callable[[str], None] | None = None


def plant(hook: Callable[[str], None] | None) -> None:
    """Have a function called with the name of every place that is reached; None takes it away."""
    global _hook
    _hook = hook


def hit(name: str) -> None:
    """Say that a place was reached."""
    if _hook is not None:
        _hook(name)

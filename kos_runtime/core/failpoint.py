"""Named places around every durable deed, where a test may end the process.

``hit`` costs a look at one variable when nothing is planted. The names are the whole list: a test that plants all of
them fails when one is never reached. ``NAMES`` is what one plain process comes to, which is host, partition and agent
at once; ``ON_RAY`` what a partition's and an agent's process on Ray come to.
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

#: role → places. On Ray a dispatch and the outcomes that come back are calls; processes are started, join, and are
#: adopted by a successor of the partition that started them.
ON_RAY: Final = {
    "partition": (
        "claim.before", "claim.after", "adopt.before", "adopt.after",
        "load.before", "load.after",
        "receive.after",
        "blob.before", "blob.written", "blob.renamed", "blob.after",
        "append.before", "append.begun", "append.rows", "append.commit", "append.after",
        "snapshot.before", "snapshot.after",
        "start.before", "start.made", "join.before", "join.after",
        "dispatch.before", "dispatch.after",
        "outcomes.before", "outcomes.after",
        "answer.before", "answer.after",
    ),
    "agent": (
        "prepare.before", "prepare.after", "inventory.before", "inventory.after",
        "work.before", "work.after", "late.after", "settle.before",
        "blob.written", "blob.renamed",
        "action.before", "action.after", "reply.before", "reply.after",
    ),
}  # fmt: skip

#: What an agent's process comes to beside these when peers have their places in it.
ON_PEERS: Final = ("peer.append.before", "peer.append.after", "peer.send.before", "peer.send.after")

_hook: Callable[[str], None] | None = None


def plant(hook: Callable[[str], None] | None) -> None:
    """Have a function called with the name of every place that is reached; None takes it away."""
    global _hook
    _hook = hook


def hit(name: str) -> None:
    """Say that a place was reached."""
    if _hook is not None:
        _hook(name)

"""Chance as a function of what it is for, so that folding a log again draws nothing."""

from hashlib import sha256


def draw(seed: int, path: str, fence: int, purpose: str) -> float:
    """Return a number in [0, 1) that depends on nothing but its arguments.

    What was drawn stands in the event that it decided; this is never asked again when a log is folded.

    >>> draw(7, "gather[2]", 1, "retry") == draw(7, "gather[2]", 1, "retry")
    True
    """
    digest = sha256(f"{seed}\x00{path}\x00{fence}\x00{purpose}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / (1 << 56)

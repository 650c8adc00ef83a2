"""What agents give when they are asked for a ballot."""

from typing import Any


def read_ballot(given: Any) -> tuple[tuple[str, ...], str]:
    """Return the choices and the reason of what an agent gave: an option, yes or no, a list, or an object with a reason.

    Raises:
        ValueError: It is no ballot.
    """
    reason = ""
    if isinstance(given, dict):
        reason = given.get("reason") or ""
        key = next((name for name in ("choices", "choice", "vote") if name in given), None)
        if key is None or not isinstance(reason, str):
            raise ValueError("a ballot is an option, or an object with choice (or choices) and reason")
        given = given[key]
    if given is None:
        return (), reason
    if isinstance(given, bool):
        return ("yes" if given else "no",), reason
    if isinstance(given, str):
        return (given,) if given else (), reason
    if isinstance(given, list) and all(isinstance(choice, str) for choice in given):
        return tuple(given), reason
    raise ValueError(f"a ballot names options, and {given!r:.80} is none")

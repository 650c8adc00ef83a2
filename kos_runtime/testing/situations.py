"""Rare situations that a run's events tell of: what a simulated world counts beside what happened to its processes."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from kos_runtime.core.workflow import events as ev

#: What may be told of, by name.
SITUATIONS: Final = (
    "vote ended before all had voted", "vote without a winner", "ballot that did not count", "message with a key of its own",
    "message caused by a message", "message said otherwise by another process", "attempt superseded after its message was delivered",
    "value kept as a blob", "result of another run taken", "run forked", "run restored in place", "run taken back step by step",
    "run that waited for its place", "run that took too long", "authority granted on request", "authority denied on request",
    "request for authority that nobody answered", "action refused for want of authority", "snapshot compared with its fold",
)  # fmt: skip


def situations(events: Sequence[Any]) -> Counter[str]:
    """Return which of them one run's events tell of, and how often."""
    found: Counter[str] = Counter()
    electors: dict[str, int] = {}
    for event in events:
        tell = _TELLING.get(type(event))
        if tell is not None:
            tell(event, found, electors)
    return found


def _proposed(event: ev.ConsensusProposed, found: Counter[str], electors: dict[str, int]) -> None:
    del found
    electors[event.path] = len(event.question["electors"])


def _reached(event: ev.ConsensusReached, found: Counter[str], electors: dict[str, int]) -> None:
    if len(event.votes) + len(event.not_counted) < electors.get(event.path, 0):
        found["vote ended before all had voted"] += 1
    if not event.accepted:
        found["vote without a winner"] += 1
    if event.not_counted:
        found["ballot that did not count"] += 1


def _sent(event: ev.MessageSent, found: Counter[str], _: Any) -> None:
    if event.key:
        found["message with a key of its own"] += 1
    if event.cause:
        found["message caused by a message"] += 1
    if "~" in event.id:
        found["message said otherwise by another process"] += 1


def _completed(event: ev.StepCompleted, found: Counter[str], _: Any) -> None:
    if event.blobs:
        found["value kept as a blob"] += 1


def _answered(event: Any, found: Counter[str], _: Any) -> None:
    name = {
        "grant": "authority granted on request",
        "deny": "authority denied on request",
        "silent": "request for authority that nobody answered",
    }.get(event.verdict)
    if name is not None:
        found[name] += 1


def _failed(event: Any, found: Counter[str], _: Any) -> None:
    details = event.error.get("details") or {}
    if event.error.get("type") == "security" and "authority" in details:
        found["action refused for want of authority"] += 1


def _run_failed(event: ev.RunFailed, found: Counter[str], _: Any) -> None:
    if event.error.get("type") == "timeout" and not event.step:
        found["run that took too long"] += 1


def _as(name: str) -> Callable[[Any, Counter[str], Any], None]:
    def tell(_: Any, found: Counter[str], __: Any) -> None:
        found[name] += 1

    return tell


_TELLING: Final[Mapping[type, Callable[[Any, Counter[str], Any], None]]] = {
    ev.ConsensusProposed: _proposed,
    ev.ConsensusReached: _reached,
    ev.MessageSent: _sent,
    ev.MessageSuperseded: _as("attempt superseded after its message was delivered"),
    ev.StepCompleted: _completed,
    ev.ResultReused: _as("result of another run taken"),
    ev.RunForked: _as("run forked"),
    ev.RunRestored: _as("run restored in place"),
    ev.RunTakenBack: _as("run taken back step by step"),
    ev.AuthorityAnswered: _answered,
    ev.StepFailed: _failed,
    ev.StepGaveUp: _failed,
    ev.RunFailed: _run_failed,
}

"""Who said what to whom in a run: folded from its events, with their times."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from kos_runtime.core.workflow import events as ev


@dataclass(slots=True)
class MessageView:
    """One message. Times are log time in milliseconds, 0 when it has not come to that.

    ``status`` is waiting, delivered, completed, skipped, failed or withdrawn. ``body`` and ``reply`` are still packed.
    """

    number: int
    id: str
    seq: int
    sender: str
    recipient: str
    action: str
    #: The step whose attempt spoke.
    step: str
    attempt: int
    correlation_id: str
    causation_id: str
    key: str
    asks: bool
    body: bytes
    sent_at: int
    delivered_at: int = 0
    ended_at: int = 0
    #: How often it was given to a process, and the last one.
    deliveries: int = 0
    process: str = ""
    status: str = "waiting"
    superseded: bool = False
    reply: bytes = b""
    blobs: list[list[Any]] = field(default_factory=list)
    error: dict[str, Any] | None = None
    reason: str = ""

    @property
    def handler(self) -> str:
        return f"{self.recipient}@{self.number}"


def messages(lines: Iterable[tuple[Any, int, int]]) -> list[MessageView]:
    """Fold a run's (event, time, seq) into its messages, in the order in which they were sent."""
    found: dict[int, MessageView] = {}
    by_path: dict[str, MessageView] = {}
    for event, time, seq in lines:
        match event:
            case ev.MessageSent():
                view = MessageView(
                    event.number, event.id, seq, event.sender, event.to, event.action, event.path, event.attempt,
                    event.conversation, event.cause, event.key, event.ask, event.body, time,
                )  # fmt: skip
                found[event.number] = by_path[view.handler] = view
            case ev.StepScheduled(path=path) if path in by_path:
                view = by_path[path]
                view.status, view.process = "delivered", event.agent
                view.delivered_at = view.delivered_at or time
                view.deliveries += 1
            case ev.StepCompleted(path=path) if path in by_path:
                by_path[path].reply, by_path[path].blobs = event.exposed, event.blobs
            case ev.ManualTaskAnswered(path=path) if path in by_path:
                by_path[path].reply = event.exposed
            case ev.StepFailed(path=path) | ev.StepGaveUp(path=path) if path in by_path:
                by_path[path].error = event.error
            case ev.MessageHandled():
                view = found[event.number]
                view.status, view.ended_at = event.status, time
                if event.status == "completed":
                    view.error = None
            case ev.MessageWithdrawn():
                view = found[event.number]
                view.status, view.ended_at, view.reason = "withdrawn", time, event.reason
            case ev.MessageSuperseded():
                found[event.number].superseded = True
                found[event.number].reason = event.reason
            case ev.RestoreBegun():
                found.clear()
                by_path.clear()
            case _:
                pass
    return list(found.values())


def mermaid(views: Iterable[MessageView], said: Iterable[str], answered: Iterable[str]) -> Iterator[str]:
    """Draw messages as a sequence diagram; ``said`` and ``answered`` are the words of each, one a message."""
    views = list(views)
    yield "sequenceDiagram"
    names = dict.fromkeys(name for view in views for name in (view.sender, view.recipient))
    for name in names:
        yield f"    participant {_id(name)} as {_text(name)}"
    for view, words, answer in zip(views, said, answered, strict=True):
        here, there = _id(view.sender), _id(view.recipient)
        arrow = "->>" if view.asks else "-)"
        mark = "" if view.attempt == 1 else f" (attempt {view.attempt})"
        if view.superseded:
            mark += " (superseded)"
        if view.status == "withdrawn":
            yield f"    {here}--x{there}: {view.number} {_text(view.action)} withdrawn{mark}"
            continue
        yield f"    {here}{arrow}{there}: {view.number} {_text(view.action)} {_text(words)}{mark}".rstrip()
        if view.status == "failed":
            yield f"    {there}--x{here}: {view.number} failed {_text(answer)}".rstrip()
        elif view.asks and view.status in {"completed", "skipped"}:
            yield f"    {there}-->>{here}: {view.number} {_text(answer)}".rstrip()
        elif view.status in {"waiting", "delivered"}:
            yield f"    Note over {there}: {view.number} {view.status}"


def _id(name: str) -> str:
    return "p_" + "".join(c if c.isalnum() and c.isascii() else f"_{ord(c):x}_" for c in name)


def _text(words: str) -> str:
    """Write text that cannot be read as part of the diagram."""
    return "".join(f"#{ord(c)};" if c in "#;<>{}%" else c for c in " ".join(words.split()))

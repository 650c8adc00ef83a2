"""``kos messages``: who said what to whom in a run. It needs neither an owner nor Ray."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter

from kos_runtime.cli.common import GLOBAL, Named, OfRun, Options
from kos_runtime.cli.describe import failure, summary
from kos_runtime.cli.outcome import OK
from kos_runtime.cli.visible import visible

_COLUMNS: Final = {"number": "#", "sender": "FROM", "recipient": "TO", "action": "ACTION", "status": "STATUS", "said": "SAID",
                   "answered": "ANSWERED"}  # fmt: skip
_WIDE: Final = {"number": "#", "seq": "SEQ", "time": "TIME", "sender": "FROM", "step": "STEP", "attempt": "ATTEMPT", "recipient": "TO",
                "action": "ACTION", "correlation_id": "CONVERSATION", "cause": "CAUSE", "process": "PROCESS", "status": "STATUS", "said": "SAID",
                "answered": "ANSWERED"}  # fmt: skip
Form = Literal["text", "mermaid", "table", "wide", "json", "yaml", "jsonl", "name"]


@Parameter(name="*")
@dataclass(kw_only=True)
class Talk(Options):
    """Conversations have forms of their own."""

    output: Annotated[Form, Parameter(name=["--output", "-o"], group=GLOBAL)] = "table"
    "How they are printed; mermaid is a sequence diagram, text one line for each that was said or answered."

    @property
    def form(self) -> str:
        return self.output


def messages(
    run: Annotated[str, Named] = "@latest",
    /,
    *,
    agent: Annotated[str, OfRun] = "",
    conversation: Annotated[str, OfRun] = "",
    common: Talk | None = None,
) -> int:
    """Show what a run's agents said to each other.

    Args:
        run: A run id, unique prefix, name, @latest or @failed; - reads it from standard input.
        agent: Only messages from or to this agent, by its name in the definition.
        conversation: Only messages of this conversation.
    """
    from kos_runtime.client.said import as_data, views_of
    from kos_runtime.core.projection.messages import mermaid

    common = common or Talk()
    reading = common.reading()
    row = common.rows(reading, [run])[0]
    all_ = views_of(reading.lines(row.run))
    _check(agent, {name for view in all_ for name in (view.sender, view.recipient)}, "agent")
    _check(conversation, {view.correlation_id for view in all_}, "conversation")
    found = [
        (view, as_data(reading, view))
        for view in all_
        if (not agent or agent in {view.sender, view.recipient}) and conversation in {"", view.correlation_id}
    ]
    lines = [_line(common, data) for _, data in found]
    match common.output:
        case "mermaid":
            said, answered = [line["said"] for line in lines], [line["answered"] for line in lines]
            for text in mermaid([view for view, _ in found], said, answered):
                print(visible(text))
        case "text":
            for line in lines:
                print(
                    visible(f"{line['number']:>4} {line['sender']} → {line['recipient']}  {line['said']}{_mark(line)}")
                )
                if line["answered"]:
                    print(visible(f"     {line['recipient']} → {line['sender']}  {line['answered']}"))
        case "table" | "wide":
            if not lines:
                common.say(f"no agent of run {row.run} has said anything")
            common.emit(lines, _WIDE if common.output == "wide" else _COLUMNS)
        case _:
            times = ("sent_at", "delivered_at", "ended_at")
            data = [{**one, **{name: common.instant(one[name]) for name in times}} for _, one in found]
            common.emit(data, {}, name="id")
    return OK


def _check(given: str, known: set[str], what: str) -> None:
    """Refuse a name that no message has, unless there are none."""
    from kos_runtime.core.errors import NotFound
    from kos_runtime.core.nearest import nearest

    if given and known and given not in known:
        near = nearest(given, tuple(known))
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(known))}"
        raise NotFound(f"no message of {what} {given!r}; {hint}")


def _line(common: Talk, data: dict[str, Any]) -> dict[str, Any]:
    answered = ""
    if data["error"]:
        answered = failure(data["error"])
    elif data["status"] == "withdrawn":
        answered = data["reason"]
    elif data["asks"] and data["status"] == "completed":
        reply = data["reply"]
        answered = summary(reply if isinstance(reply, dict) else {"reply": reply})
    status = f"{data['status']}, superseded" if data["superseded"] else data["status"]
    return {
        **data,
        "status": status,
        "said": summary(data["body"]),
        "answered": answered,
        "time": common.when(data["sent_at"]),
        "cause": data["causation_id"].partition("/")[2],
    }


def _mark(line: dict[str, Any]) -> str:
    """Say what is out of the ordinary about a message."""
    parts = [f"attempt {line['attempt']}"] if line["attempt"] > 1 else []
    if line["status"] not in {"completed"}:
        parts.append(line["status"])
    return f"  ({', '.join(parts)})" if parts else ""

"""Search attributes: a few small words about a run, by which it is found. They say nothing to the run itself."""

import re
from collections.abc import Mapping
from typing import Any, Final

from kos_runtime.core.workflow import events as ev
from kos_runtime.core.workflow.commands import Accepted, Rejected, SetAttributes
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.status import RunStatus

#: A run has at most so many, and none is longer, as text.
MAX_ATTRIBUTES: Final = 32
MAX_VALUE: Final = 256
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


def as_text(value: Any) -> str:
    """Return what a run is found by: ``true`` for True, ``3`` for 3, a text as it stands."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def problem(attributes: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """Say what is wrong with attributes that are to be set beside those that are known; None takes one away."""
    for name, value in attributes.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return f"{name!r:.80} names no search attribute: letters, digits, _, . and -, at most 64, no digit first"
        if value is None:
            continue
        if type(value) not in {str, int, float, bool}:
            return f"search attribute {name!r} is a text, a number or a boolean, not {type(value).__name__}"
        text = as_text(value)
        if len(text) > MAX_VALUE or not text.isprintable():
            return f"search attribute {name!r} has at most {MAX_VALUE} characters, all of them printable"
    left = {name for name, value in {**known, **attributes}.items() if value is not None}
    return (
        f"a run has at most {MAX_ATTRIBUTES} search attributes, not {len(left)}" if len(left) > MAX_ATTRIBUTES else ""
    )


def set_attributes(desk: Desk, command: SetAttributes) -> Accepted | Rejected:
    """Set search attributes of a run that is not over, or take some away."""
    run = desk.run
    if run.status not in {RunStatus.CREATED, RunStatus.RUNNING}:
        message = f"run {run.id} is {run.status}: only one that is not over is given search attributes"
        return Rejected(code="conflict", message=message)
    wrong = problem(command.attributes, run.attributes)
    if wrong:
        return Rejected(code="invalid", message=wrong)
    news = {name: value for name, value in command.attributes.items() if _is_news(run.attributes.get(name), value)}
    if not news:
        return Accepted(run=run.id, existing=True)
    desk.emit(ev.SearchAttributesSet(news, command.by))
    return Accepted(run=run.id, event="SearchAttributesSet")


def _is_news(known: Any, value: Any) -> bool:
    return type(known) is not type(value) or known != value

"""Logs: one line an event, with the run, the step and the attempt that it belongs to, and without secrets.

Inside Ray a line goes through the standard library's logging, where Ray's own encoder writes it as JSON and adds the
job, the node and the actor. Anywhere else it goes to standard error: JSON, or for people when a person is watching
(``KOS_LOG=json`` or ``KOS_LOG=human`` decides otherwise). What Ray installs may come before or after ``setup``, so the
way is chosen line by line.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

import structlog

from kos_runtime.adapters.current import CURRENT
from kos_runtime.adapters.redaction import redact, redact_text

#: The logger under which lines go to the standard library.
LOGGER: Final = "kos"
#: ``json``, ``human``, or unset: human where standard error is a terminal.
VARIABLE: Final = "KOS_LOG"
_RESERVED: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_UNCLEAN: Final = {"event": "a line was left out: it could not be cleaned of secrets", "level": "error"}

Fields = MutableMapping[str, Any]


def setup() -> None:
    """Make structlog and the standard library write clean lines. Calling it again does nothing.

    It takes no arguments, so that it can be a ``worker_process_setup_hook`` of Ray.
    """
    if not isinstance(logging.getLogRecordFactory(), _Records):
        logging.setLogRecordFactory(_Records(logging.getLogRecordFactory()))
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            add_attempt,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            clean,
            _deliver,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(),
    )


def line_writer(name: str) -> Callable[..., None]:
    """Return a function that writes one line: what happened, and its fields. It never raises."""
    setup()
    logger: Any = structlog.get_logger().bind(source=name)

    def write(event: str, /, **fields: Any) -> None:
        try:
            # ``event`` is the line's own text; a field of that name may not replace it.
            fields["event_"] = fields.pop("event") if "event" in fields else None
            if fields["event_"] is None:
                del fields["event_"]
            logger.info(event, **fields)
        except Exception as error:
            sys.stderr.write(f"a line could not be written: {type(error).__name__}\n")

    return write


def add_attempt(_logger: Any, _method: str, fields: Fields) -> Fields:
    """Add the run, the step and the attempt that the code at hand works for."""
    invocation = CURRENT.get()
    if invocation is not None:
        fields.setdefault("run", invocation.run)
        fields.setdefault("step", invocation.path)
        fields.setdefault("attempt", invocation.attempt)
    return fields


def clean(_logger: Any, _method: str, fields: Fields) -> Fields:
    """Take secrets out. The last step before a line is written; what cannot be cleaned is not written."""
    try:
        cleaned: Fields = redact(fields)
    except Exception:
        return dict(_UNCLEAN)
    return cleaned


def _deliver(_logger: Any, _method: str, fields: Fields) -> NoReturn:
    if is_inside_ray():
        _to_logging(fields)
    else:
        _to_stderr(fields)
    raise structlog.DropEvent


def is_inside_ray() -> bool:
    """Say whether Ray's encoder is among the handlers that our lines reach."""
    for logger in (logging.getLogger(LOGGER), logging.getLogger()):
        for handler in logger.handlers:
            if type(handler.formatter).__module__.startswith("ray."):
                return True
    return False


def _to_logging(fields: Fields) -> None:
    logger = logging.getLogger(LOGGER)
    level = logging.getLevelNamesMapping().get(str(fields.pop("level", "info")).upper(), logging.INFO)
    if not logger.isEnabledFor(level):
        return
    record = logger.makeRecord(logger.name, level, "", 0, str(fields.pop("event", "")), (), None)
    for name, value in fields.items():
        setattr(record, f"{name}_" if name in _RESERVED else name, value)
    logger.handle(record)


def _to_stderr(fields: Fields) -> None:
    now = datetime.now(UTC)
    wanted = os.environ.get(VARIABLE, "")
    stream = sys.stderr
    if wanted == "human" or (wanted != "json" and stream.isatty()):
        line = human_line(now, fields)
    else:
        line = json.dumps({"timestamp": now.isoformat(timespec="milliseconds"), **fields}, default=str)
    stream.write(line + "\n")


def human_line(now: datetime, fields: Fields) -> str:
    """Return a line for people: when, how grave, who, what, and the rest as ``name=value``."""
    rest = dict(fields)
    event, level, source = rest.pop("event", ""), rest.pop("level", "info"), rest.pop("source", "")
    trace = rest.pop("exception", "")
    words = [f"{now:%H:%M:%S}", f"{level:<7}", *([f"{source}:"] if source else []), str(event)]
    words += [
        f"{name}={value if isinstance(value, str) else json.dumps(value, default=str)}" for name, value in rest.items()
    ]
    return " ".join(words) + (f"\n{trace}" if trace else "")


class _Records:
    """Makes log records of the standard library that know their attempt and carry no secrets."""

    def __init__(self, before: Callable[..., logging.LogRecord]) -> None:
        self._before = before

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._before(*args, **kwargs)
        invocation = CURRENT.get()
        if invocation is not None:
            # ``extra`` may not name what a record has already, so these have names that nobody else gives.
            record.kos_run, record.kos_step, record.kos_attempt = invocation.run, invocation.path, invocation.attempt
        try:
            text = record.getMessage()
            cleaned = redact_text(text)
        except Exception:
            # A format that does not fit its arguments is told by the handler, as ever.
            return record
        if cleaned != text:
            record.msg, record.args = cleaned, None
        return record

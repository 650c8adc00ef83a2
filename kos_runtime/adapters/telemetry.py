"""Logs as JSON lines on standard error, one object a line, by structlog.

Inside Ray standard error of a process is a file of its session's ``logs`` folder.
"""

import sys
from collections.abc import Callable
from typing import Any

import structlog


def setup() -> None:
    """Make structlog write JSON lines. Calling it again does nothing."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def line_writer(name: str) -> Callable[..., None]:
    """Return a function that writes one line: what happened, and its fields."""
    setup()
    logger: Any = structlog.get_logger().bind(source=name)

    def write(event: str, /, **fields: Any) -> None:
        logger.info(event, **fields)

    return write

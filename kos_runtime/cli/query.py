"""Which runs ``kos ls`` lists: plain filters, and an expression over a run's row."""

from typing import Any, Final

from kos_runtime.cli.outcome import USAGE, Exit
from kos_runtime.core.expression import (
    Environment,
    EvaluationError,
    Expression,
    ExpressionError,
    MissingReference,
    parse_expression,
)
from kos_runtime.core.expression.errors import Path
from kos_runtime.core.expression.values import follow

#: What an expression may read of a run, each written with a dollar. Spans and instants in milliseconds.
FIELDS: Final = (
    "run", "workflow", "version", "name", "status", "created", "started", "updated", "age", "idle", "waiting", "error",
    "steps_done", "steps",
)  # fmt: skip


class _Row(Environment):
    def __init__(self, row: dict[str, Any]) -> None:
        self.row = row

    def lookup(self, root: str, path: Path) -> Any:
        if root not in self.row:
            raise MissingReference(root, path)
        return follow(self.row[root], path, root)


def parse_query(text: str) -> Expression:
    """Read an expression over a run's row, such as ``$status == "failed" and $age < 3600000``.

    Raises:
        Exit: It is no expression, or reads what a run has not.
    """
    try:
        return parse_expression(text, frozenset(FIELDS))
    except ExpressionError as error:
        known = ", ".join(f"${name}" for name in FIELDS)
        raise Exit(
            USAGE,
            f"error: --query: {error}\n  a run has {known}\n  write for example: kos ls -q '$status == \"failed\"'",
        ) from error


def holds(query: Expression, row: dict[str, Any]) -> bool:
    """Say whether a run's row meets an expression.

    Raises:
        Exit: It gives no boolean, or cannot be computed from such a row.
    """
    try:
        value = query.evaluate(_Row(row))
    except EvaluationError as error:
        raise Exit(USAGE, f"error: --query: {error}, for run {row['run']}") from error
    if not isinstance(value, bool):
        raise Exit(USAGE, f"error: --query: expected true or false, not {value!r}; compare it with something")
    return value

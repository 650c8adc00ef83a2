"""Statements that take many rows at once.

A loop of one-row statements gives up the interpreter's lock with each row, and beside a busy thread waits five
milliseconds to get it back (700 rows: about a second, measured). So rows go in by statements of 256, 64, 16, 4 and 1,
each prepared once and kept by the driver's cache.
"""

from collections.abc import Callable, Sequence
from typing import Final

from kos_runtime.adapters.event_store.text import as_parameter, encoded

_SIZES: Final = (256, 64, 16, 4, 1)

Execute = Callable[[str, Sequence[object]], object]


class MultiRow:
    """One statement for any number of rows; ``head`` and ``tail`` stand around the rows' parameters."""

    __slots__ = ("_lossless", "_plain", "width")

    def __init__(self, head: str, columns: Sequence[str], tail: str = "") -> None:
        self.width = len(columns)
        plain = "(" + ",".join("?" * self.width) + ")"
        lossless = "(" + ",".join(map(as_parameter, columns)) + ")"
        self._plain = {size: f"{head} {','.join([plain] * size)} {tail}" for size in _SIZES}
        self._lossless = f"{head} {lossless} {tail}"

    def run(self, execute: Execute, values: list[object]) -> None:
        """Carry the statement out for rows laid end to end."""
        width, at, left = self.width, 0, len(values) // self.width
        for size in _SIZES:
            while left >= size:
                part = values[at : at + size * width]
                try:
                    execute(self._plain[size], part)
                except UnicodeEncodeError:
                    self._run_lossless(execute, part)
                at += size * width
                left -= size

    def _run_lossless(self, execute: Execute, values: list[object]) -> None:
        # Refused while its parameters were bound, so no row of it was carried out.
        for at in range(0, len(values), self.width):
            execute(self._lossless, encoded(values[at : at + self.width]))


def insertion(table: str, columns: Sequence[str], tail: str = "") -> MultiRow:
    """Return an INSERT of whole rows."""
    return MultiRow(f"INSERT INTO {table}({', '.join(columns)}) VALUES", columns, tail)

"""Where everything in a file stands."""

from dataclasses import dataclass, field
from typing import Any, Final

from kos_runtime.definition.problems import Path, Problem, window

#: Characters of a line that a problem keeps.
_KEPT: Final = 1_000


@dataclass(slots=True)
class Mark:
    """Where a value, or a key, stands: line and column from 0, and how long it is on its line."""

    line: int
    column: int
    length: int


@dataclass(slots=True)
class Source:
    """A file: its data, where everything stands, and how scalars were written."""

    name: str
    lines: list[str]
    data: Any = None
    values: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)
    raw: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def at(self, path: Path) -> Any:
        """Return the file's own data at a path, as it was read."""
        data = self.data
        for part in path:
            data = data[part]
        return data

    def line(self, path: Path) -> str:
        """Return the file and line at which a key stands, as ``workflow-engine.yaml:9``."""
        mark = self.keys.get(path) or self.values.get(path)
        return self.name if mark is None else f"{self.name}:{mark.line + 1}"

    def problem(
        self,
        path: Path,
        code: str,
        message: str,
        *,
        hint: str = "",
        severity: str = "error",
        key: bool = False,
        offset: int = 0,
    ) -> Problem:
        """Make a problem at a path, or at the nearest place above it that the file has."""
        mark = None
        at = path
        while mark is None:
            mark = (self.keys.get(at) if key else None) or self.values.get(at) or self.keys.get(at)
            if mark is None and not at:
                mark = Mark(0, 0, 1)
            elif mark is None:
                at, key = at[:-1], isinstance(at[-1], str)
        text = self.lines[mark.line] if mark.line < len(self.lines) else ""
        column = mark.column + (offset if offset and mark.column + offset <= len(text) else 0)
        shown, cut = window(text, column + 1, _KEPT)
        return Problem(
            file=self.name,
            line=mark.line + 1,
            column=column + 1,
            code=code,
            message=message,
            hint=hint,
            severity=severity,
            text=shown,
            cut=cut,
            length=max(1, mark.length - offset) if offset else mark.length,
            path=dotted(path),
        )

    def problem_at(
        self, line: int, column: int, code: str, message: str, *, hint: str = "", length: int = 1
    ) -> Problem:
        """Make a problem at a line and column, both from 0."""
        text, cut = window(self.lines[line] if line < len(self.lines) else "", column + 1, _KEPT)
        return Problem(
            file=self.name, line=line + 1, column=column + 1, code=code, message=message, hint=hint, text=text,
            cut=cut, length=length,
        )  # fmt: skip


def dotted(path: Path) -> str:
    """Write a path as people do: ``workflow.steps[2].inputs.topic``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text

"""What is wrong with a file: every problem with its place, and how it is shown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kos_runtime.core.errors import InvalidDefinition

Path = tuple[str | int, ...]
#: Characters of a line that are shown in a terminal.
_WIDTH: Final = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One error or warning. Lines and columns count from 1; ``length`` characters are marked.

    ``text`` is the line itself, of a very long one the part around the column; ``cut`` characters of it are left out
    before.
    """

    file: str
    line: int
    column: int
    code: str
    message: str
    severity: str = "error"
    hint: str = ""
    text: str = ""
    length: int = 1
    path: str = ""
    cut: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


class DefinitionError(InvalidDefinition):
    """A file that cannot be used; carries everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(tuple(problems))
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(render(problem) for problem in self.problems)


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Return problems by line and column, each once."""
    return sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.column))


def render(problem: Problem) -> str:
    """Return a problem as text: place, message, the line itself with the spot marked.

    ::

        research.yaml:6:7: error[KOS102]: unknown key 'agnet' in step 'planning'; did you mean 'agent'?
            6 |       agnet: kPlanner
              |       ^^^^^
    """
    hint = f"; {problem.hint}" if problem.hint else ""
    place = f"{problem.file}:{problem.line}:{problem.column}"
    head = f"{place}: {problem.severity}[{problem.code}]: {problem.message}{hint}"
    if not problem.text:
        return head
    number = f"{problem.line:>5}"
    text, cut = window(problem.text, problem.column - problem.cut)
    column = problem.column - problem.cut - cut
    mark = " " * (column - 1) + "^" * max(1, min(problem.length, len(text) - column + 1))
    return f"{head}\n{number} | {text.replace(chr(9), ' ')}\n{' ' * len(number)} | {mark}"


def window(line: str, column: int, width: int = _WIDTH) -> tuple[str, int]:
    """Return the part of a line around a column (from 1), and how many characters were left out before it."""
    if len(line) <= width:
        return line, 0
    start = max(0, min(column - 1 - width // 2, len(line) - width))
    return line[start : start + width], start


def render_github(problem: Problem) -> str:
    """Return a problem as an annotation of GitHub's workflow log."""
    kind = "error" if problem.severity == "error" else "warning"
    words = problem.message + (f"; {problem.hint}" if problem.hint else "")
    place = f"file={_escaped(problem.file, ',:')},line={problem.line},col={problem.column},title={problem.code}"
    return f"::{kind} {place}::{_escaped(words)}"


def _escaped(text: str, more: str = "") -> str:
    """Return a text that cannot end an annotation, or one of its properties."""
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def render_sarif(problems: Sequence[Problem]) -> dict[str, Any]:
    """Return problems as a SARIF 2.1.0 log."""
    return {
        "version": "2.1.0",
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "runs": [
            {
                "tool": {"driver": {"name": "kos", "rules": [{"id": c} for c in sorted({p.code for p in problems})]}},
                "results": [
                    {
                        "ruleId": p.code,
                        "level": p.severity,
                        "message": {"text": p.message + (f"; {p.hint}" if p.hint else "")},
                        "locations": [
                            {
                                "physicalLocation": {
                                    "artifactLocation": {"uri": p.file},
                                    "region": {"startLine": p.line, "startColumn": p.column},
                                }
                            }
                        ],
                    }
                    for p in problems
                ],
            }
        ],
    }

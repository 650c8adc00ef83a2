"""What is wrong with a file: every problem with its place, and how it is shown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kos_runtime.core.errors import InvalidDefinition

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One error or warning. Lines and columns count from 1; ``length`` characters are marked."""

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
    text = problem.text.replace("\t", " ")
    if len(text) > 160:
        text = text[:157] + "..."
    mark = " " * (problem.column - 1) + "^" * max(1, min(problem.length, max(1, len(text) - problem.column + 1)))
    return f"{head}\n{number} | {text}\n{' ' * len(number)} | {mark[:160]}"


def render_github(problem: Problem) -> str:
    """Return a problem as an annotation of GitHub's workflow log."""
    kind = "error" if problem.severity == "error" else "warning"
    words = problem.message + (f"; {problem.hint}" if problem.hint else "")
    escaped = words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{kind} file={problem.file},line={problem.line},col={problem.column},title={problem.code}::{escaped}"


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

"""A file, checked against the language: a workflow, a set of templates or an engine's configuration."""

from dataclasses import dataclass, field
from typing import Any, Final

from kos_runtime.core.nearest import nearest
from kos_runtime.definition.language import TEMPLATES, WORKFLOW
from kos_runtime.definition.problems import DefinitionError, Path, Problem
from kos_runtime.definition.settings import FILE
from kos_runtime.definition.shapes import Check
from kos_runtime.definition.text import Source, read


@dataclass(slots=True)
class WorkflowDocument:
    """One workflow. ``content`` is its checked form; ``at`` where it stands in its file."""

    content: dict[str, Any]
    source: Source
    at: Path = ("workflow",)
    warnings: list[Problem] = field(default_factory=list)
    #: Templates of the same file or folder, by name.
    templates: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return str(self.content.get("id", ""))


@dataclass(slots=True)
class TemplatesDocument:
    """Templates by name."""

    content: dict[str, dict[str, Any]]
    source: Source
    warnings: list[Problem] = field(default_factory=list)

    def workflow(self, name: str) -> WorkflowDocument:
        """Return a template as a workflow of its own; any inputs are taken.

        Raises:
            DefinitionError: There is no template of that name.
        """
        if name not in self.content:
            near = nearest(name, tuple(self.content))
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(self.content)}"
            raise DefinitionError([self.source.problem(("templates",), "KOS120", f"no template {name!r}", hint=hint)])
        return WorkflowDocument(
            {"id": name, **self.content[name]}, self.source, ("templates", name), [], dict(self.content)
        )


@dataclass(slots=True)
class EngineDocument:
    """An engine's configuration."""

    content: dict[str, Any]
    source: Source
    warnings: list[Problem] = field(default_factory=list)


Document = WorkflowDocument | TemplatesDocument | EngineDocument
_TOP: Final = ("workflow", "templates", "engine", "agents", "people")


def load(text: str | bytes, name: str) -> Document:
    """Read and check a file. Its meaning (references, cycles, names) is checked when it is compiled.

    Raises:
        DefinitionError: Everything that is wrong with it.
    """
    source = read(text, name)
    data = source.data
    if not isinstance(data, dict) or not data:
        hint = "a file begins with workflow:, templates: or engine:"
        raise DefinitionError([source.problem((), "KOS100", "the file is empty or no mapping", hint=hint)])
    kinds = [key for key in ("workflow", "templates", "engine") if key in data]
    if not kinds and ("agents" in data or "people" in data):
        kinds = ["engine"]
    check = Check(source)
    for key in data:
        if key not in _TOP or (kinds and kinds[0] != "engine" and key in {"agents", "people"}):
            near = nearest(key, _TOP[:3])
            hint = f"did you mean {near!r}?" if near else "a file holds workflow:, templates: or engine:"
            check.fail((key,), "KOS102", f"unknown key {key!r} at the top of the file", hint, key=True)
    if len(kinds) > 1:
        check.fail((kinds[1],), "KOS100", f"a file holds one of {' and '.join(kinds)}, not both", key=True)
    if not kinds and not check.problems:
        check.fail((), "KOS100", "the file begins with none of workflow:, templates: and engine:")
    document: Document
    match kinds[0] if kinds else "":
        case "workflow":
            content = WORKFLOW.check(data["workflow"], ("workflow",), check)
            document = WorkflowDocument(content, source)
        case "templates":
            document = TemplatesDocument(TEMPLATES.check(data["templates"], ("templates",), check), source)
        case _:
            document = EngineDocument(FILE.check(data, (), check), source)
    errors = [problem for problem in check.problems if problem.severity == "error"]
    if errors:
        raise DefinitionError(sorted(errors, key=lambda p: (p.line, p.column)))
    document.warnings = [problem for problem in check.problems if problem.severity != "error"]
    return document

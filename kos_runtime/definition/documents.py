"""What a file is: a workflow, a set of templates or an engine's configuration, checked against the language."""

from dataclasses import dataclass, field
from typing import Any

from kos_runtime.core.nearest import nearest
from kos_runtime.definition.positions import Source
from kos_runtime.definition.problems import DefinitionError, Path, Problem


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

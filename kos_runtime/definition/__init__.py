"""Text in, plan out: reading, checking and compiling definitions."""

from kos_runtime.definition.compile import compile_workflow
from kos_runtime.definition.document import Document, EngineDocument, TemplatesDocument, WorkflowDocument, check, load
from kos_runtime.definition.problems import DefinitionError, Problem, render, render_github, render_sarif
from kos_runtime.definition.settings import EngineSettings

__all__ = [
    "DefinitionError",
    "Document",
    "EngineDocument",
    "EngineSettings",
    "Problem",
    "TemplatesDocument",
    "WorkflowDocument",
    "check",
    "compile_workflow",
    "load",
    "render",
    "render_github",
    "render_sarif",
]

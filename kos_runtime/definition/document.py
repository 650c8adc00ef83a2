"""Loading: text to a checked document, with everything that is wrong with it."""

from collections.abc import Mapping
from typing import Any, Final

from kos_runtime.definition.compile import Compiler, templates_for
from kos_runtime.definition.documents import Document, EngineDocument, TemplatesDocument, WorkflowDocument
from kos_runtime.definition.language import TEMPLATES, WORKFLOW
from kos_runtime.definition.positions import Source
from kos_runtime.definition.problems import DefinitionError, Problem, in_order
from kos_runtime.definition.second_look import second_look
from kos_runtime.definition.settings import FILE, EngineSettings
from kos_runtime.definition.shapes import Check
from kos_runtime.definition.text import parse

__all__ = ["Document", "EngineDocument", "TemplatesDocument", "WorkflowDocument", "check", "load"]

_TOP: Final = ("workflow", "templates", "engine", "agents", "services", "people", "tokens")
#: So many problems of one file are told; more would help nobody.
MAX_PROBLEMS: Final = 200


def load(text: str | bytes, name: str) -> Document:
    """Read and check a file.

    What a workflow means (references, cycles, names) is checked when it is compiled; of a file that is refused here
    it is checked as well, as far as it can be told, so that all its errors are shown at once.

    Raises:
        DefinitionError: Everything that is wrong with it, in the order of its lines.
    """
    source = parse(text, name)
    data = source.data
    if not isinstance(data, dict) or not data:
        hint = "a file begins with workflow:, templates: or engine:"
        what = "is empty" if data is None or data == {} else "holds no keys"
        raise DefinitionError([*source.problems, source.problem((), "KOS100", f"the file {what}", hint=hint)])
    to = Check(source)
    to.problems += source.problems
    document = _document(data, source, to)
    if any(problem.severity == "error" for problem in to.problems):
        errors = [
            problem for problem in (*to.problems, *second_look(document, to.problems)) if problem.severity == "error"
        ]
        raise DefinitionError(in_order(errors)[:MAX_PROBLEMS])
    document.warnings = to.problems
    return document


def _document(data: dict[str, Any], source: Source, to: Check) -> Document:
    kinds = [key for key in ("workflow", "templates", "engine") if key in data]
    if not kinds and any(key in data for key in _TOP[3:]):
        kinds = ["engine"]
    for key in data:
        if key not in _TOP or (kinds and kinds[0] != "engine" and key in _TOP[3:]):
            if to.is_full:
                break
            hint = to.hint(key, _TOP[:3], "a file holds workflow:, templates: or engine:")
            to.fail((key,), "KOS102", f"unknown key {key!r} at the top of the file", hint, key=True)
    if len(kinds) > 1:
        to.fail((kinds[1],), "KOS100", f"a file holds one of {' and '.join(kinds)}, not both", key=True)
    if not kinds and len(to.problems) == len(source.problems):
        to.fail((), "KOS100", "the file begins with none of workflow:, templates: and engine:")
    match kinds[0] if kinds else "":
        case "workflow":
            return WorkflowDocument(WORKFLOW.check(data["workflow"], ("workflow",), to), source)
        case "templates":
            return TemplatesDocument(TEMPLATES.check(data["templates"], ("templates",), to), source)
        case _:
            checked = FILE.check({k: v for k, v in data.items() if k in FILE.keys}, (), to)
            return EngineDocument(checked, source)


def check(
    document: Document, *, settings: EngineSettings | None = None, templates: Mapping[str, Any] | None = None
) -> list[Problem]:
    """Return errors and warnings of a document's meaning, in the order of its lines.

    Of a set of templates each is checked as a workflow of its own. What loads and does not run yet is a warning at
    the place that asks for it.
    """
    match document:
        case WorkflowDocument():
            return _check_workflow(document, settings or EngineSettings(), templates or {})
        case TemplatesDocument():
            found = [
                problem
                for name in document.content
                for problem in _check_workflow(document.workflow(name), settings or EngineSettings(), templates or {})
            ]
            return in_order([*document.warnings, *found])
        case EngineDocument():
            return list(document.warnings)


def _check_workflow(
    document: WorkflowDocument, settings: EngineSettings, templates: Mapping[str, Any]
) -> list[Problem]:
    compiler = Compiler(document, settings, templates_for(document, templates))
    compiler.plan()
    carried = {
        (requirement, path): document.source.problem(
            path,
            "KOS220",
            f"{requirement.feature} (at {requirement.where}) does not run in this version",
            hint="it loads; a run that needs it is refused when it is linked",
            severity="warning",
            key=True,
        )
        for requirement, path in compiler.requires
    }
    return in_order([*document.warnings, *compiler.check.problems, *carried.values()])

"""The meaning of a file whose shape is refused already, so that all its errors can be told at once.

Everything unfit is taken out or stands in as an empty step, the rest is compiled, and what only follows from the first
errors is left away.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from kos_runtime.definition.compile import Compiler
from kos_runtime.definition.documents import Document, TemplatesDocument, WorkflowDocument
from kos_runtime.definition.problems import Problem
from kos_runtime.definition.settings import EngineSettings
from kos_runtime.definition.shapes import BAD

#: When one of these is broken, a name that leads nowhere may only be a consequence.
_NAMING: Final = frozenset(
    {"id", "name", "steps", "body", "loop_body", "inputs", "outputs", "variables", "set", "loop", "for_each", "as",
     "parallel_group", "parallel_groups", "decision_points", "synchronization_points", "templates", "workflow"}
)  # fmt: skip
_NAMELESS: Final = ("needs 'id'", "needs 'name'")
_OF_NAMES: Final = frozenset({"KOS111", "KOS201", "KOS204", "KOS205", "KOS206"})
_BODIES: Final = frozenset({"steps", "body", "loop_body"})


def second_look(document: Document, told: Sequence[Problem]) -> list[Problem]:
    """Return errors of meaning beside those of shape that were ``told``."""
    workflows: list[WorkflowDocument] = []
    match document:
        case WorkflowDocument(content=dict()):
            workflows = [document]
        case TemplatesDocument(content=dict()):
            workflows = [document.workflow(name) for name, body in document.content.items() if isinstance(body, dict)]
        case _:
            pass
    found: list[Problem] = []
    for workflow in workflows:
        compiler = Compiler(replace(workflow, content=_mended(workflow.content)), EngineSettings(), workflow.templates)
        with suppress(Exception):
            # What is left need not make sense as a whole; whatever this trips over was told before.
            compiler.plan()
        found += compiler.check.problems
    places = {(problem.line, problem.column) for problem in told}
    names_broken = any(_last(problem.path) in _NAMING or problem.message.endswith(_NAMELESS) for problem in told)
    return [
        problem
        for problem in found
        if problem.severity == "error"
        and (problem.line, problem.column) not in places
        and not (names_broken and problem.code in _OF_NAMES)
    ]


def _last(path: str) -> str:
    """Return the last key of a dotted path, indexes left out."""
    return path.rpartition(".")[2].partition("[")[0]


def _mended(content: dict[str, Any]) -> dict[str, Any]:
    """Return content without what is unfit; steps keep their places, so that paths still lead to them."""
    mended: dict[str, Any] = _without_bad(content, "")
    return mended


def _without_bad(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {name: _without_bad(item, name) for name, item in value.items() if item is not BAD}
    if not isinstance(value, list):
        return value
    hold_places = any(isinstance(item, dict) for item in value)
    items = [{} if item is BAD else _without_bad(item, "") for item in value if hold_places or item is not BAD]
    if key in _BODIES:
        for index, item in enumerate(items):
            if isinstance(item, dict):
                item.setdefault("id", f"?{index}")
    return items

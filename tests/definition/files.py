"""Small files for the tests of definitions."""

from pathlib import Path

from kos_runtime.core.plan.model import Plan, Step
from kos_runtime.definition import (
    DefinitionError,
    EngineSettings,
    Problem,
    WorkflowDocument,
    check,
    compile_workflow,
    load,
)

EXAMPLES = Path(__file__).parents[2] / "examples"
#: A workflow up to its steps, and one step of it.
HEAD = "workflow:\n  id: w\n  steps:\n"
FIRST = "    - {id: a, agent: k, action: x, outputs: {out: o}}\n"


def workflow(text: str) -> WorkflowDocument:
    """Load a workflow's text."""
    document = load(text, "w.yaml")
    assert isinstance(document, WorkflowDocument)
    return document


def steps(text: str) -> str:
    """Return a workflow of these steps, each line a step in flow style without its dash."""
    return HEAD + "".join(f"    - {line.strip()}\n" for line in text.strip().splitlines())


def plan_of(text: str, settings: EngineSettings | None = None) -> Plan:
    return compile_workflow(workflow(text), settings=settings)[0]


def step_of(plan: Plan, name: str) -> Step:
    return next(step for step in plan.body.steps if step.id == name)


def problems_of(text: str | bytes) -> list[Problem]:
    """Return everything that is wrong with a file, of shape or of meaning; warnings too."""
    try:
        return check(load(text, "w.yaml"))
    except DefinitionError as error:
        return list(error.problems)


def said(text: str | bytes) -> list[str]:
    """Return the errors as ``line:column code message; hint``."""
    return [
        f"{p.line}:{p.column} {p.code} {p.message}" + (f"; {p.hint}" if p.hint else "")
        for p in problems_of(text)
        if p.severity == "error"
    ]


def warned(text: str) -> list[str]:
    return [f"{p.line}:{p.column} {p.code} {p.message}" for p in problems_of(text) if p.severity == "warning"]

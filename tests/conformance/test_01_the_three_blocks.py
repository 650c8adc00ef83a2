"""Row 1: the mission's three YAML blocks load byte for byte, and their canonical form means the same.

It catches: a key that the canonical form forgets; defaults of inputs that are lost; durations that are read as something else.
"""

from pathlib import Path
from typing import Any

import pytest

from kos_runtime.definition import (
    EngineDocument,
    EngineSettings,
    TemplatesDocument,
    WorkflowDocument,
    canonical,
    check,
    compile_workflow,
    load,
    settings,
)
from kos_runtime.definition.canonical import format_document
from kos_runtime.definition.compile import Compiler
from tests.conformance.engines import Break

EXAMPLES = Path(__file__).parents[2] / "examples"
SEED = {"research-and-summarize.yaml", "templates.yaml", "workflow-engine.yaml"}


def meaning(document: Any) -> Any:
    """Return what a document comes down to."""
    match document:
        case WorkflowDocument():
            return compile_workflow(document)[0]
        case TemplatesDocument():
            return {name: compile_workflow(document.workflow(name))[0] for name in document.content}
        case _:
            said = EngineSettings.from_document(document.content, "")
            return {name: getattr(said, name) for name in EngineSettings.__slots__ if name != "sources"}


def row() -> None:
    documents = {name: load((EXAMPLES / name).read_bytes(), name) for name in sorted(SEED)}
    assert [type(document) for document in documents.values()] == [WorkflowDocument, TemplatesDocument, EngineDocument]
    for name, document in documents.items():
        assert not [problem for problem in check(document) if problem.severity == "error"]
        text = format_document(document)
        again = load(text, name)
        assert meaning(again) == meaning(document), name
        assert format_document(again) == text, name
    plan = meaning(documents["research-and-summarize.yaml"])
    assert (plan.workflow, plan.version) == ("research-and-summarize", "1.0")
    assert [step.id for step in plan.body.steps] == ["planning", "information_gathering", "synthesis", "quality_check"]
    assert [step.spread for step in plan.body.steps] == [False, True, False, False]
    assert plan.inputs[1].default == "moderate"
    assert [(p.ladder, p.max_retries, p.fallback) for p in plan.policies if p.fallback] == [
        (("retry", "fallback", "fail"), 3, "manual_research")
    ]
    assert plan.monitoring == {"progress_tracking": True, "performance_metrics": True, "audit_trail": True}
    engine = meaning(documents["workflow-engine.yaml"])
    assert (engine["max_workflow_duration_ms"], engine["checkpoint_interval_ms"]) == (86_400_000, 300_000)
    assert (engine["state_backend"], engine["checkpoint_backend"]) == ("postgresql", "s3")


def test_the_three_blocks_load_and_round_trip() -> None:
    row()


def _without_defaults(compiler: Any, index: int, spec: dict[str, Any]) -> Any:
    return _INPUT(compiler, index, {key: value for key, value in spec.items() if key != "default"})


_INPUT = Compiler._input
BREAKS: list[Break] = [
    (canonical, "_WORKFLOW_KEYS", tuple(key for key in canonical._WORKFLOW_KEYS if key != "monitoring")),
    (Compiler, "_input", _without_defaults),
    (settings, "parse_duration", len),
]


@pytest.mark.parametrize("broken", BREAKS, ids=["a forgotten key", "no defaults", "durations"])
def test_it_catches(broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*broken)
    with pytest.raises(AssertionError):
        row()

"""Row 16: hostile YAML and hostile expressions are refused with their place or fail their run; the engine goes on.

It catches: a depth without a bound; texts of any length; work of an expression without a bound.
"""

from pathlib import Path
from typing import Any

import pytest

from kos_runtime.core.expression import meter
from kos_runtime.core.workflow import events as ev
from kos_runtime.definition import DefinitionError, yaml_events
from tests.conformance.engines import Break, Engine, notices

HEAD = "workflow:\n  id: w\n  steps:\n    - {id: s, agent: CREW, action: echo}\n"
FILES: dict[str, tuple[str, str]] = {
    "aliases": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n" + HEAD, "KOS007"),
    "a tag": (HEAD + "  description: !!python/object/apply:os.system [id]\n", "KOS008"),
    "a key twice": (HEAD + "  id: again\n", "KOS011"),
    "a deep nest": (HEAD + "  variables: {x: " + "[" * 60 + "]" * 60 + "}\n", "KOS009"),
    "two documents": (HEAD + "---\n" + HEAD, "KOS006"),
    "a long text": (HEAD + "  description: " + "x" * 70_000 + "\n", "KOS010"),
    "bytes that are no text": (HEAD + "  description: \x00\n", "KOS003"),
    "an unknown key": (HEAD + "  stepz: []\n", "KOS102"),
    "a cycle": (HEAD.replace("action: echo", "action: echo, depends_on: [t]") + "    - {id: t, agent: CREW, action: echo, depends_on: [s]}\n", "KOS206"),
}  # fmt: skip
EXPRESSIONS: dict[str, str] = {
    "a call of nothing": "__import__('os').system('id')",
    "a deep nest": "(" * 200 + "1" + ")" * 200,
    "a long one": "1" + " + 1" * 3_000,
    "a large number": "9" * 40,
    "a lambda": "(lambda: 1)()",
    "a comprehension": "[x for x in $inputs.v]",
}
WORK: dict[str, tuple[str, dict[str, Any]]] = {
    "too much to do": ("sum($inputs.v) + sum($inputs.v) + sum($inputs.v)", {"v": [1] * 50_000}),
    "an attribute": ("$inputs.v.__class__.__mro__", {"v": 1}),
    "an overflow": ("$inputs.v * $inputs.v", {"v": 2**62}),
    "a division by nothing": ("1 / $inputs.v", {"v": 0}),
    "a place that is not there": ("$inputs.v[7]", {"v": [1]}),
}


def files(engine: Engine) -> None:
    for name, (text, code) in FILES.items():
        with pytest.raises(DefinitionError) as caught:
            engine.run(text)
        problems = caught.value.problems
        assert any(problem.code.startswith(code) for problem in problems), (name, problems)
        assert all(problem.line >= 1 and problem.column >= 1 and problem.message for problem in problems)
    assert engine.is_sound()


def expressions(engine: Engine) -> None:
    for name, text in EXPRESSIONS.items():
        step = "{id: s, agent: CREW, action: echo, when: '" + text.replace("'", "''") + "', inputs: {v: 1}}"
        with pytest.raises(DefinitionError) as caught:
            engine.run(f"workflow: {{id: w, inputs: [{{name: v, type: any}}], steps: [{step}]}}")
        assert caught.value.problems[0].line == 1, name
    assert engine.is_sound()


def work(engine: Engine) -> None:
    for name, (text, inputs) in WORK.items():
        step = f'{{id: s, agent: CREW, action: echo, inputs: {{v: "${{{{ {text} }}}}"}}}}'
        found = engine.run(f"workflow: {{id: w, inputs: [{{name: v, type: any}}], steps: [{step}]}}", inputs)
        assert found.status == "failed", name
        assert (found.error["type"], found.error["step"]) == ("validation", "s"), name
        assert found.error["recoverable"] is False, name
        assert not found.named(ev.RetryScheduled), name
    assert engine.is_sound()


def growing(engine: Engine) -> None:
    """A variable that doubles in each turn meets its bound, and the run ends there."""
    found = engine.run("""
workflow:
  id: grows
  variables: {x: [1, 1]}
  steps:
    - id: l
      loop:
        max_iterations: 60
        loop_condition: "true"
        body: [{id: twice, set: {x: "${{ $vars.x + $vars.x }}"}}]
""")
    assert (found.status, found.error["type"]) == ("failed", "validation")
    assert 5 < len(found.named(ev.TurnStarted)) < 30
    assert engine.is_sound()


ROWS = [files, expressions, work, growing]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.__name__)
def test_hostile_input_is_refused_or_fails_its_run_and_the_engine_goes_on(engine: Engine, row: Any) -> None:
    row(engine)


def _boundless(self: Any, limit: int, what: str = "condition") -> None:
    self.limit, self.left, self.what = limit, 1 << 60, what


BREAKS: list[tuple[Any, Break]] = [
    (files, (yaml_events, "MAX_DEPTH", 1_000)),
    (files, (yaml_events, "MAX_SCALAR", 1 << 30)),
    (work, (meter.Meter, "__init__", _boundless)),
]


@pytest.mark.parametrize(("row", "broken"), BREAKS, ids=["depth", "length", "work"])
def test_it_catches(row: Any, broken: Break, tmp_path: Path) -> None:
    notices(row, tmp_path, broken)

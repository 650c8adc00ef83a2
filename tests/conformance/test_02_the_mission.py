"""Row 2: the mission's own workflow runs, unchanged, with its own agents, and its outputs are those that the language says.

It catches: the wrong step's output taken for the workflow's; outputs mapped the wrong way round; a spread step that runs as one;
a default of an input that never arrives.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kos_runtime.adapters.agent_runner import actions, data
from kos_runtime.core.plan import types
from kos_runtime.core.workflow import dispatching
from kos_runtime.core.workflow import events as ev
from tests.conformance.engines import Break, Engine, notices

FILE = Path(__file__).parents[2] / "examples" / "research-and-summarize.yaml"
CORPUS = Path(__file__).parents[1] / "agents" / "corpora" / "almanac"


def row(engine: Engine) -> None:
    engine.client.settings.agents["kExecutor"] = {"corpus": str(CORPUS)}
    found = engine.run(FILE, {"topic": "honeybees"})
    assert found.status == "completed", found.error
    assert set(found.outputs) == {"summary", "sources"}
    view = engine.client.view(found.run)
    exposed = {event.path: _exposed(engine, event) for event in found.named(ev.StepCompleted)}
    # The left of `outputs` is what others see, the right a key of the result.
    assert exposed["planning"].keys() == {"research_plan"}
    assert exposed["synthesis"].keys() == {"summary"}
    assert exposed["quality_check"].keys() == {"validated_summary", "quality_score"}
    # No `value`: the last completed step, in declaration order, that exposes the name.
    assert found.outputs["summary"] == exposed["synthesis"]["summary"]
    plan = exposed["planning"]["research_plan"]
    parts = [event.path for event in found.named(ev.StepCompleted) if event.path.startswith("information_gathering[")]
    assert len(parts) == len(plan) > 1
    assert sorted(parts) == sorted(f"information_gathering[{n}]" for n in range(len(plan)))
    sources = [source for n in range(len(plan)) for source in exposed[f"information_gathering[{n}]"]["sources"]]
    assert found.outputs["sources"] == sources
    assert engine.client.reading.inputs(view) == {"topic": "honeybees", "depth": "moderate"}


def _exposed(engine: Engine, event: Any) -> dict[str, Any]:
    reading = engine.client.reading
    found: dict[str, Any] = reading.codec.unpack(event.exposed)
    for name, digest, *_ in event.blobs:
        found[name] = reading.codec.unpack(reading.blobs.get(digest))
    return found


def test_the_mission_runs_and_its_outputs_are_as_the_language_says(engine: Engine) -> None:
    row(engine)


def _turned(result: Any, invocation: Any) -> Any:
    """Map outputs the wrong way round."""
    if invocation.outputs is None or invocation.part:
        return _EXPOSE(result, invocation)
    return {key: result[key] for _, key in invocation.outputs}


_EXPOSE: Callable[..., Any] = data.expose
BREAKS: list[Break] = [
    (actions, "expose", _turned),
    (dispatching, "MAX_PARTS", 1),
    (types, "_one", lambda spec, given, values: values.update({spec.name: given.get(spec.name)})),
]


@pytest.mark.parametrize("broken", BREAKS, ids=["outputs turned", "never spread", "no defaults"])
def test_it_catches(broken: Break, tmp_path: Path) -> None:
    notices(row, tmp_path, broken)

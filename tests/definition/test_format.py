"""The canonical form: it loads to the same plan, and is its own canonical form."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kos_runtime.core.plan.check import faults
from kos_runtime.definition import EngineDocument, TemplatesDocument, compile_workflow, load
from kos_runtime.definition.canonical import format_document
from kos_runtime.definition.text import read
from kos_runtime.definition.yaml_writer import write_yaml
from tests.definition.files import EXAMPLES, workflow
from tests.definition.forms import LITERALS, workflows
from tests.definition.test_compile import INTERFACES


@pytest.mark.parametrize("name", ["extended.yaml", "research-and-summarize.yaml"])
def test_an_example_in_its_canonical_form_is_the_same_workflow(name: str) -> None:
    document = workflow((EXAMPLES / name).read_text())
    again = workflow(format_document(document))
    assert compile_workflow(again)[0] == compile_workflow(document)[0]
    assert format_document(again) == format_document(document)


@pytest.mark.parametrize("name", ["templates.yaml", "workflow-engine.yaml"])
def test_templates_and_configurations_are_formatted_too(name: str) -> None:
    document = load((EXAMPLES / name).read_bytes(), name)
    again = load(format_document(document), name)
    assert isinstance(again, TemplatesDocument | EngineDocument)
    assert again.content == document.content


def test_the_canonical_form_has_one_way_to_write_each_thing() -> None:
    text = format_document(workflow(INTERFACES))
    content = read(text, "w.yaml").data["workflow"]
    assert [step["id"] for step in content["steps"]] == ["review", "legal", "fork", "publish", "rework", "late", "loop"]
    late, loop = content["steps"][5], content["steps"][6]
    assert (late["depends_on"], late["when"]) == (["checked"], "$steps.review.score > 0.5")
    assert list(loop["loop"]) == ["body", "loop_condition", "max_iterations", "break_conditions"]
    assert [key for key in content if key not in {"id", "steps"}] == ["parallel_groups", "synchronization_points"]
    assert compile_workflow(workflow(text))[0] == compile_workflow(workflow(INTERFACES))[0]


def test_the_canonical_form_reads_well() -> None:
    text = """
workflow:
  steps:
  - {agent: kPlanner, id: plan, action: decompose, depends_on: [], inputs: {topic: $inputs.topic, list: [1, 'two']},
     when: '$inputs.depth != "deep"', timeout: 10m, description: "one\\ntwo"}
  id: w
  version: 1.10
"""
    assert format_document(workflow(text)) == (
        "workflow:\n"
        "  id: w\n"
        '  version: "1.10"\n'
        "  steps:\n"
        "    - id: plan\n"
        "      description: |-\n"
        "        one\n"
        "        two\n"
        '      when: $inputs.depth != "deep"\n'
        "      depends_on: []\n"
        "      agent: kPlanner\n"
        "      action: decompose\n"
        "      inputs:\n"
        "        topic: $inputs.topic\n"
        "        list:\n"
        "          - 1\n"
        "          - two\n"
        "      timeout: 10m\n"
    )


@given(workflows())
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_every_form_round_trips(content: dict[str, Any]) -> None:
    document = workflow(write_yaml({"workflow": content}))
    assert read(write_yaml({"workflow": content}), "w.yaml").data == {"workflow": content}
    plan, _ = compile_workflow(document)
    assert faults(plan) == ()
    text = format_document(document)
    again = workflow(text)
    assert compile_workflow(again)[0] == plan
    assert format_document(again) == text


@given(st.dictionaries(st.text(max_size=8), LITERALS, min_size=1, max_size=4))
@settings(max_examples=300)
def test_what_is_written_is_read_back(data: dict[str, Any]) -> None:
    found = read(write_yaml(data), "f").data
    assert found == data
    assert json.dumps(found) == json.dumps(data)

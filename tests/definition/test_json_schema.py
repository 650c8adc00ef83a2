"""The schema for editors says of a file what the loader says of its shape."""

from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings

from kos_runtime.definition.json_schema import DIALECT, json_schema
from kos_runtime.definition.text import read
from tests.definition.files import EXAMPLES, HEAD, steps
from tests.definition.forms import workflows
from tests.definition.test_compile import INTERFACES, REQUIRED

SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)


def _errors(text: str | bytes) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(read(text, "w.yaml").data)]


def test_it_is_a_schema_of_draft_7() -> None:
    assert SCHEMA["$schema"] == DIALECT
    jsonschema.Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_fits(path: Any) -> None:
    assert _errors(path.read_bytes()) == []


@pytest.mark.parametrize("text", [INTERFACES, *(steps(step) for step in REQUIRED.values())])
def test_every_form_fits(text: str) -> None:
    assert _errors(text) == []


@given(workflows())
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_what_the_loader_takes_fits(content: dict[str, Any]) -> None:
    assert list(VALIDATOR.iter_errors({"workflow": content})) == []


BROKEN = [
    "worflow: {}\n",
    "workflow: {}\n",
    "workflow: {id: w}\n",
    "workflow: {id: w, steps: 3}\n",
    "workflow: {id: w, steps: [{id: a, set: {x: 1}}]}\ntemplates: {}\n",
    steps("{id: a}"),
    steps("{id: a, agent: k}"),
    steps("{id: a, agnet: k, action: x}"),
    steps("{id: a b, agent: k, action: x}"),
    steps("{id: a, agent: k, action: x, set: {q: 1}}"),
    steps("{id: a, set: {q: 1}, emit: {event: e}}"),
    steps("{id: a, wait: {for: 5m, until: x}}"),
    steps("{id: a, agent: k, action: x, timeout: soon}"),
    steps("{id: a, agent: k, action: x, parallel: 'yes'}"),
    steps("{id: a, agent: k, action: x, retry: {max_retries: 101}}"),
    steps("{id: a, loop: {body: [{id: b, set: {x: 1}}]}}"),
    steps("{id: a, loop: {max_iterations: 1, body: [{id: b}]}}"),
    steps("{id: a, parallel_group: {sync: {count: 1, quorum: 1}, steps: [{id: b, set: {x: 1}}]}}"),
    HEAD + "    - {id: a, set: {x: 1}}\n  error_handling: [{step: a, on_failure: retyr}]\n",
    "engine: {max_concurrent_workflows: many}\n",
    "templates: {t: {}}\n",
]


@pytest.mark.parametrize("text", BROKEN)
def test_what_the_loader_refuses_by_its_shape_does_not_fit(text: str) -> None:
    assert _errors(text) != []

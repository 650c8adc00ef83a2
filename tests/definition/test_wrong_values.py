"""A wrong value anywhere: whatever stands in the place of whatever else, the answer is a problem with its place."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from kos_runtime.definition import DefinitionError, EngineDocument, EngineSettings, Problem, check, load
from kos_runtime.definition.text import read
from kos_runtime.definition.yaml_writer import write_yaml
from tests.definition.files import EXAMPLES
from tests.definition.test_compile import INTERFACES

WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    1.5,
    "",
    "text",
    "$steps.nope",
    "${{ 1 +",
    [],
    [1],
    ["a", {"b": []}],
    {},
    {"a": {"b": 1}},
    [[]],
)
FORMS = """
workflow:
  id: forms
  timeout: 1h
  variables: {v: 1}
  agents: {p: {agent: k, replicas: {min: 1, max: 2}, resources: {num_cpus: 1}, rate_limit: 60/m, authority: 1}}
  schedule: {cron: "0 6 * * 1", overlap: skip}
  steps:
    - {id: d, decision: {condition: "true", true_path: [a], false_path: [], default_path: [a]}}
    - {id: a, agent: k, action: x, inputs: {v: 1}, outputs: {o: r}, retry: {max_retries: 1, backoff: {initial: 1s}}, resources: {memory: 1GiB}, cache: {key: 1, ttl: 1h}, compensate: {agent: k, action: u}}
    - {id: l, loop: {body: [{id: i, set: {v: 1}}], loop_condition: "true", max_iterations: 1, break_conditions: [{condition: "true", reason: r}]}}
    - {id: f, for_each: {in: [1], as: x, on_item_failure: {quorum: 0.5}, steps: [{id: i, emit: {event: e, data: 1}}]}}
    - {id: g, parallel_group: {steps: [{id: i, fail: {kind: permanent, message: m}}], sync: {count: 1}, resource_requirements: {num_cpus: 1}}}
    - {id: p, approval: {prompt: q, form: {c: {type: string}}, approvers: [r], timeout: 1h}}
    - {id: w, wait_for: {signal: s, match: "true", timeout: 1h}}
    - {id: c, coordination: {pattern: peer_to_peer, peers: p, weights: {a: 1}, consensus: {rule: majority}}, action: x}
    - {id: s, workflow: {id: o, inputs: {v: 1}}}
    - {id: t, template: {use: t, with: {v: 1}}}
    - {id: u, wait: {for: 5m}}
  error_handling: [{step: [a, "l/*"], errors: [timeout], on_failure: [retry, fail], max_retries: 1, fallback: a, backoff: {max: 1m}}]
  monitoring: {audit_trail: true}
  compensation: {order: reverse, on: [failed]}
"""
FILES = {
    "forms": FORMS,
    "interfaces": INTERFACES,
    "templates": (EXAMPLES / "templates.yaml").read_text(),
    "engine": (EXAMPLES / "workflow-engine.yaml").read_text() + "agents: {k: {a: 1}}\npeople: {jr: [editor]}\n",
}


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Go over the paths of all values."""
    yield path
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, item in entries:
        yield from places(item, (*path, key))


def replaced(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(data)
    at = changed
    for part in path[:-1]:
        at = at[part]
    at[path[-1]] = value
    return changed


@pytest.mark.parametrize("name", FILES)
def test_a_wrong_value_anywhere_is_a_problem_with_its_place_or_none(name: str) -> None:
    data = read(FILES[name], name).data
    loaded = refused = 0
    for number, path in enumerate(places(data)):
        # Every second value at each place, in turns: half the work, and every place and every value.
        for value in WRONG[number % 2 :: 2] if path else ():
            text = write_yaml(replaced(data, path, value))
            problems = _refusal(text)
            refused += bool(problems)
            loaded += not problems
            assert all(1 <= problem.line <= text.count("\n") + 1 for problem in problems)
    assert loaded
    assert refused > loaded


def _refusal(text: str) -> tuple[Problem, ...]:
    """Return the errors of a file's shape; of one that has none everything else is done too."""
    try:
        document = load(text, "w.yaml")
    except DefinitionError as error:
        return error.problems
    check(document)
    if isinstance(document, EngineDocument):
        EngineSettings.from_document(document.content, "w.yaml")
    return ()

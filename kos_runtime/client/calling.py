"""One action by hand, as a run of one step: it is linked, recorded and retried as any other."""

import json
from collections.abc import Iterable

from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.identity import is_name
from kos_runtime.definition import WorkflowDocument, load

#: The step's id, and the name of the only output.
STEP = "call"
RESULT = "result"


def call_document(service: str, capability: str, inputs: Iterable[str]) -> WorkflowDocument:
    """Return the workflow whose only step calls a capability of a service, or an action of an agent.

    Raises:
        InvalidDefinition: A name is none.
    """
    names = tuple(inputs)
    for name in (capability, *names):
        if not is_name(name):
            raise InvalidDefinition(f"{name!r:.80} is no name: letters, digits, _ and -, first a letter or _")
    step = {
        "id": STEP,
        "agent": service,
        "action": capability,
        "inputs": {name: f'$inputs["{name}"]' for name in names},
        "outputs": {RESULT: "$result"},
    }
    content = {
        "id": capability,
        "description": f"{capability} of {service}, called by hand",
        "outputs": [{"name": RESULT, "value": f"$steps.{STEP}.{RESULT}"}],
        "steps": [step],
    }
    # JSON is YAML.
    document = load(json.dumps({"workflow": content}), "kos call")
    assert isinstance(document, WorkflowDocument)
    return document

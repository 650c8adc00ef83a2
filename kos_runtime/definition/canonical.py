"""A definition in its canonical form: one way to write each thing, and YAML that loads to the same plan.

The interface spellings at workflow level become keys and forms of steps: ``dependencies`` go into ``depends_on``,
``conditions`` into ``when``, ``decision_points``, ``loop_body`` and groups of whole steps into steps where they stand.
Groups that name steps by id, and synchronization points, have no other form and stay, as does what the first two say
about them. Comments are not kept.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kos_runtime.definition.assemble import Entry, assemble
from kos_runtime.definition.documents import Document, EngineDocument, TemplatesDocument, WorkflowDocument
from kos_runtime.definition.problems import DefinitionError
from kos_runtime.definition.shapes import Check
from kos_runtime.definition.yaml_writer import write_yaml

_WORKFLOW_KEYS: Final = (
    "id", "version", "description", "inputs", "outputs", "variables", "agents", "authority", "execution_order", "timeout",
    "priority", "rate_limit", "max_concurrency",
    "schedule", "steps", "parallel_groups", "synchronization_points", "dependencies", "conditions", "error_handling",
    "compensation", "monitoring",
)  # fmt: skip
_STEP_KEYS: Final = ("id", "description", "on_demand", "when", "depends_on", "for_each", "agent", "action")
_BODIES: Final = ("steps", "body")
#: Keys that are told in another way.
_TOLD: Final = frozenset(
    {
        "dependencies",
        "conditions",
        "decision_points",
        "loop_body",
        "loop_condition",
        "max_iterations",
        "break_conditions",
    }
)


def format_document(document: Document) -> str:
    """Return the canonical YAML of a checked document.

    Raises:
        DefinitionError: It groups, orders or conditions steps that are not there, so there is no such form.
    """
    match document:
        case WorkflowDocument():
            return write_yaml({"workflow": canonical(document)})
        case TemplatesDocument():
            return write_yaml({"templates": {name: _template(body) for name, body in document.content.items()}})
        case EngineDocument():
            return write_yaml(document.content)


def canonical(document: WorkflowDocument) -> dict[str, Any]:
    """Return a workflow's content in its canonical form.

    Raises:
        DefinitionError: As ``format_document``.
    """
    content = document.content
    to = Check(document.source)
    entries = assemble(content, document.at, to)
    if to.problems:
        raise DefinitionError(to.problems)
    held = _Held(content)
    steps = [step for entry in entries for step in held.steps_of(entry)]
    kept = {key: value for key, value in content.items() if key not in _TOLD}
    made = {
        **kept,
        "steps": [_step(step) for step in steps],
        "parallel_groups": held.groups,
        "dependencies": held.dependencies,
        "conditions": held.conditions,
    }
    return {key: made[key] for key in _WORKFLOW_KEYS if key in made and (made[key] or key in kept)}


class _Held:
    """What has no form of its own among steps, gathered while they are listed."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.groups: list[dict[str, Any]] = []
        self.dependencies: dict[str, Any] = {}
        self.conditions: dict[str, Any] = {}
        self._awaited = {point["id"]: len(point["wait_for"]) for point in content.get("synchronization_points") or ()}

    def steps_of(self, entry: Entry) -> Sequence[dict[str, Any]]:
        """Return the steps to write for an entry: none for a synchronization point, the members of a group by id."""
        step = entry.step
        if "join" in step:
            self._beside(entry, step["depends_on"][self._awaited[entry.id] :])
            return ()
        if "members" not in step:
            return (step,)
        self._beside(entry, step.get("depends_on") or [])
        form = {key: value for key, value in step["parallel_group"].items() if key != "transparent"}
        self.groups.append({"id": entry.id, "steps": [member.id for member in step["members"]], **form})
        return [member.step for member in step["members"]]

    def _beside(self, entry: Entry, depends_on: list[str]) -> None:
        if depends_on:
            self.dependencies[entry.id] = depends_on
        if "when" in entry.step:
            self.conditions[entry.id] = entry.step["when"]


def _template(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: [_step(step) for step in value] if key == "steps" else value for key, value in body.items()}


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step with its keys in their order, and so all steps inside it."""
    made = {key: step[key] for key in _STEP_KEYS if key in step}
    made.update((key, value) for key, value in step.items() if key not in made)
    for form in ("loop", "for_each", "parallel_group"):
        if form in made:
            inner = {"body" if key == "loop_body" else key: value for key, value in made[form].items()}
            made[form] = {
                key: [_step(item) for item in value] if key in _BODIES else value for key, value in inner.items()
            }
    return made

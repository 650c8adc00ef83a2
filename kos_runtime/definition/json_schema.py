"""The language as a JSON Schema, for editors that complete and check while one types.

It is made of the same shapes that files are checked by. What a schema cannot say (references, cycles, names of other
steps) is checked by ``kos validate`` alone.
"""

from typing import Any, Final

from kos_runtime.definition.language import STEP, TEMPLATES, WORKFLOW
from kos_runtime.definition.settings import FILE

DIALECT: Final = "http://json-schema.org/draft-07/schema#"


def json_schema() -> dict[str, Any]:
    """Return the schema of a file: a workflow, a set of templates or an engine's configuration."""
    engine = FILE.schema()["properties"]
    return {
        "$schema": DIALECT,
        "title": "kos: a workflow, templates or an engine's configuration",
        "type": "object",
        "properties": {"workflow": WORKFLOW.schema(), "templates": TEMPLATES.schema(), **engine},
        "additionalProperties": False,
        "oneOf": [
            {"required": ["workflow"], "maxProperties": 1},
            {"required": ["templates"], "maxProperties": 1},
            {
                "anyOf": [{"required": [key]} for key in engine],
                "not": {"anyOf": [{"required": ["workflow"]}, {"required": ["templates"]}]},
            },
        ],
        "definitions": {"step": STEP.schema()},
    }

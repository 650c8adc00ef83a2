"""Whether a value fits a type word of the language, and whether inputs fit what a workflow declares."""

from collections.abc import Mapping
from typing import Any, Final

from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan.model import Inlined, InputSpec, Plan

_WORDS: Final = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
#: Nothing below this depth is looked at by a schema.
_DEPTH: Final = 32


def word_for(value: Any) -> str:
    """Return the language's word for a value's own type."""
    return "null" if value is None else _WORDS.get(type(value), type(value).__name__)


def misfit(value: Any, type: str, values: tuple[str, ...] = ()) -> str | None:  # noqa: A002
    """Return what is wrong with a value of a declared type, or None when it fits. Nothing is coerced."""
    match type:
        case "any" | "datetime" | "duration" if type == "any" or isinstance(value, str):
            return None
        case "string" if isinstance(value, str):
            return None
        case "integer" if isinstance(value, int) and not isinstance(value, bool):
            return None
        case "number" if isinstance(value, int | float) and not isinstance(value, bool):
            return None
        case "boolean" if isinstance(value, bool):
            return None
        case "array" if isinstance(value, list):
            return None
        case "object" if isinstance(value, dict):
            return None
        case "enum":
            if isinstance(value, str) and value in values:
                return None
            near = nearest(value, values) if isinstance(value, str) else None
            hint = f"; did you mean {near!r}?" if near else ""
            return f"expected one of {', '.join(values)}, got {value!r}{hint}"
        case "document":
            if isinstance(value, str) or (
                isinstance(value, dict) and isinstance(value.get("mime"), str) and ("text" in value or "ref" in value)
            ):
                return None
            return f"expected a document (a string, or mime with text or ref), got {word_for(value)}"
        case _:
            pass
    return f"expected {type}, got {word_for(value)}"


def complete_inputs(plan: Plan | Inlined, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the inputs with defaults filled in, and everything that is wrong with them, in words."""
    problems: list[str] = []
    values: dict[str, Any] = {}
    known = {spec.name: spec for spec in plan.inputs}
    for name, value in given.items():
        if name not in known:
            if plan.free_inputs:
                values[name] = value
                continue
            near = nearest(name, tuple(known))
            problems.append(f"unknown input {name!r}" + (f"; did you mean {near!r}?" if near else ""))
    for spec in plan.inputs:
        problem = _one(spec, given, values)
        if problem is not None:
            problems.append(f"input {spec.name!r}: {problem}")
    return values, problems


def _one(spec: InputSpec, given: Mapping[str, Any], values: dict[str, Any]) -> str | None:
    if spec.name not in given or (given[spec.name] is None and not spec.required):
        if spec.has_default:
            values[spec.name] = spec.default
            return None
        if spec.required:
            return "it is required and was not given"
        values[spec.name] = None
        return None
    values[spec.name] = given[spec.name]
    return misfit(given[spec.name], spec.type, spec.values) or _schema_misfit(given[spec.name], spec.schema, 0)


def _schema_misfit(value: Any, schema: Any, depth: int) -> str | None:
    """Check the part of JSON Schema that says type, properties, required, items and enum."""
    if not isinstance(schema, dict) or depth > _DEPTH:
        return None
    kind = schema.get("type")
    if isinstance(kind, str) and kind != "null" and (problem := misfit(value, kind)):
        return problem
    if "enum" in schema and value not in schema["enum"]:
        return f"expected one of {schema['enum']}, got {value!r}"
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            if name not in value:
                return f"{name!r} is missing"
        for name, inner in (schema.get("properties") or {}).items():
            if name in value and (problem := _schema_misfit(value[name], inner, depth + 1)):
                return f"{name}: {problem}"
    if isinstance(value, list):
        for index, item in enumerate(value):
            if problem := _schema_misfit(item, schema.get("items"), depth + 1):
                return f"[{index}]: {problem}"
    return None

"""A definition is changed while a run of it is at work: a step is put in, taken out, or becomes another.

A change begins at the text that the run's plan was compiled from, which the plan carries along with the settings that
went into it, and ends in a whole definition that is read, checked and compiled again like any other.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final

from kos_runtime.core.errors import InvalidDefinition, NotFound
from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan.check import steps_of
from kos_runtime.core.plan.model import Backoff, Inlined, Plan
from kos_runtime.core.plan.plain import from_plain, to_plain
from kos_runtime.definition.canonical import canonical, format_document
from kos_runtime.definition.compile import compile_workflow
from kos_runtime.definition.document import load
from kos_runtime.definition.documents import TemplatesDocument, WorkflowDocument
from kos_runtime.definition.language import STEP
from kos_runtime.definition.problems import DefinitionError, Problem, in_order
from kos_runtime.definition.settings import EngineSettings
from kos_runtime.definition.shapes import Check
from kos_runtime.definition.text import read
from kos_runtime.definition.yaml_writer import write_yaml

#: Settings from which a plan has its defaults.
_SETTINGS: Final = ("timeout_default_ms", "retry_default")
#: Where the bodies of forms are: a form's key, and that of its steps.
_BODIES: Final = (("loop", "body"), ("loop", "loop_body"), ("for_each", "steps"), ("parallel_group", "steps"))
_INSTANCES: Final = re.compile(r"#\d+|\[\d+\]")


@dataclass(frozen=True, slots=True)
class Change:
    """What a person asks for.

    ``step`` is the step that is changed or removed, by its path in the definition; for one that is added the step that
    it comes right after or before (``place``), or whose body it ends up last in (``into``), empty for the end of all.
    ``content`` is the step to add, or what changes of it, as a merge patch (RFC 7386): null takes a key out.
    """

    change: str
    step: str = ""
    place: str = "into"
    content: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Changed:
    """A changed definition: its plan, the path of the step and the keys of it that changed, and warnings."""

    plan: Plan
    document: WorkflowDocument
    step: str
    fields: list[str]
    warnings: list[Problem]


def source_of(
    document: WorkflowDocument, settings: EngineSettings, templates: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what a plan keeps of where it came from: enough to compile it again, wherever and whenever that is."""
    source: dict[str, Any] = {
        "text": format_document(document),
        **{name: getattr(settings, name) for name in _SETTINGS},
        "backoff": to_plain(settings.backoff),
    }
    known = {**document.templates, **(templates or {})}
    if known:
        source["templates"] = write_yaml({"templates": known})
    return source


def used_templates(plan: Plan, templates: Mapping[str, Any]) -> dict[str, Any]:
    """Return the templates that a plan was compiled from, as they were written."""
    found: dict[str, Any] = {}
    for _, step in steps_of(plan.body):
        if isinstance(step.form, Inlined) and step.form.template in templates:
            given = templates[step.form.template]
            content = given.content if isinstance(given, WorkflowDocument) else given
            found[step.form.template] = {key: value for key, value in content.items() if key != "id"}
    return found


def step_content(given: str | Mapping[str, Any], name: str, *, whole: bool = True) -> dict[str, Any]:
    """Return a step, or (unless ``whole``) what changes of one, that a person gives as YAML text or as plain data.

    Raises:
        DefinitionError: It is none; what is wrong of a text is told with its line.
    """
    source = read(given if isinstance(given, str) else write_yaml(dict(given)) if given else "{}", name)
    data = source.data
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, dict) or not data:
        what = "a step" if whole else "what changes of a step"
        raise DefinitionError([source.problem((), "KOS103", f"expected {what}: keys with values")])
    if whole:
        to = Check(source)
        STEP.check(data, (0,) if isinstance(source.data, list) else (), to)
        errors = [problem for problem in to.problems if problem.severity == "error"]
        if errors:
            raise DefinitionError(in_order(errors))
    return data


def changed(plan: Plan, change: Change, settings: EngineSettings, name: str) -> Changed:
    """Return the definition of a plan as it is after a change; ``name`` is what messages call it.

    Raises:
        InvalidDefinition: The plan has no text, or there is no such step.
        DefinitionError: The changed definition means nothing; everything that is wrong with it is told.
    """
    if plan.source is None:
        raise InvalidDefinition(
            f"{name} has only its compiled plan, not the text that it came from, and cannot be changed: "
            "an earlier version created it"
        )
    document = load(plan.source["text"], name)
    assert isinstance(document, WorkflowDocument)
    content = canonical(document)
    path, fields = _apply(content, change, name)
    document = load(write_yaml({"workflow": content}), name)
    assert isinstance(document, WorkflowDocument)
    kept = {key: plan.source[key] for key in _SETTINGS if key in plan.source}
    settings = replace(settings, **kept, backoff=from_plain(plan.source["backoff"], Backoff))
    templates = _templates(plan.source.get("templates"))
    made, warnings = compile_workflow(document, settings=settings, templates=templates)
    made = replace(made, source=source_of(document, settings, templates))
    return Changed(made, document, path, fields, warnings)


def _templates(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    document = load(text, "templates")
    assert isinstance(document, TemplatesDocument)
    return document.content


def _apply(content: dict[str, Any], change: Change, name: str) -> tuple[str, list[str]]:
    """Change a workflow's content in place; return the path of the step, and which of its keys changed."""
    match change.change:
        case "add_step":
            return _add(content, change, name)
        case "remove_step":
            return _remove(content, change.step, name), []
        case "modify_step":
            return _modify(content, change, name)
        case other:
            raise InvalidDefinition(f"no such change: {other!r}; there are add_step, remove_step and modify_step")


def _add(content: dict[str, Any], change: Change, name: str) -> tuple[str, list[str]]:
    step = dict(change.content or {})
    if not change.step:
        content.setdefault("steps", []).append(step)
        return str(step["id"]), sorted(step)
    path, body, index = _find(content, change.step, name)
    if change.place == "into":
        inside = _body_of(body[index])
        if inside is None:
            raise InvalidDefinition(f"step {path!r} of {name} has no steps in it")
        inside.append(step)
        return f"{path}/{step['id']}", sorted(step)
    body.insert(index + (change.place == "after"), step)
    return "/".join([*path.split("/")[:-1], str(step["id"])]), sorted(step)


def _remove(content: dict[str, Any], step: str, name: str) -> str:
    path, body, index = _find(content, step, name)
    id = body[index]["id"]
    for place, handler in enumerate(content.get("error_handling") or ()):
        if handler.get("fallback") == id and "/" not in path:
            raise InvalidDefinition(f"step {path!r} of {name} is the fallback of error_handling[{place}]")
    del body[index]
    for group in content.get("parallel_groups") or ():
        group["steps"] = [member for member in group["steps"] if member != id or "/" in path]
    _forget_selectors(content, body_paths=list(_paths(content.get("steps") or [], "")))
    return path


def _forget_selectors(content: dict[str, Any], body_paths: list[str]) -> None:
    """Take out of ``error_handling`` what selects no step any more. The entries stay: others are known by their place."""
    names = {*body_paths, *(path.rpartition("/")[2] for path in body_paths)}
    groups = [(group["id"], group["steps"]) for group in content.get("parallel_groups") or ()]
    names |= {id for id, _ in groups} | {f"{id}/{member}" for id, members in groups for member in members}
    for handler in content.get("error_handling") or ():
        if handler.get("step"):
            handler["step"] = [
                one for one in handler["step"] if one in names or any(fnmatchcase(name, one) for name in names)
            ]


def _modify(content: dict[str, Any], change: Change, name: str) -> tuple[str, list[str]]:
    path, body, index = _find(content, change.step, name)
    step, patch = body[index], dict(change.content or {})
    if patch.get("id", step["id"]) != step["id"]:
        raise InvalidDefinition(f"step {path!r} of {name} keeps its id; remove it and add another")
    body[index] = made = _merged(step, patch)
    return path, sorted(key for key in {*step, *made} if step.get(key) != made.get(key))


def _merged(value: Any, patch: Any) -> Any:
    """Return a value with a merge patch applied (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    made = dict(value) if isinstance(value, dict) else {}
    for key, item in patch.items():
        if item is None:
            made.pop(key, None)
        else:
            made[key] = _merged(made.get(key), item)
    return made


def _find(content: dict[str, Any], step: str, name: str) -> tuple[str, list[Any], int]:
    """Return where a step is: its path in the definition, the list that it stands in, its place there."""
    wanted = _INSTANCES.sub("", step)
    body: list[Any] = content.get("steps") or []
    parts = wanted.split("/")
    groups = {group["id"] for group in content.get("parallel_groups") or ()}
    if len(parts) > 1 and parts[0] in groups:
        # Members of a group that names them by id stand among the other steps.
        del parts[0]
    for depth, id in enumerate(parts):
        index = next((i for i, item in enumerate(body) if isinstance(item, dict) and item.get("id") == id), None)
        inside = None if index is None else _body_of(body[index])
        if index is not None and depth == len(parts) - 1:
            return "/".join(parts), body, index
        if inside is None:
            break
        body = inside
    if wanted in groups:
        raise InvalidDefinition(f"{wanted!r} of {name} is a group of steps that stand beside it; change those")
    known = list(_paths(content.get("steps") or [], ""))
    near = nearest(wanted, known)
    hint = f"did you mean {near!r}?" if near else f"there are {', '.join(known[:12])}"
    raise NotFound(f"no step {step!r} in {name}; {hint}")


def _body_of(step: dict[str, Any]) -> list[Any] | None:
    for form, key in _BODIES:
        if isinstance(step.get(form), dict) and isinstance(step[form].get(key), list):
            found: list[Any] = step[form][key]
            return found
    return None


def _paths(steps: list[Any], prefix: str) -> Any:
    for step in steps:
        if isinstance(step, dict):
            yield f"{prefix}{step.get('id')}"
            yield from _paths(_body_of(step) or [], f"{prefix}{step.get('id')}/")

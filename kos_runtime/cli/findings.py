"""Everything that is wrong with a file, as far as this machine can tell, each at the key that it is about.

A definition is checked by itself; then against what is here: agents, their actions, drivers, forms that run. What the
second check finds it tells by step, and the place in the file is looked up.
"""

import re
from typing import Any, Final

from kos_runtime.cli.common import Options

Path = tuple[Any, ...]

#: What a message says of its step, and the keys below the step at which that stands; {} is the quoted name.
_ABOUT: Final = (
    (re.compile(r"no agent '([^']*)'"), (("agent",), ("for_each", "agent"))),
    (re.compile(r"the agent (\S+) (?:in|cannot|was)"), (("agent",), ("for_each", "agent"))),
    (re.compile(r"has no action '([^']*)'"), (("action",), ("for_each", "action"))),
    (re.compile(r"has no input '([^']*)'"), (("inputs", "{}"),)),
    (re.compile(r"the input '([^']*)' of"), (("inputs", "{}"),)),
    (re.compile(r"needs the input '([^']*)'"), (("inputs",), ("action",))),
)
_MACHINE: Final = re.compile(r"\w+_backend: ")
_RULE: Final = re.compile(r"error_handling\[(\d+)\]")
_STRANGER: Final = re.compile(r"authority: no agent '([^']+)'")
_GRANT: Final = re.compile(r"authority: grant '([^']+)'")
_FEATURE: Final = re.compile(r"(?P<key>[\w$]+)(?P<rest>[^(]*) \(at (?P<where>[^)]*)\)")


def problems_of(name: str, options: Options, *, imports: bool = True) -> list[Any]:
    """Return every problem of a file, each once, by place.

    Args:
        name: The file, or ``FILE#TEMPLATE``.
        options: Where the settings are.
        imports: Whether modules that the file names may be imported.

    Raises:
        NotFound: The file cannot be read.
    """
    from kos_runtime.client.engine import read_file
    from kos_runtime.composition.catalogue import catalogue_of
    from kos_runtime.composition.discovery import registry_of
    from kos_runtime.composition.families import Family
    from kos_runtime.composition.linking import problems
    from kos_runtime.core.errors import InvalidDefinition
    from kos_runtime.definition import DefinitionError, TemplatesDocument, WorkflowDocument, compile_workflow, load
    from kos_runtime.definition.problems import in_order

    path, _, template = name.partition("#")
    found: list[Any] = []
    try:
        document = load(read_file(path), path)
        found += document.warnings
        settings = options.settings()
        workflows = []
        if isinstance(document, WorkflowDocument):
            if template:
                raise InvalidDefinition(f"{path} holds a workflow, not templates; leave out #{template}")
            workflows = [document]
        elif isinstance(document, TemplatesDocument):
            workflows = [document.workflow(template)] if template else [document.workflow(n) for n in document.content]
        for workflow in workflows:
            catalogue = catalogue_of(workflow, options.catalogue_folder)
            plan, warnings = compile_workflow(workflow, settings=settings, templates=catalogue)
            found += warnings
            family = Family(catalogue, settings, "", imports=imports)
            errors, absent = problems(plan, registry_of(workflow, imports=imports), settings, family=family)
            found += [_placed(workflow, text, "error") for text in errors]
            found += [_placed(workflow, text, "warning") for text in absent]
    except DefinitionError as error:
        found += error.problems
    return in_order({_identity(problem): problem for problem in found}.values())


def _identity(problem: Any) -> tuple[str, int, str]:
    """Two checks may find the same; what is said of one line in the same words is one problem.

    What is said of the whole machine is one problem for all templates of a file.
    """
    return problem.file, 0 if _MACHINE.match(problem.message) else problem.line, problem.message


def _placed(workflow: Any, text: str, severity: str) -> Any:
    """Put a problem of linking where what it is about stands in the file."""
    code = "KOS301" if severity == "error" else "KOS302"
    return workflow.source.problem(place(workflow.source.data, workflow.at, text), code, text, severity=severity)


def place(data: Any, at: Path, text: str) -> Path:
    """Return the path in a file that a problem of linking is about.

    Args:
        data: The file's data.
        at: Where its workflow begins.
        text: The problem, as linking tells it.
    """
    feature = _FEATURE.match(text)
    if text.startswith("step "):
        step = _step(data, at, text[5:].partition(":")[0])
        return _below(data, step, text)
    granted = _GRANT.match(text)
    if text.startswith("authority: "):
        stranger = _STRANGER.match(text)
        if stranger is not None and (found := _named(_get(data, at), stranger[1])) is not None:
            return (*at, *found)
        keys = ("authority", "grants", granted[1]) if granted else ("authority",)
        return _first(data, at, [keys, ("authority",)])
    rule = _RULE.search(text)
    if rule is not None:
        path = (*at, "error_handling", int(rule[1]))
        keys = ("escalation_agent",) if "agent" in text else ("on_failure",)
        return _first(data, path, [keys]) if _get(data, path) is not None else at
    if feature is not None:
        where = feature["where"].removeprefix("workflow").lstrip(".")
        direct = (*at, *where.split(".")) if where else at
        step = direct if _get(data, direct) is not None else _step(data, at, feature["where"])
        return _first(data, step, [(feature["key"],)])
    return at


def _step(data: Any, at: Path, where: str) -> Path:
    path = at
    for id in where.split("/"):
        path = _find(data, path, id) or path
    return path


def _below(data: Any, step: Path, text: str) -> Path:
    for pattern, choices in _ABOUT:
        found = pattern.search(text)
        if found is not None:
            return _first(data, step, [tuple(key.format(found[1]) for key in keys) for keys in choices])
    return step


def _first(data: Any, path: Path, choices: list[tuple[str, ...]]) -> Path:
    """Return the first of the keys below a path that is there, else the path itself."""
    return next(((*path, *keys) for keys in choices if _get(data, (*path, *keys)) is not None), path)


def _named(value: Any, name: str, path: Path = ()) -> Path | None:
    """Return where an agent is named first in what a workflow says of authority."""
    if value == name and ("authority" in path or "levels" in path):
        return path
    if isinstance(value, dict):
        if name in value and path[-1:] == ("hierarchy",):
            return (*path, name)
        pairs: Any = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    else:
        return None
    return next((found for key, inner in pairs if (found := _named(inner, name, (*path, key))) is not None), None)


def _get(data: Any, path: Path) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _find(data: Any, path: Path, id: str) -> Path | None:
    """Return where the step with an id stands below a path: the one that lies least deep."""
    stack = [(path, _get(data, path))]
    while stack:
        here, value = stack.pop(0)
        if isinstance(value, dict):
            if value.get("id") == id and here != path:
                return here
            stack += [((*here, key), item) for key, item in value.items()]
        elif isinstance(value, list):
            stack += [((*here, index), item) for index, item in enumerate(value)]
    return None

"""``kos validate``, ``format`` and ``schema``: definitions, without a store and without Ray."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from kos_runtime.cli.common import Common
from kos_runtime.cli.outcome import OK


def validate(
    *files: str,
    strict: Annotated[bool, Parameter(negative="")] = False,
    output: Annotated[Literal["text", "json", "github", "sarif"], Parameter(name=["--output", "-o"])] = "text",
    config: str | None = None,
) -> int:
    """Check workflows, templates and engine configurations: every error of every file at once.

    Args:
        files: The files; - is standard input.
        strict: What is only not here, or does not run yet, is an error too.
        output: How problems are printed; github where GITHUB_ACTIONS is set.
        config: The engine configuration whose defaults apply.
    """
    from kos_runtime.cli.outcome import USAGE, Exit
    from kos_runtime.definition import render, render_github, render_sarif

    if not files:
        raise Exit(USAGE, "error: name at least one file: kos validate FILE…")
    if output == "text" and os.environ.get("GITHUB_ACTIONS") == "true":
        output = "github"
    found: list[Any] = []
    for name in files:
        found += problems_of(name, config)
    errors = [problem for problem in found if problem.severity == "error" or strict]
    match output:
        case "json":
            print(json.dumps([problem.as_dict() for problem in found], indent=2, ensure_ascii=False))
        case "sarif":
            print(json.dumps(render_sarif(found), indent=2, ensure_ascii=False))
        case "github":
            for problem in found:
                print(render_github(problem))
        case _:
            for problem in found:
                print(render(problem), file=sys.stderr)
            if not errors:
                warned = f", {len(found)} warnings" if found else ""
                print(f"✔ {len(files)} {'file' if len(files) == 1 else 'files'} checked, no errors{warned}")
    return 3 if errors else OK


def problems_of(name: str, config: str | None) -> list[Any]:
    """Return every problem of a file, as far as this machine can tell."""
    from kos_runtime.client.engine import read_file
    from kos_runtime.composition.discovery import Registry
    from kos_runtime.composition.linking import problems
    from kos_runtime.composition.location import load_settings
    from kos_runtime.definition import DefinitionError, TemplatesDocument, WorkflowDocument, compile_workflow, load

    path, _, template = name.partition("#")
    found: list[Any] = []
    try:
        document = load(read_file(path), path)
        found += document.warnings
        settings = load_settings(config)
        workflows = []
        if isinstance(document, WorkflowDocument):
            workflows = [document]
        elif isinstance(document, TemplatesDocument):
            workflows = [document.workflow(template)] if template else [document.workflow(n) for n in document.content]
        for workflow in workflows:
            plan, warnings = compile_workflow(workflow, settings=settings)
            found += warnings
            errors, absent = problems(plan, Registry(), settings)
            found += [_placed(workflow, text, "error") for text in errors]
            found += [_placed(workflow, text, "warning") for text in absent]
    except DefinitionError as error:
        found += error.problems
    return list(dict.fromkeys(found))


def _placed(workflow: Any, text: str, severity: str) -> Any:
    """Put a problem of linking where its step stands in the file."""
    where = ""
    if text.startswith("step "):
        where = text[5:].partition(":")[0]
    elif "(at " in text:
        where = text.partition("(at ")[2].partition(")")[0]
    path = workflow.at
    for id in where.split("/") if where else ():
        path = _find(workflow.source.data, path, id) or path
    return workflow.source.problem(path, "KOS301" if severity == "error" else "KOS302", text, severity=severity)


def _find(data: Any, path: tuple[Any, ...], id: str) -> tuple[Any, ...] | None:
    at = data
    for part in path:
        at = at[part]
    stack = [(path, at)]
    while stack:
        here, value = stack.pop(0)
        if isinstance(value, dict):
            if value.get("id") == id and here != path:
                return here
            stack += [((*here, key), item) for key, item in value.items()]
        elif isinstance(value, list):
            stack += [((*here, index), item) for index, item in enumerate(value)]
    return None


def format_file(*files: str, common: Common | None = None) -> int:
    """Print definitions in their canonical form.

    Args:
        files: The files; - is standard input.
    """
    from kos_runtime.client.engine import read_file
    from kos_runtime.definition import load
    from kos_runtime.definition.canonical import format_document

    del common
    for name in files or ("-",):
        print(format_document(load(read_file(name), name)), end="")
    return OK


def schema(*, file: Annotated[str | None, Parameter(name=["--file", "-o"])] = None) -> int:
    """Print the JSON Schema of the language, for editors.

    Args:
        file: Write it to this file instead.
    """
    from kos_runtime.definition.json_schema import json_schema

    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    if file is None:
        print(text, end="")
    else:
        Path(file).write_text(text, encoding="utf-8")
    return OK

"""``kos validate``, ``format`` and ``schema``: definitions, without a store and without Ray."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from kos_runtime.cli.common import GLOBAL, Options, Typed, flag
from kos_runtime.cli.outcome import OK, USAGE, Exit
from kos_runtime.core.errors import NotFound

Findings = Literal["text", "json", "github", "sarif", "jsonl", "yaml", "name", "table", "wide"]


@Parameter(name="*")
@dataclass(kw_only=True)
class Check(Options):
    """Problems have forms of their own."""

    output: Annotated[Findings, Parameter(name=["--output", "-o"], group=GLOBAL)] = "text"
    "How problems are printed; github where GITHUB_ACTIONS is set; name prints the files that have errors."

    @property
    def form(self) -> str:
        return self.output


def validate(
    *files: Annotated[str, Typed],
    strict: Annotated[bool, Parameter(negative="")] = False,
    no_import: Annotated[bool, flag("--no-import")] = False,
    common: Check | None = None,
) -> int:
    """Check workflows, templates and engine configurations: every error of every file at once.

    Args:
        files: The files; FILE#TEMPLATE checks one template alone; - is standard input.
        strict: What is only not here, or does not run yet, is an error too.
        no_import: Import no module that a file names, for files from strangers; what its actions take is not checked then.
    """
    from kos_runtime.cli.findings import problems_of
    from kos_runtime.definition import render, render_github, render_sarif

    common = common or Check()
    if not files:
        raise Exit(USAGE, "error: no file to check\n  write for example: kos validate FILE…")
    form = common.output
    if form in {"text", "table"} and os.environ.get("GITHUB_ACTIONS") == "true":
        form = "github"
    found: list[Any] = []
    unread: list[NotFound] = []
    for name in dict.fromkeys(files):
        try:
            found += problems_of(name, common, imports=not no_import)
        except NotFound as error:
            unread.append(error)
    errors = [problem for problem in found if problem.severity == "error" or strict]
    match form:
        case "sarif":
            print(json.dumps(render_sarif(found), indent=2, ensure_ascii=False))
        case "github":
            for problem in found:
                print(render_github(problem))
        case "json" | "jsonl" | "yaml":
            common.emit([problem.as_dict() for problem in found], {})
        case "name":
            print("".join(f"{name}\n" for name in dict.fromkeys(problem.file for problem in errors)), end="")
        case _:
            for problem in found:
                print(render(problem), file=sys.stderr)
    for missing in unread:
        if form == "github":
            print(f"::error::{str(missing).replace('%', '%25')}")
        print(f"error: {missing}", file=sys.stderr)
    _sum_up(common, len(files) - len(unread), len(errors), len(found) - len(errors))
    return 3 if errors else unread[0].exit_code if unread else OK


def _sum_up(common: Check, files: int, errors: int, warnings: int) -> None:
    def count(number: int, what: str) -> str:
        return f"{number} {what}{'' if number == 1 else 's'}"

    if common.is_data or common.form in {"sarif", "github"} or not files:
        return
    warned = f", {count(warnings, 'warning')}" if warnings else ""
    if errors:
        common.say(f"✘ {count(files, 'file')} checked, {count(errors, 'error')}{warned}")
    elif not common.quiet:
        print(f"✔ {count(files, 'file')} checked, no errors{warned}")


@Parameter(name="*")
@dataclass(kw_only=True)
class Form(Options):
    """A definition is YAML, or the same as JSON."""

    output: Annotated[
        Literal["yaml", "json", "jsonl", "table", "wide", "name"], Parameter(name=["--output", "-o"], group=GLOBAL)
    ] = "yaml"
    "yaml (also table and wide), json, jsonl (a file a line), or name: the files that are not in their canonical form."

    @property
    def form(self) -> str:
        return self.output


def format_file(*files: Annotated[str, Typed], common: Form | None = None) -> int:
    """Print definitions in their canonical form. Nothing is written, and comments are not kept.

    Args:
        files: The files; - is standard input.
    """
    from kos_runtime.client.engine import read_file
    from kos_runtime.definition import load
    from kos_runtime.definition.canonical import format_document
    from kos_runtime.definition.text import read

    common = common or Form()
    if not files and sys.stdin.isatty():
        raise Exit(USAGE, "error: no file to format\n  write for example: kos format FILE, or: … | kos format -")
    for index, name in enumerate(files or ("-",)):
        text = read_file(name)
        canonical = format_document(load(text, name))
        match common.output:
            case "name":
                if canonical.encode() != text:
                    print(name)
            case "json":
                print(json.dumps(read(canonical.encode(), name).data, indent=2, ensure_ascii=False))
            case "jsonl":
                print(json.dumps(read(canonical.encode(), name).data, ensure_ascii=False))
            case _:
                print(("---\n" if index else "") + canonical, end="")
    return OK


def schema(
    *, file: Annotated[str | None, Parameter(name=["--file", "-o"])] = None, common: Options | None = None
) -> int:
    """Print the JSON Schema of the language, for editors.

    Args:
        file: Write it to this file instead.
    """
    from kos_runtime.definition.json_schema import json_schema

    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    if file in {None, "-"}:
        print(text, end="")
        return OK
    path = Path(str(file))
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NotFound(f"{path} cannot be written: {error.strerror}; name a file in a folder that exists") from error
    (common or Options()).say(f"written to {path}")
    return OK

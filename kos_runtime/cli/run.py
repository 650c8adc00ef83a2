"""``kos run``: start a workflow, follow it, print what came of it."""

import json
import os
import sys
from typing import Annotated, Any, Final

from cyclopts import Parameter

from kos_runtime.cli import github
from kos_runtime.cli.common import Common, Typed, flag
from kos_runtime.cli.describe import failure
from kos_runtime.cli.follow import follow
from kos_runtime.cli.labels import labelled
from kos_runtime.cli.outcome import DETACHED, OK, USAGE, WAITS, Exit

#: A column of short objects is filled up to so many characters.
_COLUMN: Final = 40


def run(
    file: Annotated[str, Typed],
    /,
    *,
    p: Annotated[list[str] | None, Parameter(name=["--param", "-p"], consume_multiple=False, negative="")] = None,
    inputs_file: Annotated[str | None, Parameter(name=["--inputs", "-f"])] = None,
    name: str = "",
    key: str = "",
    label: Annotated[list[str] | None, Parameter(name=["--label", "-l"], consume_multiple=False, negative="")] = None,
    detach: Annotated[bool, flag("--detach", "-d")] = False,
    common: Common | None = None,
) -> int:
    """Start a workflow, with its store's owner where none is up, and follow it.

    Args:
        file: A definition, FILE#TEMPLATE for a template, or - for standard input.
        p: An input, NAME=VALUE; the value is read as JSON where it is some, else as text.
        inputs_file: A YAML or JSON file of inputs; - for standard input.
        name: A name of your own for the run.
        key: Starting again with the same key returns the same run.
        label: A word by which the run is found, NAME=VALUE: kos ls -l NAME=VALUE.
        detach: Print the run's id and leave.
    """
    from kos_runtime.client.engine import read_definition

    common = common or Common()
    if file.partition("#")[0] == inputs_file == "-":
        raise Exit(USAGE, "error: only one of FILE and --inputs can come from standard input\n  see: kos run --help")
    labels = labelled(label)
    document = read_definition(file)
    engine = common.engine()
    try:
        inputs = _inputs(p or [], inputs_file, document)
        _check(engine, document, inputs, file)
        if engine.settings.agents.get("kExecutor", {}).get("corpus") is None and _searches(document.content):
            common.say(
                "corpus: python:ray, the documentation inside the installed package (set another: KOS_CORPUS=PATH or --set agents.kExecutor.corpus=PATH)"
            )
        try:
            handle = engine.create_workflow(document, inputs, name=name, key=key, start=True, search_attributes=labels)
        except KeyboardInterrupt:
            common.say("\nLeft before it was known whether a run began. See: kos ls   End its owner: kos down")
            return DETACHED
        return _after(common, engine, handle, detach=detach)
    finally:
        engine.close()


def _after(common: Common, engine: Any, handle: Any, *, detach: bool) -> int:
    """Follow what was started, ask for what it waits for, and tell what came of it."""
    if handle.existing:
        common.say(f"run {handle.id} exists already under this key")
    if detach:
        if common.is_data:
            common.emit([{"run": handle.id, "status": engine.get_workflow_status(handle.id)}], {}, one=True)
        else:
            print(handle.id, flush=True)
            if not handle.existing:
                common.say(f"seq 1 RunCreated by {engine.author}; follow it: kos watch {handle.id}")
        return OK
    code = follow(common, engine.reading, [handle.id])
    while code == WAITS and common.asks():
        if not _ask(engine, handle.id):
            break
        code = follow(common, engine.reading, [handle.id])
    return code if code == DETACHED else report(common, engine.reading, handle.id, code)


def _check(engine: Any, document: Any, inputs: dict[str, Any], file: str) -> None:
    """Refuse what cannot run here before anything is started for it.

    Raises:
        InvalidDefinition: The inputs, or what is not here; everything that is wrong is in it.
    """
    from kos_runtime.client.engine import compiled
    from kos_runtime.composition.discovery import registry_of
    from kos_runtime.composition.families import Family
    from kos_runtime.composition.linking import problems
    from kos_runtime.core.errors import InvalidDefinition
    from kos_runtime.core.plan.types import complete_inputs

    settings, catalogue = engine.settings, engine.catalogue(document)
    plan, _ = compiled(document, settings, catalogue)
    _, wrong = complete_inputs(plan, inputs)
    if wrong:
        listed = "\n".join(f"  - {text}" for text in wrong)
        shown = " ".join(f"-p {spec.name}=…" for spec in plan.inputs if spec.required)
        raise InvalidDefinition(
            f"workflow {plan.workflow!r} cannot start:\n{listed}\n  write for example: kos run {file} {shown}".rstrip()
        )
    errors, absent = problems(plan, registry_of(document), settings, family=Family(catalogue, settings, ""))
    if errors or absent:
        listed = "\n".join(f"  - {text}" for text in (*errors, *absent))
        raise InvalidDefinition(
            f"workflow {plan.workflow!r} cannot run here:\n{listed}\n  see: kos validate {file}   kos doctor"
        )


def _searches(content: dict[str, Any]) -> bool:
    text = json.dumps(content, default=str)
    return any(
        f'"{name}"' in text for name in ("kExecutor", "kPlanner", "planner", "executor", "kReviewer", "reviewer")
    )


def _inputs(pairs: list[str], file: str | None, document: Any) -> dict[str, Any]:
    types = {spec.get("name"): spec.get("type", "any") for spec in document.content.get("inputs") or []}
    return named_values(pairs, file, types, "kos run")


def named_values(pairs: list[str], file: str | None, types: dict[str, str], command: str) -> dict[str, Any]:
    """Return inputs of a file with those of the command line over them; texts by type are taken as they stand."""
    from kos_runtime.client.engine import read_file
    from kos_runtime.core.errors import InvalidDefinition
    from kos_runtime.definition.text import read

    values: dict[str, Any] = {}
    if file is not None:
        data = read(read_file(file), file).data
        if not isinstance(data, dict):
            raise InvalidDefinition(f"{file} holds no inputs: it must be names with values")
        values.update(data)
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise Exit(USAGE, f"error: -p {pair}: write -p NAME=VALUE\n  see: {command} --help")
        values[name] = (
            text if types.get(name) in {"string", "enum", "document", "datetime", "duration"} else value_of(text)
        )
    return values


def value_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def report(common: Common, reading: Any, run: str, code: int) -> int:
    """Print a run's outputs, or why there are none."""
    row = reading.log.run(run)
    view = reading.view(run)
    status = reading.standing(row)
    outputs = reading.outputs(view) if row.status == "completed" else None
    if common.is_data:
        common.emit([{"run": run, "status": status, "outputs": outputs, "error": view.error}], {}, one=True)
    else:
        for name, value in (outputs or {}).items():
            print(f"{name}:")
            print(shown(value), flush=True)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        github.summarize(reading, run)
        if status in {"failed", "quarantined"}:
            github.annotate(run, status, view.error)
    if status == "completed":
        common.say(f"\n✔ run {run} completed   events: kos events {run}   proof: kos verify {run}")
    elif status == "waiting":
        from kos_runtime.cli.reading import waits

        for text in waits(reading, run, view):
            common.say(text)
    elif status == "cancelled":
        common.say(f"⊘ run {run} was {(view.error or {}).get('message', status)}")
        common.say(f"  why: kos events {run}   state: kos get {run}")
    elif status in {"failed", "quarantined"}:
        common.say(f"✘ run {run} {status}: {failure(view.error or {})}")
        common.say(f"  why: kos events {run}   state: kos get {run}")
    return code


def shown(value: Any, indent: str = "  ") -> str:
    """Write a value for reading."""
    if isinstance(value, dict) and isinstance(value.get("text"), str) and "mime" in value:
        value = value["text"]
    if isinstance(value, str):
        return "\n".join(indent + line for line in value.splitlines())
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        listed = [f"{indent}- {item}" for item in value[:50]]
        return "\n".join([*listed, f"{indent}… {len(value) - 50} more"] if len(value) > 50 else listed)
    if isinstance(value, list) and value and all(_is_flat(item) for item in value):
        listed = [f"{indent}- {line}" for line in _flat(value[:50])]
        return "\n".join([*listed, f"{indent}… {len(value) - 50} more"] if len(value) > 50 else listed)
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    rows = text.splitlines()
    if len(rows) > 60:
        rows = [*rows[:60], f"… ({len(text)} characters; the whole: -o json)"]
    return "\n".join(indent + line for line in rows)


def _flat(items: list[dict[str, Any]]) -> list[str]:
    """Write each of some short objects on a line, without what its first value says already; like ones in columns."""
    lines = []
    for item in items:
        first, *rest = (str(part) for part in item.values())
        lines.append([first, *(part for part in rest if part not in first)])
    if len({len(line) for line in lines}) == 1:
        for column in range(len(lines[0]) - 1):
            width = max(len(line[column]) for line in lines)
            if width <= _COLUMN:
                for line in lines:
                    line[column] = line[column].ljust(width)
    return ["  ".join(line) for line in lines]


def _is_flat(item: Any) -> bool:
    """Whether an object is short enough for a line: at most a handful of plain values."""
    return (
        isinstance(item, dict) and 0 < len(item) <= 6 and all(isinstance(v, str | int | float) for v in item.values())
    )


def _ask(engine: Any, run: str) -> bool:
    """Ask the person at the terminal for what the run waits for; say whether an answer was given.

    An answer that does not fit is asked for again; Ctrl-C and Ctrl-D leave the run waiting.
    """
    from kos_runtime.client.families import asks
    from kos_runtime.core.errors import InvalidDefinition

    for of, step in asks(engine.reading, run):
        asked = step.manual
        if asked is None:
            continue
        if asked.get("kind") == "approval":
            return _ask_approval(engine, of, step)
        print(asked["prompt"], file=sys.stderr)
        while True:
            data = {}
            for name, kind, required in asked["fields"]:
                try:
                    text = input(f"  {name} ({kind}{'' if required else ', may be empty'}): ")
                except (EOFError, KeyboardInterrupt):
                    return False
                if text or required:
                    data[name] = text if kind in {"string", "document"} else value_of(text)
            try:
                engine.answer(of, step.path, data)
            except InvalidDefinition as error:
                print(f"error: {error}", file=sys.stderr)
            else:
                return True
    return False


def _ask_approval(engine: Any, run: str, step: Any) -> bool:
    """Ask the person at the terminal for a decision; say whether it was taken."""
    from kos_runtime.core.errors import KosError

    print(step.manual["prompt"], file=sys.stderr)
    try:
        word = input("  approve? (yes, no, nothing to leave it): ").strip().casefold()
        if word not in {"y", "yes", "n", "no"}:
            return False
        approved = word.startswith("y")
        data = {}
        for name, kind, required in step.manual["fields"] if approved else ():
            text = input(f"  {name} ({kind}{'' if required else ', may be empty'}): ")
            if text or required:
                data[name] = text if kind in {"string", "document", "enum"} else value_of(text)
    except (EOFError, KeyboardInterrupt):
        return False
    try:
        (engine.approve if approved else engine.reject)(run, step.path, form=data)
    except KosError as error:
        print(f"error: {error}", file=sys.stderr)
        return False
    return True

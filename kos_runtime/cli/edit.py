"""``kos edit`` and ``step``: a running workflow is changed, and a step of it started by hand."""

import sys
from pathlib import Path
from re import sub
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter

from kos_runtime.cli.common import Common, Named, Typed
from kos_runtime.cli.outcome import OK, USAGE, Exit
from kos_runtime.cli.visible import visible

CHANGES: Final = ("add-step", "remove-step", "modify-step")


def edit(
    run: Annotated[str, Named],
    change: Annotated[str, Typed],
    step: Annotated[str, Typed],
    changes: Annotated[str, Typed] = "",
    /,
    *,
    after: str = "",
    before: str = "",
    into: str = "",
    apply: Literal["next-attempt"] | None = None,
    revision: int | None = None,
    reason: str = "",
    common: Common | None = None,
) -> int:
    """Change a running workflow: what has not started. It works also while nobody owns the store.

    Args:
        run: A run id, unique prefix, name or @latest.
        change: add-step, remove-step or modify-step.
        step: A step as `kos graph` shows it, such as refine/critic; the one to add as YAML text, a file, or - for standard input.
        changes: Keys of the step with their new values, as YAML text, a file or -; null takes a key out.
        after: The new step comes right after this one; last of all unless a place is named.
        before: The new step comes right before this one.
        into: The new step comes last inside this one.
        apply: next-attempt also changes a step that has begun, from its next attempt on.
        revision: Refuse if the run is at another revision.
        reason: Why; it is kept in the log.
    """
    common = common or Common()
    what = _change(change)
    if (what == "modify-step") is not bool(changes):
        usage = "kos edit RUN modify-step STEP CHANGES" if what == "modify-step" else f"kos edit RUN {what} STEP"
        raise Exit(USAGE, f"error: write: {usage}\n  see: kos edit --help")
    engine = common.engine()
    try:
        row = common.rows(engine.reading, [run])[0]
        more: dict[str, Any] = {"reason": reason, "expected_revision": revision}
        match what:
            case "add-step":
                said = engine.add_step(row.run, _text(step), after=after, before=before, into=into, **more)
            case "remove-step":
                said = engine.remove_step(row.run, step, **more)
            case _:
                said = engine.modify_step(row.run, step, _text(changes), apply="next_attempt" if apply else "", **more)
        return _print(common, engine, row.run, said, reason)
    finally:
        engine.close()


def step(
    run: Annotated[str, Named],
    step: Annotated[str, Named],
    /,
    *,
    p: Annotated[list[str] | None, Parameter(name=["--param", "-p"], consume_multiple=False, negative="")] = None,
    inputs_file: Annotated[str | None, Parameter(name=["--inputs", "-f"])] = None,
    reason: str = "",
    common: Common | None = None,
) -> int:
    """Start a step that is ready or runs on demand, with its own inputs or with these.

    Args:
        run: A run id, unique prefix, name or @latest.
        step: A step as `kos get` shows it, such as gather or refine#2/critic.
        p: An input of the step, NAME=VALUE; the value is read as JSON where it is some, else as text.
        inputs_file: A YAML or JSON file of inputs; - for standard input.
        reason: Why; it is kept in the log.
    """
    common = common or Common()
    engine = common.engine()
    try:
        row = common.rows(engine.reading, [run])[0]
        inputs = _inputs(engine.reading, row.run, step, p, inputs_file) if p or inputs_file else None
        return _print(common, engine, row.run, engine.execute_step(row.run, step, inputs, reason=reason), reason)
    finally:
        engine.close()


def _change(word: str) -> str:
    """Return the change that a word means; ``add`` and ``add_step`` mean ``add-step``."""
    from kos_runtime.core.nearest import nearest

    typed = word.replace("_", "-").casefold()
    for change in CHANGES:
        if typed in {change, change.removesuffix("-step")}:
            return change
    near = nearest(typed, CHANGES)
    hint = f"did you mean {near}?" if near else f"there are {', '.join(CHANGES)}"
    raise Exit(USAGE, f"error: no change {word!r}; {hint}\n  see: kos edit --help")


def _text(given: str) -> str:
    """Return YAML text that is given as it is, as a file, or on standard input."""
    from kos_runtime.client.engine import read_file

    if given == "-":
        return sys.stdin.read(4 << 20)
    is_path = "\n" not in given and ":" not in given and Path(given).suffix in {".yaml", ".yml", ".json"}
    return read_file(given).decode(errors="replace") if is_path else given


def _inputs(reading: Any, run: str, step: str, pairs: list[str] | None, file: str | None) -> dict[str, Any]:
    """Return a step's inputs as typed; a value for a text is taken as it stands."""
    from kos_runtime.cli.run import named_values
    from kos_runtime.core.plan.check import steps_of

    types: dict[str, str] = {}
    try:
        view = reading.view(run)
        form: Any = dict(steps_of(reading.plan(view.plan).body))[sub(r"#\d+|\[\d+\]", "", step)].form
        action = reading.link(view.link).agents[form.agent].actions[form.action]
        types = {parameter.name: parameter.type for parameter in action.parameters}
    except (KeyError, ValueError, AttributeError):
        pass  # the engine says what is wrong with the step
    return named_values(pairs or [], file, types, "kos step")


def _print(common: Common, engine: Any, run: str, said: dict[str, Any], reason: str) -> int:
    line = {"run": run, "seq": said.get("position"), "type": said.get("event"), "by": engine.author}
    if common.is_data:
        common.emit([line], {}, one=True)
    elif not line["type"]:
        print("nothing to do: it is so already")
    else:
        print(visible(f"seq {line['seq']} {line['type']} by {line['by']}" + (f': "{reason}"' if reason else "")))
    status = engine.get_workflow_status(run)
    if status in {"interrupted", "paused"}:
        common.say(f"go on with: kos resume {run}")
    return OK

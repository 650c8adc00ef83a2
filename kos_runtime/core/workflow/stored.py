"""Which blobs a value is made of, so that they are asked for at once and are not too many."""

from collections.abc import Iterable, Iterator

from kos_runtime.core.expression import EvaluationError, NeedsData
from kos_runtime.core.plan.model import ForEach, Group, Loop
from kos_runtime.core.workflow import cache
from kos_runtime.core.workflow.state import Fan, Run, Scope, StepState
from kos_runtime.core.workflow.status import StepStatus

Path = tuple[str | int, ...]
#: The digest and the size of a blob.
Stored = tuple[str, int]


def want(run: Run, what: str, stored: Iterable[Stored]) -> None:
    """Have everything there that a value is made of.

    Raises:
        EvaluationError: It is more than may be loaded; ``what`` says of what.
        NeedsData: Some of it is not loaded yet; all that is missing is asked for.
    """
    sizes = dict(stored)
    if not sizes:
        return
    if sum(sizes.values()) > cache.MAX_GATHERED:
        raise EvaluationError(f"oversize: {what} is more than {cache.MAX_GATHERED} bytes")
    missing = {digest: size for digest, size in sizes.items() if digest not in run.cache}
    if missing:
        run.wanted.update(missing)
        raise NeedsData(next(iter(missing)))


def of_step(run: Run, step: StepState, path: Path) -> Iterator[Stored]:
    """Return the blobs of what a step exposes, at a path below it; of all for an empty path."""
    form = step.node.form
    if isinstance(form, Loop):
        for turn in _turns(step, path):
            inner = run.scopes[f"{step.path}#{turn}"]
            yield from of_scope(run, inner, path[1:] if path[:1] == ("last",) else path[2:])
    elif step.status is not StepStatus.COMPLETED:
        return
    elif step.fan is not None:
        yield from _of_fan(run, step, step.fan, path)
    elif isinstance(form, Group):
        yield from of_scope(run, run.scopes[step.path], path)
    else:
        yield from _named(step.blobs, str(path[0]) if path else None)


def of_scope(run: Run, scope: Scope, path: Path) -> Iterator[Stored]:
    """Return the blobs of what the steps of a body expose: of one step for a path, of all for none."""
    for id in (str(path[0]),) if path else scope.body.nodes:
        step = run.steps.get(scope.step_path(id))
        if step is not None:
            yield from of_step(run, step, path[1:])


def _turns(step: StepState, path: Path) -> Iterable[int]:
    turns = step.turn + 1
    match path[:2]:
        case ("last", *_):
            return (step.turn,) if turns else ()
        case ("iterations", int(turn)):
            return (turn % turns,) if -turns <= turn < turns else ()
        case () | ("iterations",):
            return range(turns)
        case _:
            return ()


def _of_fan(run: Run, step: StepState, fan: Fan, path: Path) -> Iterator[Stored]:
    name = str(path[0]) if path else None
    outputs = dict(step.node.step.outputs) if step.node.step.outputs is not None else None
    if name == "failed" and not fan.parts:
        return
    whole = name is None or name == "result" or (name == "items" and not fan.parts)
    if isinstance(step.node.form, ForEach) and step.node.form.body is not None:
        key = None if whole or name is None else name if outputs is None else outputs.get(name, "$result")
        inside: Path = () if key in {None, "$result"} else tuple(str(key).split("."))
        for index in range(fan.count):
            inner = run.scopes.get(f"{step.path}[{index}]")
            if inner is not None:
                yield from of_scope(run, inner, inside)
        return
    if fan.parts and not whole and outputs is not None:
        key = outputs.get(str(name), "$result")
        name = None if key == "$result" else key.partition(".")[0]
    elif whole and (fan.parts or name != "result"):
        name = None
    for _, blobs in fan.results.values():
        yield from _named(blobs, name)


def _named(blobs: list[list[object]], name: str | None) -> Iterator[Stored]:
    for blob in blobs:
        if name is None or blob[0] == name:
            yield str(blob[1]), int(blob[2])  # type: ignore[call-overload]

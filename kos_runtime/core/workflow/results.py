"""What a step exposes whose result is an object that was made elsewhere: by a template's body, by a child run."""

from typing import Any

from kos_runtime.core.record import BlobRef
from kos_runtime.core.workflow import stored
from kos_runtime.core.workflow.desk import Desk
from kos_runtime.core.workflow.dispatching import is_part
from kos_runtime.core.workflow.ending import keep_large
from kos_runtime.core.workflow.state import Run, StepState
from kos_runtime.core.workflow.values import blob_value, dotted


class MissingOutput(Exception):
    """A result lacks what an output of its step needs."""


def exposed_of(
    desk: Desk, step: StepState, values: dict[str, Any], blobs: list[list[Any]]
) -> tuple[bytes, list[list[Any]]]:
    """Return what a step exposes of a result: each key by its own name and all as ``result``, or what ``outputs`` says.

    A large value that keeps its shape is handed on as the blob that it is, and only what looks into one loads it.

    Raises:
        MissingOutput: The result lacks a key.
        NeedsData: A value lies in a blob that is not loaded.
        ValueError: Something is larger than any value may be.
    """
    kept = {blob[0]: blob for blob in blobs}
    outputs, is_part = _outputs(desk.run, step)
    if outputs is None:
        outputs = [(name, name) for name in (*values, *kept)]
        if not is_part and not any(name == "result" for name, _ in outputs):
            outputs.append(("result", "$result"))
    exposed: dict[str, Any] = {}
    handed: list[list[Any]] = []
    for name, key in outputs:
        first, _, rest = key.partition(".")
        if key == "$result":
            exposed[name] = _whole(desk, step, values, blobs)
        elif first in kept and not rest:
            handed.append([name, *kept[first][1:]])
        elif first not in kept and first not in values:
            raise MissingOutput(f"the result of {step.path} has no {first!r}, which its output {name!r} needs")
        else:
            value = _loaded(desk, step, kept[first]) if first in kept else values[first]
            try:
                exposed[name] = dotted(value, rest.split("."), (step.id, key)) if rest else value
            except ValueError:
                message = f"the result of {step.path} has no {key!r}, which its output {name!r} needs"
                raise MissingOutput(message) from None
    large = keep_large(desk, exposed)
    return desk.run.codec.pack(exposed), [*handed, *large]


def _outputs(run: Run, step: StepState) -> tuple[list[tuple[str, str]] | None, bool]:
    """Return what is said of a step's outputs, and whether it gives a part, to which that is applied later.

    A template or a workflow that stands in for a step gives what an action of that would.
    """
    assert run.program is not None
    made = run.program.fallbacks.nodes.get(step.id)
    if step.beside != "stand_in" or made is None or made.step != step.node.step:
        return step.node.outputs, False
    if is_part(run, step.of):
        return None, True
    return run.steps[step.of].node.outputs, False


def _whole(desk: Desk, step: StepState, values: dict[str, Any], blobs: list[list[Any]]) -> dict[str, Any]:
    if not blobs:
        return dict(values)
    stored.want(desk.run, f"the result of {step.path}", ((blob[1], blob[2]) for blob in blobs))
    return {**values, **{blob[0]: blob_value(desk.run, BlobRef(blob[1], blob[2])) for blob in blobs}}


def _loaded(desk: Desk, step: StepState, blob: list[Any]) -> Any:
    stored.want(desk.run, f"{blob[0]!r} of the result of {step.path}", [(blob[1], blob[2])])
    return blob_value(desk.run, BlobRef(blob[1], blob[2]))

"""What an attempt is given: the step's inputs, computed at one place of one run.

Small values are put in as they are. What lies in blobs is not loaded here: the place in the inputs stays null and a
``Gather`` says how the agent's process fills it.
"""

from typing import Any, Final

from kos_runtime.core.expression import (
    ComputedValue,
    ListValue,
    MapValue,
    MissingReference,
    Reference,
    ReferenceValue,
    Template,
    TemplateNode,
    TextValue,
    evaluate_template,
)
from kos_runtime.core.invocation import Gather, Piece
from kos_runtime.core.plan.link import ActionLink
from kos_runtime.core.plan.model import Action, ForEach, Group, Loop
from kos_runtime.core.plan.secret import secret_name, secret_of
from kos_runtime.core.record import BlobRef
from kos_runtime.core.workflow.state import Fan, Run, Scope, StepState
from kos_runtime.core.workflow.status import StepStatus
from kos_runtime.core.workflow.values import (
    View,
    exposed,
    fan_names,
    find_step,
    is_concatenated,
    item_scopes,
    item_value,
    step_value,
    template_around,
    unpack_exposed,
)

#: A join over more items than this is put together by the agent, not here.
GATHER_ABOVE = 64


class Inputs:
    """An object of plain values, and how its null places are filled. ``lengths`` are those of gathered arrays."""

    __slots__ = ("gathers", "lengths", "values")

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.gathers: list[Gather] = []
        self.lengths: dict[tuple[str | int, ...], int] = {}


def compute(run: Run, step: StepState, action: ActionLink | None, index: int = -1) -> Inputs:
    """Return the inputs of a step's action, for one item when ``index`` is not negative.

    Raises:
        ExpressionError: A text cannot be evaluated, or refers to nothing.
        NeedsData: A computed text reads a blob that is not loaded.
    """
    found = Inputs()
    if step.node.inputs is None:
        _implied(run, step, action, found)
        return found
    view = View(run, step.scope, step, index=index)
    for name, template in step.node.inputs.items():
        found.values[name] = _value(run, view, template.node, (name,), found)
    return found


_ABSENT: Final = object()


def compute_names(
    run: Run, step: StepState, names: tuple[tuple[str, str, str], ...], index: int
) -> dict[str, Any] | None:
    """Return the inputs of a step of which each is one name: of a finished action beside it, of the run's inputs, or
    the item at an index.

    None when one of them is anything else: not there, of a step that is no single action, or a blob.
    """
    values: dict[str, Any] = {}
    steps, scope = run.steps, step.scope.path
    for name, id, key in names:
        if id:
            other = steps.get(f"{scope}/{id}" if scope else id)
            if (
                other is None
                or other.status is not StepStatus.COMPLETED
                or other.fan is not None
                or type(other.node.form) is not Action
            ):
                return None
            value = (other.cache or exposed(run, other)).get(key, _ABSENT)
        elif not key:
            assert step.fan is not None
            value = item_value(run, step.fan, index)
        else:
            if run.inputs is None:
                if run.inputs_blob is not None:
                    return None
                run.inputs = run.codec.unpack(run.inputs_packed)
            value = run.inputs.get(key, _ABSENT)
        if value is _ABSENT or type(value) is BlobRef:
            return None
        values[name] = value
    return values


def _value(run: Run, view: View, node: TemplateNode, place: tuple[str | int, ...], found: Inputs) -> Any:
    match node:
        case ReferenceValue(reference=reference):
            if reference.root == "steps":
                return _reference(run, view, reference, place, found)
            if reference.root == "secrets":
                return _gathered(found, place, Gather(place, "one", [Piece(secret=secret_name(reference))]))
            if reference.root == "inputs":
                template = template_around(view.scope)
                blob = run.inputs_blob if template is None else template.inputs_blob
                if blob is not None and blob.digest not in run.cache:
                    return _gathered(found, place, Gather(place, "one", [Piece(blob=blob, path=reference.path)]))
            return view.lookup(reference.root, reference.path)
        case MapValue(items=items):
            return {key: _value(run, view, item, (*place, key), found) for key, item in items}
        case ListValue(items=items):
            return [_value(run, view, item, (*place, index), found) for index, item in enumerate(items)]
        case TextValue(parts=parts) if any(secret_of(part) for part in parts):
            return _with_secrets(view, parts, place, found)
        case _:
            return evaluate_template(Template(node, (), is_pure=False), view)


def _with_secrets(
    view: View, parts: tuple[str | ComputedValue, ...], place: tuple[str | int, ...], found: Inputs
) -> Any:
    """Return a text in pieces, with a null for each secret, which only the agent's process knows."""
    texts: list[Any] = []
    pieces: list[Piece] = []
    for part in parts:
        name = secret_of(part)
        if name:
            texts.append(None)
            pieces.append(Piece(secret=name))
        else:
            one = Template(TextValue(("", part)), (), is_pure=False)
            texts.append(part if isinstance(part, str) else evaluate_template(one, view))
    found.gathers.append(Gather(place, "text", pieces))
    return texts


def _gathered(found: Inputs, place: tuple[str | int, ...], gather: Gather, length: int = -1) -> None:
    found.gathers.append(gather)
    if length >= 0:
        found.lengths[place] = length


def _reference(run: Run, view: View, reference: Reference, place: tuple[str | int, ...], found: Inputs) -> Any:
    """Resolve a whole reference to a step's data without loading what lies in blobs."""
    path = reference.path
    if len(path) < 2:
        return view.lookup(reference.root, path)
    _, step = find_step(run, view.scope, str(path[0]))
    rest = path[1:]
    # Into a group, a finished loop's turn: down to the step that has the value.
    while True:
        form = step.node.form
        if isinstance(form, Group) and len(rest) >= 2 and step.path in run.scopes:
            inner = run.scopes[step.path]
        elif isinstance(form, Loop) and rest[:1] == ("last",) and len(rest) >= 3 and step.turn >= 0:
            inner, rest = run.scopes[f"{step.path}#{step.turn}"], rest[1:]
        else:
            break
        below = run.steps.get(inner.step_path(str(rest[0])))
        if below is None:
            raise MissingReference("steps", path)
        step, rest = below, rest[1:]
    if step.status is StepStatus.COMPLETED and rest:
        if step.fan is not None:
            gather = _fan_gather(run, step, rest, place)
            if gather is not None:
                return _gathered(found, place, gather)
        elif not isinstance(step.node.form, Group | Loop):
            value = exposed(run, step).get(str(rest[0]))
            if isinstance(value, BlobRef) and value.digest not in run.cache:
                length = next((b[4] for b in step.blobs if b[0] == rest[0] and b[3] == "array"), -1)
                gather = Gather(place, "one", [Piece(blob=value, path=rest[1:])])
                return _gathered(found, place, gather, length if len(rest) == 1 else -1)
    return step_value(run, step, rest)


def _fan_gather(run: Run, step: StepState, rest: tuple[str | int, ...], place: tuple[str | int, ...]) -> Gather | None:
    """Return how the agent joins a fan's results, or None when that is done here."""
    fan = step.fan
    assert fan is not None
    name = rest[0]
    if len(rest) != 1 or not isinstance(name, str) or name in {"items", "failed"}:
        return None
    if isinstance(step.node.form, ForEach) and step.node.form.body is not None:
        return _bodies_gather(run, step, fan, name, place)
    if not fan.results or (fan.count <= GATHER_ABOVE and not any(blobs for _, blobs in fan.results.values())):
        return None
    key = name
    if fan.parts and step.node.step.outputs is not None:
        key = dict(step.node.step.outputs).get(name, "$result")
    if key == "$result" or "." in key or (fan.parts and name == "result"):
        return None
    pieces = []
    for index in sorted(fan.results):
        packed, blobs = fan.results[index]
        at = next((b for b in blobs if b[0] == key), None)
        pieces.append(Piece(packed=packed, path=(key,)) if at is None else Piece(blob=BlobRef(at[1], at[2])))
    return Gather(place, "concat" if fan.parts and is_concatenated(run, step, key) else "list", pieces)


def _bodies_gather(run: Run, step: StepState, fan: Fan, name: str, place: tuple[str | int, ...]) -> Gather | None:
    """Return how the agent joins what one step of each item's body exposed; None when that is done here."""
    key = dict(step.node.step.outputs or ()).get(name, "")
    id, _, field = key.partition(".")
    if not field or "." in field:
        return None
    pieces = []
    for item in item_scopes(run, step, fan):
        inner = run.steps.get(item.step_path(id))
        if inner is None or inner.status is not StepStatus.COMPLETED or inner.fan is not None:
            return None
        if type(inner.node.form) is not Action or field not in exposed(run, inner):
            return None
        value = exposed(run, inner)[field]
        pieces.append(Piece(blob=value) if isinstance(value, BlobRef) else Piece(packed=run.codec.pack(value)))
    if len(pieces) <= GATHER_ABOVE and all(piece.blob is None for piece in pieces):
        return None
    return Gather(place, "list", pieces)


def _implied(run: Run, step: StepState, action: ActionLink | None, found: Inputs) -> None:
    """Fill in what a step without inputs is given: what the action declares, of what there is; later wins."""
    wanted = None if action is None or action.takes_any else {parameter.name for parameter in action.parameters}
    view = View(run, step.scope, step)
    for name, value in view.lookup("inputs", ()).items():
        if wanted is None or name in wanted:
            found.values[name] = value
    for name, (source, key) in _handed_on(run, step.scope, step).items():
        if name in wanted if wanted is not None else name != "result":
            reference = Reference(root="steps", path=(source, key), guarded=False, position=0)
            found.values[name] = _reference(run, view, reference, (name,), found)


def _handed_on(run: Run, scope: Scope, step: StepState) -> dict[str, tuple[str, str]]:
    """Return name → (step, name) of what the direct predecessors expose; a skipped one hands on what it was given."""
    names: dict[str, tuple[str, str]] = {}
    for id in step.node.step.predecessors:
        before = run.steps.get(scope.step_path(id))
        if before is None:
            continue
        if before.status is StepStatus.SKIPPED:
            names.update(_handed_on(run, scope, before))
        elif before.status is StepStatus.COMPLETED:
            names.update({name: (id, name) for name in exposed_names(run, before)})
    return names


def exposed_names(run: Run, step: StepState) -> list[str]:
    """Return the names that a finished step exposes."""
    if step.fan is not None:
        return fan_names(run, step)
    form = step.node.form
    if isinstance(form, Group):
        return form_members(run, step)
    if isinstance(form, Loop):
        return ["last", "iterations"]
    return list(exposed(run, step))


def form_members(run: Run, step: StepState) -> list[str]:
    inner = run.scopes.get(step.path)
    return [] if inner is None else list(inner.body.nodes)


def results_expose(run: Run, step: StepState, field_name: str) -> bool:
    """Say whether every part of a spread step reported a field."""
    fan = step.fan
    assert fan is not None
    return all(field_name in unpack_exposed(run, *result) for result in fan.results.values())

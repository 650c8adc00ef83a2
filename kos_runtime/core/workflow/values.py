"""What a reference stands for, at one place of one run.

Names are looked up from the inside outwards: a body's own steps first. What lies in the blob store is not here; asking
for it raises ``NeedsData`` with its digest, and whoever evaluates comes again when it was loaded.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from kos_runtime.core.expression import MissingReference, NeedsData
from kos_runtime.core.identity import idempotency_key
from kos_runtime.core.plan.model import Decision, ForEach, Group, Inlined, Loop
from kos_runtime.core.record import BlobRef
from kos_runtime.core.workflow import stored
from kos_runtime.core.workflow.state import Fan, Run, Scope, StepState
from kos_runtime.core.workflow.status import StepStatus

Path = tuple[str | int, ...]
NO_SIGNAL = object()


class View:
    """What an expression sees. ``step`` is the step whose text is evaluated, ``turn`` a loop's turn about to begin."""

    __slots__ = ("index", "run", "scope", "signal", "step", "turn")

    def __init__(self, run: Run, scope: Scope, step: StepState | None, *, index: int = -1, turn: int = -1) -> None:
        self.run = run
        self.scope = scope
        self.step = step
        self.index = index
        self.turn = turn
        #: The data of the signal that a match is asked about.
        self.signal: Any = NO_SIGNAL

    def lookup(self, root: str, path: Path) -> Any:
        """Return the value of ``$root`` followed by a path.

        Raises:
            MissingReference: There is nothing there (yet).
            NeedsData: It lies in a blob that is not loaded; the token is its digest.
        """
        match root:
            case "steps":
                if not path:
                    raise MissingReference(root, path)
                _, step = find_step(self.run, self.scope, str(path[0]))
                return _walk(root, path, step_value(self.run, step, path[1:]), consumed=len(path))
            case "inputs":
                return _walk(root, path, self._inputs(), optional=True)
            case "vars":
                return _walk(root, path, vars_at(self.run, self.scope))
            case "workflow":
                facts = {
                    "run_id": self.run.id,
                    "id": self.run.workflow,
                    "version": self.run.version,
                    "name": self.run.name,
                }
                return _walk(root, path, facts)
            case "index":
                return _walk(root, path, self._item()[1])
            case "loop":
                return self._loop(path)
            case "self":
                return _walk(root, path, self._self())
            case "signal" if self.signal is not NO_SIGNAL:
                return _walk(root, path, self.signal)
            case _:
                return _walk(root, path, self._item(root)[0])

    def _inputs(self) -> dict[str, Any]:
        run = self.run
        template = template_around(self.scope)
        if template is not None:
            return _template_inputs(run, template)
        if run.inputs_blob is not None:
            whole: dict[str, Any] = blob_value(run, run.inputs_blob)
            return whole
        if run.inputs is None:
            run.inputs = run.codec.unpack(run.inputs_packed)
        assert run.inputs is not None
        return run.inputs

    def _item(self, name: str = "") -> tuple[Any, int]:
        """Return the item and its index, of the nearest ``for_each`` that calls its items so."""
        if self.step is not None and self.index >= 0 and self.step.fan is not None and _called(self.step, name):
            return item_value(self.run, self.step.fan, self.index), self.index
        scope: Scope | None = self.scope
        while scope is not None:
            if scope.item >= 0 and scope.owner is not None and _called(scope.owner, name):
                assert scope.owner.fan is not None
                return item_value(self.run, scope.owner.fan, scope.item), scope.item
            scope = scope.outer
        raise MissingReference(name or "index", ())

    def _loop(self, path: Path) -> Any:
        if self.turn >= 0 and self.step is not None:
            owner, turn = self.step, self.turn
        else:
            scope: Scope | None = self.scope
            while scope is not None and scope.turn < 0:
                scope = scope.outer
            if scope is None or scope.owner is None:
                raise MissingReference("loop", path)
            owner, turn = scope.owner, scope.turn
        if path[:1] == ("index",):
            return _walk("loop", path, {"index": turn})
        if path[:1] == ("previous",) and turn > 0:
            previous = self.run.scopes[f"{owner.path}#{turn - 1}"]
            return _walk("loop", path, scope_value(self.run, previous, path[1:]), consumed=len(path))
        raise MissingReference("loop", path)

    def _self(self) -> dict[str, Any]:
        step = self.step
        if step is None:
            raise MissingReference("self", ())
        path = f"{step.path}[{self.index}]" if self.index >= 0 and step.index < 0 else step.path
        return {
            "id": step.id,
            "path": path,
            "idempotency_key": idempotency_key(self.run.store_id, self.run.id, path, self.run.generation),
        }


def template_around(scope: Scope) -> StepState | None:
    """Return the step whose template a body belongs to, None when it is the run's own."""
    at: Scope | None = scope
    while at is not None and at.owner is not None:
        if type(at.owner.node.form) is Inlined:
            return at.owner
        at = at.outer
    return None


def _template_inputs(run: Run, step: StepState) -> dict[str, Any]:
    if step.inputs_blob is not None:
        whole: dict[str, Any] = blob_value(run, step.inputs_blob)
        return whole
    if step.template_inputs is None:
        step.template_inputs = run.codec.unpack(step.inputs or b"")
    assert step.template_inputs is not None
    return step.template_inputs


def vars_at(run: Run, scope: Scope) -> dict[str, Any]:
    """Return the variables that a body has: those of the template that it is in, else the run's."""
    at: Scope | None = scope
    while at is not None and at.owner is not None:
        if at.vars is not None:
            return at.vars
        at = at.outer
    return run.vars


def _called(owner: StepState, name: str) -> bool:
    form = owner.node.form
    return isinstance(form, ForEach) and name in {"", "item", form.name}


def _walk(root: str, path: Path, value: Any, *, consumed: int = 0, optional: bool = False) -> Any:
    """Go down plain data. An optional input that was not given is null."""
    for place, key in enumerate(path[consumed:]):
        known: Any = value
        if (isinstance(known, dict) and isinstance(key, str) and key in known) or (
            isinstance(value, list) and isinstance(key, int) and -len(value) <= key < len(value)
        ):
            value = known[key]
        elif optional and place == 0 and isinstance(key, str):
            return None
        else:
            raise MissingReference(root, path)
    return value


def find_step(run: Run, scope: Scope, id: str) -> tuple[Scope, StepState]:
    """Return the nearest step of that name that has run or is running, and its scope."""
    at: Scope | None = scope
    while at is not None:
        if id in at.body.nodes:
            step = run.steps.get(at.step_path(id))
            if step is None:
                break
            return at, step
        group = at.body.members.get(id)
        if group is not None:
            inner = run.scopes.get(at.step_path(group))
            step = None if inner is None else run.steps.get(inner.step_path(id))
            if inner is None or step is None:
                break
            return inner, step
        at = at.outer
    raise MissingReference("steps", (id,))


def is_available(run: Run, scope: Scope, id: str) -> bool:
    """Say whether the data of a step can be read: it was completed."""
    try:
        _, step = find_step(run, scope, id)
    except MissingReference:
        return False
    return step.status not in {StepStatus.SKIPPED, StepStatus.FAILED, StepStatus.CANCELLED}


def step_value(run: Run, step: StepState, path: Path) -> Any:
    """Return what a step exposes, at a path below ``$steps.<id>``; the whole object for an empty path."""
    form = step.node.form
    whole = ("steps", (step.id, *path))
    if isinstance(form, Loop):
        stored.want(run, f"what the turns of {step.path} made", stored.of_step(run, step, path))
        return _loop_value(run, step, path)
    if step.status is not StepStatus.COMPLETED:
        raise MissingReference(*whole)
    if step.fan is not None:
        return _walk("steps", path, fan_value(run, step, path), consumed=min(len(path), 1))
    if isinstance(form, Group):
        stored.want(run, f"what the members of {step.path} made", stored.of_step(run, step, path))
        return scope_value(run, run.scopes[step.path], path)
    if isinstance(form, Decision):
        return _walk("steps", path, {})
    names = exposed(run, step)
    if not path:
        return {name: _load(run, value) for name, value in names.items()}
    if path[0] not in names:
        raise MissingReference(*whole)
    return _walk("steps", path, _load(run, names[str(path[0])]), consumed=1)


def _loop_value(run: Run, step: StepState, path: Path) -> Any:
    turns = step.turn + 1
    if path[:1] == ("last",) and turns > 0:
        return scope_value(run, run.scopes[f"{step.path}#{step.turn}"], path[1:])
    if path[:1] == ("iterations",):
        if len(path) > 1:
            turn = path[1]
            if isinstance(turn, int) and -turns <= turn < turns:
                return scope_value(run, run.scopes[f"{step.path}#{turn % turns}"], path[2:])
        elif step.status is StepStatus.COMPLETED:
            return [scope_value(run, run.scopes[f"{step.path}#{turn}"], ()) for turn in range(turns)]
    if not path:
        whole = {"iterations": _loop_value(run, step, ("iterations",))}
        return {"last": _loop_value(run, step, ("last",)), **whole} if turns > 0 else whole
    raise MissingReference("steps", (step.id, *path))


def scope_value(run: Run, scope: Scope, path: Path) -> Any:
    """Return what the steps of a body expose: of one step for a path, of all that completed for none."""
    if path:
        id = str(path[0])
        if id not in scope.body.nodes:
            raise MissingReference("steps", path)
        step = run.steps.get(scope.step_path(id))
        if step is None:
            raise MissingReference("steps", path)
        return step_value(run, step, path[1:])
    stored.want(run, f"what the steps of {scope.path} made", stored.of_scope(run, scope, ()))
    found = {}
    for id in scope.body.nodes:
        step = run.steps.get(scope.step_path(id))
        if step is not None and step.status is StepStatus.COMPLETED:
            found[id] = step_value(run, step, ())
    return found


def exposed(run: Run, step: StepState) -> dict[str, Any]:
    """Return what one action exposed; a value kept as a blob stands there as its ``BlobRef``."""
    if step.cache is None:
        step.cache = unpack_exposed(run, step.exposed, step.blobs)
    return step.cache


def unpack_exposed(run: Run, packed: bytes, blobs: list[list[Any]]) -> dict[str, Any]:
    names: dict[str, Any] = run.codec.unpack(packed) if packed else {}
    for name, digest, size, *_ in blobs:
        names[name] = BlobRef(digest, size)
    return names


def blob_value(run: Run, ref: BlobRef) -> Any:
    cache = run.cache
    cache.read(ref.digest, ref.size)
    if ref.digest not in cache:
        run.wanted[ref.digest] = ref.size
        raise NeedsData(ref.digest)
    return cache.get(ref.digest)


def _load(run: Run, value: Any) -> Any:
    return blob_value(run, value) if isinstance(value, BlobRef) else value


def item_value(run: Run, fan: Fan, index: int) -> Any:
    """Return one of the frozen items."""
    if fan.items_blob is not None:
        return blob_value(run, fan.items_blob)[index]
    if fan.values is None:
        fan.values = run.codec.unpack(fan.items)
    assert fan.values is not None
    return fan.values[index]


# --- fans ---------------------------------------------------------------------------------------


def fan_names(run: Run, step: StepState) -> list[str]:
    """Return the names that a finished fan exposes."""
    if step.node.step.outputs is not None:
        return [name for name, _ in step.node.step.outputs]
    fan = step.fan
    assert fan is not None
    if isinstance(step.node.form, ForEach) and step.node.form.body is not None:
        return ["result"]
    for packed, blobs in fan.results.values():
        return list(unpack_exposed(run, packed, blobs))
    action = linked_action(run, step)
    names = [] if action is None or action.fields is None else [field.name for field in action.fields]
    return ["result", *names]


def linked_action(run: Run, step: StepState) -> Any:
    """Return what linking found out about the step's action, if it is one."""
    form = step.node.form
    agent = run.link.agents.get(getattr(form, "agent", "")) if run.link is not None else None
    return None if agent is None else agent.actions.get(step.action or getattr(form, "action", ""))


def fan_value(run: Run, step: StepState, path: Path) -> Any:
    """Return the value of the first name of a path (the whole object for none) of a finished fan."""
    fan = step.fan
    assert fan is not None
    if not path:
        return {name: fan_value(run, step, (name,)) for name in fan_names(run, step)}
    name = path[0]
    if not isinstance(name, str):
        raise MissingReference("steps", (step.id, *path))
    what = f"{name!r} of all {'parts' if fan.parts else 'items'} of {step.path}"
    stored.want(run, what, stored.of_step(run, step, (name,)))
    if not fan.parts:
        if name == "failed":
            return [{"index": index, "kind": kind, "message": message} for index, kind, message in fan.failures]
        if name == "items":
            return [_item_object(run, step, fan, index) for index in range(fan.count)]
        if isinstance(step.node.form, ForEach) and step.node.form.body is not None:
            return [_picked(run, step, scope, name) for scope in item_scopes(run, step, fan)]
        master = step.node.step.master
        as_completed = master is not None and master.aggregate == "as_completed"
        results = fan.results.items() if as_completed else sorted(fan.results.items())
        return [_load(run, _named(run, step, result, name)) for _, result in results]
    return part_value(run, step, name)


def _named(run: Run, step: StepState, result: tuple[bytes, list[list[Any]]], name: str) -> Any:
    names = unpack_exposed(run, *result)
    if name not in names:
        raise MissingReference("steps", (step.id, name))
    return names[name]


def item_scopes(run: Run, step: StepState, fan: Fan) -> Iterator[Scope]:
    """Return the bodies of the items that succeeded."""
    failed = {failure[0] for failure in fan.failures} | set(fan.skipped)
    return (run.scopes[f"{step.path}[{index}]"] for index in range(fan.count) if index not in failed)


def _item_object(run: Run, step: StepState, fan: Fan, index: int) -> Any:
    inner = run.scopes.get(f"{step.path}[{index}]")
    if inner is not None:
        return scope_value(run, inner, ())
    result = fan.results.get(index)
    if result is None:
        return None
    return {name: _load(run, value) for name, value in unpack_exposed(run, *result).items()}


def _picked(run: Run, step: StepState, item: Scope, name: str) -> Any:
    """Return one name of an item with a body, whose steps are mapped by ``outputs`` here."""
    outputs = step.node.step.outputs
    key = dict(outputs).get(name) if outputs is not None else "$result" if name == "result" else name
    if key == "$result":
        return scope_value(run, item, ())
    try:
        if key is not None:
            id, *names = key.split(".")
            return dotted(scope_value(run, item, (id, *names[:1])), names[1:], ())
    except MissingReference:
        pass
    raise MissingReference("steps", (step.id, name))


def dotted(value: Any, keys: Iterable[str], where: Path) -> Any:
    """Follow keys down plain data."""
    for part in keys:
        if not isinstance(value, dict) or part not in value:
            raise MissingReference("steps", where)
        value = value[part]
    return value


def is_concatenated(run: Run, step: StepState, field: str) -> bool:
    """Say whether the parts' values of a field are joined end to end, or listed."""
    action = linked_action(run, step)
    if action is None or action.gather == "list":
        return False
    if action.fields is None:
        # Undeclared: what turns out to be an array is joined.
        return bool(action.gather == "fields")
    return any(known.name == field and known.type == "array" for known in action.fields)


def part_value(run: Run, step: StepState, name: str) -> Any:
    """Return one exposed name of a step that was spread: the parts' fields joined, then ``outputs`` applied."""
    fan = step.fan
    assert fan is not None
    outputs = step.node.step.outputs
    if outputs is not None:
        key = dict(outputs).get(name)
        if key is None:
            raise MissingReference("steps", (step.id, name))
    else:
        key = "$result" if name == "result" else name
    if key == "$result":
        action = linked_action(run, step)
        fields = [] if action is None or action.fields is None else [field.name for field in action.fields]
        if not fields and fan.results:
            fields = list(unpack_exposed(run, *fan.results[min(fan.results)]))
        return {field: _joined(run, step, fan, field) for field in fields}
    field, _, rest = key.partition(".")
    joined = _joined(run, step, fan, field)
    return dotted(joined, rest.split("."), (step.id, name)) if rest else joined


def _joined(run: Run, step: StepState, fan: Fan, field: str) -> Any:
    end_to_end = is_concatenated(run, step, field)
    joined: list[Any] = []
    for index in sorted(fan.results):
        names = unpack_exposed(run, *fan.results[index])
        if field not in names:
            raise MissingReference("steps", (step.id, field))
        value = _load(run, names[field])
        if end_to_end and isinstance(value, list):
            joined.extend(value)
        else:
            joined.append(value)
    return joined

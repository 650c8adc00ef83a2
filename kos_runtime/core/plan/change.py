"""What is different between two plans of one workflow: step by step, as whoever follows them sees it.

Policies are compared by what they say, not by where they stand in the plan's table. A step that contains others is told
apart from what is in it: its body is looked at step by step.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal

from kos_runtime.core.plan.model import Action, Body, ForEach, Group, Inlined, Loop, OtherForm, Plan, Step

#: What a plan says beside its steps, and may not change while it runs.
WHOLE: Final = (
    "workflow", "version", "description", "inputs", "free_inputs", "outputs", "free_outputs", "variables", "pools", "timeout_ms",
    "timeout_default_ms", "monitoring", "priority", "limit",
)  # fmt: skip
_EMPTY: Final = Body(steps=())


@dataclass(frozen=True, slots=True)
class Change:
    """One step that is different. ``path`` is that of the definition, without turns and items."""

    path: str
    what: Literal["added", "removed", "changed"]
    #: What is different of a step that changed, by the names of the model's fields; an action's agent and action apart.
    fields: tuple[str, ...] = ()

    @property
    def body(self) -> str:
        """The path of the step whose body it is in, empty for the workflow's own."""
        return self.path.rpartition("/")[0]


def differences(old: Plan, new: Plan) -> tuple[Change, ...]:
    """Return what is different, in the order of the new plan's steps, then what is gone."""
    return tuple(_bodies(old, new, old.body, new.body, ""))


def whole_differences(old: Plan, new: Plan) -> tuple[str, ...]:
    """Return the names of what is different beside the steps."""
    return tuple(name for name in WHOLE if getattr(old, name) != getattr(new, name))


def body_of(form: Any) -> Body | None:
    """Return the body of a form, if it has one."""
    return form.body if isinstance(form, Loop | Group | ForEach | Inlined | OtherForm) else None


def _bodies(old: Plan, new: Plan, before: Body, after: Body, prefix: str) -> Iterator[Change]:
    known = {step.id: step for step in before.steps}
    for step in after.steps:
        was = known.pop(step.id, None)
        path = f"{prefix}{step.id}"
        if was is None:
            yield Change(path, "added")
            continue
        different = tuple(_fields(old, new, was, step))
        if different:
            yield Change(path, "changed", different)
        inside_was, inside = body_of(was.form), body_of(step.form)
        if inside_was is not None and inside is not None and type(was.form) is type(step.form):
            yield from _bodies(old, new, inside_was, inside, f"{path}/")
    for id in known:
        yield Change(f"{prefix}{id}", "removed")


def _fields(old: Plan, new: Plan, was: Step, step: Step) -> Iterator[str]:
    for field in fields(Step):
        name = field.name
        if name == "form":
            yield from _form(was.form, step.form)
        elif name == "policies":
            if [old.policies[i] for i in was.policies] != [new.policies[i] for i in step.policies]:
                yield name
        elif getattr(was, name) != getattr(step, name):
            yield name


def _form(was: Any, form: Any) -> Iterator[str]:
    if type(was) is Action and type(form) is Action:
        yield from (name for name in ("agent", "action") if getattr(was, name) != getattr(form, name))
    elif _alone(was) != _alone(form):
        yield "form"


def _alone(form: Any) -> Any:
    """Return a form without what is in its body."""
    return form if body_of(form) is None else replace(form, body=_EMPTY)

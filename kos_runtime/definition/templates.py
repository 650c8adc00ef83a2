"""A template is compiled where it is used, as a workflow of its own whose steps stand inside the step that names it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kos_runtime.core.plan import model
from kos_runtime.core.plan.types import misfit
from kos_runtime.definition.documents import WorkflowDocument
from kos_runtime.definition.problems import Path
from kos_runtime.definition.references import Scope, Use

if TYPE_CHECKING:
    from kos_runtime.definition.compile import Compiler

#: Templates use one another at most so deep.
MAX_NESTED: Final = 16


@dataclass(frozen=True, slots=True)
class Inside:
    """Where a template is compiled: for which compiler, at which path of its plan, and inside which others."""

    compiler: "Compiler"
    prefix: str
    names: tuple[str, ...]


def template_of(compiler: "Compiler", name: object) -> WorkflowDocument | None:
    """Return a template by name: one of the same file, else one that was given beside it."""
    found = compiler.templates.get(name) if isinstance(name, str) else None
    if found is None or isinstance(found, WorkflowDocument):
        return found
    own = compiler.document
    return WorkflowDocument({"id": name, **found}, own.source, ("templates", str(name)), [], own.templates)


def inline(
    compiler: "Compiler", raw: dict[str, Any], path: Path, scope: Scope, where: str
) -> tuple[model.Form, list[Use]]:
    """Compile the template that a step uses, and what it is given."""
    content, at = raw["template"], (*path, "template")
    if "timeout" in raw:
        compiler.need("timeout of a template", where, (*path, "timeout"))
    given: dict[str, Any] | None = content.get("with")
    uses = compiler.texts.template(given, (*at, "with"), scope) if given is not None else []
    name = content.get("use", "?")
    document = template_of(compiler, name)
    if document is None:
        hint = compiler.check.hint(name, compiler.templates, _known(compiler))
        compiler.check.warn((*at, "use"), "KOS211", f"no template {name!r} is here", hint)
        compiler.need("template", where, (*at, "use"))
        return model.OtherForm(name="template", settings={"template": content}), uses
    around = (*compiler.inside.names, name) if compiler.inside is not None else (compiler.own_template, name)
    if name in around[:-1] or len(around) > MAX_NESTED:
        chain = " → ".join(each for each in around if each)
        message = (
            f"templates use each other: {chain}"
            if name in around[:-1]
            else f"templates are nested deeper than {MAX_NESTED}: {chain}"
        )
        compiler.check.fail((*at, "use"), "KOS206", message)
        return model.OtherForm(name="template", settings={"template": content}), uses
    inner = type(compiler)(
        document, compiler.settings, compiler.templates, inside=Inside(compiler, f"{where}/", around)
    )
    plan = inner.plan()
    compiler.adopt(inner, (*at, "use"))
    _check_given(compiler, plan, given, (*at, "with"), name)
    form = model.Inlined(
        template=name,
        body=plan.body,
        given=given,
        inputs=plan.inputs,
        free_inputs=plan.free_inputs,
        outputs=plan.outputs,
        free_outputs=plan.free_outputs,
        variables=plan.variables,
    )
    return form, uses


def _known(compiler: "Compiler") -> str:
    names = ", ".join(sorted(compiler.templates)[:24])
    return (
        f"there are {names}" if names else "put a file of templates beside this one, or name its folder by --catalogue"
    )


def _check_given(compiler: "Compiler", plan: model.Plan, given: dict[str, Any] | None, path: Path, name: str) -> None:
    """Say what of the values given can be told now to be wrong."""
    if given is None:
        return
    known = {spec.name: spec for spec in plan.inputs}
    for key, value in given.items():
        spec = known.get(key)
        if spec is None:
            if not plan.free_inputs:
                hint = compiler.check.hint(key, known, f"it takes {', '.join(known) or 'nothing'}")
                compiler.check.fail((*path, key), "KOS205", f"the template {name} has no input {key!r}", hint, key=True)
            continue
        literal = compiler.texts.literal(value, (*path, key))
        problem = misfit(literal, spec.type, spec.values) if literal is not None else None
        if problem:
            compiler.check.fail((*path, key), "KOS103", f"the input {key!r} of the template {name}: {problem}")
    for spec in plan.inputs:
        if spec.required and spec.name not in given:
            compiler.check.fail(path, "KOS101", f"the template {name} needs the input {spec.name!r}", key=True)

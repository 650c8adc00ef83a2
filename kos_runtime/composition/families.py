"""Links the sub-workflows of a plan: which version each is, and its plan and its own link, stored under their digests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from kos_runtime.composition.catalogue import Catalogue, version_of
from kos_runtime.composition.discovery import registry_of
from kos_runtime.composition.handing import literal_misfit
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan.link import ChildLink
from kos_runtime.core.plan.model import Child, Plan
from kos_runtime.core.plan.plain import to_plain
from kos_runtime.core.workflow.spawning import MAX_DEPTH
from kos_runtime.definition import DefinitionError, WorkflowDocument, compile_workflow
from kos_runtime.definition.settings import EngineSettings

if TYPE_CHECKING:
    from kos_runtime.composition.linking import Linked

#: Workflows of one family; each is compiled and stored once.
MAX_WORKFLOWS: Final = 200


@dataclass(slots=True)
class Family:
    """What the linking of a plan and of everything that it calls shares.

    ``put`` stores plain data and returns its digest; None where nothing is to be stored. ``around`` are the ids of the
    workflows that call one another, the outermost first.
    """

    catalogue: Catalogue
    settings: EngineSettings
    cache_dir: str
    imports: bool = True
    put: Callable[[Any], str] | None = None
    around: tuple[str, ...] = ()
    known: dict[tuple[str, str], tuple[Plan, ChildLink]] = field(default_factory=dict)

    def child(self, form: Child, parent: str, link: Callable[..., "Linked"]) -> tuple[Plan, ChildLink]:
        """Return the plan of a sub-workflow and what links it; ``link`` links one plan.

        Raises:
            InvalidDefinition: There is none, it cannot be linked, or it would call itself.
        """
        document = self.catalogue.workflow(form.workflow, form.version)
        around = (*self.around, parent)
        if document.id in around:
            chain = " → ".join((*around[around.index(document.id) :], document.id))
            raise InvalidDefinition(f"workflows call each other without an end: {chain}")
        if len(around) > MAX_DEPTH:
            raise InvalidDefinition(f"workflows are nested deeper than {MAX_DEPTH}: {' → '.join(around)}")
        key = (document.id, version_of(document))
        if key not in self.known:
            if len(self.known) >= MAX_WORKFLOWS:
                raise InvalidDefinition(f"a family has at most {MAX_WORKFLOWS} workflows")
            self.known[key] = self._linked(document, around, link)
        return self.known[key]

    def _linked(
        self, document: WorkflowDocument, around: tuple[str, ...], link: Callable[..., "Linked"]
    ) -> tuple[Plan, ChildLink]:
        try:
            plan, _ = compile_workflow(document, settings=self.settings, templates=self.catalogue)
        except DefinitionError as error:
            first = error.problems[0]
            place = f"{first.file}:{first.line}:{first.column}"
            raise InvalidDefinition(f"workflow {document.id!r} cannot be used: {place}: {first.message}") from error
        inner = Family(self.catalogue, self.settings, self.cache_dir, self.imports, self.put, around, self.known)
        registry = registry_of(document, imports=self.imports)
        linked = link(plan, registry, self.settings, self.cache_dir, family=inner)
        return plan, ChildLink(
            workflow=plan.workflow,
            version=plan.version,
            plan="" if self.put is None else self.put(to_plain(plan)),
            link="" if self.put is None else self.put(to_plain(linked.link)),
            settings=linked.settings,
            drivers=linked.drivers,
            takes=tuple(spec.name for spec in plan.inputs),
            takes_any=plan.free_inputs,
        )


def check_inputs(plan: Plan, form: Child) -> list[str]:
    """Return what is wrong with the inputs that a step gives a sub-workflow, as far as it can be told."""
    known = {spec.name: spec for spec in plan.inputs}
    found = []
    for name, value in form.inputs.items():
        if name in known:
            problem = literal_misfit(value, known[name].type)
            found += [f"the input {name!r} of {plan.workflow}: {problem}"] if problem else []
        elif not plan.free_inputs:
            near = nearest(name, tuple(known))
            hint = f"did you mean {near!r}?" if near else f"it takes {', '.join(known) or 'nothing'}"
            found.append(f"{plan.workflow} has no input {name!r}; {hint}")
    found += [
        f"{plan.workflow} needs the input {spec.name!r}"
        for spec in plan.inputs
        if spec.required and spec.name not in form.inputs
    ]
    return found

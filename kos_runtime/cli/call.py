"""``kos call``: one capability of a service, or one action of an agent, by hand."""

from typing import Annotated, Any

from cyclopts import Parameter

from kos_runtime.cli.common import Common, Typed, flag
from kos_runtime.cli.run import _after, _inputs


def call(
    service: Annotated[str, Typed],
    capability: Annotated[str, Typed],
    /,
    *,
    p: Annotated[list[str] | None, Parameter(name=["--param", "-p"], consume_multiple=False, negative="")] = None,
    inputs_file: Annotated[str | None, Parameter(name=["--inputs", "-f"])] = None,
    name: str = "",
    key: str = "",
    detach: Annotated[bool, flag("--detach", "-d")] = False,
    common: Common | None = None,
) -> int:
    """Call one capability of a service as a run of one step, and print what came of it.

    Args:
        service: A service of the configuration, a name that some provide, or an agent.
        capability: What it is to do.
        p: An input, NAME=VALUE; the value is read as JSON where it is some, else as text.
        inputs_file: A YAML or JSON file of inputs; - for standard input.
        name: A name of your own for the run.
        key: Calling again with the same key returns the same run.
        detach: Print the run's id and leave.
    """
    from kos_runtime.client.calling import call_document

    common = common or Common()
    inputs = _inputs(p or [], inputs_file, call_document(service, capability, ()))
    document = call_document(service, capability, inputs)
    engine = common.engine()
    try:
        _check(engine.settings, document, service, capability)
        handle = engine.create_workflow(document, inputs, name=name, key=key, start=True)
        return _after(common, engine, handle, detach=detach)
    finally:
        engine.close()


def _check(settings: Any, document: Any, service: str, capability: str) -> None:
    """Refuse what cannot be called here before anything is started for it.

    Raises:
        InvalidDefinition: Everything that is wrong is in it.
    """
    from kos_runtime.client.calling import STEP
    from kos_runtime.client.engine import compiled
    from kos_runtime.composition.discovery import registry_of
    from kos_runtime.composition.linking import problems
    from kos_runtime.core.errors import InvalidDefinition

    plan, _ = compiled(document, settings)
    errors, absent = problems(plan, registry_of(document), settings)
    if errors or absent:
        listed = "\n".join(f"  - {text.removeprefix(f'step {STEP}: ')}" for text in (*errors, *absent))
        raise InvalidDefinition(f"{capability} of {service} cannot be called here:\n{listed}\n  see: kos config")

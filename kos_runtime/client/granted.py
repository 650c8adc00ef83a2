"""What was decided of authority, with names for its values: for whoever reads the log."""

from contextlib import suppress
from functools import lru_cache
from typing import Any

from kos_runtime.core.event import BY_NAME
from kos_runtime.core.machine import UnknownMachine, registered
from kos_runtime.core.workflow.authority import MACHINE
from kos_runtime.core.workflow.events import AuthorityRecorded


@lru_cache(maxsize=1)
def _know() -> None:
    """Load the machine, whose facts have their names from it; where it is not installed they have none."""
    from kos_runtime.composition.machines import make_installed_known

    make_installed_known()
    with suppress(UnknownMachine):
        registered(MACHINE)


def facts_of(event: AuthorityRecorded) -> list[dict[str, Any]]:
    """Return the facts of a record as ``{fact, …}``, each with its fields by name."""
    _know()
    return [_fact(label, values) for label, values in event.facts]


def _fact(label: str, values: list[Any]) -> dict[str, Any]:
    name = label.rpartition(".")[0]
    kind = BY_NAME.get(name)
    if kind is None or kind.label != label:
        return {"fact": name, "values": values}
    return {"fact": name, **dict(zip(kind.fields, values, strict=True))}

"""Links a name of a definition to the services that answer to it."""

from collections.abc import Mapping
from typing import Any

from kos_runtime.adapters.services.spec import KIND, TARGET, normal
from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan.link import ActionLink, FieldLink, ParameterLink
from kos_runtime.core.plan.model import Limit


def providers_of(name: str, services: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the services that a definition means by a name: the one of that name, and those that say they provide it.

    Higher priorities come first; what has the same stays in the order of the file.
    """
    found = [each for each, given in services.items() if each == name or name in (given.get("provides") or ())]
    return sorted(found, key=lambda each: -services[each].get("priority", 0))


def settings_of(names: list[str], services: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what is recorded of some services.

    Raises:
        ValueError: One cannot work as it is configured.
    """
    return {"providers": [normal(name, services[name]) for name in names]}


def actions_of(settings: Mapping[str, Any]) -> dict[str, ActionLink]:
    """Return the capabilities of some services: what each takes and gives is said by the first that offers it."""
    found: dict[str, ActionLink] = {}
    for provider in settings["providers"]:
        for name, said in provider["capabilities"].items():
            found.setdefault(name, _action(said))
    return found


def _action(said: Mapping[str, Any]) -> ActionLink:
    inputs, outputs = said["inputs"], said["outputs"]
    return ActionLink(
        parameters=tuple(
            ParameterLink(name=name, required=not word.endswith("?"), type=word.removesuffix("?"))
            for name, word in (inputs or {}).items()
        ),
        takes_any=inputs is None,
        fields=None
        if outputs is None
        else tuple(
            FieldLink(name=name, required=not word.endswith("?"), type=word.removesuffix("?"))
            for name, word in outputs.items()
        ),
        idempotent=said["idempotent"],
    )


def most_processes(settings: Mapping[str, Any], otherwise: int) -> int:
    """Return how many processes may call some services: one where a limit is to be kept, since it is counted there."""
    limited = any(provider["max_concurrency"] or provider["rate_starts"] for provider in settings["providers"])
    return 1 if limited else otherwise


def limit_of(names: list[str], settings: Mapping[str, Any]) -> Limit | None:
    """Return how much of a service may start, where that can be told before it is called: when there is one provider.

    What several allow is kept by the process that asks them in turn.
    """
    if len(settings["providers"]) != 1:
        return None
    (only,) = settings["providers"]
    if not (only["max_concurrency"] or only["rate_starts"]):
        return None
    return Limit(
        name=f"services.{names[0]}",
        most=only["max_concurrency"],
        starts=only["rate_starts"],
        per_ms=only["rate_per_ms"],
    )


def how_to_configure(name: str, services: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what to write so that a name means a service; empty when it was probably meant for something else."""
    known = [*services, *(each for given in services.values() for each in given.get("provides") or ())]
    near = nearest(name, tuple(known))
    if near is not None:
        return f"no service {name!r} is configured; did you mean {near!r}?"
    if not name.endswith("_service"):
        return ""
    return (
        f"no service {name!r} is configured; put one that provides it into workflow-engine.yaml: "
        f"services: {{my_model: {{kind: chat, url: 'https://HOST/v1', model: NAME, auth: {{bearer: $secrets.NAME}}, provides: [{name}]}}}}"
    )


__all__ = [
    "KIND",
    "TARGET",
    "actions_of",
    "how_to_configure",
    "limit_of",
    "most_processes",
    "providers_of",
    "settings_of",
]

"""Makes the protocols known that are installed here: entry points of ``kos_runtime.machines``."""

import contextlib
import sys
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from kos_runtime.composition.importing import import_module, target_in
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.machine import (
    Commanded,
    Machine,
    Refused,
    Run,
    UnknownMachine,
    is_known,
    look_up_by,
    machine_named,
    make_known,
)
from kos_runtime.core.plan.model import Authority, Consensus
from kos_runtime.core.workflow.authority import MACHINE as AUTHORITY
from kos_runtime.core.workflow.granting import grants_of
from kos_runtime.core.workflow.granting import setup_of as authority_setup
from kos_runtime.core.workflow.mastering import ASSIGNMENT
from kos_runtime.core.workflow.peers import question_of
from kos_runtime.core.workflow.voting import BALLOTS

GROUP: Final = "kos_runtime.machines"


@lru_cache(maxsize=1)
def make_installed_known() -> None:
    """Let every protocol be found that is installed here. Nothing of theirs is imported before it is asked for."""
    for point in entry_points(group=GROUP):
        make_known(point.name, point.load)
    look_up_by(_imported)


@lru_cache(maxsize=256)
def _imported(name: str) -> Machine[Any] | None:
    """Return a machine that is named by where its class stands, ``module:Class``."""
    named, _, folder = name.partition("@")
    module, _, cls = named.partition(":")
    if not cls:
        return None
    try:
        found: Machine[Any] = getattr(import_module(module, folder), cls)()
    except Exception as error:
        raise UnknownMachine(f"the machine {name} cannot be had: {type(error).__name__}: {error}") from error
    return found


def name_of(machine: Machine[Any]) -> str:
    """Return the name under which every process finds a machine: its own where it is installed, else where its class
    stands: ``module:Class@FOLDER``.

    Raises:
        InvalidDefinition: It stands in the script that was started, which other processes do not import.
    """
    make_installed_known()
    if is_known(machine):
        return machine.name
    cls = type(machine)
    if cls.__module__ == "__main__":
        raise InvalidDefinition(
            f"the machine {cls.__qualname__} stands in the script that was started, where no other process finds it; put "
            "it into a module of its own and import it from there"
        )
    target = f"{cls.__module__}:{cls.__qualname__}"
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if not file or "site-packages" in file:
        return target
    depth = cls.__module__.count(".") + (Path(file).name == "__init__.py")
    return target_in(Path(file).resolve().parents[depth], target)


@lru_cache(maxsize=1)
def load_installed() -> None:
    """Import every protocol that is installed here, so that what they record can be read with the names of its fields.

    One that cannot be imported is passed over: it is missed by whoever needs it.
    """
    for point in entry_points(group=GROUP):
        with contextlib.suppress(Exception):
            point.load()


def problem_of(form: Consensus, where: str) -> str:
    """Return what is wrong with a vote, as the machine that counts it says, or nothing."""
    make_installed_known()
    try:
        machine_named(BALLOTS).initial(BALLOTS, question_of(form, where))
    except (UnknownMachine, ValueError) as error:
        return str(error)
    return ""


def problem_of_master() -> str:
    """Return why tasks cannot be leased here, or nothing."""
    make_installed_known()
    try:
        machine_named(ASSIGNMENT)
    except UnknownMachine as error:
        return str(error)
    return ""


def problems_of_authority(plan: Authority) -> list[str]:
    """Return what is wrong with the hierarchy and the grants of a workflow, as the machine that decides of them says."""
    make_installed_known()
    try:
        instance = Run(machine_named(AUTHORITY), AUTHORITY, authority_setup(plan))
    except (UnknownMachine, ValueError) as error:
        return [str(error)]
    replies = [instance.take(Commanded({"do": "issue", "grant": grant}), 0).reply for grant in grants_of(plan, 0)]
    return [reply.message for reply in replies if isinstance(reply, Refused)]

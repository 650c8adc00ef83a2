"""Finds agents by the names that a workflow uses: entry points, aliases, ``module:Class``."""

import re
import sys
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kos_runtime.composition.importing import import_module, lies_in, target_in
from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.nearest import nearest
from kos_runtime.core.plan.link import AgentLink
from kos_runtime.ports.agent import Agent

if TYPE_CHECKING:
    # Agents' processes import this module and have no use for the language.
    from kos_runtime.definition import WorkflowDocument

GROUP: Final = "kos_runtime.agents"
_TARGET: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


@lru_cache(maxsize=8)
def _installed(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of what lies on the path. Reading them takes 5 ms, and a driver may create many runs."""
    del path
    return tuple(entry_points(group=GROUP))


class Registry:
    """Agents that can be had here. Nothing of theirs is imported before it is asked for.

    Args:
        points: The entry points; those of what is installed unless given.
        beside: The folder of the definition: where a ``module:Class`` of it is looked for first, before the working
            directory and what is installed.
        imports: Whether a module that a definition names may be imported. What is registered always may.
    """

    def __init__(
        self, points: Iterable[EntryPoint] | None = None, *, beside: Path | None = None, imports: bool = True
    ) -> None:
        self._folders = [folder.resolve() for folder in (beside, Path()) if folder is not None]
        self._imports = imports
        self._points: dict[str, list[EntryPoint]] = {}
        for point in _installed(tuple(sys.path)) if points is None else points:
            self._points.setdefault(point.name, []).append(point)
        self._aliases: dict[str, str] | None = None
        self._broken: dict[str, str] = {}

    def names(self) -> list[str]:
        """Return the kinds that are registered, sorted."""
        return sorted(self._points)

    def target(self, name: str) -> str:
        """Return ``module:Class`` for a name, with the folder that it lies in where that is one of a definition's.

        Raises:
            InvalidDefinition: There is no such agent, or more than one; the nearest names are in the message.
        """
        if ":" in name:
            if not _TARGET.fullmatch(name):
                raise InvalidDefinition(f"{name!r} names no agent; write module:Class")
            folder = next((folder for folder in self._folders if lies_in(folder, name.partition(":")[0])), None)
            return name if folder is None else target_in(folder, name)
        if name in self._points:
            return self._target(name)
        aliases = self.aliases()
        if name in aliases:
            return self._target(aliases[name])
        near = nearest(name, (*self._points, *aliases))
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(self.names()) or 'none'}"
        broken = "".join(f"; {reason}" for reason in self._broken.values())
        raise InvalidDefinition(
            f"no agent {name!r} here; {hint} (an agent of your own is written module:Class){broken}"
        )

    def _target(self, name: str) -> str:
        points = self._points[name]
        targets = sorted({f"{point.module}:{point.attr}" for point in points})
        if len(targets) > 1:
            owners = " and by ".join(sorted({_distribution(point) for point in points}))
            raise InvalidDefinition(
                f"the agent {name} is registered more than once, by {owners}; write {' or '.join(targets)}"
            )
        return targets[0]

    def aliases(self) -> dict[str, str]:
        """Return alias → kind, of every registered agent that can be imported."""
        if self._aliases is None:
            self._aliases = {}
            for name in self.names():
                try:
                    cls = self.load(name)
                except InvalidDefinition as error:
                    self._broken[name] = str(error)
                    continue
                for alias in cls.aliases:
                    self._aliases.setdefault(alias, name)
        return self._aliases

    def load(self, name: str) -> type[Agent]:
        """Return an agent's class.

        Raises:
            InvalidDefinition: There is none, or it is broken; whose it is, is said. Or it is not registered, and
                nothing else is to be imported.
        """
        target = self.target(name)
        if ":" in name and not self._imports:
            raise InvalidDefinition(f"the agent {name} was not imported, so it is not known what its actions take")
        try:
            return load_class(target, here=":" in name)
        except InvalidDefinition as error:
            owners = {_distribution(p) for points in self._points.values() for p in points if p.value == target}
            if not owners:
                raise
            raise InvalidDefinition(f"{error} (registered as an agent by {', '.join(sorted(owners))})") from error


def registry_of(document: "WorkflowDocument", *, imports: bool = True) -> Registry:
    """Return what a definition's names stand for: those of modules are looked for beside its file first."""
    name = document.source.name
    return Registry(beside=None if name == "-" else Path(name).parent, imports=imports)


def _distribution(point: EntryPoint) -> str:
    dist = point.dist
    return f"{dist.name} {dist.version}" if dist is not None else "an unknown distribution"


def load_class(target: str, *, here: bool = True) -> type[Agent]:
    """Import ``module:Class``, as ``Registry.target`` returns it. ``here``: the working directory counts as well.

    Raises:
        InvalidDefinition: It cannot be imported or is no agent; the message says why.
    """
    named, _, folder = target.partition("@")
    module_name, _, class_name = named.partition(":")
    if not _TARGET.fullmatch(named):
        raise InvalidDefinition(f"{target!r} names no agent; write module:Class")
    where = f" in {folder}" if folder else ""
    try:
        module = import_module(module_name, folder, here=here)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # A module may do anything while it is imported, ending the program included.
        raise InvalidDefinition(
            f"the agent {named}{where} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    cls = getattr(module, class_name, None)
    if cls is None:
        near = nearest(class_name, tuple(name for name in vars(module) if not name.startswith("_")))
        hint = f"; did you mean {near!r}?" if near else ""
        raise InvalidDefinition(f"the module {module_name} has no class {class_name!r}{hint}")
    if not (isinstance(cls, type) and issubclass(cls, Agent)):
        raise InvalidDefinition(f"{named} is no agent: it does not derive from agents.Agent")
    return cls


def make_agent(link: AgentLink) -> Agent:
    """Make an agent as it was linked, inside the process that is to host it.

    Raises:
        InvalidDefinition: Its class is not here, or cannot be made with the recorded settings.
    """
    cls = load_class(link.target)
    try:
        return cls(link.settings)
    except Exception as error:
        raise InvalidDefinition(f"{link.kind} cannot be made: {type(error).__name__}: {error}") from error

"""Finds agents by the names that a workflow uses: entry points, aliases, ``module:Class``."""

import importlib
import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.core.nearest import nearest
from kos_runtime.ports.agent import Agent

GROUP = "kos_runtime.agents"


class Registry:
    """Agents that can be had here. Nothing of theirs is imported before it is asked for."""

    def __init__(self, points: Iterable[EntryPoint] | None = None) -> None:
        found = entry_points(group=GROUP) if points is None else points
        self._points = {point.name: point for point in found}
        self._targets: dict[str, str] = {name: point.value for name, point in self._points.items()}
        self._aliases: dict[str, str] | None = None

    def names(self) -> list[str]:
        """Return the kinds that are registered, sorted."""
        return sorted(self._points)

    def target(self, name: str) -> str:
        """Return ``module:Class`` for a name.

        Raises:
            InvalidDefinition: There is no such agent; the nearest names are in the message.
        """
        if ":" in name:
            return name
        if name in self._targets:
            return self._targets[name]
        aliases = self.aliases()
        if name in aliases:
            return self._targets[aliases[name]]
        near = nearest(name, (*self._targets, *aliases))
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(self.names()) or 'none'}"
        raise InvalidDefinition(f"no agent {name!r} here; {hint} (an agent of your own is written module:Class)")

    def aliases(self) -> dict[str, str]:
        """Return alias → kind, of every registered agent that can be imported."""
        if self._aliases is None:
            self._aliases = {}
            for name in self.names():
                try:
                    cls = load_class(self._targets[name])
                except InvalidDefinition:
                    continue
                for alias in cls.aliases:
                    self._aliases.setdefault(alias, name)
        return self._aliases

    def load(self, name: str) -> type[Agent]:
        """Return an agent's class."""
        return load_class(self.target(name))


def load_class(target: str) -> type[Agent]:
    """Import ``module:Class``; the working directory counts as a place to import from.

    Raises:
        InvalidDefinition: It cannot be imported or is no agent; the message says why.
    """
    module_name, _, class_name = target.partition(":")
    if not module_name or not class_name:
        raise InvalidDefinition(f"{target!r} names no agent; write module:Class")
    if "" not in sys.path and "." not in sys.path:
        sys.path.insert(0, "")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise InvalidDefinition(f"the agent {target} cannot be imported: {type(error).__name__}: {error}") from error
    cls = getattr(module, class_name, None)
    if cls is None:
        near = nearest(class_name, tuple(name for name in vars(module) if not name.startswith("_")))
        hint = f"; did you mean {near!r}?" if near else ""
        raise InvalidDefinition(f"the module {module_name} has no class {class_name!r}{hint}")
    if not (isinstance(cls, type) and issubclass(cls, Agent)):
        raise InvalidDefinition(f"{target} is no agent: it does not derive from agents.Agent")
    return cls

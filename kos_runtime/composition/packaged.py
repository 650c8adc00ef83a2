"""Templates that installed packages bring: the entry point group ``kos_runtime.templates``.

Each entry point names a package; every YAML file in that which is a set of templates counts. Nothing is read before a
template is looked for that neither the definition's own file nor the catalogue has.
"""

import sys
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from typing import Final

from kos_runtime.core.errors import InvalidDefinition
from kos_runtime.definition import DefinitionError, TemplatesDocument, WorkflowDocument, load

GROUP: Final = "kos_runtime.templates"
#: A package holds at most so many files of templates, each of at most so many bytes.
MAX_FILES: Final = 1_000
MAX_BYTES: Final = 2 << 20


class Packaged:
    """The templates of packages, by name. ``broken`` says of a package or a file why it cannot be used."""

    def __init__(self, points: Iterable[EntryPoint] | None = None) -> None:
        """``points``: those of what is installed, unless given."""
        self.broken: dict[str, str] = {}
        self._templates: dict[str, list[tuple[str, WorkflowDocument]]] = {}
        for point in sorted(_installed(tuple(sys.path)) if points is None else points, key=lambda each: each.value):
            self._take(point)

    def names(self) -> list[str]:
        return list(self._templates)

    def get(self, name: str) -> WorkflowDocument | None:
        """Return a template.

        Raises:
            InvalidDefinition: Two packages bring one of that name.
        """
        found = self._templates.get(name, [])
        if len(found) > 1:
            owners = " and by ".join(sorted(owner for owner, _ in found))
            raise InvalidDefinition(
                f"the template {name!r} is brought by {owners}; put the one that is meant into the catalogue"
            )
        return found[0][1] if found else None

    def _take(self, point: EntryPoint) -> None:
        owner = f"{point.dist.name} {point.dist.version}" if point.dist is not None else point.value
        try:
            held = sorted(files(point.module).iterdir(), key=lambda item: item.name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # A package may do anything while it is imported, ending the program included.
            self.broken[owner] = f"{point.module} cannot be imported: {type(error).__name__}: {error}"
            return
        for item in [item for item in held if item.name.endswith((".yaml", ".yml"))][:MAX_FILES]:
            try:
                data = item.read_bytes()
                if len(data) > MAX_BYTES:
                    self.broken[f"{item.name} of {owner}"] = "it is larger than 2 MiB"
                    continue
                document = load(data, str(item))
            except DefinitionError as error:
                first = error.problems[0]
                self.broken[f"{item.name} of {owner}"] = f"{first.line}:{first.column} {first.message}"
            except OSError as error:
                self.broken[f"{item.name} of {owner}"] = str(error.strerror)
            else:
                if isinstance(document, TemplatesDocument):
                    for name in document.content:
                        self._templates.setdefault(name, []).append((owner, document.workflow(name)))


@lru_cache(maxsize=8)
def _installed(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Return the entry points of what lies on the path."""
    del path
    return tuple(entry_points(group=GROUP))

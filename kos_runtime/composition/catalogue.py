"""Where sub-workflows and templates are found: a folder of definitions, by default that of the file that names them.

It is looked at when a run is linked, and only then. What was found is stored with the run, so that a file that is
changed or taken away later changes nothing for it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from kos_runtime.core.errors import InvalidDefinition, NotFound
from kos_runtime.core.nearest import nearest
from kos_runtime.definition import DefinitionError, TemplatesDocument, WorkflowDocument, load

#: A folder holds at most so many definitions.
MAX_FILES: Final = 1_000
#: Of what is larger than this nothing would be loaded anyway.
_MAX_BYTES: Final = 2 << 20


class Catalogue(Mapping[str, WorkflowDocument]):
    """See the module. As a mapping: the templates, each as a workflow of its own, by name."""

    def __init__(self, folder: Path | None) -> None:
        """``folder`` None: there is nothing beside the definition."""
        self.folder = folder
        self._read = False
        self._workflows: dict[str, list[WorkflowDocument]] = {}
        self._templates: dict[str, WorkflowDocument] = {}
        #: Files that cannot be used, with why.
        self.broken: dict[str, str] = {}

    # --- templates

    def __getitem__(self, name: str) -> WorkflowDocument:
        self._look()
        return self._templates[name]

    def __iter__(self) -> Iterator[str]:
        self._look()
        return iter(self._templates)

    def __len__(self) -> int:
        self._look()
        return len(self._templates)

    # --- workflows

    def workflow(self, id: str, versions: str = "") -> WorkflowDocument:
        """Return the workflow of that id: the newest version within a range such as ``>=1.0 <2.0``.

        A range of one version without an operator is that version, as it was written.

        Raises:
            InvalidDefinition: There is none, or two files hold the same one; the nearest names are in the message.
        """
        self._look()
        found = self._workflows.get(id, [])
        if not found:
            near = nearest(id, tuple(self._workflows))
            known = ", ".join(sorted(self._workflows)[:24]) or "no workflows"
            hint = f"did you mean {near!r}?" if near else f"there are {known}"
            raise InvalidDefinition(f"no workflow {id!r} in the catalogue {self.folder}; {hint}{self._unread()}")
        fitting = [document for document in found if _is_within(version_of(document), versions)]
        if not fitting:
            there = ", ".join(sorted(version_of(document) or "none" for document in found))
            raise InvalidDefinition(
                f"the workflow {id!r} has no version {versions!r} in the catalogue {self.folder}; there is {there}"
            )
        fitting.sort(key=lambda document: _order(version_of(document)))
        newest = fitting[-1]
        same = [d for d in fitting if version_of(d) == version_of(newest)]
        if len(same) > 1:
            files = " and in ".join(sorted(document.source.name for document in same))
            what = (
                f"version {version_of(newest)} of the workflow {id!r}" if version_of(newest) else f"the workflow {id!r}"
            )
            raise InvalidDefinition(f"{what} stands in {files}; one of them has to go")
        return newest

    def _unread(self) -> str:
        return "".join(f"; {file} was left out: {why}" for file, why in list(self.broken.items())[:3])

    def _look(self) -> None:
        if self._read:
            return
        self._read = True
        if self.folder is None:
            return
        paths = sorted(path for path in self.folder.iterdir() if path.suffix in {".yaml", ".yml"} and path.is_file())
        if len(paths) > MAX_FILES:
            raise InvalidDefinition(
                f"the catalogue {self.folder} holds {len(paths)} definitions, at most {MAX_FILES}; name another by --catalogue"
            )
        for path in paths:
            try:
                if path.stat().st_size > _MAX_BYTES:
                    self.broken[path.name] = "it is larger than 2 MiB"
                    continue
                document = load(path.read_bytes(), str(path))
            except DefinitionError as error:
                first = error.problems[0]
                self.broken[path.name] = f"{first.line}:{first.column} {first.message}"
            except OSError as error:
                self.broken[path.name] = str(error.strerror)
            else:
                self._take(document)

    def _take(self, document: object) -> None:
        if isinstance(document, WorkflowDocument):
            self._workflows.setdefault(document.id, []).append(document)
        elif isinstance(document, TemplatesDocument):
            for name in document.content:
                self._templates.setdefault(name, document.workflow(name))


def catalogue_of(document: WorkflowDocument | None, named: str | None = None) -> Catalogue:
    """Return the catalogue of a definition: the folder that was named, else that of its file, or where we are.

    Raises:
        NotFound: The folder that was named is not there.
    """
    if named:
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise NotFound(f"the catalogue {named} is no folder")
        return Catalogue(folder)
    if document is None:
        return Catalogue(Path())
    name = document.source.name
    beside = Path(name).parent
    return Catalogue(beside if name != "-" and Path(name).is_file() and beside.is_dir() else None)


def version_of(document: WorkflowDocument) -> str:
    return str(document.content.get("version", ""))


def _is_within(version: str, versions: str) -> bool:
    """Say whether a version is in a range.

    Raises:
        InvalidDefinition: The range is none.
    """
    parts = versions.replace(",", " ").split()
    if not parts:
        return True
    if len(parts) == 1 and not set(parts[0]) & set("<>=!~*^"):
        return version == parts[0]
    try:
        wanted = SpecifierSet(",".join(parts))
    except InvalidSpecifier as error:
        raise InvalidDefinition(f"{versions!r} is no range of versions; write for example '>=1.0 <2.0'") from error
    try:
        return wanted.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def _order(version: str) -> tuple[bool, Version]:
    """Order versions; what is none by the rules comes before all that are."""
    try:
        return True, Version(version)
    except InvalidVersion:
        return False, Version("0")
